/* The walker against an independent reference. A case says what every table entry on the path shall
 * be (present, rights, a reserved bit); the reference reasons about those facts, never about entry
 * bits. Spec: SDM vol. 3A sections 4.3-4.8. */
#include <pthread.h>

#include "mmu/rig_test.h"

enum { LEVELS = 5, CASES = 200000, TABLES = 0x10000 };
enum { E_P = 1 << 0, E_W = 1 << 1, E_U = 1 << 2, E_A = 1 << 5, E_D = 1 << 6, E_PS = 1 << 7 };

static const struct mode {
    const char *name;
    u8 levels, entry_bytes, index_bits, leaf_max; /* leaf_max: highest level that can map a page */
    bool pg, pae, lm, pse, la57;
} modes[] = {
    {"none", 0, 0, 0, 0, false, false, false, false, false},
    {"32-bit", 2, 4, 10, 0, true, false, false, false, false},
    {"32-bit PSE", 2, 4, 10, 1, true, false, false, true, false},
    {"PAE", 3, 8, 9, 1, true, true, false, false, false},
    {"4-level", 4, 8, 9, 2, true, true, true, false, false},
    {"5-level", 5, 8, 9, 2, true, true, true, false, true},
};

struct step { /* one entry of the path */
    bool present, write, user, nx;
    u8 reserved; /* bit number of a reserved bit that is set, 0 for none */
};
struct tcase {
    const struct mode *m;
    u32 leaf; /* level of the leaf: 0 = page table */
    struct step at[LEVELS];
    bool wp, smep, smap, nxe, ac, user_mode, sys, peek;
    enum access kind;
    gva_t gva;
    gpa_t page; /* where the leaf maps */
};
struct want {
    bool fault;
    u32 error;
};

/* ---- the reference --------------------------------------------------------------------------- */

static struct want reference(const struct tcase *c)
{
    bool w = true, u = true, x = true;
    bool user = c->user_mode && !c->sys;
    u32 err = c->kind == ACC_WRITE ? 2 : 0;
    if (user) err |= 4;
    if (c->kind == ACC_EXEC && (c->smep || (c->m->pae && c->nxe))) err |= 16;
    if (!c->m->pg) return (struct want){false, 0};
    for (int l = c->m->levels - 1; l >= (int)c->leaf; l--) {
        const struct step *s = &c->at[l];
        bool pdpte = c->m->pae && !c->m->lm && l == 2;
        if (!s->present) return (struct want){true, err};
        if (pdpte) continue; /* a register: no rights in it, checked when it was loaded */
        if (s->reserved) return (struct want){true, err | 1 | 8};
        w = w && s->write;
        u = u && s->user;
        if (c->m->pae && c->nxe && s->nx) x = false;
    }
    bool ok;
    if (user) ok = u && (c->kind != ACC_WRITE || w) && (c->kind != ACC_EXEC || x);
    else if (c->kind == ACC_EXEC) ok = x && !(u && c->smep);
    else if (u && c->smap && (c->sys || !c->ac)) ok = false;
    else ok = c->kind == ACC_READ || w || !c->wp;
    return (struct want){!ok, ok ? 0 : err | 1};
}

/* ---- cases ----------------------------------------------------------------------------------- */

static u32 shift_of(const struct mode *m, u32 level) { return 12 + level * m->index_bits; }

/* A bit that must be zero in this entry; 0 when it has none. */
static u8 pick_reserved(const struct tcase *c, u32 level, u64 r)
{
    u8 list[64];
    u32 n = 0;
    bool big = level == c->leaf && level > 0;
    if (!c->m->pae) return big ? 21 : 0;
    for (u8 b = GPA_BITS; b < (c->m->lm ? 52 : 63); b++) list[n++] = b;
    if (!c->nxe) list[n++] = 63;
    for (u8 b = 13; big && b < shift_of(c->m, level); b++) list[n++] = b;
    if (level >= 3) list[n++] = 7;
    return list[r % n];
}

static bool often(u64 *s) { return rig_random(s) % 8 != 0; }
static bool coin(u64 *s) { return rig_random(s) >> 40 & 1; }

static struct tcase make_case(u64 *s)
{
    struct tcase c = {.m = &modes[rig_random(s) % ARRAY_LEN(modes)]};
    c.leaf = (u32)(rig_random(s) % (c.m->leaf_max + 1u));
    c.wp = coin(s), c.smep = coin(s), c.smap = coin(s), c.nxe = coin(s) && c.m->pae, c.ac = coin(s);
    c.user_mode = coin(s), c.sys = rig_random(s) % 4 == 0, c.peek = rig_random(s) % 4 == 0;
    c.kind = (enum access)(rig_random(s) % ACC_KINDS);
    if (c.kind == ACC_EXEC) c.sys = false;
    for (u32 l = c.leaf; l < c.m->levels; l++) {
        c.at[l] = (struct step){.present = rig_random(s) % 16 != 0,
                                .write = often(s),
                                .user = often(s),
                                .nx = !often(s)};
        if (rig_random(s) % 16 == 0) c.at[l].reserved = pick_reserved(&c, l, rig_random(s));
    }
    u32 bits_va = c.m->lm ? shift_of(c.m, c.m->levels) : 32;
    c.gva = rig_random(s) & (BIT(bits_va) - 1);
    if (c.m->lm && c.gva >> (bits_va - 1)) c.gva |= ~0ull << bits_va;
    u32 bits_pa = c.m->pae || c.leaf ? GPA_BITS : 32;
    c.page = rig_random(s) & (BIT(bits_pa) - 1) & ~(BIT(shift_of(c.m, c.leaf)) - 1);
    return c;
}

/* The entry of @level, with the ignored bits in any state. */
static u64 entry_of(const struct tcase *c, u32 level, u64 *s)
{
    const struct step *st = &c->at[level];
    bool leaf = level == c->leaf;
    u64 e = leaf ? c->page : TABLES + level * PAGE_BYTES;
    if (leaf && level && !c->m->pae) e = (u32)c->page | (c->page >> 32 & 0xFF) << 13;
    if (st->present) e |= E_P;
    if (c->m->pae && !c->m->lm && level == 2) return e;
    if (st->write) e |= E_W;
    if (st->user) e |= E_U;
    if (leaf && level) e |= E_PS;
    else if (level == 0 || (!c->m->pae && !c->m->pse)) e |= coin(s) ? E_PS : 0; /* PAT, ignored */
    if (c->nxe && st->nx) e |= BIT(63);
    if (coin(s)) e |= E_A;
    if (coin(s)) e |= E_D;
    if (st->reserved) e |= BIT(st->reserved);
    return e | (rig_random(s) & 0xE00);
}

struct path_image {
    gpa_t at[LEVELS];
    u64 entry[LEVELS];
};

static void build(struct rig *r, const struct tcase *c, struct path_image *img, u64 *s)
{
    struct vcpu *v = r->v[0];
    v->cr0 = CR0_PE | (c->m->pg ? CR0_PG : 0) | (c->wp ? CR0_WP : 0);
    v->cr4 = (c->m->pae ? CR4_PAE : 0) | (c->m->pse ? CR4_PSE : 0) | (c->m->la57 ? CR4_LA57 : 0) |
             (c->smep ? CR4_SMEP : 0) | (c->smap ? CR4_SMAP : 0);
    v->efer = (c->m->lm ? EFER_LME | EFER_LMA : 0) | (c->nxe ? EFER_NXE : 0);
    v->rflags = RFLAGS_FIXED | (c->ac ? RFLAGS_AC : 0);
    v->cpl = c->user_mode ? 3 : 0;
    v->cr3 = (TABLES + c->m->levels * PAGE_BYTES) | 0x18; /* PWT and PCD mean nothing here */
    for (u32 l = c->leaf; l < c->m->levels; l++) {
        u64 index = c->gva >> shift_of(c->m, l) & (BIT(c->m->index_bits) - 1);
        if (c->m->pae && !c->m->lm && l == 2) index &= 3;
        img->at[l] = TABLES + (l + 1) * PAGE_BYTES + index * c->m->entry_bytes;
        img->entry[l] = entry_of(c, l, s);
        if (!c->m->pae) img->entry[l] = (u32)img->entry[l];
        rig_put(r, img->at[l], img->entry[l], c->m->entry_bytes);
        if (c->m->pae && !c->m->lm && l == 2) v->pdpte[index] = img->entry[l];
    }
}

static void check_entries(struct rig *r, const struct tcase *c, const struct path_image *img,
                          bool walked)
{
    for (u32 l = c->leaf; l < c->m->levels; l++) {
        u64 want = img->entry[l];
        bool pdpte = c->m->pae && !c->m->lm && l == 2;
        if (walked && !pdpte) want |= E_A;
        if (walked && l == c->leaf && c->kind == ACC_WRITE) want |= E_D;
        assert_int_equal(rig_get(r, img->at[l], c->m->entry_bytes), want);
    }
}

static void check_success(const struct tcase *c, const struct walk *w, const struct path_image *img)
{
    u32 shift = c->m->pg ? shift_of(c->m, c->leaf) : PAGE_SHIFT;
    gpa_t want = c->m->pg ? c->page | (c->gva & (BIT(shift) - 1)) : (u32)c->gva;
    assert_int_equal(w->gpa, want);
    assert_int_equal(w->page_shift, shift);
    if (!c->m->pg || !w->writable) return;
    /* a fast write entry may be made: nothing may be left to do for a write */
    struct tcase write = *c;
    write.kind = ACC_WRITE;
    assert_false(reference(&write).fault);
    assert_true(img->entry[c->leaf] & E_D || (c->kind == ACC_WRITE && !c->peek));
}

/* Another page of the same page table, with a random entry: one entry read, or a whole walk. */
static u32 check_beside(struct rig *r, const struct tcase *c, const struct walk *near, u64 *seed)
{
    const u32 bytes = c->m->pg ? c->m->entry_bytes : 8, entries = PAGE_BYTES / bytes;
    const u32 from = (u32)(c->gva >> PAGE_SHIFT) % entries;
    const u32 to = (u32)(rig_random(seed) % entries);
    const s32 pages = (s32)to - (s32)from;
    const gva_t gva = c->gva + ((u64)(s64)pages << PAGE_SHIFT);
    struct walk one, whole;
    if (!c->m->pg || near->page_shift != PAGE_SHIFT || !near->accessed) {
        if (!c->m->pg) assert_int_equal(mmu_walk_beside(r->v[0], near, pages, &one), X_FAULT);
        return 0;
    }
    if (to != from)
        rig_put(r, near->entry_at + (u64)((s64)pages * bytes),
                (rig_random(seed) & (bytes == 8 ? BIT(63) | 0xFF367 : 0xFF367)) |
                    (to % 7 ? E_P : 0),
                bytes);
    int rc = mmu_walk_beside(r->v[0], near, pages, &one);
    assert_int_equal(rc, mmu_walk(r->v[0], gva, ACC_READ, WALK_PEEK, &whole));
    if (rc) return 1;
    assert_int_equal(one.gpa, whole.gpa & PAGE_MASK);
    assert_int_equal(one.page_shift, whole.page_shift);
    assert_int_equal(one.writable, whole.writable);
    assert_int_equal(one.user, whole.user);
    assert_int_equal(one.exec, whole.exec);
    assert_int_equal(one.global, whole.global);
    assert_int_equal(one.accessed, whole.accessed);
    assert_int_equal(one.entry_at, whole.entry_at);
    assert_int_equal(one.above, whole.above);
    return BIT(16);
}

static void test_random(void **state)
{
    (void)state;
    struct rig *r = rig_create(MIB(1), 1);
    u64 seed = 1;
    u32 faults = 0, beside = 0;
    for (u32 i = 0; i < CASES; i++) {
        struct tcase c = make_case(&seed);
        struct path_image img;
        build(r, &c, &img, &seed);
        struct want want = reference(&c);
        struct walk w = {0};
        u32 flags = (c.sys ? WALK_SYS : 0) | (c.peek ? WALK_PEEK : 0);
        int rc = mmu_walk(r->v[0], c.gva, c.kind, flags, &w);
        if ((rc != 0) != want.fault || (want.fault && w.error != want.error))
            fail_msg("case %u, %s leaf %u: rc %d error %x, wanted fault %d error %x", i, c.m->name,
                     c.leaf, rc, w.error, want.fault, want.error);
        faults += want.fault;
        if (!want.fault) check_success(&c, &w, &img);
        check_entries(r, &c, &img, !want.fault && !c.peek);
        if (!want.fault) beside += check_beside(r, &c, &w, &seed);
    }
    assert_in_range(faults, CASES / 10, CASES * 9 / 10);
    assert_true(beside >> 16 > 100 && (beside & 0xFFFF) > 100);
    rig_destroy(r);
}

/* ---- directed -------------------------------------------------------------------------------- */

static void test_tables_outside_memory(void **state)
{
    (void)state;
    struct rig *r = rig_create(MIB(1), 1);
    struct walk w;
    rig_long(r->v[0], GIB(4));
    assert_int_equal(mmu_walk(r->v[0], 0x1000, ACC_READ, 0, &w), X_FAULT);
    assert_int_equal(w.error, PF_P | PF_RSVD);
    rig_put(r, 0x1000, GIB(8) | E_P | E_W, 8); /* the next table is nowhere */
    r->v[0]->cr3 = 0x1000;
    assert_int_equal(mmu_walk(r->v[0], 0x1000, ACC_WRITE, 0, &w), X_FAULT);
    assert_int_equal(w.error, PF_P | PF_W | PF_RSVD);
    rig_destroy(r);
}

static void test_pdptes(void **state)
{
    (void)state;
    static const struct {
        u64 pdpte;
        bool ok;
    } t[] = {{0, true},
             {0x5000 | E_P, true},
             {E_P | BIT(1), false},
             {E_P | BIT(2), false},
             {E_P | 8, true},
             {E_P | 0x10, true},
             {E_P | E_A, false},
             {E_P | E_D, false},
             {E_P | 7 << 9, true},
             {E_P | BIT(GPA_BITS), false},
             {E_P | BIT(63), false},
             {BIT(63) | BIT(1), true},
             {E_P | BIT(8), false},
             {E_P | E_PS, false}};
    struct rig *r = rig_create(MIB(1), 1);
    struct vcpu *v = r->v[0];
    for (u32 i = 0; i < ARRAY_LEN(t); i++) {
        for (u32 k = 0; k < 4; k++) v->pdpte[k] = 0xABC;
        rig_put(r, 0x2FE0 + 16, t[i].pdpte, 8); /* third of the four, 32-byte aligned */
        int rc = v->mmu->load_pdptes(v, 0x2FE0 | 0x1F);
        if ((rc == 0) != t[i].ok) fail_msg("PDPTE %llx: %d", (unsigned long long)t[i].pdpte, rc);
        assert_int_equal(v->pdpte[2], t[i].ok ? t[i].pdpte : 0xABC);
        if (!t[i].ok) assert_int_equal(v->exc.vector, EXC_GP);
    }
    rig_destroy(r);
}

/* Another processor keeps changing an ignored bit of the entry: neither its changes nor the
 * accessed and dirty bits may get lost. */
struct flipper {
    u64 *pte;
    _Atomic bool stop;
    u64 flips;
};
static void *flip(void *arg)
{
    struct flipper *f = arg;
    u64 bit = 0;
    while (!atomic_load(&f->stop)) {
        u64 old = __atomic_fetch_xor(f->pte, BIT(52), __ATOMIC_SEQ_CST);
        if ((old & BIT(52)) != bit) break; /* lost one: flips stops growing */
        bit ^= BIT(52);
        f->flips++;
    }
    return NULL;
}
static void test_entry_changing(void **state)
{
    (void)state;
    struct rig *r = rig_create(MIB(1), 1);
    for (u64 t = 0x1000; t < 0x4000; t += 0x1000) rig_put(r, t, (t + 0x1000) | E_P | E_W, 8);
    rig_put(r, 0x4000, 0x5000 | E_P | E_W, 8);
    rig_long(r->v[0], 0x1000);
    struct flipper f = {.pte = (u64 *)mem_page_ptr(&r->mem, 0x4000)};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, flip, &f), 0);
    for (u32 i = 0; i < 20000; i++) {
        struct walk w;
        __atomic_fetch_and(f.pte, ~(u64)(E_A | E_D), __ATOMIC_SEQ_CST);
        assert_int_equal(mmu_walk(r->v[0], 0x123, ACC_WRITE, 0, &w), 0);
        assert_int_equal(w.gpa, 0x5123);
        if (w.writable) assert_int_equal(rig_get(r, 0x4000, 8) & (E_A | E_D), E_A | E_D);
    }
    atomic_store(&f.stop, true);
    pthread_join(thread, NULL);
    assert_int_equal(rig_get(r, 0x4000, 8) & BIT(52), f.flips % 2 ? BIT(52) : 0);
    rig_destroy(r);
}

/* Bit 20 of every address on the bus is 0 while A20 is masked: data, tables, and without paging. */
static void test_a20(void **state)
{
    (void)state;
    struct rig *r = rig_create(MIB(4), 1);
    struct vcpu *v = r->v[0];
    struct walk w;
    r->mem.a20_clear = BIT(20);
    assert_int_equal(mmu_walk(v, MIB(1) + 5, ACC_READ, 0, &w), 0);
    assert_int_equal(w.gpa, 5);
    assert_int_equal(mmu_walk(v, MIB(2) + 5, ACC_READ, 0, &w), 0);
    assert_int_equal(w.gpa, MIB(2) + 5);
    for (u64 t = 0x1000; t < 0x4000; t += 0x1000)
        rig_put(r, t, (MIB(1) + t + 0x1000) | E_P | E_W, 8);
    rig_put(r, 0x4000, MIB(3) | E_P | E_W, 8);
    rig_long(v, MIB(1) + 0x1000);
    assert_int_equal(mmu_walk(v, 0x123, ACC_WRITE, 0, &w), 0);
    assert_int_equal(w.gpa, MIB(2) + 0x123);
    assert_int_equal(rig_get(r, 0x4000, 8) & (E_A | E_D), E_A | E_D);
    r->mem.a20_clear = 0;
    rig_put(r, MIB(1) + 0x1000, 0, 8);
    assert_int_equal(mmu_walk(v, 0x123, ACC_READ, 0, &w), X_FAULT);
    rig_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random), cmocka_unit_test(test_tables_outside_memory),
        cmocka_unit_test(test_pdptes), cmocka_unit_test(test_entry_changing),
        cmocka_unit_test(test_a20),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

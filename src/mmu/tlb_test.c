/* The software TLB as the guest sees it: which translation an access uses after which change, and
 * that accesses are whole or not at all. Spec: SDM vol. 3A section 4.10, vol. 3B section 18.2. */
#include "mmu/rig_test.h"

enum { P = 1 << 0, W = 1 << 1, U = 1 << 2, A = 1 << 5, D = 1 << 6, PS = 1 << 7 };
enum { ROOT = 0x1000, ROOT2 = 0x8000, DATA = 0x100000, MEM_BYTES = 16 << 20 };
enum { GVA = 0x400000 };

/* ROOT -> 0x2000 -> 0x3000 -> 0x4000: the low 1 GiB in tables, the last for GVA..GVA+2M. */
static struct rig *make(void)
{
    struct rig *r = rig_create(MEM_BYTES, 1);
    rig_put(r, ROOT, 0x2000 | P | W | U, 8);
    rig_put(r, 0x2000, 0x3000 | P | W | U, 8);
    rig_put(r, 0x3000 + (GVA >> 21) * 8, 0x4000 | P | W | U, 8);
    rig_long(r->v[0], ROOT);
    for (u32 i = 0; i < 64; i++) rig_put(r, DATA + i * PAGE_BYTES, i, 8);
    return r;
}
/* Map page @n of GVA's table to page @data of DATA. */
static void map(struct rig *r, u32 n, u32 data, u64 flags)
{
    rig_put(r, 0x4000 + n * 8, (DATA + data * PAGE_BYTES) | P | flags, 8);
}
static u64 get(struct rig *r, gva_t gva)
{
    u64 val = ~0ull;
    assert_int_equal(vcpu_read(r->v[0], gva, &val, 8), 0);
    return val;
}
static u32 fault_of(struct rig *r, gva_t gva, bool write)
{
    u64 val = 0;
    int rc = write ? vcpu_write(r->v[0], gva, &val, 8) : vcpu_read(r->v[0], gva, &val, 8);
    assert_int_equal(rc, X_FAULT);
    assert_int_equal(r->v[0]->exc.vector, EXC_PF);
    return r->v[0]->exc.error;
}
static void set_cpl(struct rig *r, u8 cpl)
{
    r->v[0]->cpl = cpl;
    vcpu_mode_changed(r->v[0]);
}
static void load_cr3(struct rig *r, u64 operand)
{
    r->v[0]->cr3 = operand & ~BIT(63);
    r->v[0]->mmu->cr3_loaded(r->v[0], operand);
}

static void test_stale_until_flushed(void **state)
{
    (void)state;
    struct rig *r = make();
    map(r, 0, 1, W);
    assert_int_equal(get(r, GVA), 1);
    u64 walks = r->v[0]->stats.page_walks;
    assert_int_equal(get(r, GVA), 1);
    assert_int_equal(r->v[0]->stats.page_walks, walks); /* it is a cache */
    map(r, 0, 2, W);
    r->v[0]->mmu->invlpg(r->v[0], GVA + 0xFFF);
    assert_int_equal(get(r, GVA), 2);
    map(r, 0, 3, W);
    load_cr3(r, ROOT);
    assert_int_equal(get(r, GVA), 3);
    map(r, 0, 4, W);
    r->v[0]->mmu->flush_all(r->v[0]);
    assert_int_equal(get(r, GVA), 4);
    rig_destroy(r);
}

static void test_privilege_tags(void **state)
{
    (void)state;
    struct rig *r = make();
    struct vcpu *v = r->v[0];
    map(r, 0, 1, W);
    map(r, 1, 2, W | U);
    assert_int_equal(get(r, GVA), 1); /* filled by the supervisor ... */
    set_cpl(r, 3);
    assert_int_equal(fault_of(r, GVA, false), PF_P | PF_U); /* ... is none for a user */
    assert_int_equal(get(r, GVA + 0x1000), 2);
    u64 val;
    assert_int_equal(vcpu_read_sys(v, GVA, &val, 8), 0); /* a descriptor table */
    assert_int_equal(fault_of(r, GVA, false), PF_P | PF_U);
    set_cpl(r, 0);
    assert_int_equal(get(r, GVA + 0x1000), 2);
    v->cr4 |= CR4_SMAP;
    rig_mode(v);
    assert_int_equal(fault_of(r, GVA + 0x1000, false), PF_P);
    v->rflags |= RFLAGS_AC;
    vcpu_mode_changed(v);
    assert_int_equal(get(r, GVA + 0x1000), 2);
    assert_int_equal(vcpu_read_sys(v, GVA + 0x1000, &val, 8), X_FAULT); /* AC opens nothing here */
    v->rflags &= ~(u64)RFLAGS_AC;
    vcpu_mode_changed(v);
    assert_int_equal(fault_of(r, GVA + 0x1000, true), PF_P | PF_W);
    rig_destroy(r);
}

static void test_dirty_before_fast_write(void **state)
{
    (void)state;
    struct rig *r = make();
    u64 val = 99;
    map(r, 0, 1, W);
    assert_int_equal(get(r, GVA), 1);
    assert_int_equal(rig_get(r, 0x4000, 8) & (A | D), A);
    assert_int_equal(vcpu_write(r->v[0], GVA, &val, 8), 0);
    assert_int_equal(rig_get(r, 0x4000, 8) & (A | D), A | D);
    assert_int_equal(rig_get(r, DATA + PAGE_BYTES, 8), 99);
    map(r, 1, 2, 0);
    assert_int_equal(get(r, GVA + 0x1000), 2);
    assert_int_equal(fault_of(r, GVA + 0x1000, true), PF_P | PF_W);
    assert_int_equal(rig_get(r, 0x4008, 8) & D, 0);
    rig_destroy(r);
}

/* ---- large pages ----------------------------------------------------------------------------- */

/* INVLPG of any address in a large page must drop every 4 KiB piece of it. */
static void check_large(struct rig *r, gpa_t entry, u64 old, u64 new_entry, u64 span)
{
    static const u64 at[] = {0, 0x1000, 0x7000, 0x1FF000};
    rig_put(r, entry, old, 8);
    load_cr3(r, ROOT);
    u64 before[ARRAY_LEN(at) + 1];
    for (u32 i = 0; i < ARRAY_LEN(at); i++) before[i] = get(r, at[i]);
    rig_put(r, entry, new_entry, 8);
    r->v[0]->mmu->invlpg(r->v[0], span - 1);
    u64 shift = (new_entry & 0xFFE00000) - (old & 0xFFE00000);
    for (u32 i = 0; i < ARRAY_LEN(at); i++) {
        assert_int_not_equal(get(r, at[i]), before[i]);
        assert_int_equal(get(r, at[i]), rig_get(r, (old & 0xFFE00000) + shift + at[i], 8));
    }
}
static void test_invlpg_large(void **state)
{
    (void)state;
    struct rig *r = make();
    for (gpa_t a = 0x400000; a < MEM_BYTES; a += PAGE_BYTES) rig_put(r, a, a, 8);
    check_large(r, 0x3000, 0x400000 | P | W | PS, 0x600000 | P | W | PS, MIB(2));
    rig_put(r, 0x3000, 0, 8);
    /* 1 GiB page over the 16 MiB there are, replaced by a table of 2 MiB pages */
    rig_put(r, 0x5000, 0x800000 | P | W | PS, 8);
    rig_put(r, 0x2000, 0 | P | W | PS, 8);
    load_cr3(r, ROOT);
    assert_int_equal(get(r, 0x401000), 0x401000);
    assert_int_equal(get(r, 0xA03000), 0xA03000);
    rig_put(r, 0x5000 + 2 * 8, 0xC00000 | P | W | PS, 8);
    rig_put(r, 0x5000 + 5 * 8, 0xE00000 | P | W | PS, 8);
    rig_put(r, 0x2000, 0x5000 | P | W, 8);
    r->v[0]->mmu->invlpg(r->v[0], GIB(1) - 1);
    assert_int_equal(get(r, 0x401000), 0xC01000);
    assert_int_equal(get(r, 0xA03000), 0xE03000);
    rig_destroy(r);
}
static void test_invlpg_4m(void **state)
{
    (void)state;
    struct rig *r = rig_create(MEM_BYTES, 1);
    struct vcpu *v = r->v[0];
    for (gpa_t a = 0x400000; a < 0xC00000; a += PAGE_BYTES) rig_put(r, a, a, 8);
    rig_put(r, ROOT, 0x400000 | P | W | PS, 4);
    v->cr0 = CR0_PE | CR0_PG;
    v->cr4 = CR4_PSE;
    v->cr3 = ROOT;
    rig_mode(v);
    assert_int_equal(get(r, 0x1000), 0x401000);
    assert_int_equal(get(r, 0x3FF000), 0x7FF000);
    rig_put(r, ROOT, 0x800000 | P | W | PS, 4);
    v->mmu->invlpg(v, 0x200000);
    assert_int_equal(get(r, 0x1000), 0x801000);
    assert_int_equal(get(r, 0x3FF000), 0xBFF000);
    rig_destroy(r);
}

/* ---- address spaces -------------------------------------------------------------------------- */

/* A second root whose GVA page 0 is DATA page @data. */
static void second_root(struct rig *r, u32 data)
{
    rig_put(r, ROOT2, 0x9000 | P | W | U, 8);
    rig_put(r, 0x9000, 0xA000 | P | W | U, 8);
    rig_put(r, 0xA000 + (GVA >> 21) * 8, 0xB000 | P | W | U, 8);
    rig_put(r, 0xB000, (DATA + data * PAGE_BYTES) | P | W, 8);
}
static struct rig *make_pcid(void)
{
    struct rig *r = make();
    second_root(r, 2);
    map(r, 0, 1, W);
    r->v[0]->cr4 |= CR4_PCIDE;
    rig_mode(r->v[0]);
    load_cr3(r, ROOT2 | 7);
    assert_int_equal(get(r, GVA), 2);
    load_cr3(r, ROOT | 5);
    assert_int_equal(get(r, GVA), 1);
    return r;
}
static void test_pcid(void **state)
{
    (void)state;
    struct rig *r = make_pcid();
    load_cr3(r, ROOT2 | 7);
    rig_put(r, 0xB008, (DATA + 6 * PAGE_BYTES) | P | W, 8);
    assert_int_equal(get(r, GVA + 0x1000), 6);
    load_cr3(r, ROOT | 5 | BIT(63));
    assert_int_equal(get(r, GVA), 1);
    assert_int_equal(fault_of(r, GVA + 0x2000, false), 0);
    rig_put(r, 0xB008, (DATA + 3 * PAGE_BYTES) | P | W, 8);
    load_cr3(r, ROOT2 | 7 | BIT(63)); /* keeps what PCID 7 had: stale is allowed, and kept */
    u64 walks = r->v[0]->stats.page_walks;
    assert_int_equal(get(r, GVA + 0x1000), 6);
    assert_int_equal(r->v[0]->stats.page_walks, walks);
    load_cr3(r, ROOT2 | 7);
    assert_int_equal(get(r, GVA + 0x1000), 3);
    rig_destroy(r);
}
static void test_invpcid(void **state)
{
    (void)state;
    for (u32 type = 0; type < 4; type++) {
        struct rig *r = make_pcid();
        struct vcpu *v = r->v[0];
        map(r, 0, 4, W);
        rig_put(r, 0xB000, (DATA + 3 * PAGE_BYTES) | P | W, 8);
        assert_int_equal(v->mmu->invpcid(v, type, 7, GVA), 0);
        if (type >= 2) assert_int_equal(get(r, GVA), 4); /* every PCID, the current one too */
        load_cr3(r, ROOT2 | 7 | BIT(63));
        assert_int_equal(get(r, GVA), 3);
        assert_int_equal(v->mmu->invpcid(v, 1, 7, 0), 0); /* of the current one */
        rig_put(r, 0xB000, (DATA + 5 * PAGE_BYTES) | P | W, 8);
        assert_int_equal(v->mmu->invpcid(v, 1, 7, 0), 0);
        assert_int_equal(get(r, GVA), 5);
        rig_destroy(r);
    }
}
/* More address spaces than are kept, more switches than there are numbers: never a wrong page. */
static void test_spaces_run_out(void **state)
{
    (void)state;
    struct rig *r = make_pcid();
    u64 seed = 5;
    for (u32 i = 0; i < 6000; i++) {
        u64 x = rig_random(&seed);
        bool second = x >> 20 & 1;
        u64 pcid = (x % 40) * 2 + second; /* a PCID always goes with one root */
        bool keep = x >> 21 & 1;
        load_cr3(r, (second ? ROOT2 : ROOT) | pcid | (keep ? BIT(63) : 0));
        assert_int_equal(get(r, GVA), second ? 2 : 1);
        if (x % 97 == 0) r->v[0]->mmu->invpcid(r->v[0], 1, pcid, 0);
        if (x % 101 == 0) r->v[0]->mmu->flush_all(r->v[0]);
        assert_int_equal(get(r, GVA), second ? 2 : 1);
    }
    for (u32 i = 0; i < 3 * ASN_COUNT; i++) { /* one space renewed until the numbers run out */
        r->v[0]->mmu->invpcid(r->v[0], 1, r->v[0]->cr3 & 0xFFF, 0);
        map(r, 0, 1 + i % 2, W);
        if ((r->v[0]->cr3 & ~0xFFFull) == ROOT) assert_int_equal(get(r, GVA), 1 + i % 2);
    }
    rig_destroy(r);
}

/* A global translation serves every address space, for data and for code, until INVLPG or INVPCID
 * of any space names it or all globals go; others never do. */
static u64 code_of(struct rig *r, gva_t gva)
{
    hva_t page;
    gpa_t gpa;
    assert_int_equal(mmu_fetch_page(r->v[0], gva, &page, &gpa), 0);
    return (gpa - DATA) >> PAGE_SHIFT;
}
static void globals_same(struct rig *r, u64 data)
{
    const u64 walks = r->v[0]->stats.page_walks;
    assert_int_equal(get(r, GVA + 0x1000), data);
    assert_int_equal(code_of(r, GVA + 0x1000), data);
    assert_int_equal(r->v[0]->stats.page_walks, walks);
}
static void test_global(void **state)
{
    (void)state;
    enum { G = 1 << 8 };
    struct rig *r = make_pcid();
    struct vcpu *v = r->v[0];
    v->cr4 |= CR4_PGE;
    rig_mode(v);
    rig_put(r, 0xB008, (DATA + 3 * PAGE_BYTES) | P | W | G, 8);
    map(r, 1, 3, W | G);
    for (u32 way = 0; way < 5; way++) {
        load_cr3(r, ROOT | 5);
        assert_int_equal(get(r, GVA + 0x1000), 3 + way);
        assert_int_equal(code_of(r, GVA + 0x1000), 3 + way);
        load_cr3(r, ROOT2 | 7);
        globals_same(r, 3 + way);
        assert_int_equal(get(r, GVA), 2); /* not global */
        load_cr3(r, ROOT | 5 | BIT(63));
        globals_same(r, 3 + way);
        assert_int_equal(get(r, GVA), 1);
        assert_int_equal(v->mmu->invpcid(v, 1, 5, 0), 0);
        globals_same(r, 3 + way);
        map(r, 1, 4 + way, W | G);
        rig_put(r, 0xB008, (DATA + (4 + way) * PAGE_BYTES) | P | W | G, 8);
        load_cr3(r, ROOT2 | 7 | BIT(63));
        switch (way) {
        case 0: v->mmu->invlpg(v, GVA + 0x1000); break;
        case 1: assert_int_equal(v->mmu->invpcid(v, 0, 7, GVA + 0x1000), 0); break;
        case 2: assert_int_equal(v->mmu->invpcid(v, 2, 0, 0), 0); break;
        case 3: v->mmu->flush_all(v); break;
        default: tlb_drop_all(v);
        }
        assert_int_equal(get(r, GVA + 0x1000), 4 + way);
        assert_int_equal(code_of(r, GVA + 0x1000), 4 + way);
    }
    rig_destroy(r);
}

/* ---- what never gets a fast entry ------------------------------------------------------------ */

struct heard {
    u32 count;
    gpa_t gpa;
    u32 bytes;
};
static void on_traced(void *ctx, gpa_t gpa, u32 bytes, u8 trace)
{
    struct heard *h = ctx;
    (void)trace;
    *h = (struct heard){h->count + 1, gpa, bytes};
}
static void test_traced_page(void **state)
{
    (void)state;
    struct rig *r = make();
    struct heard h = {0};
    struct access_map m;
    u64 val = 7;
    map(r, 0, 1, W);
    mem_set_listener(&r->mem, on_traced, NULL, &h);
    mem_trace_set(&r->mem, DATA + PAGE_BYTES, MEM_TRACE_DIRTY);
    for (u32 i = 1; i < 4; i++) {
        assert_int_equal(vcpu_write(r->v[0], GVA + 8 * i, &val, 4), 0);
        assert_int_equal(h.count, i);
        assert_int_equal(h.gpa, DATA + PAGE_BYTES + 8 * i);
        assert_int_equal(h.bytes, 4);
    }
    assert_int_equal(vcpu_map(r->v[0], GVA + 64, 16, OPND_R | OPND_W, &m), 0);
    assert_int_equal(h.count, 3);
    memset(m.ptr, 5, 16);
    vcpu_unmap(r->v[0], &m);
    assert_int_equal(h.count, 4);
    assert_int_equal(h.bytes, 16);
    assert_int_equal(get(r, GVA + 64), 0x0505050505050505ull);
    rig_destroy(r);
}
static void test_watchpoints(void **state)
{
    (void)state;
    struct rig *r = make();
    struct vcpu *v = r->v[0];
    u64 val = 0;
    map(r, 0, 1, W);
    v->dr[1] = GVA + 0x10;
    v->dr7 = DR7_FIXED | 1 << 2 | 3u << 20 | 3u << 22; /* DR1: reads and writes, 4 bytes */
    v->mmu->flush_all(v);
    static const struct {
        u32 off, bytes;
        bool hit;
    } t[] = {{0, 8, false},    {8, 8, false},  {0x10, 1, true}, {0x13, 1, true},
             {0x14, 4, false}, {0xC, 8, true}, {0xF, 1, false}};
    for (u32 pass = 0; pass < 4; pass++) {
        for (u32 i = 0; i < ARRAY_LEN(t); i++) {
            v->pending_dbg = 0;
            if (pass & 1) assert_int_equal(vcpu_write(v, GVA + t[i].off, &val, t[i].bytes), 0);
            else assert_int_equal(vcpu_read(v, GVA + t[i].off, &val, t[i].bytes), 0);
            assert_int_equal(v->pending_dbg, t[i].hit ? BIT(1) : 0);
        }
    }
    rig_destroy(r);
}

/* ---- accesses across pages and to devices ---------------------------------------------------- */

static void test_crossing(void **state)
{
    (void)state;
    struct rig *r = make();
    struct vcpu *v = r->v[0];
    struct access_map m;
    u64 val = 0x1122334455667788ull;
    map(r, 0, 1, W);
    rig_put(r, 0x4008, 0, 8);
    assert_int_equal(vcpu_write(v, GVA + 0xFFC, &val, 8), X_FAULT);
    assert_int_equal(v->exc.payload, GVA + 0x1000);
    assert_int_equal(v->exc.error, PF_W);
    assert_int_equal(rig_get(r, DATA + 0x1FFC, 4), 0); /* nothing was written */
    map(r, 1, 9, W);
    assert_int_equal(vcpu_write(v, GVA + 0xFFC, &val, 8), 0);
    assert_int_equal(rig_get(r, DATA + 0x1FFC, 4), 0x55667788);
    assert_int_equal(rig_get(r, DATA + 0x9000, 4), 0x11223344);
    assert_int_equal(get(r, GVA + 0xFFC), val);
    assert_int_equal(vcpu_map(v, GVA + 0xFF0, 32, OPND_R | OPND_W, &m), 0);
    assert_int_equal((uintptr_t)m.ptr & 63, 0xFF0 & 63);
    for (u32 i = 0; i < 32; i++) m.ptr[i] = (u8)i;
    vcpu_unmap(v, &m);
    assert_int_equal(rig_get(r, DATA + 0x1FFC, 4), 0x0F0E0D0C);
    assert_int_equal(rig_get(r, DATA + 0x9000, 4), 0x13121110);
    assert_int_equal(v->mmu->probe(v, GVA, 8192, ACC_WRITE, false), 0);
    assert_int_equal(v->mmu->probe(v, GVA, 8193, ACC_WRITE, false), X_FAULT);
    assert_int_equal(v->exc.payload, GVA + 0x2000);
    rig_destroy(r);
}
static void test_mmio(void **state)
{
    (void)state;
    struct rig *r = make();
    struct vcpu *v = r->v[0];
    u8 buf[16];
    rig_put(r, 0x4000, 0xFEC00000ull | P | W, 8);
    assert_int_equal(vcpu_read(v, GVA + 2, buf, 7), 0); /* 2 + 4 + 1, each naturally aligned */
    assert_int_equal(r->mmios, 3);
    assert_int_equal(r->mmio[0].gpa, 0xFEC00002);
    assert_int_equal(r->mmio[0].bytes, 2);
    assert_int_equal(r->mmio[1].bytes, 4);
    assert_int_equal(r->mmio[2].bytes, 1);
    u32 val = 0xABCD1234;
    r->mmios = 0;
    assert_int_equal(vcpu_write(v, GVA + 0x10, &val, 4), 0);
    assert_int_equal(vcpu_write(v, GVA + 0x10, &val, 4), 0); /* never cached */
    assert_int_equal(r->mmios, 2);
    assert_int_equal(r->mmio[1].val, 0xABCD1234);
    struct access_map m;
    r->mmios = 0;
    assert_int_equal(vcpu_map(v, GVA + 0x20, 4, OPND_W, &m), 0);
    assert_int_equal(r->mmios, 0); /* a store only reads nothing */
    memcpy(m.ptr, &val, 4);
    vcpu_unmap(v, &m);
    assert_int_equal(r->mmios, 1);
    assert_true(r->mmio[0].write);
    hva_t page = (hva_t)1;
    gpa_t gpa;
    assert_int_equal(mmu_fetch_page(v, GVA, &page, &gpa), 0);
    assert_null(page);
    assert_int_equal(gpa, 0xFEC00000);
    rig_destroy(r);
}
/* Without paging addresses wrap at 4 GiB, and so does an access across it. */
static void test_wrap(void **state)
{
    (void)state;
    struct rig *r = rig_create(MEM_BYTES, 1);
    u64 val = 0x1122334455667788ull;
    assert_int_equal(vcpu_write(r->v[0], 0xFFFFFFFC, &val, 8), 0);
    assert_int_equal(r->mmios, 1);
    assert_int_equal(r->mmio[0].gpa, 0xFFFFFFFC);
    assert_int_equal(rig_get(r, 0, 4), 0x11223344);
    rig_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stale_until_flushed),
        cmocka_unit_test(test_privilege_tags),
        cmocka_unit_test(test_dirty_before_fast_write),
        cmocka_unit_test(test_invlpg_large),
        cmocka_unit_test(test_invlpg_4m),
        cmocka_unit_test(test_pcid),
        cmocka_unit_test(test_invpcid),
        cmocka_unit_test(test_spaces_run_out),
        cmocka_unit_test(test_global),
        cmocka_unit_test(test_traced_page),
        cmocka_unit_test(test_watchpoints),
        cmocka_unit_test(test_crossing),
        cmocka_unit_test(test_mmio),
        cmocka_unit_test(test_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

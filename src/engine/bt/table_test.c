/* The tables against the walker. Accesses are made exactly as translated code makes them: index,
 * load of the entry, access to the sum, with nothing tested; what must fault really faults here. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>

#include "engine/bt/bt_internal.h"
#include "engine/bt/table_internal.h"
#include "mmu/rig_test.h"

#define MEM_BYTES MIB(64)
#define DATA_GPA MIB(32) /* what is mapped: 4 MiB, so that many pages have aliases */
#define HOLE_GPA GIB(3)
#define LOW_GVA 0x00007F0000000000ull
#define HIGH_GVA 0xFFFF888000000000ull
#define HIGH_1G_GVA (HIGH_GVA + GIB(1))
#define PTE_NX BIT(63)
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 32, PTE_D = 64, PTE_PS = 128, PTE_G = 256 };
enum { TREE_GPA = 1 << 20, TREE_BYTES = 4 * PAGE_BYTES, TREES = 21, HIGH_TREE = TREES - 1 };
enum { PAGES = 40, DATA_PAGES = 48 };

/* ---- access as translated code does it ------------------------------------------------------- */

static sigjmp_buf faulted;
static u64 fault_addr;
static void on_fault(int sig, siginfo_t *info, void *uc)
{
    (void)sig;
    (void)uc;
    fault_addr = (u64)(uintptr_t)info->si_addr;
    siglongjmp(faulted, 1);
}
/* Not in a setup function: cmocka puts its own handlers in after that. */
static void catch_faults(void)
{
    struct sigaction sa = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_NODEFER};
    assert_int_equal(sigaction(SIGSEGV, &sa, NULL) | sigaction(SIGBUS, &sa, NULL), 0);
}

static u64 entry_addr(u64 tb, u64 t1)
{
    u64 t2 = t1 >> 48 | t1 << 16; /* rorx t2, t1, 48 */
    t2 >>= tb & 63;               /* shrx t2, t2, tb */
    return tb + t2 * 8 - TABLE_SHIFT;
}
static u64 load(u64 at)
{
    u64 val;
    __asm__ volatile("movq (%1), %0" : "=r"(val) : "r"(at) : "memory");
    return val;
}
static void store(u64 at, u64 val)
{
    __asm__ volatile("movq %0, (%1)" ::"r"(val), "r"(at) : "memory");
}

/* True: done. False: a fault, its address in fault_addr. */
static bool attempt(struct vcpu *v, u64 t1, enum access kind, u64 *val)
{
    if (sigsetjmp(faulted, 0)) return false;
    const u64 sum = t1 + load(entry_addr(v->eng.table, t1));
    if (kind == ACC_WRITE) store(sum, *val);
    else *val = load(sum);
    return true;
}

/* ---- a guest --------------------------------------------------------------------------------- */

struct guest {
    struct rig *r;
    struct vcpu *v;
    struct bt_views views;
    struct bt_tables *t;
    u64 seed;
    u32 space; /* 0..HIGH_TREE-1: PCID and lower tree */
    u32 direct, slow, stack;
};

static u64 rnd(struct guest *g) { return rig_random(&g->seed); }
/* A tree: top table, then 1 GiB level, 2 MiB level, page table. */
static gpa_t tree(u32 i, u32 level) { return TREE_GPA + i * (u64)TREE_BYTES + level * PAGE_BYTES; }
static gpa_t pte_at(u32 tree_no, u32 page) { return tree(tree_no, 3) + page * 8; }

static void put_trees(struct rig *r)
{
    const u64 all = PTE_P | PTE_W | PTE_U | PTE_A;
    for (u32 i = 0; i < TREES; i++) {
        rig_put(r, tree(i, 0) + bits(LOW_GVA, 47, 39) * 8, tree(i, 1) | all, 8);
        rig_put(r, tree(i, 0) + bits(HIGH_GVA, 47, 39) * 8, tree(HIGH_TREE, 1) | all, 8);
        rig_put(r, tree(i, 1), tree(i, 2) | all, 8);
        rig_put(r, tree(i, 2), tree(i, 3) | all, 8);
        rig_put(r, tree(i, 2) + 8, DATA_GPA | all | PTE_PS, 8);
    }
    rig_put(r, tree(HIGH_TREE, 1) + 8, PTE_P | PTE_W | PTE_PS | PTE_G, 8); /* 1 GiB at 0 */
}

static struct guest *guest_create(u32 users)
{
    struct err e = {0};
    struct guest *g = calloc(1, sizeof *g);
    catch_faults();
    g->r = rig_create(MEM_BYTES, 1);
    g->v = g->r->v[0];
    g->seed = 20240607;
    assert_int_equal(bt_views_init(&g->views, &g->r->mem, &e), 0);
    put_trees(g->r);
    rig_long(g->v, tree(0, 0));
    g->v->cr4 |= CR4_PGE | CR4_PCIDE | CR4_SMAP;
    rig_mode(g->v);
    g->v->mode = ISA_64;
    mmu_enter_guest(g->v);
    assert_int_equal(bt_tables_create(&g->t, g->v, &g->views, users, &e), 0);
    return g;
}
static void guest_destroy(struct guest *g)
{
    mmu_leave_guest(g->v);
    bt_tables_destroy(g->t);
    bt_views_fini(&g->views);
    rig_destroy(g->r);
    free(g);
}
static void privilege(struct guest *g, enum tlb_priv p)
{
    g->v->cpl = p == PRIV_USER ? 3 : 0;
    g->v->rflags = RFLAGS_FIXED | (p == PRIV_SUPERVISOR_AC ? RFLAGS_AC : 0);
    g->v->mmu->mode_changed(g->v);
    assert_int_equal(g->v->tlb.ctx & 3, p);
    assert_int_equal(g->v->eng.table & 63, TABLE_SHIFT);
}
static void load_cr3(struct guest *g, u32 space, bool noflush)
{
    g->space = space;
    g->v->cr3 = tree(space, 0) | space;
    g->v->mmu->cr3_loaded(g->v, g->v->cr3 | (noflush ? CR3_NOFLUSH : 0));
}

/* ---- one access, checked against the walker -------------------------------------------------- */

static bool may_be_direct(struct guest *g, gva_t gva, enum access kind, gpa_t *gpa)
{
    struct walk w;
    if (mmu_walk(g->v, gva, kind, WALK_PEEK, &w)) return false;
    *gpa = w.gpa;
    if (!mem_page_ptr(&g->r->mem, w.gpa) || mmu_watched(g->v, gva)) return false;
    return kind == ACC_READ || !mem_page_trace(&g->r->mem, w.gpa);
}

static void check_access(struct guest *g, gva_t gva, enum access kind)
{
    gpa_t gpa = 0;
    u64 val = rnd(g), put = val;
    struct walk w;
    const bool direct = may_be_direct(g, gva, kind, &gpa);
    bool done = attempt(g->v, gva, kind, &val);
    if (!direct) {
        assert_false(done);
        assert_int_equal(bt_table_fill(g->t, g->v, gva, kind), FILL_SLOW);
        g->slow++;
        return;
    }
    if (!done) {
        gva_t page;
        if (bt_table_is_table_fault(g->t, fault_addr, &page))
            assert_int_equal(page, gva & PAGE_MASK);
        assert_int_equal(bt_table_fill(g->t, g->v, gva, kind), FILL_DONE);
        assert_true(attempt(g->v, gva, kind, &val));
    }
    g->direct++;
    assert_int_equal(rig_get(g->r, gpa, 8), kind == ACC_WRITE ? put : val);
    assert_int_equal(mmu_walk(g->v, gva, kind, WALK_PEEK, &w), 0);
    assert_true(w.accessed);
    if (kind == ACC_WRITE) assert_true(w.writable);
    if (rnd(g) % 8 == 0) { /* an alias that is not canonical */
        val = 0;
        assert_false(attempt(g->v, gva ^ (rnd(g) % 0xFFFF + 1) << 48, ACC_READ, &val));
    }
}

/* ---- the same through a window (window.h) ---------------------------------------------------- */

static bool attempt_at(u64 host, enum access kind, u64 *val)
{
    if (sigsetjmp(faulted, 0)) return false;
    if (kind == ACC_WRITE) store(host, *val);
    else *val = load(host);
    return true;
}

/* RSP is somewhere near @gva. */
static void check_stack(struct guest *g, gva_t gva, enum access kind)
{
    struct vcpu *v = g->v;
    gpa_t gpa = 0;
    u64 val = rnd(g), put = val;
    privilege(g, PRIV_USER);
    if (gva >= HIGH_GVA) gva = LOW_GVA + (gva - HIGH_GVA) % MIB(4);
    const bool direct = may_be_direct(g, gva, kind, &gpa);
    if (rnd(g) % 4 == 0) { /* windows are few, and move */
        v->gpr[RSP] = LOW_GVA + rnd(g) % 4 * (WINDOW_BYTES * 5 / 8) + rnd(g) % PAGES * PAGE_BYTES;
        bt_window_settle(g->t, v);
    }
    v->gpr[RSP] = gva + (rnd(g) % 7 - 3) * (WINDOW_MARGIN / 4);
    bt_window_settle(g->t, v);
    assert_int_equal(v->eng.rsp - v->gpr[RSP], v->eng.stack_host);
    const u64 host = gva + v->eng.stack_host;
    bool done = attempt_at(host, kind, &val);
    if (!done) assert_true(fault_addr == host && bt_window_is_fault(g->t, host));
    for (u32 n = 0; n < 2 * WINDOW_WAITS && !done && direct; n++)
        done = bt_window_fault(g->t, v, host, kind == ACC_WRITE) && attempt_at(host, kind, &val);
    assert_int_equal(done, direct);
    if (!direct) {
        assert_false(bt_window_fault(g->t, v, host, kind == ACC_WRITE));
        return;
    }
    g->stack++;
    assert_int_equal(rig_get(g->r, gpa, 8), kind == ACC_WRITE ? put : val);
}

/* ---- random life ----------------------------------------------------------------------------- */

static gva_t random_gva(struct guest *g)
{
    const u64 x = rnd(g), off = (x >> 32 & 511) * 8;
    const gva_t half = x & 1 ? LOW_GVA : HIGH_GVA;
    switch (x >> 1 & 7) {
    case 0: return half + MIB(2) + (x >> 8 & 511) * PAGE_BYTES + off;
    case 1: return HIGH_1G_GVA + DATA_GPA + (x >> 8) % DATA_PAGES * PAGE_BYTES + off;
    case 2: return HIGH_1G_GVA + MEM_BYTES - PAGE_BYTES + (x >> 8 & 1) * PAGE_BYTES + off;
    default: return half + (x >> 8) % PAGES * PAGE_BYTES + off;
    }
}

static u64 random_entry(struct guest *g, bool high, bool large)
{
    const u64 x = rnd(g);
    u64 e = x & (PTE_W | PTE_U | PTE_A | PTE_D) & (x >> 20 | PTE_A);
    if (x >> 32 & 7) e |= PTE_P;
    if (high && x >> 36 & 1) e |= PTE_G;
    if (large) return e | PTE_PS | (DATA_GPA + (x >> 40 & 1) * MIB(2));
    if ((x >> 40 & 15) == 0) return e | HOLE_GPA;
    return e | (DATA_GPA + (x >> 44) % DATA_PAGES * PAGE_BYTES);
}

/* Change a leaf entry and invalidate as the architecture demands. */
static void change_mapping(struct guest *g)
{
    const u64 x = rnd(g);
    const bool high = x & 1, large = (x >> 1 & 7) == 0;
    const u32 space = x >> 4 & 1 ? g->space : (u32)(x >> 8) % HIGH_TREE;
    const u32 no = high ? HIGH_TREE : space, page = (u32)(x >> 16) % PAGES;
    const gva_t gva = (high ? HIGH_GVA : LOW_GVA) +
                      (large ? MIB(2) + (x >> 32 & 511) * PAGE_BYTES : page * (u64)PAGE_BYTES);
    const gpa_t at = large ? tree(no, 2) + 8 : pte_at(no, page);
    const bool was_global = rig_get(g->r, at, 8) & PTE_G;
    rig_put(g->r, at, random_entry(g, high, large), 8);
    if (high && !was_global) g->v->mmu->invpcid(g->v, 2, 0, 0); /* every space may hold it */
    else if (high || space == g->space) g->v->mmu->invlpg(g->v, gva);
    else g->v->mmu->invpcid(g->v, x >> 60 & 1, space, gva);
}

static void change_1g(struct guest *g)
{
    const u64 x = rnd(g);
    rig_put(g->r, tree(HIGH_TREE, 1) + 8,
            PTE_PS | PTE_G | PTE_P | (x & (PTE_W | PTE_D | PTE_A | PTE_U)), 8);
    g->v->mmu->invlpg(g->v, HIGH_1G_GVA + (x >> 20) % GIB(1));
}

static void change_watch(struct guest *g)
{
    g->v->dr[0] = random_gva(g);
    g->v->dr7 = rnd(g) & 1 ? DR7_FIXED | 3 : DR7_FIXED;
    g->v->mmu->flush_all(g->v);
}

static void something(struct guest *g)
{
    const u64 x = rnd(g);
    const gpa_t page = DATA_GPA + (x >> 16) % DATA_PAGES * PAGE_BYTES;
    switch (x % 64) {
    case 0:
    case 1:
    case 2:
    case 3: load_cr3(g, (u32)(x >> 32) % HIGH_TREE, x >> 8 & 7); break;
    case 4:
        if ((x >> 32) % 64 == 0) g->v->mmu->flush_all(g->v);
        break;
    case 5:
    case 6:
    case 7:
    case 8: change_mapping(g); break;
    case 9: change_1g(g); break;
    case 10:
    case 11: mem_trace_set(&g->r->mem, page, MEM_TRACE_CODE); break;
    case 12:
    case 13: mem_trace_clear(&g->r->mem, page, MEM_TRACE_CODE); break;
    case 14:
        if ((x >> 32) % 64 == 0) change_watch(g);
        break;
    case 15:
    case 16:
    case 17: privilege(g, (x >> 32) % 3); break;
    case 18:
    case 19:
    case 20:
    case 21:
    case 22:
    case 23: check_stack(g, random_gva(g), x >> 40 & 1 ? ACC_WRITE : ACC_READ); break;
    default: check_access(g, random_gva(g), x >> 40 & 1 ? ACC_WRITE : ACC_READ);
    }
}

static void test_random(void **state)
{
    (void)state;
    struct guest *g = guest_create(3);
    for (u32 no = 0; no < TREES; no++) {
        for (u32 i = 0; i < PAGES; i++)
            rig_put(g->r, pte_at(no, i), random_entry(g, no == HIGH_TREE, false), 8);
    }
    load_cr3(g, 0, false);
    for (u32 i = 0; i < 400000; i++) something(g);
    assert_in_range(g->direct, 50000, 400000);
    assert_in_range(g->slow, 50000, 400000);
    assert_in_range(g->stack, 2000, 40000);
    guest_destroy(g);
}

/* ---- single facts ---------------------------------------------------------------------------- */

/* Whatever the upper bits, an empty entry leads where nothing is. */
static void test_poison(void **state)
{
    (void)state;
    struct guest *g = guest_create(1);
    for (u32 i = 0; i < 3000; i++) {
        const gva_t gva = i % 16 ? rnd(g) : BT_VSYSCALL + (i % 3) * PAGE_BYTES - PAGE_BYTES;
        assert_true(bt_table_populate(g->t, gva));
        for (u32 k = 0; k < 20; k++) {
            u64 t1 = gva ^ (k ? rnd(g) << 48 : 0) ^ (k & 1 ? rnd(g) & 0x1FFFFF : 0), val = 0;
            const u64 entry = load(entry_addr(g->v->eng.table, t1));
            assert_int_equal(entry, bt_table_poison(t1));
            assert_true(t1 + entry >= BIT(47));
            assert_true((t1 + entry) >> PAGE_SHIFT != BT_VSYSCALL >> PAGE_SHIFT);
            assert_false(attempt(g->v, t1, k & 2 ? ACC_READ : ACC_WRITE, &val));
        }
    }
    guest_destroy(g);
}

/* Every kind of address that selects a page, other than the page's own, faults. */
static void test_aliases_not_canonical(void **state)
{
    (void)state;
    struct guest *g = guest_create(1);
    rig_put(g->r, pte_at(0, 0), DATA_GPA | PTE_P | PTE_W | PTE_A | PTE_D, 8);
    rig_put(g->r, pte_at(HIGH_TREE, 0), DATA_GPA | PTE_P | PTE_W | PTE_A | PTE_D, 8);
    for (u32 half = 0; half < 2; half++) {
        const gva_t gva = half ? HIGH_GVA : LOW_GVA;
        u64 val = 0;
        check_access(g, gva, ACC_WRITE);
        for (u64 k = 1; k < 0x10000; k += 7) {
            assert_false(attempt(g->v, gva ^ k << 48, ACC_READ, &val));
            assert_int_equal(bt_table_fill(g->t, g->v, gva ^ k << 48, ACC_READ), FILL_SLOW);
        }
    }
    guest_destroy(g);
}

/* A page written through many entries of several tables becomes traced: none may write any more. */
static void test_protect_aliases(void **state)
{
    (void)state;
    struct guest *g = guest_create(2);
    for (u32 aliases = 1; aliases < 9; aliases++) {
        for (u32 i = 0; i < aliases; i++) {
            u64 e = DATA_GPA | PTE_P | PTE_W | PTE_A | PTE_D;
            rig_put(g->r, pte_at(0, i), e | PTE_U, 8);
            rig_put(g->r, pte_at(HIGH_TREE, i), e | PTE_G, 8);
        }
        g->v->mmu->flush_all(g->v);
        for (u32 round = 0; round < 2; round++) {
            u64 val;
            for (u32 i = 0; i < aliases; i++) {
                privilege(g, PRIV_USER);
                check_access(g, LOW_GVA + i * (u64)PAGE_BYTES, ACC_WRITE);
                privilege(g, PRIV_SUPERVISOR);
                check_access(g, HIGH_GVA + i * (u64)PAGE_BYTES, ACC_WRITE);
            }
            mem_trace_set(&g->r->mem, DATA_GPA, MEM_TRACE_CODE);
            for (u32 i = 0; i < aliases; i++) {
                privilege(g, PRIV_USER);
                assert_false(attempt(g->v, LOW_GVA + i * (u64)PAGE_BYTES, ACC_WRITE, &val));
                assert_true(attempt(g->v, LOW_GVA + i * (u64)PAGE_BYTES, ACC_READ, &val));
                privilege(g, PRIV_SUPERVISOR);
                assert_false(attempt(g->v, HIGH_GVA + i * (u64)PAGE_BYTES, ACC_WRITE, &val));
                assert_true(attempt(g->v, HIGH_GVA + i * (u64)PAGE_BYTES, ACC_READ, &val));
            }
            mem_trace_clear(&g->r->mem, DATA_GPA, MEM_TRACE_CODE);
        }
    }
    guest_destroy(g);
}

static void settle(struct guest *g, gva_t rsp)
{
    g->v->gpr[RSP] = rsp;
    assert_true(bt_window_settle(g->t, g->v));
}
/* A window moves by one page: what led to the first page through it does not lead to the second. */
static void test_window_moves(void **state)
{
    (void)state;
    struct guest *g = guest_create(1);
    u64 val = 0x1111;
    for (u32 i = 0; i < 2; i++)
        rig_put(g->r, pte_at(0, i),
                (DATA_GPA + i * PAGE_BYTES) | PTE_P | PTE_W | PTE_U | PTE_A | PTE_D, 8);
    g->v->mmu->flush_all(g->v);
    privilege(g, PRIV_USER);
    settle(g, LOW_GVA);
    assert_true(attempt_at(g->v->eng.rsp, ACC_WRITE, &val));
    assert_int_equal(bt_table_entry(g->v, LOW_GVA), g->v->eng.stack_host);
    g->v->gpr[RSP] = LOW_GVA + WINDOW_BYTES;
    bt_window_settle(g->t, g->v);
    settle(g, LOW_GVA + PAGE_BYTES);
    val = 0x2222;
    assert_true(attempt_at(g->v->eng.rsp, ACC_WRITE, &val));
    assert_true(attempt(g->v, LOW_GVA, ACC_READ, &val));
    assert_int_equal(val, 0x1111);
    assert_int_equal(rig_get(g->r, DATA_GPA + PAGE_BYTES, 8), 0x2222);
    g->v->mmu->invlpg(g->v, LOW_GVA + PAGE_BYTES);
    assert_false(attempt_at(g->v->eng.rsp, ACC_READ, &val));
    guest_destroy(g);
}

/* Global supervisor entries and the tables of tagged spaces live on; the others do not. */
static void test_spaces(void **state)
{
    (void)state;
    struct guest *g = guest_create(2);
    const u64 e = DATA_GPA | PTE_P | PTE_W | PTE_A | PTE_D;
    u64 val;
    rig_put(g->r, pte_at(0, 0), e | PTE_U, 8);
    rig_put(g->r, pte_at(1, 0), e | PTE_U, 8);
    rig_put(g->r, pte_at(HIGH_TREE, 0), e | PTE_G, 8);
    privilege(g, PRIV_SUPERVISOR);
    check_access(g, HIGH_GVA, ACC_WRITE);
    privilege(g, PRIV_SUPERVISOR_AC);
    check_access(g, LOW_GVA, ACC_WRITE);
    privilege(g, PRIV_USER);
    check_access(g, LOW_GVA, ACC_WRITE);
    load_cr3(g, 1, false);
    assert_false(attempt(g->v, LOW_GVA, ACC_READ, &val));
    privilege(g, PRIV_SUPERVISOR_AC);
    assert_false(attempt(g->v, LOW_GVA, ACC_READ, &val));
    load_cr3(g, 0, true);
    assert_false(attempt(g->v, LOW_GVA, ACC_READ, &val));
    privilege(g, PRIV_SUPERVISOR);
    assert_true(attempt(g->v, HIGH_GVA, ACC_WRITE, &val));
    privilege(g, PRIV_USER);
    assert_true(attempt(g->v, LOW_GVA, ACC_WRITE, &val));
    load_cr3(g, 0, false);
    assert_false(attempt(g->v, LOW_GVA, ACC_READ, &val));
    guest_destroy(g);
}

/* Pages whose A is clear are never fetched ahead; those that have it are. */
static void test_around(void **state)
{
    (void)state;
    struct guest *g = guest_create(1);
    u64 val;
    for (u32 i = 0; i < 32; i++) {
        u64 e = (DATA_GPA + i * (u64)PAGE_BYTES) | PTE_P | PTE_W | (i & 1 ? PTE_A : 0);
        rig_put(g->r, pte_at(0, i), e | (i & 2 ? PTE_D : 0), 8);
    }
    privilege(g, PRIV_SUPERVISOR);
    check_access(g, LOW_GVA + 5 * PAGE_BYTES, ACC_READ);
    for (u32 i = 0; i < 32; i++) {
        const gva_t gva = LOW_GVA + i * (u64)PAGE_BYTES;
        assert_int_equal(attempt(g->v, gva, ACC_READ, &val), i < 16 && i & 1);
        assert_int_equal(attempt(g->v, gva, ACC_WRITE, &val), i < 16 && (i & 3) == 3);
        assert_int_equal(!!(rig_get(g->r, pte_at(0, i), 8) & PTE_A), i & 1);
    }
    rig_put(g->r, tree(0, 2) + 8, DATA_GPA | PTE_P | PTE_PS, 8);
    check_access(g, LOW_GVA + MIB(2), ACC_READ); /* a large page comes at once */
    for (u32 i = 0; i < REGION_ENTRIES; i++)
        assert_true(attempt(g->v, LOW_GVA + MIB(2) + i * PAGE_BYTES, ACC_READ, &val));
    assert_false(attempt(g->v, LOW_GVA + MIB(2), ACC_WRITE, &val));
    guest_destroy(g);
}

/* INVLPG anywhere in a 4 MiB page of 32-bit paging takes both halves. */
static void test_4m(void **state)
{
    (void)state;
    struct guest *g = guest_create(1);
    struct vcpu *v = g->v;
    u64 val;
    v->cr0 = CR0_PE | CR0_PG | CR0_WP;
    v->cr4 = CR4_PSE;
    v->efer = 0;
    v->cr3 = tree(5, 0);
    rig_put(g->r, v->cr3 + 0x100 * 4, DATA_GPA | PTE_P | PTE_W | PTE_PS, 4);
    rig_mode(v);
    privilege(g, PRIV_SUPERVISOR);
    for (u32 half = 0; half < 2; half++) {
        check_access(g, 0x40000008, ACC_WRITE);
        check_access(g, 0x40200008, ACC_WRITE);
        v->mmu->invlpg(v, half ? 0x40345000 : 0x40012000);
        assert_false(attempt(v, 0x40000008, ACC_READ, &val));
        assert_false(attempt(v, 0x40200008, ACC_READ, &val));
    }
    assert_int_equal(bt_table_fill(g->t, v, 0x140000008, ACC_READ), FILL_SLOW);
    guest_destroy(g);
}

static u32 mappings_in(const u8 *start, u64 bytes)
{
    FILE *f = fopen("/proc/self/maps", "re");
    char line[512];
    unsigned long long from, to;
    u32 n = 0;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        assert_int_equal(sscanf(line, "%llx-%llx", &from, &to), 2);
        n += from < (u64)(uintptr_t)start + bytes && to > (u64)(uintptr_t)start;
    }
    fclose(f);
    return n;
}

/* Of the host's page tables for this process, in KiB. */
static u64 page_table_kib(void)
{
    FILE *f = fopen("/proc/self/status", "re");
    char line[256];
    unsigned long long kib = 0;
    assert_non_null(f);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "VmPTE: %llu", &kib) == 1) break;
    }
    fclose(f);
    return kib;
}

static void check_records(struct bt_tables *t)
{
    u32 used = 0;
    for (u32 id = 1; id < PAGE_IDS; id++) {
        struct table_page *p = &t->page[id];
        if (p->table == TABLE_NONE) continue;
        used++;
        assert_ptr_equal(table_page_find(t, p->table, p->region), p);
    }
    for (u32 k = 0; k < t->count; k++) {
        for (u32 id = t->table[k].first_page; id; id = t->page[id].next) used--;
    }
    assert_int_equal(used, 0);
    assert_true(mappings_in(t->base, t->count * TABLE_STRIDE) <= t->vmas + 2 * t->count + 1);
}

/* A guest that touches everything everywhere costs a bounded number of pages and mappings. */
static void test_bounds(void **state)
{
    (void)state;
    struct guest *g = guest_create(3);
    const u64 kib = page_table_kib();
    const bool sanitized = kib > 4096; /* its shadow of the tables has page tables, too */
    for (u32 no = 0; no < TREES; no++)
        rig_put(g->r, pte_at(no, 0), (DATA_GPA + no * PAGE_BYTES) | PTE_P | PTE_W, 8);
    for (u32 i = 0; i < 60000; i++) {
        const u64 x = rnd(g);
        if (i % 64 == 0) load_cr3(g, (u32)(x >> 32) % HIGH_TREE, true);
        privilege(g, x % 3);
        const bool dense = i / 10000 & 1; /* neighbouring regions: the pages run out first */
        assert_true(bt_table_populate(g->t, dense ? i * MIB(2) : rnd(g)));
        assert_true(g->t->vmas <= VMAS_MAX);
        if (i % 50 == 0) {
            privilege(g, PRIV_SUPERVISOR);
            check_access(g, LOW_GVA, i & 1 ? ACC_WRITE : ACC_READ);
            check_access(g, HIGH_GVA, ACC_WRITE);
        }
        if (i % 2000 != 1999) continue;
        check_records(g->t);
        if (!sanitized) assert_true(page_table_kib() < kib + 16 * 1024);
    }
    guest_destroy(g);
}

/* An access that runs off the end of a slot meets the guard. */
static void test_guards(void **state)
{
    (void)state;
    struct guest *g = guest_create(1);
    const struct bt_view *w = bt_view_find(&g->views, MEM_BYTES - 1);
    u64 val;
    assert_non_null(w);
    assert_null(bt_view_find(&g->views, MEM_BYTES));
    const hva_t ends[] = {w->rw + MEM_BYTES, w->ro + MEM_BYTES, w->rw - 8, w->ro - 8};
    for (u32 i = 0; i < ARRAY_LEN(ends); i++) {
        for (volatile u64 off = 0; off < KIB(64); off += PAGE_BYTES) {
            volatile bool reached = false;
            if (!sigsetjmp(faulted, 0)) {
                load((u64)(uintptr_t)ends[i] + (i < 2 ? off : 0 - off));
                reached = true;
            }
            assert_false(reached);
        }
    }
    if (!sigsetjmp(faulted, 0)) {
        store((u64)(uintptr_t)w->ro, 1);
        fail();
    }
    store((u64)(uintptr_t)w->rw, 0x1234);
    assert_int_equal(load((u64)(uintptr_t)w->ro), 0x1234);
    val = rig_get(g->r, 0, 8);
    assert_int_equal(val, 0x1234);
    guest_destroy(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_poison),          cmocka_unit_test(test_aliases_not_canonical),
        cmocka_unit_test(test_guards),          cmocka_unit_test(test_spaces),
        cmocka_unit_test(test_around),          cmocka_unit_test(test_4m),
        cmocka_unit_test(test_protect_aliases), cmocka_unit_test(test_window_moves),
        cmocka_unit_test(test_bounds),          cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

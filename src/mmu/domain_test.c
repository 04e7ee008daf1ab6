/* Code protection between processors: every change of bytes somebody decoded is noticed, by the
 * processor that made it at its next boundary, by others before they act on news of it.
 *
 * One thread per vCPU plays an engine: it "decodes" lines (copies eight bytes of them), "executes"
 * its copies, and writes lines of its own with ever larger numbers. A device thread does the same
 * through mem_write(). Lines of all writers share pages, so that protecting, writing and dropping
 * collide all the time. */
#include <pthread.h>
#include <sched.h>

#include "mmu/rig_test.h"

enum { PAGES = 2, LINES_PER_PAGE = 8, LINES = PAGES * LINES_PER_PAGE, CODE = 0x10000 };
enum { VCPUS = 3, WRITERS = VCPUS + 1, ROUNDS = 30000 };

struct player {
    struct rig *r;
    struct vcpu *v; /* NULL: the device */
    u32 id;
    struct shared {
        _Atomic u64 published[LINES]; /* what the owner of the line last told about it */
        _Atomic u32 running, failed;
    } * s;
    bool have[LINES];
    u64 copy[LINES];
    u32 dropped;
};

static gpa_t line_gpa(u32 line)
{
    return CODE + line / LINES_PER_PAGE * PAGE_BYTES + line % LINES_PER_PAGE * 64 + 8;
}

/* What an engine does at an instruction boundary. */
static void boundary(struct player *p)
{
    u32 a = atomic_load(&p->v->attention);
    struct code_change c;
    if (a & ATT_FLUSH) mmu_service(p->v);
    if (!(a & ATT_CODE)) return;
    while (mmu_code_changed_take(p->v, &c)) {
        for (u32 i = 0; i < LINES; i++) {
            if (line_gpa(i) >= c.start && line_gpa(i) < c.end) p->have[i] = false;
        }
        p->dropped++;
    }
}

/* Execute a line that is known to hold at least @least. */
static void execute(struct player *p, u32 line, u64 least)
{
    boundary(p);
    if (!p->have[line]) {
        hva_t page;
        gpa_t gpa;
        if (mmu_fetch_page(p->v, line_gpa(line), &page, &gpa)) atomic_store(&p->s->failed, 100);
        mmu_protect_code(p->v, line_gpa(line), 8);
        p->copy[line] =
            __atomic_load_n((u64 *)(page + (line_gpa(line) & ~PAGE_MASK)), __ATOMIC_RELAXED);
        p->have[line] = true;
    }
    if (p->copy[line] < least) atomic_store(&p->s->failed, 1 + p->id);
}

static void change(struct player *p, u32 line, u64 val)
{
    if (!p->v) (void)!mem_write(&p->r->mem, line_gpa(line), &val, 8);
    else if (vcpu_write(p->v, line_gpa(line), &val, 8)) atomic_store(&p->s->failed, 200);
}

static void *play(void *arg)
{
    struct player *p = arg;
    u64 seed = 77 + p->id;
    if (p->v) mmu_enter_guest(p->v);
    for (u64 i = 1; i <= ROUNDS && !atomic_load(&p->s->failed); i++) {
        u64 x = rig_random(&seed);
        u32 own = (u32)(x % (LINES / WRITERS)) * WRITERS + p->id, other = (u32)(x >> 20) % LINES;
        if (x >> 40 & 1) {
            change(p, own, i);
            if (p->v) execute(p, own, i);
            atomic_store(&p->s->published[own], i);
        }
        if (p->v) execute(p, other, atomic_load(&p->s->published[other]));
        if (p->v && (x >> 45) % 256 == 0) { /* halted for a moment: nobody waits for it */
            mmu_leave_guest(p->v);
            sched_yield();
            mmu_enter_guest(p->v);
        }
    }
    if (p->v) mmu_leave_guest(p->v);
    atomic_fetch_sub(&p->s->running, 1);
    return NULL;
}

static void test_race(void **state)
{
    (void)state;
    struct rig *r = rig_create(MIB(1), VCPUS);
    struct shared *s = calloc(1, sizeof *s);
    struct player *p = calloc(WRITERS, sizeof *p);
    pthread_t thread[WRITERS];
    atomic_store(&s->running, WRITERS);
    for (u32 i = 0; i < WRITERS; i++) {
        p[i] = (struct player){.r = r, .v = i < VCPUS ? r->v[i] : NULL, .id = i, .s = s};
        assert_int_equal(pthread_create(&thread[i], NULL, play, &p[i]), 0);
    }
    for (u32 i = 0; i < WRITERS; i++) pthread_join(thread[i], NULL);
    assert_int_equal(atomic_load(&s->failed), 0);
    for (u32 i = 0; i < VCPUS; i++) { /* quiet now: what is still held is right */
        assert_int_not_equal(p[i].dropped, 0);
        mmu_enter_guest(p[i].v);
        boundary(&p[i]);
        for (u32 k = 0; k < LINES; k++) {
            if (p[i].have[k]) assert_int_equal(p[i].copy[k], rig_get(r, line_gpa(k), 8));
        }
        mmu_leave_guest(p[i].v);
    }
    free(p);
    free(s);
    rig_destroy(r);
}

/* ---- one thread ------------------------------------------------------------------------------ */

static u32 take_all(struct vcpu *v)
{
    struct code_change c;
    u32 n = 0;
    while (mmu_code_changed_take(v, &c)) n++;
    return n;
}

static void test_lines(void **state)
{
    (void)state;
    struct rig *r = rig_create(MIB(1), 2);
    struct vcpu *v = r->v[0];
    struct code_change c;
    u64 val = 1;
    mmu_enter_guest(v);
    assert_int_equal(vcpu_write(v, CODE, &val, 8), 0); /* a fast write entry exists */
    mmu_protect_code(v, CODE + 0x3C, 8);               /* lines 0 and 1 */
    assert_int_equal(mem_page_trace(&r->mem, CODE), MEM_TRACE_CODE);
    assert_int_equal(vcpu_write(v, CODE + 0x80, &val, 8), 0); /* data beside code */
    assert_int_equal(take_all(v), 0);
    assert_int_equal(mem_page_trace(&r->mem, CODE), MEM_TRACE_CODE);
    assert_int_equal(vcpu_write(v, CODE + 0x7F, &val, 1), 0);
    assert_true(atomic_load(&v->attention) & ATT_CODE);
    assert_true(mmu_code_changed_take(v, &c));
    assert_int_equal(c.start, CODE + 0x40);
    assert_int_equal(c.end, CODE + 0x80);
    assert_false(mmu_code_changed_take(v, &c));
    assert_false(atomic_load(&v->attention) & ATT_CODE);
    assert_int_equal(take_all(r->v[1]), 1); /* the other one is told as well */
    assert_int_equal(mem_page_trace(&r->mem, CODE), MEM_TRACE_CODE); /* line 0 is still code */
    assert_int_equal(vcpu_write(v, CODE + 0x40, &val, 8), 0);
    assert_int_equal(take_all(v), 0);
    assert_int_equal(vcpu_write(v, CODE + 0x3F, &val, 8), 0);
    assert_int_equal(take_all(v), 1);
    assert_int_equal(mem_page_trace(&r->mem, CODE), 0);
    assert_int_equal(vcpu_write(v, CODE, &val, 8), 0); /* unprotected now */
    assert_int_equal(take_all(v), 0);
    mmu_leave_guest(v);
    rig_destroy(r);
}

/* A page written beside its code becomes writable at full speed, each time later than before. */
static void test_data_beside_code(void **state)
{
    (void)state;
    struct rig *r = rig_create(MIB(1), 1);
    struct vcpu *v = r->v[0];
    u64 val = 1;
    u32 before = 0;
    mmu_enter_guest(v);
    for (u32 round = 0; round < 12; round++) {
        u32 writes = 0;
        mmu_protect_code(v, CODE, 8);
        while (mem_page_trace(&r->mem, CODE) && writes < 100000) {
            assert_int_equal(vcpu_write(v, CODE + 0x80, &val, 8), 0);
            writes++;
        }
        assert_int_equal(take_all(v), 1);
        assert_true(round >= 8 ? writes == before : writes > before);
        assert_in_range(writes, 1, 4096);
        before = writes;
    }
    mmu_leave_guest(v);
    rig_destroy(r);
}

/* A vCPU outside the guest drops its fast entries when it enters. */
static void test_outside(void **state)
{
    (void)state;
    struct rig *r = rig_create(MIB(1), 2);
    u64 val = 1;
    mmu_enter_guest(r->v[1]);
    assert_int_equal(vcpu_write(r->v[1], CODE, &val, 8), 0);
    mmu_leave_guest(r->v[1]);
    mmu_enter_guest(r->v[0]);
    mmu_protect_code(r->v[0], CODE, 4);
    mmu_leave_guest(r->v[0]);
    mmu_enter_guest(r->v[1]);
    assert_null(tlb_find(r->v[1], CODE, 8, ACC_WRITE));
    assert_int_equal(vcpu_write(r->v[1], CODE, &val, 8), 0);
    mmu_leave_guest(r->v[1]);
    assert_int_equal(take_all(r->v[0]), 1);
    rig_destroy(r);
}

/* Queues that overflow turn into "everything". */
static void test_overflow(void **state)
{
    (void)state;
    struct rig *r = rig_create(MIB(1), 2);
    struct code_change c;
    u64 val = 1;
    mmu_enter_guest(r->v[1]);
    for (u32 i = 0; i < 40; i++) {
        assert_int_equal(vcpu_write(r->v[1], CODE + i * PAGE_BYTES, &val, 8), 0);
    }
    mmu_leave_guest(r->v[1]);
    mmu_enter_guest(r->v[0]);
    for (u32 i = 0; i < 40; i++) mmu_protect_code(r->v[0], CODE + i * PAGE_BYTES, 4);
    for (u32 i = 0; i < 40; i++) {
        assert_int_equal(mem_write(&r->mem, CODE + i * PAGE_BYTES, &val, 1), 0);
    }
    assert_true(mmu_code_changed_take(r->v[0], &c));
    assert_int_equal(c.start, 0);
    assert_int_equal(c.end, ~0ull);
    assert_false(mmu_code_changed_take(r->v[0], &c));
    mmu_enter_guest(r->v[1]);
    for (u32 i = 0; i < 40; i++) {
        assert_null(tlb_find(r->v[1], CODE + i * PAGE_BYTES, 8, ACC_WRITE));
    }
    mmu_leave_guest(r->v[1]);
    mmu_protect_code(r->v[0], MIB(1), 4); /* a hole: nothing to protect */
    mmu_leave_guest(r->v[0]);
    rig_destroy(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lines),   cmocka_unit_test(test_data_beside_code),
        cmocka_unit_test(test_outside), cmocka_unit_test(test_overflow),
        cmocka_unit_test(test_race),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

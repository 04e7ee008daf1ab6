/* Direct jumps between pages, linked by slots: what fills and empties them, and guests that change
 * what a link relies on, each run many times over the same code by the interpreter and bt. */
#include "engine/bt/jump_cache.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test.h"
#include "cpu/cpuid.h"
#include "cpu/env.h"
#include "cpu/vcpu_mode.h"
#include "engine/bt/bt.h"
#include "engine/interp/interp.h"
#include "mmu/mmu.h"

/* ---- guests ---------------------------------------------------------------------------------- */

enum { P = 1 << 0, W = 1 << 1, U = 1 << 2, D = 1 << 6, RAM = 4 << 20, HANG_SECONDS = 60 };
enum { ROOT = 0x1000, ROOT2 = 0x5000, KERNEL = 0x110000, MAIN = 0x100000, STACK = 0x1F0000 };
/* functions: linear addresses, at first also physical */
enum { F = 0x120000, G = 0x121000, SHARED = 0x130000, ELSEWHERE = 0x140000 };

struct rig {
    struct mem mem;
    struct mmu_domain *domain;
    struct cpu_env env;
    struct cpu_model model;
    struct vcpu *v;
    const struct engine *engine;
    u32 at; /* where code is put */
};

static void put(struct rig *r, const char *hex)
{
    for (; *hex; hex++) {
        if (*hex == ' ') continue;
        const char digits[3] = {hex[0], hex[1], 0};
        const u8 byte = (u8)strtoul(digits, NULL, 16);
        assert_int_equal(mem_write(&r->mem, r->at++, &byte, 1), 0);
        hex++;
    }
}
static void put32(struct rig *r, u32 val)
{
    assert_int_equal(mem_write(&r->mem, r->at, &val, 4), 0);
    r->at += 4;
}
/* @op rel32: E8 is a call, E9 a jump, 0F 85 JNZ */
static void branch(struct rig *r, const char *op, u32 to)
{
    put(r, op);
    put32(r, to - (r->at + 4));
}
/* @op: an instruction up to its 32-bit address or number */
static void with(struct rig *r, const char *op, u32 val)
{
    put(r, op);
    put32(r, val);
}
/* add ebx, @n; ret */
static void function(struct rig *r, u32 at, u32 n)
{
    r->at = at;
    with(r, "81 C3", n);
    put(r, "C3");
}

static gpa_t pte_of(u64 root, u32 gva) { return root + 0x3000 + (gva >> 12) * 8; }
static void map(struct rig *r, u64 root, u32 gva, u32 gpa)
{
    const u64 pte = gpa | P | W | U | D; /* written to before */
    assert_int_equal(mem_write(&r->mem, pte_of(root, gva), &pte, 8), 0);
}
/* The first 2 MiB, one to one by small pages: root, and three tables behind it. */
static void make_space(struct rig *r, u64 root)
{
    for (u32 i = 0; i < 3; i++) {
        const u64 entry = (root + (i + 1) * 0x1000) | P | W | U;
        assert_int_equal(mem_write(&r->mem, root + i * 0x1000, &entry, 8), 0);
    }
    for (u32 gva = 0; gva < 2 << 20; gva += PAGE_BYTES) map(r, root, gva, gva);
}

static struct rig *make(const struct engine *engine)
{
    struct err e = {0};
    struct rig *r = calloc(1, sizeof *r);
    struct cpu_model_cfg model = {.vcpus = 1, .tsc_khz = 1000000};
    assert_non_null(r);
    assert_int_equal(cpu_model_init(&r->model, "max", &model, &e), 0);
    assert_int_equal(mem_init(&r->mem, &e), 0);
    assert_int_equal(mem_add(&r->mem, 0, RAM, false, &e), 0);
    assert_int_equal(mmu_domain_create(&r->domain, &r->mem, &e), 0);
    make_space(r, ROOT);
    make_space(r, ROOT2);
    struct vcpu *v = r->v = aligned_alloc(64, align_up(sizeof *v, 64));
    struct vcpu_cfg cfg = {.tsc_khz = 1000000, .mem = &r->mem, .env = &r->env, .model = &r->model};
    vcpu_init(v, &cfg);
    assert_int_equal(mmu_init(v, r->domain, &e), 0);
    v->cr0 = CR0_PE | CR0_PG | CR0_WP;
    v->cr4 = CR4_PAE | CR4_OSFXSR | CR4_PCIDE;
    v->efer = EFER_LME | EFER_LMA | EFER_SCE;
    v->cr3 = ROOT;
    v->seg[CS].attr = SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A | SEG_L;
    v->seg[CS].base = 0;
    v->gpr[RSP] = STACK;
    v->mmu->flush_all(v);
    vcpu_mode_changed(v);
    r->engine = engine;
    assert_int_equal(engine->init(v, &e), 0);
    return r;
}

/* From @rip to its HLT; returns RBX. */
static u64 run(struct rig *r, u64 rip)
{
    r->v->rip = rip;
    r->v->run_state = VCPU_RUNNING;
    assert_int_equal(r->engine->run(r->v, 0), RUN_HALTED);
    return r->v->gpr[RBX];
}
static void done(struct rig *r)
{
    r->engine->fini(r->v);
    mmu_fini(r->v);
    free(r->v);
    mmu_domain_destroy(r->domain);
    mem_fini(&r->mem);
    free(r);
}

/* Each round (ESI of them) calls F ten times and then has it mapped to the other of two pages. */
static u64 target_remapped(struct rig *r)
{
    function(r, F, 1);
    function(r, G, 0x1000);
    r->at = MAIN;
    with(r, "BE", 40); /* mov esi, 40 */
    const u32 round = r->at;
    with(r, "B9", 10); /* mov ecx, 10 */
    const u32 again = r->at;
    branch(r, "E8", F);
    put(r, "FF C9"); /* dec ecx */
    branch(r, "0F 85", again);
    with(r, "48 81 34 25", (u32)pte_of(ROOT, F)); /* xor qword [pte], F ^ G */
    put32(r, F ^ G);
    with(r, "0F 01 3C 25", F); /* invlpg [F] */
    put(r, "FF CE");           /* dec esi */
    branch(r, "0F 85", round);
    put(r, "F4");
    return run(r, MAIN);
}

/* One physical page of code at two linear addresses; its jump leads to different functions. First
 * one address is called 64 times and then the other, and again; then they take turns. */
static u64 page_at_two_addresses(struct rig *r)
{
    function(r, SHARED + PAGE_BYTES, 1);
    function(r, ELSEWHERE + PAGE_BYTES, 0x1000);
    r->at = SHARED;
    branch(r, "E9", SHARED + PAGE_BYTES);
    map(r, ROOT, ELSEWHERE, SHARED);
    r->v->mmu->flush_all(r->v);
    r->at = MAIN;
    with(r, "BF", 6); /* mov edi, 6 */
    const u32 round = r->at;
    with(r, "B9", 64);
    u32 again = r->at;
    branch(r, "E8", SHARED);
    put(r, "FF C9");
    branch(r, "0F 85", again);
    with(r, "B9", 64);
    again = r->at;
    branch(r, "E8", ELSEWHERE);
    put(r, "FF C9");
    branch(r, "0F 85", again);
    put(r, "FF CF");
    branch(r, "0F 85", round);
    with(r, "B9", 64);
    again = r->at;
    branch(r, "E8", SHARED);
    branch(r, "E8", ELSEWHERE);
    put(r, "FF C9");
    branch(r, "0F 85", again);
    put(r, "F4");
    return run(r, MAIN);
}

/* Code of the function changes between calls, and sometimes is only written again. */
static u64 target_changed(struct rig *r)
{
    function(r, F, 0);
    r->at = MAIN;
    with(r, "BE", 600);
    const u32 round = r->at;
    put(r, "89 F0 C1 E8 02");   /* mov eax, esi; shr eax, 2 */
    with(r, "88 04 25", F + 2); /* mov [F + 2], al */
    with(r, "B9", 3);
    const u32 again = r->at;
    branch(r, "E8", F);
    put(r, "FF C9");
    branch(r, "0F 85", again);
    put(r, "FF CE");
    branch(r, "0F 85", round);
    put(r, "F4");
    return run(r, MAIN);
}

/* Run MAIN as the user, with R8 = @cr3 and system calls to KERNEL. */
static u64 enter_user(struct rig *r, u64 cr3)
{
    struct vcpu *v = r->v;
    v->gpr[R8] = cr3;
    v->lstar = KERNEL;
    v->star = 0x1Bull << 48 | 8ull << 32;
    v->seg[CS].attr |= 3 << SEG_DPL_SHIFT;
    v->seg[CS].sel = 0x2B;
    v->seg[SS].attr = SEG_P | SEG_S | SEG_W | SEG_A | 3 << SEG_DPL_SHIFT;
    v->seg[SS].sel = 0x23;
    v->cpl = 3;
    v->mmu->flush_all(v);
    vcpu_mode_changed(v);
    return run(r, MAIN);
}

/* The user's 60 rounds of ten calls of @function_at, each followed by @more; after a round @change
 * with @by, and a system call; at last one with EDI = 0. The supervisor's code is put next. */
static void rounds(struct rig *r, u32 function_at, const char *more, const char *change, u32 by)
{
    with(r, "BE", 60); /* mov esi, 60 */
    const u32 round = r->at;
    with(r, "BD", 10); /* mov ebp, 10 */
    const u32 again = r->at;
    branch(r, "E8", function_at);
    put(r, more);
    put(r, "FF CD"); /* dec ebp */
    branch(r, "0F 85", again);
    with(r, change, by);
    put(r, "0F 05"); /* syscall */
    put(r, "FF CE");
    branch(r, "0F 85", round);
    with(r, "BF", 0);
    put(r, "0F 05");
    r->at = KERNEL;
}

/* Two address spaces share a page of user code, at different addresses; the system call changes
 * between them. @flush: CR3's bit 63 clear. The user's calls of F and of the shared page lead to
 * other functions in the other space. */
static u64 spaces(struct rig *r, bool pcid, bool flush)
{
    function(r, F, 1);
    function(r, G, 0x1000);
    map(r, ROOT2, F, G);
    function(r, SHARED + PAGE_BYTES, 0x20000);
    function(r, ELSEWHERE + PAGE_BYTES, 0x300000);
    r->at = SHARED;
    branch(r, "E9", SHARED + PAGE_BYTES);
    map(r, ROOT2, ELSEWHERE, SHARED);
    r->at = MAIN;
    with(r, "BF", SHARED); /* mov edi, SHARED */
    rounds(r, F, "FF D7" /* call rdi */, "81 F7" /* xor edi, ... */, SHARED ^ ELSEWHERE);
    put(r, "85 FF");       /* test edi, edi */
    put(r, "74 0A");       /* jz hlt */
    put(r, "49 31 D0");    /* xor r8, rdx */
    put(r, "41 0F 22 D8"); /* mov cr3, r8 */
    put(r, "48 0F 07");    /* sysretq */
    put(r, "F4");
    r->v->cr4 = CR4_PAE | CR4_OSFXSR | (pcid ? CR4_PCIDE : 0);
    r->v->gpr[RDX] = (ROOT ^ ROOT2) | (pcid ? 1 : 0);
    return enter_user(r, ROOT | (flush || !pcid ? 0 : BIT(63)));
}
static u64 spaces_kept(struct rig *r) { return spaces(r, true, false); }
static u64 spaces_flushed(struct rig *r) { return spaces(r, true, true); }
static u64 spaces_without_pcid(struct rig *r) { return spaces(r, false, true); }

/* The user calls @function ten times in each of 60 rounds; the system call behind it flushes the
 * address space and, every other time, has @page mapped to the other of two pages before. */
static u64 flushed(struct rig *r, u32 function_at, u32 page, u32 other)
{
    r->at = MAIN;
    with(r, "BF", 1); /* mov edi, 1 */
    rounds(r, function_at, "", "41 81 F1" /* xor r9d, ... */, page ^ other);
    put(r, "85 FF 74 0F");                           /* test edi, edi; jz hlt */
    with(r, "4C 31 0C 25", (u32)pte_of(ROOT, page)); /* xor [pte], r9 */
    put(r, "41 0F 22 D8");                           /* mov cr3, r8 */
    put(r, "48 0F 07");                              /* sysretq */
    put(r, "F4");
    r->v->gpr[R9] = 0;
    return enter_user(r, ROOT);
}
static u64 space_flushed(struct rig *r)
{
    function(r, F, 1);
    function(r, G, 0x1000);
    return flushed(r, F, F, G);
}
/* The function is a jump that goes on in the page behind, where nothing else is. */
static u64 space_flushed_across(struct rig *r)
{
    function(r, SHARED, 1);
    function(r, SHARED + 0x80, 0x1000);
    r->at = G - 1;
    branch(r, "E9", SHARED);
    r->at = ELSEWHERE;
    put32(r, SHARED + 0x80 - (G + 4));
    return flushed(r, G - 1, G, ELSEWHERE);
}

/* A conditional jump and the end of a page lead to the next page, which is unmapped and mapped
 * elsewhere meanwhile by the supervisor's own code. */
static u64 edges(struct rig *r)
{
    r->at = F + PAGE_BYTES - 9; /* test ecx, 1; jnz G + 0x80; nop */
    put(r, "F6 C1 01");
    branch(r, "0F 85", G + 0x80);
    function(r, G, 1); /* begins at the page's edge */
    function(r, G + 0x80, 0x100);
    function(r, ELSEWHERE, 0x10000);
    function(r, ELSEWHERE + 0x80, 0x1000000);
    r->at = MAIN;
    with(r, "BE", 40);
    const u32 round = r->at;
    with(r, "B9", 10);
    const u32 again = r->at;
    branch(r, "E8", F + PAGE_BYTES - 9);
    put(r, "FF C9");
    branch(r, "0F 85", again);
    with(r, "48 81 34 25", (u32)pte_of(ROOT, G));
    put32(r, G ^ ELSEWHERE);
    with(r, "0F 01 3C 25", G);
    put(r, "FF CE");
    branch(r, "0F 85", round);
    put(r, "F4");
    return run(r, MAIN);
}

static const struct guest {
    const char *name;
    u64 (*fn)(struct rig *r);
    u64 result;
} guests[] = {
    {"target remapped", target_remapped, 20 * 10 * 0x1001},
    {"page at two addresses", page_at_two_addresses, 7 * 64 * 0x1001},
    {"target changed", target_changed, 0},
    {"spaces kept", spaces_kept, 30 * 10 * (0x1001 + 0x320000)},
    {"spaces flushed", spaces_flushed, 30 * 10 * (0x1001 + 0x320000)},
    {"spaces without PCID", spaces_without_pcid, 30 * 10 * (0x1001 + 0x320000)},
    {"space flushed", space_flushed, 30 * 10 * 0x1001},
    {"space flushed, across pages", space_flushed_across, 30 * 10 * 0x1001},
    {"edges of pages", edges, 20 * 5 * 0x1010101},
};

/* In a process of its own: cmocka has signal handlers around each test. */
static u64 result_of(const struct guest *g, const struct engine *engine)
{
    int fd[2];
    u64 result = ~0ull;
    assert_int_equal(pipe(fd), 0);
    pid_t pid = fork();
    if (pid == 0) {
        alarm(HANG_SECONDS);
        struct rig *r = make(engine);
        result = (u32)g->fn(r);
        const u64 links = engine == &engine_bt ? r->v->stats.bt_far_jumps : 1;
        done(r);
        _exit(links && write(fd[1], &result, sizeof result) == sizeof result ? 0 : 1);
    }
    int status;
    close(fd[1]);
    const bool ok = read(fd[0], &result, sizeof result) == sizeof result;
    close(fd[0]);
    assert_true(waitpid(pid, &status, 0) == pid);
    if (!ok || status) fail_msg("%s: status %#x", g->name, status);
    return result;
}

static void test_guests(void **state)
{
    struct err e = {0};
    (void)state;
    if (engine_bt.probe(&e) < 0) skip();
    for (u32 k = 0; k < ARRAY_LEN(guests); k++) {
        const u64 want = result_of(&guests[k], &engine_interp);
        if (guests[k].result) assert_int_equal(want, guests[k].result);
        assert_int_equal(result_of(&guests[k], &engine_bt), want);
    }
}

/* ---- slots ----------------------------------------------------------------------------------- */

static struct far_place place(u64 address, const u8 *code)
{
    return (struct far_place){address, code};
}

static void test_slots(void **state)
{
    static u8 code[128];
    const u8 *near = code + 40 + BT_FAR_BYTES, *near2 = code + 50 + BT_FAR_BYTES;
    code[40] = code[50] = BT_FAR_NOP;
    struct far_links f;
    struct err e = {0};
    struct jump_table *j = calloc(1, sizeof *j);
    struct bt_slot s = {.page = 7, .page_gpa = 0x5000}, other = {.page = 8, .page_gpa = 0x6000};
    struct bt_out out = {.slots = 2, .far = {{10, 0x10}, {20, 0x20}}};
    u64 old = 0;
    (void)state;
    assert_int_equal(far_init(&f, &e), 0);
    j->epoch = far_new_epoch(&f);
    assert_int_equal(far_take(&f, &out, &s, code), 1);
    far_clear(&f, j, 1);
    assert_ptr_equal(j->slot[1], code + 10);
    assert_ptr_equal(j->slot[2], code + 20);
    far_fill(&f, j, 1, place(0x7000, code + 40)); /* its page has no home */
    assert_ptr_equal(j->slot[1], code + 10);
    assert_false(far_move(&f, j, &s, 0x400010, &old));
    assert_true(far_is_home(&f, j, &s, 0x400FF0));
    assert_int_equal(j->base[7], 0x400000);
    assert_false(far_is_home(&f, j, &s, 0x401000) || far_is_home(&f, j, &other, 0x400000));
    far_fill(&f, j, 1, place(0x7000, code + 40));
    far_fill(&f, j, 2, place(0x8000, code + 50));
    far_fill(&f, j, 3, place(0x8000, code + 50)); /* there is none */
    assert_ptr_equal(j->slot[1], near);
    far_drop_page(&f, j, 7);
    assert_ptr_equal(j->slot[1], code + 10);
    assert_ptr_equal(j->slot[2], near2);
    far_fill(&f, j, 1, place(0x9000, code + 60)); /* to be entered with T1 only */
    assert_ptr_equal(j->slot[1], code + 10);
    assert_int_equal(f.place_of[2], bt_place(7, 0x20));
    assert_true(far_move(&f, j, &s, 0xFFFFFFFF80000000, &old) && old == 0x400000);
    far_clear(&f, j, 1);
    assert_ptr_equal(j->slot[2], code + 20);
    assert_true(far_move(&f, j, &s, 0x400000, &old) && old == 0xFFFFFFFF80000000);
    j->epoch = far_new_epoch(&f); /* emptied: nothing is known */
    assert_false(far_is_home(&f, j, &s, 0x400000) || far_move(&f, j, &s, 0x900000, &old));
    for (u32 k = 0; k < FAR_MOVES_MAX - 1; k++)
        assert_true(far_move(&f, j, &s, (u64)k << PAGE_SHIFT, &old));
    assert_true(far_wanders(&f, 7, far_page_id(&s)) && !far_wanders(&f, 8, far_page_id(&s)));
    assert_false(far_move(&f, j, &s, 0x990000, &old)); /* too often: anywhere, but no slots */
    assert_true(far_is_home(&f, j, &s, 0x123000));
    far_fill(&f, j, 1, place(0x7000, code + 40));
    assert_ptr_equal(j->slot[1], code + 10);
    free(j);
    far_fini(&f);
}

/* A page's record becomes another's, and with it its home: no slot may lead to its blocks. */
static void test_evictions(void **state)
{
    static u8 code[64];
    struct err e = {0};
    struct bt_state *s = calloc(1, sizeof *s);
    struct jump_table *j = calloc(1, sizeof *j);
    const struct bt_slot slot = {.page = 7, .page_gpa = 0x5000};
    const struct bt_out out = {.slots = 1, .far = {{10, 0x10}}};
    u64 old;
    (void)state;
    code[40] = BT_FAR_NOP;
    assert_int_equal(far_init(&s->far, &e), 0);
    j->epoch = far_new_epoch(&s->far);
    j->key = 1;
    s->jump[s->jumps++] = j;
    assert_int_equal(far_take(&s->far, &out, &slot, code), 1);
    far_clear(&s->far, j, 1);
    assert_false(far_move(&s->far, j, &slot, 0x400010, &old));
    far_fill(&s->far, j, 1, place(0x7000, code + 40));
    jump_note_evictions(s);
    assert_ptr_equal(j->slot[1], code + 40 + BT_FAR_BYTES);
    s->code.evictions++;
    jump_note_evictions(s);
    assert_ptr_equal(j->slot[1], code + 10);
    far_fini(&s->far);
    free(j);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_evictions),
        cmocka_unit_test(test_guests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

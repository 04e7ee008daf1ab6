/* A processor moves between engines: a guest is stopped at an instruction boundary under one
 * engine, goes on under another in the same process with the same struct vcpu, and must end like a
 * run that was never interrupted. A further engine is one row of engines[].
 *
 * The guest walks through real mode, an interrupt of its own, 32-bit protected mode, paging, 64-bit
 * mode and compatibility mode, with string instructions, I/O, MSRs, x87 and SSE state on the way.
 * Software emulations of KVM know most of its instructions; x87, AAA, MOVD, PADDD and CMPXCHG16B
 * they do not, so those are stepped there, in between. */
#include <signal.h>
#include <stdio.h>

#include "cpu/breakpoint.h"
#include "engine/bt/bt.h"
#include "engine/common/rig_test.h"
#include "engine/interp/interp.h"
#include "engine/kvm/kvm.h"

static const struct engine *const all[] = {&engine_interp, &engine_kvm, &engine_bt};

enum { CODE = 0x1000, PML4 = 0x2000, PDPT = 0x3000, PD = 0x4000, DATA = 0x6000, INSNS_MAX = 1000 };

/* Linked anywhere, runs at CODE: addresses are CODE + (label - guest). */
__asm__(
    ".pushsection .rodata\n"
    ".set AT, 0x1000\n"
    "guest:\n"
    ".code16\n"
    "xor %ax, %ax; mov %ax, %ds; mov %ax, %es; mov %ax, %ss; mov $0x7000, %sp\n"
    "mov $0x1234, %bx; mov $5, %cx\n"
    "1: add %bx, %ax; rol $3, %bx; push %ax; loop 1b\n"
    "pop %dx; pushf; pop %si; add %si, %dx\n"
    "movw $(AT + handler16 - guest), 0x80; movw $0, 0x82; int $0x20\n" /* through the IVT */
    "mov $0x6000, %di; mov $7, %cx; mov $0xA5, %al; cld; rep stosb\n"
    "mov $0x6000, %si; mov $0x6010, %di; mov $6, %cx; rep movsb\n"
    "mov $0x3FF, %dx; mov $0x5A, %al; out %al, %dx; in %dx, %al; mov %al, 0x6020\n"
    "mov $0x6000, %si; mov $3, %cx; rep outsb\n"
    "mov $0x6024, %di; mov $3, %cx; rep insb\n"
    "mov $0x1111, %ax; mov %ax, %fs; mov %fs, %bx\n"
    "lgdtl (AT + gdtr - guest)\n"
    "mov %cr0, %eax; or $1, %al; mov %eax, %cr0\n"
    "ljmpl $8, $(AT + prot - guest)\n"
    "handler16: mov %sp, %bp; mov 4(%bp), %di; inc %bx; iret\n"
    ".code32\n"
    "prot: mov $16, %ax; mov %ax, %ds; mov %ax, %es; mov %ax, %ss; mov $0x7000, %esp\n"
    "mov $0xDEADBEEF, %eax; mov $0x12345, %ecx; mul %ecx; mov %edx, 0x6030; bswap %eax\n"
    "push %eax; mov $0xF, %eax; aaa; mov %eax, 0x60B0; pop %eax\n"
    "bt $3, %eax; adc $0, %ebx; shld $5, %eax, %ebx; call 2f; jmp 3f\n"
    "2: push %ebp; mov %esp, %ebp; add $7, %eax; leave; ret\n"
    "3: mov $0xE0000000, %edi; mov %eax, (%edi); mov 4(%edi), %cl; mov %cl, 0x6034\n"
    "mov $0xC0000081, %ecx; mov $0x11, %eax; mov $0x22, %edx; wrmsr\n"
    "mov $0x174, %ecx; mov $8, %eax; xor %edx, %edx; wrmsr\n"
    "mov $0x1234, %eax; mov %eax, %dr0; mov %dr0, %ebx; mov %ebx, 0x6038\n"
    "mov %cr4, %eax; or $0x620, %eax; mov %eax, %cr4\n" /* PAE, OSFXSR, OSXMMEXCPT */
    "mov $0x2000, %eax; mov %eax, %cr3\n"
    "mov $0xC0000080, %ecx; rdmsr; or $0x101, %eax; wrmsr\n"
    "mov %cr0, %eax; or $0x80010000, %eax; mov %eax, %cr0\n"
    "ljmpl $24, $(AT + long64 - guest)\n"
    ".code64\n"
    "long64: mov $0x123456789ABCDEF0, %r8; mov %r8, %r9; imul %r9, %r9\n"
    "mov $10, %r10d; 4: add %r8, %r9; ror $7, %r9; xor %r10, %r9; dec %r10d; jnz 4b\n"
    "mov %r9, 0x6040; movups 0x6000, %xmm3; movups %xmm3, 0x6050\n"
    "fninit; fnstcw 0x6060; fldpi; fld1; fadd %st(1), %st; fstpl 0x60A0; fldl2e; movd %r9d, %xmm5\n"
    "paddd %xmm3, %xmm5; mov $0x30, %al; lock cmpxchg16b 0x60C0; push %r9; pop %r11; cmp %r9, "
    "%r11; sete %r12b\n"
    "mov $0xC0000081, %ecx; rdmsr; mov %edx, 0x6064; mov $0xC0000100, %ecx\n"
    "mov $0x6000, %eax; xor %edx, %edx; wrmsr; mov %fs:0x10, %r13\n"
    "mov $3, %eax; mov %rax, %cr8; mov %cr8, %r14; mov $5, %al; out %al, $0x80\n"
    "lock xadd %r14, 0x6070; cmpxchg %r13, 0x6070; xor %r15, %r15; not %r15\n"
    "movups 0x6010, %xmm15; movups %xmm15, 0x6080; std; cld; stc\n"
    "lretq_at: push $8; push $(AT + compat - guest); lretq\n"
    ".code32\n"
    "compat: mov $16, %eax; mov %eax, %ds; mov 0x6040, %edx; sbb %eax, %edx; mov %edx, 0x6090\n"
    "ljmpl $24, $(AT + last - guest)\n"
    ".code64\n"
    "last: lea 0x77(%rdx), %rsi; hlt\n"
    ".balign 8\n"
    "gdt: .quad 0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF, 0x00AF9B000000FFFF\n"
    "gdtr: .word 31; .long AT + gdt - guest\n"
    "guest_end:\n"
    ".popsection\n");
extern const u8 guest[], guest_end[];

/* ---- running --------------------------------------------------------------------------------- */

static const struct engine *usable[ARRAY_LEN(all)];
static u32 usables;

static struct rig *make(void)
{
    static const u64 pml4 = PDPT | 3, pdpt[4] = {PD | 3, 0, 0, 0xC0000083}, pd = 0x83;
    struct rig *r = rig_create(usable, usables);
    rig_put(r, CODE, guest, (u64)(guest_end - guest));
    rig_put(r, PML4, &pml4, sizeof pml4);
    rig_put(r, PDPT, pdpt, sizeof pdpt);
    rig_put(r, PD, &pd, sizeof pd);
    rig_real_mode(r, CODE);
    return r;
}

/* One instruction, whatever the engine takes for one. True: the guest is over. */
static bool step(struct rig *r)
{
    vcpu_attention(r->v, ATT_STEP);
    enum run_exit why = rig_run(r, 1);
    if (why == RUN_SHUTDOWN) vcpu_dump(r->v, 2);
    assert_true(why == RUN_BUDGET || why == RUN_HALTED);
    return why == RUN_HALTED;
}

static void finish(struct rig *r)
{
    enum run_exit why = rig_run(r, 0);
    if (why != RUN_HALTED) vcpu_dump(r->v, 2);
    assert_int_equal(why, RUN_HALTED);
}

#define SAME(field) same(#field, &a->field, &b->field, sizeof a->field, note)
static void same(const char *what, const void *a, const void *b, size_t n, const char *note)
{
    const u8 *x = a, *y = b;
    for (size_t i = 0; i < n; i++) {
        if (x[i] != y[i])
            fail_msg("%s: %s differs at byte %zu: %02x, not %02x", note, what, i, x[i], y[i]);
    }
}

/* Everything the architecture can see. */
static void check_same(const struct rig *got, const struct rig *want, const char *note)
{
    const struct vcpu *a = got->v, *b = want->v;
    SAME(gpr), SAME(rip), SAME(rflags), SAME(cpl), SAME(mode), SAME(run_state), SAME(shadow);
    SAME(cr0), SAME(cr2), SAME(cr3), SAME(cr4), SAME(efer), SAME(xcr0), SAME(dr), SAME(dr6);
    SAME(dr7), SAME(gdtr.base), SAME(gdtr.limit), SAME(idtr.base), SAME(idtr.limit);
    SAME(star), SAME(lstar), SAME(sysenter_cs), SAME(pat), SAME(kernel_gs_base);
    SAME(vec), SAME(k), SAME(fx.st), SAME(fx.fcw), SAME(fx.fsw), SAME(fx.ftw), SAME(fx.mxcsr);
    for (u32 s = 0; s < SEGS; s++) {
        SAME(seg[s].sel);
        if (s == FS || s == GS || a->mode != ISA_64) SAME(seg[s].base);
    }
    SAME(seg[CS].attr), SAME(seg[CS].limit);
    same("memory", got->mem.slot[0].hva, want->mem.slot[0].hva, RIG_RAM, note);
    same("I/O", got->io, want->io, sizeof got->io, note);
    same("I/O count", &got->ios, &want->ios, sizeof got->ios, note);
    same("CR8", &got->cr8, &want->cr8, sizeof got->cr8, note);
}

/* cmocka puts its own fault handlers in front of each test, engines install theirs once per
 * process: keep those and put them back. */
static const int fault_signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
static struct sigaction fault_actions[ARRAY_LEN(fault_signals)];
static int keep_handlers(void **state)
{
    struct rig *r = make();
    (void)state;
    for (u32 i = 0; i < usables; i++) rig_engine(r, usable[i]);
    for (u32 i = 0; i < ARRAY_LEN(fault_signals); i++)
        sigaction(fault_signals[i], NULL, &fault_actions[i]);
    rig_destroy(r);
    return 0;
}
static void restore_handlers(void)
{
    for (u32 i = 0; i < ARRAY_LEN(fault_signals); i++)
        sigaction(fault_signals[i], &fault_actions[i], NULL);
}

/* The reference: never interrupted, under the oracle. */
static struct rig *reference(void)
{
    struct rig *r = make();
    restore_handlers();
    rig_engine(r, &engine_interp);
    finish(r);
    return r;
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void test_uninterrupted(void **state)
{
    struct rig *want = reference();
    (void)state;
    assert_int_equal(want->io[0].at, 0x3FF);
    assert_int_equal(want->v->mode, ISA_64);
    for (u32 i = 0; i < usables; i++) {
        struct rig *r = make();
        rig_engine(r, usable[i]);
        finish(r);
        check_same(r, want, usable[i]->name);
        rig_destroy(r);
    }
    rig_destroy(want);
}

/* @n instructions under @a, the rest under @b. True: @a saw the end. */
static bool move_at(u32 n, const struct engine *a, const struct engine *b, const struct rig *want)
{
    char note[64];
    bool over = false;
    struct rig *r = make();
    rig_engine(r, a);
    for (u32 i = 0; i < n && !over; i++) over = step(r);
    if (!over) {
        rig_engine(r, b);
        finish(r);
    }
    snprintf(note, sizeof note, "%s for %u instructions, then %s", a->name, n, b->name);
    check_same(r, want, note);
    rig_destroy(r);
    return over;
}

static void test_every_boundary(void **state)
{
    struct rig *want = reference();
    (void)state;
    for (u32 a = 0; a < usables; a++) {
        for (u32 b = 0; b < usables; b++) {
            if (a == b) continue;
            u32 n = 0;
            while (n < INSNS_MAX && !move_at(n, usable[a], usable[b], want)) n++;
            assert_in_range(n, 100, INSNS_MAX - 1);
        }
    }
    rig_destroy(want);
}

/* A budget given at once, as a machine would. What bt translates it does not count: the guest may
 * be over by then. */
static void test_budgets(void **state)
{
    static const u32 budgets[] = {1, 10, 50, 100};
    struct rig *want = reference();
    (void)state;
    for (u32 i = 0; i < usables * usables * ARRAY_LEN(budgets); i++) {
        u32 budget = budgets[i % ARRAY_LEN(budgets)], pair = i / (u32)ARRAY_LEN(budgets);
        struct rig *r = make();
        rig_engine(r, usable[pair / usables]);
        const enum run_exit why = rig_run(r, budget);
        if (why != RUN_HALTED) {
            assert_int_equal(why, RUN_BUDGET);
            assert_true(r->v->stats.insns >= budget);
            rig_engine(r, usable[pair % usables]);
            finish(r);
        } else assert_ptr_equal(usable[pair / usables], &engine_bt);
        check_same(r, want, "budget");
        rig_destroy(r);
    }
    rig_destroy(want);
}

/* Another engine after every single instruction. */
static void test_ping_pong(void **state)
{
    struct rig *want = reference(), *r = make();
    (void)state;
    u32 n = 0;
    do rig_engine(r, usable[n++ % usables]);
    while (n < INSNS_MAX && !step(r));
    check_same(r, want, "ping-pong");
    rig_destroy(r);
    rig_destroy(want);
}

/* ---- breakpoints ----------------------------------------------------------------------------- */

/* Linear addresses of the first instructions @want executes, in order, at most @max. */
static u32 path_of(const struct engine *engine, gva_t *at, u32 max)
{
    struct rig *r = make();
    u32 n = 0;
    rig_engine(r, engine);
    do at[n++] = vcpu_linear_rip(r->v);
    while (n < max && !step(r));
    rig_destroy(r);
    return n;
}

/* Stop before the instruction at @at every time, go on, and see that nothing else changed. */
static void stop_at(const struct engine *engine, gva_t at, const struct rig *want)
{
    struct rig *r = make();
    enum run_exit why;
    u32 stops = 0;
    bool begins = vcpu_linear_rip(r->v) == at;
    rig_engine(r, engine);
    assert_int_equal(vcpu_break_add(r->v, at), 0);
    while ((why = rig_run(r, 0)) == RUN_BREAK) {
        if (vcpu_linear_rip(r->v) != at || ++stops > INSNS_MAX)
            fail_msg("%s: stopped at %llx, not %llx", engine->name,
                     (unsigned long long)vcpu_linear_rip(r->v), (unsigned long long)at);
    }
    if (why != RUN_HALTED || (!stops && !begins))
        fail_msg("%s: %u stops at %llx, then %d", engine->name, stops, (unsigned long long)at, why);
    check_same(r, want, "breakpoint");
    rig_destroy(r);
}

/* Some instructions of the path, in all modes, under every engine. */
static void test_breakpoints(void **state)
{
    enum { STRIDE = 19 };
    gva_t at[INSNS_MAX];
    struct rig *want = reference();
    (void)state;
    u32 n = path_of(&engine_interp, at, INSNS_MAX);
    for (u32 i = 0; i < usables; i++) {
        for (u32 k = 0; k < n; k += STRIDE) stop_at(usable[i], at[k], want);
    }
    rig_destroy(want);
}

/* More than the processor has registers for, and removing them. */
static void test_many_breakpoints(void **state)
{
    gva_t at[INSNS_MAX];
    struct rig *want = reference();
    (void)state;
    u32 n = path_of(&engine_interp, at, INSNS_MAX);
    for (u32 i = 0; i < usables; i++) {
        struct rig *r = make();
        rig_engine(r, usable[i]);
        assert_int_equal(vcpu_break_add(r->v, at[n - 1]), 0);
        assert_int_equal(vcpu_break_add(r->v, at[n - 1]), E_BUSY);
        for (u32 k = 1; k < BREAKPOINTS_MAX; k++) /* nothing executes there */
            assert_int_equal(vcpu_break_add(r->v, 0x80000 + k), 0);
        assert_int_equal(vcpu_break_add(r->v, 0x90000), E_NOSPC);
        assert_int_equal(rig_run(r, 0), RUN_BREAK);
        assert_int_equal(vcpu_linear_rip(r->v), at[n - 1]);
        for (u32 k = 1; k < BREAKPOINTS_MAX; k++)
            assert_int_equal(vcpu_break_remove(r->v, 0x80000 + k), 0);
        assert_int_equal(vcpu_break_remove(r->v, at[n - 1]), 0);
        assert_int_equal(vcpu_break_remove(r->v, at[n - 1]), E_NOENT);
        finish(r);
        check_same(r, want, "many breakpoints");
        rig_destroy(r);
    }
    rig_destroy(want);
}

int main(void)
{
    struct err e;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uninterrupted), cmocka_unit_test(test_every_boundary),
        cmocka_unit_test(test_budgets),       cmocka_unit_test(test_ping_pong),
        cmocka_unit_test(test_breakpoints),   cmocka_unit_test(test_many_breakpoints)};
    for (u32 i = 0; i < ARRAY_LEN(all); i++) {
        if (all[i]->probe(&e) == 0) usable[usables++] = all[i];
        else fprintf(stderr, "# without %s: %s\n", all[i]->name, e.text);
    }
    return cmocka_run_group_tests(tests, keep_handlers, NULL);
}

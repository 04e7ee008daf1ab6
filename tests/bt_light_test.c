/* Instructions that translated code has executed by a C function without leaving (light.c), and
 * system instructions with an inline form, in loops: as the interpreter does them, faults, traps
 * and interrupts included; and that they are not left to the interpreter. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/test.h"
#include "child.h"
#include "cpu/cpuid.h"
#include "cpu/env.h"
#include "cpu/vcpu_mode.h"
#include "engine/bt/bt.h"
#include "engine/interp/interp.h"
#include "mmu/mmu.h"

/* ---- programs --------------------------------------------------------------------------------
 * EBX counts down from 200; HLT of the supervisor ends a program, as every exception does. */
enum { GDT = 0x8000, IDT = 0x9000, TSS = 0xA000, GATES = 0xB000, CODE = 0x100000 };
enum { STACK_U = 0x280000, STACK_K = 0x300000, RAM = 4 << 20, ROUNDS = 200 };

#define PROGRAM(name, text)                                                                        \
    __asm__(".pushsection .rodata\n.balign 256\n" #name "_code:\n" text "\n" #name                 \
            "_end:\n.popsection\n");                                                               \
    extern const u8 name##_code[], name##_end[]

#define USER_FRAME "push $0x1B\n push $0x280000\n push $2\n push $0x23\n"
#define TO_USER USER_FRAME "lea 5f(%rip), %rax\n push %rax\n iretq\n"

/* user code; then, at LSTAR, a handler */
PROGRAM(calls, "1: paddd %xmm1, %xmm0\n syscall\n dec %ebx\n jnz 1b\n hlt\n"
               ".balign 256\n sysretq");
PROGRAM(far_call, "1: syscall\n dec %ebx\n jnz 1b\n hlt\n"
                  ".balign 256\n cmp $100, %ebx\n jne 2f\n mov $1, %ecx\n shl $47, %rcx\n"
                  "2: sysretq");
PROGRAM(trap_return, "1: syscall\n dec %ebx\n jnz 1b\n hlt\n"
                     ".balign 256\n cmp $100, %ebx\n jne 2f\n or $0x100, %r11\n 2: sysretq");
PROGRAM(aligned_return, "1: syscall\n mov -3(%rsp), %rax\n dec %ebx\n jnz 1b\n hlt\n"
                        ".balign 256\n cmp $100, %ebx\n jne 2f\n or $0x40000, %r11\n 2: sysretq");
PROGRAM(trapped_call, "1: cmp $100, %ebx\n jne 2f\n pushf\n orl $0x100, (%rsp)\n popf\n"
                      "2: syscall\n dec %ebx\n jnz 1b\n hlt\n .balign 256\n nop\n sysretq");
PROGRAM(interrupt_return, "1: syscall\n dec %ebx\n jnz 1b\n hlt\n"
                          ".balign 256\n cmp $100, %ebx\n jne 2f\n or $0x200, %r11\n 2: sysretq");
/* arithmetic flags from the stack; others now and then; where it is misaligned, too */
PROGRAM(popped_flags,
        "fninit\n1: mov %ebx, %eax\n imul $0x91, %eax\n and $0x8D5, %eax\n or $2, %eax\n"
        "cmp $100, %ebx\n jne 2f\n or $0x200400, %eax\n"
        "2: push %rax\n popfq\n adc %rdx, %rdx\n setp %cl\n pushfq\n pop %rsi\n"
        "add %rsi, %rdi\n rol $3, %rdi\n test $0x3F, %bl\n jnz 3f\n"
        "sub $3, %rsp\n push %rax\n popfq\n adc %rdx, %rdx\n lea 3(%rsp), %rsp\n"
        "3: fldpi\n push %rax\n popfq\n fstp %st(0)\n dec %ebx\n jnz 1b\n hlt");
/* supervisor code; LSTAR comes back to it */
PROGRAM(returns, "1:" TO_USER "5: syscall\n"
                 ".balign 256\n mov $0x300000, %esp\n dec %ebx\n jnz 1b\n hlt");
PROGRAM(returns_within, "1: push $0\n push $0x300000\n push $2\n push $8\n lea 2f(%rip), %rax\n"
                        "push %rax\n iretq\n 2: dec %ebx\n jnz 1b\n hlt\n .balign 256\n hlt");
#define SPOILED(name, spoil)                                                                       \
    PROGRAM(name, "1:" TO_USER "5: syscall\n"                                                      \
                  ".balign 256\n mov $0x300000, %esp\n cmp $100, %ebx\n jne 2f\n" spoil            \
                  "\n 2: dec %ebx\n jnz 1b\n hlt")
SPOILED(absent_stack, "movb $0x73, 0x801D");
SPOILED(read_only_stack, "movb $0xF1, 0x801D");
SPOILED(other_code, "movb $0x9B, 0x8025");
SPOILED(moved_table, "sgdt -16(%rsp)\n movw $0x1F, -16(%rsp)\n lgdt -16(%rsp)");
SPOILED(nested_task, "push $0x4002\n popf");
PROGRAM(far_return, "1:" USER_FRAME "lea 5f(%rip), %rax\n cmp $100, %ebx\n jne 2f\n bts $47, %rax\n"
                    "2: push %rax\n iretq\n 5: syscall\n"
                    ".balign 256\n mov $0x300000, %esp\n dec %ebx\n jnz 1b\n hlt");
PROGRAM(bad_selector,
        "1: push $0x1B\n push $0x280000\n push $2\n mov $0x23, %eax\n cmp $100, %ebx\n"
        "jne 2f\n mov $0x2B, %eax\n 2: push %rax\n lea 5f(%rip), %rax\n push %rax\n"
        "iretq\n 5: syscall\n"
        ".balign 256\n mov $0x300000, %esp\n dec %ebx\n jnz 1b\n hlt");
PROGRAM(trap_frame, "1: push $0x1B\n push $0x280000\n mov $2, %eax\n cmp $100, %ebx\n jne 2f\n"
                    "or $0x100, %eax\n 2: push %rax\n push $0x23\n lea 5f(%rip), %rax\n push %rax\n"
                    "iretq\n 5: nop\n syscall\n"
                    ".balign 256\n mov $0x300000, %esp\n dec %ebx\n jnz 1b\n hlt");
PROGRAM(data_segment, "1: cmp $100, %ebx\n jne 3f\n mov $0x10, %eax\n mov %eax, %ds\n 3:" TO_USER
                      "5: mov %ds, %ecx\n syscall\n"
                      ".balign 256\n mov $0x300000, %esp\n dec %ebx\n jnz 1b\n hlt");
/* clocks and bases */
PROGRAM(clocks,
        "1: cmp $7, %ebx\n rdtsc\n pushf\n pop %r8\n add %rax, %rsi\n rdtscp\n add %rdx, %rdi\n"
        "add %rcx, %rbp\n dec %ebx\n jnz 1b\n hlt\n .balign 256\n hlt");
PROGRAM(bases, "1: mov $0x123456789, %r10\n wrfsbase %r10\n wrgsbase %r10d\n rdfsbase %r15\n"
               "rdgsbase %rsi\n mov $-1, %rcx\n mov %ds, %cx\n mov $-1, %r11\n mov %ss, %r11w\n"
               "cmp $100, %ebx\n jne 2f\n bts $63, %r10\n wrgsbase %r10\n"
               "2: dec %ebx\n jnz 1b\n hlt\n .balign 256\n hlt");
PROGRAM(fault_address,
        "1: mov $0x123456789, %r11\n mov %r11, %cr2\n mov %cr2, %rsi\n mov %rbx, %cr2\n"
        "dec %ebx\n jnz 1b\n hlt\n .balign 256\n hlt");
PROGRAM(counted, "mov $1000, %ecx\n 1: add $3, %rax\n dec %ecx\n jnz 1b\n rdtsc\n hlt\n"
                 ".balign 256\n hlt");

/* x87 and MMX: aligned, misaligned, and across pages; control words; then what unmasks errors */
PROGRAM(floats, "fninit\n 1: fld1\n fldpi\n faddp\n fstl -8(%rsp)\n fstps -45(%rsp)\n"
                "flds -45(%rsp)\n fldl -8(%rsp)\n fmulp\n fldt -0x20(%rsp)\n fstpt -0x3C(%rsp)\n"
                "fldt -0x3C(%rsp)\n fstpt -0x33(%rsp)\n fldt -0x33(%rsp)\n fstpt -0x20(%rsp)\n"
                "fistpll -8(%rsp)\n fnstcw -2(%rsp)\n xorw $0xC00, -2(%rsp)\n fldcw -2(%rsp)\n"
                "fstpt 0x1FFFFA\n fldt 0x1FFFFA\n fnstsw %ax\n fucomi %st(1)\n fcmovu %st(1), %st\n"
                "dec %ebx\n jnz 1b\n hlt\n .balign 256\n hlt");
PROGRAM(integers, "fninit\n 1: movq -8(%rsp), %mm0\n paddb -45(%rsp), %mm0\n movd %ebx, %mm1\n"
                  "psllq %mm1, %mm0\n movq %mm0, -53(%rsp)\n movd %mm0, -8(%rsp)\n"
                  "pmovmskb %mm0, %eax\n emms\n fldpi\n fstp %st\n fwait\n"
                  "dec %ebx\n jnz 1b\n hlt\n .balign 256\n hlt");
#define UNMASKED(name, then)                                                                       \
    PROGRAM(name, "fninit\n 1: fld1\n fldz\n cmp $100, %ebx\n jne 2f\n movw $0x37B, -8(%rsp)\n"    \
                  "fldcw -8(%rsp)\n 2: fdivrp\n " then "\n fstp %st\n dec %ebx\n"                  \
                  "jnz 1b\n hlt\n .balign 256\n hlt")
UNMASKED(pending_wait, "fwait");
UNMASKED(pending_next, "jmp 3f\n 3: nop");
UNMASKED(pending_cleared, "fnclex\n jmp 3f\n 3: fld1\n faddp\n fninit\n fldz");

/* ---- machines -------------------------------------------------------------------------------- */

enum { USER = 1 << 0, PENDING = 1 << 1, KEEP_TF = 1 << 2, NO_TSC = 1 << 3, CHECK_AC = 1 << 4 };
struct rig {
    struct mem mem;
    struct mmu_domain *domain;
    struct cpu_env env;
    struct cpu_model model;
    struct vcpu *v;
};

#define MUST(cond)                                                                                 \
    do {                                                                                           \
        if (cond) break;                                                                           \
        dprintf(2, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                                      \
        _exit(1);                                                                                  \
    } while (0)

static u64 clock_ns(void *ctx)
{
    (void)ctx;
    return 0x123456789000; /* whoever reads it, and however often */
}
static int ack(void *ctx, struct vcpu *v)
{
    (void)ctx;
    atomic_store(&v->intr_line, false);
    return 0x40;
}

static void put64(struct rig *r, gpa_t at, u64 val) { MUST(mem_write(&r->mem, at, &val, 8) == 0); }

static void put_tables(struct rig *r)
{
    static const u64 gdt[] = {0,
                              0x00AF9B000000FFFF,
                              0x00CF93000000FFFF,
                              0x00CFF3000000FFFF,
                              0x00AFFB000000FFFF,
                              0x00CFFB000000FFFF};
    for (u32 i = 0; i < ARRAY_LEN(gdt); i++) put64(r, GDT + i * 8, gdt[i]);
    put64(r, 0x1000, 0x2007);
    put64(r, 0x2000, 0x3007);
    for (u64 i = 0; i < RAM >> 21; i++) put64(r, 0x3000 + i * 8, i << 21 | 0xC7);
    for (u64 n = 0; n < 256; n++) { /* push n; hlt */
        const u64 to = GATES + n * 8;
        put64(r, to, 0xF40000000068 | n << 8);
        put64(r, IDT + n * 16, (to & 0xFFFF) | 8 << 16 | 0x8E00ull << 32 | (to >> 16) << 48);
        put64(r, IDT + n * 16 + 8, 0);
    }
    put64(r, TSS + 4, STACK_K);
}

static void put_processor(struct rig *r, u32 flags)
{
    struct vcpu *v = r->v;
    const bool user = flags & USER;
    const u32 dpl = user ? 3 << SEG_DPL_SHIFT : 0;
    v->cr0 = CR0_PE | CR0_PG | CR0_WP | CR0_NE | CR0_MP | (flags & CHECK_AC ? CR0_AM : 0);
    v->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_FSGSBASE | (flags & NO_TSC ? CR4_TSD : 0);
    v->efer = EFER_LME | EFER_LMA | EFER_SCE;
    v->cr3 = 0x1000;
    v->star = 0x13ull << 48 | 8ull << 32;
    v->lstar = CODE + 0x100;
    v->fmask = 0x47FD5 & ~(flags & KEEP_TF ? RFLAGS_TF : 0u);
    v->tsc_aux = 5;
    v->cpl = user ? 3 : 0;
    for (u32 s = 0; s < SEGS; s++) v->seg[s] = (struct seg){.attr = SEG_NULL};
    v->seg[CS] = (struct seg){
        0, ~0u, SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A | SEG_L | SEG_G | dpl, user ? 0x23 : 8};
    v->seg[SS] = (struct seg){0, ~0u, SEG_P | SEG_S | SEG_W | SEG_A | SEG_G | SEG_DB | dpl,
                              user ? 0x1B : 0x10};
    v->gdtr = (struct dtable){GDT, 6 * 8 - 1};
    v->idtr = (struct dtable){IDT, 0xFFF};
    v->tr = (struct seg){TSS, 0x67, 0x8B, 0x38};
    v->gpr[RSP] = user ? STACK_U : STACK_K;
    v->gpr[RBX] = ROUNDS;
    v->rip = CODE;
    v->vec[1][0] = 3;
    v->rflags = RFLAGS_FIXED;
    v->mmu->flush_all(v);
    vcpu_mode_changed(v);
}

/* Run the program at @code to its end. */
static void rig_run(struct rig *r, const struct engine *engine, const u8 *code, size_t bytes,
                    u32 flags)
{
    struct err e = {0};
    struct cpu_model_cfg model = {.vcpus = 1, .tsc_khz = 1000000};
    *r = (struct rig){.env = {.ctx = r, .clock_ns = clock_ns, .intr_ack = ack}};
    MUST(cpu_model_init(&r->model, "max", &model, &e) == 0);
    MUST(mem_init(&r->mem, &e) == 0 && mem_add(&r->mem, 0, RAM, false, &e) == 0);
    MUST(mmu_domain_create(&r->domain, &r->mem, &e) == 0);
    r->v = aligned_alloc(64, align_up(sizeof *r->v, 64));
    MUST(r->v);
    struct vcpu_cfg cfg = {.tsc_khz = 1000000, .mem = &r->mem, .env = &r->env, .model = &r->model};
    vcpu_init(r->v, &cfg);
    MUST(mmu_init(r->v, r->domain, &e) == 0);
    put_tables(r);
    MUST(mem_write(&r->mem, CODE, code, (u32)bytes) == 0);
    put_processor(r, flags);
    MUST(engine->init(r->v, &e) == 0);
    r->v->count_insns = true;
    atomic_store(&r->v->intr_line, flags & PENDING);
    MUST(engine->run(r->v, 0) == RUN_HALTED);
}
static void rig_done(struct rig *r, const struct engine *engine)
{
    engine->fini(r->v);
    mmu_fini(r->v);
    free(r->v);
    mmu_domain_destroy(r->domain);
    mem_fini(&r->mem);
}

static void same(const struct rig *a, const struct rig *b)
{
    const struct vcpu *x = a->v, *y = b->v;
    for (u32 n = 0; n < GPRS; n++) MUST(x->gpr[n] == y->gpr[n]);
    MUST(x->rip == y->rip && x->rflags == y->rflags && x->cpl == y->cpl && x->cr2 == y->cr2);
    MUST(x->kernel_gs_base == y->kernel_gs_base && x->nmi_masked == y->nmi_masked);
    for (u32 s = 0; s < SEGS; s++) {
        MUST(x->seg[s].sel == y->seg[s].sel && x->seg[s].attr == y->seg[s].attr);
        MUST(x->seg[s].base == y->seg[s].base && x->seg[s].limit == y->seg[s].limit);
    }
    MUST(!memcmp(x->vec, y->vec, sizeof x->vec));
    MUST(!memcmp(&x->fx, &y->fx, offsetof(struct fxsave, mxcsr)));
    MUST(!memcmp(x->fx.st, y->fx.st, sizeof x->fx.st));
    MUST(!memcmp(a->mem.slot[0].hva + STACK_K - 256, b->mem.slot[0].hva + STACK_K - 256, 256));
}

/* Both engines agree, and @light instructions at least were executed without leaving. */
static void agree(const char *name, const u8 *code, const u8 *end, u32 flags, u64 light)
{
    struct rig r[2];
    rig_run(&r[0], &engine_interp, code, (size_t)(end - code), flags);
    rig_run(&r[1], &engine_bt, code, (size_t)(end - code), flags);
    same(&r[0], &r[1]);
    if (r[1].v->stats.bt_light < light)
        dprintf(2, "%s: %llu light\n", name, (unsigned long long)r[1].v->stats.bt_light);
    MUST(r[1].v->stats.bt_light >= light);
    rig_done(&r[0], &engine_interp);
    rig_done(&r[1], &engine_bt);
}
#define AGREE(name, flags, light) agree(#name, name##_code, name##_end, flags, light)

/* ---- tests ----------------------------------------------------------------------------------- */

static void system_calls(void)
{
    AGREE(calls, USER, 2 * ROUNDS - 4);
    AGREE(far_call, USER, ROUNDS - 4);
    AGREE(trap_return, USER, ROUNDS - 4);
    AGREE(aligned_return, USER | CHECK_AC, ROUNDS - 4);
    AGREE(trapped_call, USER, ROUNDS - 4);
    AGREE(trapped_call, USER | KEEP_TF, ROUNDS - 4);
    AGREE(interrupt_return, USER | PENDING, ROUNDS - 4);
}

static void flags_from_the_stack(void)
{
    AGREE(popped_flags, 0, 2 * ROUNDS - ROUNDS / 16);
    AGREE(popped_flags, USER, 2 * ROUNDS - ROUNDS / 16);
}

static void interrupt_returns(void)
{
    AGREE(returns, 0, 2 * ROUNDS - 8);
    AGREE(returns_within, 0, ROUNDS - 8);
    AGREE(absent_stack, 0, ROUNDS - 8);
    AGREE(read_only_stack, 0, ROUNDS - 8);
    AGREE(other_code, 0, ROUNDS - 8);
    AGREE(moved_table, 0, ROUNDS - 8);
    AGREE(nested_task, 0, ROUNDS - 8);
    AGREE(far_return, 0, ROUNDS - 8);
    AGREE(bad_selector, 0, ROUNDS - 8);
    AGREE(trap_frame, 0, ROUNDS - 8);
    AGREE(data_segment, 0, ROUNDS - 8);
}

static void clocks_and_bases(void)
{
    AGREE(clocks, 0, 2 * ROUNDS - 4);
    AGREE(clocks, USER, 2 * ROUNDS - 4);
    AGREE(clocks, USER | NO_TSC, 0);
    AGREE(bases, 0, 0);
    AGREE(bases, USER, 0);
    AGREE(fault_address, 0, 0);
}

/* They are loaded a few times, and few instructions are left to the interpreter. */
static void few_steps(const u8 *code, const u8 *end)
{
    struct rig r;
    rig_run(&r, &engine_bt, code, (size_t)(end - code), 0);
    MUST(r.v->stats.bt_step_compute < 20);
    MUST(r.v->stats.bt_x87_loads > 0 && r.v->stats.bt_x87_loads < 30);
    rig_done(&r, &engine_bt);
}

static void x87_registers(void)
{
    AGREE(floats, 0, 0);
    AGREE(floats, USER, 0);
    AGREE(integers, 0, 0);
    AGREE(pending_wait, 0, 0);
    AGREE(pending_next, 0, 0);
    AGREE(pending_cleared, USER, 0);
    few_steps(integers_code, integers_end);
    few_steps(pending_cleared_code, pending_cleared_end);
}

static void instructions_are_counted(void)
{
    struct rig r;
    rig_run(&r, &engine_bt, counted_code, (size_t)(counted_end - counted_code), 0);
    MUST(r.v->stats.bt_insns == 1 + 3 * 1000);
    MUST(r.v->stats.insns == 2 && r.v->stats.bt_light == 1 && r.v->stats.bt_step_system == 1);
    MUST(r.v->stats.bt_translations && r.v->stats.bt_blocks && r.v->stats.bt_code_bytes);
    rig_done(&r, &engine_bt);
}

static void apart(void (*fn)(void))
{
    struct err e = {0};
    if (engine_bt.probe(&e) < 0) skip();
    const pid_t pid = child_start();
    if (pid == 0) {
        alarm(60);
        fn();
        child_end(0);
    }
    child_passes(pid);
}
#define APART(name)                                                                                \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        apart(name);                                                                               \
    }
APART(system_calls)
APART(flags_from_the_stack)
APART(interrupt_returns)
APART(clocks_and_bases)
APART(x87_registers)
APART(instructions_are_counted)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_system_calls),      cmocka_unit_test(test_flags_from_the_stack),
        cmocka_unit_test(test_interrupt_returns), cmocka_unit_test(test_clocks_and_bases),
        cmocka_unit_test(test_x87_registers),     cmocka_unit_test(test_instructions_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

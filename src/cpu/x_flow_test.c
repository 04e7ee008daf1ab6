/* x_flow_test - near control flow, stack, flag and port instructions, and binding, on the flat
 * vCPU. */
#include "base/test.h"

#include <Zydis/Zydis.h>

#include "cpu/cpuid.h"
#include "isa/feature.h"

#include "../../tests/flat_vcpu.h"

static struct flat *f; /* of the running test */

static int setup(void **state)
{
    f = flat_create(ISA_64);
    *state = f;
    return 0;
}
static int teardown(void **state)
{
    free(*state);
    return 0;
}
static struct vcpu *mode(enum isa_mode m)
{
    flat_reset(f, m);
    return &f->v;
}
#define RUN(...) FLAT_EXEC(f, __VA_ARGS__)

static void expect_fault(enum x_result r, u8 vector, u32 error)
{
    assert_int_equal(r, X_FAULT);
    assert_int_equal(f->v.exc.vector, vector);
    if (f->v.exc.has_error) assert_int_equal(f->v.exc.error, error);
}

/* ---- binding --------------------------------------------------------------------------------- */

static void every_row_has_exec(void **state)
{
    (void)state;
    assert_null(insn_row_exec(INSN_COMPUTE));
    for (u32 r = 1; r < insn_rows_count; r++) assert_non_null(insn_row_exec((u16)r));
    assert_null(insn_row_exec((u16)insn_rows_count));
    assert_null(insn_row_exec(INSN_UD));
}

static void rules_of_rows(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    v->cpl = 3;
    expect_fault(RUN(0xF4), EXC_GP, 0);             /* HLT */
    expect_fault(RUN(0xF0, 0x90), EXC_UD, 0);       /* LOCK NOP */
    expect_fault(RUN(0x0F, 0x01, 0xC2), EXC_UD, 0); /* VMLAUNCH */
    v = mode(ISA_16);
    expect_fault(RUN(0x0F, 0x00, 0xC0), EXC_UD, 0); /* SLDT in real mode */
    v = mode(ISA_32);
    v->cr0 |= CR0_TS;
    vcpu_mode_changed(v);
    expect_fault(RUN(0x0F, 0xAE, 0x00), EXC_NM, 0); /* FXSAVE */
}

/* A processor without BMI1 and LZCNT runs TZCNT as BSF; one without AVX has no AVX. */
static void rules_of_the_model(void **state)
{
    static const u8 tzcnt[] = {0xF3, 0x48, 0x0F, 0xBC, 0x07}, vaddps[] = {0xC5, 0xFC, 0x58, 0xC0};
    struct cpu_model poor = {0};
    struct insn i, again;
    (void)state;
    f->v.model = &poor;
    assert_int_equal(isa_decode(&i, tzcnt, sizeof tzcnt, ISA_64), sizeof tzcnt);
    insn_bind(&f->v, &i, flat_compute);
    assert_ptr_equal(i.exec, flat_compute);
    assert_int_equal(i.mnemonic, ZYDIS_MNEMONIC_BSF);
    assert_int_equal(isa_decode(&again, i.bytes, i.len, ISA_64), sizeof tzcnt);
    assert_int_equal(again.mnemonic, ZYDIS_MNEMONIC_BSF);
    assert_int_equal(isa_decode(&i, vaddps, sizeof vaddps, ISA_64), sizeof vaddps);
    insn_bind(&f->v, &i, flat_compute);
    assert_ptr_equal(i.exec, x_ud);
    poor.features[FEAT_AVX / 64] |= BIT(FEAT_AVX % 64);
    insn_bind(&f->v, &i, flat_compute);
    assert_ptr_equal(i.exec, flat_compute);
    f->v.model = NULL;
}

/* ---- flow ------------------------------------------------------------------------------------ */

static void jumps(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    assert_int_equal(RUN(0xEB, 0x10), X_JUMP);
    assert_int_equal(v->rip, 0x1012);
    assert_int_equal(RUN(0x66, 0xE9, 0xFE, 0xFF, 0xFF, 0xFF), X_JUMP); /* 66 is ignored */
    assert_int_equal(v->rip, 0x1016);
    v->gpr[R11] = 0xFFFF800000001234;
    assert_int_equal(RUN(0x41, 0xFF, 0xE3), X_JUMP);
    assert_int_equal(v->rip, 0xFFFF800000001234);
    v->gpr[R11] = 0x0000800000000000;
    expect_fault(RUN(0x41, 0xFF, 0xE3), EXC_GP, 0);
    assert_int_equal(v->rip, 0xFFFF800000001234);

    v = mode(ISA_16);
    v->rip = 0xFFF0;
    assert_int_equal(RUN(0xEB, 0x20), X_JUMP); /* wraps at 64 KiB */
    assert_int_equal(v->rip, 0x12);
    expect_fault(RUN(0x66, 0xE9, 0, 0, 1, 0), EXC_GP, 0); /* 32-bit target beyond the limit */
    assert_int_equal(v->rip, 0x12);

    v = mode(ISA_32);
    v->seg[CS].limit = 0x1FFF;
    expect_fault(RUN(0xE9, 0, 0x10, 0, 0), EXC_GP, 0);
    flat_put(f, 0x3000, 0x12341800, 4);
    assert_int_equal(RUN(0x66, 0xFF, 0x25, 0, 0x30, 0, 0), X_JUMP); /* JMP word [3000h] */
    assert_int_equal(v->rip, 0x1800);
}

static void conditional_jumps(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    assert_int_equal(RUN(0x74, 0x10), X_NEXT);
    assert_int_equal(v->rip, 0x1002);
    v->rflags |= RFLAGS_ZF;
    assert_int_equal(RUN(0x74, 0xFE), X_JUMP);
    assert_int_equal(v->rip, 0x1002);
    assert_int_equal(RUN(0x0F, 0x85, 0, 0, 0, 0), X_NEXT);
    v->gpr[RCX] = 0x100000000;
    assert_int_equal(RUN(0xE3, 0x10), X_NEXT);       /* JRCXZ */
    assert_int_equal(RUN(0x67, 0xE3, 0x10), X_JUMP); /* JECXZ */
}

static void loops(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    v->gpr[RCX] = 2;
    assert_int_equal(RUN(0xE2, 0x10), X_JUMP);
    assert_int_equal(v->gpr[RCX], 1);
    assert_int_equal(RUN(0xE2, 0x10), X_NEXT);
    assert_int_equal(v->gpr[RCX], 0);
    assert_int_equal(RUN(0x67, 0xE2, 0x10), X_JUMP);
    assert_int_equal(v->gpr[RCX], 0xFFFFFFFF); /* ECX wraps, the upper half is cleared */
    v->gpr[RCX] = 5;
    assert_int_equal(RUN(0xE1, 0x10), X_NEXT); /* LOOPE, ZF clear */
    assert_int_equal(RUN(0xE0, 0x10), X_JUMP); /* LOOPNE */
    assert_int_equal(v->gpr[RCX], 3);
    v = mode(ISA_16);
    v->gpr[RCX] = 0xABCD0000;
    assert_int_equal(RUN(0xE2, 0x10), X_JUMP);
    assert_int_equal(v->gpr[RCX], 0xABCDFFFF);
    v = mode(ISA_32); /* a faulting LOOP counts nothing */
    v->seg[CS].limit = 0x1004;
    v->gpr[RCX] = 2;
    expect_fault(RUN(0xE2, 0x10), EXC_GP, 0);
    assert_int_equal(v->gpr[RCX], 2);
}

static void calls_and_returns(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    assert_int_equal(RUN(0xE8, 0, 1, 0, 0), X_JUMP);
    assert_int_equal(v->rip, 0x1105);
    assert_int_equal(v->gpr[RSP], FLAT_STACK - 8);
    assert_int_equal(flat_get(f, FLAT_STACK - 8, 8), 0x1005);
    assert_int_equal(RUN(0xC2, 0x10, 0), X_JUMP);
    assert_int_equal(v->rip, 0x1005);
    assert_int_equal(v->gpr[RSP], FLAT_STACK + 0x10);

    flat_put(f, FLAT_STACK, 0x2000, 8); /* CALL [RSP] reads before it pushes */
    v->gpr[RSP] = FLAT_STACK;
    assert_int_equal(RUN(0xFF, 0x14, 0x24), X_JUMP);
    assert_int_equal(v->rip, 0x2000);

    v = mode(ISA_64); /* nothing happens when the push faults */
    flat_protect(f, FLAT_STACK / PAGE_BYTES, FLAT_READ_ONLY);
    v->gpr[RSP] = FLAT_STACK + 8;
    expect_fault(RUN(0xE8, 0, 1, 0, 0), EXC_PF, PF_W | PF_P);
    assert_int_equal(v->rip, FLAT_CODE);
    assert_int_equal(v->gpr[RSP], FLAT_STACK + 8);
    flat_put(f, FLAT_STACK + 8, 0x8000000000000000, 8);
    expect_fault(RUN(0xC3), EXC_GP, 0);
    assert_int_equal(v->gpr[RSP], FLAT_STACK + 8);

    v = mode(ISA_16);
    v->gpr[RSP] = 0x12340000 | FLAT_STACK;
    assert_int_equal(RUN(0x66, 0xE8, 0, 1, 0, 0), X_JUMP); /* 32-bit push on a 16-bit stack */
    assert_int_equal(v->gpr[RSP], 0x12340000 | (FLAT_STACK - 4));
    assert_int_equal(flat_get(f, FLAT_STACK - 4, 4), 0x1006);
}

/* ---- stack ----------------------------------------------------------------------------------- */

static void push_pop(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    assert_int_equal(RUN(0x54), X_NEXT); /* PUSH RSP */
    assert_int_equal(flat_get(f, FLAT_STACK - 8, 8), FLAT_STACK);
    assert_int_equal(RUN(0x6A, 0xFF), X_NEXT);
    assert_int_equal(flat_get(f, FLAT_STACK - 16, 8), ~0ull);
    assert_int_equal(RUN(0x66, 0x68, 0x34, 0x12), X_NEXT);
    assert_int_equal(v->gpr[RSP], FLAT_STACK - 18);
    assert_int_equal(flat_get(f, FLAT_STACK - 18, 2), 0x1234);
    v->gpr[R9] = ~0ull;
    assert_int_equal(RUN(0x66, 0x41, 0x59), X_NEXT); /* POP R9W */
    assert_int_equal(v->gpr[R9], 0xFFFFFFFFFFFF1234);
    assert_int_equal(RUN(0x59), X_NEXT);
    assert_int_equal(v->gpr[RCX], ~0ull);
    assert_int_equal(RUN(0x5C), X_NEXT); /* POP RSP */
    assert_int_equal(v->gpr[RSP], FLAT_STACK);

    flat_put(f, FLAT_STACK, 0x1122334455667788, 8);
    assert_int_equal(RUN(0x8F, 0x44, 0x24, 0x08), X_NEXT); /* POP [RSP+8], RSP after */
    assert_int_equal(v->gpr[RSP], FLAT_STACK + 8);
    assert_int_equal(flat_get(f, FLAT_STACK + 16, 8), 0x1122334455667788);
    v->gpr[RBX] = FLAT_BYTES;
    expect_fault(RUN(0x8F, 0x03), EXC_PF, PF_W);
    assert_int_equal(v->gpr[RSP], FLAT_STACK + 8);
    v->seg[FS].sel = 0x63;
    assert_int_equal(RUN(0x0F, 0xA0), X_NEXT);
    assert_int_equal(flat_get(f, FLAT_STACK, 8), 0x63);
    v->gpr[RSP] = 0x0000800000000004;
    expect_fault(RUN(0x50), EXC_SS, 0);

    v = mode(ISA_32);
    v->seg[DS].sel = 0x1234;
    flat_put(f, FLAT_STACK - 4, 0xAAAAAAAA, 4);
    assert_int_equal(RUN(0x1E), X_NEXT);
    assert_int_equal(flat_get(f, FLAT_STACK - 4, 4), 0xAAAA1234);
}

static void pusha_popa(void **state)
{
    struct vcpu *v = mode(ISA_32);
    (void)state;
    for (int r = 0; r < 8; r++) {
        if (r != RSP) v->gpr[r] = 0x1000 + (u64)r;
    }
    assert_int_equal(RUN(0x60), X_NEXT);
    for (u64 r = 0; r < 8; r++) {
        assert_int_equal(flat_get(f, FLAT_STACK - 4 - 4 * r, 4),
                         r == RSP ? FLAT_STACK : 0x1000 + r);
    }
    for (int r = 0; r < 8; r++) {
        if (r != RSP) v->gpr[r] = 0;
    }
    assert_int_equal(RUN(0x61), X_NEXT);
    for (u64 r = 0; r < 8; r++) assert_int_equal(v->gpr[r], r == RSP ? FLAT_STACK : 0x1000 + r);
    v->gpr[RSP] = FLAT_STACK + 8; /* the third push meets the absent page */
    flat_protect(f, FLAT_STACK / PAGE_BYTES - 1, FLAT_ABSENT);
    expect_fault(RUN(0x60), EXC_PF, PF_W);
    assert_int_equal(v->gpr[RSP], FLAT_STACK + 8);
    v->gpr[RSP] = FLAT_STACK - 8;
    expect_fault(RUN(0x61), EXC_PF, 0);
    assert_int_equal(v->gpr[RSP], FLAT_STACK - 8);
}

static void enter_leave(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    v->gpr[RBP] = 0x7000;
    flat_put(f, 0x7000 - 8, 0xB1, 8);
    flat_put(f, 0x7000 - 16, 0xB2, 8);
    assert_int_equal(RUN(0xC8, 0x20, 0, 3), X_NEXT);
    assert_int_equal(v->gpr[RBP], FLAT_STACK - 8);
    assert_int_equal(v->gpr[RSP], FLAT_STACK - 8 - 3 * 8 - 0x20);
    assert_int_equal(flat_get(f, FLAT_STACK - 8, 8), 0x7000);
    assert_int_equal(flat_get(f, FLAT_STACK - 16, 8), 0xB1);
    assert_int_equal(flat_get(f, FLAT_STACK - 24, 8), 0xB2);
    assert_int_equal(flat_get(f, FLAT_STACK - 32, 8), FLAT_STACK - 8);
    assert_int_equal(RUN(0xC9), X_NEXT);
    assert_int_equal(v->gpr[RBP], 0x7000);
    assert_int_equal(v->gpr[RSP], FLAT_STACK);
    flat_protect(f, FLAT_STACK / PAGE_BYTES - 2, FLAT_READ_ONLY); /* locals must be writable */
    expect_fault(RUN(0xC8, 0x08, 0x10, 0), EXC_PF, PF_W | PF_P);
    assert_int_equal(v->gpr[RSP], FLAT_STACK);
    assert_int_equal(v->gpr[RBP], 0x7000);
    v->gpr[RBP] = FLAT_BYTES;
    expect_fault(RUN(0xC9), EXC_PF, 0);
    assert_int_equal(v->gpr[RSP], FLAT_STACK);
}

/* ---- flags ----------------------------------------------------------------------------------- */

static void pushf_popf(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    v->rflags |= RFLAGS_CF | RFLAGS_RF | RFLAGS_IF;
    assert_int_equal(RUN(0x9C), X_NEXT);
    assert_int_equal(flat_get(f, FLAT_STACK - 8, 8), RFLAGS_FIXED | RFLAGS_CF | RFLAGS_IF);
    flat_put(f, FLAT_STACK - 8, 0xFFFFFFFF, 8);
    assert_int_equal(RUN(0x9D), X_NEXT);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_ARITH | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF |
                                    RFLAGS_IOPL | RFLAGS_NT | RFLAGS_AC | RFLAGS_ID);
    assert_true(v->attention & ATT_STEP); /* TF */

    v = mode(ISA_64); /* ring 3, IOPL 0: neither IOPL nor IF */
    v->cpl = 3;
    v->rflags |= RFLAGS_IF;
    flat_put(f, FLAT_STACK, RFLAGS_IOPL | RFLAGS_CF, 8);
    assert_int_equal(RUN(0x9D), X_NEXT);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_CF);
    v->gpr[RSP] = FLAT_STACK;
    v->rflags |= RFLAGS_IOPL; /* IOPL 3: IF, but not IOPL */
    flat_put(f, FLAT_STACK, 0, 8);
    assert_int_equal(RUN(0x9D), X_NEXT);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_IOPL);
}

static void virtual_8086_flags(void **state)
{
    struct vcpu *v = mode(ISA_16);
    (void)state;
    v->cr0 |= CR0_PE;
    v->cpl = 3;
    v->rflags |= RFLAGS_VM | RFLAGS_VIF;
    expect_fault(RUN(0x9C), EXC_GP, 0);
    expect_fault(RUN(0x9D), EXC_GP, 0);
    expect_fault(RUN(0xFA), EXC_GP, 0);
    v->cr4 |= CR4_VME;
    assert_int_equal(RUN(0x9C), X_NEXT);
    assert_int_equal(flat_get(f, FLAT_STACK - 2, 2), RFLAGS_FIXED | RFLAGS_IF | RFLAGS_IOPL);
    expect_fault(RUN(0x66, 0x9C), EXC_GP, 0);
    flat_put(f, FLAT_STACK - 2, 0, 2);
    assert_int_equal(RUN(0x9D), X_NEXT);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_VM);
    v->rflags |= RFLAGS_VIP;
    expect_fault(RUN(0xFB), EXC_GP, 0);
    v->rflags |= RFLAGS_IOPL;
    assert_int_equal(RUN(0xFB), X_NEXT);
    assert_true(v->rflags & RFLAGS_IF);
}

static void interrupt_flag(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    atomic_store(&v->intr_line, true);
    assert_int_equal(RUN(0xFB), X_NEXT);
    assert_int_equal(v->shadow, SHADOW_STI);
    assert_int_equal(v->attention & (ATT_STEP | ATT_KICK), ATT_STEP | ATT_KICK);
    v->shadow = 0;
    assert_int_equal(RUN(0xFB), X_NEXT); /* IF is set already: no shadow */
    assert_int_equal(v->shadow, 0);
    assert_int_equal(RUN(0xFA), X_NEXT);
    assert_false(v->rflags & RFLAGS_IF);
    v->cpl = 3;
    expect_fault(RUN(0xFA), EXC_GP, 0);
    expect_fault(RUN(0x0F, 0x01, 0xCB), EXC_UD, 0); /* STAC */
    v->cr4 |= CR4_PVI;
    assert_int_equal(RUN(0xFB), X_NEXT);
    assert_true(v->rflags & RFLAGS_VIF);
    v->cpl = 0;
    assert_int_equal(RUN(0x0F, 0x01, 0xCB), X_NEXT);
    assert_true(v->rflags & RFLAGS_AC);
    assert_int_equal(RUN(0xFD), X_NEXT);
    assert_true(v->rflags & RFLAGS_DF);
}

/* ---- ports ----------------------------------------------------------------------------------- */

static void ports(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    f->port_in_val = 0x11223344;
    v->gpr[RAX] = ~0ull;
    v->gpr[RDX] = 0x10CF8;
    assert_int_equal(RUN(0xE4, 0x60), X_NEXT);
    assert_int_equal(v->gpr[RAX], 0xFFFFFFFFFFFFFF44);
    assert_int_equal(RUN(0xED), X_NEXT);
    assert_int_equal(v->gpr[RAX], 0x11223345);
    assert_int_equal(RUN(0x66, 0xEF), X_NEXT);
    assert_int_equal(f->ports, 3);
    assert_int_equal(f->port[0].port, 0x60);
    assert_int_equal(f->port[1].port, 0x0CF8);
    assert_int_equal(f->port[2].val, 0x3345);
    assert_int_equal(f->port[2].bytes, 2);
}

static void port_permissions(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    v->cpl = 3;
    v->tr = (struct seg){.base = 0x4000, .limit = 0x68 + 0x10, .attr = SEG_P | 11};
    flat_put(f, 0x4066, 0x68, 2);
    memset(f->mem + 0x4068, 0xFF, 0x20);
    expect_fault(RUN(0xE4, 0x10), EXC_GP, 0);
    flat_put(f, 0x4068 + 2, 0xFE, 1);
    assert_int_equal(RUN(0xE4, 0x10), X_NEXT);
    expect_fault(RUN(0xE5, 0x10), EXC_GP, 0); /* four ports need four bits */
    flat_put(f, 0x4068 + 2, 0xF0, 1);
    assert_int_equal(RUN(0xE5, 0x10), X_NEXT);
    flat_put(f, 0x4068, 0, 8);
    flat_put(f, 0x4070, 0, 8);
    assert_int_equal(RUN(0xE4, 0x7F), X_NEXT); /* its word ends at the limit */
    expect_fault(RUN(0xE4, 0x80), EXC_GP, 0);
    v->tr.attr = SEG_P | 3; /* a 16-bit TSS has no bitmap */
    expect_fault(RUN(0xE4, 0x10), EXC_GP, 0);
    v->rflags |= RFLAGS_IOPL;
    assert_int_equal(RUN(0xE4, 0x10), X_NEXT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_row_has_exec, setup, teardown),
        cmocka_unit_test_setup_teardown(rules_of_rows, setup, teardown),
        cmocka_unit_test_setup_teardown(rules_of_the_model, setup, teardown),
        cmocka_unit_test_setup_teardown(jumps, setup, teardown),
        cmocka_unit_test_setup_teardown(conditional_jumps, setup, teardown),
        cmocka_unit_test_setup_teardown(loops, setup, teardown),
        cmocka_unit_test_setup_teardown(calls_and_returns, setup, teardown),
        cmocka_unit_test_setup_teardown(push_pop, setup, teardown),
        cmocka_unit_test_setup_teardown(pusha_popa, setup, teardown),
        cmocka_unit_test_setup_teardown(enter_leave, setup, teardown),
        cmocka_unit_test_setup_teardown(pushf_popf, setup, teardown),
        cmocka_unit_test_setup_teardown(virtual_8086_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(interrupt_flag, setup, teardown),
        cmocka_unit_test_setup_teardown(ports, setup, teardown),
        cmocka_unit_test_setup_teardown(port_permissions, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

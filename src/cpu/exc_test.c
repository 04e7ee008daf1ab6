#include "cpu/far.h"
#include "cpu/flat_tables_test.h"

static struct event fault(u8 vector, bool has_error, u32 error)
{
    return (struct event){
        .kind = EV_FAULT, .vector = vector, .has_error = has_error, .error = error};
}

/* ---- 64-bit ---- */
static void long_same_privilege(void **state)
{
    (void)state;
    struct flat *f = flat_long(0);
    struct vcpu *v = &f->v;
    flat_gate(f, EXC_GP, S_CODE64, 0xFFFFFFFF80005000, 0xE);
    v->gpr[RSP] = 0x8008;
    v->rflags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_TF | RFLAGS_ZF;
    v->shadow = SHADOW_STI;
    struct event ev = fault(EXC_GP, true, 0x1234);
    assert_int_equal(exc_deliver(v, &ev), X_JUMP);
    assert_int_equal(v->rip, 0xFFFFFFFF80005000);
    assert_int_equal(v->gpr[RSP], 0x8000 - 48);
    u64 sp = v->gpr[RSP];
    assert_int_equal(flat_get(f, sp, 8), 0x1234);
    assert_int_equal(flat_get(f, sp + 8, 8), 0x4000);
    assert_int_equal(flat_get(f, sp + 16, 8), S_CODE64);
    assert_int_equal(flat_get(f, sp + 24, 8),
                     RFLAGS_FIXED | RFLAGS_IF | RFLAGS_TF | RFLAGS_ZF | RFLAGS_RF);
    assert_int_equal(flat_get(f, sp + 32, 8), 0x8008);
    assert_int_equal(flat_get(f, sp + 40, 8), S_DATA);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_ZF);
    assert_int_equal(v->seg[SS].sel, S_DATA);
    assert_int_equal(v->shadow, 0);
    v->gpr[RSP] += 8;
    assert_int_equal(RUN(f, "\x48\xCF"), X_JUMP); /* IRETQ */
    assert_int_equal(v->rip, 0x4000);
    assert_int_equal(v->gpr[RSP], 0x8008);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_TF | RFLAGS_ZF);
    free(f);
}

static void long_from_user(void **state)
{
    (void)state;
    struct flat *f = flat_long(3);
    struct vcpu *v = &f->v;
    flat_gate(f, 0x80, S_CODE64, 0x5000, 0xF | 3 << 5);
    v->rflags |= RFLAGS_IF;
    assert_int_equal(RUN(f, "\xCD\x80"), X_JUMP);
    assert_int_equal(v->cpl, 0);
    assert_int_equal(v->gpr[RSP], 0x9000 - 40);
    assert_int_equal(f->last_cpl, 0);
    assert_int_equal(v->seg[SS].sel, 0);
    assert_true(v->seg[SS].attr & SEG_NULL);
    assert_true(v->rflags & RFLAGS_IF); /* trap gate */
    assert_int_equal(flat_get(f, v->gpr[RSP], 8), 0x4002);
    assert_int_equal(flat_get(f, v->gpr[RSP] + 8, 8), S_UCODE64);
    assert_int_equal(flat_get(f, v->gpr[RSP] + 32, 8), S_UDATA);
    v->seg[DS] = (struct seg){.sel = 3, .attr = SEG_NULL};
    v->seg[GS] = (struct seg){.sel = 2, .attr = SEG_NULL, .base = 0x123456};
    assert_int_equal(RUN(f, "\x48\xCF"), X_JUMP);
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->rip, 0x4002);
    assert_int_equal(v->seg[DS].sel | v->seg[GS].sel, 0); /* null selectors lose their RPL */
    assert_int_equal(v->seg[GS].base, 0x123456);
    assert_int_equal(v->gpr[RSP], 0x8000);
    assert_int_equal(v->seg[SS].sel, S_UDATA);
    /* a gate of DPL 0 is out of reach: #GP(vector * 8 + IDT), EXT clear */
    flat_gate(f, 0x80, S_CODE64, 0x5000, 0xF);
    assert_int_equal(RUN(f, "\xCD\x80"), X_FAULT);
    assert_fault(f, EXC_GP, 0x80 * 8 + 2);
    assert_int_equal(v->rip, 0x4002);
    free(f);
}

static void long_ist(void **state)
{
    (void)state;
    struct flat *f = flat_long(0);
    flat_gate(f, EXC_NMI, S_CODE64, 0x5000, 0xE | 1 << 8);
    atomic_store(&f->v.posted, POST_NMI);
    assert_true(exc_poll(&f->v));
    assert_int_equal(f->v.gpr[RSP], 0xA000 - 40);
    assert_true(f->v.nmi_masked);
    assert_int_equal(f->v.seg[SS].sel, S_DATA);
    atomic_store(&f->v.posted, POST_NMI);
    assert_false(exc_poll(&f->v)); /* blocked until IRET */
    assert_int_equal(RUN(f, "\x48\xCF"), X_JUMP);
    assert_false(f->v.nmi_masked);
    assert_int_equal(f->v.gpr[RSP], 0x8000);
    free(f);
}

/* A data breakpoint that MOV SS held back is reported by the debug exception of INT1. */
static void debug_is_reported_once(void **state)
{
    (void)state;
    struct flat *f = flat_long(0);
    flat_gate(f, EXC_DB, S_CODE64, 0x5000, 0xE | 1 << 8);
    f->v.pending_dbg = BIT(2);
    f->v.shadow = SHADOW_MOVSS;
    assert_int_equal(RUN(f, "\xF1"), X_JUMP);
    assert_int_equal(f->v.rip, 0x5000);
    assert_int_equal(f->v.dr6 & 0xF, BIT(2));
    assert_false(exc_poll(&f->v));
    assert_int_equal(f->v.gpr[RSP], 0xA000 - 40);
    free(f);
}

/* Every check of the gate and its target, by a soft interrupt (EXT clear) and by an external one
 * (EXT set). */
static void long_checks(void **state)
{
    (void)state;
    static const struct {
        u16 sel;
        u8 type, vec;
        u32 err;
        u64 rip;
        bool absent;
    } t[] = {
        {S_CODE64, 0xC, EXC_GP, 0x40 * 8 + 2, 0x5000, false},
        {S_CODE64, 0x5, EXC_GP, 0x40 * 8 + 2, 0x5000, false},
        {S_CODE64, 0xE, EXC_NP, 0x40 * 8 + 2, 0x5000, true},
        {0, 0xE, EXC_GP, 0, 0x5000, false},
        {S_DATA, 0xE, EXC_GP, S_DATA, 0x5000, false},
        {S_CODE32, 0xE, EXC_GP, S_CODE32, 0x5000, false},
        {S_END, 0xE, EXC_GP, S_END, 0x5000, false},
        {S_CODE64, 0xE, EXC_GP, 0, 1ull << 47, false},
        {S_UCODE64, 0xE, EXC_GP, S_UCODE64 & ~3, 0x5000, false},
    };
    for (u32 k = 0; k < ARRAY_LEN(t); k++) {
        struct flat *f = flat_long(0);
        flat_gate(f, 0x40, t[k].sel, t[k].rip, t[k].type | 3 << 5);
        if (t[k].absent) f->mem[FLAT_IDT + 0x40 * 16 + 5] &= 0x7F;
        assert_int_equal(RUN(f, "\xCD\x40"), X_FAULT);
        assert_fault(f, t[k].vec, t[k].err);
        assert_int_equal(f->v.rip, 0x4000);
        /* delivered from outside, the handler of the fault sees EXT */
        flat_gate(f, t[k].vec, S_CODE64, 0x6000, 0xE);
        f->v.rflags |= RFLAGS_IF;
        f->intr_vector = 0x40;
        atomic_store(&f->v.intr_line, true);
        assert_true(exc_poll(&f->v));
        assert_int_equal(f->v.rip, 0x6000);
        assert_int_equal(flat_get(f, f->v.gpr[RSP], 8), t[k].err | 1);
        free(f);
    }
}

static void double_and_triple(void **state)
{
    (void)state;
    struct flat *f = flat_long(0);
    flat_gate(f, EXC_DF, S_CODE64, 0x7000, 0xE | 1 << 8);
    struct event ev = fault(EXC_GP, true, 8); /* no #GP gate: contributory twice */
    assert_int_equal(exc_deliver(&f->v, &ev), X_JUMP);
    assert_int_equal(f->v.rip, 0x7000);
    assert_int_equal(flat_get(f, f->v.gpr[RSP], 8), 0);
    assert_int_equal(flat_get(f, f->v.gpr[RSP] + 8, 8), 0x4000);
    free(f);

    f = flat_long(0); /* benign first: the second is delivered on its own */
    flat_gate(f, EXC_NP, S_CODE64, 0x7100, 0xE);
    flat_gate(f, EXC_UD, S_CODE64, 0x5000, 0xE);
    f->mem[FLAT_IDT + EXC_UD * 16 + 5] &= 0x7F;
    ev = fault(EXC_UD, false, 0);
    assert_int_equal(exc_deliver(&f->v, &ev), X_JUMP);
    assert_int_equal(f->v.rip, 0x7100);
    assert_int_equal(flat_get(f, f->v.gpr[RSP], 8), EXC_UD * 8 + 3);
    free(f);

    f = flat_long(0); /* #PF while delivering #PF: CR2 is the second's */
    flat_gate(f, EXC_PF, S_CODE64, 0x5000, 0xE);
    flat_gate(f, EXC_DF, S_CODE64, 0x7000, 0xE | 1 << 8);
    f->v.gpr[RSP] = 0xC800;
    f->fault_page = 0xC000;
    vcpu_raise_pf(&f->v, 0xDEAD000, PF_W);
    ev = f->v.exc;
    assert_int_equal(exc_deliver(&f->v, &ev), X_JUMP);
    assert_int_equal(f->v.rip, 0x7000);
    assert_int_equal(f->v.cr2, 0xC800 - 48);
    free(f);

    f = flat_long(0);
    ev = fault(EXC_GP, true, 0);
    assert_int_equal(exc_deliver(&f->v, &ev), X_SHUTDOWN);
    assert_int_equal(f->v.run_state, VCPU_SHUTDOWN);
    free(f);
}

static void page_fault_and_debug_payload(void **state)
{
    (void)state;
    struct flat *f = flat_long(0);
    flat_gate(f, EXC_PF, S_CODE64, 0x5000, 0xE);
    flat_gate(f, EXC_DB, S_CODE64, 0x5100, 0xE);
    vcpu_raise_pf(&f->v, 0x123456, PF_W | PF_P);
    struct event ev = f->v.exc;
    assert_int_equal(exc_deliver(&f->v, &ev), X_JUMP);
    assert_int_equal(f->v.cr2, 0x123456);
    assert_int_equal(flat_get(f, f->v.gpr[RSP], 8), PF_W | PF_P);
    f->v.dr7 |= DR7_GD;
    f->v.rflags |= RFLAGS_TF;
    f->v.pending_dbg = DR6_BS;
    f->v.run_state = VCPU_HALTED;
    assert_true(exc_poll(&f->v));
    assert_int_equal(f->v.dr6, DR6_FIXED | DR6_BS);
    assert_false(f->v.dr7 & DR7_GD);
    assert_int_equal(f->v.run_state, VCPU_RUNNING);
    assert_false(flat_get(f, f->v.gpr[RSP] + 16, 8) & RFLAGS_RF);
    assert_false(atomic_load(&f->v.attention) & ATT_STEP);
    free(f);
}

static void interrupts_wait(void **state)
{
    (void)state;
    struct flat *f = flat_long(0);
    flat_gate(f, 0x31, S_CODE64, 0x5000, 0xE);
    f->intr_vector = 0x31;
    atomic_store(&f->v.intr_line, true);
    assert_false(exc_poll(&f->v)); /* IF clear */
    f->v.rflags |= RFLAGS_IF;
    f->v.shadow = SHADOW_STI;
    assert_false(exc_poll(&f->v));
    f->v.shadow = 0;
    assert_int_equal(RUN(f, "\xF4"), X_HALT);
    assert_int_equal(f->v.run_state, VCPU_HALTED);
    assert_true(exc_poll(&f->v));
    assert_int_equal(f->v.run_state, VCPU_RUNNING);
    assert_int_equal(flat_get(f, f->v.gpr[RSP], 8), 0x4001);
    free(f);
}

/* ---- 32-bit ---- */
static void protected_modes(void **state)
{
    (void)state;
    struct flat *f = flat_protected(3);
    struct vcpu *v = &f->v;
    flat_gate(f, EXC_GP, S_CODE32, 0x5000, 0xE);
    v->rflags |= RFLAGS_IF;
    struct event ev = fault(EXC_GP, true, 0x50);
    assert_int_equal(exc_deliver(v, &ev), X_JUMP);
    assert_int_equal(v->cpl, 0);
    assert_int_equal(v->gpr[RSP], 0x9000 - 24);
    assert_int_equal(v->seg[SS].sel, S_DATA);
    static const u32 frame[] = {0x50,   0x4000, S_UCODE32, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_RF,
                                0x8000, S_UDATA};
    assert_memory_equal(flat_at(f, v->gpr[RSP]), frame, sizeof frame);
    assert_int_equal(v->seg[DS].sel, S_UDATA);
    v->gpr[RSP] += 4;
    assert_int_equal(RUN(f, "\xCF"), X_JUMP);
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->gpr[RSP], 0x8000);
    assert_int_equal(v->rip, 0x4000);
    free(f);

    f = flat_protected(0); /* same privilege through a 16-bit gate */
    flat_gate(f, 0x20, S_CODE32, 0x5000, 6);
    assert_int_equal(RUN(f, "\xCD\x20"), X_JUMP);
    assert_int_equal(f->v.gpr[RSP], 0x8000 - 6);
    static const u16 frame16[] = {0x4002, S_CODE32, RFLAGS_FIXED};
    assert_memory_equal(flat_at(f, 0x8000 - 6), frame16, sizeof frame16);
    assert_int_equal(RUN(f, "\x66\xCF"), X_JUMP);
    assert_int_equal(f->v.gpr[RSP], 0x8000);
    free(f);
}

static void tss_stack_checks(void **state)
{
    (void)state;
    static const struct {
        u16 ss;
        u8 vec;
        u32 err;
    } t[] = {{0, EXC_TS, 0},
             {S_UDATA, EXC_TS, S_UDATA & ~3},
             {S_CODE32, EXC_TS, S_CODE32},
             {S_RODATA, EXC_TS, S_RODATA},
             {S_ABSENT, EXC_SS, S_ABSENT},
             {S_END, EXC_TS, S_END},
             {S_DATA1, EXC_TS, S_DATA1 & ~3}};
    for (u32 k = 0; k < ARRAY_LEN(t); k++) {
        struct flat *f = flat_protected(3);
        flat_gate(f, 0x20, S_CODE32, 0x5000, 0xE | 3 << 5);
        flat_put(f, FLAT_TSS + 8, t[k].ss, 2);
        assert_int_equal(RUN(f, "\xCD\x20"), X_FAULT);
        assert_fault(f, t[k].vec, t[k].err);
        assert_int_equal(f->v.cpl, 3);
        free(f);
    }
    struct flat *f = flat_protected(3);
    flat_gate(f, 0x20, S_CODE32, 0x5000, 0xE | 3 << 5);
    f->v.tr.limit = 8;
    assert_int_equal(RUN(f, "\xCD\x20"), X_FAULT);
    assert_fault(f, EXC_TS, S_TSS);
    f->v.tr.limit = 0xFF;
    flat_gdt(f, S_DATA, flat_desc(0, 0x8FF0, 0x4093)); /* no room on the new stack */
    assert_int_equal(RUN(f, "\xCD\x20"), X_FAULT);
    assert_fault(f, EXC_SS, S_DATA);
    free(f);
}

/* ---- virtual-8086 and real mode ---- */
static struct flat *flat_v86(u32 iopl)
{
    struct flat *f = flat_protected(0);
    f->v.rflags = RFLAGS_FIXED | RFLAGS_VM | iopl << 12 | RFLAGS_IF;
    f->v.cpl = 3;
    for (int s = 0; s < SEGS; s++) seg_set_real(&f->v, s, (u16)(0x1000 + 0x100 * s));
    f->v.rip = 0x40;
    f->v.gpr[RSP] = 0x80;
    vcpu_mode_changed(&f->v);
    return f;
}

static void v86_round_trip(void **state)
{
    (void)state;
    struct flat *f = flat_v86(3);
    struct vcpu *v = &f->v;
    flat_gate(f, 0x21, S_CODE32, 0x5000, 0xE | 3 << 5);
    assert_int_equal(v->mode, ISA_16);
    assert_int_equal(RUN(f, "\xCD\x21"), X_JUMP);
    assert_int_equal(v->cpl, 0);
    assert_int_equal(v->mode, ISA_32);
    assert_int_equal(v->gpr[RSP], 0x9000 - 36);
    static const u32 frame[] = {0x42,   0x1100, RFLAGS_FIXED | RFLAGS_VM | RFLAGS_IOPL | RFLAGS_IF,
                                0x80,   0x1200, 0x1000,
                                0x1300, 0x1400, 0x1500};
    assert_memory_equal(flat_at(f, v->gpr[RSP]), frame, sizeof frame);
    assert_true(v->seg[DS].attr & SEG_NULL);
    assert_int_equal(RUN(f, "\xCF"), X_JUMP);
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->mode, ISA_16);
    assert_int_equal(v->seg[GS].base, 0x15000);
    assert_int_equal(v->seg[CS].sel, 0x1100);
    assert_int_equal(v->rip, 0x42);
    assert_int_equal(v->gpr[RSP], 0x80);
    assert_int_equal(v->rflags, frame[2]);
    flat_gate(f, 0x21, S_CONF, 0x5000,
              0xE | 3 << 5); /* handler must be at privilege 0, non-conforming */
    assert_int_equal(RUN(f, "\xCD\x21"), X_FAULT);
    assert_fault(f, EXC_GP, S_CONF);
    free(f);
    f = flat_v86(0);
    assert_int_equal(RUN(f, "\xCD\x21"), X_FAULT);
    assert_fault(f, EXC_GP, 0);
    free(f);
}

static void v86_redirected(void **state)
{
    (void)state;
    struct flat *f = flat_v86(0);
    struct vcpu *v = &f->v;
    v->cr4 |= CR4_VME;
    v->rflags |= RFLAGS_VIF;
    flat_put(f, FLAT_TSS + 0x66, 0x90, 2); /* redirection map at 70..8F, all clear */
    flat_put(f, 0x21 * 4, 0x2000ull << 16 | 0x123, 4);
    assert_int_equal(RUN(f, "\xCD\x21"), X_JUMP);
    assert_int_equal(v->rip, 0x123);
    assert_int_equal(v->seg[CS].base, 0x20000);
    assert_int_equal(flat_get(f, 0x12000 + 0x7E, 2), RFLAGS_FIXED | RFLAGS_IOPL | RFLAGS_IF);
    assert_false(v->rflags & RFLAGS_VIF);
    assert_true(v->rflags & RFLAGS_IF);
    flat_put(f, FLAT_TSS + 0x70 + 0x21 / 8, 1 << (0x21 & 7), 1);
    assert_int_equal(RUN(f, "\xCD\x21"), X_FAULT);
    assert_fault(f, EXC_GP, 0);
    free(f);
}

static void real_mode(void **state)
{
    (void)state;
    struct flat *f = flat_create();
    struct vcpu *v = &f->v;
    seg_set_real(v, CS, 0x1000);
    seg_set_real(v, SS, 0x2000);
    v->rip = 0x10;
    v->gpr[RSP] = 2; /* wraps during the pushes */
    v->rflags |= RFLAGS_IF | RFLAGS_AC;
    v->idtr.limit = 0x3FF;
    flat_put(f, 0x21 * 4, 0x3000ull << 16 | 0x456, 4);
    assert_int_equal(RUN(f, "\xCD\x21"), X_JUMP);
    assert_int_equal(v->rip, 0x456);
    assert_int_equal(v->seg[CS].base, 0x30000);
    assert_int_equal(v->gpr[RSP], 0xFFFC);
    assert_int_equal(flat_get(f, 0x20000, 2), RFLAGS_FIXED | RFLAGS_IF);
    assert_int_equal(flat_get(f, 0x2FFFE, 2), 0x1000);
    assert_int_equal(flat_get(f, 0x2FFFC, 2), 0x12);
    assert_int_equal(v->rflags, RFLAGS_FIXED);
    assert_int_equal(RUN(f, "\xCF"), X_JUMP);
    assert_int_equal(v->rip, 0x12);
    assert_int_equal(v->gpr[RSP], 2);
    assert_true(v->rflags & RFLAGS_IF);
    v->idtr.limit = 0x10; /* INT beyond the table, and #GP beyond it too: shutdown */
    assert_int_equal(RUN(f, "\xCD\x21"), X_FAULT);
    assert_fault(f, EXC_GP, 0x21 * 8 + 2);
    struct event ev = v->exc;
    assert_int_equal(exc_deliver(v, &ev), X_SHUTDOWN);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(long_same_privilege),
        cmocka_unit_test(long_from_user),
        cmocka_unit_test(long_ist),
        cmocka_unit_test(debug_is_reported_once),
        cmocka_unit_test(long_checks),
        cmocka_unit_test(double_and_triple),
        cmocka_unit_test(page_fault_and_debug_payload),
        cmocka_unit_test(interrupts_wait),
        cmocka_unit_test(protected_modes),
        cmocka_unit_test(tss_stack_checks),
        cmocka_unit_test(v86_round_trip),
        cmocka_unit_test(v86_redirected),
        cmocka_unit_test(real_mode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

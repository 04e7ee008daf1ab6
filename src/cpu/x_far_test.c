#include "cpu/far.h"
#include "cpu/flat_tables_test.h"
#include "cpu/task.h"

/* 32-bit far pointer at 6000; JMP FAR [6000] and CALL FAR [6000]. */
static enum x_result jump(struct flat *f, u16 sel, u32 off, bool call)
{
    flat_put(f, 0x6000, (u64)sel << 32 | off, 6);
    f->v.gpr[RBX] = 0x6000;
    return call ? RUN(f, "\xFF\x1B") : RUN(f, "\xFF\x2B");
}

static void code_segments(void **state)
{
    (void)state;
    static const struct {
        u8 cpl;
        u16 sel;
        u8 vec;
        u16 err;
    } t[] = {
        {0, S_CODE32, 0, 0},
        {3, S_UCODE32, 0, 0},
        {3, S_CODE32, EXC_GP, S_CODE32},
        {3, S_CONF, 0, 0},
        {0, S_UCODE32, EXC_GP, S_UCODE32 & ~3},
        {0, S_CODE32 | 3, EXC_GP, S_CODE32},
        {0, S_DATA, EXC_GP, S_DATA},
        {0, 0, EXC_GP, 0},
        {0, S_ABSENT_CODE, EXC_NP, S_ABSENT_CODE},
        {0, S_END, EXC_GP, S_END},
        {0, S_LDT, EXC_GP, S_LDT},
        {0, S_CODE16, EXC_GP, 0}, /* offset beyond its limit */
    };
    for (u32 k = 0; k < 2 * ARRAY_LEN(t); k++) {
        bool call = k & 1;
        struct flat *f = flat_protected(t[k / 2].cpl);
        enum x_result r = jump(f, t[k / 2].sel, 0x12345, call);
        assert_int_equal(r, t[k / 2].vec ? X_FAULT : X_JUMP);
        if (t[k / 2].vec) {
            assert_fault(f, t[k / 2].vec, t[k / 2].err);
            assert_int_equal(f->v.gpr[RSP], 0x8000);
            assert_int_equal(f->v.rip, 0x4000);
        } else {
            assert_int_equal(f->v.rip, 0x12345);
            assert_int_equal(f->v.seg[CS].sel, (t[k / 2].sel & ~3) | t[k / 2].cpl);
            assert_int_equal(f->v.gpr[RSP], call ? 0x7FF8 : 0x8000);
            if (call) {
                assert_int_equal(RUN(f, "\xCB"), X_JUMP);
                assert_int_equal(f->v.rip, 0x4002);
                assert_int_equal(f->v.gpr[RSP], 0x8000);
            }
        }
        free(f);
    }
}

static void call_gate_inner(void **state)
{
    (void)state;
    struct flat *f = flat_protected(3);
    struct vcpu *v = &f->v;
    flat_gdt(f, S_GATE,
             0x5000 | (u64)S_CODE32 << 16 | 2ull << 32 | 0xECull << 40); /* two parameters */
    v->gpr[RSP] = 0x7FF8;
    flat_put(f, 0x7FF8, 0x2222222211111111, 8);
    assert_int_equal(jump(f, S_GATE | 3, 0xFFFFFFFF, true), X_JUMP); /* the offset does not count */
    assert_int_equal(v->cpl, 0);
    assert_int_equal(v->rip, 0x5000);
    static const u32 frame[] = {0x4002, S_UCODE32, 0x11111111, 0x22222222, 0x7FF8, S_UDATA};
    assert_int_equal(v->gpr[RSP], 0x9000 - sizeof frame);
    assert_memory_equal(flat_at(f, v->gpr[RSP]), frame, sizeof frame);
    seg_load(v, FS, S_DATA);
    assert_int_equal(RUN(f, "\xCA\x08\x00"), X_JUMP); /* RETF 8: drops them on both stacks */
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->gpr[RSP], 0x8000);
    assert_int_equal(v->seg[SS].sel, S_UDATA);
    assert_int_equal(v->seg[DS].sel, S_UDATA);
    assert_true(v->seg[FS].attr & SEG_NULL);                  /* not for privilege 3 */
    assert_int_equal(jump(f, S_GATE | 3, 0, false), X_FAULT); /* JMP may not change privilege */
    assert_fault(f, EXC_GP, S_CODE32);
    flat_gdt(f, S_GATE, 0x5000 | (u64)S_CODE32 << 16 | 0x8Cull << 40);
    assert_int_equal(jump(f, S_GATE | 3, 0, true), X_FAULT); /* gate DPL 0 */
    assert_fault(f, EXC_GP, S_GATE);
    flat_gdt(f, S_GATE, 0x5000 | (u64)S_CODE32 << 16 | 0x6Cull << 40);
    assert_int_equal(jump(f, S_GATE | 3, 0, true), X_FAULT);
    assert_fault(f, EXC_NP, S_GATE);
    free(f);
}

static void call_gate_long(void **state)
{
    (void)state;
    struct flat *f = flat_long(3);
    struct vcpu *v = &f->v;
    flat_gdt(f, S_GATE, 0x5000 | (u64)S_CODE64 << 16 | 0xECull << 40);
    flat_gdt(f, S_GATE + 8, 0xFFFFFFFF);
    assert_int_equal(jump(f, S_GATE | 3, 0, true), X_JUMP);
    assert_int_equal(v->rip, 0xFFFFFFFF00005000);
    assert_int_equal(v->gpr[RSP], 0x9000 - 32);
    assert_true(v->seg[SS].attr & SEG_NULL);
    assert_int_equal(v->seg[SS].sel, 0);
    assert_int_equal(RUN(f, "\x48\xCB"), X_JUMP);
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->gpr[RSP], 0x8000);
    assert_int_equal(v->rip, 0x4002);
    flat_gdt(f, S_GATE + 8, 1ull << 40); /* type in the upper half must be 0 */
    assert_int_equal(jump(f, S_GATE | 3, 0, true), X_FAULT);
    assert_fault(f, EXC_GP, S_GATE);
    free(f);
}

static void mode_changes(void **state)
{
    (void)state;
    struct flat *f = flat_long(0);
    assert_int_equal(jump(f, S_CODE32, 0x5000, false), X_JUMP);
    assert_int_equal(f->v.mode, ISA_32);
    assert_int_equal(jump(f, S_CODE64, 0x5000, false), X_JUMP);
    assert_int_equal(f->v.mode, ISA_64);
    flat_gdt(f, S_CODE64, flat_desc(0, 0xFFFFF, 0xE09B)); /* L and D */
    assert_int_equal(jump(f, S_CODE64, 0x5000, false), X_FAULT);
    assert_fault(f, EXC_GP, S_CODE64);
    assert_int_equal(jump(f, S_TSS2, 0, false), X_FAULT); /* no tasks in long mode */
    assert_fault(f, EXC_GP, S_TSS2);
    free(f);
    f = flat_create();
    seg_set_real(&f->v, CS, 0x100);
    f->v.rip = 0;
    assert_int_equal(RUN(f, "\xEA\x34\x12\x00\x20"), X_JUMP); /* JMP 2000:1234 */
    assert_int_equal(f->v.seg[CS].base, 0x20000);
    assert_int_equal(f->v.rip, 0x1234);
    free(f);
}

/* ---- IRET's own rules ---- */
static enum x_result iretq(struct flat *f, u64 rip, u16 cs, u64 flags, u64 rsp, u16 ss)
{
    u64 frame[] = {rip, cs, flags, rsp, ss};
    memcpy(flat_at(f, 0x7000), frame, sizeof frame);
    f->v.gpr[RSP] = 0x7000;
    return RUN(f, "\x48\xCF");
}

static void iret_checks(void **state)
{
    (void)state;
    static const struct {
        u64 rip;
        u16 cs, ss;
        u8 vec;
        u16 err;
    } t[] = {
        {0x5000, S_CODE64, S_DATA, 0, 0},
        {0x5000, S_CODE64, 0, 0, 0}, /* null SS below privilege 3 */
        {0x5000, S_UCODE64, 0, EXC_GP, 0},
        {0x5000, S_UCODE64, 3, EXC_GP, 0},
        {0x5000, S_UCODE64, S_DATA, EXC_GP, S_DATA},
        {0x5000, S_UCODE64, S_UDATA, 0, 0},
        {0x5000, S_UCODE32, S_UDATA, 0, 0},
        {1ull << 32, S_UCODE32, S_UDATA, EXC_GP, 0},
        {1ull << 47, S_CODE64, S_DATA, EXC_GP, 0},
        {0x5000, 0, S_DATA, EXC_GP, 0},
        {0x5000, S_DATA, S_DATA, EXC_GP, S_DATA},
        {0x5000, S_CODE64, S_ABSENT, EXC_SS, S_ABSENT},
        {0x5000, S_ABSENT_CODE, S_DATA, EXC_NP, S_ABSENT_CODE},
        {0x5000, S_CODE64 | 3, S_UDATA, EXC_GP, S_CODE64},
    };
    for (u32 k = 0; k < ARRAY_LEN(t); k++) {
        struct flat *f = flat_long(0);
        f->v.nmi_masked = true;
        enum x_result r = iretq(f, t[k].rip, t[k].cs, RFLAGS_FIXED, 0xFFFF800000001000, t[k].ss);
        assert_int_equal(r, t[k].vec ? X_FAULT : X_JUMP);
        if (t[k].vec) assert_fault(f, t[k].vec, t[k].err);
        else assert_int_equal(f->v.gpr[RSP], f->v.mode == ISA_64 ? 0xFFFF800000001000 : 0x1000);
        assert_false(f->v.nmi_masked);
        free(f);
    }
    struct flat *f = flat_long(0);
    f->v.rflags |= RFLAGS_NT;
    assert_int_equal(iretq(f, 0x5000, S_CODE64, 2, 0, 0), X_FAULT);
    assert_fault(f, EXC_GP, 0);
    free(f);
}

static void iret_flags(void **state)
{
    (void)state;
    const u64 all = 0x3F7FD7 & ~(u64)RFLAGS_VM;
    struct flat *f = flat_long(0);
    assert_int_equal(iretq(f, 0x5000, S_CODE64, ~0ull, 0x8000, S_DATA), X_JUMP);
    assert_int_equal(f->v.rflags, all & ~(u64)RFLAGS_RF); /* of no use without a breakpoint */
    f->v.rflags = RFLAGS_FIXED;
    f->v.dr7 |= 1;
    assert_int_equal(iretq(f, 0x5000, S_CODE64, RFLAGS_RF, 0x8000, S_DATA), X_JUMP);
    assert_int_equal(f->v.rflags, RFLAGS_FIXED | RFLAGS_RF);
    free(f);
    f = flat_long(3); /* IOPL 0: neither IF nor IOPL nor VIF, VIP */
    assert_int_equal(iretq(f, 0x5000, S_UCODE64, ~0ull, 0x8000, S_UDATA), X_JUMP);
    assert_int_equal(f->v.rflags,
                     all & ~(u64)(RFLAGS_RF | RFLAGS_IF | RFLAGS_IOPL | RFLAGS_VIF | RFLAGS_VIP));
    free(f);
    f = flat_long(3);
    f->v.rflags |= RFLAGS_IOPL;
    assert_int_equal(iretq(f, 0x5000, S_UCODE64, RFLAGS_IF, 0x8000, S_UDATA), X_JUMP);
    assert_int_equal(f->v.rflags, RFLAGS_FIXED | RFLAGS_IOPL | RFLAGS_IF);
    free(f);
}

/* ---- tasks ---- */
static void put_task(struct flat *f, u16 cs, u16 ss)
{
    u32 t = FLAT_TSS + 0x200;
    memset(flat_at(f, t), 0, 0x68);
    flat_put(f, t + 0x20, 0x5000, 4);
    flat_put(f, t + 0x24, RFLAGS_FIXED, 4);
    for (u32 k = 0; k < 8; k++) flat_put(f, t + 0x28 + 4 * k, 0x100 + k, 4);
    flat_put(f, t + 0x38, 0x7000, 4); /* ESP */
    for (u32 k = 0; k < SEGS; k++)
        flat_put(f, t + 0x48 + 4 * k, k == CS ? cs : k == SS ? ss : S_DATA, 2);
}

static void task_round_trip(void **state)
{
    (void)state;
    struct flat *f = flat_protected(0);
    struct vcpu *v = &f->v;
    put_task(f, S_CODE32, S_DATA);
    flat_put(f, FLAT_TSS + 0x264, 1, 1); /* T: debug trap */
    v->gpr[RDI] = 0xD1;
    v->dr7 |= 0xFF;
    assert_int_equal(jump(f, S_TASKGATE, 0, true), X_JUMP);
    assert_int_equal(v->rip, 0x5000);
    assert_int_equal(v->tr.sel, S_TSS2);
    assert_int_equal(v->gpr[RDI], 0x107);
    assert_int_equal(v->gpr[RSP], 0x7000);
    assert_true(v->rflags & RFLAGS_NT);
    assert_true(v->cr0 & CR0_TS);
    assert_int_equal(v->pending_dbg, DR6_BT);
    assert_int_equal(v->dr7 & 0xFF, 0xAA);
    assert_int_equal(flat_get(f, FLAT_TSS + 0x200, 2), S_TSS);
    assert_int_equal(f->mem[FLAT_GDT + S_TSS + 5], 0x8B);
    assert_int_equal(f->mem[FLAT_GDT + S_TSS2 + 5], 0x8B);
    assert_int_equal(flat_get(f, FLAT_TSS + 0x20, 4), 0x4002);
    assert_int_equal(jump(f, S_TSS2, 0, false), X_FAULT); /* busy */
    assert_fault(f, EXC_GP, S_TSS2);
    assert_int_equal(RUN(f, "\xCF"), X_JUMP);
    assert_int_equal(v->rip, 0x4002);
    assert_int_equal(v->tr.sel, S_TSS);
    assert_int_equal(v->gpr[RDI], 0xD1);
    assert_false(v->rflags & RFLAGS_NT);
    assert_int_equal(f->mem[FLAT_GDT + S_TSS2 + 5], 0x89);
    assert_int_equal(jump(f, S_TSS2, 0, false), X_JUMP); /* JMP: no nesting, old one idle */
    assert_false(v->rflags & RFLAGS_NT);
    assert_int_equal(f->mem[FLAT_GDT + S_TSS + 5], 0x89);
    free(f);
}

static void task_faults(void **state)
{
    (void)state;
    static const struct {
        u16 cs, ss;
        u8 vec;
        u16 err;
    } t[] = {{S_DATA, S_DATA, EXC_TS, S_DATA},
             {S_CODE32 | 3, S_DATA, EXC_TS, S_CODE32},
             {0, S_DATA, EXC_TS, 0},
             {S_ABSENT_CODE, S_DATA, EXC_NP, S_ABSENT_CODE},
             {S_CODE32, S_UDATA, EXC_TS, S_UDATA & ~3},
             {S_CODE32, S_ABSENT, EXC_SS, S_ABSENT},
             {S_CODE32, 0, EXC_TS, 0}};
    for (u32 k = 0; k < ARRAY_LEN(t); k++) {
        struct flat *f = flat_protected(0);
        put_task(f, t[k].cs, t[k].ss);
        assert_int_equal(jump(f, S_TSS2, 0, false), X_FAULT);
        assert_fault(f, t[k].vec, t[k].err);
        assert_int_equal(f->v.rip, 0x5000); /* in the new task already */
        assert_int_equal(f->v.tr.sel, S_TSS2);
        free(f);
    }
    struct flat *f = flat_protected(0);
    flat_gdt(f, S_TSS2, flat_desc(FLAT_TSS + 0x200, 0x66, 0x89));
    assert_int_equal(jump(f, S_TSS2, 0, false), X_FAULT);
    assert_fault(f, EXC_TS, S_TSS2);
    assert_int_equal(f->v.rip, 0x4000);
    assert_int_equal(f->v.tr.sel, S_TSS);
    free(f);
}

static void exception_by_task_gate(void **state)
{
    (void)state;
    struct flat *f = flat_protected(0);
    put_task(f, S_CODE32, S_DATA);
    flat_put(f, FLAT_IDT + EXC_DF * 8, (u64)S_TSS2 << 16 | 0x85ull << 40, 8);
    struct event ev = {.kind = EV_FAULT, .vector = EXC_GP, .has_error = true, .error = 8};
    assert_int_equal(exc_deliver(&f->v, &ev), X_JUMP); /* no #GP gate: double fault, a task */
    assert_int_equal(f->v.rip, 0x5000);
    assert_int_equal(f->v.gpr[RSP], 0x6FFC);
    assert_int_equal(flat_get(f, 0x6FFC, 4), 0);
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(code_segments),
        cmocka_unit_test(call_gate_inner),
        cmocka_unit_test(call_gate_long),
        cmocka_unit_test(mode_changes),
        cmocka_unit_test(iret_checks),
        cmocka_unit_test(iret_flags),
        cmocka_unit_test(task_round_trip),
        cmocka_unit_test(task_faults),
        cmocka_unit_test(exception_by_task_gate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

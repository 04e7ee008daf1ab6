#include "cpu/far.h"
#include "cpu/flat_tables_test.h"

/* One row per rule of SDM vol. 2B MOV: what loading @sel into @seg at @cpl gives. vec 0: loaded. */
static void load_matrix(void **state)
{
    (void)state;
    static const struct {
        u8 cpl, seg;
        u16 sel;
        u8 vec;
        u16 err;
    } t[] = {
        {0, DS, S_DATA, 0, 0},
        {0, DS, S_UDATA, 0, 0},
        {3, DS, S_UDATA, 0, 0},
        {3, DS, S_DATA, EXC_GP, S_DATA},
        {0, DS, S_DATA | 3, EXC_GP, S_DATA}, /* RPL weaker than DPL */
        {0, DS, S_CODE32, 0, 0},
        {0, DS, S_XCODE, EXC_GP, S_XCODE},
        {3, DS, S_CONF | 3, 0, 0},
        {0, DS, S_ABSENT, EXC_NP, S_ABSENT},
        {0, DS, 0, 0, 0},
        {0, GS, 3, 0, 0},
        {0, DS, S_END, EXC_GP, S_END},
        {0, DS, S_TSS, EXC_GP, S_TSS},
        {0, DS, S_DATA | 4, EXC_GP, S_DATA | 4}, /* no LDT */
        {0, DS, S_RODATA, 0, 0},
        {0, SS, S_DATA, 0, 0},
        {0, SS, 0, EXC_GP, 0},
        {0, SS, S_UDATA, EXC_GP, S_UDATA & ~3},
        {0, SS, S_DATA | 3, EXC_GP, S_DATA},
        {0, SS, S_RODATA, EXC_GP, S_RODATA},
        {0, SS, S_CODE32, EXC_GP, S_CODE32},
        {0, SS, S_ABSENT, EXC_SS, S_ABSENT},
        {3, SS, S_UDATA2, 0, 0},
        {3, SS, S_DATA, EXC_GP, S_DATA},
        {0, SS, S_DOWN, 0, 0},
    };
    for (u32 k = 0; k < ARRAY_LEN(t); k++) {
        struct flat *f = flat_protected(t[k].cpl);
        struct seg old = f->v.seg[t[k].seg];
        int r = seg_load(&f->v, t[k].seg, t[k].sel);
        assert_int_equal(r, t[k].vec ? X_FAULT : 0);
        if (t[k].vec) {
            assert_fault(f, t[k].vec, t[k].err);
            assert_memory_equal(&old, &f->v.seg[t[k].seg], sizeof old);
        } else {
            assert_int_equal(f->v.seg[t[k].seg].sel, t[k].sel);
        }
        free(f);
    }
}

static void accessed_and_ldt(void **state)
{
    (void)state;
    struct flat *f = flat_protected(3);
    assert_int_equal(seg_load(&f->v, ES, S_SMALL | 3), 0);
    assert_true(f->mem[FLAT_GDT + S_SMALL + 5] & 1);
    assert_int_equal(f->v.seg[ES].base, 0x10000);
    assert_int_equal(f->v.seg[ES].limit, 0xFFF);
    assert_true(f->v.seg[ES].attr & SEG_A);
    f->v.ldtr = (struct seg){.base = FLAT_LDT, .limit = 0xF, .attr = 0x82, .sel = S_LDT};
    flat_put(f, FLAT_LDT + 8, flat_desc(0x5000, 0x10, 0x40F2), 8);
    assert_int_equal(seg_load(&f->v, FS, 0xF), 0);
    assert_int_equal(f->v.seg[FS].base, 0x5000);
    assert_int_equal(seg_load(&f->v, FS, 0x17), X_FAULT);
    assert_fault(f, EXC_GP, 0x14);
    f->fault_page = FLAT_GDT; /* the descriptor's page is gone: implicit supervisor access */
    assert_int_equal(seg_load(&f->v, ES, S_UDATA), X_FAULT);
    assert_fault(f, EXC_PF, 0);
    free(f);
}

static int lin(struct flat *f, u8 seg, u64 off, u32 bytes, u8 rw, u64 *out)
{
    f->v.exc.kind = EV_NONE;
    return seg_linear(&f->v, seg, off, bytes, rw, out);
}

static void limits(void **state)
{
    (void)state;
    struct flat *f = flat_protected(0);
    u64 a;
    flat_set_seg(f, ES, S_SMALL);
    assert_int_equal(lin(f, ES, 0xFFC, 4, OPND_W, &a), 0);
    assert_int_equal(a, 0x10FFC);
    assert_int_equal(lin(f, ES, 0xFFD, 4, OPND_R, &a), X_FAULT);
    assert_fault(f, EXC_GP, 0);
    assert_int_equal(lin(f, ES, 0xFFFFFFFF, 2, OPND_R, &a), X_FAULT);
    flat_set_seg(f, SS, S_DOWN); /* valid: 10000000..FFFFFFFF, the limit is in bytes here: FFFF */
    assert_int_equal(lin(f, SS, 0xFFFF, 1, OPND_R, &a), X_FAULT);
    assert_fault(f, EXC_SS, 0);
    assert_int_equal(lin(f, SS, 0x10000, 4, OPND_W, &a), 0);
    flat_set_seg(f, ES, S_RODATA);
    assert_int_equal(lin(f, ES, 0, 1, OPND_R, &a), 0);
    assert_int_equal(lin(f, ES, 0, 1, OPND_R | OPND_W, &a), X_FAULT);
    assert_int_equal(lin(f, CS, 0, 1, OPND_W, &a), X_FAULT);
    flat_set_seg(f, FS, S_XCODE);
    assert_int_equal(lin(f, FS, 0, 1, OPND_R, &a), X_FAULT);
    seg_set_null(&f->v, GS, 0);
    assert_int_equal(lin(f, GS, 0, 1, OPND_R, &a), X_FAULT);
    assert_fault(f, EXC_GP, 0);
    free(f);

    f = flat_long(0);
    assert_int_equal(lin(f, DS, 0x7FFFFFFFFFF8, 8, OPND_R, &a), 0);
    assert_int_equal(lin(f, DS, 0x7FFFFFFFFFF9, 8, OPND_R, &a), X_FAULT);
    assert_fault(f, EXC_GP, 0);
    assert_int_equal(lin(f, SS, 1ull << 47, 8, OPND_R, &a), X_FAULT);
    assert_fault(f, EXC_SS, 0);
    assert_int_equal(lin(f, DS, 0xFFFF800000000000, 8, OPND_W, &a), 0);
    f->v.seg[FS].base = 0x1000;
    f->v.seg[DS].base = 0x1000;
    assert_int_equal(lin(f, FS, 8, 8, OPND_W, &a), 0);
    assert_int_equal(a, 0x1008);
    assert_int_equal(lin(f, DS, 8, 8, OPND_W, &a), 0);
    assert_int_equal(a, 8);
    free(f);

    f = flat_create(); /* real mode: only limits, whatever the type says */
    assert_int_equal(lin(f, CS, 0xFFFF, 1, OPND_W, &a), 0);
    assert_int_equal(lin(f, DS, 0xFFFF, 2, OPND_R, &a), X_FAULT);
    free(f);
}

static void stack_widths(void **state)
{
    (void)state;
    struct flat *f = flat_protected(0);
    struct vcpu *v = &f->v;
    u64 val;
    flat_set_seg(f, SS, S_DATA16);
    v->gpr[RSP] = 0x12340002;
    assert_int_equal(stack_bits(v), 16);
    assert_int_equal(stack_push(v, 0x11223344, 4), X_FAULT); /* SP 2 - 4: FFFE..10001 */
    assert_int_equal(v->gpr[RSP], 0x12340002);
    assert_int_equal(stack_push(v, 0xBEEF, 2), 0);
    assert_int_equal(v->gpr[RSP], 0x12340000);
    assert_int_equal(stack_push(v, 0xCAFE, 2), 0);
    assert_int_equal(v->gpr[RSP], 0x1234FFFE);
    assert_int_equal(stack_pop(v, &val, 2), 0);
    assert_int_equal(val, 0xCAFE);
    assert_int_equal(v->gpr[RSP], 0x12340000);
    flat_set_seg(f, SS, S_DATA);
    assert_int_equal(stack_bits(v), 32);
    v->gpr[RSP] = 0x5004;
    f->fault_page = 0x5000;
    assert_int_equal(stack_push(v, 1, 4), X_FAULT);
    assert_int_equal(v->gpr[RSP], 0x5004);
    free(f);
}

static void moves(void **state)
{
    (void)state;
    struct flat *f = flat_protected(0);
    struct vcpu *v = &f->v;
    v->gpr[RAX] = S_DATA;
    assert_int_equal(RUN(f, "\x8E\xD0"), X_NEXT); /* MOV SS, AX */
    assert_int_equal(v->shadow, SHADOW_MOVSS);
    assert_true(atomic_load(&v->attention) & ATT_STEP);
    v->gpr[RAX] = ~0ull;
    assert_int_equal(RUN(f, "\x8C\xD8"), X_NEXT); /* MOV EAX, DS */
    assert_int_equal(v->gpr[RAX], S_DATA);
    v->gpr[RAX] = 0xFFFFFFFF;
    assert_int_equal(RUN(f, "\x66\x8C\xD8"), X_NEXT);
    assert_int_equal(v->gpr[RAX], 0xFFFF0000 | S_DATA);
    flat_put(f, 0x8000, S_UDATA, 4);
    assert_int_equal(RUN(f, "\x07"), X_NEXT); /* POP ES */
    assert_int_equal(v->seg[ES].sel, S_UDATA);
    assert_int_equal(v->gpr[RSP], 0x8004);
    flat_put(f, 0x8004, S_END, 4);
    assert_int_equal(RUN(f, "\x07"), X_FAULT);
    assert_int_equal(v->gpr[RSP], 0x8004);
    v->gpr[RBX] = 0x6000;
    flat_put(f, 0x6000, (u64)S_DATA << 32 | 0xABCD1234, 6);
    assert_int_equal(RUN(f, "\x0F\xB5\x0B"), X_NEXT); /* LGS ECX, [EBX] */
    assert_int_equal(v->gpr[RCX], 0xABCD1234);
    assert_int_equal(v->seg[GS].sel, S_DATA);
    free(f);
}

static bool zf(struct flat *f) { return f->v.rflags & RFLAGS_ZF; }

static void queries(void **state)
{
    (void)state;
    struct flat *f = flat_protected(3);
    struct vcpu *v = &f->v;
    v->gpr[RBX] = S_UCODE32;
    assert_int_equal(RUN(f, "\x0F\x02\xC3"), X_NEXT); /* LAR EAX, EBX */
    assert_true(zf(f));
    assert_int_equal(v->gpr[RAX], 0x00CFFB00);
    assert_int_equal(RUN(f, "\x0F\x03\xC3"), X_NEXT); /* LSL EAX, EBX */
    assert_int_equal(v->gpr[RAX], 0xFFFFFFFF);
    assert_int_equal(RUN(f, "\x0F\x00\xE3"), X_NEXT); /* VERR BX */
    assert_true(zf(f));
    assert_int_equal(RUN(f, "\x0F\x00\xEB"), X_NEXT); /* VERW BX */
    assert_false(zf(f));
    v->gpr[RBX] = S_DATA;
    v->gpr[RAX] = 7;
    assert_int_equal(RUN(f, "\x0F\x02\xC3"), X_NEXT);
    assert_false(zf(f));
    assert_int_equal(v->gpr[RAX], 7);
    v->gpr[RBX] = S_END;
    assert_int_equal(RUN(f, "\x0F\x03\xC3"), X_NEXT);
    assert_false(zf(f));
    v->gpr[RBX] = 0;
    assert_int_equal(RUN(f, "\x0F\x00\xE3"), X_NEXT);
    assert_false(zf(f));
    v->gpr[RBX] = S_UDATA;
    assert_int_equal(RUN(f, "\x0F\x00\xEB"), X_NEXT);
    assert_true(zf(f));
    free(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(load_matrix), cmocka_unit_test(accessed_and_ldt),
        cmocka_unit_test(limits),      cmocka_unit_test(stack_widths),
        cmocka_unit_test(moves),       cmocka_unit_test(queries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "base/ser.h"
#include "cpu/cr.h"
#include "cpu/far.h"
#include "cpu/flat_tables_test.h"

/* ---- control registers ---- */
static void cr0_rules(void **state)
{
    (void)state;
    struct flat *f = flat_protected(0);
    struct vcpu *v = &f->v;
    assert_int_equal(vcpu_write_cr0(v, CR0_PG), X_FAULT); /* PG without PE */
    assert_fault(f, EXC_GP, 0);
    assert_int_equal(vcpu_write_cr0(v, CR0_PE | CR0_NW), X_FAULT);
    assert_int_equal(vcpu_write_cr0(v, CR0_PE | BIT(32)), X_FAULT);
    assert_int_equal(vcpu_write_cr0(v, CR0_PE | BIT(10)), 0); /* reserved low bits are ignored */
    assert_int_equal(v->cr0, CR0_PE | CR0_ET);
    assert_int_equal(vcpu_write_efer(v, EFER_LME | EFER_NXE), 0);
    assert_int_equal(vcpu_write_cr0(v, CR0_PE | CR0_PG), X_FAULT); /* LME without PAE */
    assert_int_equal(vcpu_write_cr4(v, CR4_PAE), 0);
    u32 flushes = f->flushes;
    assert_int_equal(vcpu_write_cr0(v, CR0_PE | CR0_PG), 0);
    assert_true(v->efer & EFER_LMA);
    assert_true(f->flushes > flushes);
    assert_int_equal(v->mode, ISA_32);
    assert_int_equal(vcpu_write_efer(v, EFER_NXE), X_FAULT); /* LME may not change under paging */
    assert_int_equal(vcpu_write_cr4(v, 0), X_FAULT);         /* nor PAE in long mode */
    flat_set_seg(f, CS, S_CODE64);
    vcpu_mode_changed(v);
    assert_int_equal(v->mode, ISA_64);
    assert_int_equal(vcpu_write_cr0(v, CR0_PE), X_FAULT); /* not from 64-bit code */
    flat_set_seg(f, CS, S_CODE32);
    vcpu_mode_changed(v);
    assert_int_equal(vcpu_write_cr4(v, v->cr4 | CR4_PCIDE), 0);
    assert_int_equal(vcpu_write_cr0(v, CR0_PE), X_FAULT);
    assert_int_equal(vcpu_write_cr4(v, CR4_PAE), 0);
    assert_int_equal(vcpu_write_cr0(v, CR0_PE), 0);
    assert_false(v->efer & EFER_LMA);
    free(f);
}

static void cr3_cr4_rules(void **state)
{
    (void)state;
    struct flat *f = flat_long(0);
    struct vcpu *v = &f->v;
    assert_int_equal(vcpu_write_cr3(v, 1ull << GPA_BITS), X_FAULT);
    assert_int_equal(vcpu_write_cr3(v, CR3_NOFLUSH | 0x1000), X_FAULT); /* without PCIDE */
    assert_int_equal(vcpu_write_cr3(v, 0x1005), 0);
    assert_int_equal(vcpu_write_cr4(v, v->cr4 | CR4_PCIDE), X_FAULT); /* CR3[11:0] not 0 */
    assert_int_equal(vcpu_write_cr3(v, 0x1000), 0);
    assert_int_equal(vcpu_write_cr4(v, v->cr4 | CR4_PCIDE), 0);
    assert_int_equal(vcpu_write_cr3(v, CR3_NOFLUSH | 0x1005), 0);
    assert_int_equal(v->cr3, 0x1005);
    assert_int_equal(f->cr3_loads, 3);
    assert_int_equal(vcpu_write_cr4(v, v->cr4 | BIT(13)), X_FAULT); /* VMXE */
    assert_int_equal(vcpu_write_cr4(v, v->cr4 | BIT(40)), X_FAULT);
    memset(f->model.features, 0, sizeof f->model.features);
    assert_int_equal(vcpu_write_cr4(v, v->cr4 | CR4_SMEP), X_FAULT); /* not offered */
    free(f);
    f = flat_protected(0); /* PAE paging reads the PDPTEs */
    f->v.cr4 = CR4_PAE;
    f->v.cr3 = 0x800;
    assert_int_equal(vcpu_write_cr0(&f->v, CR0_PE | CR0_PG), X_FAULT);
    assert_int_equal(f->v.cr0 & CR0_PG, 0);
    assert_int_equal(vcpu_write_cr3(&f->v, 0x1000), 0);
    assert_int_equal(vcpu_write_cr0(&f->v, CR0_PE | CR0_PG), 0);
    assert_int_equal(vcpu_write_cr3(&f->v, 0x1800), X_FAULT);
    assert_int_equal(f->v.cr3, 0x1000);
    free(f);
}

static void moves(void **state)
{
    (void)state;
    struct flat *f = flat_long(0);
    struct vcpu *v = &f->v;
    v->gpr[RAX] = 5;
    assert_int_equal(RUN(f, "\x44\x0F\x22\xC0"), X_NEXT); /* MOV CR8, RAX */
    assert_int_equal(f->cr8, 5);
    v->gpr[RAX] = 16;
    assert_int_equal(RUN(f, "\x44\x0F\x22\xC0"), X_FAULT);
    assert_int_equal(RUN(f, "\x44\x0F\x20\xC3"), X_NEXT); /* MOV RBX, CR8 */
    assert_int_equal(v->gpr[RBX], 5);
    v->gpr[RAX] = ~0ull;
    assert_int_equal(RUN(f, "\x0F\x22\xD0"), X_NEXT); /* MOV CR2, RAX: any value */
    assert_int_equal(v->cr2, ~0ull);
    assert_int_equal(RUN(f, "\x0F\x23\xC0"), X_NEXT); /* MOV DR0, RAX */
    assert_int_equal(v->dr[0], ~0ull);
    assert_int_equal(RUN(f, "\x0F\x23\xF8"), X_FAULT); /* MOV DR7, RAX: upper half */
    assert_fault(f, EXC_GP, 0);
    v->gpr[RAX] = 0xFFFFFFFF & ~DR7_GD;
    assert_int_equal(RUN(f, "\x0F\x23\xF8"), X_NEXT);
    assert_int_equal(v->dr7, 0xFFFF07FF);
    assert_true(atomic_load(&v->attention) & ATT_STEP);
    assert_int_equal(RUN(f, "\x0F\x23\xE8"), X_NEXT); /* DR5 is DR7 */
    v->cr4 |= CR4_DE;
    assert_int_equal(RUN(f, "\x0F\x23\xE8"), X_FAULT);
    assert_int_equal(v->exc.vector, EXC_UD);
    v->dr7 |= DR7_GD;
    assert_int_equal(RUN(f, "\x0F\x21\xF0"), X_FAULT); /* MOV RAX, DR6 under GD */
    assert_int_equal(v->exc.vector, EXC_DB);
    assert_int_equal(v->exc.payload, DR6_BD);
    v->dr7 = DR7_FIXED;
    v->gpr[RAX] = 0;
    assert_int_equal(RUN(f, "\x0F\x23\xF0"), X_NEXT);
    assert_int_equal(v->dr6, DR6_FIXED);
    free(f);
    f = flat_long(3);
    assert_int_equal(RUN(f, "\x0F\x20\xC0"), X_FAULT);
    assert_fault(f, EXC_GP, 0);
    free(f);
}

static void status_word(void **state)
{
    (void)state;
    struct flat *f = flat_create();
    struct vcpu *v = &f->v;
    v->gpr[RAX] = 0xFFFFFFF1;
    v->rip = 0;
    assert_int_equal(RUN(f, "\x0F\x01\xF0"), X_NEXT); /* LMSW AX */
    assert_true(v->cr0 & CR0_PE);
    v->gpr[RAX] = 0xA;
    assert_int_equal(RUN(f, "\x0F\x01\xF0"), X_NEXT);
    assert_int_equal(v->cr0 & 0xF, CR0_PE | CR0_MP | CR0_TS); /* PE stays */
    assert_int_equal(v->fpu_fault[FPU_SSE], EXC_UD);
    assert_int_equal(v->fpu_fault[FPU_X87], EXC_NM);
    assert_int_equal(v->fpu_fault[FPU_WAIT], EXC_NM);
    assert_int_equal(RUN(f, "\x0F\x06"), X_NEXT); /* CLTS */
    assert_int_equal(v->fpu_fault[FPU_X87], 0);
    v->cr4 = CR4_OSFXSR | CR4_OSXSAVE;
    v->xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    vcpu_mode_changed(v);
    assert_int_equal(v->fpu_fault[FPU_SSE], 0);
    assert_int_equal(v->fpu_fault[FPU_AVX], 0);
    assert_int_equal(v->fpu_fault[FPU_AVX512], EXC_UD);
    free(f);
}

/* ---- tables ---- */
static void tables(void **state)
{
    (void)state;
    struct flat *f = flat_long(0);
    struct vcpu *v = &f->v;
    v->gpr[RBX] = 0x6000;
    flat_put(f, 0x6000, 0x123, 2);
    flat_put(f, 0x6002, 0xFFFF800000001000, 8);
    assert_int_equal(RUN(f, "\x0F\x01\x1B"), X_NEXT); /* LIDT [RBX] */
    assert_int_equal(v->idtr.limit, 0x123);
    assert_int_equal(v->idtr.base, 0xFFFF800000001000);
    assert_int_equal(RUN(f, "\x0F\x01\x4B\x20"), X_NEXT); /* SIDT [RBX+20] */
    assert_memory_equal(flat_at(f, 0x6000), flat_at(f, 0x6020), 10);
    flat_put(f, 0x6002, 1ull << 63, 8);
    assert_int_equal(RUN(f, "\x0F\x01\x13"), X_FAULT); /* LGDT */
    assert_fault(f, EXC_GP, 0);
    /* a 16-byte TSS descriptor */
    flat_gdt(f, S_TSS2, flat_desc(0x3200, 0x67, 0x89));
    flat_gdt(f, S_TSS2 + 8, 0xFFFF8000);
    v->gpr[RAX] = S_TSS2;
    assert_int_equal(RUN(f, "\x0F\x00\xD8"), X_NEXT); /* LTR AX */
    assert_int_equal(v->tr.base, 0xFFFF800000003200);
    assert_int_equal(f->mem[FLAT_GDT + S_TSS2 + 5], 0x8B);
    assert_int_equal(RUN(f, "\x0F\x00\xD8"), X_FAULT); /* busy now */
    assert_fault(f, EXC_GP, S_TSS2);
    v->gpr[RAX] = S_LDT;
    flat_gdt(f, S_LDT + 8, 0);
    assert_int_equal(RUN(f, "\x0F\x00\xD0"), X_NEXT); /* LLDT AX */
    assert_int_equal(v->ldtr.limit, 0x3F);
    v->gpr[RAX] = 0;
    assert_int_equal(RUN(f, "\x0F\x00\xD0"), X_NEXT);
    assert_true(v->ldtr.attr & SEG_NULL);
    assert_int_equal(RUN(f, "\x0F\x00\xD8"), X_FAULT); /* LTR 0 */
    assert_fault(f, EXC_GP, 0);
    free(f);
    f = flat_long(3);
    f->v.cr4 |= CR4_UMIP;
    assert_int_equal(RUN(f, "\x0F\x00\xC8"), X_FAULT); /* STR EAX */
    assert_fault(f, EXC_GP, 0);
    f->v.cr4 &= ~CR4_UMIP;
    assert_int_equal(RUN(f, "\x0F\x00\xC8"), X_NEXT);
    assert_int_equal(f->v.gpr[RAX], S_TSS);
    free(f);
}

/* ---- fast system calls ---- */
static void syscall_round_trip(void **state)
{
    (void)state;
    struct flat *f = flat_long(3);
    struct vcpu *v = &f->v;
    v->star = 0x0023001000000000ull;
    v->lstar = 0xFFFFFFFF81000000;
    v->fmask = RFLAGS_IF | RFLAGS_TF;
    v->rflags |= RFLAGS_IF | RFLAGS_ZF | RFLAGS_RF;
    assert_int_equal(RUN(f, "\x0F\x05"), X_JUMP);
    assert_int_equal(v->rip, v->lstar);
    assert_int_equal(v->gpr[RCX], 0x4002);
    assert_int_equal(v->gpr[R11], RFLAGS_FIXED | RFLAGS_IF | RFLAGS_ZF);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_ZF);
    assert_int_equal(v->cpl, 0);
    assert_int_equal(v->seg[CS].sel, 0x10);
    assert_int_equal(v->seg[SS].sel, 0x18);
    assert_int_equal(v->seg[CS].attr, 0xA09B);
    assert_int_equal(v->seg[SS].attr, 0xC093);
    assert_int_equal(RUN(f, "\x48\x0F\x07"), X_JUMP);
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->rip, 0x4002);
    assert_int_equal(v->seg[CS].sel, 0x33);
    assert_int_equal(v->seg[SS].sel, 0x2B);
    assert_int_equal(v->seg[CS].attr, 0xA0FB);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_ZF);
    assert_int_equal(RUN(f, "\x48\x0F\x07"), X_FAULT); /* SYSRET at CPL 3 */
    assert_fault(f, EXC_GP, 0);
    v->efer &= ~EFER_SCE;
    assert_int_equal(RUN(f, "\x0F\x05"), X_FAULT);
    assert_int_equal(v->exc.vector, EXC_UD);
    free(f);
    f = flat_long(0);
    f->v.star = 0x0023001000000000ull;
    f->v.gpr[RCX] = 1ull << 47;
    assert_int_equal(RUN(f, "\x48\x0F\x07"), X_FAULT);
    assert_fault(f, EXC_GP, 0);
    assert_int_equal(f->v.cpl, 0);
    f->v.gpr[RCX] = 0x1234567812345678;
    assert_int_equal(RUN(f, "\x0F\x07"), X_JUMP); /* to compatibility mode */
    assert_int_equal(f->v.mode, ISA_32);
    assert_int_equal(f->v.rip, 0x12345678);
    assert_int_equal(f->v.seg[CS].sel, 0x23);
    free(f);
}

static void sysenter_round_trip(void **state)
{
    (void)state;
    struct flat *f = flat_protected(3);
    struct vcpu *v = &f->v;
    assert_int_equal(RUN(f, "\x0F\x34"), X_FAULT); /* SYSENTER_CS 0 */
    assert_fault(f, EXC_GP, 0);
    v->sysenter_cs = S_CODE32;
    v->sysenter_eip = 0x5000;
    v->sysenter_esp = 0x9000;
    v->rflags |= RFLAGS_IF;
    assert_int_equal(RUN(f, "\x0F\x34"), X_JUMP);
    assert_int_equal(v->rip, 0x5000);
    assert_int_equal(v->gpr[RSP], 0x9000);
    assert_int_equal(v->seg[SS].sel, 0x10);
    assert_int_equal(v->rflags, RFLAGS_FIXED);
    v->gpr[RCX] = 0x7000;
    v->gpr[RDX] = 0x4100;
    assert_int_equal(RUN(f, "\x0F\x35"), X_JUMP);
    assert_int_equal(v->cpl, 3);
    assert_int_equal(v->seg[CS].sel, S_UCODE32);
    assert_int_equal(v->seg[SS].sel, S_UDATA);
    assert_int_equal(v->rip, 0x4100);
    assert_int_equal(v->gpr[RSP], 0x7000);
    free(f);
}

static void bases(void **state)
{
    (void)state;
    struct flat *f = flat_long(0);
    struct vcpu *v = &f->v;
    v->seg[GS].base = 1;
    v->kernel_gs_base = 2;
    assert_int_equal(RUN(f, "\x0F\x01\xF8"), X_NEXT); /* SWAPGS */
    assert_int_equal(v->seg[GS].base, 2);
    assert_int_equal(v->kernel_gs_base, 1);
    v->gpr[RAX] = 0xFFFF800000001234;
    assert_int_equal(RUN(f, "\xF3\x48\x0F\xAE\xD0"), X_FAULT); /* WRFSBASE without FSGSBASE */
    assert_int_equal(v->exc.vector, EXC_UD);
    v->cr4 |= CR4_FSGSBASE;
    assert_int_equal(RUN(f, "\xF3\x48\x0F\xAE\xD0"), X_NEXT);
    assert_int_equal(v->seg[FS].base, 0xFFFF800000001234);
    assert_int_equal(RUN(f, "\xF3\x0F\xAE\xC3"), X_NEXT); /* RDFSBASE EBX */
    assert_int_equal(v->gpr[RBX], 0x1234);
    v->gpr[RAX] = 1ull << 47;
    assert_int_equal(RUN(f, "\xF3\x48\x0F\xAE\xD8"), X_FAULT);
    assert_fault(f, EXC_GP, 0);
    free(f);
}

static void invalidations(void **state)
{
    (void)state;
    struct flat *f = flat_long(0);
    struct vcpu *v = &f->v;
    v->gpr[RBX] = 0x6000;
    u32 flushes = f->flushes;
    assert_int_equal(RUN(f, "\x0F\x01\x3B"), X_NEXT); /* INVLPG [RBX] */
    assert_int_equal(f->flushes, flushes + 1);
    static const struct {
        u64 type, pcid, gva;
        bool pcide, ok;
    } t[] = {
        {0, 0, 0x1000, false, true}, {0, 1, 0, false, false},     {0, 1, 0, true, true},
        {1, 5, 0, true, true},       {2, 0, 0, false, true},      {3, 0, 0, false, true},
        {4, 0, 0, true, false},      {1, 0x1000, 0, true, false}, {0, 0, 1ull << 47, true, false}};
    for (u32 k = 0; k < ARRAY_LEN(t); k++) {
        v->cr4 = t[k].pcide ? v->cr4 | CR4_PCIDE : v->cr4 & ~CR4_PCIDE;
        v->gpr[RAX] = t[k].type;
        flat_put(f, 0x6000, t[k].pcid, 8);
        flat_put(f, 0x6008, t[k].gva, 8);
        assert_int_equal(RUN(f, "\x66\x0F\x38\x82\x03"), t[k].ok ? X_NEXT : X_FAULT);
    }
    free(f);
}

/* ---- reset and saved state ---- */
static void reset_state(void **state)
{
    (void)state;
    struct flat *f = flat_long(0);
    struct vcpu *v = &f->v;
    v->lstar = 0x1000;
    v->fx.mxcsr = 0x1F81;
    v->cr0 &= ~CR0_CD;
    vcpu_reset(v, true);
    assert_int_equal(v->cr0, CR0_ET);
    assert_int_equal(v->seg[CS].base + v->rip, 0xFFFFFFF0);
    assert_int_equal(v->lstar, 0x1000);
    assert_int_equal(v->fx.mxcsr, 0x1F81);
    assert_int_equal(v->gpr[RDX], 0x663);
    assert_int_equal(v->mode, ISA_16);
    vcpu_start_sipi(v, 0x9A);
    assert_int_equal(v->seg[CS].base, 0x9A000);
    assert_int_equal(v->seg[CS].sel, 0x9A00);
    assert_int_equal(v->rip, 0);
    vcpu_reset(v, false);
    assert_int_equal(v->cr0, CR0_ET | CR0_CD | CR0_NW);
    assert_int_equal(v->lstar, 0);
    assert_int_equal(v->fx.mxcsr, 0x1F80);
    free(f);
}

static void save_and_load(void **state)
{
    (void)state;
    struct flat *a = flat_long(3), *b = flat_create();
    struct ser_buf buf;
    struct err e;
    for (u32 k = 0; k < GPRS; k++) a->v.gpr[k] = 0x1111111111111111ull * k;
    for (u32 k = 0; k < sizeof a->v.vec; k++) ((u8 *)a->v.vec)[k] = (u8)(k * 7);
    a->v.seg[GS].base = 0xFFFF888000000000;
    a->v.rflags |= RFLAGS_TF;
    atomic_store(&a->v.posted, POST_NMI);
    ser_buf_init(&buf);
    assert_int_equal(vcpu_save(&a->v, &buf, &e), 0);
    struct ser_view view = {.data = buf.data, .bytes = buf.bytes};
    assert_int_equal(vcpu_load(&b->v, &view, &e), 0);
    assert_memory_equal(a->v.gpr, b->v.gpr, sizeof a->v.gpr);
    assert_memory_equal(a->v.vec, b->v.vec, sizeof a->v.vec);
    assert_memory_equal(a->v.seg, b->v.seg, sizeof a->v.seg);
    assert_int_equal(b->v.mode, ISA_64);
    assert_int_equal(b->v.cpl, 3);
    assert_int_equal(atomic_load(&b->v.posted), POST_NMI);
    assert_true(atomic_load(&b->v.attention) & ATT_STEP);
    struct ser_buf again;
    ser_buf_init(&again);
    assert_int_equal(vcpu_save(&b->v, &again, &e), 0);
    assert_int_equal(again.bytes, buf.bytes);
    assert_memory_equal(again.data, buf.data, buf.bytes);
    for (size_t cut = 0; cut < buf.bytes; cut += 61) { /* truncated: refused, nothing changed */
        view = (struct ser_view){.data = buf.data, .bytes = cut};
        b->v.rip = 0x77;
        assert_true(vcpu_load(&b->v, &view, &e) < 0);
        assert_int_equal(b->v.rip, 0x77);
    }
    ser_buf_fini(&again);
    ser_buf_fini(&buf);
    free(a);
    free(b);
}

/* One impossible value each. */
static void load_refuses(void **state)
{
    (void)state;
    for (u32 k = 0; k < 12; k++) {
        struct flat *a = flat_long(0), *b = flat_create();
        struct ser_buf buf;
        struct err e;
        switch (k) {
        case 0: a->v.cr0 &= ~CR0_PE; break;
        case 1: a->v.cr4 |= BIT(50); break;
        case 2: a->v.efer &= ~EFER_LMA; break;
        case 3: a->v.cr3 = 1ull << 52; break;
        case 4: a->v.rip = 1ull << 47; break;
        case 5: a->v.lstar = 1ull << 63; break;
        case 6: a->v.cpl = 4; break;
        case 7: a->v.rflags |= RFLAGS_VM; break;
        case 8: a->v.fx.mxcsr = 0x10000; break;
        case 9: a->v.run_state = 9; break;
        case 10: a->v.xcr0 = 0; break;
        case 11: a->v.dr7 = 1ull << 32; break;
        }
        ser_buf_init(&buf);
        assert_int_equal(vcpu_save(&a->v, &buf, &e), 0);
        struct ser_view view = {.data = buf.data, .bytes = buf.bytes};
        assert_int_equal(vcpu_load(&b->v, &view, &e), E_FORMAT);
        assert_int_equal(b->v.cr0, CR0_ET | CR0_CD | CR0_NW);
        ser_buf_fini(&buf);
        free(a);
        free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cr0_rules),     cmocka_unit_test(cr3_cr4_rules),
        cmocka_unit_test(moves),         cmocka_unit_test(status_word),
        cmocka_unit_test(tables),        cmocka_unit_test(syscall_round_trip),
        cmocka_unit_test(bases),         cmocka_unit_test(sysenter_round_trip),
        cmocka_unit_test(invalidations), cmocka_unit_test(reset_state),
        cmocka_unit_test(save_and_load), cmocka_unit_test(load_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The KVM adapter against this host's KVM; skipped with the reason where there is none. Guests are
 * real-mode code of a few bytes, which every KVM executes. */
#include "engine/kvm/kvm.h"

#include <stdio.h>
#include <unistd.h>

#include "cpu/tsc.h"
#include "engine/common/rig_test.h"
#include "engine/kvm/kvm_internal.h"

static const struct engine *const engines[] = {&engine_kvm};
enum { CODE = 0x1000, HANDLER = 0x2000, VECTOR = 0x20, NMI_HANDLER = 0x2100 };

/* @text at CODE, IRET at both handlers after storing a mark. */
static struct rig *make(const char *text, u32 bytes)
{
    static const char handler[] = "\x2e\xc6\x06\x00\x60\x01\xcf"; /* movb $1, %cs:0x6000; iret */
    static const char nmi[] = "\x2e\xfe\x06\x01\x60\xcf";         /* incb %cs:0x6001; iret     */
    const u32 vector = HANDLER, nmi_vector = NMI_HANDLER;
    struct rig *r = rig_create(engines, 1);
    rig_put(r, CODE, text, bytes);
    rig_put(r, HANDLER, handler, sizeof handler - 1);
    rig_put(r, NMI_HANDLER, nmi, sizeof nmi - 1);
    rig_put(r, VECTOR * 4, &vector, 4);
    rig_put(r, EXC_NMI * 4, &nmi_vector, 4);
    rig_real_mode(r, CODE);
    rig_engine(r, &engine_kvm);
    return r;
}
#define MAKE(text) make(text, sizeof(text) - 1)

static u8 peek(struct rig *r, gpa_t gpa)
{
    u8 byte = 0xEE;
    (void)!mem_read(&r->mem, gpa, &byte, 1);
    return byte;
}

static void raise_line(struct rig *r)
{
    r->vector = VECTOR;
    atomic_store(&r->v->intr_line, true);
    vcpu_attention(r->v, ATT_KICK);
    engine_kvm.kick(r->v);
}

/* ---- state ----------------------------------------------------------------------------------- */

/* A processor in 64-bit user mode, every field different. */
static void scramble(struct vcpu *v, u64 xcr0)
{
    for (u32 i = 0; i < GPRS; i++) v->gpr[i] = 0x0123456789ABCDEF * (i + 3);
    v->rip = 0x1234567;
    v->rflags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_CF | RFLAGS_DF;
    v->cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_NE | CR0_WP;
    v->cr2 = 0x7777, v->cr3 = 0x5000;
    v->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_PGE;
    v->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
    v->seg[CS] = (struct seg){.limit = ~0u, .sel = 0x33, .attr = 0xA0FB};
    v->seg[SS] = (struct seg){.limit = ~0u, .sel = 0x2B, .attr = 0xC0F3};
    v->seg[FS].base = 0x7FFF00001000, v->seg[GS].base = 0x7FFF00002000;
    v->gdtr = (struct dtable){.base = 0xFFFF800000001000, .limit = 0x7F};
    v->idtr = (struct dtable){.base = 0xFFFF800000002000, .limit = 0xFFF};
    v->tr = (struct seg){.base = 0x9000, .limit = 0x67, .sel = 0x40, .attr = 0x8B};
    v->dr[0] = 0x1000, v->dr[3] = 0x4000, v->dr6 = DR6_FIXED | 1, v->dr7 = DR7_FIXED | 1;
    v->star = 0x23001000000000, v->lstar = 0xFFFFFFFF81000000, v->fmask = 0x47700;
    v->kernel_gs_base = 0xFFFF888000000000, v->sysenter_eip = 0x1122, v->pat = 0x0007010600070106;
    v->fx.fcw = 0x27F, v->fx.fsw = 0x3800, v->fx.ftw = 0x80, v->fx.mxcsr = 0x1FA0;
    memset(v->fx.st[0], 0x3C, 10);
    for (u32 i = 0; i < 32; i++) {
        for (u32 b = 0; b < 64; b++) {
            u64 need = i >= 16 ? BIT(7) : b >= 32 ? BIT(6) : b >= 16 ? BIT(2) : 0;
            v->vec[i][b] = (xcr0 & need) == need ? (u8)(i * 7 + b) : 0;
        }
    }
    for (u32 i = 0; i < 8; i++) v->k[i] = xcr0 & BIT(5) ? 0x1111 * (i + 1) : 0;
    v->cpl = 3, v->nmi_masked = true;
    vcpu_mode_changed(v);
}

#define SAME(field) assert_memory_equal(&v->field, &want->field, sizeof v->field)
static void test_state_round_trip(void **state)
{
    struct rig *r = MAKE("\xF4");
    struct vcpu *v = r->v;
    struct kvm_cpu *k = kvm_of(v);
    struct err e = {0};
    (void)state;
    scramble(v, k->vm->xcr0);
    struct vcpu *want = aligned_alloc(64, align_up(sizeof *want, 64));
    memcpy(want, v, sizeof *want);
    if (kvm_state_load(k, v, &e) < 0) fail_msg("%s", e.text);
    vcpu_reset(v, false);
    if (kvm_state_store(k, v, PART_ALL, &e) < 0) fail_msg("%s", e.text);
    SAME(gpr), SAME(rip), SAME(rflags), SAME(cr0), SAME(cr2), SAME(cr3), SAME(cr4), SAME(efer);
    SAME(dr), SAME(dr6), SAME(dr7), SAME(star), SAME(lstar), SAME(fmask), SAME(kernel_gs_base);
    SAME(sysenter_eip), SAME(pat), SAME(fx.fcw), SAME(fx.fsw), SAME(fx.ftw), SAME(fx.mxcsr);
    SAME(fx.st[0]), SAME(vec), SAME(k), SAME(cpl), SAME(mode), SAME(nmi_masked), SAME(xcr0);
    SAME(gdtr.base), SAME(gdtr.limit), SAME(idtr.base), SAME(idtr.limit);
    SAME(seg[CS].attr), SAME(seg[SS].attr), SAME(seg[FS].base), SAME(seg[GS].base), SAME(tr.base);
    SAME(tr.sel), SAME(tr.limit);
    assert_int_equal(k->unfinished.kind, EV_NONE);
    free(want);
    rig_destroy(r);
}

static void test_bad_state_is_a_failure(void **state)
{
    struct rig *r = MAKE("\xF4");
    (void)state;
    r->v->cr0 = CR0_PG | CR0_ET; /* paging without protection */
    assert_int_equal(engine_kvm.run(r->v, 0), RUN_FAILED);
    assert_non_null(strstr(engine_kvm.failure(r->v)->text, "KVM_SET_SREGS"));
    rig_destroy(r);
}

/* ---- instructions KVM cannot emulate --------------------------------------------------------- */

/* Software emulations of KVM lack most of these, hardware none. */
static void test_instructions_emulations_lack(void **state)
{
    /* fninit; fld1; fstp dword [6000h]; mov ax,0Fh; aaa; mov [6010h],ax; ... */
    struct rig *r = MAKE("\xDB\xE3\xD9\xE8\xD9\x1E\x00\x60\xB8\x0F\x00\x37\xA3\x10\x60\x66\x0F"
                         "\x6E\xC0\x66\x0F\x7E\xC3\xF4"); /* movd xmm0,eax; movd ebx,xmm0 */
    u32 one = 0;
    (void)state;
    r->v->cr4 |= CR4_OSFXSR;
    vcpu_mode_changed(r->v);
    assert_int_equal(rig_run(r, 0), RUN_HALTED);
    (void)!mem_read(&r->mem, 0x6000, &one, sizeof one);
    assert_int_equal(one, 0x3F800000);
    assert_int_equal(r->v->gpr[RAX] & 0xFFFF, 0x105);
    assert_int_equal(peek(r, 0x6010), 5);
    assert_int_equal(r->v->gpr[RBX] & 0xFFFF, 0x105);
    assert_int_equal(r->v->fx.fcw, 0x37F);
    rig_destroy(r);
}

/* The way a failed emulation takes, without needing one. */
static enum kvm_next failed_emulation(struct rig *r, u32 why)
{
    struct kvm_cpu *k = kvm_of(r->v);
    if (kvm_state_load(k, r->v, &k->why) < 0) fail_msg("%s", k->why.text);
    k->run->kvm_valid_regs = 0; /* nothing ran that could have shared them */
    kvm_state_ran(k);
    k->run->exit_reason = KVM_EXIT_INTERNAL_ERROR;
    k->run->internal.suberror = why;
    return kvm_exit_handle(k, r->v);
}

static void test_step(void **state)
{
    struct rig *r = MAKE("\xDB\xE3\xCD\x20\xF4"); /* fninit; int 20h; hlt */
    struct kvm_cpu *k = kvm_of(r->v);
    (void)state;
    assert_int_equal(failed_emulation(r, KVM_INTERNAL_ERROR_EMULATION), KVM_NEXT_RUN);
    assert_int_equal(r->v->stats.kvm_steps, 1);
    assert_int_equal(k->copy.held, 0);
    assert_int_equal(kvm_state_store(k, r->v, PART_ALL, &k->why), 0);
    assert_int_equal(r->v->rip, CODE + 2);
    assert_int_equal(r->v->fx.fcw, 0x37F); /* 40h before */
    assert_int_equal(failed_emulation(r, KVM_INTERNAL_ERROR_EMULATION), KVM_NEXT_RUN);
    assert_int_equal(kvm_state_store(k, r->v, PART_ALL, &k->why), 0);
    assert_int_equal(r->v->rip, HANDLER);
    assert_int_equal(rig_run(r, 0), RUN_HALTED);
    assert_int_equal(r->v->rip, CODE + 5);
    r->v->rip = CODE + 4;
    assert_int_equal(failed_emulation(r, KVM_INTERNAL_ERROR_EMULATION), KVM_NEXT_HALT);
    rig_destroy(r);
}

static void test_other_internal_errors_are_failures(void **state)
{
    struct rig *r = MAKE("\xF4");
    struct kvm_cpu *k = kvm_of(r->v);
    (void)state;
    assert_int_equal(failed_emulation(r, KVM_INTERNAL_ERROR_DELIVERY_EV), KVM_NEXT_FAIL);
    assert_int_equal(kvm_state_store(k, r->v, PART_ALL, &k->why), 0);
    kvm_fail_describe(k, r->v);
    assert_non_null(strstr(k->why.text, "cannot deliver an event"));
    assert_non_null(strstr(k->why.text, "CS:RIP 0:1000, bytes f4"));
    assert_int_equal(failed_emulation(r, 1000), KVM_NEXT_FAIL);
    assert_non_null(strstr(k->why.text, "internal error"));
    rig_destroy(r);
}

/* ---- CPUID ----------------------------------------------------------------------------------- */

static void test_cpuid(void **state)
{
    struct rig *r = MAKE("\xF4");
    const struct kvm_cpuids *host = kvm_of(r->v)->vm->supported;
    struct kvm_cpuids *c = calloc(1, sizeof *c);
    (void)state;
    kvm_cpuid_build(r->v, host, c);
    assert_in_range(c->nent, 10, KVM_CPUIDS_MAX - 1);
    u32 seen = 0;
    for (u32 i = 0; i < c->nent; i++) {
        const struct kvm_cpuid_entry2 *row = &c->row[i];
        u32 model[CPUID_REGS];
        cpu_cpuid(r->v, row->function, row->index, model);
        if (row->function != 1 && row->function != 7) continue;
        if (row->function == 1) {
            assert_true(row->edx >> 9 & 1);   /* local APIC: ours     */
            assert_false(row->ecx >> 27 & 1); /* OSXSAVE: KVM's       */
            assert_int_equal(row->ecx & ~model[2], 0);
            seen++;
        }
        for (u32 h = 0; h < host->nent; h++) { /* the model was fitted: nothing to cut */
            if (host->row[h].function != 7 || row->function != 7) continue;
            if (host->row[h].index == row->index) assert_int_equal(row->ebx & ~host->row[h].ebx, 0);
        }
    }
    assert_int_equal(seen, 1);
    free(c);
    rig_destroy(r);
}

static void test_named_models_keep_promises(void **state)
{
    static const u32 none[CPUID_REGS];
    struct cpu_model m;
    struct cpu_model_cfg cfg = {.vcpus = 1, .tsc_khz = 2000000};
    struct err e = {0};
    (void)state;
    assert_int_equal(cpu_model_init(&m, "x86-64-v1", &cfg, &e), 0);
    assert_int_equal(cpu_model_mask(&m, 1, 0, none, &e), E_UNSUPPORTED);
    assert_int_equal(cpu_model_init(&m, "max", &cfg, &e), 0);
    assert_int_equal(cpu_model_mask(&m, 1, 0, none, &e), 0);
    assert_false(cpu_model_has(&m, FEAT_SSE));
    assert_int_equal(m.xcr0, XCR0_X87);
}

/* ---- memory and I/O -------------------------------------------------------------------------- */

static void test_memory(void **state)
{
    /* mov byte [6000h],5; mov byte [7000h],6; hlt */
    struct rig *r = MAKE("\xC6\x06\x00\x60\x05\xC6\x06\x00\x70\x06\xF4");
    struct kvm_vm *vm = kvm_of(r->v)->vm;
    struct err e;
    (void)state;
    assert_int_equal(kvm_vm_map(vm, &e), 0);
    assert_int_equal(kvm_dirty_log(vm, true, &e), 0);
    assert_int_equal(kvm_dirty_take(vm, &e), 0);
    assert_int_equal(rig_run(r, 0), RUN_HALTED);
    assert_int_equal(peek(r, 0x6000), 5);
    assert_int_equal(peek(r, 0x7000), 6);
    assert_int_equal(kvm_dirty_take(vm, &e), 2);
    assert_int_equal(kvm_dirty_take(vm, &e), 0);
    assert_int_equal(kvm_dirty_log(vm, false, &e), 0);
    rig_destroy(r);
}

/* A page written at a place that is gone when the log is read. */
static void test_dirty_log_of_what_moved(void **state)
{
    /* mov byte [7010h],6; hlt with DS = FFFFh: 107000h, which masked A20 makes 7000h */
    struct rig *r = MAKE("\xC6\x06\x10\x70\x06\xF4");
    struct kvm_vm *vm = kvm_of(r->v)->vm;
    struct err e;
    (void)state;
    r->v->seg[DS].sel = 0xFFFF;
    r->v->seg[DS].base = 0xFFFF0;
    r->mem.a20_clear = MIB(1);
    assert_int_equal(kvm_vm_map(vm, &e), 0);
    assert_int_equal(kvm_dirty_log(vm, true, &e), 0);
    assert_int_equal(kvm_dirty_take(vm, &e), 0);
    assert_int_equal(rig_run(r, 0), RUN_HALTED);
    assert_int_equal(peek(r, 0x7000), 6);
    r->mem.a20_clear = 0;
    assert_int_equal(kvm_vm_map(vm, &e), 0);
    assert_int_equal(kvm_dirty_take(vm, &e), 1);
    assert_int_equal(kvm_dirty_take(vm, &e), 0);
    rig_destroy(r);
}

static void test_rom_and_mmio(void **state)
{
    /* mov byte [si],5; mov al,[si]; mov ah,[di]; mov [di],ax; hlt - SI in ROM, DI in nothing */
    struct rig *r = MAKE("\xC6\x04\x05\x8A\x04\x26\x8A\x25\x26\x89\x05\xF4");
    static const u8 rom = 0x77;
    (void)state;
    rig_put(r, RIG_ROM, &rom, 1);
    r->v->seg[DS].base = RIG_ROM;
    r->v->seg[ES].base = RIG_MMIO;
    r->v->gpr[RSI] = 0, r->v->gpr[RDI] = 0x10;
    assert_int_equal(rig_run(r, 0), RUN_HALTED);
    assert_int_equal(peek(r, RIG_ROM), 0x77);
    assert_int_equal(r->v->gpr[RAX] & 0xFFFF, 0x0077); /* AH: the number of earlier events, 0 */
    assert_int_equal(r->ios, 2);
    assert_int_equal(r->io[0].at, RIG_MMIO + 0x10);
    assert_true(r->io[1].write);
    assert_int_equal(r->io[1].bytes, 2);
    assert_int_equal(r->io[1].val, 0x0077);
    rig_destroy(r);
}

static void test_string_io(void **state)
{
    /* mov dx,1F0h; mov cx,300; cld; mov di,6000h; rep insw; mov si,6000h; mov cx,4; rep outsb; hlt
     */
    struct rig *r = MAKE("\xBA\xF0\x01\xB9\x2C\x01\xFC\xBF\x00\x60\xF3\x6D\xBE\x00\x60\xB9\x04\x00"
                         "\xF3\x6E\xF4");
    (void)state;
    assert_int_equal(rig_run(r, 0), RUN_HALTED);
    assert_int_equal(r->ios, 304);
    for (u32 i = 0; i < 300; i++) assert_int_equal(peek(r, 0x6000 + i * 2), i & 0xFF);
    assert_int_equal(r->v->gpr[RDI] & 0xFFFF, 0x6000 + 600);
    rig_destroy(r);
}

/* Elements are counted in r->ios, calls in r->acks. */
static void in_string(void *ctx, struct vcpu *v, const struct port_string *s)
{
    struct rig *r = ctx;
    (void)v;
    assert_int_equal(s->port, 0x1F0);
    assert_int_equal(s->bytes, 2);
    for (u32 i = 0; i < s->count; i++, r->ios++) memcpy(s->buf + i * 2, &(u16){(u16)r->ios}, 2);
    r->acks++;
}

static void test_string_io_in_bulk(void **state)
{
    /* mov dx,1F0h; mov cx,300; cld; mov di,6000h; rep insw; hlt */
    struct rig *r = MAKE("\xBA\xF0\x01\xB9\x2C\x01\xFC\xBF\x00\x60\xF3\x6D\xF4");
    (void)state;
    r->env.port_in_string = in_string;
    assert_int_equal(rig_run(r, 0), RUN_HALTED);
    assert_int_equal(r->v->gpr[RDI] & 0xFFFF, 0x6000 + 600);
    for (u32 i = 0; i < 300; i++) {
        assert_int_equal(peek(r, 0x6000 + i * 2), i & 0xFF);
        assert_int_equal(peek(r, 0x6001 + i * 2), i >> 8);
    }
    assert_true(r->acks < 300); /* single elements may come at the ends of pages only */
    rig_destroy(r);
}

/* ---- interrupts ------------------------------------------------------------------------------ */

static void test_interrupt_window(void **state)
{
    /* cli; nop; sti; nop; nop; hlt - the request is there before the first instruction */
    struct rig *r = MAKE("\xFA\x90\xFB\x90\x90\xF4");
    (void)state;
    raise_line(r);
    assert_int_equal(rig_run(r, 0), RUN_HALTED);
    assert_int_equal(r->acks, 1);
    assert_int_equal(peek(r, 0x6000), 1);
    assert_int_equal(r->v->rip, CODE + 6);
    rig_destroy(r);
}

static void test_halt_and_wake(void **state)
{
    struct rig *r = MAKE("\xFB\xF4\x90\xFA\xF4"); /* sti; hlt; nop; cli; hlt */
    (void)state;
    assert_int_equal(rig_run(r, 0), RUN_HALTED);
    assert_int_equal(r->v->rip, CODE + 2);
    assert_int_equal(rig_run(r, 0), RUN_HALTED); /* nothing there: stays */
    assert_int_equal(r->v->rip, CODE + 2);
    raise_line(r);
    assert_int_equal(rig_run(r, 0), RUN_HALTED);
    assert_int_equal(peek(r, 0x6000), 1);
    assert_int_equal(r->v->rip, CODE + 5);
    raise_line(r); /* IF is clear */
    assert_int_equal(rig_run(r, 0), RUN_HALTED);
    assert_int_equal(r->acks, 1);
    rig_destroy(r);
}

static void test_nmi(void **state)
{
    struct rig *r = MAKE("\xFA\x90\x90\xF4"); /* cli; nop; nop; hlt */
    (void)state;
    atomic_store(&r->v->posted, POST_NMI);
    assert_int_equal(rig_run(r, 0), RUN_HALTED);
    assert_int_equal(peek(r, 0x6001), 1);
    assert_false(r->v->nmi_masked);
    rig_destroy(r);
}

static void test_masked_nmi_is_kept(void **state)
{
    struct rig *r = MAKE("\xFA\x90\x90\xF4");
    (void)state;
    r->v->nmi_masked = true;
    atomic_store(&r->v->posted, POST_NMI);
    assert_int_equal(rig_run(r, 0), RUN_HALTED);
    assert_int_equal(peek(r, 0x6001), 0);
    assert_true(r->v->nmi_masked);
    assert_true(atomic_load(&r->v->posted) & POST_NMI);
    rig_destroy(r);
}

/* ---- kicks and ends -------------------------------------------------------------------------- */

static void *stop_thread(void *arg)
{
    struct rig *r = arg;
    vcpu_attention(r->v, ATT_STOP);
    engine_kvm.kick(r->v);
    return NULL;
}

/* Each kick comes at another moment of entering the guest; a lost one would hang here. */
static void test_no_kick_is_lost(void **state)
{
    struct rig *r = MAKE("\xFF\x06\x00\x60\xEB\xFA"); /* 1: inc word [6000h]; jmp 1b */
    (void)state;
    for (u32 i = 0; i < 300; i++) {
        pthread_t t;
        assert_int_equal(pthread_create(&t, NULL, stop_thread, r), 0);
        assert_int_equal(rig_run(r, 0), RUN_KICKED);
        pthread_join(t, NULL);
        atomic_fetch_and(&r->v->attention, ~(u32)ATT_STOP);
    }
    rig_destroy(r);
}

static void test_stop_is_seen_before_entry(void **state)
{
    struct rig *r = MAKE("\xEB\xFE");
    (void)state;
    vcpu_attention(r->v, ATT_STOP);
    assert_int_equal(rig_run(r, 0), RUN_KICKED);
    assert_int_equal(r->v->rip, CODE);
    rig_destroy(r);
}

static void test_budget(void **state)
{
    struct rig *r = MAKE("\x40\x40\x40\x40\xEB\xFA"); /* 1: inc ax (four times); jmp 1b */
    (void)state;
    assert_int_equal(rig_run(r, 7), RUN_BUDGET);
    assert_int_equal(r->v->stats.insns, 7);
    assert_int_equal(r->v->gpr[RAX] & 0xFFFF, 6);
    assert_int_equal(r->v->rflags & RFLAGS_TF, 0);
    rig_destroy(r);
}

static void test_triple_fault(void **state)
{
    struct rig *r = MAKE("\x0F\x0B"); /* ud2 in 32-bit code, and no IDT to find a handler in */
    (void)state;
    for (u32 i = 0; i < SEGS; i++)
        r->v->seg[i] = (struct seg){.limit = ~0u, .sel = 16, .attr = i == CS ? 0xC09B : 0xC093};
    r->v->seg[CS].sel = 8;
    r->v->cr0 |= CR0_PE;
    r->v->idtr.limit = 0;
    vcpu_mode_changed(r->v);
    assert_int_equal(rig_run(r, 0), RUN_SHUTDOWN);
    assert_int_equal(r->v->run_state, VCPU_SHUTDOWN);
    rig_destroy(r);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void test_tsc_follows_the_clock(void **state)
{
    struct rig *r = MAKE("\x0F\x31\xF4\x0F\x31\xF4"); /* rdtsc; hlt; rdtsc; hlt */
    u64 last = 0;
    (void)state;
    for (u32 i = 0; i < 2; i++) {
        u64 before = tsc_now(r->v);
        r->v->run_state = VCPU_RUNNING;
        assert_int_equal(rig_run(r, 0), RUN_HALTED);
        u64 got = r->v->gpr[RDX] << 32 | (u32)r->v->gpr[RAX];
        if (kvm_of(r->v)->vm->tsc_fixed) before = got - r->v->tsc_khz; /* offset adopted */
        assert_true((s64)(got + r->v->tsc_khz - before) >= 0); /* a millisecond of tolerance */
        assert_true((s64)(tsc_now(r->v) + r->v->tsc_khz - got) >= 0);
        assert_true(got > last);
        last = got;
        clk_stop(&r->clk); /* time stands still, then goes on: the guest sees no gap */
        clk_start(&r->clk);
    }
    rig_destroy(r);
}

static void test_probe_reasons(void **state)
{
    struct err e = {0};
    int rc = kvm_prefer(&e);
    (void)state;
    assert_true(rc == 0 || (rc < 0 && strstr(e.text, "slow")));
}

int main(void)
{
    struct err e;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_state_round_trip),
                                       cmocka_unit_test(test_bad_state_is_a_failure),
                                       cmocka_unit_test(test_instructions_emulations_lack),
                                       cmocka_unit_test(test_step),
                                       cmocka_unit_test(test_other_internal_errors_are_failures),
                                       cmocka_unit_test(test_cpuid),
                                       cmocka_unit_test(test_named_models_keep_promises),
                                       cmocka_unit_test(test_memory),
                                       cmocka_unit_test(test_dirty_log_of_what_moved),
                                       cmocka_unit_test(test_rom_and_mmio),
                                       cmocka_unit_test(test_string_io),
                                       cmocka_unit_test(test_string_io_in_bulk),
                                       cmocka_unit_test(test_interrupt_window),
                                       cmocka_unit_test(test_halt_and_wake),
                                       cmocka_unit_test(test_nmi),
                                       cmocka_unit_test(test_masked_nmi_is_kept),
                                       cmocka_unit_test(test_no_kick_is_lost),
                                       cmocka_unit_test(test_stop_is_seen_before_entry),
                                       cmocka_unit_test(test_budget),
                                       cmocka_unit_test(test_triple_fault),
                                       cmocka_unit_test(test_tsc_follows_the_clock),
                                       cmocka_unit_test(test_probe_reasons)};
    if (kvm_probe(&e) == 0) return cmocka_run_group_tests(tests, NULL, NULL);
    printf("ok - engine kvm # SKIP %s\n", e.text);
    return 0;
}

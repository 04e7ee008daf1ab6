/* exit - what the guest stopped for: I/O, registers of ours, and the ends of its life. */
#include <string.h>

#include "cpu/env.h"
#include "cpu/msr.h"
#include "engine/kvm/kvm_internal.h"
#include "mmu/mmu.h"

/* ---- I/O ------------------------------------------------------------------------------------- */

/* One element; its bytes at @at. */
static void port_element(const struct kvm_run *run, struct vcpu *v, u8 *at)
{
    u32 val = 0;
    if (run->io.direction == KVM_EXIT_IO_OUT) {
        memcpy(&val, at, run->io.size);
        v->env->port_out(v->env->ctx, v, run->io.port, val, run->io.size);
    } else {
        val = v->env->port_in(v->env->ctx, v, run->io.port, run->io.size);
        memcpy(at, &val, run->io.size);
    }
}

/* Several elements of a string instruction come in one exit, inside KVM's page. False: nobody takes
 * them at once. */
static bool port_string(const struct kvm_run *run, struct vcpu *v, u8 *at)
{
    const struct cpu_env *env = v->env;
    const struct port_string s = {
        .port = run->io.port, .bytes = run->io.size, .count = run->io.count, .buf = at};
    bool out = run->io.direction == KVM_EXIT_IO_OUT;
    if (s.count < 2 || !(out ? env->port_out_string : env->port_in_string)) return false;
    if (out) env->port_out_string(env->ctx, v, &s);
    else env->port_in_string(env->ctx, v, &s);
    return true;
}

static void port_io(const struct kvm_run *run, struct vcpu *v)
{
    u8 *at = (u8 *)(uintptr_t)run + run->io.data_offset;
    if (port_string(run, v, at)) return;
    for (u32 i = 0; i < run->io.count; i++) port_element(run, v, at + i * run->io.size);
}

/* Largest naturally aligned power of two at @gpa within @bytes, at most 8. */
static u32 mmio_unit(gpa_t gpa, u32 bytes)
{
    u32 n = 8;
    while (n > bytes || gpa & (n - 1)) n >>= 1;
    return n;
}

static void mmio(struct kvm_run *run, struct vcpu *v)
{
    const gpa_t gpa = run->mmio.phys_addr & ~v->mem->a20_clear;
    const u32 bytes = run->mmio.len <= sizeof run->mmio.data ? run->mmio.len : 0;
    if (run->mmio.is_write && mem_slot_find(v->mem, gpa)) {
        mem_write(v->mem, gpa, run->mmio.data, bytes); /* ROM: dropped, or for shadow RAM */
        return;
    }
    for (u32 done = 0, n; done < bytes; done += n) {
        u64 val = 0;
        n = mmio_unit(gpa + done, bytes - done);
        if (run->mmio.is_write) {
            memcpy(&val, run->mmio.data + done, n);
            v->env->mmio_write(v->env->ctx, v, gpa + done, val, n);
            v->stats.mmio_write++;
        } else {
            val = v->env->mmio_read(v->env->ctx, v, gpa + done, n);
            memcpy(run->mmio.data + done, &val, n);
            v->stats.mmio_read++;
        }
        TRACE(&v->trace, MMIO, gpa + done, n + (run->mmio.is_write ? 256 : 0), val);
    }
}

/* A register KVM keeps came here because KVM refuses the access: so do we. */
static void rdmsr(struct kvm_cpu *k, struct vcpu *v)
{
    u64 val = 0;
    u32 addr = k->run->msr.index;
    k->run->msr.error = kvm_msr_owned(k->vm, addr) || msr_read(v, addr, &val);
    k->run->msr.data = val;
    v->exc.kind = EV_NONE; /* KVM raises the #GP */
}

static void wrmsr(struct kvm_cpu *k, struct vcpu *v)
{
    u32 addr = k->run->msr.index;
    k->run->msr.error = kvm_msr_owned(k->vm, addr) || msr_write(v, addr, k->run->msr.data);
    v->exc.kind = EV_NONE;
    k->cr8_stale = true;
}

/* ---- failures -------------------------------------------------------------------------------- */

static enum kvm_next fail(struct kvm_cpu *k, const char *what, u64 detail)
{
    (void)err_set(&k->why, E_UNSUPPORTED, "KVM: %s (%#llx)", what, (unsigned long long)detail);
    return KVM_NEXT_FAIL;
}

static enum kvm_next internal_error(struct kvm_cpu *k, struct vcpu *v)
{
    static const char *const text[] = {
        [KVM_INTERNAL_ERROR_SIMUL_EX] = "exceptions met that it cannot merge",
        [KVM_INTERNAL_ERROR_DELIVERY_EV] = "it cannot deliver an event",
        [KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] = "the processor gave an unknown exit reason"};
    u32 sub = k->run->internal.suberror;
    if (sub == KVM_INTERNAL_ERROR_EMULATION) return kvm_step(k, v);
    const char *known = sub < ARRAY_LEN(text) ? text[sub] : NULL;
    return fail(k, known ? known : "internal error", sub);
}

/* The guest's next instruction bytes, read without any side effect; returns how many. */
static u32 peek_code(struct vcpu *v, u8 *buf, u32 bytes)
{
    gva_t lin = vcpu_linear_rip(v);
    struct walk w;
    for (u32 i = 0; i < bytes; i++) {
        if (mmu_walk(v, lin + i, ACC_READ, WALK_SYS | WALK_PEEK, &w)) return i;
        if (!mem_page_ptr(v->mem, w.gpa) || mem_read(v->mem, w.gpa, buf + i, 1)) return i;
    }
    return bytes;
}

void kvm_fail_describe(struct kvm_cpu *k, struct vcpu *v)
{
    enum { CHARS_EACH = 3 };
    u8 code[INSN_BYTES_MAX];
    char text[INSN_BYTES_MAX * CHARS_EACH + 1] = "";
    u32 n = peek_code(v, code, sizeof code);
    static const char digit[] = "0123456789abcdef";
    for (u32 i = 0; i < n; i++) {
        text[i * CHARS_EACH] = ' ';
        text[i * CHARS_EACH + 1] = digit[code[i] >> 4];
        text[i * CHARS_EACH + 2] = digit[code[i] & 15];
    }
    text[n * CHARS_EACH] = '\0';
    struct err was = k->why;
    (void)err_set(&k->why, was.code, "%.120s; CS:RIP %x:%llx, bytes%s", was.text, v->seg[CS].sel,
                  (unsigned long long)v->rip, n ? text : " unreadable");
}

/* ---- dispatch -------------------------------------------------------------------------------- */

enum kvm_next kvm_exit_handle(struct kvm_cpu *k, struct vcpu *v)
{
    struct kvm_run *run = k->run;
    switch (run->exit_reason) {
    case KVM_EXIT_IO: port_io(run, v); break;
    case KVM_EXIT_MMIO:
        mmio(run, v);
        k->cr8_stale |= run->mmio.is_write; /* it may have been the local APIC's TPR */
        break;
    case KVM_EXIT_X86_RDMSR: rdmsr(k, v); break;
    case KVM_EXIT_X86_WRMSR: wrmsr(k, v); break;
    case KVM_EXIT_DEBUG: return kvm_debug_exit(k, v);
    case KVM_EXIT_INTR:
    case KVM_EXIT_SET_TPR:
    case KVM_EXIT_IRQ_WINDOW_OPEN: return KVM_NEXT_RUN;
    case KVM_EXIT_HLT: v->stats.insns++; return KVM_NEXT_HALT;
    case KVM_EXIT_SHUTDOWN: return KVM_NEXT_SHUTDOWN;
    case KVM_EXIT_INTERNAL_ERROR: return internal_error(k, v);
    case KVM_EXIT_FAIL_ENTRY:
        return fail(k, "the processor refuses to enter the guest",
                    run->fail_entry.hardware_entry_failure_reason);
    case KVM_EXIT_UNKNOWN: return fail(k, "unknown exit", run->hw.hardware_exit_reason);
    default: return fail(k, "an exit nobody asked for", run->exit_reason);
    }
    k->io_open = true;
    return KVM_NEXT_RUN;
}

/* step.c - see step.h. One instruction, precisely; clarity first. Spec: SDM vol. 3A
 * sections 6.8-6.9, vol. 3B chapter 18. */
#include "engine/common/step.h"

#include <Zydis/Zydis.h>

#include "cpu/exc.h"
#include "cpu/insn_exec.h"
#include "cpu/seg.h"
#include "cpu/vcpu_mode.h"
#include "engine/common/native.h"
#include "mmu/mmu.h"

/* Bytes of code at linear @gva, at most 15, up to the first page that cannot be fetched. Returns
 * how many; 0 with the fault raised when not even the first byte is there; *second_fault tells that
 * the fault is recorded for the second page. */
static u32 fetch_bytes(struct vcpu *v, gva_t gva, u8 *buf, bool *second_fault)
{
    u32 have = 0;
    *second_fault = false;
    while (have < INSN_BYTES_MAX) {
        hva_t page;
        gpa_t page_gpa;
        gva_t at = vcpu_is_long(v) ? gva + have : (u32)(gva + have);
        if (mmu_fetch_page(v, at, &page, &page_gpa)) {
            *second_fault = have > 0;
            break;
        }
        u32 off = (u32)(at & ~PAGE_MASK);
        u32 n = (u32)min_u64(INSN_BYTES_MAX - have, PAGE_BYTES - off);
        mem_read(v->mem, page_gpa + off, buf + have, n);
        have += n;
    }
    return have;
}

/* Bytes left before the code segment's limit; 64-bit code has none, but must be canonical. */
static u64 bytes_to_limit(const struct vcpu *v)
{
    if (v->mode == ISA_64) return is_canonical(v, v->rip) ? INSN_BYTES_MAX : 0;
    u32 limit = v->seg[CS].limit;
    return v->rip > limit ? 0 : min_u64((u64)limit - v->rip + 1, INSN_BYTES_MAX);
}

int step_fetch(struct vcpu *v, struct insn *out)
{
    u8 code[INSN_BYTES_MAX];
    bool second_fault;
    u64 limit = bytes_to_limit(v);
    if (!limit) return vcpu_raise_err(v, EXC_GP, 0);
    gva_t lin = vcpu_linear_rip(v);
    u32 have = fetch_bytes(v, lin, code, &second_fault);
    if (!have) return X_FAULT;
    struct event page_fault = v->exc;
    int len = isa_decode(out, code, (u32)min_u64(have, limit), v->mode);
    v->stats.decodes++;
    if (len == 0 && have < limit && second_fault) {
        v->exc = page_fault;
        return X_FAULT;
    }
    if (len == 0 || len == -2) return vcpu_raise_err(v, EXC_GP, 0);
    if (len < 0) return vcpu_raise(v, EXC_UD);
    insn_bind(v, out, native_exec);
    return 0;
}

enum x_result step_finish(struct vcpu *v, const struct insn *i, enum x_result r)
{
    switch (r) {
    case X_NEXT: v->rip = vcpu_next_rip(v, i); return X_JUMP;
    case X_FAULT: return exc_deliver(v, &v->exc);
    default: return r;
    }
}

/* DR6 bits of execution breakpoints at the current instruction. */
static u64 code_breakpoints(const struct vcpu *v)
{
    u64 hit = 0;
    if (likely(!(v->dr7 & 0xFF)) || v->rflags & RFLAGS_RF) return 0;
    gva_t lin = vcpu_linear_rip(v);
    for (u32 i = 0; i < 4; i++) {
        bool enabled = v->dr7 >> (i * 2) & 3, on_exec = !(v->dr7 >> (16 + i * 4) & 3);
        if (enabled && on_exec && v->dr[i] == lin) hit |= BIT(i);
    }
    return hit;
}

/* TF as the trap after @i sees it: its value before the instruction, except that SYSCALL and SYSRET
 * use the new one and INT clears it. */
static bool single_step_due(const struct vcpu *v, const struct insn *i, bool tf_before)
{
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_SYSCALL:
    case ZYDIS_MNEMONIC_SYSRET: return v->rflags & RFLAGS_TF;
    case ZYDIS_MNEMONIC_INT:
    case ZYDIS_MNEMONIC_INT1:
    case ZYDIS_MNEMONIC_INT3:
    case ZYDIS_MNEMONIC_INTO: return tf_before && v->rflags & RFLAGS_TF;
    default: return tf_before;
    }
}

/* After an instruction completed: RF and the old shadow end, traps become due. */
static void retire(struct vcpu *v, const struct insn *i, u64 flags_before, u8 shadow_before)
{
    bool iret = i->mnemonic == ZYDIS_MNEMONIC_IRET || i->mnemonic == ZYDIS_MNEMONIC_IRETD ||
                i->mnemonic == ZYDIS_MNEMONIC_IRETQ;
    if (flags_before & RFLAGS_RF && !iret) v->rflags &= ~(u64)RFLAGS_RF;
    v->shadow &= (u8)~shadow_before; /* a second STI or MOV SS in a row gives no second shadow */
    if (single_step_due(v, i, flags_before & RFLAGS_TF)) v->pending_dbg |= DR6_BS;
    vcpu_update_step(v);
}

enum x_result step_one(struct vcpu *v)
{
    struct insn i;
    u64 flags = v->rflags;
    u8 shadow = v->shadow;
    u64 hit = code_breakpoints(v);
    if (hit) {
        struct event db = {.kind = EV_FAULT, .vector = EXC_DB, .payload = hit};
        return exc_deliver(v, &db);
    }
    enum x_result r = step_fetch(v, &i) ? X_FAULT : i.exec(v, &i);
    bool done = r == X_NEXT || r == X_JUMP || r == X_HALT;
    if (r == X_NEXT || r == X_FAULT) {
        if (r == X_FAULT) v->pending_dbg = 0;
        r = step_finish(v, &i, r);
    }
    if (done) {
        v->stats.insns++;
        retire(v, &i, flags, shadow);
    } else if (r == X_AGAIN && flags & RFLAGS_TF) {
        v->pending_dbg |= DR6_BS; /* string instructions trap after every iteration */
        vcpu_update_step(v);
    }
    return r == X_AGAIN ? X_JUMP : r;
}

/* fault.c - host faults of translated code: where everything that is not plain RAM with the right
 * permission ends up.
 *
 * All faults are at an instruction boundary of the guest in effect: only T1 and T2 have changed. So
 * there are two answers: make the fast path right and run the guest instruction's code again from
 * its start, or leave translated code and have the interpreter execute the instruction. Runs on the
 * signal stack, synchronously: no C code of ours was interrupted. */
#define _GNU_SOURCE
#include <Zydis/Mnemonic.h>

#include "cpu/x86.h"
#include "engine/bt/bt_state.h"
#include "engine/bt/dump.h"
#include "engine/bt/enter.h"
#include "engine/bt/jump_cache.h"
#include "mem/mem.h"

/* Host register number (as encoded) to its place in gregs. */
static const u8 greg_of[GPRS] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                 REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                 REG_R12, REG_R13, REG_R14, REG_R15};

struct fault {
    struct bt_state *s;
    const struct bt_slot *slot;
    const struct bt_mark *mark; /* the guest instruction */
    ucontext_t *uc;
    u64 pc, trap, addr;
};

/* Leave through an exit routine of enter.S; T1 = @arg. */
static bool leave(struct fault *f, void (*exit)(void), u64 arg)
{
    f->uc->uc_mcontext.gregs[REG_R10] = (greg_t)arg;
    f->uc->uc_mcontext.gregs[REG_RIP] = (greg_t)(uintptr_t)exit;
    return true;
}
static u32 place_of(const struct fault *f) { return bt_place(f->slot->page, f->mark->guest_off); }
static bool leave_step(struct fault *f) { return leave(f, bt_exit_step, place_of(f)); }

/* Run the guest instruction's host code again from its start; the first one's is the near entry, as
 * the far entry needs T1. Behind a shared look-up that is its second form, which shares nothing:
 * entries may have changed. */
static bool again(struct fault *f)
{
    u64 start = (u64)(uintptr_t)code_far(&f->s->code, f->slot);
    start += max_u64(f->mark->again, f->slot->b.near_off);
    f->uc->uc_mcontext.gregs[REG_RIP] = (greg_t)start;
    f->uc->uc_mcontext.gregs[REG_R15] = (greg_t)f->s->v->eng.table; /* TB may have been borrowed */
    return true;
}

/* Is this the form of it that may use the look-up of another instruction? */
static bool is_grouped(const struct fault *f) { return f->mark->again != f->mark->host_off; }

/* The instruction at @off gets different code from now on. */
static void retranslate(struct bt_state *s, const struct bt_slot *slot, u16 off, u8 *hint_bits)
{
    const gpa_t gpa = slot->page_gpa + off;
    s->v->stats.bt_retranslations++;
    bt_hint_set(hint_bits, off);
    code_kill(&s->code, gpa, gpa + 1);
}

/* A site that faults again and again for reasons the tables cannot cure (MMIO, writes to traced
 * pages). */
void bt_slow_site(struct bt_state *s, const struct bt_slot *slot, u16 off, u64 pc)
{
    struct slow_site *site = &s->sites.slow[(pc ^ pc >> 8) % SLOW_SITES];
    if (site->pc != pc) *site = (struct slow_site){pc, 0};
    if (++site->count < SLOW_FAULTS_MAX) return;
    site->pc = 0;
    struct bt_page *p = code_page(&s->code, slot->page_gpa, slot->variant, false);
    if (p) retranslate(s, slot, off, code_hints_make(&s->code, p)->stepped);
}

/* An access that its code's form does not allow to be misaligned: the checked form, or, has it that
 * already, the interpreter. */
static bool misaligned(struct fault *f)
{
    struct bt_page *p = code_page(&f->s->code, f->slot->page_gpa, f->slot->variant, false);
    u16 off = f->mark->guest_off;
    if (!p) return leave_step(f);
    struct bt_hints *h = code_hints_make(&f->s->code, p);
    const bool checked = bt_hint(h->checked, off);
    retranslate(f->s, f->slot, off, checked ? h->stepped : h->checked);
    return leave_step(f);
}

/* What filling the table came to: AS_IT_WAS when the access faulted although its entry was right
 * (misaligned where it must not be, LDMXCSR of a reserved bit). */
enum filling { CHANGED, AS_IT_WAS, NOT_FILLED };
static enum filling fill(struct fault *f, gva_t gva, enum access kind)
{
    struct vcpu *v = f->s->v;
    if (bt_table_fill(f->s->tables, v, gva, kind) != FILL_DONE) return NOT_FILLED;
    return bt_table_entry(v, gva) == (u64)f->uc->uc_mcontext.gregs[REG_R11] ? AS_IT_WAS : CHANGED;
}

/* BT and its like add whole words to the address themselves. */
static u64 bit_string_offset(const struct fault *f, const struct insn *host)
{
    bool bt = host->mnemonic == ZYDIS_MNEMONIC_BT || host->mnemonic == ZYDIS_MNEMONIC_BTS ||
              host->mnemonic == ZYDIS_MNEMONIC_BTR || host->mnemonic == ZYDIS_MNEMONIC_BTC;
    if (!bt || host->op[1].kind != OPND_REG) return 0;
    s64 bit = f->uc->uc_mcontext.gregs[greg_of[host->op[1].reg & 15]];
    return host->opsize == 8 ? (u64)(bit >> 6) * 8 : (u64)(s64)((s32)bit >> 5) * 4;
}

/* The access of the host instruction at @pc: address in its base register, T2 the table's entry. */
static bool access_fault(struct fault *f)
{
    struct insn host;
    if (isa_decode(&host, (const u8 *)(uintptr_t)f->pc, INSN_BYTES_MAX, ISA_64) <= 0) return false;
    if (host.index != T2 || host.base >= GPRS) return is_grouped(f) ? again(f) : leave_step(f);
    gva_t gva = (u64)f->uc->uc_mcontext.gregs[greg_of[host.base]] + bit_string_offset(f, &host);
    gva += (u64)host.disp;
    /* #GP never means that writing is forbidden (the read-only view gives #PF): a read's entry
     * tells whether alignment is the reason, without setting D for a write that may never happen */
    const bool odd = f->trap == EXC_GP && host.mem_bytes >= 16 && gva & (host.mem_bytes - 1u);
    const enum access kind = host.mem_rw & OPND_W && !odd ? ACC_WRITE : ACC_READ;
    enum filling filled = fill(f, gva, kind);
    f->s->v->stats.bt_table_fills += filled == CHANGED;
    if (filled == AS_IT_WAS && odd) return misaligned(f);
    struct walk w; /* is it the guest's fault, or a page that will always be slow? */
    if (filled == CHANGED || mmu_walk(f->s->v, gva, kind, WALK_PEEK, &w)) {
        const bool renew = bt_miss(f->s, f->slot, f->mark->guest_off, f->pc);
        return filled == CHANGED && !renew ? again(f) : leave_step(f);
    }
    /* beside code: the page becomes data if that goes on (mmu/domain.c) */
    if (!(mem_page_trace(f->s->v->mem, w.gpa) & MEM_TRACE_CODE))
        bt_slow_site(f->s, f->slot, f->mark->guest_off, f->pc);
    return leave_step(f);
}

static bool memory_fault(struct fault *f)
{
    u64 poll = (u64)(uintptr_t)f->s->code.rx + BT_POLL_OFF;
    if (f->trap == EXC_PF && f->addr - poll < PAGE_BYTES)
        return leave(f, bt_exit_poll, place_of(f));
    if (f->trap == EXC_PF && bt_window_is_fault(f->s->tables, f->addr)) {
        const bool write = (u64)f->uc->uc_mcontext.gregs[REG_ERR] & PF_W;
        f->s->v->stats.bt_table_fills++;
        return bt_window_fault(f->s->tables, f->s->v, f->addr, write) ? again(f) : leave_step(f);
    }
    gva_t gva;
    if (f->trap == EXC_PF && bt_table_is_table_fault(f->s->tables, f->addr, &gva)) {
        f->s->v->stats.bt_table_pages++;
        return bt_table_populate(f->s->tables, gva) ? again(f) : leave_step(f);
    }
    return access_fault(f);
}

static bool serve_fault(struct fault *f)
{
    switch (f->trap) {
    case EXC_PF:
    case EXC_GP:
    case EXC_SS: return memory_fault(f);
    case EXC_AC: return misaligned(f);
    case EXC_DE:
    case EXC_UD:
    case EXC_MF:
    case EXC_XM: return leave_step(f); /* the interpreter raises it precisely */
    default: return false;
    }
}

bool bt_on_fault(struct fault_region *r, siginfo_t *info, ucontext_t *uc)
{
    struct bt_state *s = container_of(r, struct bt_state, region);
    const greg_t *g = uc->uc_mcontext.gregs;
    struct fault f = {.s = s, .uc = uc, .pc = (u64)g[REG_RIP], .trap = (u64)g[REG_TRAPNO]};
    f.addr = (u64)(uintptr_t)info->si_addr;
    f.slot = code_at(&s->code, f.pc);
    if (!f.slot) return false;
    f.mark = code_mark_of(&s->code, f.slot, f.pc);
    s->v->stats.bt_faults++;
    if (serve_fault(&f)) return true;
    bt_dump_bug(s, f.slot, f.pc, f.trap);
    return false;
}

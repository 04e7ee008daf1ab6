/* step - one instruction KVM gave up on, executed here instead (engine/common/step.h), after which
 * the guest goes on under KVM.
 *
 * Hardware needs this for instructions that touch devices and that KVM's own emulator lacks;
 * software emulations of KVM need it for everything their emulator lacks: vector instructions, BCD,
 * software interrupts outside real mode, CMPXCHG16B. Only the parts of the state the instruction
 * can reach move (state.h). Anything it raises is delivered here: KVM's guess of what went wrong
 * (a #UD it may have queued) is dropped. */
#include "engine/common/step.h"

#include "cpu/breakpoint.h"
#include "cpu/exc.h"
#include "engine/kvm/kvm_internal.h"
#include "mmu/mmu.h"

/* What else than PART_BASE @i can reach. Protection keys guard every access to memory. */
static u32 parts_of(const struct vcpu *v, const struct insn *i)
{
    static const u8 compute[FPU_CLASSES] = {[FPU_X87] = PART_XSTATE,
                                            [FPU_WAIT] = PART_XSTATE,
                                            [FPU_MMX] = PART_XSTATE,
                                            [FPU_SSE] = PART_XSTATE,
                                            [FPU_AVX] = PART_XSTATE | PART_XCR0,
                                            [FPU_AVX512] = PART_XSTATE | PART_XCR0};
    if (i->row == INSN_UD) return 0;
    const u8 class = insn_rows[i->row].class;
    if (class == C_SYSTEM || class == C_XSTATE || v->cr4 & CR4_PKE) return PART_ALL;
    return compute[i->fpu];
}

/* The instruction, and a trap that became due with it. */
static enum x_result step(struct vcpu *v)
{
    enum x_result r = step_one(v);
    if (r == X_JUMP && v->pending_dbg) exc_poll(v);
    return v->run_state == VCPU_SHUTDOWN ? X_SHUTDOWN : r;
}

/* A step the debugger, or a budget, asked for was made: what kvm_debug_exit() would say. */
static bool at_breakpoint(struct vcpu *v)
{
    const u64 pc = vcpu_linear_rip(v);
    v->breaks.resuming &= pc == v->breaks.resumed;
    return v->breaks.count && !v->breaks.resuming && vcpu_break_at(v, pc);
}

enum kvm_next kvm_step(struct kvm_cpu *k, struct vcpu *v)
{
    struct insn i;
    kvm_state_share(k);
    if (kvm_state_store(k, v, PART_BASE, &k->why) < 0) return KVM_NEXT_FAIL;
    k->unfinished.kind = EV_NONE;
    mmu_enter_guest(v);
    int fault = step_fetch(v, &i); /* a look; executing it reads it again */
    if (!fault && kvm_state_store(k, v, parts_of(v, &i), &k->why) < 0) {
        mmu_leave_guest(v);
        return KVM_NEXT_FAIL;
    }
    k->unfinished.kind = EV_NONE;
    enum x_result r = step(v);
    mmu_leave_guest(v);
    v->stats.kvm_steps++;
    if (r == X_SHUTDOWN) return KVM_NEXT_SHUTDOWN;
    if (r == X_HALT) return KVM_NEXT_HALT;
    if (at_breakpoint(v)) return KVM_NEXT_BREAK;
    k->interruptible = exc_interruptible(v);
    k->cr8_stale = true;
    k->pc = vcpu_linear_rip(v);
    if (k->debug.control & KVM_GUESTDBG_SINGLESTEP) k->debug.control = 0; /* it is for one place */
    return kvm_state_load(k, v, &k->why) < 0 ? KVM_NEXT_FAIL : KVM_NEXT_RUN;
}

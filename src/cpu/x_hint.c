/* x_hint - instructions without effect on registers and memory: NOP and prefetches, fences, cache
 * write-back. Spec: SDM vol. 2A CLFLUSH, LFENCE; vol. 2B MFENCE, PREFETCHh, SFENCE. */
#include "cpu/x_internal.h"

/* Prefetches never fault, so they need not look at their operand. */
enum x_result x_nop(struct vcpu *v, const struct insn *i)
{
    (void)v, (void)i;
    return X_NEXT;
}

enum x_result x_fence(struct vcpu *v, const struct insn *i)
{
    (void)v, (void)i;
    atomic_thread_fence(memory_order_seq_cst);
    return X_NEXT;
}

/* Faults as a load of the byte does; guest memory is coherent, so there is nothing to flush. */
enum x_result x_clflush(struct vcpu *v, const struct insn *i)
{
    gva_t lin;
    if (seg_linear(v, i->seg, insn_ea(v, i), 1, OPND_R, &lin)) return X_FAULT;
    if (!tlb_find(v, lin, 1, ACC_READ) && v->mmu->probe(v, lin, 1, ACC_READ, false)) return X_FAULT;
    return X_NEXT;
}

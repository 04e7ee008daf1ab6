/* cpu/msr.h - model-specific registers: one row of cpu/msr.def each.
 * Called from the vCPU's thread; registers of the local APIC go through v->env. */
#ifndef CPU_MSR_H
#define CPU_MSR_H
#include "cpu/vcpu.h"

/**
 * msr_read, msr_write - RDMSR and WRMSR without the privilege check.
 * Return 0, or X_FAULT with #GP(0) raised: no such register (counted in stats.msr_unknown), a
 * reserved bit set, a value the register does not take. A failed write changes nothing. Cost: a
 * binary search of the table.   Spec: SDM vol. 2B RDMSR, 2C WRMSR; vol. 4.
 */
int msr_read(struct vcpu *v, u32 addr, u64 *val);
int msr_write(struct vcpu *v, u32 addr, u64 val);
/** msr_reset - every register that is plain state to its RESET value (INIT leaves them alone). */
void msr_reset(struct vcpu *v);
/**
 * msr_firmware - what a PC's firmware leaves behind before it starts a kernel: MTRRs on, everything
 * write-back by default. For direct kernel boots, where no firmware runs; Linux does without PAT
 * otherwise.
 */
void msr_firmware(struct vcpu *v);
/** msr_count, msr_name, msr_address - the table, for lists and tests; 0 <= i < msr_count(). */
u32 msr_count(void);
const char *msr_name(u32 i);
u32 msr_address(u32 i);
#endif

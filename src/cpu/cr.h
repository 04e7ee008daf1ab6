/* cpu/cr.h - writes to control registers and EFER with every architectural check: for MOV CR,
 * WRMSR, loaders and tests. Each returns 0, or X_FAULT with #GP(0) raised and nothing changed. On
 * success derived fields and the TLB follow. Spec: SDM vol. 3A
 * sections 2.5, 4.1.1-4.1.2, 4.10.4, 10.8.5. */
#ifndef CPU_CR_H
#define CPU_CR_H
#include "cpu/vcpu.h"

int vcpu_write_cr0(struct vcpu *v, u64 val);
int vcpu_write_cr3(struct vcpu *v,
                   u64 val); /* bit 63 (with PCIDE): keep the TLB entries of the new PCID */
int vcpu_write_cr4(struct vcpu *v, u64 val);
/** vcpu_write_efer - LMA in @val is ignored: it follows LME and CR0.PG. */
int vcpu_write_efer(struct vcpu *v, u64 val);

/* Bits that exist on this CPU model. */
u64 cr4_valid_bits(const struct vcpu *v);
u64 efer_valid_bits(const struct vcpu *v);
#define CR0_VALID                                                                                  \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |     \
     CR0_PG)
#define DR6_WRITABLE 0xE00Full     /* B0-B3, BD, BS, BT */
#define DR7_WRITABLE 0xFFFF23FFull /* L/G0-3, LE, GE, GD, R/W and LEN */
#endif

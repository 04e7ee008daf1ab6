/* cpu/vcpu_mode.h - upkeep of the fields of struct vcpu that are derived from others. */
#ifndef CPU_VCPU_MODE_H
#define CPU_VCPU_MODE_H
#include "cpu/vcpu.h"

/** vcpu_cs_changed - the part of vcpu_mode_changed() that follows CS, SS, DS, ES, CPL and
 * RFLAGS.AC/VM: mode, flat and tlb.ctx. Enough after far transfers and exceptions, which leave the
 * control registers alone. */
void vcpu_cs_changed(struct vcpu *v);
/** vcpu_update_step - set or clear ATT_STEP: instructions run one at a time while TF, an enabled
 * breakpoint of DR7, an interrupt shadow or a pending debug trap is there. Call after any of them
 * changed. Cheap when nothing did. */
void vcpu_update_step(struct vcpu *v);
#endif

/* engine/kvm/kvm.h - the guest runs on the processor itself, through /dev/kvm. Devices, interrupt
 * controllers and every rarely used register stay ours; KVM holds a processor's state only while
 * run() runs. */
#ifndef ENGINE_KVM_KVM_H
#define ENGINE_KVM_KVM_H
#include "cpu/engine.h"

extern const struct engine engine_kvm;
#endif

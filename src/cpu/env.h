/* cpu/env.h - the one table through which processors reach the world (DESIGN section 2). The
 * machine fills it. Calls come from the vCPU's thread; the callee takes the bus lock itself. */
#ifndef CPU_ENV_H
#define CPU_ENV_H
#include "base/types.h"

struct vcpu;
struct port_string { /* @count elements of @bytes (1, 2, 4), one after the other in @buf */
    u16 port;
    u32 bytes, count;
    u8 *buf;
};
struct cpu_env {
    void *ctx;
    /* @bytes is 1, 2, 4 or 8 for MMIO and 1, 2 or 4 for ports; unclaimed reads give all-ones. */
    u64 (*mmio_read)(void *ctx, struct vcpu *v, gpa_t gpa, u32 bytes);
    void (*mmio_write)(void *ctx, struct vcpu *v, gpa_t gpa, u64 val, u32 bytes);
    u32 (*port_in)(void *ctx, struct vcpu *v, u16 port, u32 bytes);
    void (*port_out)(void *ctx, struct vcpu *v, u16 port, u32 val, u32 bytes);
    /* As often as @s says: INS and OUTS. May be NULL. */
    void (*port_in_string)(void *ctx, struct vcpu *v, const struct port_string *s);
    void (*port_out_string)(void *ctx, struct vcpu *v, const struct port_string *s);
    /* Interrupt acknowledge: the vector to deliver now, or -1 when the request went away. */
    int (*intr_ack)(void *ctx, struct vcpu *v);
    /* CR8 is bits 7:4 of the local APIC's TPR. */
    u8 (*cr8_get)(void *ctx, struct vcpu *v);
    void (*cr8_set)(void *ctx, struct vcpu *v, u8 cr8);
    /* APIC base, TSC deadline and x2APIC MSRs; false means #GP. */
    bool (*apic_msr_read)(void *ctx, struct vcpu *v, u32 msr, u64 *val);
    bool (*apic_msr_write)(void *ctx, struct vcpu *v, u32 msr, u64 val);
    /* v->tsc_offset changed: armed TSC deadlines move. */
    void (*tsc_changed)(void *ctx, struct vcpu *v);
    /* Virtual time (base/clk): ns since power-on, and the wall clock in ns since 1970 UTC. The
     * translator calls clock_ns with the guest's vector registers live and alignment checked. */
    u64 (*clock_ns)(void *ctx);
    u64 (*wall_ns)(void *ctx);
    /* Host entropy for RDRAND and RDSEED. */
    u64 (*random)(void *ctx);
    /* VMCALL/VMMCALL: arguments in registers; result goes to RAX. Returns false for #UD. */
    bool (*hypercall)(void *ctx, struct vcpu *v);
    /* The FERR# pin is now @ferr; returns IGNNE#. Only with CR0.NE clear (cpu/x87.h). May be NULL:
     * x87 errors are #MF whatever NE says. */
    bool (*x87_ferr)(void *ctx, struct vcpu *v, bool ferr);
    /* MONITOR/MWAIT, PAUSE hints need nothing from here. */
};
#endif

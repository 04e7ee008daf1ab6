/* dev/lapic.h - local APICs: xAPIC (MMIO page) and x2APIC (MSRs), one device instance per CPU,
 * tied by one lapic_set.
 *
 * The processor side (the machine's cpu_env) calls these functions under the bus lock, from that
 * CPU's thread. The answer "is there something to take" arrives through intr_cpu_ops.intr on every
 * change of the INTR pin.
 * Spec: SDM vol 3A chapter 11 (APIC). */
#ifndef DEV_LAPIC_H
#define DEV_LAPIC_H
#include "base/clk.h"
#include "base/limits.h"
#include "bus/dev.h"
#include "bus/intr.h"
#include "bus/irq.h"

extern const struct dev_class lapic_class;

enum { /* MSRs answered by lapic_msr_*; all others give false */
       MSR_LAPIC_BASE = 0x1B,
       MSR_LAPIC_TSC_DEADLINE = 0x6E0,
       MSR_X2APIC_FIRST = 0x800,
       MSR_X2APIC_LAST = 0x8FF,
};
#define LAPIC_BASE_DEFAULT 0xFEE00000ull

struct lapic;
/* What the local APICs of one machine share. Embedded in the machine; fill, then lapic_set_init(),
 * then create. */
struct lapic_set {
    struct clk *clk;                   /* borrowed                                               */
    struct intr_cpu cpu;               /* how to reach the vCPUs                                 */
    struct extint_source extint;       /* the PIC; .ack may be NULL until it exists              */
    void (*eoi)(void *ctx, u8 vector); /* EOI broadcast of a level interrupt: ioapic_eoi   */
    void *eoi_ctx;
    u32 tsc_khz; /* guest TSC frequency                                    */
    u32 bus_khz; /* timer input clock; 0: 1 GHz, as KVM has it             */
    u32 cpus;    /* instances created; lapic_set's own from here on        */
    struct lapic *lapic[VCPUS_MAX];
    u32 arb; /* rotates lowest-priority ties                           */
};
struct lapic_cfg {
    struct lapic_set *set;
    u32 cpu;     /* index: argument of intr_cpu_ops; cpu 0 is the bootstrap processor */
    u32 apic_id; /* usually == cpu */
    /* cfg of dev_create(..., &lapic_class, "lapic<n>", ...); find it again as set->lapic[cpu] */
};

/** lapic_send - struct intr_sink's send; ctx is the lapic_set. I/O APIC and MSI deliver here. */
void lapic_send(void *set, const struct intr_msg *msg);
/** lapic_extint - irq_sink_fn for the PIC's INT output (virtual wire to every LINT0); ctx is the
 * lapic_set. */
void lapic_extint(void *set, u32 input, bool level);
/** lapic_nmi - irq_sink_fn for the NMI wire (LINT1 of every CPU); ctx is the lapic_set. */
void lapic_nmi(void *set, u32 input, bool level);

/** lapic_ack - the processor takes its interrupt: the vector (IRR -> ISR, or the PIC's through
 * ExtINT), or -1 when there is nothing to take any more. The INTR pin is updated before it
 * returns. */
int lapic_ack(struct lapic *l);
/** lapic_pending - level of the INTR pin. */
bool lapic_pending(const struct lapic *l);

/** lapic_tpr_get, lapic_tpr_set - CR8: task priority class, 0..15. */
u8 lapic_tpr_get(const struct lapic *l);
void lapic_tpr_set(struct lapic *l, u8 cr8);

/** lapic_msr_read, lapic_msr_write - the MSRs above. False: #GP(0) (reserved bits, not in x2APIC
 * mode, unknown). */
bool lapic_msr_read(struct lapic *l, u32 msr, u64 *val) MUST_USE;
bool lapic_msr_write(struct lapic *l, u32 msr, u64 val) MUST_USE;

/** lapic_mmio_hit - does @gpa fall in this CPU's APIC page? (Only when enabled and not in x2APIC
 * mode.) From the CPU's own thread; needs no lock. On true use the two below under the bus lock,
 * else bus_mmio_*. */
bool lapic_mmio_hit(const struct lapic *l, gpa_t gpa);
/* Accesses of 1..8 bytes; only aligned 4-byte ones are architectural. Others read the register's
 * bytes; narrow writes are zero-extended when aligned to 16, else dropped. */
u64 lapic_mmio_read(struct lapic *l, gpa_t gpa, u32 bytes);
void lapic_mmio_write(struct lapic *l, gpa_t gpa, u64 val, u32 bytes);

/** lapic_base - IA32_APIC_BASE: for CPUID.1:EDX.APIC (bit 11 clear hides it) and the BSP flag. */
u64 lapic_base(const struct lapic *l);
/** lapic_id - current APIC id (x2APIC id when in that mode). */
u32 lapic_id(const struct lapic *l);

/** lapic_tsc - this CPU's TSC now: clk_now_ns * tsc_khz / 1e6 + offset. Any thread when the offset
 * is not being set. */
u64 lapic_tsc(const struct lapic *l);
/** lapic_set_tsc_offset - the guest wrote its TSC; re-times an armed TSC deadline. */
void lapic_set_tsc_offset(struct lapic *l, u64 offset);
#endif

/* bus/intr.h - how interrupt controllers reach a processor. The machine implements it for its
 * vCPUs; a local APIC calls it. Every call is made under the bus lock, from any thread, and must
 * not block or call back into the controller. */
#ifndef BUS_INTR_H
#define BUS_INTR_H
#include "base/types.h"

struct intr_cpu_ops {
    /* A vector above the processor priority is waiting (true) or no longer (false): the INTR pin.
     * */
    void (*intr)(void *ctx, u32 cpu, bool pending);
    void (*nmi)(void *ctx, u32 cpu);
    void (*init)(void *ctx, u32 cpu);
    void (*sipi)(void *ctx, u32 cpu, u8 vector);
};
struct intr_cpu {
    const struct intr_cpu_ops *ops;
    void *ctx;
};
#endif

/* dev/parallel.h - standard parallel port with a printer: three ports, attached by the machine
 * (0x378 LPT1). A byte is taken at the rising strobe; the printer is busy while its back end does
 * not take it, and out of paper while that says so.
 * Spec: IBM PC Technical Reference, printer adapter; IEEE 1284-1994, compatibility mode. */
#ifndef DEV_PARALLEL_H
#define DEV_PARALLEL_H
#include "bus/chardev.h"
#include "bus/dev.h"
#include "bus/irq.h"

extern const struct dev_class parallel_class;
struct parallel_cfg {
    struct irq_pin *irq;     /* GSI 7 for LPT1 */
    struct chardev *chardev; /* borrowed for the device's life; the port becomes its front */
    /* The rest of the cable; may be NULL. Under the bus lock, must not block. */
    void (*init)(void *ctx);      /* the INIT line was pulled: what comes is something new */
    bool (*paper_out)(void *ctx); /* nothing can be printed at the moment                  */
    void *ctx;
};
#endif

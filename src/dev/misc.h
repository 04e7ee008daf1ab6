/* dev/misc.h - the small ones: system control and debug ports. */
#ifndef DEV_MISC_H
#define DEV_MISC_H
#include "bus/chardev.h"
#include "bus/dev.h"

/* Port 0x92: fast A20, fast reset. cfg: NULL. */
extern const struct dev_class sysctl_class;
/* Port 0xF4: a write of v ends the machine with status (v << 1) | 1, as QEMU's isa-debug-exit
 * does. */
extern const struct dev_class debug_exit_class;
/* Port 0xE9, or cfg.port: bytes written appear on the chardev; reads give 0xE9. */
extern const struct dev_class debug_con_class;
/* Port 0x505: the guest's kernel reports that it panicked. cfg: NULL. */
extern const struct dev_class pvpanic_class;
enum { PVPANIC_PORT = 0x505 };
struct debug_con_cfg {
    struct chardev *chardev; /* borrowed; NULL: dropped */
    u16 port;                /* 0: 0xE9                 */
};
enum { FIRMWARE_CON_PORT = 0x402 }; /* where SeaBIOS and OVMF write */
#endif

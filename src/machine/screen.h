/* machine/screen.h - the glue between the VGA (bus lock) and a display of the host (loop thread).
 * Private to machine/.
 *
 * There is a VGA when there is firmware to set its modes, or a display to show them: a kernel that
 * starts without either keeps a machine without a screen (the ACPI tables say so, too). */
#ifndef MACHINE_SCREEN_H
#define MACHINE_SCREEN_H
#include <pthread.h>

#include "base/pixmap.h"
#include "bus/dev.h"
#include "host/display.h"

struct machine;
struct screen {
    struct machine *m;
    struct dev *vga;         /* NULL: the machine has no screen         */
    struct display *display; /* NULL: none                              */
    struct loop_timer *tick; /* armed while somebody looks              */
    pthread_mutex_t lock;    /* guards what follows; outside the bus lock */
    bool ready;              /* the lock and @pic.px exist              */
    struct pixmap pic;       /* dirty rows: since the display was told  */
    struct text_screen text;
};

/** screen_add_vga - the VGA, when there is to be one; for pc.c, after the PCI bus. */
int screen_add_vga(struct machine *m, struct err *e) MUST_USE;
/** screen_firmware - without firmware: the VGA as a BIOS leaves it. After devices were reset, vCPUs
 * do not run. False: there is none. */
bool screen_firmware(struct machine *m);
/** screen_open - the display of cfg.display; after the devices. screen_start: the machine runs.
 * screen_close - the last picture goes where it is kept; before the devices go. */
int screen_open(struct machine *m, struct err *e) MUST_USE;
void screen_start(struct machine *m);
void screen_close(struct machine *m);
#endif

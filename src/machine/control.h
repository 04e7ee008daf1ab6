/* machine/control.h - what the control socket (api/) and the command line may ask of a running
 * machine, besides ring3.h. Threads: any thread unless a function says otherwise; each takes the
 * bus lock itself. */
#ifndef MACHINE_CONTROL_H
#define MACHINE_CONTROL_H
#include "base/err.h"
#include "base/input.h"
#include "base/pixmap.h"
#include "host/loop.h"
#include "ring3.h"

/** machine_loop - the machine's event loop, to attach servers to between ring3_create and
 * ring3_run. */
struct loop *machine_loop(struct ring3_vm *vm);

enum machine_state { MACHINE_PAUSED, MACHINE_RUNNING, MACHINE_ENDED };
struct machine_info {
    const struct ring3_config *cfg; /* borrowed, constant while the machine exists */
    const char *engine;             /* the one that executes it                    */
    u64 uptime_ns;                  /* of the guest's clock                        */
    enum machine_state state;
};
void machine_info(struct ring3_vm *vm, struct machine_info *out);

/** machine_spool_fd - the folder in which the printer's documents are made while the machine runs,
 * -1 without one. */
int machine_spool_fd(const struct ring3_vm *vm);

/** machine_screenshot_png - the screen now, as a PNG file in memory.
 * @out  owned by the caller (free); @bytes its length.  E_NOENT when the machine has no screen. */
int machine_screenshot_png(struct ring3_vm *vm, u8 **out, size_t *bytes, struct err *e) MUST_USE;
/** machine_screen_text - the characters on the screen; @out->present is false in graphics modes.
 * E_NOENT when the machine has no screen. */
int machine_screen_text(struct ring3_vm *vm, struct text_screen *out, struct err *e) MUST_USE;
/** machine_input - a key or pointer event, as if the user had made it. E_NOENT when the machine has
 * no keyboard. */
int machine_input(struct ring3_vm *vm, const struct input_event *ev, struct err *e) MUST_USE;
/** machine_input_idle - the guest has read every event so far: a queue cannot overflow now. */
bool machine_input_idle(struct ring3_vm *vm);
#endif

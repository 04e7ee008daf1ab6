/* screen.c - the machine's screen, for whoever wants to look at it. */
#include "machine/control.h"

static int no_screen(struct err *e) { return err_set(e, E_NOENT, "the machine has no screen"); }

int machine_screenshot_png(struct ring3_vm *vm, u8 **out, size_t *bytes, struct err *e)
{
    (void)vm, (void)out, (void)bytes;
    return no_screen(e);
}

int machine_screen_text(struct ring3_vm *vm, struct text_screen *out, struct err *e)
{
    (void)vm, (void)out;
    return no_screen(e);
}

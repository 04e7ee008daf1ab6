/* input.c - keys and pointer movements on their way to the guest. */
#include "dev/i8042.h"
#include "machine/control.h"
#include "machine/machine.h"

int machine_input(struct ring3_vm *vm, const struct input_event *ev, struct err *e)
{
    struct machine *m = (struct machine *)vm;
    bus_lock(&m->bus);
    bool there = m->input.event;
    if (there) m->input.event(m->input.ctx, ev);
    bus_unlock(&m->bus);
    return there ? 0 : err_set(e, E_NOENT, "the machine has no keyboard");
}

bool machine_input_idle(struct ring3_vm *vm)
{
    struct machine *m = (struct machine *)vm;
    bus_lock(&m->bus);
    bool idle = !m->input.event || i8042_idle(m->input.ctx);
    bus_unlock(&m->bus);
    return idle;
}

/* info.c - what the outside may know of a running machine, and where it may attach to. */
#include "machine/control.h"
#include "machine/machine.h"

struct loop *machine_loop(struct ring3_vm *vm) { return ((struct machine *)vm)->loop; }

void machine_info(struct ring3_vm *vm, struct machine_info *out)
{
    struct machine *m = (struct machine *)vm;
    pthread_mutex_lock(&m->run_lock);
    bool ended = m->ended, running = m->want == WANT_RUN;
    pthread_mutex_unlock(&m->run_lock);
    *out = (struct machine_info){.cfg = &m->cfg,
                                 .engine = m->engine->name,
                                 .uptime_ns = clk_now_ns(&m->clk),
                                 .state = ended     ? MACHINE_ENDED
                                          : running ? MACHINE_RUNNING
                                                    : MACHINE_PAUSED};
}

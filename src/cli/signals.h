/* cli/signals.h - SIGINT, SIGTERM, SIGHUP and SIGQUIT end the machine, not the process.
 * Signal dispositions belong to the process, so the machine they end is process-wide state. */
#ifndef CLI_SIGNALS_H
#define CLI_SIGNALS_H
#include "ring3.h"

/** signals_install - catch them from now on. A second signal while the first is being obeyed ends
 * the process at once. */
void signals_install(void);
/** signals_stop - the machine to end; NULL for none. One that came before is obeyed now. */
void signals_stop(struct ring3_vm *vm);
/** signals_caught - the signal that came first, or 0. */
int signals_caught(void);
#endif

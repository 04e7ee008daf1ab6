/* machine/pc_ports.h - what `pc` has beyond the necessary: HPET, second serial port, parallel port.
 */
#ifndef MACHINE_PC_PORTS_H
#define MACHINE_PC_PORTS_H
#include "base/err.h"

struct machine;
/** pc_parallel_check - is @spec (--parallel) well-formed? 0 or E_INVAL. */
int pc_parallel_check(const char *spec, struct err *e) MUST_USE;
/** pc_ports_create - the devices; after the interrupt controllers. */
int pc_ports_create(struct machine *m, struct err *e) MUST_USE;
/** pc_ports_open - their places in the host. */
int pc_ports_open(struct machine *m, struct err *e) MUST_USE;
/** pc_ports_start - input may come. Loop thread. */
void pc_ports_start(struct machine *m);
void pc_ports_close(struct machine *m);
/** pc_ports_describe - what m->acpi has to say about them. */
void pc_ports_describe(struct machine *m);
#endif

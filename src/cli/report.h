/* cli/report.h - what `ring3 run` says on standard error at the end. */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H
#include "base/types.h"
#include "cli/options.h"

/** report_status - the exit status for @r, @sig being the signal that stopped the machine or 0. */
int report_status(const struct ring3_result *r, int sig);
/** report_end - why it ended, as one line, unless that is a power-off or the status the guest
 * chose. */
void report_end(const struct ring3_result *r, int sig);
/**
 * report_stats - the counters of @vm, with time, speed and peak memory of the monitor: "name value
 * help" lines or one JSON object on one line. Owned by the caller; NULL without memory.
 * @elapsed_ns  host time the machine ran
 */
char *report_stats(struct ring3_vm *vm, enum stats_form form, u64 elapsed_ns) MUST_USE;
#endif

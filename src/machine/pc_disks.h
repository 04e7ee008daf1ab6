/* machine/pc_disks.h - the disks of machine `pc`: from --drive and --cdrom to controllers. Private
 * to machine/. */
#ifndef MACHINE_PC_DISKS_H
#define MACHINE_PC_DISKS_H
#include "base/err.h"

struct machine;
struct pc_disks;
struct drive_set;
/** pc_disks_create - open and lock the images, create the controllers. Errors name the option and
 * the file. */
int pc_disks_create(struct machine *m, struct err *e) MUST_USE;
/** pc_disks_set - the drives, after pc_disks_create; borrowed from the machine. */
const struct drive_set *pc_disks_set(const struct machine *m);
/** pc_disks_has_floppy - whether a floppy drive is there: a controller without one stays
 * unmentioned. */
bool pc_disks_has_floppy(const struct machine *m);
/** pc_disks_destroy - what the guest wrote is durable afterwards; the devices are gone already. */
void pc_disks_destroy(struct machine *m);
/** pc_disks_firmware - what firmware would have set up, for kernels booted directly. */
int pc_disks_firmware(struct machine *m, struct err *e) MUST_USE;
/** pc_disks_start, pc_disks_stop - around the time vCPUs run: threads that execute requests. After
 * stop everything the guest wrote is on the host's disk. */
int pc_disks_start(struct machine *m, struct err *e) MUST_USE;
void pc_disks_stop(struct machine *m);
/** pc_disks_pump - execute and complete what is queued, on the caller's thread: fuzzers. */
void pc_disks_pump(struct machine *m);
#endif

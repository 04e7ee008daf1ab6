/* machine/drive.h - what --drive, --cdrom and --boot say. */
#ifndef MACHINE_DRIVE_H
#define MACHINE_DRIVE_H
#include "base/err.h"
#include "ring3.h"

enum drive_if { DRIVE_IDE, DRIVE_FLOPPY, DRIVE_VIRTIO, DRIVE_IFS };
enum { DRIVES_MAX = RING3_DRIVES_MAX + 1, DRIVE_IDE_MAX = 4, DRIVE_FLOPPY_MAX = 2 };
enum { DRIVE_CDROM_INDEX = 2 }; /* where a CD-ROM drive goes when it is free: the second channel */

struct drive {
    const char *spec; /* borrowed from the configuration, for messages */
    char *path;       /* owned; NULL: a CD-ROM drive without a disc    */
    enum drive_if iface;
    bool cdrom, readonly, snapshot;
    u64 offset, size; /* bytes; size 0: to the end                     */
    int index;        /* its place on the controller; -1: any          */
};
struct drive_set {
    struct drive drive[DRIVES_MAX];
    u32 count;
};

/**
 * drive_parse - "file=PATH,if=ide|floppy|virtio,media=disk|cdrom,readonly,snapshot,offset=SIZE,
 * size=SIZE,index=N", in any order; a comma in PATH is doubled; SIZE may end in K, M, G or T.
 * Returns 0; E_INVAL naming the option and the part, E_NOMEM.
 */
int drive_parse(struct drive *out, const char *spec, struct err *e) MUST_USE;
void drive_fini(struct drive *d);

/** drive_set_init - all drives of @cfg, each with its place. E_INVAL: see drive_parse; a place that
 * does not exist or is taken. */
int drive_set_init(struct drive_set *s, const struct ring3_config *cfg, struct err *e) MUST_USE;
void drive_set_fini(struct drive_set *s);

enum { BOOT_ORDER_MAX = 4 };
struct boot_order {
    char order[BOOT_ORDER_MAX + 1]; /* letters a c d n, most wanted first */
    bool menu;
};
/** boot_order_parse - "order=cdn[,menu=on|off]"; NULL gives the default, "cdn". E_INVAL. */
int boot_order_parse(struct boot_order *out, const char *spec, struct err *e) MUST_USE;
#endif

/* bus/dev.h - what a device is: a class (a constant table of facts and callbacks) and instances of
 * it.
 *
 * An instance struct starts with `struct dev dev`. Creating one allocates and zeroes it, runs
 * init, maps the class's fixed regions and resets it. Saved state is the class's field table, one
 * section per instance, named after the instance.
 * Threads: callbacks run under the bus lock. create/destroy/save/load/reset: the machine calls
 * them with the lock held, or while nothing runs. */
#ifndef BUS_DEV_H
#define BUS_DEV_H
#include "base/err.h"
#include "base/ser.h"
#include "base/types.h"
#include "bus/bus.h"

struct mem_map;
enum { DEV_REGIONS_MAX = 8, DEV_NAME_BYTES = 24 };

struct dev_class {
    const char *name;
    u16 version;                      /* of the saved state                          */
    u32 inst_bytes;                   /* sizeof the instance                         */
    const struct dev_region *regions; /* ends with {0}; may be NULL  */
    /* ends with SER_END; may be NULL when nothing outlives a call */
    const struct ser_field *fields;
    /* All optional. @cfg is the class's own struct x_cfg, borrowed for the call. init may fail and
     * then frees what it took. */
    int (*init)(struct dev *d, const void *cfg, struct err *e);
    void (*fini)(struct dev *d);
    void (*reset)(struct dev *d); /* power-on state */
    /* Before a save or load: finish what is under way outside the instance (requests to a disk).
     * May block; no vCPU runs. */
    void (*quiesce)(struct dev *d);
    /* After a load: refuse values the device's code could not have produced (E_FORMAT); the old
     * state then stays. */
    int (*validate)(const struct dev *d, struct err *e);
    /* After a valid load: make timers, lines and mappings agree with the fields. */
    void (*post_load)(struct dev *d);
    /* Put the device's memory (mem_add_device) where its registers say, with mem_map_add: all of
     * it, whenever the map is made anew. A place that is taken stays as it is. No vCPU runs. */
    void (*map)(struct dev *d, struct mem_map *map);
};

/* What a device may ask of its machine; called under the bus lock, must only note the request and
 * return. */
struct dev_host_ops {
    void (*reset)(void *ctx, struct dev *d);
    void (*poweroff)(void *ctx, struct dev *d);
    /* debug-exit: end the machine with this status */
    void (*exit)(void *ctx, struct dev *d, int status);
    /* may be NULL: A20 always on */
    void (*a20)(void *ctx, struct dev *d, bool enabled);
    /* may be NULL: what map() puts where has changed; in force before the asking vCPU's next
     * instruction */
    void (*remap)(void *ctx, struct dev *d);
    /* may be NULL: the guest's kernel says that it panicked */
    void (*panicked)(void *ctx, struct dev *d);
};

/* All devices of one machine, in creation order. Embedded in the machine. */
struct dev_set {
    struct bus *bus;                /* borrowed */
    const struct dev_host_ops *ops; /* borrowed */
    void *ctx;
    struct dev *first, *last;
};

struct dev {
    const struct dev_class *cls;
    struct dev_set *set;
    struct dev *next;
    char name[DEV_NAME_BYTES]; /* unique in the set: "uart0" */
    u32 regions;
    struct bus_region region[DEV_REGIONS_MAX]; /* as cls->regions */
};

void dev_set_init(struct dev_set *s, struct bus *bus, const struct dev_host_ops *ops, void *ctx);
/** dev_set_fini - destroys the devices, newest first. */
void dev_set_fini(struct dev_set *s);

/**
 * dev_create - new instance of @cls called @name in @s; fixed regions mapped, state reset.
 * Returns it (owned by the set), or NULL with @e filled: E_NOMEM, E_BUSY (name or address taken),
 * or what init said.
 */
struct dev *dev_create(struct dev_set *s, const struct dev_class *cls, const char *name,
                       const void *cfg, struct err *e);
/** dev_destroy - unmap, fini, free; NULL is fine. */
void dev_destroy(struct dev *d);
/** dev_attach - map region row @index of @d at @base (bus_map's errors). Moves it when mapped. */
int dev_attach(struct dev *d, u32 index, u64 base, struct err *e) MUST_USE;
/** dev_find - the instance called @name, or NULL. */
struct dev *dev_find(const struct dev_set *s, const char *name);

void dev_reset_all(struct dev_set *s);
/** dev_save_all / dev_load_all - one section per device, in order, after all of them have become
 * quiet. A failed load leaves the
 * devices before the failing one changed: the machine is then not runnable. Errors: ser_save's and
 * ser_load's, and what validate said. */
int dev_save_all(const struct dev_set *s, struct ser_buf *b, struct err *e) MUST_USE;
int dev_load_all(struct dev_set *s, struct ser_view *v, struct err *e) MUST_USE;
/* The same for one device. */
int dev_save(struct dev *d, struct ser_buf *b, struct err *e) MUST_USE;
int dev_load(struct dev *d, struct ser_view *v, struct err *e) MUST_USE;

/* From a device's callbacks. */
void dev_request_reset(struct dev *d);
void dev_request_poweroff(struct dev *d);
void dev_request_exit(struct dev *d, int status);
void dev_request_a20(struct dev *d, bool enabled);
void dev_request_remap(struct dev *d);
void dev_report_panic(struct dev *d);
/** dev_map_all - let every device put its memory into @map, oldest device first. */
void dev_map_all(struct dev_set *s, struct mem_map *map);
#endif

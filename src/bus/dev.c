/* bus/dev.c - the life of device instances: create, map, reset, save, load, destroy. */
#include "bus/dev.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/check.h"

void dev_set_init(struct dev_set *s, struct bus *bus, const struct dev_host_ops *ops, void *ctx)
{
    *s = (struct dev_set){.bus = bus, .ops = ops, .ctx = ctx};
}

void dev_set_fini(struct dev_set *s)
{
    while (s->last) dev_destroy(s->last);
}

struct dev *dev_find(const struct dev_set *s, const char *name)
{
    for (struct dev *d = s->first; d; d = d->next)
        if (!strcmp(d->name, name)) return d;
    return NULL;
}

static void set_append(struct dev_set *s, struct dev *d)
{
    if (s->last) s->last->next = d;
    else s->first = d;
    s->last = d;
}

static void set_remove(struct dev_set *s, struct dev *d)
{
    struct dev *prev = NULL;
    for (struct dev *i = s->first; i != d; i = i->next) {
        ASSERT(i, "%s is not in its set", d->name);
        prev = i;
    }
    if (prev) prev->next = d->next;
    else s->first = d->next;
    if (s->last == d) s->last = prev;
}

static void unmap_all(struct dev *d)
{
    for (u32 i = 0; i < d->regions; i++) bus_unmap(d->set->bus, &d->region[i]);
}

static void bind_regions(struct dev *d)
{
    const struct dev_region *row = d->cls->regions;
    for (; row && row->read; row++) {
        ASSERT(d->regions < DEV_REGIONS_MAX, "class %s has too many regions", d->cls->name);
        d->region[d->regions++] = (struct bus_region){.row = row, .dev = d};
    }
}

static int map_fixed(struct dev *d, struct err *e)
{
    for (u32 i = 0; i < d->regions; i++) {
        struct bus_region *r = &d->region[i];
        if (r->row->fixed && bus_map(d->set->bus, r, r->row->base, e) < 0)
            return err_wrap(e, "%s", d->name);
    }
    return 0;
}

struct dev *dev_create(struct dev_set *s, const struct dev_class *cls, const char *name,
                       const void *cfg, struct err *e)
{
    if (dev_find(s, name) || strlen(name) >= DEV_NAME_BYTES) {
        err_set(e, E_BUSY, "device name '%s' is taken or too long", name);
        return NULL;
    }
    struct dev *d = calloc(1, cls->inst_bytes);
    if (!d) {
        err_set(e, E_NOMEM, "device '%s'", name);
        return NULL;
    }
    d->cls = cls;
    d->set = s;
    snprintf(d->name, sizeof d->name, "%s", name);
    bind_regions(d);
    if (cls->init && cls->init(d, cfg, e) < 0) {
        err_wrap(e, "%s", name);
        goto free_dev;
    }
    if (map_fixed(d, e) < 0) goto fini_dev;
    set_append(s, d);
    if (cls->reset) cls->reset(d);
    return d;
fini_dev:
    unmap_all(d);
    if (cls->fini) cls->fini(d);
free_dev:
    free(d);
    return NULL;
}

void dev_destroy(struct dev *d)
{
    if (!d) return;
    set_remove(d->set, d);
    if (d->cls->fini) d->cls->fini(d);
    unmap_all(d);
    free(d);
}

int dev_attach(struct dev *d, u32 index, u64 base, struct err *e)
{
    ASSERT(index < d->regions, "%s has no region %u", d->name, index);
    bus_unmap(d->set->bus, &d->region[index]);
    int rc = bus_map(d->set->bus, &d->region[index], base, e);
    if (rc < 0) err_wrap(e, "%s", d->name);
    return rc;
}

void dev_reset_all(struct dev_set *s)
{
    for (struct dev *d = s->first; d; d = d->next)
        if (d->cls->reset) d->cls->reset(d);
}

void dev_map_all(struct dev_set *s, struct mem_map *map)
{
    for (struct dev *d = s->first; d; d = d->next)
        if (d->cls->map) d->cls->map(d, map);
}

/* ---- state ----------------------------------------------------------------------------------- */

static void quiesce(struct dev *d)
{
    if (d->cls->quiesce) d->cls->quiesce(d);
}

int dev_save(struct dev *d, struct ser_buf *b, struct err *e)
{
    quiesce(d);
    if (!d->cls->fields) return 0;
    return ser_save(b, d->name, d->cls->version, d->cls->fields, d, e);
}

/* Loads into the instance; when validate refuses, the old bytes come back. */
int dev_load(struct dev *d, struct ser_view *v, struct err *e)
{
    const struct dev_class *c = d->cls;
    if (!c->fields) return 0;
    quiesce(d);
    void *old = malloc(c->inst_bytes);
    if (!old) return err_set(e, E_NOMEM, "%s: load", d->name);
    memcpy(old, d, c->inst_bytes);
    int rc = ser_load(v, d->name, c->version, c->fields, d, e);
    if (rc >= 0 && c->validate) {
        rc = c->validate(d, e);
        if (rc < 0) {
            memcpy(d, old, c->inst_bytes);
            err_wrap(e, "%s", d->name);
        }
    }
    free(old);
    if (rc < 0) return rc;
    if (c->post_load) c->post_load(d);
    return 0;
}

int dev_save_all(const struct dev_set *s, struct ser_buf *b, struct err *e)
{
    /* all before the first save: an end that comes raises lines of other devices */
    for (struct dev *d = s->first; d; d = d->next) quiesce(d);
    for (struct dev *d = s->first; d; d = d->next) {
        int rc = dev_save(d, b, e);
        if (rc < 0) return rc;
    }
    return 0;
}

int dev_load_all(struct dev_set *s, struct ser_view *v, struct err *e)
{
    for (struct dev *d = s->first; d; d = d->next) {
        int rc = dev_load(d, v, e);
        if (rc < 0) return rc;
    }
    return 0;
}

/* ---- requests -------------------------------------------------------------------------------- */

void dev_request_reset(struct dev *d)
{
    if (d->set->ops && d->set->ops->reset) d->set->ops->reset(d->set->ctx, d);
}

void dev_request_poweroff(struct dev *d)
{
    if (d->set->ops && d->set->ops->poweroff) d->set->ops->poweroff(d->set->ctx, d);
}

void dev_request_exit(struct dev *d, int status)
{
    if (d->set->ops && d->set->ops->exit) d->set->ops->exit(d->set->ctx, d, status);
}

void dev_request_a20(struct dev *d, bool enabled)
{
    if (d->set->ops && d->set->ops->a20) d->set->ops->a20(d->set->ctx, d, enabled);
}

void dev_request_remap(struct dev *d)
{
    if (d->set->ops && d->set->ops->remap) d->set->ops->remap(d->set->ctx, d);
}

void dev_report_panic(struct dev *d)
{
    if (d->set->ops && d->set->ops->panicked) d->set->ops->panicked(d->set->ctx, d);
}

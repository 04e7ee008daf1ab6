/* drive.c - parsing --drive, --cdrom and --boot; see drive.h. */
#include "machine/drive.h"

#include <stdlib.h>
#include <string.h>

static const char *const if_names[DRIVE_IFS] = {"ide", "floppy", "virtio"};

/* One part of a specification, NAME or NAME=VALUE, with its commas undoubled. */
struct part {
    char *name;        /* owned text */
    const char *value; /* inside it; NULL: no '=' */
};

/* Cut the next part off *@rest. */
static int next_part(const char **rest, struct part *p, struct err *e)
{
    const char *from = *rest;
    char *to = malloc(strlen(from) + 1);
    if (!to) return err_set(e, E_NOMEM, "--drive");
    p->name = to;
    for (; *from; from++) {
        if (*from == ',' && from[1] != ',') break;
        if (*from == ',') from++;
        *to++ = *from;
    }
    *to = 0;
    *rest = *from ? from + 1 : NULL;
    char *equals = strchr(p->name, '=');
    if (equals) *equals = 0;
    p->value = equals ? equals + 1 : NULL;
    return 0;
}

static int parse_bytes(const char *text, u64 *out)
{
    static const char units[] = "KMGT";
    char *end;
    if (*text < '0' || *text > '9') return -1;
    unsigned long long v = strtoull(text, &end, 10);
    const char *unit = *end ? strchr(units, *end & ~0x20) : NULL;
    u32 shift = unit && *unit ? 10 * (u32)(unit - units + 1) : 0;
    if (shift) end++;
    if (*end || v > (u64)INT64_MAX >> shift) return -1;
    *out = (u64)v << shift;
    return 0;
}

static int parse_flag(const char *value, bool *out)
{
    if (value && strcmp(value, "on") && strcmp(value, "off")) return -1;
    *out = !value || !strcmp(value, "on");
    return 0;
}

static int parse_if(const char *value, enum drive_if *out)
{
    for (u32 i = 0; i < DRIVE_IFS; i++) {
        if (strcmp(value, if_names[i])) continue;
        *out = (enum drive_if)i;
        return 0;
    }
    return -1;
}

static int parse_index(const char *value, int *out)
{
    u64 v;
    if (parse_bytes(value, &v) < 0 || v > 255) return -1;
    *out = (int)v;
    return 0;
}

/* 0; -1: not a value for this part; 1: no such part. */
static int take_part(struct drive *d, const struct part *p)
{
    const char *v = p->value ? p->value : "";
    if (!strcmp(p->name, "readonly")) return parse_flag(p->value, &d->readonly);
    if (!strcmp(p->name, "snapshot")) return parse_flag(p->value, &d->snapshot);
    if (!strcmp(p->name, "if")) return parse_if(v, &d->iface);
    if (!strcmp(p->name, "offset")) return parse_bytes(v, &d->offset);
    if (!strcmp(p->name, "size")) return parse_bytes(v, &d->size) < 0 || !d->size ? -1 : 0;
    if (!strcmp(p->name, "index")) return parse_index(v, &d->index);
    if (!strcmp(p->name, "media")) {
        d->cdrom = !strcmp(v, "cdrom");
        return d->cdrom || !strcmp(v, "disk") ? 0 : -1;
    }
    if (strcmp(p->name, "file")) return 1;
    free(d->path);
    d->path = *v ? strdup(v) : NULL;
    return d->path ? 0 : -1;
}

static int parse_part(struct drive *d, const char **rest, struct err *e)
{
    struct part p = {0};
    int rc = next_part(rest, &p, e);
    if (rc < 0) return rc;
    rc = take_part(d, &p);
    if (rc > 0)
        rc = err_set(e, E_INVAL,
                     "--drive '%s': '%s' is no part of it: file, if, media, readonly, "
                     "snapshot, offset, size, index",
                     d->spec, p.name);
    else if (rc < 0)
        rc = err_set(e, E_INVAL, "--drive '%s': bad value '%s' for %s", d->spec,
                     p.value ? p.value : "", p.name);
    free(p.name);
    return rc;
}

static int check(struct drive *d, struct err *e)
{
    if (d->cdrom && d->iface != DRIVE_IDE)
        return err_set(e, E_INVAL, "--drive '%s': media=cdrom needs if=ide", d->spec);
    if (!d->path && !d->cdrom)
        return err_set(e, E_INVAL, "--drive '%s': file= is missing", d->spec);
    if (d->cdrom) d->readonly = true;
    return 0;
}

int drive_parse(struct drive *out, const char *spec, struct err *e)
{
    int rc = 0;
    *out = (struct drive){.spec = spec, .index = -1};
    for (const char *rest = spec; rest && rc == 0;) rc = parse_part(out, &rest, e);
    if (rc == 0) rc = check(out, e);
    if (rc < 0) drive_fini(out);
    return rc;
}

void drive_fini(struct drive *d)
{
    free(d->path);
    d->path = NULL;
}

/* ---- places ---------------------------------------------------------------------------------- */

static int places(enum drive_if iface)
{
    static const int max[DRIVE_IFS] = {DRIVE_IDE_MAX, DRIVE_FLOPPY_MAX, RING3_DRIVES_MAX};
    return max[iface];
}

static bool taken(const struct drive_set *s, enum drive_if iface, int index)
{
    for (u32 i = 0; i < s->count; i++)
        if (s->drive[i].iface == iface && s->drive[i].index == index) return true;
    return false;
}

static int check_place(const struct drive_set *s, u32 n, struct err *e)
{
    const struct drive *d = &s->drive[n];
    if (d->index < 0) return 0;
    if (d->index >= places(d->iface))
        return err_set(e, E_INVAL, "--drive '%s': index %d: %s has places 0 to %d", d->spec,
                       d->index, if_names[d->iface], places(d->iface) - 1);
    for (u32 i = 0; i < n; i++)
        if (s->drive[i].iface == d->iface && s->drive[i].index == d->index)
            return err_set(e, E_INVAL, "--drive '%s': index %d is taken by '%s'", d->spec, d->index,
                           s->drive[i].spec);
    return 0;
}

/* A place for a drive that did not ask for one. */
static int find_place(const struct drive_set *s, struct drive *d, struct err *e)
{
    if (d->index >= 0) return 0;
    int index = d->cdrom && !taken(s, d->iface, DRIVE_CDROM_INDEX) ? DRIVE_CDROM_INDEX : 0;
    while (taken(s, d->iface, index)) index++;
    if (index >= places(d->iface))
        return err_set(e, E_INVAL, "--drive '%s': %s has %d places, all taken", d->spec,
                       if_names[d->iface], places(d->iface));
    d->index = index;
    return 0;
}

static int add_cdrom(struct drive_set *s, const char *path, struct err *e)
{
    struct drive *d = &s->drive[s->count];
    if (!*path) return err_set(e, E_INVAL, "--cdrom: no file given");
    *d = (struct drive){
        .spec = path, .path = strdup(path), .cdrom = true, .readonly = true, .index = -1};
    if (!d->path) return err_set(e, E_NOMEM, "--cdrom '%s'", path);
    s->count++;
    return 0;
}

int drive_set_init(struct drive_set *s, const struct ring3_config *cfg, struct err *e)
{
    int rc = 0;
    s->count = 0;
    for (u32 i = 0; i < cfg->drives && rc == 0; i++) {
        rc = drive_parse(&s->drive[s->count], cfg->drive[i], e);
        if (rc == 0) s->count++;
    }
    if (rc == 0 && cfg->cdrom) rc = add_cdrom(s, cfg->cdrom, e);
    for (u32 i = 0; i < s->count && rc == 0; i++) rc = check_place(s, i, e);
    /* CD-ROM drives first: theirs is the one place a disk should leave free */
    for (u32 i = 0; i < s->count && rc == 0; i++)
        if (s->drive[i].cdrom) rc = find_place(s, &s->drive[i], e);
    for (u32 i = 0; i < s->count && rc == 0; i++) rc = find_place(s, &s->drive[i], e);
    if (rc < 0) drive_set_fini(s);
    return rc;
}

void drive_set_fini(struct drive_set *s)
{
    for (u32 i = 0; i < s->count; i++) drive_fini(&s->drive[i]);
    s->count = 0;
}

/* ---- boot order ------------------------------------------------------------------------------ */

static int parse_order(struct boot_order *out, const char *text, size_t len)
{
    if (!len || len > BOOT_ORDER_MAX) return -1;
    for (size_t i = 0; i < len; i++) {
        if (!strchr("acdn", text[i]) || memchr(text, text[i], i)) return -1;
    }
    memset(out->order, 0, sizeof out->order);
    memcpy(out->order, text, len);
    return 0;
}

int boot_order_parse(struct boot_order *out, const char *spec, struct err *e)
{
    *out = (struct boot_order){.order = "cdn"};
    if (spec && !*spec) return err_set(e, E_INVAL, "--boot '': neither order= nor menu=");
    for (const char *at = spec; at && *at;) {
        size_t len = strcspn(at, ",");
        int rc = -1;
        if (!strncmp(at, "order=", 6)) rc = parse_order(out, at + 6, len - 6);
        else if (len == 7 && !strncmp(at, "menu=on", 7)) rc = 0, out->menu = true;
        else if (len == 8 && !strncmp(at, "menu=off", 8)) rc = 0, out->menu = false;
        if (rc < 0)
            return err_set(e, E_INVAL,
                           "--boot '%s': '%.*s' is neither order= with letters of a, c, d, n nor "
                           "menu=on|off",
                           spec, (int)len, at);
        at += len;
        if (*at == ',') at++;
    }
    return 0;
}

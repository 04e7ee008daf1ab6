/* display - which back end a specification means: see display.h. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/display_internal.h"

static const struct display_class none_class = {.name = "none"};
static const struct display_class *const classes[] = {&none_class, &display_text_class,
                                                      &display_vnc_class, &display_png_class};

/* The class of @spec and its argument (NULL: it has none). */
static const struct display_class *find(const char *spec, const char **arg)
{
    for (u32 i = 0; i < ARRAY_LEN(classes); i++) {
        const struct display_class *c = classes[i];
        size_t n = strlen(c->name);
        *arg = c->separator ? spec + n + 1 : NULL;
        if (strncmp(spec, c->name, n) == 0 && spec[n] == c->separator) return c;
    }
    return NULL;
}

static const struct display_class *lookup(const char *spec, const char **arg, struct err *e)
{
    const struct display_class *c = find(spec, arg);
    if (!c) err_set(e, E_INVAL, "display '%s': not one of none, text, vnc=ADDRESS, png:FILE", spec);
    else if (*arg && !**arg)
        err_set(e, E_INVAL, "display '%s': %s is missing", spec,
                c->separator == '=' ? "the address" : "the file");
    else return c;
    return NULL;
}

int display_spec_check(const char *spec, struct err *e)
{
    const char *arg;
    if (!spec) return 0;
    const struct display_class *c = lookup(spec, &arg, e);
    if (!c) return e->code;
    return c->check ? c->check(arg, e) : 0;
}

bool display_is(const char *spec, const char *kind)
{
    const char *arg;
    const struct display_class *c = find(spec ? spec : "none", &arg);
    return c && strcmp(c->name, kind) == 0;
}

bool display_socket(const char *spec, char *path, size_t bytes)
{
    struct vnc_addr a;
    const char *arg;
    if (!display_is(spec, "vnc") || !find(spec, &arg)) return false;
    if (vnc_addr_parse(arg, &a, NULL) < 0 || !a.path[0]) return false;
    snprintf(path, bytes, "%s", a.path);
    return true;
}

int display_open(struct display **out, const char *spec, struct loop *l,
                 const struct display_events *ev, struct err *e)
{
    const char *arg;
    const struct display_class *c = lookup(spec ? spec : "none", &arg, e);
    *out = NULL;
    if (!c) return e->code;
    if (c == &none_class) return 0;
    struct display *d = calloc(1, sizeof *d);
    if (!d) return err_set(e, E_NOMEM, "display '%s'", spec);
    *d = (struct display){.cls = c, .loop = l, .ev = *ev};
    int rc = c->open(d, arg, e);
    if (rc < 0) {
        free(d);
        return rc;
    }
    *out = d;
    return 0;
}

void display_close(struct display *d)
{
    if (!d) return;
    d->cls->close(d);
    free(d);
}

void display_start(struct display *d)
{
    if (d && d->cls->start) d->cls->start(d);
}

u32 display_wants(const struct display *d) { return d ? d->cls->wants : 0; }
bool display_looks(const struct display *d) { return d && d->cls->looks && d->cls->looks(d); }
bool display_keeps(const struct display *d) { return d && d->cls->keeps; }

void display_update(struct display *d, const struct pixmap *p, const struct text_screen *t)
{
    if (d) d->cls->update(d, p, t);
}

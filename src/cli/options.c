/* options - parsing and describing the options of `ring3 run`; every fact about one is a row of
 * options.def. */
#include "cli/options.h"

#include <string.h>

#include "base/limits.h"
#include "base/trace.h"
#include "cli/number.h"

/* Gives the option's field its value; @text is "" for a flag. */
typedef int set_fn(struct run_options *o, void *field, const char *text, struct err *e);

enum group {
#define GROUP(id, heading) id,
#include "cli/group.def"
#undef GROUP
    GROUPS,
};
static const char *const headings[] = {
#define GROUP(id, heading) heading,
#include "cli/group.def"
#undef GROUP
};
struct option_row {
    const char *name, *alias, *arg;
    enum group group;
    set_fn *set;
    size_t field;
    const char *help;
};
/* ---- setters --------------------------------------------------------------------------------- */

static int set_text(struct run_options *o, void *field, const char *text, struct err *e)
{
    (void)o, (void)e;
    *(const char **)field = text;
    return 0;
}

static int set_flag(struct run_options *o, void *field, const char *text, struct err *e)
{
    (void)o, (void)text, (void)e;
    *(bool *)field = true;
    return 0;
}

static int set_memory(struct run_options *o, void *field, const char *text, struct err *e)
{
    (void)field;
    return number_size("--memory", text, &o->cfg.memory_bytes, e);
}

static int set_u32(const char *what, const char *text, u32 max, u32 *out, struct err *e)
{
    u64 n = 0;
    int rc = number_u64(what, text, (struct number_range){1, max}, &n, e);
    if (rc == 0) *out = (u32)n;
    return rc;
}

static int set_cpus(struct run_options *o, void *field, const char *text, struct err *e)
{
    (void)o;
    return set_u32("--cpus", text, VCPUS_MAX, field, e);
}

static int set_seconds(struct run_options *o, void *field, const char *text, struct err *e)
{
    enum { YEAR_S = 365 * 24 * 3600 };
    (void)o;
    return set_u32("--timeout", text, YEAR_S, field, e);
}

static int set_model(struct run_options *o, void *field, const char *text, struct err *e)
{
    if (!strcmp(text, "help")) o->list = LIST_MODELS;
    for (u32 i = 0; ring3_cpu_model_name(i); i++) {
        if (!strcmp(text, ring3_cpu_model_name(i))) return set_text(o, field, text, e);
    }
    if (o->list) return 0;
    return err_set(e, E_INVAL, "--cpu '%s': unknown model (--cpu help lists them)", text);
}

static int set_engine(struct run_options *o, void *field, const char *text, struct err *e)
{
    (void)set_text(o, field, text, e);
    if (!strcmp(text, "auto")) return 0;
    for (u32 i = 0; ring3_engine_name(i); i++) {
        if (!strcmp(text, ring3_engine_name(i))) return 0;
    }
    return err_set(e, E_INVAL, "--engine '%s': unknown engine ('ring3 doctor' lists them)", text);
}

/* Names appear in messages and, later, in paths. */
static int set_name(struct run_options *o, void *field, const char *text, struct err *e)
{
    static const char allowed[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    size_t n = strlen(text);
    o->name_chosen = true;
    if (n >= 1 && n <= 63 && strspn(text, allowed) == n && *text != '-' && *text != '.')
        return set_text(o, field, text, e);
    return err_set(e, E_INVAL,
                   "--name '%s': must be 1 to 63 letters, digits, '.', '_' or '-', not starting "
                   "with '.' or '-'",
                   text);
}

static int set_drive(struct run_options *o, void *field, const char *text, struct err *e)
{
    (void)field;
    if (o->cfg.drives == RING3_DRIVES_MAX)
        return err_set(e, E_INVAL, "--drive '%s': more than %d drives", text, RING3_DRIVES_MAX);
    o->cfg.drive[o->cfg.drives++] = text;
    return 0;
}

static int set_stats(struct run_options *o, void *field, const char *text, struct err *e)
{
    (void)o;
    enum stats_form *form = field;
    *form = !*text ? STATS_TEXT : STATS_JSON;
    if (!*text || !strcmp(text, "json")) return 0;
    return err_set(e, E_INVAL, "--stats '%s': only json", text);
}

static int set_dump(struct run_options *o, void *field, const char *text, struct err *e)
{
    static const char letters[] = "bmx"; /* bit n of the field: letter n */
    u8 *what = field;
    (void)o;
    *what = *text ? 0 : (1 << (sizeof letters - 1)) - 1;
    for (const char *at = text; *at; at += at[1] == ',' && at[2] ? 2 : 1) {
        const char *found = strchr(letters, *at);
        if (!found || (at[1] && (at[1] != ',' || !at[2])))
            return err_set(e, E_INVAL, "--dump '%s': b, m and x with commas", text);
        *what |= (u8)(1 << (found - letters));
    }
    return 0;
}

static int set_trace(struct run_options *o, void *field, const char *text, struct err *e)
{
    if (!strcmp(text, "help")) {
        o->list = LIST_EVENTS;
        return 0;
    }
    int rc = trace_mask_parse(text, field, e);
    return rc < 0 ? err_wrap(e, "--trace") : rc;
}

static const struct option_row rows[] = {
#define OPTION(name, alias, arg, group, set, field, help)                                          \
    {name, alias, arg, group, set, offsetof(struct run_options, field), help},
#include "cli/options.def"
#undef OPTION
};

/* ---- parsing --------------------------------------------------------------------------------- */

static bool has_name(const struct option_row *r, const char *name, size_t n)
{
    return (strlen(r->name) == n && !memcmp(r->name, name, n)) ||
           (n && strlen(r->alias) == n && !memcmp(r->alias, name, n));
}

static const struct option_row *find(const char *name, size_t n)
{
    for (u32 i = 0; i < ARRAY_LEN(rows); i++) {
        if (has_name(&rows[i], name, n)) return &rows[i];
    }
    return NULL;
}

static int unknown(const char *arg, const char *name, size_t n, struct err *e)
{
    char given[64] = "";
    u32 best = UINT32_MAX, at = 0;
    if (n < sizeof given) memcpy(given, name, n);
    for (u32 i = 0; i < ARRAY_LEN(rows) && n < sizeof given; i++) {
        u32 d = number_distance(given, rows[i].name);
        if (d < best) best = d, at = i;
    }
    if (best <= 1 + n / 3)
        return err_set(e, E_INVAL, "%s: unknown option (did you mean --%s?)", arg, rows[at].name);
    return err_set(e, E_INVAL, "%s: unknown option ('ring3 run --help' lists them)", arg);
}

/* argv[0] and, for an option that needs one, its argument in argv[1]; returns how many were used.
 */
static int parse_one(struct run_options *o, int argc, char **argv, struct err *e)
{
    const char *name = argv[0] + 1 + (argv[0][1] == '-');
    size_t n = strcspn(name, "=");
    const char *value = name[n] ? name + n + 1 : NULL;
    if (argv[0][0] != '-' || !*name) return err_set(e, E_INVAL, "'%s': not an option", argv[0]);
    const struct option_row *r = find(name, n);
    if (!r) return unknown(argv[0], name, n, e);
    int used = 1;
    if (!*r->arg && value) return err_set(e, E_INVAL, "--%s takes no argument", r->name);
    if (*r->arg && *r->arg != '[' && !value) {
        if (argc < 2) return err_set(e, E_INVAL, "--%s needs an argument: %s", r->name, r->arg);
        value = argv[used++];
    }
    int rc = r->set(o, (char *)o + r->field, value ? value : "", e);
    return rc < 0 ? rc : used;
}

int options_parse(struct run_options *o, int argc, char **argv, struct err *e)
{
    *o = (struct run_options){.stats = STATS_NONE};
    ring3_config_init(&o->cfg);
    for (int i = 0; i < argc;) {
        int used = parse_one(o, argc - i, argv + i, e);
        if (used < 0) return used;
        i += used;
    }
    return 0;
}

/* ---- describing ------------------------------------------------------------------------------ */

static void print_row(const struct option_row *r, FILE *to)
{
    char left[64];
    bool joined = *r->arg == '[';
    snprintf(left, sizeof left, "--%s%s%s%s%s", r->name, *r->arg && !joined ? " " : "", r->arg,
             *r->alias ? ", -" : "", r->alias);
    fprintf(to, "  %-24s %s\n", left, r->help);
}

void options_statuses(FILE *to)
{
    static const struct {
        int value;
        const char *meaning;
    } table[] = {
#define STATUS(id, value, meaning) {value, meaning},
#include "cli/exit.def"
#undef STATUS
    };
    fprintf(to, "\nExit status:\n");
    for (u32 i = 0; i < ARRAY_LEN(table); i++)
        fprintf(to, "  %3d  %s\n", table[i].value, table[i].meaning);
    fprintf(to, "  With --debug-exit: the status the guest chose.\n");
}

void options_help(FILE *to)
{
    fprintf(to, "Usage: ring3 run [options]\nBoot a kernel, firmware or a disk in a new virtual "
                "machine.\n");
    for (u32 g = 0; g < GROUPS; g++) {
        fprintf(to, "\n%s:\n", headings[g]);
        for (u32 i = 0; i < ARRAY_LEN(rows); i++) {
            if (rows[i].group == g) print_row(&rows[i], to);
        }
    }
    fprintf(to, "\nOn a terminal the console is raw: Ctrl-A x leaves, Ctrl-A h shows help.\n");
    options_statuses(to);
}

void options_list(enum option_list list, FILE *to)
{
    if (list == LIST_MODELS) {
        for (u32 i = 0; ring3_cpu_model_name(i); i++) fprintf(to, "%s\n", ring3_cpu_model_name(i));
    }
    for (u32 i = 0; list == LIST_EVENTS && i < TRACE_EVENTS; i++)
        fprintf(to, "%-10s %s\n", trace_name((enum trace_event)i), trace_help((enum trace_event)i));
}

/* names - rules about single tokens: calls, keywords, macros, conditional compilation; and about
 * includes. */
#include "lint.h"

#include <stdlib.h>
#include <string.h>

static bool starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* Does @path start with one of the blank-separated @prefixes? */
static bool path_in(const char *path, const char *prefixes)
{
    for (const char *p = prefixes; *p;) {
        size_t n = strcspn(p, " ");
        if (strncmp(path, p, n) == 0) return true;
        p += n + strspn(p + n, " ");
    }
    return false;
}

static void check_call(struct lint *l, const struct file *f, const struct token *t)
{
    static const struct {
        const char *name, *except, *why;
    } calls[] = {
#define CALL(name, except, why) {name, except, why},
#include "calls.def"
#undef CALL
    };
    if (t > f->token && (token_is(t - 1, ".") || token_is(t - 1, "->"))) return;
    if (!token_is(t + 1, "(")) return;
    for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
        if (token_is(t, calls[i].name) && !path_in(f->path, calls[i].except))
            report(l, (struct place){f, t->line, calls[i].name}, "call", "%s(): %s", calls[i].name,
                   calls[i].why);
    }
}

/* fprintf(stderr, ...) and fputs(..., stdout) print as much as printf does. */
static void check_stream(struct lint *l, const struct file *f, const struct token *t)
{
    if ((token_is(t, "stdout") || token_is(t, "stderr")) && !path_in(f->path, "src/cli/ src/api/"))
        report(l, (struct place){f, t->line, "stdio"}, "call", "only cli/ and api/ print");
}

static void check_define(struct lint *l, const struct file *f, const struct token *name)
{
    if (name->len == 1)
        report(l, (struct place){f, name->line, NULL}, "macro", "single-letter macro %c",
               *name->at);
}

/* #if and friends: in base/ and around whole headers only, never inside a function. */
static void check_condition(struct lint *l, const struct file *f, const struct token *t, int depth)
{
    bool guard = f->is_header && token_is(t, "ifndef") && t == f->token + 1;
    if (depth > 0)
        report(l, (struct place){f, t->line, NULL}, "ifdef",
               "conditional compilation inside braces");
    else if (!guard && !path_in(f->path, "src/base/"))
        report(l, (struct place){f, t->line, NULL}, "ifdef",
               "conditional compilation outside base/");
}

static void check_directive(struct lint *l, const struct file *f, const struct token *t, int depth)
{
    if (token_is(t, "define")) check_define(l, f, t + 1);
    if (token_is(t, "if") || token_is(t, "ifdef") || token_is(t, "ifndef"))
        check_condition(l, f, t, depth);
}

void check_names(struct lint *l, const struct file *f)
{
    int depth = 0;
    for (const struct token *t = f->token; t->kind != T_END; t++) {
        if (!t->directive) depth += token_is(t, "{") ? 1 : token_is(t, "}") ? -1 : 0;
        if (t->starts && f->in_src) check_directive(l, f, t + 1, depth);
        if (t->kind != T_NAME) continue;
        if (token_is(t, "extern") && !f->is_header && !f->is_test && !t->directive)
            report(l, (struct place){f, t->line, NULL}, "extern",
                   "declarations belong in a header");
        if (!f->in_src || f->is_test) continue;
        check_call(l, f, t);
        check_stream(l, f, t);
    }
}

/* ---- includes
 * ------------------------------------------------------------------------------------ */

struct layer {
    const char *name, *may;
    bool transitive;
};
static const struct layer layers[] = {
#define LAYER(name, may, transitive) {name, may, transitive},
#include "layers.def"
#undef LAYER
};

static const struct layer *find_layer(const char *name, size_t len)
{
    for (size_t i = 0; i < sizeof layers / sizeof layers[0]; i++) {
        if (strlen(layers[i].name) == len && strncmp(layers[i].name, name, len) == 0)
            return &layers[i];
    }
    return NULL;
}

/* The table has no cycle, so this ends. */
static bool may_include(const struct layer *from, const struct layer *to)
{
    for (const char *p = from->may; *p;) {
        size_t n = strcspn(p, " ");
        const struct layer *mid = find_layer(p, n);
        if (mid == to || (mid && from->transitive && may_include(mid, to))) return true;
        p += n + strspn(p + n, " ");
    }
    return false;
}

/* engine/interp and engine/bt are siblings; engine/common serves them all. */
static bool engine_siblings(const char *path, const char *target)
{
    const char *mine = path + strlen("src/");
    size_t n = strlen("engine/");
    if (strncmp(target, "engine/", n) != 0 || starts_with(target, "engine/common/")) return false;
    size_t part = n + strcspn(mine + n, "/") + 1;
    return strncmp(mine, target, part) != 0;
}

static void check_include(struct lint *l, const struct file *f, const struct token *t)
{
    char target[256];
    size_t len = t->len - 2 < sizeof target ? t->len - 2 : sizeof target - 1;
    memcpy(target, t->at + 1, len);
    target[len] = 0;
    const char *folder = f->path + strlen("src/");
    const struct layer *from = find_layer(folder, strcspn(folder, "/"));
    const struct layer *to = find_layer(target, strcspn(target, "/"));
    if (strcmp(target, "ring3.h") == 0) return;
    if (!strchr(target, '/') || !to)
        report(l, (struct place){f, t->line, target}, "include",
               "\"%s\": name the folder of src/ first", target);
    else if (from && to != from && !may_include(from, to))
        report(l, (struct place){f, t->line, target}, "include", "%s/ may not include %s",
               from->name, target);
    else if (from == to && engine_siblings(f->path, target))
        report(l, (struct place){f, t->line, target}, "include",
               "engines never include each other: %s", target);
}

void check_includes(struct lint *l, const struct file *f)
{
    if (!f->in_src || f->is_test) return;
    const char *folder = f->path + strlen("src/");
    if (!find_layer(folder, strcspn(folder, "/")))
        report(l, (struct place){f, 1, NULL}, "include", "a folder layers.def does not know");
    for (const struct token *t = f->token; t->kind != T_END; t++) {
        if (!t->starts || !token_is(t + 1, "include") || t[2].kind != T_STRING) continue;
        if (*t[2].at == '"') check_include(l, f, t + 2);
        if (token_is(t + 2, "<linux/kvm.h>") && !starts_with(f->path, "src/engine/kvm/"))
            report(l, (struct place){f, t->line, "kvm.h"}, "include",
                   "only engine/kvm names KVM's interface");
    }
}

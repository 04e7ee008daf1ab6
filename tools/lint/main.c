/* main - ring3-lint ALLOW-FILE SOURCE...: check every source, print findings, exit 1 when there are
 * any. Paths are relative to the root of the tree. Tests are exempt from size limits and from the
 * include rule. */
#include "lint.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXCEPTIONS_MAX = 256 };
struct exception {
    char rule[32], place[200];
    int line;
    bool used;
};
struct lint {
    struct exception exception[EXCEPTIONS_MAX];
    int exceptions, findings;
    const char *allow_path;
};

static bool allowed(struct lint *l, const char *rule, const char *place)
{
    for (int i = 0; i < l->exceptions; i++) {
        struct exception *x = &l->exception[i];
        if (strcmp(x->rule, rule) != 0 || strcmp(x->place, place) != 0) continue;
        x->used = true;
        return true;
    }
    return false;
}

void report(struct lint *l, struct place at, const char *rule, const char *fmt, ...)
{
    char place[512];
    snprintf(place, sizeof place, "%s%s%s", at.file->path, at.symbol ? ":" : "",
             at.symbol ? at.symbol : "");
    if (allowed(l, rule, place)) return;
    va_list ap;
    va_start(ap, fmt);
    printf("%s:%d: %s: ", at.file->path, at.line, rule);
    vprintf(fmt, ap);
    printf("\n");
    va_end(ap);
    l->findings++;
}

static char *read_text(const char *path)
{
    FILE *in = fopen(path, "rb");
    if (!in) return NULL;
    char *text = NULL;
    size_t bytes = 0, cap = 0, n;
    do {
        if (cap - bytes < 65536) text = realloc(text, cap += 131072);
        if (!text) abort();
        n = fread(text + bytes, 1, cap - bytes - 1, in);
        bytes += n;
    } while (n > 0);
    text[bytes] = 0;
    fclose(in);
    return text;
}

static void read_exceptions(struct lint *l, const char *path)
{
    FILE *in = fopen(path, "r");
    if (!in) return;
    char line[512];
    for (int n = 1; fgets(line, sizeof line, in) && l->exceptions < EXCEPTIONS_MAX; n++) {
        struct exception *x = &l->exception[l->exceptions];
        int reason = 0;
        if (line[0] == '#' || line[0] == '\n') continue;
        *x = (struct exception){.line = n};
        if (sscanf(line, "%31s %199s %n", x->rule, x->place, &reason) == 2 && line[reason])
            l->exceptions++;
        else {
            printf("%s:%d: allow: want rule, file:symbol and a reason\n", path, n);
            l->findings++;
        }
    }
    fclose(in);
}

static void check_file(struct lint *l, const char *path)
{
    struct file f = {.path = path, .text = read_text(path)};
    const size_t n = strlen(path);
    if (!f.text) {
        report(l, (struct place){&f, 1, NULL}, "file", "cannot be read");
        return;
    }
    f.in_src = strncmp(path, "src/", 4) == 0;
    f.is_header = n > 2 && strcmp(path + n - 2, ".h") == 0;
    f.is_test = strncmp(path, "tests/", 6) == 0 || strncmp(path, "guest/", 6) == 0 ||
                strncmp(path, "bench/", 6) == 0 ||
                (n > 7 && strncmp(path + n - 7, "_test.", 6) == 0);
    lex(&f);
    check_text(l, &f);
    check_names(l, &f);
    check_includes(l, &f);
    if (!f.is_test) check_declarations(l, &f);
    free(f.token);
    free(f.comment);
    free(f.text);
}

int main(int argc, char **argv)
{
    struct lint l = {0};
    if (argc < 2) {
        fprintf(stderr, "usage: ring3-lint ALLOW-FILE SOURCE...\n");
        return 2;
    }
    l.allow_path = argv[1];
    read_exceptions(&l, argv[1]);
    for (int i = 2; i < argc; i++) check_file(&l, argv[i]);
    for (int i = 0; i < l.exceptions; i++) {
        if (l.exception[i].used) continue;
        printf("%s:%d: allow: '%s %s' matches nothing any more\n", l.allow_path,
               l.exception[i].line, l.exception[i].rule, l.exception[i].place);
        l.findings++;
    }
    return l.findings > 0;
}

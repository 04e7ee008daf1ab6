/* text - rules about lines and comments: lengths and open ends. */
#include "lint.h"

#include <ctype.h>
#include <string.h>

/* Columns of a line of UTF-8: bytes that continue a character do not count. */
static int columns(const char *s, size_t bytes)
{
    int n = 0;
    for (size_t i = 0; i < bytes; i++) n += ((unsigned char)s[i] & 0xc0) != 0x80;
    return n;
}

static bool has_reason(const struct file *f)
{
    const struct token *c = &f->comment[0];
    if (c->kind != T_COMMENT || c->line > 1) return false;
    const char *why = strstr(c->at, "Longer than 600 lines because");
    return why && why < c->at + c->len;
}

static void check_lines(struct lint *l, const struct file *f)
{
    int lines = 0;
    for (const char *s = f->text; *s; lines++) {
        size_t bytes = strcspn(s, "\n");
        int n = columns(s, bytes);
        if (n > COLUMNS_MAX)
            report(l, (struct place){f, lines + 1, NULL}, "columns", "%d columns, at most %d", n,
                   COLUMNS_MAX);
        s += bytes + (s[bytes] == '\n');
    }
    int most = f->is_header    ? HEADER_LINES_MAX
               : has_reason(f) ? REASONED_LINES_MAX
                               : FILE_LINES_MAX;
    if (lines > most && !f->is_test)
        report(l, (struct place){f, lines, NULL}, "file-lines", "%d lines, at most %d", lines,
               most);
}

/* "TODO #12" and "TODO(#12)" carry an issue number. */
static bool has_issue(const char *after)
{
    after += strspn(after, " (");
    return after[0] == '#' && isdigit((unsigned char)after[1]);
}

static void check_open_ends(struct lint *l, const struct file *f, const struct token *comment)
{
    static const char *const marks[] = {"TODO", "FIXME", "XXX", "HACK"};
    int line = comment->line;
    for (const char *s = comment->at; s < comment->at + comment->len; s++) {
        line += *s == '\n';
        if (isalnum((unsigned char)s[-1]) || s[-1] == '_') continue;
        for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
            size_t n = strlen(marks[i]);
            if (strncmp(s, marks[i], n) != 0 || isalnum((unsigned char)s[n])) continue;
            if (!has_issue(s + n))
                report(l, (struct place){f, line, NULL}, "todo", "%s without an issue number (#N)",
                       marks[i]);
        }
    }
}

void check_text(struct lint *l, const struct file *f)
{
    check_lines(l, f);
    for (const struct token *c = f->comment; c->kind != T_END; c++) {
        if (c->at > f->text) check_open_ends(l, f, c);
    }
}

/* lex - C tokens, comments apart, preprocessor lines marked. Good enough for code a compiler has
 * accepted. */
#include "lint.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct lexer {
    const char *at;
    int line;
    bool directive, line_start;
};

bool token_is(const struct token *t, const char *text)
{
    return strlen(text) == t->len && memcmp(t->at, text, t->len) == 0;
}

bool token_starts(const struct token *t, const char *prefix)
{
    return t->len >= strlen(prefix) && memcmp(t->at, prefix, strlen(prefix)) == 0;
}

/* Skip blanks and line ends; a line end not escaped by a backslash ends a directive. */
static void skip_blanks(struct lexer *x)
{
    for (; isspace((unsigned char)*x->at) || *x->at == '\\'; x->at++) {
        bool escaped = *x->at == '\\' && x->at[1] == '\n';
        if (escaped) x->at++;
        if (*x->at != '\n') continue;
        x->line++;
        if (escaped) continue;
        x->directive = false;
        x->line_start = true;
    }
}

static size_t comment_len(const char *s)
{
    if (s[1] == '/') return strcspn(s, "\n");
    const char *end = strstr(s + 2, "*/");
    return end ? (size_t)(end + 2 - s) : strlen(s);
}

static size_t quoted_len(const char *s)
{
    const char quote = *s == '<' ? '>' : *s;
    size_t n = 1;
    while (s[n] && s[n] != quote && s[n] != '\n') n += s[n] == '\\' && s[n + 1] ? 2 : 1;
    return s[n] == quote ? n + 1 : n;
}

static size_t word_len(const char *s)
{
    size_t n = 0;
    while (isalnum((unsigned char)s[n]) || s[n] == '_') n++;
    return n;
}

static struct token next(struct lexer *x, const struct token *prev)
{
    skip_blanks(x);
    struct token t = {.kind = T_PUNCT, .at = x->at, .line = x->line, .len = 1};
    const char c = *x->at;
    bool include = prev && prev->directive && token_is(prev, "include");
    if (!c) t = (struct token){.kind = T_END, .at = x->at, .line = x->line};
    else if (c == '/' && (x->at[1] == '*' || x->at[1] == '/'))
        t.kind = T_COMMENT, t.len = comment_len(x->at);
    else if (c == '"' || c == '\'' || (c == '<' && include))
        t.kind = T_STRING, t.len = quoted_len(x->at);
    else if (isdigit((unsigned char)c)) t.kind = T_NUMBER, t.len = word_len(x->at);
    else if (isalpha((unsigned char)c) || c == '_') t.kind = T_NAME, t.len = word_len(x->at);
    else if (c == '-' && x->at[1] == '>') t.len = 2;
    else if (c == '#' && x->line_start) t.starts = x->directive = true;
    t.directive = x->directive;
    if (t.kind != T_COMMENT) x->line_start = false;
    for (size_t i = 0; i < t.len; i++) x->line += x->at[i] == '\n';
    x->at += t.len;
    return t;
}

void lex(struct file *f)
{
    struct lexer x = {.at = f->text, .line = 1, .line_start = true};
    const size_t most = strlen(f->text) + 1;
    f->token = calloc(most, sizeof *f->token);
    f->comment = calloc(most, sizeof *f->comment);
    if (!f->token || !f->comment) abort();
    size_t comments = 0;
    for (;;) {
        struct token t = next(&x, f->tokens ? &f->token[f->tokens - 1] : NULL);
        if (t.kind == T_COMMENT) {
            f->comment[comments++] = t;
            continue;
        }
        f->token[f->tokens++] = t;
        if (t.kind != T_END) continue;
        f->comment[comments] = t;
        return;
    }
}

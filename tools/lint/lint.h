/* lint.h - the style rules of the project that a compiler does not check.
 * lex.c cuts a file into tokens; text.c looks at lines, names.c at single tokens, parse.c at
 * declarations and functions; main.c reads files, applies allow.txt and prints `path:line: rule:
 * message`. */
#ifndef LINT_H
#define LINT_H
#include <stdbool.h>
#include <stddef.h>

enum limit {
    FUNCTION_LINES_MAX = 60,
    PARAMS_MAX = 5,
    NESTING_MAX = 3,
    FILE_LINES_MAX = 600,
    REASONED_LINES_MAX = 900, /* with "Longer than 600 lines because" in the opening comment */
    HEADER_LINES_MAX = 150,
    COLUMNS_MAX = 100,
};

enum token_kind { T_NAME, T_NUMBER, T_STRING, T_PUNCT, T_COMMENT, T_END };
struct token {
    enum token_kind kind;
    const char *at; /* points into the file's text */
    size_t len;
    int line;
    bool directive; /* inside a preprocessor line */
    bool starts;    /* the '#' of a directive */
};

struct file {
    const char *path;    /* from the root of the tree */
    char *text;          /* terminated */
    struct token *token; /* code only, ends with T_END */
    size_t tokens;
    struct token *comment; /* ends with T_END */
    bool in_src, is_test, is_header;
};

struct lint; /* main.c: exceptions and the count of findings */

/* Where a finding is; @symbol (may be NULL) is what allow.txt names behind the path. */
struct place {
    const struct file *file;
    int line;
    const char *symbol;
};
/* main.c: print one finding, unless allow.txt excepts it. */
void report(struct lint *l, struct place at, const char *rule, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* lex.c: fill f->token and f->comment from f->text. */
void lex(struct file *f);
bool token_is(const struct token *t, const char *text);
bool token_starts(const struct token *t, const char *prefix);

/* The rules. */
void check_text(struct lint *l, const struct file *f);
void check_names(struct lint *l, const struct file *f);
void check_includes(struct lint *l, const struct file *f);
void check_declarations(struct lint *l, const struct file *f);
#endif

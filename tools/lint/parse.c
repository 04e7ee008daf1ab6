/* parse - rules about declarations and functions: lengths, parameters, nesting, mutable variables.
 * A cursor walks the tokens that are not preprocessor lines. */
#include "lint.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct cursor {
    struct lint *l;
    const struct file *f;
    const struct token *t;
    int deepest; /* of the function being read */
    const char *function;
};

static void skip_directives(struct cursor *c)
{
    while (c->t->directive && c->t->kind != T_END) c->t++;
}
static void step(struct cursor *c)
{
    if (c->t->kind != T_END) c->t++;
    skip_directives(c);
}
static bool at(const struct cursor *c, const char *text) { return token_is(c->t, text); }
static bool at_end(const struct cursor *c) { return c->t->kind == T_END; }
static bool opens(const struct token *t)
{
    return token_is(t, "(") || token_is(t, "[") || token_is(t, "{");
}
static bool closes(const struct token *t)
{
    return token_is(t, ")") || token_is(t, "]") || token_is(t, "}");
}

/* From an opening bracket to behind its partner. */
static void skip_group(struct cursor *c)
{
    int depth = 0;
    do {
        depth += opens(c->t) ? 1 : closes(c->t) ? -1 : 0;
        step(c);
    } while (depth > 0 && !at_end(c));
}

/* The next token that is not in a preprocessor line. */
static const struct token *after(const struct cursor *c)
{
    struct cursor ahead = *c;
    step(&ahead);
    return ahead.t;
}

static void name_of(const struct token *t, char *out, size_t bytes)
{
    size_t n = t->len < bytes ? t->len : bytes - 1;
    memcpy(out, t->at, n);
    out[n] = 0;
}

/* ---- variables
 * ----------------------------------------------------------------------------------- */

/* One declaration, up to the name's end: what decides whether it can change. */
struct decl {
    const struct token *type, *name, *last_star; /* type: the name before the last one */
    bool is_const, star_const, is_typedef;
};

static void note_token(struct decl *d, const struct token *t)
{
    if (token_is(t, "typedef") || token_is(t, "static_assert") || token_is(t, "_Static_assert"))
        d->is_typedef = true;
    if (token_is(t, "const")) {
        d->is_const = true;
        if (d->last_star) d->star_const = true;
    }
    if (token_is(t, "*")) {
        d->last_star = t;
        d->star_const = false;
    }
    if (t->kind == T_NAME) {
        d->type = d->name;
        d->name = t;
    }
}

/* `some_fn name;` declares a function when the type is named like a function type. */
static bool is_function_type(const struct token *type)
{
    return type && type->kind == T_NAME && type->len > 3 &&
           token_is(&(struct token){.at = type->at + type->len - 3, .len = 3}, "_fn");
}

static void check_variable(struct cursor *c, const struct decl *d)
{
    char name[128];
    if (d->is_typedef || !d->name) return;
    if (!d->last_star && is_function_type(d->type)) return;
    if (d->last_star ? d->star_const : d->is_const) return;
    name_of(d->name, name, sizeof name);
    report(c->l, (struct place){c->f, d->name->line, name}, "global",
           "'%s' is mutable and outlives its machine: make it const or a field", name);
}

/* From `=`, `[`, `,` or `;` behind a variable's name to behind its `;`. */
static void skip_to_semicolon(struct cursor *c)
{
    while (!at_end(c) && !at(c, ";")) {
        if (opens(c->t)) skip_group(c);
        else step(c);
    }
    step(c);
}

/* ---- statements
 * ---------------------------------------------------------------------------------- */

static void statement(struct cursor *c, int depth);

static void nested(struct cursor *c, int depth)
{
    if (depth > c->deepest) c->deepest = depth;
    statement(c, depth);
}

static void if_statement(struct cursor *c, int depth)
{
    step(c);
    if (at(c, "(")) skip_group(c);
    nested(c, depth + 1);
    if (!at(c, "else")) return;
    step(c);
    if (at(c, "if")) statement(c, depth); /* a chain does not nest */
    else nested(c, depth + 1);
}

static void loop_statement(struct cursor *c, int depth)
{
    bool is_do = at(c, "do");
    step(c);
    if (!is_do && at(c, "(")) skip_group(c);
    nested(c, depth + 1);
    if (is_do) skip_to_semicolon(c);
}

static void static_local(struct cursor *c)
{
    struct decl d = {0};
    for (; !at_end(c) && !at(c, "=") && !at(c, "[") && !at(c, ";"); step(c)) {
        if (at(c, "{")) {
            skip_group(c); /* an unnamed struct's fields; its closing brace is behind us */
            d = (struct decl){.is_const = d.is_const};
        }
        note_token(&d, c->t);
        if (at(c, "=") || at(c, "[") || at(c, ";")) break;
    }
    check_variable(c, &d);
    skip_to_semicolon(c);
}

static void block(struct cursor *c, int depth)
{
    step(c);
    while (!at_end(c) && !at(c, "}")) statement(c, depth);
    step(c);
}

/* An expression or declaration; `NAME(...) {` is a loop macro. */
static void plain_statement(struct cursor *c, int depth)
{
    bool macro = c->t->kind == T_NAME && !at(c, "return") && token_is(after(c), "(");
    if (macro) {
        step(c);
        skip_group(c);
        if (at(c, "{")) {
            nested(c, depth + 1);
            return;
        }
    }
    skip_to_semicolon(c);
}

static bool is_label(const struct cursor *c)
{
    return c->t->kind == T_NAME && token_is(after(c), ":");
}

static void statement(struct cursor *c, int depth)
{
    if (at(c, "{")) block(c, depth);
    else if (at(c, "if")) if_statement(c, depth);
    else if (at(c, "for") || at(c, "while") || at(c, "switch") || at(c, "do"))
        loop_statement(c, depth);
    else if (at(c, "static")) static_local(c);
    else if (at(c, "case")) {
        while (!at_end(c) && !at(c, ":")) step(c);
        step(c);
    } else if (is_label(c)) {
        step(c);
        step(c);
    } else plain_statement(c, depth);
}

/* ---- functions and file scope
 * -------------------------------------------------------------------- */

static int count_params(struct cursor c)
{
    int params = 1, depth = 0;
    const struct token *first = after(&c);
    if (token_is(first, ")")) return 0;
    do {
        if (depth == 1 && at(&c, ",")) params++;
        depth += opens(c.t) ? 1 : closes(c.t) ? -1 : 0;
        step(&c);
    } while (depth > 0 && !at_end(&c));
    return params;
}

static void function(struct cursor *c, const struct token *name, int params)
{
    char symbol[128];
    name_of(name, symbol, sizeof symbol);
    c->deepest = 0;
    const struct token *open = c->t;
    struct cursor end = *c;
    skip_group(&end);
    const struct token *close = end.t - 1;
    while (close > open && (close->directive || !token_is(close, "}"))) close--;
    const int lines = close->line - name->line + 1;
    block(c, 0);
    c->t = end.t; /* whatever the statements looked like, go on behind the function */
    if (c->f->is_test) return;
    if (lines > FUNCTION_LINES_MAX)
        report(c->l, (struct place){c->f, name->line, symbol}, "function-lines",
               "%s(): %d lines, at most %d", symbol, lines, FUNCTION_LINES_MAX);
    if (params > PARAMS_MAX)
        report(c->l, (struct place){c->f, name->line, symbol}, "params",
               "%s(): %d parameters, at most %d", symbol, params, PARAMS_MAX);
    if (c->deepest > NESTING_MAX)
        report(c->l, (struct place){c->f, name->line, symbol}, "nesting",
               "%s(): nested %d deep, at most %d", symbol, c->deepest, NESTING_MAX);
}

static bool is_macro_name(const struct token *t)
{
    if (t->kind != T_NAME) return false;
    for (size_t i = 0; i < t->len; i++) {
        if (islower((unsigned char)t->at[i])) return false;
    }
    return true;
}

/* Behind the parameter list: attributes, then `{` (a definition) or `;` (a prototype). */
static void function_or_prototype(struct cursor *c, const struct token *name)
{
    int params = count_params(*c);
    skip_group(c);
    while (!at_end(c) && !at(c, "{") && !at(c, ";") && !at(c, "=")) {
        if (opens(c->t)) skip_group(c);
        else step(c);
    }
    if (at(c, "{")) function(c, name, params);
    else skip_to_semicolon(c);
}

static bool is_attribute(const struct cursor *c)
{
    return at(c, "__attribute__") || at(c, "_Alignas") || at(c, "alignas") || at(c, "asm");
}

/* One declaration or definition at file scope. */
static void external(struct cursor *c)
{
    struct decl d = {0};
    bool tag_only = false;
    while (!at_end(c) && !at(c, ";") && !at(c, "=") && !at(c, "[")) {
        if (is_attribute(c)) {
            step(c);
            if (at(c, "(")) skip_group(c);
            continue;
        }
        if (at(c, "(") && d.name && !d.is_typedef && !token_is(after(c), "*")) {
            function_or_prototype(c, d.name);
            return;
        }
        if (at(c, "{")) { /* a struct, union or enum with its fields */
            skip_group(c);
            tag_only = true;
            d.name = NULL;
            continue;
        }
        bool tag = at(c, "struct") || at(c, "union") || at(c, "enum");
        note_token(&d, c->t);
        step(c);
        if (tag && c->t->kind == T_NAME) {
            step(c);
            d.name = NULL;
            tag_only = true;
        } else if (tag) d.name = NULL;
        else if (d.name) tag_only = false;
    }
    if (!tag_only && !at_end(c)) check_variable(c, &d);
    skip_to_semicolon(c);
}

void check_declarations(struct lint *l, const struct file *f)
{
    struct cursor c = {.l = l, .f = f, .t = f->token};
    skip_directives(&c);
    while (!at_end(&c)) {
        if (is_macro_name(c.t) && token_is(after(&c), "(")) { /* a macro that declares something */
            step(&c);
            skip_group(&c);
        } else if (at(&c, ";") || closes(c.t)) step(&c);
        else external(&c);
    }
}

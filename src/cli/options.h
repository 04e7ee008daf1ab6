/* cli/options.h - the options of `ring3 run`, from options.def. */
#ifndef CLI_OPTIONS_H
#define CLI_OPTIONS_H
#include <stdio.h>

#include "base/err.h"
#include "ring3.h"

enum status {
#define STATUS(id, value, meaning) id = value,
#include "cli/exit.def"
#undef STATUS
};
enum stats_form { STATS_NONE, STATS_TEXT, STATS_JSON };
/* A list asked for instead of a machine: --cpu help, --trace help. */
enum option_list { LIST_NONE, LIST_MODELS, LIST_EVENTS };

struct run_options {
    struct ring3_config cfg; /* strings borrowed from argv */
    enum stats_form stats;
    enum option_list list;
    bool no_jail, help, name_chosen;
};

/**
 * options_parse - read @argv[0..argc) (without program and verb) over the defaults into @o. Only
 * the form is checked: no file is touched. E_INVAL with one line that names the option; an unknown
 * one suggests the nearest.
 */
int options_parse(struct run_options *o, int argc, char **argv, struct err *e) MUST_USE;
/** options_help - usage of `ring3 run`, options by group, exit statuses. */
void options_help(FILE *to);
/** options_list - what --cpu help or --trace help asked for. */
void options_list(enum option_list list, FILE *to);
/** options_statuses - the table of exit statuses. */
void options_statuses(FILE *to);
#endif

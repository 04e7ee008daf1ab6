/* main - finds the verb and does it. */
#include <stdio.h>
#include <string.h>

#include "base/types.h"
#include "cli/options.h"
#include "cli/verbs.h"

static const struct verb_row {
    const char *name;
    verb_fn *fn;
    const char *args, *help;
} verbs[] = {
#define VERB(name, fn, args, help) {name, fn, args, help},
#include "cli/verb.def"
#undef VERB
};

int verb_help(int argc, char **argv)
{
    (void)argc, (void)argv;
    printf("ring3 %s - a virtual machine monitor for x86-64\n\n", ring3_version());
    for (u32 i = 0; i < ARRAY_LEN(verbs); i++) {
        char left[64];
        snprintf(left, sizeof left, "%s %s", verbs[i].name, verbs[i].args);
        printf("  ring3 %-32s %s\n", left, verbs[i].help);
    }
    printf("\n'ring3 run --help' lists the options of run.\n");
    options_statuses(stdout);
    return STATUS_OFF;
}

int verb_version(int argc, char **argv)
{
    (void)argc, (void)argv;
    printf("ring3 %s\n", ring3_version());
    return STATUS_OFF;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    if (!strcmp(verb, "--help") || !strcmp(verb, "-h")) verb = "help";
    if (!strcmp(verb, "--version")) verb = "version";
    for (u32 i = 0; i < ARRAY_LEN(verbs); i++) {
        if (!strcmp(verb, verbs[i].name)) return verbs[i].fn(argc - 2, argv + 2);
    }
    if (*verb) fprintf(stderr, "ring3: '%s' is not a verb: 'ring3 help' lists them\n", verb);
    else fprintf(stderr, "ring3: say what to do: 'ring3 help' lists the verbs\n");
    return STATUS_USAGE;
}

/* completion - `ring3 completion`: a script for bash that completes verbs, options and names of
 * running machines; the lists are the program's own tables. */
#include <stdio.h>

#include "base/types.h"
#include "cli/options.h"
#include "cli/verbs.h"

static const char *const verb_names[] = {
#define VERB(name, fn, args, help) name,
#include "cli/verb.def"
#undef VERB
};
static const char *const option_names[] = {
#define OPTION(name, alias, arg, group, set, field, help) "--" name,
#include "cli/options.def"
#undef OPTION
};

static void print_list(const char *variable, const char *const *names, u32 count)
{
    printf("    local %s='", variable);
    for (u32 i = 0; i < count; i++) printf("%s%s", i ? " " : "", names[i]);
    printf("'\n");
}

int verb_completion(int argc, char **argv)
{
    static const char rest[] =
        "    local cur=${COMP_WORDS[COMP_CWORD]} words=\n"
        "    if [ \"$COMP_CWORD\" -eq 1 ]; then words=$verbs\n"
        "    else\n"
        "        case ${COMP_WORDS[1]}:$COMP_CWORD in\n"
        "        run:*) case $cur in -*) words=$options ;; esac ;;\n"
        "        stop:2 | keys:2 | screenshot:2)\n"
        "            words=$(\"${COMP_WORDS[0]}\" ps 2>/dev/null | awk 'NR > 1 { print $1 }') ;;\n"
        "        stop:*) words='--force --timeout' ;;\n"
        "        screenshot:*) case $cur in -*) words=--text ;; esac ;;\n"
        "        ps:*) words=--json ;;\n"
        "        esac\n"
        "    fi\n"
        "    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
        "}\n"
        "complete -o default -F _ring3 ring3\n";
    (void)argc, (void)argv;
    printf("# bash completion for ring3 %s: . <(ring3 completion)\n_ring3() {\n", ring3_version());
    print_list("verbs", verb_names, ARRAY_LEN(verb_names));
    print_list("options", option_names, ARRAY_LEN(option_names));
    printf("%s", rest);
    return STATUS_OFF;
}

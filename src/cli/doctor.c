/* doctor - `ring3 doctor`: which engines this host can run, why not where it cannot. */
#include <stdio.h>

#include "cli/options.h"
#include "cli/verbs.h"

int verb_doctor(int argc, char **argv)
{
    bool any = false;
    (void)argc, (void)argv;
    for (uint32_t i = 0; ring3_engine_name(i); i++) {
        struct ring3_error e;
        int rc = ring3_engine_probe(ring3_engine_name(i), &e);
        printf("engine %-8s %s\n", ring3_engine_name(i), rc < 0 ? e.text : "works");
        any |= rc >= 0;
    }
    return any ? STATUS_OFF : STATUS_MONITOR;
}

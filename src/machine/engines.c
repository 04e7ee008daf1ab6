/* engines.c - the engine table: which engines exist, which one a machine gets. */
#include <stdio.h>
#include <string.h>

#include "engine/bt/bt.h"
#include "engine/bt/lockstep.h"
#include "engine/interp/interp.h"
#include "engine/kvm/kvm.h"
#include "machine/machine.h"

static const struct engine *const engines[] = {
#define ENGINE(object) &object,
#include "machine/engines.def"
#undef ENGINE
};

const char *ring3_engine_name(uint32_t i)
{
    return i < ARRAY_LEN(engines) ? engines[i]->name : NULL;
}

static const struct engine *find(const char *name)
{
    for (u32 i = 0; i < ARRAY_LEN(engines); i++) {
        if (!strcmp(engines[i]->name, name)) return engines[i];
    }
    return NULL;
}

static int unknown(const char *name, struct err *e)
{
    char list[128] = "auto";
    for (u32 i = 0; i < ARRAY_LEN(engines); i++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, ", %s", engines[i]->name);
    }
    return err_set(e, E_INVAL, "unknown engine '%s' (known: %s)", name, list);
}

int engine_choose(const struct engine **out, const char *name, struct err *e)
{
    if (strcmp(name, "auto")) {
        const struct engine *engine = find(name);
        if (!engine) return unknown(name, e);
        int rc = engine->probe(e);
        if (rc < 0) return err_wrap(e, "engine '%s'", name);
        *out = engine;
        return 0;
    }
    int rc = E_UNSUPPORTED;
    for (u32 i = 0; i < ARRAY_LEN(engines) && rc < 0; i++) {
        rc = engines[i]->probe(e);
        if (rc == 0 && engines[i]->prefer) rc = engines[i]->prefer(e);
        if (rc == 0) *out = engines[i];
    }
    return rc;
}

int ring3_engine_probe(const char *name, struct ring3_error *e)
{
    struct err err = {0};
    const struct engine *engine = find(name);
    int rc = engine ? engine->probe(&err) : unknown(name, &err);
    if (rc == 0 && engine->prefer) (void)engine->prefer(&err);
    e->code = rc;
    memcpy(e->text, err.text, sizeof e->text);
    return rc;
}

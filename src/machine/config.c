/* config.c - the configuration of a machine: defaults, copies, checks. */
#include <stdlib.h>
#include <string.h>

#include "machine/machine.h"
#include "machine/pc_ports.h"

const char *ring3_version(void) { return "0.1.0"; }
const char *ring3_cpu_model_name(uint32_t i) { return cpu_model_name(i); }

void ring3_config_init(struct ring3_config *cfg)
{
    *cfg = (struct ring3_config){.name = "vm",
                                 .cmdline = "",
                                 .engine = "auto",
                                 .cpu = "max",
                                 .protocol = "auto",
                                 .memory_bytes = MIB(512),
                                 .cpus = 1};
}

/* The string fields, so that copying and freeing cannot forget one. */
static const char **strings_of(struct ring3_config *c, u32 i)
{
    const char **field[] = {&c->name,     &c->kernel,  &c->initrd,  &c->cmdline,  &c->engine,
                            &c->cpu,      &c->serial,  &c->serial2, &c->parallel, &c->protocol,
                            &c->firmware, &c->vars,    &c->boot,    &c->cdrom,    &c->display,
                            &c->control,  &c->debugcon};
    if (i < ARRAY_LEN(field)) return field[i];
    i -= ARRAY_LEN(field);
    return i < RING3_DRIVES_MAX ? &c->drive[i] : NULL;
}

/* The terminal is the serial port's unless the screen has it. */
static const char *serial_of(const struct ring3_config *c)
{
    if (c->serial) return c->serial;
    return display_is(c->display, "text") ? "none" : "stdio";
}

static int check(const struct ring3_config *c, struct err *e)
{
    if (c->initrd && !c->kernel)
        return err_set(e, E_INVAL, "initrd '%s': there is no kernel to take it", c->initrd);
    if (c->vars && c->kernel && !c->firmware)
        return err_set(e, E_INVAL, "vars '%s': there is no firmware to use it", c->vars);
    if (!c->name || !*c->name) return err_set(e, E_INVAL, "the machine's name is empty");
    if (c->drives > RING3_DRIVES_MAX)
        return err_set(e, E_INVAL, "%u drives: at most %d", c->drives, RING3_DRIVES_MAX);
    if (c->cpus < 1 || c->cpus > VCPUS_MAX)
        return err_set(e, E_INVAL, "%u CPUs: must be 1 to %d", c->cpus, VCPUS_MAX);
    if (c->memory_bytes < MEM_BYTES_MIN || c->memory_bytes > MEM_BYTES_MAX)
        return err_set(e, E_INVAL, "%llu bytes of memory: must be %llu MiB to %llu GiB",
                       (unsigned long long)c->memory_bytes,
                       (unsigned long long)(MEM_BYTES_MIN >> 20),
                       (unsigned long long)(MEM_BYTES_MAX >> 30));
    if (c->memory_bytes % PAGE_BYTES)
        return err_set(e, E_INVAL, "%llu bytes of memory: not a multiple of 4096",
                       (unsigned long long)c->memory_bytes);
    int rc = display_spec_check(c->display, e);
    if (rc < 0) return rc;
    if (display_is(c->display, "text") && c->serial && !strcmp(c->serial, "stdio"))
        return err_set(e, E_INVAL, "display 'text' and serial 'stdio' both want the terminal");
    if (c->serial2 && !strcmp(c->serial2, "stdio") &&
        (!strcmp(serial_of(c), "stdio") || display_is(c->display, "text")))
        return err_set(e, E_INVAL, "serial2 'stdio': the terminal is taken");
    if (c->parallel && pc_parallel_check(c->parallel, e) < 0) return e->code;
    rc = c->serial2 ? stream_spec_check(c->serial2, e) : 0;
    return rc < 0 ? rc : stream_spec_check(serial_of(c), e);
}

int config_copy(struct ring3_config *to, const struct ring3_config *from, struct err *e)
{
    int rc = check(from, e);
    if (rc < 0) return rc;
    *to = *from;
    struct ring3_config all = *from;
    all.serial = serial_of(from);
    for (u32 i = 0; strings_of(to, i); i++) *strings_of(to, i) = NULL;
    for (u32 i = 0; strings_of(to, i); i++) {
        const char *s = *strings_of(&all, i);
        if (!s) continue;
        *strings_of(to, i) = strdup(s);
        if (!*strings_of(to, i)) return err_set(e, E_NOMEM, "configuration");
    }
    return 0;
}

void config_free(struct ring3_config *cfg)
{
    for (u32 i = 0; strings_of(cfg, i); i++) free((char *)*strings_of(cfg, i));
}

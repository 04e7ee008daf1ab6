/* ps - `ring3 ps`: the running machines of this user. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/client.h"
#include "cli/options.h"
#include "cli/verbs.h"

/* The machine's status; one that does not answer has a name and a state only. Owned. */
static json_t *status_of(const char *name)
{
    struct client_reply r = {0};
    struct err ignored;
    json_t *status = NULL;
    int fd = client_open(name, &ignored);
    if (fd >= 0 && client_do(fd, "GET /status", NULL, &r, &ignored) == 0)
        status = json_loadb(r.body, r.bytes, 0, NULL);
    client_reply_fini(&r);
    if (fd >= 0) close(fd);
    if (fd < 0) return NULL; /* it ended meanwhile */
    if (!json_is_object(status)) {
        json_decref(status);
        status = json_pack("{s:s,s:s}", "name", name, "state", "Silent");
    }
    return status;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "-";
}

static unsigned long long number_of(const json_t *o, const char *key)
{
    return (unsigned long long)json_integer_value(json_object_get(o, key));
}

static void print_row(const json_t *o)
{
    char memory[32], uptime[32];
    unsigned long long s = number_of(o, "uptime_ms") / 1000, bytes = number_of(o, "memory_bytes");
    snprintf(memory, sizeof memory, "%lluM", bytes >> 20);
    snprintf(uptime, sizeof uptime, "%llu:%02llu:%02llu", s / 3600, s / 60 % 60, s % 60);
    printf("%-20s %7llu  %-8s %-9s %8s %4llu %10s\n", text_of(o, "name"), number_of(o, "pid"),
           text_of(o, "state"), text_of(o, "engine"), memory, number_of(o, "cpus"), uptime);
}

static void print_table(const json_t *all)
{
    printf("%-20s %7s  %-8s %-9s %8s %4s %10s\n", "NAME", "PID", "STATE", "ENGINE", "MEMORY",
           "CPUS", "UPTIME");
    for (size_t i = 0; i < json_array_size(all); i++) print_row(json_array_get(all, i));
}

int verb_ps(int argc, char **argv)
{
    struct client_machine *list;
    struct err e;
    bool json = argc == 1 && !strcmp(argv[0], "--json");
    if (argc > 1 || (argc == 1 && !json)) {
        fprintf(stderr, "ring3: usage: ring3 ps [--json]\n");
        return STATUS_USAGE;
    }
    int n = client_machines(&list, &e);
    if (n < 0) {
        fprintf(stderr, "ring3: %s\n", e.text);
        return STATUS_MONITOR;
    }
    json_t *all = json_array();
    for (int i = 0; i < n; i++) {
        json_t *status = status_of(list[i].name);
        if (status) json_array_append_new(all, status);
    }
    if (!json) print_table(all);
    else json_dumpf(all, stdout, JSON_INDENT(2)), printf("\n");
    json_decref(all);
    free(list);
    return STATUS_OFF;
}

/* doctor - `ring3 doctor`: which engines this host can run, why not where it cannot, and what would
 * fix it. */
#include <errno.h>
#include <linux/seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/types.h"
#include "cli/jail.h"
#include "cli/options.h"
#include "cli/verbs.h"

enum { DETAIL_BYTES = 96 };
/* Describes one fact in @detail; false when the remedy is worth showing. */
typedef bool fact_fn(char *detail);

static bool say(char *detail, bool good, const char *text)
{
    snprintf(detail, DETAIL_BYTES, "%s", text);
    return good;
}

static bool say_errno(char *detail)
{
    char buf[64];
    return say(detail, false, strerror_r(errno, buf, sizeof buf));
}

/* The levels of the x86-64 psABI, as far as a compiler can ask for them. */
static bool fact_processor(char *detail)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt"))
        return say(detail, false, "x86-64-v1");
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2") ||
        !__builtin_cpu_supports("fma"))
        return say(detail, true, "x86-64-v2");
    bool v4 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
              __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
              __builtin_cpu_supports("avx512vl");
    return say(detail, true, v4 ? "x86-64-v4" : "x86-64-v3");
}

static bool fact_avx512(char *detail)
{
    __builtin_cpu_init();
    return say(detail, true,
               __builtin_cpu_supports("avx512f") ? "yes" : "no: guests do not see it either");
}

static bool fact_memory(char *detail)
{
    char line[128];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/meminfo", "re");
    if (!f) return say_errno(detail);
    while (fgets(line, sizeof line, f) && sscanf(line, "MemAvailable: %llu kB", &kib) != 1) {
    }
    fclose(f);
    snprintf(detail, DETAIL_BYTES, "%llu MiB available", kib >> 10);
    return kib >= 1024 * 1024;
}

/* The chosen word of a sysfs file like "always [madvise] never". */
static bool fact_huge_pages(char *detail)
{
    char line[128] = "", *open_at, *end;
    FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "re");
    if (!f) return say(detail, true, "none for guest memory in this kernel");
    bool read = fgets(line, sizeof line, f);
    fclose(f);
    if (!read || !(open_at = strchr(line, '[')) || !(end = strchr(open_at, ']')))
        return say(detail, true, "unknown");
    *end = 0;
    snprintf(detail, DETAIL_BYTES, "shared memory: %.32s", open_at + 1);
    return strcmp(open_at + 1, "never") && strcmp(open_at + 1, "deny");
}

static bool fact_memfd(char *detail)
{
    int fd = memfd_create("ring3-doctor", MFD_CLOEXEC);
    if (fd < 0) return say_errno(detail);
    close(fd);
    return say(detail, true, "works");
}

/* One page of a memfd seen twice, writable and executable, as the engines have it. */
static bool fact_executable(char *detail)
{
    int fd = memfd_create("ring3-doctor", MFD_CLOEXEC);
    if (fd < 0) return say_errno(detail);
    void *p = MAP_FAILED;
    if (ftruncate(fd, PAGE_BYTES) == 0)
        p = mmap(NULL, PAGE_BYTES, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
    bool good = p != MAP_FAILED;
    say(detail, good, "a memfd can be mapped executable");
    if (good) munmap(p, PAGE_BYTES);
    else say_errno(detail);
    close(fd);
    return good;
}

static bool fact_seccomp(char *detail)
{
    u32 action = SECCOMP_RET_TRAP;
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) < 0) return say_errno(detail);
    return say(detail, true, "filters work");
}

static bool fact_landlock(char *detail)
{
    int abi = jail_landlock_abi();
    if (!abi) return say(detail, false, "not in this kernel, or not enabled");
    snprintf(detail, DETAIL_BYTES, "ABI %d", abi);
    return true;
}

static const struct {
    const char *name;
    fact_fn *fn;
    const char *remedy;
} facts[] = {
#define FACT(name, fn, remedy) {name, fn, remedy},
#include "cli/host.def"
#undef FACT
};

/* Returns true when at least one engine works. */
static bool show_engines(void)
{
    bool any = false;
    for (u32 i = 0; ring3_engine_name(i); i++) {
        struct ring3_error e;
        int rc = ring3_engine_probe(ring3_engine_name(i), &e);
        const char *verdict = rc < 0 ? "no: " : e.text[0] ? "works, but auto avoids it: " : "works";
        printf("engine %-12s %s%s\n", ring3_engine_name(i), verdict, e.text);
        any |= rc >= 0;
    }
    return any;
}

int verb_doctor(int argc, char **argv)
{
    if (argc > 0) {
        fprintf(stderr, "ring3: doctor takes no arguments: '%s'\n", argv[0]);
        return STATUS_USAGE;
    }
    bool any = show_engines();
    for (u32 i = 0; i < ARRAY_LEN(facts); i++) {
        char detail[DETAIL_BYTES];
        bool good = facts[i].fn(detail);
        printf("%-19s %s\n", facts[i].name, detail);
        if (!good) printf("%-19s -> %s\n", "", facts[i].remedy);
    }
    return any ? STATUS_OFF : STATUS_MONITOR;
}

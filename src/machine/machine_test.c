/* Machines as a user of the library sees them: configurations that are refused, building and
 * tearing down, two machines side by side in one process, and every way a guest ends one. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/err.h"
#include "base/limits.h"
#include "base/test.h"
#include "ring3.h"

/* A multiboot image: header with its own addresses, then 32-bit code entered at 1 MiB + 0x20. */
struct image {
    char path[64];
};
static void image_write(struct image *i, const u8 *code, size_t bytes)
{
    static const u32 head[8] = {0x1badb002, 0x00010000, 0xe4514ffe, 0x100000,
                                0x100000,   0,          0,          0x100020};
    snprintf(i->path, sizeof i->path, "/tmp/ring3-machine-XXXXXX");
    int fd = mkstemp(i->path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, head, sizeof head), sizeof head);
    assert_int_equal(write(fd, code, bytes), (ssize_t)bytes);
    close(fd);
}
#define CODE(i, ...) image_write(i, (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__}))
/* out 0xf4, @v; hlt */
#define EXIT(v) 0xb0, (v), 0xe6, 0xf4, 0xf4
/* out 0xcf9, 6 */
#define RESET 0x66, 0xba, 0xf9, 0x0c, 0xb0, 0x06, 0xee, 0xf4
/* out 0x604, S5 | SLP_EN */
#define POWEROFF 0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x20, 0x66, 0xef, 0xf4
/* out 0x505, panicked */
#define PANIC 0x66, 0xba, 0x05, 0x05, 0xb0, 0x01, 0xee

static struct ring3_config config(const char *kernel)
{
    struct ring3_config cfg;
    ring3_config_init(&cfg);
    cfg.kernel = kernel;
    cfg.engine = "interp";
    cfg.serial = "none";
    cfg.memory_bytes = MIB(16);
    cfg.debug_exit = cfg.quiet = true;
    return cfg;
}

/* ---- refused --------------------------------------------------------------------------------- */

static void refused(const struct ring3_config *cfg, int code, const char *word)
{
    struct ring3_vm *vm = NULL;
    struct ring3_error e = {0};
    int rc = ring3_create(&vm, cfg, &e);
    if (rc == 0) fail_msg("'%s': accepted", word);
    assert_null(vm);
    assert_int_equal(rc, e.code);
    if (code) assert_int_equal(rc, code);
    if (!strstr(e.text, word)) fail_msg("'%s' does not say '%s'", e.text, word);
    assert_null(strchr(e.text, '\n'));
}

static void test_refused(void **state)
{
    (void)state;
    struct image i;
    CODE(&i, EXIT(0));
    struct ring3_config c = config(NULL);
    c.initrd = i.path;
    refused(&c, E_INVAL, "kernel");
    c = config(NULL), c.firmware = i.path;
    refused(&c, E_FORMAT, "not a firmware image");
    c = config("/nonexistent/kernel");
    refused(&c, 0, "/nonexistent/kernel");
    c = config(i.path), c.name = "";
    refused(&c, E_INVAL, "name");
    c = config(i.path), c.cpus = 0;
    refused(&c, E_INVAL, "CPUs");
    c = config(i.path), c.cpus = VCPUS_MAX + 1;
    refused(&c, E_INVAL, "CPUs");
    static const u64 memory[] = {
        0, 1, MIB(1) - PAGE_BYTES, MIB(16) + 1, MEM_BYTES_MAX + PAGE_BYTES, ~0ull, ~0ull << 12};
    for (u32 k = 0; k < ARRAY_LEN(memory); k++) {
        c = config(i.path), c.memory_bytes = memory[k];
        refused(&c, E_INVAL, "memory");
    }
    c = config(i.path), c.engine = "steam";
    refused(&c, 0, "steam");
    c = config(i.path), c.cpu = "z80";
    refused(&c, E_INVAL, "z80");
    c = config(i.path), c.serial = "smoke";
    refused(&c, 0, "smoke");
    c = config(i.path), c.serial = "file:/nonexistent/out";
    refused(&c, 0, "/nonexistent/out");
    c = config(i.path), c.protocol = "pigeon";
    refused(&c, 0, "pigeon");
    c = config(i.path), c.initrd = "/nonexistent/initrd";
    refused(&c, 0, "/nonexistent/initrd");
    c = config("/dev/null");
    refused(&c, 0, "/dev/null");
    unlink(i.path);
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct ring3_vm *create(const struct ring3_config *cfg)
{
    struct ring3_vm *vm;
    struct ring3_error e = {0};
    if (ring3_create(&vm, cfg, &e) < 0) fail_msg("%s", e.text);
    return vm;
}

/* Strings are the machine's own after creation. */
static void test_create_destroy(void **state)
{
    (void)state;
    struct image i;
    CODE(&i, EXIT(0));
    for (u32 cpus = 1; cpus <= VCPUS_MAX; cpus *= 2) {
        char path[64];
        memcpy(path, i.path, sizeof path);
        struct ring3_config c = config(path);
        c.cpus = cpus;
        struct ring3_vm *vm = create(&c);
        memset(path, 'x', sizeof path);
        ring3_destroy(vm);
    }
    ring3_destroy(NULL);
    unlink(i.path);
}

struct job {
    struct ring3_vm *vm;
    struct ring3_result result;
    pthread_t thread;
};
static void *run(void *arg)
{
    struct job *j = arg;
    ring3_run(j->vm, &j->result);
    return NULL;
}

static void test_two_at_once(void **state)
{
    (void)state;
    enum { JOBS = 2, ROUNDS = 5 };
    struct image image[JOBS];
    CODE(&image[0], 0xb9, 0x00, 0x00, 0x02, 0x00, 0xe2, 0xfe, EXIT(3)); /* loops a while first */
    CODE(&image[1], 0xb9, 0x00, 0x00, 0x02, 0x00, 0xe2, 0xfe, EXIT(4));
    for (u32 round = 0; round < ROUNDS; round++) {
        struct job job[JOBS];
        for (u32 i = 0; i < JOBS; i++) {
            struct ring3_config c = config(image[i].path);
            job[i].vm = create(&c);
        }
        for (u32 i = 0; i < JOBS; i++)
            assert_int_equal(pthread_create(&job[i].thread, NULL, run, &job[i]), 0);
        for (u32 i = 0; i < JOBS; i++) {
            pthread_join(job[i].thread, NULL);
            assert_int_equal(job[i].result.end, RING3_DEBUG_EXIT);
            assert_int_equal(job[i].result.status, (3 + i) * 2 + 1);
            char stats[8192];
            assert_true(ring3_stats(job[i].vm, true, stats, sizeof stats) < sizeof stats);
            assert_non_null(strstr(stats, "\"insns\": 1310")); /* 0x20000 LOOPs and a few */
            ring3_destroy(job[i].vm);
        }
    }
    for (u32 i = 0; i < JOBS; i++) unlink(image[i].path);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void ends(struct image *i, bool no_reboot, enum ring3_end end)
{
    struct ring3_config c = config(i->path);
    c.no_reboot = no_reboot;
    struct ring3_vm *vm = create(&c);
    struct ring3_result r;
    assert_int_equal(ring3_run(vm, &r), 0);
    ring3_destroy(vm);
    if (r.end != end) fail_msg("ended with %d (%s), not %d", r.end, r.reason, end);
    assert_true(r.reason[0] && !strchr(r.reason, '\n'));
    unlink(i->path);
}

static void test_ends(void **state)
{
    (void)state;
    struct image i;
    CODE(&i, POWEROFF);
    ends(&i, false, RING3_POWEROFF);
    CODE(&i, RESET);
    ends(&i, true, RING3_RESET);
    CODE(&i, PANIC, RESET);
    ends(&i, false, RING3_PANIC);
    CODE(&i, PANIC, RESET);
    ends(&i, true, RING3_PANIC);
    CODE(&i, PANIC, POWEROFF);
    ends(&i, false, RING3_POWEROFF);
    CODE(&i, 0x0f, 0x01, 0x1d, 0x40, 0x00, 0x10, 0x00, 0xcc); /* LIDT of zeros, INT3 */
    ends(&i, false, RING3_TRIPLE_FAULT);
    /* resets as often as a byte of CMOS memory says, then exits: memory and CMOS survive */
    CODE(&i, 0xb0, 0x50, 0xe6, 0x70, 0xe4, 0x71, 0xfe, 0xc0, 0xe6, 0x71, 0x3c, 0x03, 0x74, 0x08,
         RESET, EXIT(9));
    ends(&i, false, RING3_DEBUG_EXIT);
}

static void test_stop(void **state)
{
    (void)state;
    struct image i;
    static const u8 code[2][3] = {{0xeb, 0xfe, 0x90}, {0xf4, 0xeb, 0xfd}}; /* spins; halts */
    for (u32 k = 0; k < 2; k++) {
        image_write(&i, code[k], 3);
        struct ring3_config c = config(i.path);
        struct job j = {.vm = create(&c)};
        assert_int_equal(pthread_create(&j.thread, NULL, run, &j), 0);
        if (k) ring3_power_button(j.vm); /* nobody listens */
        ring3_stop(j.vm);
        pthread_join(j.thread, NULL);
        assert_int_equal(j.result.end, RING3_STOPPED);
        ring3_destroy(j.vm);
        unlink(i.path);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),     cmocka_unit_test(test_create_destroy),
        cmocka_unit_test(test_two_at_once), cmocka_unit_test(test_ends),
        cmocka_unit_test(test_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

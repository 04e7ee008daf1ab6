/* options_test - every way to spell an option, every way to get one wrong; and the table itself. */
#include "cli/options.h"

#include <stdlib.h>
#include <string.h>

#include "base/test.h"
#include "base/trace.h"

static int parse(struct run_options *o, struct err *e, const char *line)
{
    static char text[512];
    char *argv[32];
    int argc = 0;
    snprintf(text, sizeof text, "%s", line);
    for (char *word = strtok(text, " "); word; word = strtok(NULL, " ")) argv[argc++] = word;
    return options_parse(o, argc, argv, e);
}

static void test_spellings(void **state)
{
    static const char *const lines[] = {
        "--kernel k --initrd i --cmdline c --memory 64M --cpus 2",
        "-kernel k -initrd i -append c -m 64 -smp 2",
        "--kernel=k --initrd=i --append=c --m=64M --smp=2",
        "-kernel=k -initrd=i -cmdline=c -memory=65536K -cpus=2",
    };
    (void)state;
    for (u32 n = 0; n < ARRAY_LEN(lines); n++) {
        struct run_options o;
        struct err e;
        assert_int_equal(parse(&o, &e, lines[n]), 0);
        assert_string_equal(o.cfg.kernel, "k");
        assert_string_equal(o.cfg.initrd, "i");
        assert_string_equal(o.cfg.cmdline, "c");
        assert_int_equal(o.cfg.memory_bytes, MIB(64));
        assert_int_equal(o.cfg.cpus, 2);
    }
}

static void test_defaults(void **state)
{
    struct run_options o;
    struct err e;
    (void)state;
    assert_int_equal(parse(&o, &e, "--kernel k"), 0);
    assert_null(o.cfg.initrd);
    assert_null(o.cfg.serial); /* stdio, unless the display is text */
    assert_string_equal(o.cfg.engine, "auto");
    assert_int_equal(o.cfg.memory_bytes, MIB(512));
    assert_int_equal(o.cfg.cpus, 1);
    assert_int_equal(o.stats, STATS_NONE);
    assert_false(o.no_jail || o.help || o.cfg.debug_exit || o.cfg.no_reboot || o.cfg.quiet);
}

static void test_flags_and_values(void **state)
{
    struct run_options o;
    struct err e;
    (void)state;
    assert_int_equal(
        parse(&o, &e, "--kernel k --debug-exit --no-reboot -q --no-jail --timeout 9 --stats=json"),
        0);
    assert_true(o.cfg.debug_exit && o.cfg.no_reboot && o.cfg.quiet && o.no_jail);
    assert_int_equal(o.cfg.timeout_s, 9);
    assert_int_equal(o.stats, STATS_JSON);
    assert_int_equal(parse(&o, &e, "--kernel k --stats --trace irq,exc --name web-1.a_b"), 0);
    assert_int_equal(o.stats, STATS_TEXT);
    assert_int_equal(o.cfg.trace_mask, BIT(TRACE_IRQ) | BIT(TRACE_EXC));
    assert_string_equal(o.cfg.name, "web-1.a_b");
    assert_int_equal(o.cfg.dump, 0);
    assert_int_equal(parse(&o, &e, "--kernel k --dump=b,x"), 0);
    assert_int_equal(o.cfg.dump, 5);
    assert_int_equal(parse(&o, &e, "--kernel k --dump"), 0);
    assert_int_equal(o.cfg.dump, 7);
    assert_int_equal(parse(&o, &e, "--cpu help"), 0);
    assert_int_equal(o.list, LIST_MODELS);
    assert_int_equal(parse(&o, &e, "--trace help"), 0);
    assert_int_equal(o.list, LIST_EVENTS);
    assert_int_equal(parse(&o, &e, "-h"), 0);
    assert_true(o.help);
    assert_int_equal(parse(&o, &e, "--kernel --cmdline"),
                     0); /* an argument may look like an option */
    assert_string_equal(o.cfg.kernel, "--cmdline");
}

static void test_mistakes(void **state)
{
    static const struct {
        const char *line, *fault;
    } bad[] = {
        {"--kernel", "needs an argument"},
        {"--kernel k --bogus-thing", "unknown option ('ring3"},
        {"--kernel k --cmdlin x", "did you mean --cmdline"},
        {"--kernel k --timout 3", "did you mean --timeout"},
        {"--kernel k --no-reboot=yes", "takes no argument"},
        {"--kernel k --stats=xml", "--stats"},
        {"--kernel k --memory 0", "zero"},
        {"--kernel k --cpus 33", "1 to 32"},
        {"--kernel k --engine steam", "unknown engine"},
        {"--kernel k --cpu z80", "unknown model"},
        {"--kernel k --trace nothing", "unknown trace event"},
        {"--kernel k --dump=b,", "--dump 'b,'"},
        {"--kernel k --dump=q", "--dump 'q'"},
        {"--kernel k --name a/b", "--name"},
        {"--kernel k extra", "not an option"},
        {"--kernel k -", "not an option"},
        {"--kernel k --", "not an option"},
        {"--kernel k --=x", "unknown option"},
    };
    (void)state;
    for (u32 i = 0; i < ARRAY_LEN(bad); i++) {
        struct run_options o;
        struct err e;
        assert_int_equal(parse(&o, &e, bad[i].line), E_INVAL);
        if (!strstr(e.text, bad[i].fault)) fail_msg("'%s' gives: %s", bad[i].line, e.text);
        assert_null(strchr(e.text, '\n'));
    }
}

/* Keys of the tables are unique. */
static void test_tables(void **state)
{
    static const char *const names[] = {
#define OPTION(name, alias, arg, group, set, field, help) name, alias,
#include "cli/options.def"
#undef OPTION
    };
    static const int statuses[] = {
#define STATUS(id, value, meaning) value,
#include "cli/exit.def"
#undef STATUS
    };
    (void)state;
    for (u32 i = 0; i < ARRAY_LEN(names); i++) {
        for (u32 j = 0; j < i && *names[i]; j++) assert_string_not_equal(names[i], names[j]);
    }
    for (u32 i = 1; i < ARRAY_LEN(statuses); i++) assert_true(statuses[i] > statuses[i - 1]);
}

static void test_help_is_complete(void **state)
{
    static const char *const names[] = {
#define OPTION(name, alias, arg, group, set, field, help) "--" name,
#include "cli/options.def"
#undef OPTION
    };
    char *text = NULL;
    size_t bytes;
    FILE *f = open_memstream(&text, &bytes);
    (void)state;
    options_help(f);
    fclose(f);
    for (u32 i = 0; i < ARRAY_LEN(names); i++) assert_non_null(strstr(text, names[i]));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spellings),        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_flags_and_values), cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_tables),           cmocka_unit_test(test_help_is_complete)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

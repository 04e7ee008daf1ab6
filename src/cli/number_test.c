/* number_test - sizes and numbers as people type them. */
#include "cli/number.h"

#include <string.h>

#include "base/test.h"

static void test_sizes(void **state)
{
    static const struct {
        const char *text;
        u64 bytes;
    } good[] = {
        {"512", MIB(512)}, {"512M", MIB(512)}, {"512m", MIB(512)},
        {"2G", GIB(2)},    {"2GiB", GIB(2)},   {"64KB", KIB(64)},
        {"1t", GIB(1024)}, {"007M", MIB(7)},   {"16777215T", 16777215ull << 40},
    };
    (void)state;
    for (u32 i = 0; i < ARRAY_LEN(good); i++) {
        struct err e;
        u64 bytes = 0;
        assert_int_equal(number_size("--memory", good[i].text, &bytes, &e), 0);
        assert_int_equal(bytes, good[i].bytes);
    }
}

static void test_bad_sizes(void **state)
{
    static const struct {
        const char *text, *fault;
    } bad[] = {
        {"", "size like"},
        {"0", "zero"},
        {"0G", "zero"},
        {"-1", "negative"},
        {"-1G", "negative"},
        {"M", "size like"},
        {"1.5G", "size like"},
        {"1Q", "size like"},
        {"1MM", "size like"},
        {"1 M", "size like"},
        {" 1M", "size like"},
        {"0x10M", "size like"},
        {"16777216T", "large"},
        {"18446744073709551616", "large"},
        {"18446744073709551615", "large"},
        {"1Mi", "size like"},
        {"1M\n", "size like"},
    };
    (void)state;
    for (u32 i = 0; i < ARRAY_LEN(bad); i++) {
        struct err e;
        u64 bytes = 77;
        assert_int_equal(number_size("--memory", bad[i].text, &bytes, &e), E_INVAL);
        assert_non_null(strstr(e.text, "--memory"));
        assert_non_null(strstr(e.text, bad[i].fault));
        assert_int_equal(bytes, 77);
    }
}

static void test_numbers(void **state)
{
    struct err e;
    u64 n;
    (void)state;
    assert_int_equal(number_u64("n", "1", (struct number_range){1, 32}, &n, &e), 0);
    assert_int_equal(n, 1);
    assert_int_equal(number_u64("n", "32", (struct number_range){1, 32}, &n, &e), 0);
    assert_int_equal(
        number_u64("n", "18446744073709551615", (struct number_range){0, UINT64_MAX}, &n, &e), 0);
    assert_true(n == UINT64_MAX);
    static const char *const bad[] = {"", "0", "33", "-1", "+1", "1x", "x", "18446744073709551617"};
    for (u32 i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(number_u64("n", bad[i], (struct number_range){1, 32}, &n, &e), E_INVAL);
}

static void test_distance(void **state)
{
    (void)state;
    assert_int_equal(number_distance("", ""), 0);
    assert_int_equal(number_distance("kernel", "kernel"), 0);
    assert_int_equal(number_distance("kernle", "kernel"), 2);
    assert_int_equal(number_distance("", "abc"), 3);
    assert_int_equal(number_distance("serial", "initrd"), 6);
    assert_int_equal(number_distance("memry", "memory"), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes), cmocka_unit_test(test_bad_sizes),
        cmocka_unit_test(test_numbers), cmocka_unit_test(test_distance)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

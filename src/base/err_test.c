#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/test.h"

static void test_set(void **state)
{
    (void)state;
    struct err e = {0};
    assert_int_equal(err_set(&e, E_RANGE, "disk '%s': %d", "a\nb\033", 7), E_RANGE);
    assert_int_equal(e.code, E_RANGE);
    assert_string_equal(e.text, "disk 'a?b?': 7");
    assert_int_equal(err_set(NULL, E_INVAL, "nobody listens"), E_INVAL);
}

/* A long text keeps its begin and its end. */
static void test_long(void **state)
{
    static char name[100000];
    struct err e;
    (void)state;
    memset(name, 'a', sizeof name - 1);
    for (size_t n = ERR_TEXT_BYTES - 20; n < ERR_TEXT_BYTES + 20; n++) {
        (void)err_set(&e, E_INVAL, "disk '%s': bad", name + sizeof name - 1 - n);
        assert_in_range(strlen(e.text), min_u64(n, ERR_TEXT_BYTES - 1), ERR_TEXT_BYTES - 1);
        assert_memory_equal(e.text, "disk 'aaaa", 10);
        assert_string_equal(e.text + strlen(e.text) - 10, "aaaa': bad");
    }
    errno = ENAMETOOLONG;
    assert_int_equal(err_errno(&e, "disk '%s'", name), E_INVAL);
    assert_non_null(strstr(e.text, "aaa': File name too long"));
}

static void test_errno(void **state)
{
    (void)state;
    static const struct {
        int sys, code;
    } cases[] = {{ENOENT, E_NOENT}, {EACCES, E_PERM},  {EPERM, E_PERM}, {ENOMEM, E_NOMEM},
                 {ENOSPC, E_NOSPC}, {EISDIR, E_INVAL}, {EIO, E_SYS}};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct err e = {0};
        char want[200];
        errno = cases[i].sys;
        assert_int_equal(err_errno(&e, "open %s", "x"), cases[i].code);
        snprintf(want, sizeof want, "open x: %s", strerror(cases[i].sys));
        assert_string_equal(e.text, want);
        errno = cases[i].sys;
        assert_int_equal(err_errno(NULL, "x"), cases[i].code);
    }
}

static void test_wrap(void **state)
{
    (void)state;
    struct err e = {0};
    (void)err_set(&e, E_NOENT, "no file");
    assert_int_equal(err_wrap(&e, "disk %d", 3), E_NOENT);
    assert_string_equal(e.text, "disk 3: no file");
}

static void test_long_texts_are_cut(void **state)
{
    (void)state;
    char big[2 * ERR_TEXT_BYTES];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = 0;
    struct err e = {0};
    (void)err_set(&e, E_INVAL, "%s", big);
    assert_int_equal(strlen(e.text), ERR_TEXT_BYTES - 1);
    (void)err_wrap(&e, "front");
    assert_int_equal(strlen(e.text), ERR_TEXT_BYTES - 1);
    assert_memory_equal(e.text, "front: xx", 9);
    (void)err_wrap(&e, "%s", big);
    assert_int_equal(strlen(e.text), ERR_TEXT_BYTES - 1);
    errno = ENOENT;
    (void)err_errno(&e, "%s", big);
    assert_non_null(strstr(e.text, strerror(ENOENT)));
}

/* Every row: negative and unique code, a sentence, an HTTP error status. */
static void test_table(void **state)
{
    (void)state;
    static const int codes[] = {
#define ERR(name, value, text, http) value,
#include "base/err.def"
#undef ERR
    };
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        assert_true(codes[i] < 0);
        for (size_t j = 0; j < i; j++) assert_int_not_equal(codes[i], codes[j]);
        assert_memory_equal(err_name(codes[i]), "E_", 2);
        assert_true(strlen(err_text(codes[i])) > 0);
        assert_in_range(err_http(codes[i]), 400, 599);
    }
    assert_string_equal(err_name(-999), "E_?");
    assert_int_equal(err_http(-999), 500);
    assert_true(strlen(err_text(-999)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_long),
        cmocka_unit_test(test_errno),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_long_texts_are_cut),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

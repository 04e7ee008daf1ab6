/* keys_test - the table of keys, and strokes as text. */
#include "base/keys.h"

#include <string.h>

#include "base/test.h"

static_assert(KEY_COUNT <= 256, "a stroke keeps keys in bytes");

/* Names and codes are unique, and every printable character has a key. */
static void test_table(void **state)
{
    (void)state;
    assert_null(key_row(KEY_NONE));
    assert_null(key_row(KEY_COUNT));
    for (u32 i = 1; i < KEY_COUNT; i++) {
        const struct key_row *r = key_row(i);
        assert_int_equal(key_find(r->name, strlen(r->name)), i);
        assert_true(r->set1 && r->set2);
        for (u32 j = 1; j < i; j++) {
            assert_int_not_equal(r->set1, key_row(j)->set1);
            assert_int_not_equal(r->set2, key_row(j)->set2);
        }
    }
    for (char c = ' '; c < 0x7F; c++) {
        bool shift;
        const struct key_row *r = key_row(key_of_char(c, &shift));
        assert_non_null(r);
        assert_int_equal(shift ? r->shifted : r->keysym, c);
    }
}

/* The two sets name the same keys: the controller's translation of a byte depends on it alone. */
static void test_translation_is_a_function(void **state)
{
    u32 to[256] = {0};
    (void)state;
    for (u32 i = 1; i < KEY_COUNT; i++) {
        const struct key_row *r = key_row(i);
        u8 from = (u8)r->set2, v = (u8)r->set1;
        assert_true(!to[from] || to[from] == v);
        to[from] = v;
    }
}

static void test_look_up(void **state)
{
    bool shift;
    (void)state;
    assert_int_equal(key_find("ret", 3), KEY_RET);
    assert_int_equal(key_find("re", 2), KEY_NONE);
    assert_int_equal(key_find("", 0), KEY_NONE);
    assert_int_equal(key_of_keysym('A', &shift), KEY_A);
    assert_true(shift);
    assert_int_equal(key_of_keysym('<', &shift), KEY_COMMA);
    assert_int_equal(key_of_keysym(0xFF0D, &shift), KEY_RET);
    assert_false(shift);
    assert_int_equal(key_of_keysym(0, &shift), KEY_NONE);
    assert_int_equal(key_of_keysym(0xDEADBEEF, &shift), KEY_NONE);
    assert_int_equal(key_of_char('\n', &shift), KEY_RET);
    assert_int_equal(key_of_char((char)0xE4, &shift), KEY_NONE);
    assert_int_equal(key_of_char(0, &shift), KEY_NONE);
}

static void test_strokes(void **state)
{
    struct key_stroke s[4];
    struct err e;
    (void)state;
    assert_int_equal(keys_parse("ctrl-alt-delete", s, 4, &e), 1);
    assert_int_equal(s[0].count, 3);
    assert_true(s[0].key[0] == KEY_CTRL && s[0].key[1] == KEY_ALT && s[0].key[2] == KEY_DELETE);
    assert_int_equal(keys_parse("text:a B", s, 4, &e), 3);
    assert_true(s[0].count == 1 && s[0].key[0] == KEY_A && s[1].key[0] == KEY_SPC);
    assert_true(s[2].count == 2 && s[2].key[0] == KEY_SHIFT && s[2].key[1] == KEY_B);
    assert_int_equal(keys_parse("text:", s, 4, &e), 0);
    assert_int_equal(keys_parse("text:abcde", s, 4, &e), E_RANGE);
    assert_int_equal(keys_parse("text:\xC3\xA4", s, 4, &e), E_INVAL);
    assert_int_equal(keys_parse("nokey", s, 4, &e), E_INVAL);
    assert_non_null(strstr(e.text, "nokey"));
    assert_int_equal(keys_parse("ctrl-", s, 4, &e), E_INVAL);
    assert_int_equal(keys_parse("", s, 4, &e), E_INVAL);
    assert_int_equal(keys_parse("ret", s, 0, &e), E_RANGE);
    assert_int_equal(keys_parse("a-b-c-d-e-f-g-h", s, 1, &e), 1);
    assert_int_equal(keys_parse("a-b-c-d-e-f-g-h-i", s, 1, &e), E_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table), cmocka_unit_test(test_translation_is_a_function),
        cmocka_unit_test(test_look_up), cmocka_unit_test(test_strokes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

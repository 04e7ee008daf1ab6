/* base/codepage_test.c - code page 437, against the C library's converter. */
#include "base/codepage.h"

#include <iconv.h>
#include <string.h>

#include "base/test.h"

static void test_utf8(void **state)
{
    iconv_t cd = iconv_open("UTF-8", "CP437");
    (void)state;
    if (cd == (iconv_t)-1) skip();
    for (u32 ch = 0x20; ch < 256; ch++) {
        char in = (char)ch, out[8] = {0}, mine[CP437_UTF8_BYTES];
        char *from = &in, *to = out;
        size_t in_left = 1, out_left = sizeof out;
        if (ch == 0x7F) continue; /* a control character there, a house on the screen */
        assert_int_equal(iconv(cd, &from, &in_left, &to, &out_left), 0);
        assert_int_equal(cp437_utf8((u8)ch, mine), strlen(out));
        assert_string_equal(mine, out);
    }
    iconv_close(cd);
}

static void test_ascii(void **state)
{
    (void)state;
    for (int ch = 0x20; ch < 0x7F; ch++) assert_int_equal(cp437_ascii((u8)ch), ch);
    for (u32 ch = 0; ch < 256; ch++) assert_in_range(cp437_ascii((u8)ch), 0x20, 0x7E);
    assert_int_equal(cp437_ascii(0), ' ');
    assert_int_equal(cp437_ascii(0xC9), '+');
    assert_int_equal(cp437_ascii(0xCD), '-');
    assert_int_equal(cp437_ascii(0xB3), '|');
    assert_int_equal(cp437_ascii(0xDB), '#');
}

static void test_dump(void **state)
{
    static struct text_screen t = {.present = true, .columns = 5, .rows = 3};
    char out[TEXT_DUMP_BYTES];
    (void)state;
    for (u32 i = 0; i < 2; i++) t.cell[0][i + 1].ch = (u8) "Hi"[i];
    t.cell[2][4].ch = 0xDA;
    assert_int_equal(text_screen_dump(&t, out), 11);
    assert_string_equal(out, " Hi\n\n    +\n");
    t.present = false;
    assert_int_equal(text_screen_dump(&t, out), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_utf8), cmocka_unit_test(test_ascii),
                                       cmocka_unit_test(test_dump)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

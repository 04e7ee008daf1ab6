/* Digests: a change of any byte, and of the order of words, shows; the point matters. */
#include "engine/bt/digest.h"

#include "base/test.h"

static void test_changes_show(void **state)
{
    (void)state;
    const u64 point = 0x123456789ABCDEFull;
    u8 code[64];
    for (u32 n = 0; n < sizeof code; n++) code[n] = (u8)(n * 37 + 11);
    for (u32 bytes = 1; bytes <= sizeof code; bytes++) {
        const u64 digest = code_digest(code, bytes, point);
        assert_true(digest < BIT(DIGEST_BITS) - 1);
        for (u32 bit = 0; bit < bytes * 8; bit++) {
            code[bit / 8] ^= (u8)(1 << bit % 8);
            assert_true(code_digest(code, bytes, point) != digest);
            code[bit / 8] ^= (u8)(1 << bit % 8);
        }
        assert_true(code_digest(code, bytes, point) == digest);
        assert_true(code_digest(code, bytes, point + 1) != digest);
    }
}

static void test_order_shows(void **state)
{
    (void)state;
    const u8 one[14] = {1, 2, 3, 4, 5, 6, 7, 8, 9},
             other[14] = {8, 9, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7};
    assert_true(code_digest(one, 14, 12345) != code_digest(other, 14, 12345));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_changes_show),
                                       cmocka_unit_test(test_order_shows)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

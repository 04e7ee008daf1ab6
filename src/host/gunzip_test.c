/* gunzip_test.c - packed, damaged, cut and overlong files. */
#include "host/gunzip.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/test.h"

enum { BYTES = 300000 };

static struct file_data packed(void)
{
    static u8 plain[BYTES];
    for (u32 i = 0; i < BYTES; i++) plain[i] = (u8)(i * i >> 7);
    z_stream z = {0};
    struct file_data f = {malloc(BYTES + 1000), 0};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = plain;
    z.avail_in = BYTES;
    z.next_out = f.data;
    z.avail_out = BYTES + 1000;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    f.bytes = z.total_out;
    deflateEnd(&z);
    return f;
}
static int unpack(struct file_data *f, u64 max) { return gunzip(f, max, "kernel", "k", NULL); }

static void test_unpack(void **state)
{
    (void)state;
    struct file_data f = packed();
    assert_int_equal(unpack(&f, MIB(1)), 0);
    assert_int_equal(f.bytes, BYTES);
    for (u32 i = 0; i < BYTES; i++) assert_int_equal(f.data[i], (u8)(i * i >> 7));
    assert_int_equal(unpack(&f, MIB(1)), 0); /* no gzip file: left alone */
    assert_int_equal(f.bytes, BYTES);
    file_data_fini(&f);
}

static void test_two_members(void **state)
{
    (void)state;
    struct file_data a = packed(), b = packed();
    a.data = realloc(a.data, a.bytes + b.bytes);
    memcpy(a.data + a.bytes, b.data, b.bytes);
    a.bytes += b.bytes;
    assert_int_equal(unpack(&a, MIB(1)), 0);
    assert_int_equal(a.bytes, 2 * BYTES);
    file_data_fini(&a);
    file_data_fini(&b);
}

static void test_bad(void **state)
{
    (void)state;
    struct file_data f = packed();
    const u64 bytes = f.bytes;
    assert_int_equal(unpack(&f, BYTES - 1), E_RANGE);
    assert_int_equal(f.bytes, bytes);
    for (u64 cut = 2; cut < bytes; cut += cut < 40 ? 1 : 997) {
        f.bytes = cut;
        assert_int_equal(unpack(&f, MIB(1)), E_FORMAT);
    }
    f.bytes = bytes;
    f.data[bytes / 2] ^= 0xFF;
    assert_int_equal(unpack(&f, MIB(1)), E_FORMAT);
    file_data_fini(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unpack),
        cmocka_unit_test(test_two_members),
        cmocka_unit_test(test_bad),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

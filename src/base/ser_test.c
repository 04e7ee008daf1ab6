#include "base/ser.h"

#include <stdlib.h>
#include <string.h>

#include "base/test.h"

struct thing {
    u8 small;
    bool on;
    u16 half;
    s32 word;
    u64 big;
    u32 regs[4];
    bool flags[2];
    u64 newer;
};
static const struct ser_field fields_v1[] = {
    SER(struct thing, small, 1),       SER(struct thing, on, 1),
    SER(struct thing, half, 1),        SER(struct thing, word, 1),
    SER(struct thing, big, 1),         SER_ARRAY(struct thing, regs, 1),
    SER_ARRAY(struct thing, flags, 1), SER_END};
static const struct ser_field fields_v2[] = {
    SER(struct thing, newer, 2),       SER(struct thing, big, 1),
    SER(struct thing, on, 1),          SER(struct thing, word, 1),
    SER(struct thing, small, 1),       SER_ARRAY(struct thing, regs, 1),
    SER_ARRAY(struct thing, flags, 1), SER_END};

static const struct thing sample = {.small = 0xab,
                                    .on = true,
                                    .half = 0x1234,
                                    .word = -5,
                                    .big = 0x1122334455667788,
                                    .regs = {1, 2, 3, 0xffffffff},
                                    .flags = {true, false},
                                    .newer = 99};

/* The stream of @sample at version 1. */
static struct ser_buf saved(void)
{
    struct ser_buf b;
    ser_buf_init(&b);
    assert_int_equal(ser_save(&b, "thing", 1, fields_v1, &sample, NULL), 0);
    return b;
}

static void test_round_trip(void **state)
{
    (void)state;
    struct ser_buf b = saved();
    assert_int_equal(ser_save(&b, "second", 1, fields_v1, &sample, NULL), 0);
    struct ser_view v = {b.data, b.bytes, 0};
    for (u32 i = 0; i < 2; i++) {
        struct thing got = {.newer = 99};
        assert_int_equal(ser_load(&v, i ? "second" : "thing", 1, fields_v1, &got, NULL), 0);
        assert_memory_equal(&got, &sample, sizeof got);
    }
    assert_int_equal(v.pos, v.bytes);
    ser_buf_fini(&b);
}

static void test_layout_is_little_endian_as_documented(void **state)
{
    (void)state;
    struct {
        u16 x;
    } obj = {0x0102};
    const struct ser_field f[] = {{"x", 0, 2, 1, 1}, SER_END};
    static const u8 want[] = {1, 's', 3, 0, 9, 0, 0, 0, 1, 'x', 2, 1, 0, 0, 0, 2, 1};
    struct ser_buf b;
    ser_buf_init(&b);
    assert_int_equal(ser_save(&b, "s", 3, f, &obj, NULL), 0);
    assert_int_equal(b.bytes, sizeof want);
    assert_memory_equal(b.data, want, sizeof want);
    ser_buf_fini(&b);
}

static void test_older_stream_loads(void **state)
{
    (void)state;
    struct ser_buf b = saved();
    struct ser_view v = {b.data, b.bytes, 0};
    struct thing got = {.newer = 5, .half = 6};
    assert_int_equal(ser_load(&v, "thing", 2, fields_v2, &got, NULL), 0);
    assert_int_equal(got.newer, 5); /* newer than the stream: kept */
    assert_int_equal(got.half, 6);  /* no longer a field: skipped  */
    assert_int_equal(got.big, sample.big);
    assert_memory_equal(got.regs, sample.regs, sizeof got.regs);
    ser_buf_fini(&b);
}

static void test_newer_stream_is_refused(void **state)
{
    (void)state;
    struct ser_buf b;
    ser_buf_init(&b);
    assert_int_equal(ser_save(&b, "thing", 2, fields_v2, &sample, NULL), 0);
    struct ser_view v = {b.data, b.bytes, 0};
    struct thing got = {0};
    struct err e = {0};
    assert_int_equal(ser_load(&v, "thing", 1, fields_v1, &got, &e), E_VERSION);
    assert_int_equal(v.pos, 0);
    ser_buf_fini(&b);
}

/* Whatever happens to the bytes, a failed load changes nothing, and no load reads outside. */
static void test_truncated_at_every_byte(void **state)
{
    (void)state;
    struct ser_buf b = saved();
    for (size_t n = 0; n < b.bytes; n++) {
        u8 *copy = malloc(n ? n : 1); /* exact size, so a sanitizer sees an overrun */
        memcpy(copy, b.data, n);
        struct ser_view v = {copy, n, 0};
        struct thing got = {.big = 42}, before = got;
        struct err e = {0};
        assert_int_equal(ser_load(&v, "thing", 1, fields_v1, &got, &e), E_FORMAT);
        assert_memory_equal(&got, &before, sizeof got);
        assert_int_equal(v.pos, 0);
        free(copy);
    }
    ser_buf_fini(&b);
}

static void test_flipped_bytes_never_half_load(void **state)
{
    (void)state;
    struct ser_buf b = saved();
    for (size_t i = 0; i < b.bytes * 8; i++) {
        b.data[i / 8] ^= (u8)BIT(i % 8);
        struct ser_view v = {b.data, b.bytes, 0};
        struct thing got, before;
        memset(&got, 0, sizeof got);
        before = got;
        if (ser_load(&v, "thing", 1, fields_v1, &got, NULL) < 0)
            assert_memory_equal(&got, &before, sizeof got);
        else assert_true(*(u8 *)&got.on <= 1);
        b.data[i / 8] ^= (u8)BIT(i % 8);
    }
    ser_buf_fini(&b);
}

static void test_wrong_section_missing_and_repeated_fields(void **state)
{
    (void)state;
    struct ser_buf b = saved();
    struct thing got = {0};
    struct err e = {0};
    struct ser_view v = {b.data, b.bytes, 0};
    assert_int_equal(ser_load(&v, "other", 1, fields_v1, &got, &e), E_FORMAT);
    assert_non_null(strstr(e.text, "thing"));
    ser_buf_fini(&b);
    const struct ser_field one[] = {SER(struct thing, big, 1), SER_END};
    const struct ser_field twice[] = {SER(struct thing, big, 1), SER(struct thing, big, 1),
                                      SER_END};
    const struct ser_field two[] = {SER(struct thing, big, 1), SER(struct thing, half, 1), SER_END};
    static const u32 bad_pairs = 3;
    const struct ser_field *writer[] = {one, twice, two}, *reader[] = {two, one, one};
    for (u32 i = 0; i < bad_pairs; i++) {
        ser_buf_init(&b);
        assert_int_equal(ser_save(&b, "t", 1, writer[i], &sample, NULL), 0);
        v = (struct ser_view){b.data, b.bytes, 0};
        assert_int_equal(ser_load(&v, "t", 1, reader[i], &got, &e), E_FORMAT);
        ser_buf_fini(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_layout_is_little_endian_as_documented),
        cmocka_unit_test(test_older_stream_loads),
        cmocka_unit_test(test_newer_stream_is_refused),
        cmocka_unit_test(test_truncated_at_every_byte),
        cmocka_unit_test(test_flipped_bytes_never_half_load),
        cmocka_unit_test(test_wrong_section_missing_and_repeated_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

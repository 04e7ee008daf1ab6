/* host/png_test.c - pictures encoded, decoded again and compared. */
#include "host/png.h"

#include <png.h>
#include <stdlib.h>
#include <string.h>

#include "base/test.h"

static void round_trip(u32 w, u32 h)
{
    struct err e = {0};
    u8 *file = NULL, *rgb;
    size_t bytes = 0;
    struct pixmap p = {.width = w, .height = h, .px = malloc(sizeof(u32) * w * h)};
    png_image img = {.version = PNG_IMAGE_VERSION};
    assert_non_null(p.px);
    for (u32 i = 0; i < w * h; i++) p.px[i] = i * 2654435761u & 0xFFFFFF;
    assert_int_equal(png_encode(&p, &file, &bytes, &e), 0);
    assert_true(png_image_begin_read_from_memory(&img, file, bytes));
    assert_int_equal(img.width, w);
    assert_int_equal(img.height, h);
    img.format = PNG_FORMAT_RGB;
    rgb = malloc(PNG_IMAGE_SIZE(img));
    assert_non_null(rgb);
    assert_true(png_image_finish_read(&img, NULL, rgb, 0, NULL));
    for (u32 i = 0; i < w * h; i++) {
        u32 px = (u32)rgb[3 * i] << 16 | (u32)rgb[3 * i + 1] << 8 | rgb[3 * i + 2];
        assert_int_equal(px, p.px[i]);
    }
    free(rgb);
    free(file);
    free(p.px);
}

static void test_round_trips(void **state)
{
    (void)state;
    round_trip(1, 1);
    round_trip(720, 400);
    round_trip(PIXMAP_WIDTH_MAX, 3);
}

static void test_empty(void **state)
{
    struct pixmap p = {0};
    struct err e = {0};
    u8 *file = NULL;
    size_t bytes = 0;
    (void)state;
    assert_int_equal(png_encode(&p, &file, &bytes, &e), E_INVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_round_trips),
                                       cmocka_unit_test(test_empty)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

#include "engine/bt/targets.h"

#include <stdlib.h>

#include "base/test.h"

static const u8 code[64];

static void test_targets(void **state)
{
    struct targets t;
    struct err e = {0};
    (void)state;
    assert_int_equal(targets_init(&t, &e), 0);
    const u16 a = targets_new_mark(&t), b = targets_new_mark(&t);
    const u64 kernel = 0xFFFFFFFF81234560;
    assert_true(a && b && a != b);
    assert_null(targets_find(&t, a, 0x401230));
    targets_add(&t, a, 0x401230, code);
    targets_add(&t, b, 0x401230, code + 1);
    targets_add(&t, a, kernel, code + 2);
    assert_ptr_equal(targets_find(&t, a, 0x401230), code);
    assert_ptr_equal(targets_find(&t, b, 0x401230), code + 1);
    assert_ptr_equal(targets_find(&t, a, kernel), code + 2);
    assert_null(targets_find(&t, b, kernel));
    assert_null(targets_find(&t, a, 0x401231));
    targets_add(&t, a, 0x401230, code + 3); /* in its place */
    assert_ptr_equal(targets_find(&t, a, 0x401230), code + 3);
    targets_drop_page(&t, 0x402);
    assert_non_null(targets_find(&t, b, 0x401230));
    targets_drop_page(&t, 0x401);
    assert_null(targets_find(&t, a, 0x401230));
    assert_null(targets_find(&t, b, 0x401230));
    targets_drop_page(&t, kernel >> PAGE_SHIFT);
    assert_null(targets_find(&t, a, kernel));
    targets_fini(&t);
}

/* A page's targets may be in the page before: their instruction goes on there. */
static void test_edge(void **state)
{
    struct targets t;
    struct err e = {0};
    (void)state;
    assert_int_equal(targets_init(&t, &e), 0);
    const u16 mark = targets_new_mark(&t);
    targets_add(&t, mark, 0x401FF1, code);
    targets_add(&t, mark, 0x401FF2, code);
    targets_add(&t, mark, 0xFFFFFFFFFFFFFFF8, code);
    targets_drop_page(&t, 0x402);
    assert_non_null(targets_find(&t, mark, 0x401FF1));
    assert_null(targets_find(&t, mark, 0x401FF2));
    targets_drop_page(&t, ~0ull >> PAGE_SHIFT);
    assert_null(targets_find(&t, mark, 0xFFFFFFFFFFFFFFF8));
    targets_fini(&t);
}

/* A full set keeps the newest; marks that have run out forget everything. */
static void test_full(void **state)
{
    struct targets t;
    struct err e = {0};
    u16 mark;
    (void)state;
    assert_int_equal(targets_init(&t, &e), 0);
    mark = targets_new_mark(&t);
    for (u32 i = 0; i < 3 * TARGET_WAYS; i++) targets_add(&t, mark, 0x401230 + i, code + i);
    u32 kept = 0;
    for (u32 i = 0; i < 3 * TARGET_WAYS; i++) {
        const u8 *found = targets_find(&t, mark, 0x401230 + i);
        kept += found != NULL;
        assert_true(!found || found == code + i);
    }
    assert_int_equal(kept, TARGET_WAYS);
    assert_ptr_equal(targets_find(&t, mark, 0x401230 + 11), code + 11);
    for (u32 i = mark; i < UINT16_MAX; i++) assert_int_equal(targets_new_mark(&t), i + 1);
    assert_non_null(targets_find(&t, mark, 0x401230 + 11));
    assert_int_equal(targets_new_mark(&t), 0);
    assert_int_equal(targets_new_mark(&t), mark);
    assert_null(targets_find(&t, mark, 0x401230 + 11));
    targets_fini(&t);
}

static void test_pages(void **state)
{
    struct target_pages *p = calloc(1, sizeof *p);
    const u64 far = (u64)TARGET_PAGES << PAGE_SHIFT; /* the same place */
    (void)state;
    assert_false(target_pages_has(p, 0x5000, 0x9000) || target_pages_drop(p, 5));
    assert_true(target_pages_note(p, 0x5123, 0x9000));
    assert_true(target_pages_note(p, 0x5123 + far, 0xA000));
    assert_true(target_pages_has(p, 0x5FFF, 0x9000) && target_pages_has(p, 0x5000 + far, 0xA000));
    assert_false(target_pages_has(p, 0x5000, 0xA000) || target_pages_has(p, 0x6000, 0x9000));
    assert_true(target_pages_note(p, 0x5000, 0x9000));
    assert_false(target_pages_note(p, 0x5000, 0xB000)); /* moved */
    assert_true(target_pages_has(p, 0x5000, 0xB000));
    assert_true(target_pages_drop(p, 5));
    assert_false(target_pages_has(p, 0x5000, 0xB000) || target_pages_drop(p, 5));
    assert_true(target_pages_note(p, 0x5000, 0xC000)); /* nothing was left of it */
    assert_int_equal(p->count, 2);
    for (u32 i = 0; p->count <= TARGET_PAGES_MAX; i++)
        assert_true(target_pages_note(p, (u64)i << PAGE_SHIFT, i == 5 ? 0xC000 : 0x9000));
    assert_true(target_pages_has(p, 0x123456000, 0x9000) && target_pages_drop(p, 0x123456));
    target_pages_clear(p);
    assert_false(target_pages_has(p, 0x5000, 0xC000) || target_pages_drop(p, 0x123456));
    free(p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_edge),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_pages),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

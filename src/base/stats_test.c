#include "base/stats.h"

#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "base/test.h"

static struct stats numbered(void)
{
    struct stats s;
    for (u32 i = 0; i < stats_count(); i++) ((u64 *)&s)[i] = i + 1;
    return s;
}

static void test_add(void **state)
{
    (void)state;
    struct stats sum = numbered(), more = numbered();
    stats_add(&sum, &more);
    for (u32 i = 0; i < stats_count(); i++) assert_int_equal(stats_value(&sum, i), 2 * (i + 1));
    assert_int_equal(sum.insns, 2);
}

static void test_names_are_unique_and_explained(void **state)
{
    (void)state;
    for (u32 i = 0; i < stats_count(); i++) {
        assert_true(strlen(stats_name(i)) > 0 && strlen(stats_help(i)) > 0);
        for (u32 j = 0; j < i; j++) assert_string_not_equal(stats_name(i), stats_name(j));
    }
}

static void test_text(void **state)
{
    (void)state;
    struct stats s = numbered();
    size_t need = stats_text(&s, NULL, 0);
    char *text = malloc(need + 1);
    assert_int_equal(stats_text(&s, text, need + 1), need);
    assert_int_equal(strlen(text), need);
    u32 lines = 0;
    for (char *p = text; (p = strchr(p, '\n')); p++) lines++;
    assert_int_equal(lines, stats_count());
    char small[10];
    assert_int_equal(stats_text(&s, small, sizeof small), need);
    assert_int_equal(strlen(small), sizeof small - 1);
    free(text);
}

static void test_json_parses_back(void **state)
{
    (void)state;
    struct stats s = numbered();
    size_t need = stats_json(&s, NULL, 0);
    char *text = malloc(need + 1);
    assert_int_equal(stats_json(&s, text, need + 1), need);
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    assert_int_equal(json_object_size(root), stats_count());
    for (u32 i = 0; i < stats_count(); i++)
        assert_int_equal(json_integer_value(json_object_get(root, stats_name(i))), i + 1);
    json_decref(root);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_names_are_unique_and_explained),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_json_parses_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

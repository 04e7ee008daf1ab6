/* Noting blocks: each is due the second time, however many want the same place again and again. */
#include "engine/bt/late.h"

#include <stdlib.h>

#include "base/test.h"

enum { BLOCKS = 20000, ROUNDS = 64 };

static struct bt_late *make(void)
{
    struct bt_late *l = calloc(1, sizeof *l);
    assert_non_null(l);
    return l;
}

static void test_due_the_second_time(void **state)
{
    (void)state;
    struct bt_late *l = make();
    u32 early = 0, late = 0;
    for (u64 n = 0; n < BLOCKS; n++) {
        early += late_is_due(l, n * 137);
        if (l->once) late_note(l);
    }
    for (u64 n = 0; n < BLOCKS; n++) late += !late_is_due(l, n * 137);
    assert_in_range(early, 0, BLOCKS / 1000);
    assert_in_range(late, 0, BLOCKS / 100);
    free(l);
}

/* Blocks of one set, executed in turns, more than it holds: all of them are due soon. */
static void test_no_one_waits_for_ever(void **state)
{
    (void)state;
    struct bt_late *l = make();
    u64 block[3 * LATE_WAYS];
    bool due[ARRAY_LEN(block)] = {false};
    u32 found = 0, waiting = ARRAY_LEN(block);
    for (u64 n = 1; found < ARRAY_LEN(block); n++) {
        l->hash = n * 0x9E3779B97F4A7C15ull;
        if (late_set(l) == l->tag[5]) block[found++] = n;
    }
    for (u32 round = 0; round < ROUNDS && waiting; round++) {
        for (u32 n = 0; n < ARRAY_LEN(block); n++) {
            if (due[n]) continue;
            due[n] = late_is_due(l, block[n]);
            waiting -= due[n];
            if (!due[n]) late_note(l);
        }
    }
    assert_int_equal(waiting, 0);
    free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_due_the_second_time),
                                       cmocka_unit_test(test_no_one_waits_for_ever)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

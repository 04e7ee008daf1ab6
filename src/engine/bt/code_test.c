/* The code cache: records of pages and their variants, finding blocks by guest and by host address,
 * dropping, eviction, flushing, and the poll page. */
#include "engine/bt/code_index.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/test.h"

enum { PAGE = 0x5000, BYTES = 64, FAR_JUMP = 0xE9, GUEST_BYTE = 0x47 };

static struct bt_code *make(void)
{
    static struct bt_code c;
    struct err e = {0};
    assert_int_equal(code_init(&c, &e), 0);
    return &c;
}

/* A block of @insns instructions of 4 bytes at @off, whose host code is 16 bytes each. */
static const struct bt_slot *add(struct bt_code *c, gpa_t page, u32 variant, u16 off, u16 insns)
{
    struct bt_mark mark[BT_BLOCK_INSNS];
    for (u16 n = 0; n < insns; n++)
        mark[n] = (struct bt_mark){(u16)(n * 16), (u16)(off + n * 4), (u16)(n * 16)};
    struct bt_block b = {.code_off = c->used,
                         .code_bytes = insns * 16u,
                         .near_off = BT_FAR_BYTES,
                         .guest_off = off,
                         .guest_end = (u16)(off + insns * 4),
                         .insns = insns,
                         .marks = insns,
                         .mark = mark};
    assert_false(code_room(c));
    memset(c->rw + c->used, 0x90, insns * 16u);
    b.copy_off = c->used + insns * 16u;
    memset(c->rw + b.copy_off, GUEST_BYTE, insns * 4u);
    return code_add(c, &b, code_page(c, page, variant, true));
}

/* Where the jump at @at leads; 0: there is none. */
static u32 jump_to(const struct bt_code *c, u32 at)
{
    s32 rel;
    memcpy(&rel, c->rx + at + 1, sizeof rel);
    return c->rx[at] == FAR_JUMP ? at + 5 + (u32)rel : 0;
}

static bool leads_to_lookup(const struct bt_code *c, const struct bt_slot *s)
{
    static const u8 load[] = {0x4D, 0x8B, 0x97}; /* mov T1, [TB + disp32] */
    const u32 far = s->b.code_off, near = far + BT_FAR_BYTES;
    u32 at = near + 7 + 3; /* and a LEA with a displacement of 0, 1 or 4 bytes */
    if (s->b.guest_off) at += s->b.guest_off < 0x80 ? 1 : 4;
    return jump_to(c, far) == c->stubs.dropped && !memcmp(c->rx + near, load, sizeof load) &&
           jump_to(c, at) == c->stubs.dropped;
}

static void test_find(void **state)
{
    (void)state;
    struct bt_code *c = make();
    assert_null(code_find(c, PAGE + 8, 0));
    const struct bt_slot *a = add(c, PAGE, 0, 8, 3), *b = add(c, PAGE, 0, 12, 1);
    const struct bt_slot *user = add(c, PAGE, VARIANT_USER, 8, 2);
    assert_ptr_equal(code_find(c, PAGE + 8, 0), a);
    assert_ptr_equal(code_find(c, PAGE + 12, 0), b);
    assert_ptr_equal(code_find(c, PAGE + 8, VARIANT_USER), user);
    assert_null(code_find(c, PAGE + 8, VARIANT_VEC));
    assert_null(code_find(c, PAGE + 9, 0));
    assert_null(code_find(c, PAGE + PAGE_BYTES + 8, 0));
    assert_int_equal(a->page_gpa, PAGE);
    assert_int_equal(user->variant, VARIANT_USER);
    code_fini(c);
}

static void test_host_addresses(void **state)
{
    (void)state;
    struct bt_code *c = make();
    const struct bt_slot *s[100];
    for (u16 n = 0; n < 100; n++) s[n] = add(c, PAGE, 0, (u16)(n * 16), (u16)(1 + n % 4));
    for (u32 n = 0; n < 100; n++) {
        u64 start = (u64)(uintptr_t)code_far(c, s[n]);
        for (u32 at = 0; at < s[n]->b.code_bytes; at++) {
            assert_ptr_equal(code_at(c, start + at), s[n]);
            const struct bt_mark *m = code_mark_of(c, s[n], start + at);
            assert_int_equal(m->guest_off, s[n]->b.guest_off + at / 16 * 4);
        }
    }
    assert_null(code_at(c, (u64)(uintptr_t)c->rx));
    assert_null(code_at(c, (u64)(uintptr_t)c->rx + BT_POLL_OFF));
    assert_null(code_at(c, (u64)(uintptr_t)c->rx + c->used));
    assert_null(code_at(c, (u64)(uintptr_t)c->rx - 1));
    assert_null(code_at(c, 0));
    code_fini(c);
}

static void test_drop(void **state)
{
    (void)state;
    struct bt_code *c = make();
    const struct bt_slot *a = add(c, PAGE, 0, 8, 3), *b = add(c, PAGE, VARIANT_USER, 8, 1);
    const struct bt_slot *other = add(c, PAGE + PAGE_BYTES, 0, 8, 1);
    code_hints_make(c, code_page(c, PAGE, 0, false))->stepped[1] = 5;
    assert_false(code_drop(c, PAGE - PAGE_BYTES, PAGE));
    assert_false(code_drop(c, PAGE + 100, PAGE + 101)); /* no code there */
    assert_true(code_drop(c, PAGE + 11, PAGE + 12));
    assert_null(code_find(c, PAGE + 8, 0));
    assert_null(code_find(c, PAGE + 8, VARIANT_USER));
    assert_ptr_equal(code_find(c, PAGE + PAGE_BYTES + 8, 0), other);
    assert_true(leads_to_lookup(c, a) && leads_to_lookup(c, b));
    assert_true(a->dropped && b->dropped && !other->dropped);
    assert_int_equal(code_hints(c, code_page(c, PAGE, 0, false))->stepped[1], 5);
    assert_false(code_drop(c, PAGE, PAGE + 1));
    const struct bt_slot *again = add(c, PAGE, 0, 8, 2);
    assert_ptr_equal(code_find(c, PAGE + 8, 0), again);
    assert_true(code_drop(c, 0, ~0ull)); /* more pages than there are sets */
    assert_null(code_find(c, PAGE + 8, 0));
    assert_null(code_find(c, PAGE + PAGE_BYTES + 8, 0));
    code_fini(c);
}

static u32 leads_to(const struct bt_code *c, u32 site)
{
    s32 rel;
    memcpy(&rel, c->rx + site, sizeof rel);
    return site + 4 + (u32)rel;
}

/* Only what was made of the written bytes goes; it comes back if they are the same. */
static void test_revive(void **state)
{
    (void)state;
    struct bt_code *c = make();
    u8 guest[16];
    memset(guest, GUEST_BYTE, sizeof guest);
    const struct bt_slot *a = add(c, PAGE, 0, 64, 4), *b = add(c, PAGE, 0, 80, 4);
    const u32 site = b->b.code_off + 20, exit = site + 9, target = a->b.code_off + a->b.near_off;
    code_patch_jump(c, site, exit);
    code_link(c, a, site, target);
    assert_int_equal(leads_to(c, site), target);
    assert_false(code_drop(c, PAGE, PAGE + 64));
    assert_true(code_drop(c, PAGE + 79, PAGE + 80));
    assert_true(a->dropped && !a->dead && !b->dropped);
    assert_int_equal(leads_to(c, site), exit);
    assert_null(code_find(c, PAGE + 64, 0));
    assert_ptr_equal(code_known(c, PAGE + 64, 0), a);
    assert_false(code_drop(c, PAGE + 64, PAGE + 80)); /* it is already */
    assert_true(code_revive(c, a, guest));
    assert_int_equal(c->rx[a->b.code_off], 0x90);
    assert_int_equal(leads_to(c, site), target);
    code_link(c, a, site, target); /* for the exit that had it revived */
    assert_int_equal(c->links, 1);
    assert_ptr_equal(code_find(c, PAGE + 64, 0), a);
    assert_true(code_drop(c, PAGE + 64, PAGE + 65));
    guest[15] ^= 1;
    assert_false(code_revive(c, a, guest));
    assert_true(a->dead && leads_to_lookup(c, a));
    assert_int_equal(leads_to(c, site), exit);
    assert_null(code_known(c, PAGE + 64, 0));
    code_kill(c, PAGE + 95, PAGE + 96);
    assert_true(b->dead);
    assert_false(code_drop(c, PAGE, PAGE + PAGE_BYTES));
    assert_int_equal(code_page(c, PAGE, 0, false)->first, 0);
    const struct bt_slot *again = add(c, PAGE, 0, 64, 4);
    assert_ptr_equal(code_find(c, PAGE + 64, 0), again);
    code_fini(c);
}

/* A jump at the start of a block that is dropped, too, so that it is under the lid, or half. */
static void test_links_under_lids(void **state)
{
    (void)state;
    u8 guest[16];
    memset(guest, GUEST_BYTE, sizeof guest);
    for (u32 off = BT_LID_BYTES - 8; off < BT_LID_BYTES + 2; off++) {
        struct bt_code *c = make();
        const struct bt_slot *a = add(c, PAGE, 0, 64, 4), *b = add(c, PAGE, 0, 80, 4);
        const u32 site = b->b.code_off + off, exit = site + 9, target = a->b.code_off;
        code_patch_jump(c, site, exit);
        code_link(c, a, site, target);
        assert_int_equal(leads_to(c, site), target);
        assert_true(code_drop(c, PAGE + 80, PAGE + 81) && code_drop(c, PAGE + 64, PAGE + 65));
        assert_true(leads_to_lookup(c, a) && leads_to_lookup(c, b));
        assert_true(code_revive(c, b, guest));
        assert_int_equal(leads_to(c, site), exit);
        assert_true(code_drop(c, PAGE + 80, PAGE + 81) && code_revive(c, a, guest));
        assert_true(leads_to_lookup(c, b) && code_revive(c, b, guest));
        assert_int_equal(leads_to(c, site), target);
        code_kill(c, PAGE + 80, PAGE + 81);
        code_patch_jump(c, site, exit); /* dead: never mind */
        code_kill(c, PAGE + 64, PAGE + 65);
        assert_true(leads_to_lookup(c, a) && leads_to_lookup(c, b));
        code_fini(c);
    }
}

/* The block of an instruction across pages is found by nobody and goes with either page. */
static void test_cross(void **state)
{
    (void)state;
    for (u32 which = 0; which < 2; which++) {
        struct bt_code *c = make();
        struct bt_mark mark = {0, PAGE_BYTES - 2, 0};
        struct bt_block b = {.code_off = c->used,
                             .code_bytes = BYTES,
                             .near_off = BT_FAR_BYTES,
                             .guest_off = PAGE_BYTES - 2,
                             .guest_end = PAGE_BYTES + 3,
                             .insns = 1,
                             .marks = 1,
                             .mark = &mark};
        struct bt_page *p = code_page(c, PAGE, 0, true);
        struct bt_page *q = code_page(c, PAGE + 7 * PAGE_BYTES, 0, true);
        const struct bt_slot *s = code_add_cross(c, &b, p, q);
        assert_null(code_find(c, PAGE + PAGE_BYTES - 2, 0));
        assert_false(s->dropped);
        assert_non_null(code_at(c, (u64)(uintptr_t)code_far(c, s)));
        add(c, PAGE, 0, 0, 1);
        add(c, PAGE + 7 * PAGE_BYTES, 0, 0, 1);
        gpa_t page = which ? PAGE + 7 * PAGE_BYTES : PAGE;
        assert_true(code_drop(c, page, page + 1));
        assert_true(s->dropped && leads_to_lookup(c, s));
        assert_null(code_find(c, page, 0));
        code_fini(c);
    }
}

/* More pages of one set than it has ways: the oldest goes, with its blocks. */
static void test_eviction(void **state)
{
    (void)state;
    struct bt_code *c = make();
    const struct bt_slot *s[2 * BT_PAGE_WAYS];
    gpa_t gpa[2 * BT_PAGE_WAYS];
    u32 found = 0, dropped = 0;
    for (u32 n = 0; n < 2 * BT_PAGE_WAYS;
         n++) { /* id ^ id >> 11 stays the same; id = page * VARIANTS + 1 */
        const u64 id = (u64)n * VARIANTS << 11 | (1 ^ n * VARIANTS);
        gpa[n] = id / VARIANTS << PAGE_SHIFT;
        s[n] = add(c, gpa[n], 0, 0, 1);
        assert_ptr_equal(code_find(c, gpa[n], 0), s[n]);
    }
    for (u32 n = 0; n < 2 * BT_PAGE_WAYS; n++) {
        found += code_find(c, gpa[n], 0) == s[n];
        dropped += s[n]->dropped;
        assert_true(!s[n]->dropped || leads_to_lookup(c, s[n]));
    }
    assert_int_equal(found, BT_PAGE_WAYS);
    assert_int_equal(dropped, BT_PAGE_WAYS);
    assert_int_equal(c->evictions, BT_PAGE_WAYS);
    code_fini(c);
}

/* Blocks whose addresses are as dense as code is. */
static void test_index(void **state)
{
    (void)state;
    struct bt_code *c = make();
    const u32 pages = 256, each = 400;
    for (u32 n = 0; n < pages * each; n++)
        add(c, PAGE + (gpa_t)(n / each) * PAGE_BYTES, n & 1, (u16)(n % each * 10), 1);
    for (u32 n = 0; n < pages * each; n++) {
        const gpa_t gpa = PAGE + (gpa_t)(n / each) * PAGE_BYTES + n % each * 10;
        const struct bt_slot *s = code_find(c, gpa, n & 1);
        assert_non_null(s);
        assert_int_equal(s->page_gpa + s->b.guest_off, gpa);
        assert_null(code_find(c, gpa, ~n & 1));
    }
    code_drop_all(c);
    for (u32 n = 0; n < BLOCK_BUCKETS; n++) assert_int_equal(c->index[n], 0);
    code_fini(c);
}

/* When something changes, those go that assumed it, and no others. */
static void test_assumptions(void **state)
{
    (void)state;
    struct bt_code *c = make();
    const struct bt_slot *plain = add(c, PAGE, 0, 0, 1), *sse = add(c, PAGE, 0, 16, 1);
    const struct bt_slot *both = add(c, PAGE, 0, 32, 1), *cr4 = add(c, PAGE, 0, 48, 1);
    code_assume(c, plain, 0);
    code_assume(c, sse, 1 << FPU_SSE);
    code_assume(c, both, 1 << FPU_SSE | 1 << FPU_X87);
    code_assume(c, cr4, ASSUMES_CR4);
    code_changed(c, 1 << FPU_X87);
    assert_ptr_equal(code_find(c, PAGE + 16, 0), sse);
    assert_null(code_known(c, PAGE + 32, 0));
    assert_true(leads_to_lookup(c, both));
    code_changed(c, 1 << FPU_SSE | ASSUMES_CR4);
    assert_null(code_known(c, PAGE + 16, 0));
    assert_null(code_known(c, PAGE + 48, 0));
    assert_ptr_equal(code_find(c, PAGE, 0), plain);
    assert_int_equal(c->assumers, 0);
    assert_true(code_drop(c, PAGE, PAGE + PAGE_BYTES));
    assert_true(leads_to_lookup(c, plain));
    code_fini(c);
}

static void test_full(void **state)
{
    (void)state;
    struct bt_code *c = make();
    const u32 stub = c->stubs.dropped;
    u32 blocks = 0;
    for (; blocks < 2 * BT_BLOCKS; blocks++) {
        if (code_room(c)) break;
        add(c, PAGE + (gpa_t)(blocks / 512) * PAGE_BYTES, 0, (u16)(blocks % 512 * 8), 2);
    }
    assert_in_range(blocks, BT_BLOCKS / 2, BT_BLOCKS);
    assert_int_equal(c->flushes, 1);
    assert_int_equal(c->used, BT_CODE_START);
    assert_null(code_find(c, PAGE, 0));
    assert_null(code_at(c, (u64)(uintptr_t)c->rx + BT_CODE_START));
    assert_int_equal(c->stubs.dropped, stub);
    const struct bt_slot *s = add(c, PAGE, 0, 0, 1);
    assert_ptr_equal(code_find(c, PAGE, 0), s);
    for (u32 n = 0; !code_room(c); n++) c->used += BT_BLOCK_CODE_BYTES; /* bytes run out, too */
    assert_int_equal(c->flushes, 2);
    code_fini(c);
}

/* The kernel's copy tells whether a page can be read. */
static int read_error(const void *at)
{
    int fd[2];
    assert_int_equal(pipe(fd), 0);
    int error = write(fd[1], at, 1) == 1 ? 0 : errno;
    close(fd[0]);
    close(fd[1]);
    return error;
}

static void test_poll(void **state)
{
    (void)state;
    struct bt_code *c = make();
    assert_int_equal(read_error(c->rx + c->stubs.poll), 0);
    code_poll_arm(c);
    assert_int_equal(read_error(c->rx + c->stubs.poll), EFAULT);
    assert_int_equal(read_error(c->rx + c->stubs.poll - PAGE_BYTES), 0);
    assert_int_equal(read_error(c->rx + c->stubs.poll + PAGE_BYTES), 0);
    code_poll_arm(c);
    code_poll_disarm(c);
    assert_int_equal(read_error(c->rx + c->stubs.poll), 0);
    code_fini(c);
}

/* Written through one mapping, executed through the other, never both. */
static void test_mappings(void **state)
{
    (void)state;
    struct bt_code *c = make();
    c->rw[BT_CODE_START] = 0xB8; /* mov eax, 42; ret */
    memcpy(c->rw + BT_CODE_START + 1, &(u32){42}, 4);
    c->rw[BT_CODE_START + 5] = 0xC3;
    assert_int_equal(((int (*)(void))(uintptr_t)(c->rx + BT_CODE_START))(), 42);
    c->rw[BT_CODE_START + 10] = FAR_JUMP;
    code_patch_jump(c, BT_CODE_START + 11, BT_CODE_START);
    assert_int_equal(((int (*)(void))(uintptr_t)(c->rx + BT_CODE_START + 10))(), 42);
    code_fini(c);
}

/* More pages with hints than may have them: the first ones lose theirs, nobody gets another's. */
static void test_hints_run_out(void **state)
{
    (void)state;
    struct bt_code *c = make();
    const u32 pages = BT_HINTS + 5;
    struct bt_page *without = code_page(c, PAGE + pages * (u64)PAGE_BYTES, 0, true);
    for (u32 n = 0; n < pages; n++) {
        struct bt_page *p = code_page(c, PAGE + n * (u64)PAGE_BYTES, 0, true);
        assert_int_equal(code_hints(c, p)->tested[3], 0);
        code_hints_make(c, p)->tested[3] = (u8)(n % 255 + 1);
    }
    for (u32 n = 0; n < pages; n++) {
        const struct bt_page *p = code_page(c, PAGE + n * (u64)PAGE_BYTES, 0, false);
        assert_int_equal(code_hints(c, p)->tested[3], n < pages - (BT_HINTS - 1) ? 0 : n % 255 + 1);
    }
    assert_int_equal(code_hints(c, without)->tested[3], 0);
    code_drop_all(c);
    assert_int_equal(code_hints(c, code_page(c, PAGE, 0, true))->tested[3], 0);
    code_fini(c);
}

/* The host's pages come before the blocks, and both mappings have them. */
static void test_pages_come_first(void **state)
{
    (void)state;
    struct bt_code *c = make();
    const u32 wanted = 2 * 1024 * 1024;
    while (c->used < wanted) {
        assert_false(code_room(c));
        assert_true(c->there >= c->used + BT_BLOCK_CODE_BYTES);
        c->rw[c->used] = 0x90;
        assert_int_equal(c->rx[c->used], 0x90);
        c->used += BT_BLOCK_CODE_BYTES - 16;
    }
    assert_true(c->there <= wanted + MIB(1));
    code_drop_all(c);
    assert_false(code_room(c));
    assert_true(c->there >= wanted);
    code_fini(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find),
        cmocka_unit_test(test_host_addresses),
        cmocka_unit_test(test_drop),
        cmocka_unit_test(test_cross),
        cmocka_unit_test(test_eviction),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_index),
        cmocka_unit_test(test_assumptions),
        cmocka_unit_test(test_poll),
        cmocka_unit_test(test_mappings),
        cmocka_unit_test(test_hints_run_out),
        cmocka_unit_test(test_revive),
        cmocka_unit_test(test_pages_come_first),
        cmocka_unit_test(test_links_under_lids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* head_test.c - instructions decoded by their heads are what isa_decode makes of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the above */
#include <cmocka.h>

#include "isa/head.h"

static struct insn_shape *shapes;

static int setup(void **state)
{
    (void)state;
    shapes = aligned_alloc(64, INSN_SHAPES * sizeof *shapes);
    if (!shapes) return -1;
    memset(shapes, 0, INSN_SHAPES * sizeof *shapes);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    free(shapes);
    return 0;
}

static u64 next_random(u64 *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

/* Both ways; returns whether the head was known before. 15 bytes are readable. */
static bool check(const u8 *code, u32 avail, enum isa_mode mode)
{
    struct insn a, b;
    struct insn_head h;
    bool known = isa_head(&h, code, avail, mode) && shapes[isa_shape_index(h.key)].key == h.key;
    int want = isa_decode(&a, code, avail, mode);
    int got = isa_decode_shaped(shapes, &b, code, avail, mode);
    assert_int_equal(got, want);
    a.head = b.head;
    assert_memory_equal(&a, &b, sizeof a);
    return known && b.head;
}

static void random_instructions(void **state)
{
    static const u8 lead[] = {0x48, 0x66, 0xF3, 0xF2, 0x41, 0x67, 0x4C, 0x64, 0xF0, 0x0F};
    u64 seed = 0x1234567;
    u32 known = 0;
    (void)state;
    for (u32 n = 0; n < 1500000; n++) {
        u64 words[3] = {next_random(&seed), next_random(&seed)};
        u8 *code = (u8 *)words, at = 0;
        for (u64 r = next_random(&seed); r & 3; r >>= 8)
            if (at < 4) code[at++] = lead[r / 4 % sizeof lead];
        code[at + 1] &= 0xE7; /* fewer different ModRM bytes, so that heads come again */
        if (code[at] == 0x0F) code[at + 2] &= 0xC5;
        known += check(code, 1 + (u32)(next_random(&seed) % 15), n & 1 ? ISA_32 : ISA_64);
    }
    assert_true(known > 100000);
}

static void every_opcode(void **state)
{
    (void)state;
    for (u32 round = 0; round < 3; round++)
        for (u32 op = 0; op < 512; op++)
            for (u32 modrm = 0; modrm < 256; modrm++) {
                u8 code[15] = {0x0F};
                memset(code + 1, round == 1 ? 0x80 : 0x7F + round, 14);
                u8 *at = code + (op >= 256);
                at[0] = (u8)op;
                at[1] = (u8)modrm;
                check(code, sizeof code, ISA_64);
                check(code, sizeof code, ISA_32);
            }
}

/* Every register in every place, with and without REX, of every opcode. */
static void every_register(void **state)
{
    (void)state;
    u64 seed = 99;
    u32 known = 0, all = 0;
    for (u32 op = 0; op < 512; op++)
        for (u32 n = 0; n < 2000; n++) {
            const u64 r = next_random(&seed);
            u8 code[15 + 9] = {0}, at = 0;
            const bool is64 = r & 1;
            if (r & 2) code[at++] = r & 4 ? 0x66 : r & 8 ? 0xF3 : 0xF2;
            if (r & 0x10 && is64) code[at++] = 0x40 | (r >> 5 & 15);
            if (op >= 256) code[at++] = 0x0F;
            code[at++] = (u8)op;
            memcpy(code + at, &r, 8);
            code[at] = (u8)(r >> 16);
            known += check(code, 15, is64 ? ISA_64 : ISA_32);
            all++;
        }
    assert_true(known > all / 2);
}

/* VEX and EVEX forms; compressed displacements. */
static void vector_forms(void **state)
{
    (void)state;
    u64 seed = 7;
    u32 known = 0;
    for (u32 n = 0; n < 300000; n++) {
        const u64 r = next_random(&seed);
        u8 code[15 + 9] = {0x62, (u8)(0xF1 + (r & 1)), 0x7C | (r >> 1 & 0x81), 0x48, 0};
        if (r & 0x10) memcpy(code, r & 0x20 ? "\xC5\xF8" : "\xC4\xE1\x78", 3);
        u8 *at = code + (r & 0x10 ? r & 0x20 ? 2 : 3 : 4);
        at[0] = (u8)(r >> 8);
        at[1] = (u8)(r >> 16) & 0xDB;
        memcpy(at + 2, &seed, 8);
        if ((at[1] & 7) == 4) at[2] &= 0x24;
        known += check(code, 15, ISA_64);
    }
    assert_true(known > 5000);
}

static void lengths(void **state)
{
    struct insn_head h;
    (void)state;
    const u8 mov[15] = {0x48, 0x8B, 0x44, 0x24, 0x18}; /* mov rax, [rsp + 24] */
    assert_true(isa_head(&h, mov, 5, ISA_64));
    assert_int_equal(h.len, 4);
    assert_int_equal(h.disp_bytes, 1);
    assert_false(isa_head(&h, mov, 4, ISA_64));
    const u8 vex[15] = {0xC5, 0xF8, 0x77};
    assert_true(isa_head(&h, vex, 3, ISA_64));
    assert_int_equal(h.len, 3);
    assert_false(isa_head(&h, vex, 3, ISA_32));
    const u8 rip[15] = {0xFF, 0x25, 1, 2, 3, 4}; /* jmp [rip + ...] */
    assert_true(isa_head(&h, rip, 6, ISA_64));
    assert_int_equal(h.len, 2);
    assert_int_equal(h.disp_bytes, 4);
}

/* Instructions that differ in registers only have one key, others have not. */
static void keys(void **state)
{
    static const struct {
        u8 a[15], b[15];
        bool same;
    } rows[] = {
        {{0x48, 0x8B, 0x44, 0x24, 0x18}, {0x4D, 0x8B, 0x6C, 0x9D, 0x7F}, false}, /* no index */
        {{0x48, 0x8B, 0x44, 0x48, 0x18}, {0x4D, 0x8B, 0x6C, 0x9D, 0x7F}, true},
        {{0x48, 0x8B, 0x44, 0x20, 0x18}, {0x4A, 0x8B, 0x44, 0x20, 0x18}, false}, /* index R12 */
        {{0x8B, 0x07}, {0x8B, 0x11}, true},
        {{0x8B, 0x07}, {0x8B, 0x05}, false},             /* [rip] */
        {{0x8B, 0x04, 0x05}, {0x8B, 0x04, 0x07}, false}, /* no base */
        {{0x01, 0xD8}, {0x01, 0xC1}, true},
        {{0x01, 0xD8}, {0x03, 0xD8}, false},
        {{0xF7, 0xD8}, {0xF7, 0xD1}, false}, /* NEG, NOT */
        {{0xF7, 0xD9}, {0xF7, 0xD8}, true},
        {{0x50}, {0x51}, false},
    };
    struct insn_head a, b;
    (void)state;
    for (u32 k = 0; k < ARRAY_LEN(rows); k++) {
        assert_true(isa_head(&a, rows[k].a, 15, ISA_64) && isa_head(&b, rows[k].b, 15, ISA_64));
        assert_int_equal(a.key == b.key, rows[k].same);
        assert_true(isa_head(&b, rows[k].b, 15, ISA_32));
        assert_int_not_equal(a.key, b.key);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_instructions),
        cmocka_unit_test(every_opcode),
        cmocka_unit_test(every_register),
        cmocka_unit_test(vector_forms),
        cmocka_unit_test(keys),
        cmocka_unit_test(lengths),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

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
    shapes = calloc(INSN_SHAPES, sizeof *shapes);
    return shapes ? 0 : -1;
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

/* Both ways; returns whether the head was known before. */
static bool check(const u8 *code, u32 avail)
{
    struct insn a, b;
    struct insn_head h;
    bool known = isa_head(&h, code, avail) && shapes[isa_shape_index(h.key)].key == h.key;
    int want = isa_decode(&a, code, avail, ISA_64);
    int got = isa_decode_shaped(shapes, &b, code, avail);
    assert_int_equal(got, want);
    assert_memory_equal(&a, &b, sizeof a);
    return known;
}

static void random_instructions(void **state)
{
    static const u8 lead[] = {0x48, 0x66, 0xF3, 0xF2, 0x41, 0x67, 0x4C, 0x64, 0xF0, 0x0F};
    u64 seed = 0x1234567;
    u32 known = 0;
    (void)state;
    for (u32 n = 0; n < 1500000; n++) {
        u64 words[2] = {next_random(&seed), next_random(&seed)};
        u8 *code = (u8 *)words, at = 0;
        for (u64 r = next_random(&seed); r & 3; r >>= 8)
            if (at < 4) code[at++] = lead[r / 4 % sizeof lead];
        code[at + 1] &= 0xE7; /* fewer different ModRM bytes, so that heads come again */
        if (code[at] == 0x0F) code[at + 2] &= 0xC5;
        known += check(code, 1 + (u32)(next_random(&seed) % 16));
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
                check(code, sizeof code);
            }
}

static void lengths(void **state)
{
    struct insn_head h;
    (void)state;
    const u8 mov[] = {0x48, 0x8B, 0x44, 0x24, 0x18}; /* mov rax, [rsp + 24] */
    assert_true(isa_head(&h, mov, sizeof mov));
    assert_int_equal(h.len, 4);
    assert_int_equal(h.disp_bytes, 1);
    assert_false(isa_head(&h, mov, 4));
    const u8 vex[] = {0xC5, 0xF8, 0x77};
    assert_false(isa_head(&h, vex, sizeof vex));
    const u8 rip[] = {0xFF, 0x25, 1, 2, 3, 4}; /* jmp [rip + ...] */
    assert_true(isa_head(&h, rip, sizeof rip));
    assert_int_equal(h.len, 2);
    assert_int_equal(h.disp_bytes, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_instructions),
        cmocka_unit_test(every_opcode),
        cmocka_unit_test(lengths),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

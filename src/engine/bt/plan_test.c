/* plan_test.c - what is kept of plans and spellings by heads is what would be found out anew. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the above */
#include <cmocka.h>

#include "engine/bt/plan.h"

struct rig {
    struct insn_shape shape[INSN_SHAPES];
    struct plan_cache plans;
    u64 seed;
    u32 known, spelled, failed;
};

static int setup(void **state)
{
    struct rig *r = aligned_alloc(64, align_up(sizeof *r, 64));
    *state = r;
    if (!r) return -1;
    memset(r, 0, sizeof *r);
    r->seed = 0x5EED;
    return 0;
}
static int teardown(void **state)
{
    free(*state);
    return 0;
}

static u64 next_random(struct rig *r)
{
    r->seed ^= r->seed << 13;
    r->seed ^= r->seed >> 7;
    r->seed ^= r->seed << 17;
    return r->seed;
}

static void check_plan(struct rig *r, const struct insn *i)
{
    struct plan kept, made;
    plan_find(&r->plans, &kept, i);
    plan_find(NULL, &made, i);
    assert_int_equal(kept.ok, made.ok);
    if (!made.ok) return;
    r->known++;
    assert_int_equal(kept.gpr_used, made.gpr_used);
    assert_int_equal(kept.gpr_written, made.gpr_written);
    assert_int_equal(kept.high, made.high);
    assert_int_equal(kept.mem, made.mem);
    assert_int_equal(kept.bt_mem, made.bt_mem);
    assert_int_equal(kept.x87, made.x87);
    assert_int_equal(kept.x87_pointers, made.x87_pointers);
    assert_int_equal(kept.avx, made.avx);
    assert_int_equal(kept.avx512, made.avx512);
    assert_int_equal(kept.aligned, made.aligned);
    assert_int_equal(kept.masked, made.masked);
    assert_int_equal(kept.has_twin, made.has_twin);
}

static void check_spelling(struct rig *r, const struct insn *i, bool twin,
                           const struct respell_map *map)
{
    struct spelling kept, made;
    struct plan p;
    plan_find(NULL, &p, i);
    const struct plan *with = twin && p.has_twin ? &p : NULL;
    const bool want = plan_spell(NULL, &made, i, with, map);
    assert_int_equal(plan_spell(&r->plans, &kept, i, with, map), want);
    r->spelled += want;
    r->failed += !want;
    if (!want) return;
    assert_int_equal(kept.len + kept.imm_bytes, made.len);
    assert_memory_equal(kept.bytes, made.bytes, kept.len);
    assert_memory_equal(i->bytes + i->len - kept.imm_bytes, made.bytes + kept.len, kept.imm_bytes);
}

/* The maps the translator uses, and some. */
static void check_spellings(struct rig *r, const struct insn *i)
{
    const u64 n = next_random(r);
    struct respell_map map = {.base = n & 15, .index = n & 16 ? R11 : REG_NONE};
    for (u8 k = 0; k < GPRS; k++) map.gpr[k] = k == R10 || k == R11 || k == R15 ? R15 : k;
    if (n & 32) map.disp = (s32)(n >> 32);
    check_spelling(r, i, n & 64, &map);
}

static void check(struct rig *r, const u8 *code, enum isa_mode mode)
{
    struct insn i;
    if (isa_decode_shaped(r->shape, &i, code, INSN_BYTES_MAX, mode) <= 0) return;
    if (i.row != INSN_COMPUTE) return;
    check_plan(r, &i);
    if (i.mem_bytes && !(i.prefixes & PFX_67)) check_spellings(r, &i);
}

static void legacy(void **state)
{
    struct rig *r = *state;
    for (u32 op = 0; op < 512; op++)
        for (u32 n = 0; n < 1000; n++) {
            const u64 w = next_random(r);
            u8 code[INSN_BYTES_MAX] = {0}, at = 0;
            const bool is64 = n & 1;
            if (w & 1) code[at++] = w & 2 ? 0x66 : w & 4 ? 0xF3 : w & 8 ? 0xF2 : 0x64;
            if (w & 0x10 && is64) code[at++] = 0x40 | (w >> 5 & 15);
            if (op >= 256) code[at++] = 0x0F;
            code[at++] = (u8)op;
            memcpy(code + at, &w, 8);
            code[at] = (u8)(w >> 16);
            check(r, code, is64 ? ISA_64 : ISA_32);
        }
    assert_true(r->known > 100000);
    assert_true(r->spelled > 50000);
    assert_true(r->failed > 1000); /* AH to BH where there must be a REX */
}

static void three_bytes_and_vectors(void **state)
{
    struct rig *r = *state;
    r->spelled = 0;
    for (u32 n = 0; n < 200000; n++) {
        static const u8 lead[][4] = {{0x0F, 0x38},
                                     {0x66, 0x0F, 0x38},
                                     {0x66, 0x0F, 0x3A},
                                     {0x0F, 0x3A},
                                     {0xC5, 0xF8},
                                     {0xC5, 0xF9},
                                     {0xC4, 0xE2, 0x79},
                                     {0xC4, 0xC1, 0x7E},
                                     {0x62, 0xF1, 0x7C, 0x48},
                                     {0x62, 0xF1, 0x7F, 0x48}};
        static const u8 bytes[] = {2, 3, 3, 2, 2, 2, 3, 3, 4, 4};
        const u64 w = next_random(r);
        const u32 k = (u32)(w % ARRAY_LEN(lead));
        u8 code[INSN_BYTES_MAX] = {0};
        memcpy(code, lead[k], 4);
        code[bytes[k]] = (u8)(w >> 8);
        memcpy(code + bytes[k] + 1, &r->seed, 8);
        code[bytes[k] + 1] &= 0xDB;
        check(r, code, ISA_64);
    }
    assert_true(r->spelled > 10000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(legacy),
        cmocka_unit_test(three_bytes_and_vectors),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}

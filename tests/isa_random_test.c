/* tests/isa_random_test.c - random COMPUTE instructions of every class, host CPU against
 * native_exec(); see isa_diff.h. ISA_SEED and ISA_CASES choose other ones; a mismatch prints both
 * states and the seed that repeats it as the first case. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above */
#include <cmocka.h>

#include "isa_diff.h"
#include "isa_heads.h"

enum { CASES = 120000 }; /* half of them 64-bit code, the rest 32- and 16-bit code */

static u64 env_u64(const char *name, u64 otherwise)
{
    const char *s = getenv(name);
    return s ? strtoull(s, NULL, 0) : otherwise;
}

static void test_host_and_guest_agree(void **state)
{
    (void)state;
    diff_init(env_u64("ISA_SEED",
                      0x5EED)); /* here: cmocka has its own signal handlers around each test */
    u64 cases = env_u64("ISA_CASES", CASES);
    while (D.cases < cases / 2 && D.mismatches < 3) diff_case();
    if (diff_set_mode(ISA_32, false))
        while (D.cases < cases / 8 * 5 && D.mismatches < 3) diff_case();
    if (!diff_set_mode(ISA_32, true)) {
        print_message("no LDT on this host: segmented and 16-bit code not run\n");
    } else {
        while (D.cases < cases / 8 * 6 && D.mismatches < 3) diff_case();
        diff_set_mode(ISA_16, true);
        while (D.cases < cases && D.mismatches < 3) diff_case();
    }
    diff_set_mode(ISA_64, false);
    assert_int_equal(D.mismatches, 0);
}

/* Classes that any host this product runs on has. */
static const ZydisInstructionCategory always[] = {
    ZYDIS_CATEGORY_BINARY,     ZYDIS_CATEGORY_BITBYTE,  ZYDIS_CATEGORY_CMOV,
    ZYDIS_CATEGORY_CONVERT,    ZYDIS_CATEGORY_DATAXFER, ZYDIS_CATEGORY_FCMOV,
    ZYDIS_CATEGORY_FLAGOP,     ZYDIS_CATEGORY_LOGICAL,  ZYDIS_CATEGORY_LOGICAL_FP,
    ZYDIS_CATEGORY_MISC,       ZYDIS_CATEGORY_MMX,      ZYDIS_CATEGORY_ROTATE,
    ZYDIS_CATEGORY_SEMAPHORE,  ZYDIS_CATEGORY_SETCC,    ZYDIS_CATEGORY_SHIFT,
    ZYDIS_CATEGORY_SSE,        ZYDIS_CATEGORY_STTNI,    ZYDIS_CATEGORY_X87_ALU,
    ZYDIS_CATEGORY_STRINGOP,   ZYDIS_CATEGORY_PUSH,     ZYDIS_CATEGORY_POP,
    ZYDIS_CATEGORY_CALL,       ZYDIS_CATEGORY_RET,      ZYDIS_CATEGORY_COND_BR,
    ZYDIS_CATEGORY_UNCOND_BR,  ZYDIS_CATEGORY_DECIMAL,  ZYDIS_CATEGORY_IO,
    ZYDIS_CATEGORY_IOSTRINGOP, ZYDIS_CATEGORY_SYSTEM,   ZYDIS_CATEGORY_NOP};
static const ZydisInstructionCategory with_avx2[] = {
    ZYDIS_CATEGORY_AVX,  ZYDIS_CATEGORY_AVX2, ZYDIS_CATEGORY_AVX2GATHER, ZYDIS_CATEGORY_BMI1,
    ZYDIS_CATEGORY_BMI2, ZYDIS_CATEGORY_VFMA, ZYDIS_CATEGORY_BROADCAST};
static const ZydisInstructionCategory with_avx512[] = {
    ZYDIS_CATEGORY_AVX512, ZYDIS_CATEGORY_COMPRESS, ZYDIS_CATEGORY_EXPAND,
    ZYDIS_CATEGORY_GATHER, ZYDIS_CATEGORY_SCATTER,  ZYDIS_CATEGORY_KMASK,
    ZYDIS_CATEGORY_BLEND,  ZYDIS_CATEGORY_CONFLICT};

static void assert_covered(const ZydisInstructionCategory *c, u32 n)
{
    for (; n--; c++)
        if (!D.per_category[*c]) fail_msg("no case of class %s", ZydisCategoryGetString(*c));
}

static void test_every_class_was_run(void **state)
{
    static const char *const kind[] = {"memory", "lock",      "crossing",     "masked memory",
                                       "faults", "high byte", "RIP-relative", "direct"};
    (void)state;
    for (u32 c = 0; c <= ZYDIS_CATEGORY_MAX_VALUE; c++)
        if (D.per_category[c])
            print_message("%-14s %8" PRIu64 "\n", ZydisCategoryGetString(c), D.per_category[c]);
    for (u32 k = 0; k < ARRAY_LEN(kind); k++) {
        print_message("%-14s %8" PRIu64 "\n", kind[k], D.per_kind[k]);
        if (!D.per_kind[k] && (k != KIND_MASKED || D.off_k)) fail_msg("no case of %s", kind[k]);
    }
    static const u8 vector[] = {EXC_DE, EXC_BR, EXC_UD, EXC_SS, EXC_GP,
                                EXC_PF, EXC_MF, EXC_AC, EXC_XM};
    for (u32 n = 0; n < ARRAY_LEN(vector); n++) {
        print_message("vector %-7u %8" PRIu64 "\n", vector[n], D.per_vector[vector[n]]);
        if (!D.per_vector[vector[n]]) fail_msg("no case with exception %u", vector[n]);
    }
    assert_covered(always, ARRAY_LEN(always));
    if (__builtin_cpu_supports("avx2")) assert_covered(with_avx2, ARRAY_LEN(with_avx2));
    if (D.off_k) assert_covered(with_avx512, ARRAY_LEN(with_avx512));
}

/* ---- every opcode once ---- */
static bool one(const u8 *head, u32 n, bool mem)
{
    diff_case_of(head, n, mem);
    return D.mismatches < 3;
}

/* Every COMPUTE mnemonic that decodes and this host has, on both sides. */
static void test_every_opcode(void **state)
{
    (void)state;
    u32 known = 0, ran = 0;
    u64 cases = D.cases;
    diff_catch(); /* cmocka has taken them back */
    diff_set_mode(ISA_64, false);
    legacy_heads(one);
    vex_heads(one);
    evex_heads(one);
    diff_set_mode(ISA_32, false);
    legacy_heads(one);
    diff_set_mode(ISA_64, false);
    for (u32 m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
        known += D.known[m / 8] >> m % 8 & 1;
        ran += D.ran[m / 8] & D.known[m / 8] & 1u << m % 8 ? 1 : 0;
        if (D.known[m / 8] & ~D.ran[m / 8] & 1u << m % 8)
            print_message("never executed: %s\n", ZydisMnemonicGetString((ZydisMnemonic)m));
    }
    print_message("%u of %u mnemonics executed in %" PRIu64 " cases\n", ran, known,
                  D.cases - cases);
    assert_int_equal(D.mismatches, 0);
    assert_int_equal(ran, known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_host_and_guest_agree),
                                       cmocka_unit_test(test_every_class_was_run),
                                       cmocka_unit_test(test_every_opcode)};
    if (DIFF_SHADOWED) return puts(DIFF_SKIP) < 0;
    int r = cmocka_run_group_tests(tests, NULL, NULL);
    diff_fini();
    return r;
}

/* isa/respell_test.c - encodings by hand; tests/isa_random_test.c runs the rest on the host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the above */
#include <cmocka.h>

#include "isa/respell.h"

static struct respell_map identity(void)
{
    struct respell_map m = {.base = RSI, .index = REG_NONE};
    for (u8 n = 0; n < GPRS; n++) m.gpr[n] = n;
    return m;
}

struct sample {
    const char *what;
    enum isa_mode mode;
    u8 len, want_len;
    u8 in[15], want[15];
};

/* RBX -> R8, RBP -> R9, memory -> [RSI] */
static const struct sample samples[] = {
    {"add rbx, rcx", ISA_64, 3, 3, {0x48, 0x01, 0xCB}, {0x49, 0x01, 0xC8}},
    {"add ebx, [rax+rcx*4+0x10]", ISA_64, 4, 3, {0x03, 0x5C, 0x88, 0x10}, {0x44, 0x03, 0x06}},
    {"lock add fs:[rip+4], bl",
     ISA_64,
     8,
     4,
     {0x64, 0xF0, 0x00, 0x1D, 4, 0, 0, 0},
     {0xF0, 0x44, 0x00, 0x06}},
    {"bswap rbx", ISA_64, 3, 3, {0x48, 0x0F, 0xCB}, {0x49, 0x0F, 0xC8}},
    {"andn ebx, ebp, ecx",
     ISA_64,
     5,
     5,
     {0xC4, 0xE2, 0x50, 0xF2, 0xD9},
     {0xC4, 0x62, 0x30, 0xF2, 0xC1}},
    {"vaddps zmm17{k1}, zmm2, [eax+0x40]",
     ISA_64,
     8,
     6,
     {0x67, 0x62, 0xE1, 0x6C, 0x49, 0x58, 0x48, 0x01},
     {0x62, 0xE1, 0x6C, 0x49, 0x58, 0x0E}},
    {"inc ebx, one byte", ISA_32, 1, 3, {0x43}, {0x41, 0xFF, 0xC0}},
    {"inc bx, one byte", ISA_16, 1, 4, {0x43}, {0x66, 0x41, 0xFF, 0xC0}},
    {"add ebx, ecx", ISA_16, 3, 3, {0x66, 0x01, 0xCB}, {0x41, 0x01, 0xC8}},
    {"mov eax, [moffs]", ISA_32, 5, 2, {0xA1, 1, 2, 3, 4}, {0x8B, 0x06}},
    {"add [ebx], 5, opcode 82", ISA_32, 3, 3, {0x82, 0x03, 5}, {0x80, 0x06, 5}},
};

static void test_samples(void **state)
{
    (void)state;
    struct respell_map m = identity();
    m.gpr[RBX] = R8;
    m.gpr[RBP] = R9;
    for (size_t n = 0; n < ARRAY_LEN(samples); n++) {
        const struct sample *s = &samples[n];
        u8 out[RESPELL_BYTES_MAX] = {0};
        int len = respell(out, s->in, s->len, s->mode, &m);
        if (len != s->want_len || memcmp(out, s->want, s->want_len))
            fail_msg("%s: %d bytes", s->what, len);
    }
}

static void test_memory_operand_forms(void **state)
{
    static const u8 mov[] = {0x48, 0x8B, 0x00}; /* mov rax, [rax] */
    (void)state;
    for (u8 base = 0; base < GPRS; base++) {
        for (u8 index = 0; index <= GPRS; index++) {
            struct respell_map m = identity();
            u8 out[RESPELL_BYTES_MAX];
            if (index == RSP) continue;
            m.base = base;
            m.index = index == GPRS ? REG_NONE : index;
            assert_true(respell(out, mov, sizeof mov, ISA_64, &m) >= 3); /* decoded again inside */
            m.disp = -4096;
            assert_true(respell(out, mov, sizeof mov, ISA_64, &m) >= 7);
        }
    }
}

static void test_high_byte_needs_no_rex(void **state)
{
    static const u8 mov[] = {0x88, 0xFD}; /* mov ch, bh */
    u8 out[RESPELL_BYTES_MAX];
    struct respell_map m = identity();
    (void)state;
    m.gpr[RBX] = RDX;
    assert_int_equal(respell(out, mov, sizeof mov, ISA_64, &m), 2);
    assert_int_equal(out[1], 0xF5); /* mov ch, dh */
    m.gpr[RBX] = R8;
    assert_int_equal(respell(out, mov, sizeof mov, ISA_64, &m), 0);
}

static void test_refused(void **state)
{
    static const u8 gather[] = {0xC4, 0xE2, 0x6D, 0x92, 0x04, 0x0B};
    static const u8 movs[] = {0xA4}, mov_cr[] = {0x0F, 0x20, 0xC0}, daa[] = {0x27}, cut[] = {0x48};
    struct respell_map m = identity();
    u8 out[RESPELL_BYTES_MAX];
    (void)state;
    assert_int_equal(respell(out, gather, sizeof gather, ISA_64, &m), 0);
    assert_int_equal(respell(out, movs, sizeof movs, ISA_64, &m), 0);
    assert_int_equal(respell(out, mov_cr, sizeof mov_cr, ISA_64, &m), 0);
    assert_int_equal(respell(out, daa, sizeof daa, ISA_32, &m), 0);
    assert_int_equal(respell(out, cut, sizeof cut, ISA_64, &m), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_samples), cmocka_unit_test(test_memory_operand_forms),
        cmocka_unit_test(test_high_byte_needs_no_rex), cmocka_unit_test(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* tests/isa_heads.h - every opcode with every mandatory prefix, as heads of instructions: the bytes
 * up to and including a ModRM byte whose mod and rm are the caller's to choose. Included by
 * tests/isa_random_test.c and tests/bt_opcodes_test.c, after isa_diff.h. */
#ifndef TESTS_ISA_HEADS_H
#define TESTS_ISA_HEADS_H

/* Gets @n bytes before the ModRM byte head[n]; @mem: make it a memory operand. False: no more. */
typedef bool heads_fn(const u8 *head, u32 n, bool mem);

static void legacy_heads(heads_fn *one)
{
    static const u8 prefix[] = {0, 0x66, 0xF2, 0xF3};
    static const u8 escape[][2] = {{0}, {0x0F}, {0x0F, 0x38}, {0x0F, 0x3A}};
    for (u32 k = 0; k < 4 * 4 * 256 * 8 * 2 * 2; k++) {
        u8 b[8] = {0};
        u32 n = 0, map = k >> 2 & 3;
        if (prefix[k & 3]) b[n++] = prefix[k & 3];
        if (D.mode == ISA_64 && k >> 16 & 1) b[n++] = 0x48;
        for (u32 e = 0; e < 2 && escape[map][e]; e++) b[n++] = escape[map][e];
        b[n++] = (u8)(k >> 4);
        b[n] = (u8)((k >> 12 & 7) << 3);
        if (!one(b, n, k >> 15 & 1)) return;
    }
}

static void vex_heads(heads_fn *one)
{
    for (u32 k = 0; k < 4 * 4 * 256 * 4 * 2 * 8; k++) {
        u8 b[8] = {0xC4, (u8)(0xE0 | (k & 3)),
                   (u8)(0x78 | (k >> 2 & 3) | (k >> 12 & 1) << 2 | (k >> 13 & 1) << 7),
                   (u8)(k >> 4), (u8)((k >> 15 & 7) << 3)};
        if (k >> 15 && (k >> 4 & 0xFF) != 0xF3 && (k >> 4 & 0xFC) != 0x70) continue; /* groups */
        if (!one(b, 4, k >> 14 & 1)) return;
    }
}

static void evex_heads(heads_fn *one)
{
    static const u8 map[] = {1, 2, 3, 5, 6};
    for (u32 k = 0; k < 5 * 4 * 256 * 3 * 2 * 2; k++) {
        u32 rest = k / 5, ll = rest >> 10;
        u8 b[8] = {0x62,
                   (u8)(0xF0 | map[k % 5]),
                   (u8)(0x7C | (rest & 3) | (ll / 3 & 1) << 7),
                   (u8)((ll % 3) << 5 | 8),
                   (u8)(rest >> 2),
                   (u8)(rnd() & 0x38)};
        if (!one(b, 5, ll / 6 & 1)) return;
    }
}
#endif

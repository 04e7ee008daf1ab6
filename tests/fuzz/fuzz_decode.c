/* fuzz_decode - isa_decode over random bytes that end where memory ends. The length agrees with
 * what was read, more bytes behind the instruction change nothing, fewer are too few, and every
 * instruction has a text. */
#include <sys/mman.h>

#include "fuzz.h"
#include "isa/insn.h"

/* Prefixes and escapes, which lead to the interesting parts of the map. */
static const u8 leads[] = {0x66, 0x67, 0xF2, 0xF3, 0xF0, 0x2E, 0x36, 0x64, 0x65, 0x40, 0x48,
                           0x4F, 0x0F, 0x0F, 0x62, 0xC4, 0xC5, 0x8F, 0xD8, 0xDF, 0xC8, 0xF6};

static u32 random_code(u8 code[32])
{
    u32 n = 0;
    fuzz_fill(code, 32);
    while (n < 6 && !fuzz_one_in(3)) code[n++] = leads[fuzz_below(sizeof leads)];
    if (fuzz_one_in(3)) {
        code[n++] = 0x0F;
        if (fuzz_one_in(2)) code[n] = fuzz_one_in(2) ? 0x38 : 0x3A;
    }
    return fuzz_one_in(4) ? fuzz_below(17) : 16;
}

/* Decode @n bytes of @code where the byte behind them cannot be read. */
static int decode_at_end(struct insn *out, const u8 *code, u32 n, u8 *page_end, enum isa_mode mode)
{
    memcpy(page_end - n, code, n);
    return isa_decode(out, page_end - n, n, mode);
}

static void round_of(u8 *page_end)
{
    struct insn a, b;
    u8 code[32];
    char text[128];
    u32 n = random_code(code);
    enum isa_mode mode = (enum isa_mode)fuzz_below(3);
    memset(&a, 0xA5, sizeof a);
    memset(&b, 0x5A, sizeof b);
    int len = decode_at_end(&a, code, n, page_end, mode);
    FUZZ_CHECK(len >= -2 && len <= 15 && len <= (int)n);
    if (len == -1) FUZZ_CHECK(a.row == INSN_UD && a.len == 0);
    if (len <= 0) return;
    FUZZ_CHECK(a.len == len && a.mode == mode && memcmp(a.bytes, code, (size_t)len) == 0);
    FUZZ_CHECK(a.opnds <= INSN_OPNDS && a.exec == NULL && a.thunk == NULL);
    FUZZ_CHECK(isa_format(&a, fuzz_value(), text, sizeof text) == text &&
               strlen(text) < sizeof text);
    FUZZ_CHECK(isa_format(&a, 0, text, 2 + fuzz_below(20)) == text);
    FUZZ_CHECK(isa_decode(&b, code, 16, mode) == len &&
               memcmp(&a, &b, offsetof(struct insn, bytes)) == 0);
    u32 fewer = fuzz_below((u64)len);
    FUZZ_CHECK(decode_at_end(&b, code, fewer, page_end, mode) <= 0);
}

int main(void)
{
    u8 *pages =
        mmap(NULL, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED || mprotect(pages + PAGE_BYTES, PAGE_BYTES, PROT_NONE) < 0) return 2;
    fuzz_start("fuzz_decode");
    while (fuzz_next())
        for (u32 i = 0; i < 1000; i++) round_of(pages + PAGE_BYTES);
    return 0;
}

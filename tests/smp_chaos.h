/* tests/smp_chaos.h - processors that disturb each other, and check what must hold nevertheless.
 *
 * Processor 0 changes the immediate of a function and publishes its version; moves a page to and
 * fro between two places, has the others flush it (by interrupts, whose handler is in smp_rig.h),
 * and poisons the old place when all have acknowledged. The others, until it is done:
 *   page      read, write and execute it: never at its old place
 *   version   what the function returns, after serialising, is no older than what was published and
 *             was written
 *   counters  LOCK INC, XADD, CMPXCHG, CMPXCHG16B and a spin lock; some beside code
 *   own code  change an instruction of their own and execute it
 *   chain     a computation that depends on every bit and flag of it
 *   flush     write CR3
 * Sums and ends of chains are compared with what they must be from the numbers of turns. */
#ifndef TESTS_SMP_CHAOS_H
#define TESTS_SMP_CHAOS_H
#include "smp_rig.h"

enum {
    CH_TURNS = 12,
    CH_FUNCTION = 0x180003, /* mov eax, version; ret */
    CH_VERSION = CH_FUNCTION + 1,
    CH_BESIDE = 0x180800, /* counters in a page of code */
    CH_PAGE = SMP_REMAPPED,
    CH_PLACE = 0x1A0000, /* and CH_PLACE + CH_APART */
    CH_APART = 0x10000,
    CH_RET = 0x100, /* in the page: a RET, or UD2 */
    CH_GOOD = 0x600D,
    CH_POISON = 0x0BAD,
    CH_UD2 = 0x0B0F0B0F,
    CH_WORDS = 0x32000, /* one line each: */
    CH_TRIED = CH_WORDS,
    CH_PUBLISHED = CH_WORDS + 64,
    CH_STOP = CH_WORDS + 128,
    CH_COUNTERS = 0x33000, /* one line each */
    CH_LOCK = 0x34000,
    CH_REPORT = 0x35000, /* of each processor: turns, end of its chain */
    CH_OWN = 0x1C0000,   /* a page of each */
    CH_SEED = 12345,
};
enum ch_item {
    CH_ITEM_PAGE,
    CH_ITEM_PAGE_CODE,
    CH_ITEM_VERSION,
    CH_ITEM_INC,
    CH_ITEM_XADD,
    CH_ITEM_CMPXCHG,
    CH_ITEM_CMPXCHG16B,
    CH_ITEM_SPIN,
    CH_ITEM_OWN,
    CH_ITEM_INLINE,
    CH_ITEM_CHAIN,
    CH_ITEM_FLUSH,
    CH_ITEMS
};
enum { CH_PER_TURN = 24 };
struct chaos {
    u32 times[SMP_CPUS][CH_ITEMS]; /* in a turn */
    bool beside[CH_ITEMS];         /* where the counter of the item is */
};

static inline u32 ch_counter(const struct chaos *h, u32 item)
{
    return (h->beside[item] ? CH_BESIDE : CH_COUNTERS) + item * 64;
}

/* ---- processor 0 ---- */

static inline void ch_move(struct code *c, const struct smp *r, u32 to, u32 from)
{
    for (u32 k = 0; k < SMP_CPUS; k++) { /* nobody has written there since */
        C_ABS(c, to + 8 * k, 0x48, 0x81, 0x3C), c_u32(c, CH_POISON);
        c_expect(c, JE);
    }
    for (u32 k = 0; k < SMP_CPUS; k++) C_ABS(c, to + 8 * k, 0x48, 0xC7, 0x04), c_u32(c, CH_GOOD);
    C_ABS(c, to + CH_RET, 0xC7, 0x04), c_u32(c, 0x909090C3);
    C_ABS(c, (u32)smp_pte(CH_PAGE), 0x48, 0xC7, 0x04), c_u32(c, to | SMP_PRESENT_WRITABLE);
    C_ABS(c, CH_PAGE, 0x0F, 0x01, 0x3C); /* invlpg */
    C_ABS(c, SMP_REQUEST, 0xFF, 0x04);
    C(c, 0xE6, SMP_PORT_INTERRUPT);
    for (u32 n = 1; n < r->cpus; n++) {
        C(c, 0xE6, SMP_PORT_YIELD);
        C_ABS(c, SMP_ACK + 4 * n, 0x8B, 0x04);
        C_ABS(c, SMP_REQUEST, 0x3B, 0x04);
        C(c, 0x75, 0xEE);
    }
    for (u32 k = 0; k < SMP_CPUS; k++)
        C_ABS(c, from + 8 * k, 0x48, 0xC7, 0x04), c_u32(c, CH_POISON);
    C_ABS(c, from + CH_RET, 0xC7, 0x04), c_u32(c, CH_UD2);
}
static inline void ch_master(struct code *c, const struct smp *r)
{
    C(c, 0x31, 0xC9, 0x41, 0xBC), c_u32(c, CH_TURNS); /* xor ecx, ecx; mov r12d, turns */
    const gpa_t loop = c->at + c->n;
    for (u32 k = 0; k < 2; k++) {
        C(c, 0xFF, 0xC1);
        C_ABS(c, CH_TRIED, 0x89, 0x0C);
        C_ABS(c, CH_VERSION, 0x89, 0x0C);
        C_ABS(c, CH_PUBLISHED, 0x89, 0x0C);
        c_delay(c, smp_below(300));
        ch_move(c, r, CH_PLACE + (k ? 0 : CH_APART), CH_PLACE + (k ? CH_APART : 0));
    }
    C(c, 0x41, 0xFF, 0xCC, 0x0F, 0x85);
    c_rel(c, loop);
    C_ABS(c, CH_STOP, 0xC7, 0x04), c_u32(c, 1);
    c_halt(c);
}

/* ---- the others: RBP = turns, R9 = the chain; the rest is free ---- */

static inline void ch_version(struct code *c)
{
    C_ABS(c, CH_PUBLISHED, 0x8B, 0x34); /* mov esi */
    C(c, 0x31, 0xC0, 0x0F, 0xA2, 0xE8); /* cpuid; call */
    c_rel(c, CH_FUNCTION);
    C_ABS(c, CH_TRIED, 0x8B, 0x3C); /* mov edi */
    C(c, 0x39, 0xF0);
    c_expect(c, JAE);
    C(c, 0x39, 0xF8);
    c_expect(c, JBE);
}
static inline void ch_page(struct code *c, u32 cpu)
{
    C_ABS(c, CH_PAGE, 0x48, 0x8B, 0x04);
    C(c, 0x48, 0x3D), c_u32(c, CH_GOOD); /* cmp rax, good */
    c_expect(c, JE);
    C_ABS(c, CH_PAGE + 8 * cpu, 0x89, 0x2C); /* mov [], ebp: read by nobody */
}
static inline void ch_page_code(struct code *c)
{
    C(c, 0xE8);
    c_rel(c, CH_PAGE + CH_RET);
}
static inline void ch_cmpxchg(struct code *c, u32 at)
{
    C_ABS(c, at, 0x48, 0x8B, 0x04);
    C(c, 0x48, 0x8D, 0x50, 1);
    C_ABS(c, at, 0xF0, 0x48, 0x0F, 0xB1, 0x14);
    C(c, 0x75, 0xF0);
}
static inline void ch_cmpxchg16b(struct code *c, u32 at) /* low half up, high half down */
{
    C_ABS(c, at, 0x48, 0x8B, 0x04);
    C_ABS(c, at + 8, 0x48, 0x8B, 0x14);
    C(c, 0x48, 0x8D, 0x58, 1, 0x48, 0x8D, 0x4A, 0xFF);
    C_ABS(c, at, 0xF0, 0x48, 0x0F, 0xC7, 0x0C);
    C(c, 0x75, 0xEC);
}
static inline void ch_spin(struct code *c, u32 at)
{
    C(c, 0xEB, 2, 0xE6, SMP_PORT_YIELD, 0xB8), c_u32(c, 1); /* jmp +2; s: out; mov eax, 1 */
    C_ABS(c, CH_LOCK, 0x87, 0x04);                          /* xchg [lock], eax */
    C(c, 0x85, 0xC0, 0x75, 0xEE);                           /* test; jnz s */
    C_ABS(c, at, 0x48, 0xFF, 0x04);
    C_ABS(c, CH_LOCK, 0xC7, 0x04), c_u32(c, 0);
}
static inline void ch_own(struct code *c, u32 cpu)
{
    const u32 own = CH_OWN + cpu * PAGE_BYTES; /* mov eax, imm; ret */
    C_ABS(c, own + 1, 0x89, 0x2C);
    C(c, 0xE8);
    c_rel(c, own);
    C(c, 0x39, 0xE8);
    c_expect(c, JE);
}
static inline void ch_inline(struct code *c) /* the very next instruction */
{
    const u32 imm = (u32)c->at + c->n + 7 + 1;
    C_ABS(c, imm, 0x89, 0x2C);
    C(c, 0xB8), c_u32(c, 0);
    C(c, 0x39, 0xE8);
    c_expect(c, JE);
}
enum { CH_FACTOR = 0x1234567, CH_ADD = 77 };
static inline void ch_chain(struct code *c)
{
    C(c, 0x4D, 0x69, 0xC9), c_u32(c, CH_FACTOR);
    C(c, 0x49, 0x83, 0xD1, CH_ADD, 0x49, 0xC1, 0xC1, 7); /* adc; rol */
}
static inline u64 ch_chain_once(u64 x)
{
    s64 product;
    const bool carry = __builtin_mul_overflow((s64)x, (s64)CH_FACTOR, &product);
    x = (u64)product + CH_ADD + carry;
    return x << 7 | x >> 57;
}

static inline void ch_item(struct code *c, const struct chaos *h, u32 cpu, u32 item)
{
    const u32 at = ch_counter(h, item);
    switch (item) {
    case CH_ITEM_PAGE: ch_page(c, cpu); break;
    case CH_ITEM_PAGE_CODE: ch_page_code(c); break;
    case CH_ITEM_VERSION: ch_version(c); break;
    case CH_ITEM_INC: C_ABS(c, at, 0xF0, 0x48, 0xFF, 0x04); break;
    case CH_ITEM_XADD:
        C(c, 0xBA), c_u32(c, 1);
        C_ABS(c, at, 0xF0, 0x48, 0x0F, 0xC1, 0x14);
        break;
    case CH_ITEM_CMPXCHG: ch_cmpxchg(c, at); break;
    case CH_ITEM_CMPXCHG16B: ch_cmpxchg16b(c, at); break;
    case CH_ITEM_SPIN: ch_spin(c, at); break;
    case CH_ITEM_OWN: ch_own(c, cpu); break;
    case CH_ITEM_INLINE: ch_inline(c); break;
    case CH_ITEM_CHAIN: ch_chain(c); break;
    default: C(c, 0x0F, 0x20, 0xD8, 0x0F, 0x22, 0xD8); /* mov rax, cr3; mov cr3, rax */
    }
}
static inline void ch_worker(struct code *c, struct chaos *h, u32 cpu)
{
    C(c, 0x31, 0xED, 0x41, 0xB9), c_u32(c, CH_SEED); /* xor ebp, ebp; mov r9d, seed */
    const gpa_t loop = c->at + c->n;
    for (u32 k = 2 + smp_below(CH_PER_TURN); k; k--) {
        const u32 item = smp_below(CH_ITEMS);
        h->times[cpu][item]++;
        ch_item(c, h, cpu, item);
        for (u32 nop = smp_below(8) ? 0 : smp_below(64); nop; nop--) C(c, 0x90);
    }
    C(c, 0xFF, 0xC5);
    C_ABS(c, CH_STOP, 0x83, 0x3C), C(c, 0, 0x0F, 0x84);
    c_rel(c, loop);
    C_ABS(c, CH_REPORT + cpu * 16, 0x48, 0x89, 0x2C);
    C_ABS(c, CH_REPORT + cpu * 16 + 8, 0x4C, 0x89, 0x0C);
    c_halt(c);
}

/* ---- one round ---- */

static inline bool ch_same(const char *what, u64 got, u64 want)
{
    if (got == want) return true;
    printf("%s: %" PRIu64 ", not %" PRIu64 "\n", what, got, want);
    return false;
}
static inline bool ch_verify(struct smp *r, const struct chaos *h)
{
    static const char *const name[CH_ITEMS] = {[CH_ITEM_INC] = "lock inc",
                                               [CH_ITEM_XADD] = "lock xadd",
                                               [CH_ITEM_CMPXCHG] = "lock cmpxchg",
                                               [CH_ITEM_CMPXCHG16B] = "lock cmpxchg16b",
                                               [CH_ITEM_SPIN] = "spin lock"};
    bool good = true;
    for (u32 item = 0; item < CH_ITEMS; item++) {
        u64 want = 0;
        if (!name[item]) continue;
        for (u32 cpu = 1; cpu < r->cpus; cpu++)
            want += smp_read64(r, CH_REPORT + cpu * 16) * h->times[cpu][item];
        good &= ch_same(name[item], smp_read64(r, ch_counter(h, item)), want);
        if (item == CH_ITEM_CMPXCHG16B)
            good &= ch_same("its other half", 0 - smp_read64(r, ch_counter(h, item) + 8), want);
    }
    for (u32 cpu = 1; cpu < r->cpus; cpu++) {
        u64 x = CH_SEED;
        const u64 turns = smp_read64(r, CH_REPORT + cpu * 16) * h->times[cpu][CH_ITEM_CHAIN];
        for (u64 k = 0; k < turns; k++) x = ch_chain_once(x);
        good &= ch_same("chain", smp_read64(r, CH_REPORT + cpu * 16 + 8), x);
    }
    return good;
}
static inline void ch_memory(struct smp *r)
{
    static const u8 function[] = {0xB8, 0, 0, 0, 0, 0xC3};
    smp_write(r, CH_FUNCTION, function, sizeof function);
    for (u32 n = 0; n < SMP_CPUS; n++)
        smp_write(r, CH_OWN + n * PAGE_BYTES, function, sizeof function);
    for (u32 k = 0; k < SMP_CPUS; k++) {
        smp_write64(r, CH_PLACE + 8 * k, CH_GOOD);
        smp_write64(r, CH_PLACE + CH_APART + 8 * k, CH_POISON);
    }
    smp_write64(r, CH_PLACE + CH_RET, 0xC3);
    smp_write64(r, CH_PLACE + CH_APART + CH_RET, CH_UD2);
    smp_write64(r, smp_pte(CH_PAGE), CH_PLACE | SMP_PRESENT_WRITABLE);
}

/* False, and said why, when something did not hold. */
static inline bool smp_chaos(u64 seed)
{
    static struct smp r;
    struct chaos h = {0};
    smp_rng = seed;
    smp_make(&r, 2 + smp_below(SMP_CPUS - 1));
    ch_memory(&r);
    for (u32 item = 0; item < CH_ITEMS; item++) h.beside[item] = smp_below(2);
    for (u32 cpu = 0; cpu < r.cpus; cpu++) {
        struct code c = smp_program(cpu);
        if (cpu) ch_worker(&c, &h, cpu);
        else ch_master(&c, &r);
        smp_load(&r, cpu, &c);
    }
    const bool good = smp_run(&r) && ch_verify(&r, &h);
    smp_done(&r);
    return good;
}
#endif

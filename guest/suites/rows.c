/* rows - instructions of isa/insn.def that no other suite has a reason to execute: every condition,
 * string instructions of every size, hints, entropy, XSAVE in its 32-bit form. SDM volume 2. */
#include "guest/lib/rt.h"

static u8 a[64] __attribute__((aligned(64))), b[64] __attribute__((aligned(64)));
static u8 area[4096] __attribute__((aligned(64)));

/* ---- conditions: each against the flags' definition ---- */
#define TAKEN(cc)                                                                                  \
    static bool j##cc(u64 fl)                                                                      \
    {                                                                                              \
        u64 r;                                                                                     \
        asm volatile("push %1\n popfq\n mov $1, %k0\n j" #cc " 1f\n mov $0, %k0\n 1:"              \
                     : "=&r"(r)                                                                    \
                     : "r"(fl)                                                                     \
                     : "cc", "memory");                                                            \
        return r;                                                                                  \
    }                                                                                              \
    _Static_assert(1, "a semicolon follows")
TAKEN(o);
TAKEN(no);
TAKEN(b);
TAKEN(nb);
TAKEN(z);
TAKEN(nz);
TAKEN(be);
TAKEN(nbe);
TAKEN(s);
TAKEN(ns);
TAKEN(p);
TAKEN(np);
TAKEN(l);
TAKEN(nl);
TAKEN(le);
TAKEN(nle);

static void conditions(void)
{
    bool (*const fn[16])(u64) = {jo, jno, jb, jnb, jz, jnz, jbe, jnbe,
                                 js, jns, jp, jnp, jl, jnl, jle, jnle};
    u32 bad = 0;
    for (u32 k = 0; k < 32; k++) {
        bool c = k & 1, z = k & 2, s = k & 4, o = k & 8, p = k & 16;
        u64 fl = 2 | (c ? FL_CF : 0) | (z ? FL_ZF : 0) | (s ? FL_SF : 0) | (o ? FL_OF : 0) |
                 (p ? FL_PF : 0);
        const bool want[8] = {o, c, z, c || z, s, p, s != o, z || s != o};
        for (u32 n = 0; n < 16; n++) bad += fn[n](fl) != (want[n / 2] ^ (n & 1));
    }
    check_eq("Jcc: 16 conditions, 32 flag states", bad, 0);
    u64 c = 5, n = 0;
    asm volatile("1: inc %1\n cmp $3, %1\n loopne 1b" : "+c"(c), "+r"(n)::"cc");
    check("LOOPNE stops at equality", c == 2 && n == 3);
    c = 5, n = 0;
    asm volatile("1: inc %1\n cmp %1, %1\n loope 1b" : "+c"(c), "+r"(n)::"cc");
    check("LOOPE runs out", c == 0 && n == 5);
    c = 1ull << 32;
    asm volatile("mov $1, %1\n jrcxz 1f\n mov $2, %1\n 1:" : "+c"(c), "=&r"(n));
    check_eq("JRCXZ looks at all of RCX", n, 2);
}

/* ---- strings ---- */
#define STRINGS(suffix, type)                                                                      \
    static bool str_##suffix(void)                                                                 \
    {                                                                                              \
        u64 n = 64 / sizeof(type), val = 0x1122334455667788ull;                                    \
        void *d = a, *s = a;                                                                       \
        asm volatile("rep stos" #suffix : "+D"(d), "+c"(n) : "a"(val) : "memory");                 \
        bool ok = d == a + 64 && !n && !memcmp(a, &val, sizeof(type));                             \
        memcpy(b, a, 64);                                                                          \
        b[63] ^= 1;                                                                                \
        s = a, d = b, n = 64 / sizeof(type);                                                       \
        asm volatile("repe cmps" #suffix : "+S"(s), "+D"(d), "+c"(n)::"cc", "memory");             \
        ok = ok && !n && s == a + 64;                                                              \
        d = b, n = 64 / sizeof(type);                                                              \
        asm volatile("repe scas" #suffix : "+D"(d), "+c"(n) : "a"(val) : "cc", "memory");          \
        ok = ok && !n && d == b + 64;                                                              \
        s = b + 64 - sizeof(type), val = 0;                                                        \
        asm volatile("lods" #suffix : "+S"(s), "+a"(val)::"memory");                               \
        return ok && s == b + 64 && !memcmp(&val, b + 64 - sizeof(type), sizeof(type));            \
    }                                                                                              \
    _Static_assert(1, "a semicolon follows")
STRINGS(b, u8);
STRINGS(w, u16);
STRINGS(l, u32);
STRINGS(q, u64);

static void strings(void)
{
    check("string instructions, bytes", str_b());
    check("string instructions, words", str_w());
    check("string instructions, doublewords", str_l());
    check("string instructions, quadwords", str_q());
    void *p = a;
    asm volatile("outsw" : "+S"(p) : "d"(0xE0) : "memory");
    asm volatile("outsl" : "+S"(p) : "d"(0xE0) : "memory");
    check("OUTSW and OUTSD advance", p == a + 6);
    memset(a, 0, 64);
    p = a;
    asm volatile("insw" : "+D"(p) : "d"(0xE0) : "memory");
    asm volatile("insl" : "+D"(p) : "d"(0xE0) : "memory");
    check("INSW and INSD store and advance", p == a + 6 && a[0] == 0xFF && a[5] == 0xFF && !a[6]);
}

/* ---- hints ---- */
static void hints(void)
{
    struct cpuid f7 = cpuid_or0(7, 0);
    ATTEMPT(
        "prefetchnta (%0)\n prefetcht0 (%0)\n prefetcht1 (%0)\n prefetcht2 (%0)\n prefetchw (%0)",
        ::"r"(TEST_VA)
        : "memory");
    check_none("prefetches of an absent page");
    ATTEMPT("lfence\n sfence\n mfence\n pause", ::: "memory");
    check_none("fences");
    if (f7.b >> 23 & 1) {
        ATTEMPT("clflushopt (%0)", ::"r"(a) : "memory");
        check_none("CLFLUSHOPT");
        ATTEMPT("clflushopt (%0)", ::"r"(TEST_VA) : "memory");
        check_pf("#PF CLFLUSHOPT", 0, TEST_VA);
    } else skip("CLFLUSHOPT", "not offered");
    if (f7.b >> 24 & 1) {
        ATTEMPT("clwb (%0)", ::"r"(a) : "memory");
        check_none("CLWB");
    } else skip("CLWB", "not offered");
    if (f7.d >> 14 & 1) {
        ATTEMPT(".byte 0x0F, 0x01, 0xE8", ::: "memory");
        check_none("SERIALIZE");
    } else skip("SERIALIZE", "not offered");
    bool mwait = cpuid(1, 0).c >> 3 & 1;
    ATTEMPT("monitor", ::"a"(a), "c"(0), "d"(0) : "memory");
    check("MONITOR: a hint, or #UD where it is not offered",
          mwait ? last.f.vec == NO_TRAP : last.f.vec == UD);
    ATTEMPT("mwait", ::"a"(0), "c"(2) : "memory");
    check("MWAIT: #GP for an unknown extension, or #UD", last.f.vec == (mwait ? GP : UD));
}

/* ---- entropy, processor number ---- */
static void entropy(void)
{
    struct cpuid f7 = cpuid_or0(7, 0);
    u64 x = 0, y = 0;
    u8 cx = 0, cy = 0;
    if (cpuid(1, 0).c >> 30 & 1) {
        for (int k = 0; k < 100 && !cx; k++)
            asm volatile("rdrand %0\n setc %1" : "=r"(x), "=q"(cx)::"cc");
        for (int k = 0; k < 100 && !cy; k++)
            asm volatile("rdrand %0\n setc %1" : "=r"(y), "=q"(cy)::"cc");
        check("RDRAND: two numbers, not the same", cx && cy && x != y);
    } else skip("RDRAND", "not offered");
    cx = cy = 0;
    if (f7.b >> 18 & 1) {
        for (int k = 0; k < 100 && !cx; k++)
            asm volatile("rdseed %0\n setc %1" : "=r"(x), "=q"(cx)::"cc");
        for (int k = 0; k < 100 && !cy; k++)
            asm volatile("rdseed %0\n setc %1" : "=r"(y), "=q"(cy)::"cc");
        check("RDSEED: two numbers, not the same", cx && cy && x != y);
    } else skip("RDSEED", "not offered");
    if (f7.c >> 22 & 1) {
        wrmsr(0xC0000103, 0x1234);
        asm volatile("rdpid %0" : "=r"(x));
        check_eq("RDPID gives TSC_AUX", x, 0x1234);
    } else skip("RDPID", "not offered");
}

/* ---- far pointers, hypercalls ---- */
static void others(void)
{
    struct {
        u64 off;
        u16 sel;
    } __attribute__((packed)) far = {0x123456789ABCull, KDS};
    u64 r = 0;
    u16 sel = 0;
    ATTEMPT(".byte 0x48, 0x0F, 0xB4, 0x01\n mov %%fs, %1",
            : "=a"(r), "=r"(sel)
            : "c"(&far), "m"(far));
    check("LFS with a 64-bit offset",
          last.f.vec == NO_TRAP && r == 0x123456789ABCull && sel == KDS);
    char id[13] = {0};
    struct cpuid hv = cpuid(0x40000000, 0);
    memcpy(id, &hv.b, 12);
    if (cpuid(1, 0).c >> 31 && !memcmp(id, "KVMKVMKVM", 9) && hv.a < 0x50000000) {
        ATTEMPT("vmcall", ::"a"(100), "b"(0) : "memory");
        check("VMCALL: an unknown number is -1000", last.f.vec == NO_TRAP || last.f.vec == UD);
        ATTEMPT("vmmcall", ::"a"(100), "b"(0) : "memory");
        check("VMMCALL, or #UD", last.f.vec == NO_TRAP || last.f.vec == UD);
    } else skip("VMCALL", "no such hypervisor");
}

/* ---- XSAVE with 32-bit pointers ---- */
static void xsaves(void)
{
    if (!(cpuid(1, 0).c >> 26 & 1)) {
        skip("XSAVE", "not offered");
        return;
    }
    write_cr4(read_cr4() | CR4_OSXSAVE);
    u32 features = cpuid_or0(0xD, 1).a;
    asm volatile("fninit\n fldpi");
    memset(area, 0, sizeof area);
    asm volatile("xsave (%0)" ::"r"(area), "a"(3), "d"(0) : "memory");
    check_eq("XSAVE: x87 is in use", area[512] & 1, 1);
    check_eq("... one register, TOP is 7", area[4], 0x80);
    asm volatile("fninit\n xrstor (%0)" ::"r"(area), "a"(3), "d"(0) : "memory");
    u16 fsw;
    asm volatile("fnstsw %0\n fninit" : "=a"(fsw));
    check_eq("XRSTOR brings it back", fsw >> 11 & 7, 7);
    if (features & 1) {
        memset(area, 0, 576);
        asm volatile("fldz\n xsaveopt (%0)\n fninit" ::"r"(area), "a"(1), "d"(0) : "memory");
        check_eq("XSAVEOPT", area[4], 0x80);
    } else skip("XSAVEOPT", "not offered");
    if (features & 2) {
        memset(area, 0, 576);
        asm volatile("fldz\n xsavec (%0)\n fninit" ::"r"(area), "a"(1), "d"(0) : "memory");
        check("XSAVEC: compacted format", area[4] == 0x80 && area[527] & 0x80);
        asm volatile("xrstor (%1)\n fnstsw %%ax\n fninit"
                     : "=a"(fsw)
                     : "r"(area), "a"(1), "d"(0)
                     : "memory");
        check_eq("XRSTOR reads it", fsw >> 11 & 7, 7);
    } else skip("XSAVEC", "not offered");
}

int main(void)
{
    conditions();
    strings();
    hints();
    entropy();
    others();
    xsaves();
    finish();
}

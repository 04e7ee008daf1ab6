/* cpu32.h - one-instruction wrappers and names of the 32-bit guests. */
#ifndef GUEST_CPU32_H
#define GUEST_CPU32_H
#include <stdbool.h>
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef int s32;

enum {
    DE = 0,
    DB = 1,
    NMI = 2,
    BP = 3,
    OF = 4,
    BR = 5,
    UD = 6,
    NM = 7,
    DF = 8,
    TS = 10,
    NP = 11,
    SS = 12,
    GP = 13,
    PF = 14,
    MF = 16,
    AC = 17
};
enum {
    FL_CF = 1,
    FL_PF = 4,
    FL_AF = 16,
    FL_ZF = 64,
    FL_SF = 128,
    FL_TF = 256,
    FL_IF = 512,
    FL_DF = 1024,
    FL_OF = 2048,
    FL_IOPL = 3 << 12,
    FL_NT = 1 << 14,
    FL_RF = 1 << 16,
    FL_VM = 1 << 17,
    FL_AC = 1 << 18,
    FL_VIF = 1 << 19,
    FL_VIP = 1 << 20,
    FL_ID = 1 << 21,
    FL_ARITH = FL_CF | FL_PF | FL_AF | FL_ZF | FL_SF | FL_OF
};
enum {
    CR0_PE = 1,
    CR0_MP = 2,
    CR0_EM = 4,
    CR0_TS = 8,
    CR0_NE = 32,
    CR0_WP = 1 << 16,
    CR0_AM = 1 << 18,
    CR4_VME = 1,
    CR4_PVI = 2,
    CR4_TSD = 4,
    CR4_DE = 8,
    CR4_PSE = 16,
    CR4_PAE = 32,
    CR4_PGE = 128,
    CR4_SMEP = 1 << 20,
    CR4_SMAP = 1 << 21
};
#define CR0_PG 0x80000000u
enum { IDT_BIT = 2, EXT = 1 };

static inline void outb(u16 p, u8 v) { asm volatile("outb %0, %1" ::"a"(v), "Nd"(p)); }
static inline u8 inb(u16 p)
{
    u8 v;
    asm volatile("inb %1, %0" : "=a"(v) : "Nd"(p));
    return v;
}
#define REG_ACCESS(kind, n)                                                                        \
    static inline u32 read_##kind##n(void)                                                         \
    {                                                                                              \
        u32 v;                                                                                     \
        asm volatile("mov %%" #kind #n ", %0" : "=r"(v)::"memory");                                \
        return v;                                                                                  \
    }                                                                                              \
    static inline void write_##kind##n(u32 v)                                                      \
    {                                                                                              \
        asm volatile("mov %0, %%" #kind #n ::"r"(v) : "memory");                                   \
    }
REG_ACCESS(cr, 0)
REG_ACCESS(cr, 2)
REG_ACCESS(cr, 3)
REG_ACCESS(cr, 4)
REG_ACCESS(dr, 0)
REG_ACCESS(dr, 1)
REG_ACCESS(dr, 2)
REG_ACCESS(dr, 3)
REG_ACCESS(dr, 6)
REG_ACCESS(dr, 7)

struct cpuid {
    u32 a, b, c, d;
};
static inline struct cpuid cpuid(u32 leaf, u32 sub)
{
    struct cpuid r;
    asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
    return r;
}
static inline u64 rdmsr(u32 i)
{
    u64 v;
    asm volatile("rdmsr" : "=A"(v) : "c"(i));
    return v;
}
static inline void wrmsr(u32 i, u64 v) { asm volatile("wrmsr" ::"c"(i), "A"(v) : "memory"); }
static inline u32 read_flags(void)
{
    u32 v;
    asm volatile("pushfl\n pop %0" : "=r"(v)::"memory");
    return v;
}
static inline void write_flags(u32 v) { asm volatile("push %0\n popfl" ::"r"(v) : "memory", "cc"); }
static inline void cli(void) { asm volatile("cli" ::: "memory"); }
static inline void sti(void) { asm volatile("sti" ::: "memory"); }
static inline void pause(void) { asm volatile("pause" ::: "memory"); }
static inline void ltr(u32 sel) { asm volatile("ltr %w0" ::"r"(sel)); }
static inline void lldt(u32 sel) { asm volatile("lldt %w0" ::"r"(sel)); }
struct dtr {
    u16 limit;
    u32 base;
} __attribute__((packed));
static inline void lidt(const struct dtr *d) { asm volatile("lidt %0" ::"m"(*d)); }
static inline void lgdt(const struct dtr *d) { asm volatile("lgdt %0" ::"m"(*d)); }
#define RD(type, va) (*(volatile type *)(u32)(va))
#endif

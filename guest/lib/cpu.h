/* cpu.h - one-instruction wrappers. */
#ifndef GUEST_CPU_H
#define GUEST_CPU_H
#include <stdbool.h>
#include <stdint.h>
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
typedef int64_t s64;

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
    AC = 17,
    MC = 18,
    XM = 19
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
    FL_ID = 1 << 21
};
enum { CR0_MP = 2, CR0_EM = 4, CR0_TS = 8, CR0_NE = 32, CR0_WP = 1 << 16, CR0_AM = 1 << 18 };
#define CR0_PG 0x80000000ull
enum {
    CR4_TSD = 4,
    CR4_DE = 8,
    CR4_PGE = 128,
    CR4_PCE = 256,
    CR4_OSFXSR = 512,
    CR4_XMM = 1024,
    CR4_UMIP = 1 << 11,
    CR4_FSGS = 1 << 16,
    CR4_PCIDE = 1 << 17,
    CR4_OSXSAVE = 1 << 18,
    CR4_SMEP = 1 << 20,
    CR4_SMAP = 1 << 21
};

static inline void outb(u16 p, u8 v) { asm volatile("outb %0, %1" ::"a"(v), "Nd"(p)); }
static inline void outw(u16 p, u16 v) { asm volatile("outw %0, %1" ::"a"(v), "Nd"(p)); }
static inline void outl(u16 p, u32 v) { asm volatile("outl %0, %1" ::"a"(v), "Nd"(p)); }
static inline u8 inb(u16 p)
{
    u8 v;
    asm volatile("inb %1, %0" : "=a"(v) : "Nd"(p));
    return v;
}
static inline u16 inw(u16 p)
{
    u16 v;
    asm volatile("inw %1, %0" : "=a"(v) : "Nd"(p));
    return v;
}
static inline u32 inl(u16 p)
{
    u32 v;
    asm volatile("inl %1, %0" : "=a"(v) : "Nd"(p));
    return v;
}

#define CR_ACCESS(n)                                                                               \
    static inline u64 read_cr##n(void)                                                             \
    {                                                                                              \
        u64 v;                                                                                     \
        asm volatile("mov %%cr" #n ", %0" : "=r"(v)::"memory");                                    \
        return v;                                                                                  \
    }                                                                                              \
    static inline void write_cr##n(u64 v) { asm volatile("mov %0, %%cr" #n ::"r"(v) : "memory"); }
CR_ACCESS(0)
CR_ACCESS(2)
CR_ACCESS(3)
CR_ACCESS(4)
CR_ACCESS(8)
#define DR_ACCESS(n)                                                                               \
    static inline u64 read_dr##n(void)                                                             \
    {                                                                                              \
        u64 v;                                                                                     \
        asm volatile("mov %%dr" #n ", %0" : "=r"(v));                                              \
        return v;                                                                                  \
    }                                                                                              \
    static inline void write_dr##n(u64 v) { asm volatile("mov %0, %%dr" #n ::"r"(v) : "memory"); }
DR_ACCESS(0)
DR_ACCESS(1)
DR_ACCESS(2)
DR_ACCESS(3)
DR_ACCESS(6)
DR_ACCESS(7)

static inline u64 rdmsr(u32 i)
{
    u32 a, d;
    asm volatile("rdmsr" : "=a"(a), "=d"(d) : "c"(i));
    return (u64)d << 32 | a;
}
static inline void wrmsr(u32 i, u64 v)
{
    asm volatile("wrmsr" ::"c"(i), "a"((u32)v), "d"((u32)(v >> 32)) : "memory");
}
struct cpuid {
    u32 a, b, c, d;
};
static inline struct cpuid cpuid(u32 leaf, u32 sub)
{
    struct cpuid r;
    asm volatile("cpuid" : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d) : "a"(leaf), "c"(sub));
    return r;
}
static inline struct cpuid cpuid_or0(u32 leaf, u32 sub) /* zeros above the highest leaf */
{
    struct cpuid zero = {0};
    return leaf > cpuid(leaf & 0x80000000u, 0).a ? zero : cpuid(leaf, sub);
}
static inline u64 rdtsc(void)
{
    u32 a, d;
    asm volatile("rdtsc" : "=a"(a), "=d"(d)::"memory");
    return (u64)d << 32 | a;
}
static inline u64 read_flags(void)
{
    u64 v;
    asm volatile("pushfq\n pop %0" : "=r"(v)::"memory");
    return v;
}
static inline void write_flags(u64 v) { asm volatile("push %0\n popfq" ::"r"(v) : "memory", "cc"); }
static inline void invlpg(u64 va) { asm volatile("invlpg (%0)" ::"r"(va) : "memory"); }
static inline void cli(void) { asm volatile("cli" ::: "memory"); }
static inline void sti(void) { asm volatile("sti" ::: "memory"); }
static inline void pause(void) { asm volatile("pause" ::: "memory"); }
static inline void sti_hlt_cli(void) { asm volatile("sti\n hlt\n cli" ::: "memory"); }
static inline void flush_tlb(void) { write_cr3(read_cr3()); }

struct dtr {
    u16 limit;
    u64 base;
} __attribute__((packed));
static inline void lidt(const struct dtr *d) { asm volatile("lidt %0" ::"m"(*d)); }
static inline void lgdt(const struct dtr *d) { asm volatile("lgdt %0" ::"m"(*d)); }
static inline void ltr(u16 sel) { asm volatile("ltr %0" ::"r"(sel)); }

#define RD(type, va) (*(volatile type *)(u64)(va))
#endif

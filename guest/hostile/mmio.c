/* mmio - loads and stores of every size and alignment to device space, holes, ROM and beyond the
 * end of RAM.  The one register left alone is the low half of the ICR: it could INIT this CPU. */
#include "guest/hostile/rnd.h"

enum { ROUNDS = 60000 };
static u64 bases[] = {0xFEE00000, 0xFEC00000, 0xFED00000, 0xA0000,    0xC0000,
                      0xE0000,    0xF0000,    0xC0000000, 0xE0000000, 0xFD000000,
                      0xFEB00000, 0xFFFC0000, 0x20000000};

static bool touches_icr(u64 a) { return a >= 0xFEE002A0 && a < 0xFEE00320; }

static void access(u64 a, u64 r)
{
    u64 v = r >> 24;
    u32 w = (u32)v;
    switch (r & 15) {
    case 0: RD(u8, a) = (u8)v; break;
    case 1: RD(u16, a) = (u16)v; break;
    case 2:
    case 3:
    case 4: RD(u32, a) = (u32)v; break;
    case 5: RD(u64, a) = v; break;
    case 6: asm volatile("movups %%xmm0, (%0)" ::"r"(a) : "memory"); break;
    case 7: asm volatile("lock xaddl %0, (%1)" : "+r"(w) : "r"(a) : "memory", "cc"); break;
    case 8: asm volatile("movups (%0), %%xmm0" ::"r"(a)); break;
    case 9: asm volatile("fldt (%0)\n fstp %%st(0)" ::"r"(a)); break;
    case 10: {
        u64 c = v & 31, d = a;
        asm volatile("rep stosw" : "+D"(d), "+c"(c) : "a"(v) : "memory");
        break;
    }
    case 11: asm volatile("addl %0, (%1)" ::"r"((u32)v), "r"(a) : "memory", "cc"); break;
    case 12: asm volatile("prefetchw (%0)\n clflush (%0)" ::"r"(a)); break;
    case 13: (void)RD(u8, a); break;
    case 14: (void)RD(u64, a); break;
    default: (void)RD(u32, a); break;
    }
}

int main(void)
{
    map_large(0x20000000, 0x8000000, PTE_P | PTE_W, 2); /* behind 128 MiB of RAM */
    for (int v = 32; v < 256; v++) hooks[v] = ignore_trap;
    hooks[NMI] = ignore_trap;
    for (int i = 0; i < ROUNDS; i++) {
        u64 r = rnd(), b = bases[(r >> 8) % (sizeof bases / sizeof bases[0])];
        u64 a = b + (rnd() & (r & 0x40 ? 0xFFF : 0x3FF0));
        if (b == 0xE0000 || b == 0xF0000) a &= ~0ull;
        if (touches_icr(a)) continue;
        trap_begin();
        asm volatile("" ::: "memory");
        access(a, r);
    }
    check("survived the MMIO storm", true);
    u64 caught = 0;
    for (u64 i = 0; i < 16; i++) { /* code from nowhere reads as FF FF: #UD */
        ATTEMPT("call *%0", ::"r"(0x20000000 + i * 0x101) : "memory", "rax", "cc");
        caught += last.f.vec == UD;
    }
    check_eq("code from unbacked addresses is #UD", caught, 16);
    finish();
}

/* ports - random IN and OUT of every size, and REP INS/OUTS, on every port except the few that are
 * meant to end or reset a PC.  Devices may end in any state; the guest must reach its end. */
#include "guest/hostile/rnd.h"

enum { ROUNDS = 60000 };
static u8 buf[4096];

static bool ends_machine(u16 p) /* p..p+3 touches a port that powers off, resets or exits */
{
    for (u32 q = p; q < p + 4u; q++) {
        u16 r = (u16)q;
        if ((r >= 0xF4 && r <= 0xF7) || r == 0x92 || r == 0x60 || r == 0x64 ||
            (r >= 0xCF8 && r <= 0xCFF) || (r >= 0x600 && r < 0x640) ||
            (r >= 0xB000 && r < 0xB040) || (r >= 0x3F8 && r <= 0x3FF))
            return true;
    }
    return false;
}

int main(void)
{
    u64 done = 0, sum = 0;
    for (int v = 0; v < 256; v++)
        if (v >= 32) hooks[v] = ignore_trap;
    hooks[NMI] = ignore_trap;
    for (int i = 0; i < ROUNDS; i++) {
        u64 r = rnd();
        u16 port = (u16)(r & 0x100 ? r >> 16 : r >> 16 & 0x3FF);
        if (ends_machine(port)) continue;
        u64 rcx = r >> 40 & 7, at = (u64)buf + 2000;
        switch (r & 7) {
        case 0: outb(port, (u8)(r >> 32)); break;
        case 1: outw(port, (u16)(r >> 32)); break;
        case 2: outl(port, (u32)(r >> 32)); break;
        case 3: sum += inb(port); break;
        case 4: sum += inw(port); break;
        case 5: sum += inl(port); break;
        case 6: asm volatile("rep insl" : "+D"(at), "+c"(rcx) : "d"(port) : "memory"); break;
        case 7: asm volatile("rep outsw" : "+S"(at), "+c"(rcx) : "d"(port) : "memory"); break;
        }
        done++;
    }
    for (u32 dev = 0; dev < 32; dev++) /* PCI configuration space: all functions, odd sizes */
        for (u32 reg = 0; reg < 256; reg += 2) {
            outl(0xCF8, 0x80000000u | dev << 11 | (u32)(rnd() & 0x700) | (reg & 0xFC));
            sum += inw((u16)(0xCFC + (reg & 2)));
            sum += inl(0xCFC);
            sum += inb((u16)(0xCFC + (rnd() & 3)));
        }
    say("# %u accesses, checksum %x\n", done, sum);
    check("survived the port storm", done > ROUNDS / 2);
    finish();
}

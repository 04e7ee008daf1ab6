/* portsall - writes random values to every port, those that end the machine included: it ends by
 * some documented way or gets to its last line. */
#include "guest/hostile/rnd.h"

int main(void)
{
    for (int v = 32; v < 256; v++) hooks[v] = ignore_trap;
    hooks[NMI] = ignore_trap;
    for (int round = 0; round < 3; round++)
        for (u32 p = 0; p < 0x10000; p++) {
            u64 r = rnd();
            u16 port = (u16)(p * 40503u);
            if (port >= 0xF1 && port <= 0xF7) continue; /* the debug exit */
            if (r & 1) outb(port, (u8)(r >> 8));
            else if (r & 2) outl(port, (u32)(r >> 8));
            else outw(port, (u16)(r >> 8));
        }
    check("all ports written", true);
    finish();
}

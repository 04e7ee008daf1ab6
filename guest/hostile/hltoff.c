/* hltoff - HLT with IF = 0: nothing can wake it; the monitor must not burn the host's CPU. */
#include "guest/lib/rt.h"

int main(void)
{
    say("# halted with interrupts off\n");
    for (;;) asm volatile("cli\n hlt");
}

/* clispin - never enables interrupts and never stops: only the monitor's time limit ends it. */
#include "guest/lib/rt.h"

int main(void)
{
    say("# spinning with interrupts off\n");
    for (;;) asm volatile("cli");
}

/* triple - a triple fault: an exception with an empty IDT.  The monitor must report it. */
#include "guest/lib/rt.h"

int main(void)
{
    struct dtr none = {0, 0};
    say("# expecting a triple fault\n");
    lidt(&none);
    asm volatile("ud2");
    check("the triple fault ended the guest", false);
    finish();
}

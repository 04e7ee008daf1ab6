/* garbage - random bytes as user code, a fresh page each time; whatever it does ends in a trap or
 * in the next timer interrupt.  SMEP, SMAP and the supervisor's pages are out of its reach. */
#include "guest/hostile/rnd.h"
#include "guest/lib/apic.h"

enum { TRIES = 100000, V_TIMER = 0x50 };
static u64 seen[256];
UCODE(u_page, ".skip 4096, 0xCC\n")

static bool on_timer(struct frame *f)
{
    lapic_eoi();
    if ((f->cs & 3) != 3) return true;
    return false; /* out of the user's code: recorded like any other trap */
}

int main(void)
{
    user_init();
    lapic_enable(0xFF);
    hooks[V_TIMER] = on_timer;
    hooks[0xFF] = ignore_trap;
    lapic_write(LAPIC_TDCR, 0xB);
    lapic_write(LAPIC_LVT_TIMER, V_TIMER | LVT_PERIODIC);
    lapic_write(LAPIC_TICR, 200000);
    u8 *code = (u8 *)u_page;
    for (u64 i = 0; i < TRIES; i++) {
        u64 n = 8 + (rnd() & 56), off = rnd() % 4000;
        for (u64 k = 0; k < n && off + k < 4096; k += 8) {
            u64 v = rnd();
            if (i & 1) v = (v & ~0xFFull) | 0x0F; /* more two-byte opcodes */
            memcpy(code + off + k, &v, 8);
        }
        struct user_state s = {uva(code + off),
                               i & 2 ? UCS : UCS32,
                               2 | FL_IF | (i & 4 ? FL_TF : 0),
                               UVA_STACK_TOP - 64,
                               UDS,
                               UVA_DATA,
                               rnd(),
                               rnd() & 15,
                               rnd(),
                               UVA_DATA,
                               UVA_DATA + 512,
                               rnd(),
                               rnd(),
                               rnd(),
                               rnd(),
                               rnd(),
                               UVA_DATA + 1024};
        trap_begin();
        user_enter(&s);
        seen[last.f.vec & 255]++;
        for (u64 k = 0; k < n && off + k < 4096; k++) code[off + k] = 0xCC;
        if (i % 512 == 0) asm volatile("fninit");
    }
    for (u64 v = 0; v < 256; v++)
        if (seen[v]) say("# vector %u: %u\n", v, seen[v]);
    check("random user code never got past its traps", true);
    finish();
}

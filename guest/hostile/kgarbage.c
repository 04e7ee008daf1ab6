/* kgarbage - random bytes as kernel code: it may break anything in the guest.  A fault goes on with
 * the next page of bytes; the machine ends in any documented way or by the time limit. */
#include "guest/hostile/rnd.h"
#include "guest/lib/apic.h"

u64 keep_regs[6];
enum { TRIES = 20000, V_TIMER = 0x50 };

static bool on_timer(struct frame *f)
{
    (void)f;
    lapic_eoi();
    return trap_fixup == 0;
}

/* calls @page with the callee-saved registers kept across whatever happens */
static void run(void *page)
{
    trap_begin();
    asm volatile(
        "mov %%rbx, keep_regs\n mov %%rbp, keep_regs+8\n mov %%r12, keep_regs+16\n"
        "mov %%r13, keep_regs+24\n mov %%r14, keep_regs+32\n mov %%r15, keep_regs+40\n"
        "movq $1f, trap_fixup\n mov %%rsp, trap_rsp\n sti\n call *%0\n"
        "1: cli\n mov keep_regs, %%rbx\n mov keep_regs+8, %%rbp\n mov keep_regs+16, %%r12\n"
        "mov keep_regs+24, %%r13\n mov keep_regs+32, %%r14\n mov keep_regs+40, %%r15\n cld" ::"a"(
            page)
        : "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "memory", "cc");
    trap_fixup = 0;
}

int main(void)
{
    u8 *page = pages_alloc(1);
    lapic_enable(0xFF);
    hooks[V_TIMER] = on_timer;
    lapic_write(LAPIC_TDCR, 0xB);
    lapic_write(LAPIC_LVT_TIMER, V_TIMER | LVT_PERIODIC);
    lapic_write(LAPIC_TICR, 1000000);
    for (u64 i = 0; i < TRIES; i++) {
        for (int k = 0; k < 64; k += 8) RD(u64, (u64)page + (u64)k) = rnd();
        page[64] = 0x0F, page[65] = 0x0B;
        run(page);
    }
    finish();
}

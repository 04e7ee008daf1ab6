/* badstack - exceptions while the stack pointer is garbage, saved by an interrupt stack for #DF and
 * the faults on the way there; then deep nesting until the stack runs out. */
#include "guest/hostile/rnd.h"

enum { ROUNDS = 5000 };
static u8 ist[8192] __attribute__((aligned(16)));
static volatile u64 depth;

static bool nest(struct frame *f)
{
    f->rip += 2;
    if (depth++ < 2000) asm volatile("ud2" ::: "memory");
    return true;
}

int main(void)
{
    u64 df = 0, keep;
    tss[0].ist[0] = (u64)ist + sizeof ist;
    idt_ist(DF, 1);
    for (int i = 0; i < ROUNDS; i++) {
        u64 sp = rnd();
        if (i & 1) sp &= 0x7FFFFFFFFFFF;
        if (sp < 1ull << 32) continue;
        if (i & 2)
            ATTEMPT2("mov %%rsp, %0\n mov %1, %%rsp", "push %%rax",
                     : "=&r"(keep)
                     : "r"(sp)
                     : "memory");
        else ATTEMPT2("mov %%rsp, %0\n mov %1, %%rsp", "ud2", : "=&r"(keep) : "r"(sp) : "memory");
        df += last.f.vec == DF;
    }
    say("# %u double faults\n", df);
    check("garbage stack pointers end in #DF on its own stack", df > ROUNDS / 4);
    hooks[UD] = nest;
    asm volatile("mov %%rsp, %%rbx\n mov %0, %%rsp\n ud2\n mov %%rbx, %%rsp" ::"r"(
                     (u64)pages_alloc(512) + 512 * 4096)
                 : "rbx", "memory");
    check_eq("2000 nested exceptions", depth, 2001);
    finish();
}

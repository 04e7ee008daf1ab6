/* pagetables - random page tables: entries that point anywhere (RAM, tables themselves, devices,
 * beyond everything) with random flags, then accesses through them.  The image itself stays mapped:
 * only PML4 entries 1..511 are random. */
#include "guest/hostile/rnd.h"

enum { TABLES = 64, ROUNDS = 40000 };
static u64 *tables[TABLES], *scratch;

static u64 random_entry(void)
{
    u64 r = rnd(), flags = r & 0xFFF;
    u64 pa = (u64)tables[(r >> 12) % TABLES];
    switch (r >> 20 & 7) {
    case 0: pa = (rnd() & 0xFFFFFFFF000ull); break;
    case 1: pa = 0xFEE00000; break;
    case 2: pa = (u64)scratch; break;
    case 3: return rnd();
    default: flags = (flags & ~(u64)PTE_PS) | PTE_P;
    }
    return pa | flags | (r & 1ull << 63);
}

int main(void)
{
    u64 *root = (u64 *)(read_cr3() & PTE_ADDR), faults = 0;
    scratch = pages_alloc(1);
    for (int i = 0; i < TABLES; i++) tables[i] = pages_alloc(1);
    for (int i = 0; i < ROUNDS; i++) {
        if (i % 64 == 0) {
            for (int k = 0; k < 4096; k++) tables[rnd() % TABLES][rnd() % 512] = random_entry();
            for (int k = 1; k < 512; k++) root[k] = random_entry();
            flush_tlb();
        }
        u64 va = rnd();
        va = (va & 1ull << 47) ? va | 0xFFFF000000000000 : va & 0x00007FFFFFFFFFFF;
        if (va < 1ull << 39) continue;
        if (i & 1) ATTEMPT("mov (%0), %%rax", ::"r"(va) : "rax", "memory");
        else if (i & 2) ATTEMPT("mov (%0), %%al", ::"r"(va) : "rax", "memory");
        else ATTEMPT("verr %w0\n invlpg (%0)", ::"r"(va) : "memory", "cc");
        faults += last.f.vec == PF;
    }
    say("# %u page faults\n", faults);
    check("survived random page tables", true);
    for (int i = 0; i < 512; i++) tables[0][i] = (u64)tables[0] | 7; /* maps itself for ever */
    root[1] = (u64)tables[0] | 7;
    flush_tlb();
    for (u64 i = 0; i < 5000; i++) {
        u64 va = 1ull << 39 | (rnd() & 0x7FFFFFFFF8);
        ATTEMPT("mov (%0), %%rax", ::"r"(va) : "rax", "memory");
    }
    check("survived a page table that maps itself", true);
    finish();
}

/* badcr - control register loads that would leave 64-bit mode by the back door or set a reserved
 * bit of CR3: each must be #GP
 * and change nothing.  An image of its own: an implementation that accepts one does not come back.
 * SDM volume 2B "MOV - Move to/from Control Registers", volume 3A 10.8.5.4. */
#include "guest/lib/rt.h"

int main(void)
{
    u64 cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4();
    ATTEMPT("mov %0, %%cr0", ::"r"(cr0 | 1ull << 32) : "memory");
    write_cr0(cr0);
    check_trap("#GP CR0[63:32]", GP, 0);
    ATTEMPT("mov %0, %%cr0\n mov %1, %%cr0", ::"r"(cr0 & ~1ull), "r"(cr0) : "memory");
    check_trap("#GP CR0: PG without PE", GP, 0);
    ATTEMPT("mov %0, %%cr0", ::"r"((cr0 | 1u << 29) & ~(1ull << 30)) : "memory");
    write_cr0(cr0);
    check_trap("#GP CR0: NW without CD", GP, 0);
    ATTEMPT("mov %0, %%cr4", ::"r"(cr4 | 1ull << 63) : "memory");
    check_trap("#GP CR4 reserved bit", GP, 0);
    ATTEMPT("mov %0, %%cr3", ::"r"(cr3 | 1ull << 62) : "memory");
    check_trap("#GP CR3 reserved bit", GP, 0);
    check_eq("CR3 unchanged", read_cr3(), cr3);
    ATTEMPT("mov %0, %%cr4", ::"r"(cr4 & ~32ull) : "memory");
    check_trap("#GP CR4: PAE off in long mode", GP, 0);
    check_eq("CR4 unchanged", read_cr4(), cr4);
    ATTEMPT("mov %0, %%cr0", ::"r"(cr0 & ~CR0_PG) : "memory");
    check_trap("#GP CR0: leaving paging in 64-bit mode", GP, 0);
    check_eq("CR0 unchanged", read_cr0(), cr0);
    ATTEMPT("mov %0, %%cr0", ::"r"(cr0 & ~(CR0_PG | 1)) : "memory");
    check_trap("#GP CR0: paging and protection off in 64-bit mode", GP, 0);
    finish();
}

/* switches - mode changes: those that are refused, and protected mode to long mode and back through
 * compatibility mode, with what each keeps. SDM volume 3A 10.8.5, 2.5, 5.2. */
#include "guest/lib32/rt32.h"

#define MSR_EFER 0xC0000080
enum { LME = 0x100, LMA = 0x400, NXE = 0x800, PAGE = 4096, CODE64 = SEL_FREE };
static u64 *pml4, *pdpt, *pd;
static bool has_long;

static void tables(void)
{
    pml4 = pages_alloc(1), pdpt = pages_alloc(1), pd = pages_alloc(1);
    for (u32 k = 0; k < 512; k++) pd[k] = (u64)k << 21 | 0x83;
    pdpt[0] = (u32)pd | 1; /* as a PDPTE of PAE paging; long mode wants R/W: see long_mode() */
    pml4[0] = (u32)pdpt | 3;
}

static void try_cr0(const char *name, u32 v)
{
    ATTEMPT("mov %0, %%cr0", ::"r"(v) : "memory");
    check_trap(name, GP, 0);
}

static void refused(void)
{
    u32 cr0 = read_cr0();
    try_cr0("#GP: PG without PE", (cr0 & ~1u) | CR0_PG);
    try_cr0("#GP: NW without CD", (cr0 | 1u << 29) & ~(1u << 30));
    ATTEMPT("mov %0, %%cr4", ::"r"(1u << 31) : "memory");
    check_trap("#GP: reserved bit of CR4", GP, 0);
    ATTEMPT("wrmsr", ::"c"(MSR_EFER), "a"(2), "d"(0) : "memory");
    check_trap("#GP: reserved bit of EFER", GP, 0);
    if (!has_long) return;
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | LME);
    try_cr0("#GP: LME and PG without PAE", cr0 | CR0_PG);
    check_eq("... LMA stays clear", (u32)rdmsr(MSR_EFER) & LMA, 0);
    ATTEMPT("wrmsr", ::"c"(MSR_EFER), "a"((u32)rdmsr(MSR_EFER) | LMA), "d"(0) : "memory");
    check("writing LMA changes nothing, or #GP", !(rdmsr(MSR_EFER) & LMA));
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(u64)LME);
}

/* ---- into long mode ---- */
u32 l_seen[8];
asm(".text\n.global go_long\n"
    "go_long: push %ebx\n push %esi\n push %edi\n push %ebp\n mov %cr0, %ecx\n or $0x80000000, "
    "%ecx\n"
    "mov %ecx, %cr0\n jmp 1f\n 1: mov $0xC0000080, %ecx\n rdmsr\n mov %eax, l_seen\n"
    "mov %cs, l_seen + 4\n mov $0x7fffffff, %eax\n inc %eax\n .byte 0x40\n mov %eax, l_seen + 8\n"
    "ljmp $0x70, $2f\n.code64\n 2: mov $1, %r8d\n mov $0x1234567890, %rax\n shr $32, %rax\n"
    "mov %eax, l_seen + 12(%rip)\n push %rax\n lea 8(%rsp), %rbx\n pop %rax\n sub %rsp, %rbx\n"
    "mov %ebx, l_seen + 16(%rip)\n ljmp *3f(%rip)\n 3: .long 4f, 8\n.code32\n"
    "4: mov %cr4, %eax\n mov %eax, l_seen + 20\n"
    "mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n jmp 5f\n 5: mov $0xC0000080, %ecx\n"
    "rdmsr\n mov %eax, l_seen + 24\n pop %ebp\n pop %edi\n pop %esi\n pop %ebx\n ret\n");
void go_long(void);

static void prepare(void)
{
    gdt_set(CODE64, seg_desc(0, 0xFFFFF, 0x9B, 0xA0));
    pdpt[0] = (u32)pd | 3;
    write_cr4(read_cr4() | CR4_PAE);
    write_cr3((u32)pml4);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | LME);
}

static void back(void)
{
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(u64)LME);
    write_cr4(read_cr4() & ~(u32)CR4_PAE);
}

static void long_mode(void)
{
    prepare();
    go_long();
    check_eq("PG with LME and PAE sets LMA", l_seen[0] & (LME | LMA), LME | LMA);
    check_eq("CS stays: compatibility mode", l_seen[1] & 0xFFFF, KCS);
    check_eq("... where 40h is INC", l_seen[2], 0x80000001);
    check_eq("far JMP to L=1: 64-bit code", l_seen[3], 0x12);
    check_eq("... PUSH is 8 bytes, POP undoes it", l_seen[4], 0);
    check_eq("PG clear leaves long mode: LMA", l_seen[6] & (LME | LMA), LME);
    for (int k = 0; k < 20; k++) go_long();
    check("twenty more times", (l_seen[6] & LMA) == 0);
    back();
}

/* ---- refused at the door: CS.L set, 16-bit TSS ---- */
static void door(void)
{
    prepare();
    u64 keep = gdt[KCS / 8];
    gdt_set(KCS, keep | 1ull << 53); /* L */
    asm volatile("ljmp $8, $1f\n 1:");
    ATTEMPT("mov %0, %%cr0", ::"r"(read_cr0() | CR0_PG) : "memory");
    gdt_set(KCS, keep);
    asm volatile("ljmp $8, $1f\n 1:");
    check_vec("#GP: entering long mode with CS.L set", GP, 0);
    gdt_access_set(SEL_TSS, 0x81);
    ltr(SEL_TSS);
    ATTEMPT("mov %0, %%cr0", ::"r"(read_cr0() | CR0_PG) : "memory");
    check_trap("#GP: entering long mode with a 16-bit TSS", GP, 0);
    write_cr0(read_cr0() & ~CR0_PG);
    tss_reload();
    back();
}

/* ---- PAE and PSE on and off under paging ---- */
static void paging_modes(void)
{
    u32 *pd32 = pages_alloc(1);
    for (u32 m = 0; m < 16; m++) pd32[m] = m << 22 | 0x83;
    write_cr4(read_cr4() | CR4_PSE);
    write_cr3((u32)pd32);
    for (u32 k = 0; k < 4; k++) {
        write_cr0(read_cr0() | CR0_PG);
        write_cr0(read_cr0() & ~CR0_PG);
    }
    check("paging on and off four times", true);
    pdpt[0] = (u32)pd | 1;
    write_cr3((u32)pdpt);
    write_cr4(read_cr4() | CR4_PAE);
    write_cr0(read_cr0() | CR0_PG);
    check("PAE paging", read_cr4() & CR4_PAE);
    pdpt[1] = 6; /* absent: any */
    pdpt[2] = 1 | 6;
    ATTEMPT("mov %%cr3, %%eax\n mov %%eax, %%cr3", ::: "eax", "memory");
    bool gp = last.f.vec == GP;
    check("MOV CR3 looks at all four PDPTEs", gp);
    pdpt[2] = 0;
    write_cr0(read_cr0() & ~CR0_PG);
    pdpt[2] = 1 | 6;
    ATTEMPT("mov %0, %%cr0", ::"r"(read_cr0() | CR0_PG) : "memory");
    check_trap("so does setting PG", GP, 0);
    write_cr0(read_cr0() & ~CR0_PG);
    pdpt[1] = pdpt[2] = 0;
    write_cr4(read_cr4() & ~(u32)(CR4_PAE | CR4_PSE));
}

int main(void)
{
    has_long = cpuid(0x80000000, 0).a > 0x80000000 && cpuid(0x80000001, 0).d >> 29 & 1;
    tables();
    if (has_long) long_mode();
    paging_modes();
    if (has_long) door();
    refused(); /* last: TCG goes along with some of it and is lost */
    finish();
}

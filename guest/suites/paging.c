/* paging - translation, permissions, accessed and dirty bits, TLB maintenance.
 * SDM volume 3A chapter 4.  A stale TLB entry is never required, only its absence after the
 * operations that must remove it. */
#include "guest/lib/rt.h"

enum { P = 1, W = 2, U = 4, RSVD = 8, I = 16 };
enum { RW = PTE_P | PTE_W, URW = PTE_P | PTE_W | PTE_U };
static u64 page_a, page_b;
static bool has_smep, has_smap, has_pcid, has_invpcid, has_1g;

static u64 pte(void) { return *pte_of(TEST_VA, 1); }
static void poke(u64 va) { RD(volatile u32, va) = 1; }
static u32 peek(u64 va) { return RD(volatile u32, va); }

/* ---- accessed and dirty ---- */
static void accessed_dirty(void)
{
    enum { AD = PTE_A | PTE_D };
    map(TEST_VA, page_a, RW);
    *pte_of(TEST_VA, 2) &= ~(u64)PTE_A;
    *pte_of(TEST_VA, 3) &= ~(u64)PTE_A;
    flush_tlb();
    check_eq("A and D clear before use", pte() & AD, 0);
    peek(TEST_VA);
    check_eq("load sets A only", pte() & AD, PTE_A);
    check("load sets A in upper levels", *pte_of(TEST_VA, 2) & *pte_of(TEST_VA, 3) & PTE_A);
    check_eq("upper levels have no D", (*pte_of(TEST_VA, 2) | *pte_of(TEST_VA, 3)) & PTE_D, 0);
    poke(TEST_VA);
    check_eq("store after load sets D", pte() & AD, AD);
    map(TEST_VA, page_a, RW);
    poke(TEST_VA);
    check_eq("store sets A and D", pte() & AD, AD);
    map(TEST_VA, page_a, RW);
    asm volatile("lock addl $0, (%0)" ::"r"(TEST_VA) : "memory", "cc");
    check_eq("read-modify-write sets D", pte() & AD, AD);
    map(TEST_VA, page_a, RW);
    asm volatile("cmpxchg %%ecx, (%0)" ::"r"(TEST_VA), "a"(~0), "c"(5) : "memory", "cc");
    check_eq("failed CMPXCHG sets D", pte() & AD, AD);
    RD(u8, page_a) = 0xC3;
    map(TEST_VA, page_a, RW);
    asm volatile("call *%0" ::"r"(TEST_VA) : "memory");
    check_eq("fetch sets A only", pte() & AD, PTE_A);
    map(TEST_VA, page_a, PTE_P);
    ATTEMPT("movl $1, (%0)", ::"r"(TEST_VA) : "memory");
    check_eq("a faulting store does not set D", pte() & PTE_D, 0);
    map(TEST_VA, page_a, RW);
    invlpg(TEST_VA);
    asm volatile("prefetchw (%0)" ::"r"(TEST_VA));
    check("a prefetch does not fault", true);
    map(TEST_VA, page_a, RW | PTE_A | PTE_D);
    poke(TEST_VA);
    *pte_of(TEST_VA, 1) &= ~(u64)PTE_D;
    invlpg(TEST_VA);
    poke(TEST_VA);
    check("D is set again after clearing and INVLPG", pte() & PTE_D);
    *pte_of(TEST_VA, 1) &= ~(u64)(PTE_A | PTE_D);
    flush_tlb();
    peek(TEST_VA);
    check_eq("A is set again after clearing and CR3 load", pte() & AD, PTE_A);
}

/* ---- permission matrix ---- */
UCODE(u_load, "mov $0x50000000, %ebx\n movl (%rbx), %eax\n")
UCODE(u_store, "mov $0x50000000, %ebx\n movl %eax, (%rbx)\n")
UCODE(u_fetch, "mov $0x50000000, %ebx\n call *%rbx\n")

static u64 outcome(void) { return last.f.vec == PF ? last.f.err | 0x100 : 0; }

static u64 expect(u64 flags, u64 access, bool wp) /* access: W, U, I bits as in the error code */
{
    bool user = access & U, bad = false;
    if (user && !(flags & PTE_U)) bad = true;
    if ((access & W) && !(flags & PTE_W) && (user || wp)) bad = true;
    if ((access & I) && (flags & PTE_NX)) bad = true;
    if (!(flags & PTE_P)) return 0x100 | access;
    return bad ? 0x100 | access | P : 0;
}

static void matrix_row(u64 flags, int level, bool wp)
{
    static u64 bad;
    u64 got[6];
    ATTEMPT("mov (%0), %%eax", ::"r"(TEST_VA) : "rax");
    got[0] = outcome();
    ATTEMPT("mov %%eax, (%0)", ::"r"(TEST_VA), "a"(0xC3C3C3C3) : "memory");
    got[1] = outcome();
    ATTEMPT("call *%0", ::"r"(TEST_VA) : "memory");
    got[2] = outcome();
    user_run(u_load);
    got[3] = outcome();
    user_run(u_store);
    got[4] = outcome();
    memset((void *)page_a, 0xC3, 8);
    user_run(u_fetch);
    got[5] = outcome();
    bad = 0;
    for (int i = 0; i < 6; i++) {
        u64 access = (i % 3 == 1 ? W : 0) | (i % 3 == 2 ? I : 0) | (i >= 3 ? U : 0);
        u64 want = expect(flags, access, wp);
        if (got[i] == want) continue;
        bad++;
        say("# level %u flags %x access %u: got %x want %x\n", (u64)level, flags, access, got[i],
            want);
    }
    if (bad) check("permission matrix row", false);
}

static void matrix(void)
{
    u64 cr0 = read_cr0();
    memset((void *)page_a, 0xC3, 4096);
    map(TEST_VA, page_a, RW);
    for (int wp = 0; wp < 2; wp++) {
        write_cr0(wp ? cr0 : cr0 & ~(u64)CR0_WP);
        for (int level = 1; level <= 3; level++) {
            u64 *e = pte_of(TEST_VA, level), keep = *e;
            map(TEST_VA, page_a, URW);
            for (u64 f = 0; f < 16; f++) {
                u64 flags = (f & 7) | (f & 8 ? PTE_NX : 0);
                if (level == 3 && flags != URW) continue; /* shared with the user's code */
                *e = (level == 1 ? page_a : keep & PTE_ADDR) | flags;
                flush_tlb();
                matrix_row(flags, level, wp);
            }
            *e = keep;
            flush_tlb();
        }
        check(wp ? "permission matrix with WP" : "permission matrix without WP", true);
    }
    write_cr0(cr0);
}

/* ---- WP, SMEP, SMAP ---- */
static void supervisor_bits(void)
{
    u64 cr4 = read_cr4();
    memset((void *)page_a, 0xC3, 16);
    map(TEST_VA, page_a, URW);
    if (has_smep) {
        write_cr4(cr4 | CR4_SMEP);
        ATTEMPT("call *%0", ::"r"(TEST_VA) : "memory");
        check("SMEP: supervisor fetch from a user page", outcome() == (0x100 | P | I));
        ATTEMPT("mov (%0), %%eax", ::"r"(TEST_VA) : "rax");
        check_none("SMEP: data access is free");
        *pte_of(TEST_VA, 1) &= ~(u64)PTE_U;
        invlpg(TEST_VA);
        ATTEMPT("call *%0", ::"r"(TEST_VA) : "memory");
        check_none("SMEP: supervisor page");
        map(TEST_VA, page_a, URW);
        write_cr4(cr4);
        ATTEMPT("call *%0", ::"r"(TEST_VA) : "memory");
        check_none("SMEP off again takes effect");
    } else skip("SMEP", "not in CPUID");
    if (!has_smap) {
        skip("SMAP", "not in CPUID");
        ATTEMPT("stac", ::: "memory");
        check_trap("STAC without SMAP", UD, 0);
        return;
    }
    write_cr4(cr4 | CR4_SMAP);
    ATTEMPT("mov (%0), %%eax", ::"r"(TEST_VA) : "rax");
    check_pf("SMAP: load", P, TEST_VA);
    ATTEMPT("mov %%eax, (%0)", ::"r"(TEST_VA) : "memory");
    check_pf("SMAP: store", P | W, TEST_VA);
    ATTEMPT2("stac", "mov (%0), %%eax", ::"r"(TEST_VA) : "rax");
    check_none("SMAP: STAC allows");
    ATTEMPT2("stac\n clac", "mov (%0), %%eax", ::"r"(TEST_VA) : "rax");
    check_pf("SMAP: CLAC forbids", P, TEST_VA);
    ATTEMPT2("stac", "ud2", ::: "memory");
    check("STAC sets AC in the saved flags", last.f.rflags & FL_AC);
    ATTEMPT("call *%0", ::"r"(TEST_VA) : "memory");
    check_none("SMAP does not govern fetches");
    struct dtr *d = (void *)TEST_VA;
    write_flags(2);
    ATTEMPT("sgdt (%0)", ::"r"(d) : "memory");
    check_pf("SMAP: SGDT is an explicit access", P | W, TEST_VA);
    /* an LDT on a user page: the GDT itself must stay readable for the fault to be delivered */
    RD(u64, page_b) = gdt[KDS / 8];
    map(TEST_VA + 0x1000, page_b, URW);
    gdt_set(SEL_FREE, seg_desc((u32)TEST_VA + 0x1000, 7, 0x82, 0));
    gdt_set(SEL_FREE + 8, 0);
    asm volatile("lldt %w0" ::"r"(SEL_FREE));
    ATTEMPT2("stac", "mov %0, %%ds", ::"r"(4) : "memory");
    asm volatile("lldt %w0" ::"r"(0));
    check("SMAP: implicit descriptor read ignores AC", outcome() == (0x100 | P));
    write_cr4(cr4);
    write_flags(2);
}

/* ---- large pages and reserved bits ---- */
static void large_pages(void)
{
    u64 va2 = 0x60000000, va1 = 0x8000000000ull;
    map_large(va2, 0, RW, 2);
    check("2 MiB page", peek(va2 + 0x100000) == peek(0x100000));
    *pte_of(va2, 2) &= ~(u64)(PTE_A | PTE_D);
    invlpg(va2 + 0x1FF000);
    poke(va2 + 0x9000);
    check_eq("2 MiB page: A and D", *pte_of(va2, 2) & (PTE_A | PTE_D), PTE_A | PTE_D);
    *pte_of(va2, 2) |= 1 << 13;
    invlpg(va2);
    ATTEMPT("mov (%0), %%eax", ::"r"(va2 + 8) : "rax");
    check_pf("2 MiB page: bit 13 reserved", P | RSVD, va2 + 8);
    if (has_1g) {
        map_large(va1, 0, RW, 3);
        check("1 GiB page", peek(va1 + 0x100000) == peek(0x100000));
        check_eq("1 GiB page: A", *pte_of(va1, 3) & (PTE_A | PTE_D), PTE_A);
        *pte_of(va1, 3) |= 1 << 20;
        invlpg(va1);
        ATTEMPT("mov (%0), %%eax", ::"r"(va1) : "rax");
        check_pf("1 GiB page: bit 20 reserved", P | RSVD, va1);
        *pte_of(va1, 3) = 0;
        flush_tlb();
    } else skip("1 GiB page", "not in CPUID");
    *pte_of(va1, 4) |= PTE_PS;
    flush_tlb();
    ATTEMPT("mov (%0), %%eax", ::"r"(va1) : "rax");
    check_pf("PML4 entry: bit 7 reserved", P | RSVD, va1);
    *pte_of(va1, 4) = 0;
    flush_tlb();
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(u64)EFER_NXE);
    map(TEST_VA, page_a, RW | PTE_NX);
    ATTEMPT("mov (%0), %%eax", ::"r"(TEST_VA) : "rax");
    check_pf("NX is reserved without EFER.NXE", P | RSVD, TEST_VA);
    map(TEST_VA, page_a, PTE_P);
    ATTEMPT("call *%0", ::"r"(TEST_VA + 0x2000) : "memory");
    check("without NXE and SMEP a fetch fault has I clear",
          last.f.vec == PF && last.f.err == 0 && last.cr2 == TEST_VA + 0x2000);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
    u64 maxphy = cpuid(0x80000008, 0).a & 0xFF;
    map(TEST_VA, page_a, RW);
    u64 wrong = 0;
    for (u64 b = maxphy; b < 52; b++) {
        *pte_of(TEST_VA, 1) = page_a | RW | 1ull << b;
        invlpg(TEST_VA);
        ATTEMPT("mov (%0), %%eax", ::"r"(TEST_VA) : "rax");
        if (last.f.vec != PF || last.f.err != (P | RSVD)) wrong |= 1ull << b;
    }
    check_eq("bits MAXPHYADDR..51 are reserved", wrong, 0);
    *pte_of(TEST_VA, 1) = page_a | RW | 0x7FFull << 52 | 7 << 9;
    invlpg(TEST_VA);
    ATTEMPT("mov (%0), %%eax", ::"r"(TEST_VA) : "rax");
    check_none("bits 9..11 and 52..62 are ignored");
}

/* ---- TLB maintenance ---- */
static void tlb(void)
{
    RD(u32, page_a) = 0xA, RD(u32, page_b) = 0xB;
    map(TEST_VA, page_a, RW);
    check_eq("mapping A", peek(TEST_VA), 0xA);
    *pte_of(TEST_VA, 1) = page_b | RW;
    invlpg(TEST_VA + 0xFFF);
    check_eq("INVLPG with any address in the page", peek(TEST_VA), 0xB);
    *pte_of(TEST_VA, 1) = page_a | RW;
    flush_tlb();
    check_eq("CR3 load", peek(TEST_VA), 0xA);
    write_cr4(read_cr4() | CR4_PGE);
    *pte_of(TEST_VA, 1) = page_a | RW | PTE_G;
    invlpg(TEST_VA);
    peek(TEST_VA);
    *pte_of(TEST_VA, 1) = page_b | RW | PTE_G;
    invlpg(TEST_VA);
    check_eq("INVLPG drops a global entry", peek(TEST_VA), 0xB);
    *pte_of(TEST_VA, 1) = page_a | RW | PTE_G;
    write_cr4(read_cr4() & ~(u64)CR4_PGE);
    check_eq("clearing CR4.PGE drops global entries", peek(TEST_VA), 0xA);
    *pte_of(TEST_VA, 1) = page_b | RW;
    write_cr0(read_cr0() & ~(u64)CR0_WP);
    write_cr0(read_cr0() | CR0_WP);
    invlpg(TEST_VA);
    check_eq("new mapping after INVLPG", peek(TEST_VA), 0xB);
    *pte_of(TEST_VA, 1) = 0;
    ATTEMPT("mov (%0), %%eax", ::"r"(TEST_VA + 0x3000) : "rax");
    map(TEST_VA + 0x3000, page_a, RW);
    check_eq("no negative caching: absent -> present needs no flush", peek(TEST_VA + 0x3000), 0xA);
    *pte_of(TEST_VA, 1) = page_a | PTE_P;
    invlpg(TEST_VA);
    ATTEMPT("mov %%eax, (%0)", ::"r"(TEST_VA) : "memory");
    *pte_of(TEST_VA, 1) = page_a | RW;
    ATTEMPT("mov %%eax, (%0)", ::"r"(TEST_VA), "a"(0xA) : "memory");
    if (last.f.vec == PF) ATTEMPT("mov %%eax, (%0)", ::"r"(TEST_VA), "a"(0xA) : "memory");
    check_none("read-only -> writable works at the latest after one fault");
    *pte_of(TEST_VA, 2) &= ~(u64)PTE_P;
    invlpg(TEST_VA);
    ATTEMPT("mov (%0), %%eax", ::"r"(TEST_VA) : "rax");
    check_pf("INVLPG drops paging-structure entries", 0, TEST_VA);
    *pte_of(TEST_VA, 2) = (u64)pages_alloc(1) | RW; /* pte_of made a new table: replace it */
    *pte_of(TEST_VA, 1) = page_a | RW;
    invlpg(TEST_VA);
    check_eq("new page table", peek(TEST_VA), 0xA);
}

static void other_root(void)
{
    u64 *root2 = pages_alloc(1), *root1 = (u64 *)(read_cr3() & PTE_ADDR);
    root2[0] = 0;
    u64 *pdpt = pages_alloc(1), *old = (u64 *)(root1[0] & PTE_ADDR);
    memcpy(pdpt, old, 4096);
    pdpt[1] = 0;
    root2[0] = (u64)pdpt | URW;
    map(TEST_VA, page_a, RW);
    *pte_in(root2, TEST_VA, 1) = page_b | RW;
    RD(u32, page_a) = 0xA, RD(u32, page_b) = 0xB;
    bool good = true;
    for (int i = 0; i < 100; i++) {
        write_cr3((u64)root2);
        good &= peek(TEST_VA) == 0xB;
        write_cr3((u64)root1);
        good &= peek(TEST_VA) == 0xA;
    }
    check("100 switches between two address spaces", good);
    if (!has_pcid) {
        skip("PCID", "not in CPUID");
        ATTEMPT("mov %0, %%cr4", ::"r"(read_cr4() | CR4_PCIDE) : "memory");
        check_trap("#GP CR4.PCIDE without PCID", GP, 0);
        return;
    }
    write_cr4(read_cr4() | CR4_PCIDE);
    u64 nf = 1ull << 63, c1 = (u64)root1 | 1, c2 = (u64)root2 | 2;
    write_cr3(c1), write_cr3(c2);
    check_eq("CR3 reads back without bit 63", (write_cr3(c1 | nf), read_cr3()), c1);
    for (int i = 0; i < 100; i++) {
        write_cr3(c2 | nf);
        good &= peek(TEST_VA) == 0xB;
        write_cr3(c1 | nf);
        good &= peek(TEST_VA) == 0xA;
    }
    check("100 no-flush switches between two PCIDs", good);
    *pte_in(root2, TEST_VA, 1) = page_a | RW;
    write_cr3(c2);
    check_eq("CR3 load without bit 63 flushes the new PCID", peek(TEST_VA), 0xA);
    *pte_in(root2, TEST_VA, 1) = page_b | RW;
    ATTEMPT("mov %0, %%cr4", ::"r"(read_cr4() & ~(u64)CR4_PCIDE) : "memory");
    check_none("CR4.PCIDE can be cleared");
    check_eq("clearing PCIDE flushes everything", peek(TEST_VA), 0xB);
    ATTEMPT("mov %0, %%cr4", ::"r"(read_cr4() | CR4_PCIDE) : "memory");
    check_trap("#GP setting PCIDE with CR3[11:0] != 0", GP, 0);
    write_cr3((u64)root1);
    check_eq("back", peek(TEST_VA), 0xA);
}

static void invpcid_types(void)
{
    struct {
        u64 pcid, addr;
    } d = {0, TEST_VA};
    if (!has_invpcid) {
        skip("INVPCID", "not in CPUID");
        ATTEMPT("invpcid %0, %%rax", ::"m"(d), "a"(2ull) : "memory");
        check_trap("#UD INVPCID without the feature", UD, 0);
        return;
    }
    bool pcid = has_pcid;
    if (pcid) write_cr4(read_cr4() | CR4_PCIDE);
    for (u64 t = 0; t < 4; t++) {
        map(TEST_VA, page_a, RW);
        peek(TEST_VA);
        *pte_of(TEST_VA, 1) = page_b | RW;
        asm volatile("invpcid %0, %1" ::"m"(d), "r"(t) : "memory");
        check_eq("INVPCID drops the entry", peek(TEST_VA), 0xB);
    }
    ATTEMPT("invpcid %0, %%rax", ::"m"(d), "a"(4ull) : "memory");
    check_trap("#GP INVPCID type 4", GP, 0);
    d.addr = 1ull << 63;
    ATTEMPT("invpcid %0, %%rax", ::"m"(d), "a"(0ull) : "memory");
    check_trap("#GP INVPCID type 0, non-canonical address", GP, 0);
    d.addr = 0, d.pcid = 1ull << 12;
    ATTEMPT("invpcid %0, %%rax", ::"m"(d), "a"(1ull) : "memory");
    check_trap("#GP INVPCID reserved descriptor bits", GP, 0);
    d.pcid = 5;
    if (pcid) write_cr4(read_cr4() & ~(u64)CR4_PCIDE);
    ATTEMPT("invpcid %0, %%rax", ::"m"(d), "a"(1ull) : "memory");
    check_trap("#GP INVPCID PCID != 0 while PCIDE = 0", GP, 0);
}

/* ---- accesses over a page boundary ---- */
static void crossing(void)
{
    u64 end = TEST_VA + 0x1000;
    map(TEST_VA, page_a, RW);
    unmap(end);
    memset((void *)page_a, 0x11, 4096);
    ATTEMPT("mov -4(%0), %%rax", ::"r"(end) : "rax");
    check_pf("load across, second page absent", 0, end);
    ATTEMPT("mov %%rax, -3(%0)", ::"r"(end), "a"(-1ull) : "memory");
    check_pf("store across, second page absent", W, end);
    check_eq("no part of the store is done", RD(u32, page_a + 0xFFC), 0x11111111);
    ATTEMPT("lock addq $1, -4(%0)", ::"r"(end) : "memory", "cc");
    check_pf("locked add across, second page absent", W, end);
    check_eq("no part of the locked add is done", RD(u32, page_a + 0xFFC), 0x11111111);
    ATTEMPT("movups %%xmm0, -8(%0)", ::"r"(end) : "memory");
    check_pf("16-byte store across", W, end);
    check_eq("no part of the 16-byte store is done", RD(u64, page_a + 0xFF8), 0x1111111111111111);
    ATTEMPT("fstpt -6(%0)", ::"r"(end) : "memory");
    check_eq("10-byte store across", last.f.vec == PF && last.cr2 == end, 1);
    ATTEMPT("cmpxchg16b -16(%0)", ::"r"(end), "a"(0), "d"(0), "b"(0), "c"(0) : "memory", "cc");
    check_none("CMPXCHG16B up to the boundary");
    map(end, page_b, PTE_P);
    memset((void *)page_a, 0x11, 4096);
    ATTEMPT("mov %%rax, -3(%0)", ::"r"(end), "a"(-1ull) : "memory");
    check_pf("store across, second page read-only", P | W, end);
    check_eq("no part of that store is done", RD(u32, page_a + 0xFFC), 0x11111111);
    map(end, page_b, RW);
    unmap(TEST_VA);
    ATTEMPT("mov %%rax, -3(%0)", ::"r"(end), "a"(-1ull) : "memory");
    check_pf("store across, first page absent", W, end - 3);
    map(TEST_VA, page_a, RW);
    RD(u64, end - 3) = 0x8877665544332211;
    check_eq("store across two frames", RD(u32, page_a + 0xFFC) >> 8 | (u64)RD(u32, page_b) << 24,
             0x77665544332211);
    unmap(end);
    memset((void *)page_a, 0x90, 4096);
    RD(u8, page_a + 0xFFF) = 0xB8; /* MOV EAX, imm32: the immediate lies in the absent page */
    ATTEMPT("call *%0", ::"r"(TEST_VA + 0xFF0) : "memory", "rax");
    check("fetch across: RIP at the instruction, CR2 at the second page",
          last.f.vec == PF && last.f.err == I && last.f.rip == TEST_VA + 0xFFF && last.cr2 == end);
    u64 rdi = TEST_VA + 0xF00, rcx = 0x200;
    ATTEMPT("rep stosb", : "+D"(rdi), "+c"(rcx) : "a"(0x77) : "memory");
    check_pf("REP STOS faults at the second page", W, end);
    check("REP STOS: registers at the fault", last.f.rdi == end && last.f.rcx == 0x100);
    check_eq("REP STOS: earlier elements are stored", RD(u8, page_a + 0xFFF), 0x77);
}

/* ---- the same instructions again and again, everything changing between ---- */

/* Each is one place in the code. */
enum { SITE_LOAD, SITE_STORE, SITE_ADD, SITE_MOVS, SITE_XCHG, SITES };
static void site(int which, u64 va)
{
    static u64 from = 0x1111;
    switch (which) {
    case SITE_LOAD: ATTEMPT("mov (%0), %%rax", ::"r"(va) : "rax"); break;
    case SITE_STORE: ATTEMPT("mov %1, (%0)", ::"r"(va), "r"(0x2222ul) : "memory"); break;
    case SITE_ADD: ATTEMPT("addq $3, (%0)", ::"r"(va) : "memory", "cc"); break;
    case SITE_MOVS: ATTEMPT("movsq", ::"S"(&from), "D"(va) : "memory"); break;
    default: ATTEMPT("xchg %1, (%0)", ::"r"(va), "r"(0x3333ul) : "memory");
    }
}

static bool writes(int which) { return which != SITE_LOAD; }

static u64 after(int which, u64 before)
{
    static const u64 stored[] = {[SITE_STORE] = 0x2222, [SITE_MOVS] = 0x1111, [SITE_XCHG] = 0x3333};
    return which == SITE_LOAD ? before : which == SITE_ADD ? before + 3 : stored[which];
}

struct change {
    u64 flags; /* of the entry */
    bool no_wp, smap, ac;
    u64 error; /* 0x100 | error code, without W; 0: none, writes or not */
    bool only_writes;
};
static const struct change changes[] = {
    {.flags = RW},
    {.flags = RW | PTE_A | PTE_D},
    {.flags = PTE_P, .error = 0x100 | P, .only_writes = true},
    {.flags = PTE_P, .no_wp = true},
    {.flags = PTE_P | PTE_A | PTE_D, .error = 0x100 | P, .only_writes = true},
    {.flags = PTE_W, .error = 0x100},
    {.flags = URW},
    {.flags = URW, .smap = true, .ac = true},
    {.flags = URW | PTE_A | PTE_D, .smap = true, .error = 0x100 | P},
    {.flags = URW, .smap = true, .ac = true},
    {.flags = PTE_P | PTE_U | PTE_A,
     .smap = true,
     .ac = true,
     .error = 0x100 | P,
     .only_writes = true},
};

/* Make the change, run the site; false when outcome, memory or A and D bits are not as they must.
 */
static bool try_site(int which, const struct change *c, u64 page, int how)
{
    const u64 va = TEST_VA + 0x128, cr0 = read_cr0(), cr4 = read_cr4();
    const u64 fault =
        c->error && (!c->only_writes || writes(which)) ? c->error | (writes(which) ? W : 0) : 0;
    u64 ad = c->flags & (PTE_A | PTE_D);
    RD(u64, page + 0x128) = 0x4440 + (u64)which;
    *pte_of(TEST_VA, 1) = page | c->flags;
    if (how == 0) invlpg(TEST_VA);
    else if (how == 1) write_cr3(read_cr3());
    else flush_tlb();
    if (c->no_wp) write_cr0(cr0 & ~(u64)CR0_WP);
    if (c->smap) write_cr4(cr4 | CR4_SMAP);
    if (c->ac) write_flags(2 | FL_AC);
    site(which, va);
    const u64 got = outcome();
    write_flags(2);
    if (c->smap) write_cr4(cr4);
    if (c->no_wp) write_cr0(cr0);
    if (!fault) ad |= PTE_A | (writes(which) ? PTE_D : 0);
    const u64 value = fault ? 0x4440 + (u64)which : after(which, 0x4440 + (u64)which);
    return got == fault && RD(u64, page + 0x128) == value &&
           ((pte() ^ ad) & (fault ? PTE_D : PTE_A | PTE_D)) == 0;
}

static void often(void)
{
    enum { ROUNDS = 12, CHANGES = sizeof changes / sizeof *changes };
    u64 bad = 0;
    map(TEST_VA, page_a, URW);
    for (int level = 2; level <= 4; level++) *pte_of(TEST_VA, level) |= PTE_U;
    for (int round = 0; round < ROUNDS; round++) {
        for (int n = 0; n < CHANGES * SITES; n++) {
            const struct change *c = &changes[(n + round) % CHANGES];
            if (c->smap && !has_smap) continue;
            if (try_site(n % SITES, c, n & 1 ? page_a : page_b, (n + round) % 3)) continue;
            if (!bad++) say("# round %u case %u\n", (u64)round, (u64)n);
        }
    }
    check_eq("one place in the code, changing translations", bad, 0);
}

static void features(void)
{
    struct cpuid l1 = cpuid(1, 0), l7 = cpuid_or0(7, 0), x = cpuid(0x80000001, 0);
    has_smep = l7.b >> 7 & 1, has_smap = l7.b >> 20 & 1, has_invpcid = l7.b >> 10 & 1;
    has_pcid = l1.c >> 17 & 1, has_1g = x.d >> 26 & 1;
}

static void high_addresses(void)
{
    static const u64 vas[] = {0x00007FFFFFFFF000, 0xFFFF800000000000, 0xFFFFFFFFFFFFF000,
                              0xFFFFFFFF80000000};
    for (int i = 0; i < 4; i++) {
        map(vas[i], page_a, RW);
        RD(u32, vas[i] + 8) = 0x1234 + (u32)i;
        check_eq("high linear address", RD(u32, page_a + 8), 0x1234 + (u64)i);
    }
}

int main(void)
{
    features();
    user_init();
    page_a = (u64)pages_alloc(1);
    page_b = (u64)pages_alloc(1);
    accessed_dirty();
    matrix();
    supervisor_bits();
    large_pages();
    tlb();
    other_root();
    invpcid_types();
    crossing();
    high_addresses();
    often();
    finish();
}

/* paging32 - 32-bit and PAE paging against a model of the manual's rules: every combination of
 * present, writable, user, no-execute and reserved bits at both levels, with WP, NXE, SMEP, SMAP
 * and AC, for reads, writes and fetches at CPL 0 and 3; accessed and dirty bits; large pages;
 * PDPTEs; faults during descriptor and task accesses. SDM volume 3A chapter 4. */
#include "guest/lib32/rt32.h"

enum { P = 1, W = 2, U = 4, A = 32, D = 64, PS = 128, G = 256, RSVD_ERR = 8, I_ERR = 16 };
enum { MEG = 1 << 20, ALIAS = 0x08000000, VA = 0x40000000, EFER_NXE = 0x800 };
#define MSR_EFER 0xC0000080
#define NX (1ull << 63)
static u32 *pd32, *pt32;
static u64 *pdpt, *pdpae, *ptpae;
static u8 *page, *large; /* what VA maps to: one page, or the 4 MiB it lies in */
static bool pae, nxe;

/* ---- tables: [0, 48 MiB) supervisor, the same for users at ALIAS ---- */
static void tables_make(void)
{
    pd32 = pages_alloc(1), pt32 = pages_alloc(1), pdpt = pages_alloc(1);
    pdpae = pages_alloc(4), ptpae = pages_alloc(1), page = pages_alloc(1);
    large = (u8 *)((u32)page & ~(4u * MEG - 1));
    for (u32 m = 0; m < 12; m++) {
        pd32[m] = m << 22 | PS | W | P;
        pd32[ALIAS / (4 * MEG) + m] = m << 22 | PS | U | W | P;
    }
    for (u32 m = 0; m < 24; m++) {
        pdpae[m] = m << 21 | PS | W | P;
        pdpae[ALIAS / (2 * MEG) + m] = m << 21 | PS | U | W | P;
    }
    for (u32 k = 0; k < 4; k++) pdpt[k] = (u32)(pdpae + 512 * k) | P;
    memset(page, 0xC3, 4096); /* RET */
}

static void paging_off(void)
{
    write_cr0(read_cr0() & ~(CR0_PG | CR0_WP));
    write_cr4(read_cr4() & ~(u32)(CR4_PAE | CR4_PSE | CR4_PGE | CR4_SMEP | CR4_SMAP));
}

static void paging_on(bool want_pae)
{
    paging_off();
    pae = want_pae;
    write_cr4(read_cr4() | (pae ? CR4_PAE : CR4_PSE));
    write_cr3((u32)(pae ? (void *)pdpt : (void *)pd32));
    write_cr0(read_cr0() | CR0_PG);
    tss.cr3 = rescue.cr3 = read_cr3();
}

static void set_nxe(bool on)
{
    u64 e = rdmsr(MSR_EFER);
    nxe = on;
    wrmsr(MSR_EFER, on ? e | EFER_NXE : e & ~(u64)EFER_NXE);
}

static void flush(void) { write_cr3(read_cr3()); }

/* Entries of VA: @upper the flags of the directory entry, @lower those of the table's. */
static void entries(u64 upper, u64 lower)
{
    u32 to = upper & PS ? (u32)large & (pae ? ~(2u * MEG - 1) : ~(4u * MEG - 1))
                        : (u32)(pae ? (void *)ptpae : (void *)pt32);
    if (pae) {
        if (upper & PS) to = (u32)page & ~(2u * MEG - 1);
        pdpae[VA >> 21] = to | upper;
        ptpae[VA >> 12 & 511] = (u32)page | lower;
    } else {
        pd32[VA >> 22] = to | (u32)upper;
        pt32[VA >> 12 & 1023] = (u32)page | (u32)lower;
    }
    flush();
}
static u64 upper_now(void) { return pae ? pdpae[VA >> 21] : pd32[VA >> 22]; }
static u64 lower_now(void) { return pae ? ptpae[VA >> 12 & 511] : pt32[VA >> 12 & 1023]; }

/* ---- the model ---- */
struct access {
    bool user, write, fetch;
};
struct rules {
    bool wp, smep, smap, ac;
};

static bool reserved(u64 e, bool leaf_large)
{
    if (!pae) return leaf_large && e & 1 << 21;
    if (e & NX && !nxe) return true;
    return e & 0x7FF0000000000000ull || (leaf_large && e & 0x1FE000);
}

/* Error code of the fault, ~0: none. */
static u32 expected(struct access a, struct rules r, u64 upper, u64 lower)
{
    bool big = upper & PS;
    u32 code = (a.write ? W : 0) | (a.user ? U : 0);
    if (a.fetch && ((pae && nxe) || r.smep)) code |= I_ERR;
    if (!(upper & P)) return code;
    if (reserved(upper, big)) return code | P | RSVD_ERR;
    u64 all = upper, any = upper;
    if (!big) {
        if (!(lower & P)) return code;
        if (reserved(lower, false)) return code | P | RSVD_ERR;
        all &= lower, any |= lower;
    }
    bool user_page = all & U, writable = all & W, no_exec = pae && nxe && any & NX;
    bool ok = !(a.fetch && no_exec);
    if (a.user) ok = ok && user_page && (!a.write || writable);
    else {
        ok = ok && (!a.write || writable || !r.wp);
        if (a.fetch) ok = ok && !(user_page && r.smep);
        else ok = ok && !(user_page && r.smap && !r.ac);
    }
    return ok ? ~0u : code | P;
}

/* ---- the accesses ---- */
SNIP32(u_read, "mov (%eax), %ecx")
SNIP32(u_write, "mov %ecx, (%eax)")
SNIP32(u_fetch, "call *%eax")

static u32 outcome(u32 target, bool fetch)
{
    if (last.f.vec == NO_TRAP || last.f.vec == 0xFF) return ~0u;
    if (last.f.vec != PF || last.cr2 != target) return 0xBAD;
    if (fetch && last.f.eip != target) return 0xBAD1;
    return last.f.err;
}

static u32 do_access(struct access a, bool ac)
{
    u32 target = VA + (upper_now() & PS ? (u32)page & (pae ? 2 * MEG - 1 : 4 * MEG - 1) : 0);
    if (a.user) {
        struct ctx c = ctx_ring(3, a.fetch ? u_fetch : a.write ? u_write : u_read);
        c.eip += ALIAS, c.esp += ALIAS;
        c.eax = target, c.ecx = 0xC3C3C3C3;
        c.eflags |= ac ? FL_AC : 0;
        trap_begin();
        ctx_run(&c);
    } else {
        write_flags(ac ? FL_AC : 0);
        if (a.fetch) ATTEMPT("call *%0", ::"r"(target) : "memory");
        else if (a.write) ATTEMPT("mov %0, (%1)", ::"r"(0xC3C3C3C3), "r"(target) : "memory");
        else ATTEMPT("mov (%0), %%eax", ::"r"(target) : "eax", "memory");
        write_flags(0);
    }
    return outcome(target, a.fetch);
}

static u32 cases, wrong, ad_wrong, shown;
static void one(struct access a, struct rules r, u64 upper, u64 lower)
{
    entries(upper, lower);
    u32 got = do_access(a, r.ac), want = expected(a, r, upper, lower);
    cases++;
    if (got != want) {
        wrong++;
        if (shown++ < 8)
            say("# user %u write %u fetch %u wp %u smep %u smap %u ac %u nxe %u upper %x%x lower "
                "%x%x: got "
                "%x want %x\n",
                a.user, a.write, a.fetch, r.wp, r.smep, r.smap, r.ac, nxe, (u32)(upper >> 32),
                (u32)upper, (u32)(lower >> 32), (u32)lower, got, want);
    }
    u64 leaf = upper & PS ? upper_now() : lower_now();
    if (want == ~0u) {
        ad_wrong += !(upper_now() & A) || !(leaf & A) || !!(leaf & D) != a.write;
        if (!(upper & PS)) ad_wrong += (upper_now() & D) != 0;
    } else ad_wrong += (leaf & D) != 0;
}

static void all_accesses(struct rules r, u64 upper, u64 lower)
{
    static const struct access a[] = {{0, 0, 0}, {0, 1, 0}, {0, 0, 1},
                                      {1, 0, 0}, {1, 1, 0}, {1, 0, 1}};
    for (u32 k = 0; k < 6; k++) one(a[k], r, upper, lower);
}

static void sweep(struct rules r)
{
    for (u32 up = 0; up < 8; up++) {
        for (u32 x = 0; x < (pae ? 2 : 1); x++) {
            u64 upper = up | (x ? NX : 0);
            all_accesses(r, upper | PS, 0);
            for (u32 low = 0; low < 8; low++)
                for (u32 y = 0; y < (pae ? 2 : 1); y++) all_accesses(r, upper, low | (y ? NX : 0));
        }
    }
}

static void matrix(const char *name, const char *ad_name)
{
    struct cpuid f = cpuid(7, 0);
    bool has_smep = f.b >> 7 & 1, has_smap = f.b >> 20 & 1;
    cases = wrong = ad_wrong = shown = 0;
    for (u32 k = 0; k < 16; k++) {
        struct rules r = {k & 1, k >> 1 & 1, k >> 2 & 1, k >> 3 & 1};
        if ((r.smep && !has_smep) || (r.smap && !has_smap) || (r.ac && !r.smap)) continue;
        u32 cr4 = read_cr4() & ~(u32)(CR4_SMEP | CR4_SMAP);
        write_cr4(cr4 | (r.smep ? CR4_SMEP : 0) | (r.smap ? CR4_SMAP : 0));
        write_cr0((read_cr0() & ~(u32)CR0_WP) | (r.wp ? CR0_WP : 0));
        sweep(r);
    }
    write_cr4(read_cr4() & ~(u32)(CR4_SMEP | CR4_SMAP));
    say("# %u cases\n", cases);
    check_eq(name, wrong, 0);
    check_eq(ad_name, ad_wrong, 0);
}

/* ---- reserved bits ---- */
static void reserved_bits(void)
{
    struct rules r = {.wp = true};
    cases = wrong = ad_wrong = shown = 0;
    if (!pae) {
        all_accesses(r, PS | P | W | U | 1 << 21, 0);
        check_eq("4 MiB page: bit 21 is reserved", wrong, 0);
        return;
    }
    for (u32 bit = 52; bit < 63; bit++) {
        all_accesses(r, P | W | U | 1ull << bit, P | W | U);
        all_accesses(r, P | W | U, P | W | U | 1ull << bit);
        all_accesses(r, PS | P | W | U | 1ull << bit, 0);
    }
    check_eq("PAE: bits 62:52 are reserved", wrong, 0);
    wrong = 0;
    for (u32 bit = 13; bit < 21; bit++) all_accesses(r, PS | P | W | U | 1u << bit, 0);
    check_eq("2 MiB page: bits 20:13 are reserved", wrong, 0);
    wrong = 0;
    all_accesses(r, W | U | 1ull << 60, 0);
    all_accesses(r, P | W | U, W | U | 1ull << 60);
    check_eq("reserved bits do not matter where P is clear", wrong, 0);
}

/* ---- PDPTEs are registers ---- */
static void pdptes(void)
{
    u64 keep = pdpt[1];
    static const u64 bad[] = {1 << 1, 1 << 2, 1 << 5,     1 << 6,
                              1 << 7, 1 << 8, 1ull << 52, 1ull << 63};
    u32 missed = 0;
    for (u32 k = 0; k < sizeof bad / sizeof *bad; k++) {
        pdpt[1] = keep | bad[k];
        ATTEMPT("mov %0, %%cr3", ::"r"(pdpt) : "memory");
        missed += last.f.vec != GP || last.f.err != 0;
    }
    check_eq("MOV CR3: #GP(0) for reserved bits of a PDPTE", missed, 0);
    pdpt[1] = (keep & ~(u64)P) | 0xFE6;
    ATTEMPT("mov %0, %%cr3", ::"r"(pdpt) : "memory");
    check_none("MOV CR3: an absent PDPTE may hold anything");
    ATTEMPT("mov (%0), %%eax", ::"r"(VA) : "eax");
    check("... and #PF has P clear", last.f.vec == PF && last.f.err == 0 && last.cr2 == VA);
    pdpt[1] = keep;
    ATTEMPT("mov (%0), %%eax", ::"r"(VA) : "eax");
    check("writing a PDPTE in memory changes nothing", last.f.vec == PF);
    entries(P | W | U, P | W | U);
    pdpt[1] = 0;
    asm volatile("invlpg (%0)" ::"r"(VA) : "memory");
    ATTEMPT("mov (%0), %%eax", ::"r"(VA) : "eax");
    check_none("... before the next MOV CR3, even after INVLPG");
    pdpt[1] = keep;
    flush();
    check_eq("PDPTEs get no A bit", pdpt[1] & A, 0);
}

/* ---- things of large pages ---- */
static void large_pages(void)
{
    entries(PS | P | W | U, 0);
    u32 span = pae ? 2 * MEG : 4 * MEG, base = (u32)page & ~(span - 1);
    bool same = true;
    for (u32 off = 0; off < span; off += 0x11000)
        same = same && RD(u32, VA + off) == RD(u32, base + off);
    check("a large page maps all of its bytes", same);
    if (pae) return;
    pd32[VA >> 22] = (u32)large | PS | P | W | 1 << 13; /* PSE-36: physical bit 32 */
    flush();
    ATTEMPT("mov (%0), %%eax", ::"r"(VA) : "eax");
    check("PSE-36: bit 13 is an address bit or reserved",
          last.f.vec == NO_TRAP || (last.f.vec == PF && last.f.err == (P | RSVD_ERR)));
}

/* ---- faults of implicit accesses ---- */
static void implicit(void)
{
    entries(P | W | U, P | W | U);
    u64 keep = gdt[SEL_LDT / 8];
    gdt_set(SEL_LDT, seg_desc(VA, 0xFFF, 0x82, 0));
    lldt(SEL_LDT);
    *(u64 *)(page + 8) = seg_desc(0, 0xFFFFF, 0x92, 0xC0); /* selector 0Ch */
    entries(P, P);                                         /* supervisor, read-only */
    write_cr0(read_cr0() | CR0_WP);
    ATTEMPT("mov %0, %%fs", ::"r"(0xC) : "memory");
    check_trap("#PF setting the accessed bit in a read-only LDT", PF, P | W);
    write_cr0(read_cr0() & ~(u32)CR0_WP);
    ATTEMPT("mov %0, %%fs", ::"r"(0xC) : "memory");
    check_none("... not with WP clear");
    entries(P | W, 0);
    ATTEMPT("mov %0, %%fs", ::"r"(0xC) : "memory");
    check_trap("#PF reading an absent LDT", PF, 0);
    check_eq("... CR2 is the descriptor", last.cr2, VA + 8);
    asm volatile("mov %0, %%fs" ::"r"(KDS));
    lldt(0);
    gdt_set(SEL_LDT, keep);
    /* interrupt delivery from CPL 3 with an absent ring-0 stack: #PF, then #DF */
    entries(P | W, 0);
    idt_rescue(DF);
    tss.esp0 = VA + 0x800;
    struct ctx c = ctx_ring(3, u_read);
    c.eip += ALIAS, c.esp += ALIAS, c.eax = 0x1000;
    trap_begin();
    ctx_run(&c);
    idt_default(DF);
    check("#PF whose frame cannot be pushed: #DF", last.f.vec == DF && !last.f.err);
    check_eq("... CR2 is the stack's", last.cr2 & ~0xFFFu, VA);
    tss_reload();
    memset(page, 0xC3, 4096);
}

int main(void)
{
    tables_make();
    paging_on(false);
    set_nxe(false);
    matrix("32-bit paging: every combination", "32-bit paging: A and D");
    reserved_bits();
    large_pages();
    implicit();
    paging_on(true);
    matrix("PAE, no NXE: every combination", "PAE, no NXE: A and D");
    set_nxe(true);
    matrix("PAE, NXE: every combination", "PAE, NXE: A and D");
    reserved_bits();
    pdptes();
    large_pages();
    implicit();
    paging_off();
    finish();
}

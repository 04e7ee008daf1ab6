/* system - system instructions: fast calls, MSRs, control registers, descriptors, call gates,
 * debug registers and single-stepping, I/O privilege, XSAVE.  SDM volumes 2 and 3A. */
#include "guest/lib/rt.h"

enum {
    MSR_STAR = 0xC0000081,
    MSR_LSTAR,
    MSR_CSTAR,
    MSR_FMASK,
    MSR_FS_BASE = 0xC0000100,
    MSR_GS_BASE,
    MSR_KGS_BASE,
    MSR_TSC_AUX,
    MSR_SYSENTER_CS = 0x174,
    MSR_SYSENTER_ESP,
    MSR_SYSENTER_EIP
};
enum { S0 = SEL_FREE, S1 = SEL_FREE + 8, S2 = SEL_FREE + 16, S3 = SEL_FREE + 24 };
#define NONCANON 0x8000000000000000ull
static struct cpuid l1, l7;
u64 sys_saved[8], sys_user_rsp;

/* ---- SYSCALL, SYSENTER ---- */
asm(".text\n"
    "sys_entry: mov %rcx, sys_saved\n mov %r11, sys_saved+8\n"
    "mov %rsp, sys_user_rsp\n mov $boot_stack_top - 16384, %rsp\n pushfq\n pop %rax\n"
    "mov %rax, sys_saved+16\n mov %cs, %eax\n mov %rax, sys_saved+24\n mov %ss, %eax\n"
    "mov %rax, sys_saved+32\n mov sys_user_rsp, %rsp\n sysretq\n"

    "sysenter_entry: mov %cs, %eax\n mov %rax, sys_saved\n mov %ss, %eax\n"
    "mov %rax, sys_saved+8\n mov %rsp, sys_saved+16\n pushfq\n pop %rax\n"
    "mov %rax, sys_saved+24\n rex.w sysexit\n");
extern const char sys_entry[], sysenter_entry[];
UCODE(u_syscall, "stc\n std\n syscall\n .global u_syscall_ret\n u_syscall_ret: mov %cs, %esi\n"
                 "mov %ss, %edi\n pushfq\n pop %rbx\n cld\n")
UCODE(u_sysenter, "lea 1f(%rip), %rdx\n mov %rsp, %rcx\n mov %rcx, %r8\n sysenter\n ud2\n"
                  "1: mov %cs, %esi\n mov %ss, %edi\n mov %rsp, %r9\n")
extern const char u_syscall_ret[];
UCODE(u_sysret, "sysretq\n")

static void fast_calls(void)
{
    wrmsr(MSR_STAR, (u64)(UCS32) << 48 | (u64)KCS << 32);
    wrmsr(MSR_LSTAR, (u64)sys_entry);
    wrmsr(MSR_FMASK, FL_DF | FL_TF | FL_IF);
    user_run(u_syscall);
    check_eq("SYSCALL without SCE: #UD", last.f.vec, UD);
    user_run(u_sysret);
    check_trap("#UD SYSRET without SCE", UD, 0);
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
    user_run(u_syscall);
    check_eq("SYSCALL: RCX is the next RIP", sys_saved[0], uva(u_syscall_ret));
    check_eq("SYSCALL: R11 is RFLAGS", sys_saved[1] & (FL_CF | FL_DF | FL_IF), FL_CF | FL_DF);
    check_eq("SYSCALL: FMASK applied", sys_saved[2] & (FL_CF | FL_DF), FL_CF);
    check("SYSCALL: CS and SS", sys_saved[3] == KCS && sys_saved[4] == KDS);
    check("SYSRET: CS and SS", last.f.vec == 0x80 && last.f.rsi == UCS && last.f.rdi == UDS);
    check_eq("SYSRET: RFLAGS from R11", last.f.rbx & (FL_CF | FL_DF), FL_CF | FL_DF);
    ATTEMPT("sysretq", ::"c"(NONCANON), "r"(2ull) : "r11");
    check_trap("#GP SYSRET to non-canonical RCX, at CPL 0", GP, 0);
    ATTEMPT("wrmsr", ::"c"(MSR_LSTAR), "a"(0), "d"(0x80000000) : "memory");
    check_trap("#GP LSTAR non-canonical", GP, 0);
    wrmsr(MSR_LSTAR, (u64)sys_entry);
    user_run(u_sysret);
    check_trap("#GP SYSRET at CPL 3", GP, 0);
    u64 efer = rdmsr(MSR_EFER);
    ATTEMPT("wrmsr", ::"c"(MSR_EFER), "a"((u32)efer | 2), "d"(0) : "memory");
    check_trap("#GP EFER reserved bit", GP, 0);
    ATTEMPT("wrmsr", ::"c"(MSR_EFER), "a"((u32)efer & ~0x100u), "d"(0) : "memory");
    check_trap("#GP clearing EFER.LME with paging on", GP, 0);
    wrmsr(MSR_EFER, efer);
    wrmsr(MSR_SYSENTER_CS, 0);
    user_run(u_sysenter);
    check("#GP SYSENTER with a null CS", last.f.vec == GP && last.f.err == 0);
    wrmsr(MSR_SYSENTER_CS, KCS);
    extern char boot_stack_top[];
    wrmsr(MSR_SYSENTER_ESP, (u64)boot_stack_top - 20480);
    wrmsr(MSR_SYSENTER_EIP, (u64)sysenter_entry);
    user_run(u_sysenter);
    check("SYSENTER: CS, SS, RSP", sys_saved[0] == KCS && sys_saved[1] == KDS &&
                                       sys_saved[2] == (u64)boot_stack_top - 20480);
    check_eq("SYSENTER clears IF", sys_saved[3] & FL_IF, 0);
    check("SYSEXIT: CS, SS, RSP", last.f.vec == 0x80 && last.f.rsi == ((KCS + 32) | 3) &&
                                      last.f.rdi == ((KCS + 40) | 3) && last.f.r9 == last.f.r8);
}

/* ---- segment bases ---- */
UCODE(u_fsgs, "mov $0x1234567, %eax\n wrfsbase %rax\n rdfsbase %rbx\n")
UCODE(u_swapgs, "swapgs\n")

static void bases(void)
{
    u64 v;
    wrmsr(MSR_GS_BASE, 0x1111), wrmsr(MSR_KGS_BASE, 0x2222);
    asm volatile("swapgs");
    check("SWAPGS", rdmsr(MSR_GS_BASE) == 0x2222 && rdmsr(MSR_KGS_BASE) == 0x1111);
    user_run(u_swapgs);
    check_trap("#GP SWAPGS at CPL 3", GP, 0);
    wrmsr(MSR_FS_BASE, (u64)&l1);
    asm volatile("mov %%fs:0, %k0" : "=r"(v));
    check_eq("FS base from the MSR is used", v, l1.a);
    wrmsr(MSR_GS_BASE, 0xFFFFFFFFFFFFFFF0);
    asm volatile("mov %%gs:(%1), %k0" : "=r"(v) : "r"((u64)&l1 + 16));
    check_eq("GS base: the sum wraps", v, l1.a);
    asm volatile("mov %0, %%fs" ::"r"(KDS));
    check_eq("loading FS sets its base from the descriptor", rdmsr(MSR_FS_BASE), 0);
    ATTEMPT("wrmsr", ::"c"(MSR_FS_BASE), "a"(0), "d"(0x80000000) : "memory");
    check_trap("#GP FS base non-canonical", GP, 0);
    wrmsr(MSR_GS_BASE, 0);
    if (!(l7.b & 1)) {
        skip("FSGSBASE", "not in CPUID");
        return;
    }
    ATTEMPT("rdfsbase %%rax", ::: "rax");
    check_trap("#UD RDFSBASE without CR4.FSGSBASE", UD, 0);
    write_cr4(read_cr4() | CR4_FSGS);
    asm volatile("wrgsbase %0" ::"r"(0x7777ull));
    check_eq("WRGSBASE", rdmsr(MSR_GS_BASE), 0x7777);
    asm volatile("rdgsbase %k0" : "=r"(v));
    check_eq("RDGSBASE, 32-bit", v, 0x7777);
    ATTEMPT("wrgsbase %0", ::"r"(NONCANON));
    check_trap("#GP WRGSBASE non-canonical", GP, 0);
    user_run(u_fsgs);
    check_eq("WRFSBASE, RDFSBASE at CPL 3", last.f.rbx, 0x1234567);
    write_cr4(read_cr4() & ~(u64)CR4_FSGS);
    wrmsr(MSR_GS_BASE, 0), wrmsr(MSR_FS_BASE, 0);
}

/* ---- MSRs, CPUID, control registers ---- */
UCODE(u_rdmsr, "xor %ecx, %ecx\n rdmsr\n")
UCODE(u_cr, "mov %cr0, %rax\n")
UCODE(u_hlt, "hlt\n")
UCODE(u_rdtsc, "rdtsc\n")
UCODE(u_rdtscp, "rdtscp\n")
UCODE(u_rdpmc, "mov $0xffff, %ecx\n rdpmc\n")
UCODE(u_sgdt, "sub $16, %rsp\n sgdt (%rsp)\n")
UCODE(u_sidt, "sub $16, %rsp\n sidt (%rsp)\n")
UCODE(u_smsw, "smsw %eax\n")
UCODE(u_str, "str %eax\n")
UCODE(u_sldt, "sldt %eax\n")
UCODE(u_invlpg, "invlpg (%rsp)\n")
UCODE(u_lgdt, "lgdt (%rsp)\n")
UCODE(u_wbinvd, "wbinvd\n")
UCODE(u_clts, "clts\n")
UCODE(u_dr, "mov %dr7, %rax\n")
UCODE(u_lmsw, "lmsw %ax\n")
UCODE(u_ltr, "ltr %ax\n")
UCODE(u_xsetbv, "xor %ecx, %ecx\n xsetbv\n")
UCODE(u_invd, "invd\n")

static void privileged(void)
{
    static const struct {
        const char *code, *name;
    } rows[] = {{u_rdmsr, "#GP RDMSR at CPL 3"}, {u_cr, "#GP MOV CR at CPL 3"},
                {u_hlt, "#GP HLT at CPL 3"},     {u_invlpg, "#GP INVLPG at CPL 3"},
                {u_lgdt, "#GP LGDT at CPL 3"},   {u_wbinvd, "#GP WBINVD at CPL 3"},
                {u_clts, "#GP CLTS at CPL 3"},   {u_dr, "#GP MOV DR at CPL 3"},
                {u_lmsw, "#GP LMSW at CPL 3"},   {u_ltr, "#GP LTR at CPL 3"},
                {u_invd, "#GP INVD at CPL 3"}};
    for (u64 i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        user_run(rows[i].code);
        if (rows[i].code == u_rdmsr)
            check(rows[i].name, last.f.vec == GP && last.f.rip == trap_at + 2);
        else check_trap(rows[i].name, GP, 0);
    }
}

static void registers(void)
{
    ATTEMPT("rdmsr", ::"c"(0x12345678) : "rax", "rdx");
    check_trap("#GP RDMSR unknown", GP, 0);
    ATTEMPT("wrmsr", ::"c"(0x12345678), "a"(0), "d"(0) : "memory");
    check_trap("#GP WRMSR unknown", GP, 0);
    u64 cr0 = read_cr0();
    write_cr0(cr0 & ~16ull);
    check_eq("CR0.ET is fixed to 1", read_cr0(), cr0);
    u64 r;
    asm volatile("smsw %k0" : "=r"(r));
    check_eq("SMSW low half", r & 0xFFFF, read_cr0() & 0xFFFF);
    asm volatile("lmsw %w0" ::"r"((u16)(cr0 | CR0_TS)));
    check_eq("LMSW sets TS", read_cr0(), cr0 | CR0_TS);
    asm volatile("lmsw %w0" ::"r"((u16)0x2));
    check_eq("LMSW cannot clear PE", read_cr0() & 15, 3);
    write_cr0(cr0);
    user_run(u_rdtsc);
    check_eq("RDTSC at CPL 3", last.f.vec, 0x80);
    write_cr4(read_cr4() | CR4_TSD);
    user_run(u_rdtsc);
    check_trap("#GP RDTSC with TSD", GP, 0);
    user_run(u_rdtscp);
    check("RDTSCP with TSD", last.f.vec == (cpuid(0x80000001, 0).d >> 27 & 1 ? GP : UD));
    ATTEMPT("rdtsc", ::: "rax", "rdx");
    check_none("RDTSC with TSD at CPL 0");
    write_cr4(read_cr4() & ~(u64)CR4_TSD);
    u64 t = rdtsc();
    for (int i = 0; i < 1000; i++) {
        u64 n = rdtsc();
        if (n < t) check("TSC monotonic", false);
        t = n;
    }
    wrmsr(MSR_TSC_AUX, 0x55);
    asm volatile("rdtscp" : "=c"(r)::"rax", "rdx");
    check_eq("RDTSCP: ECX is TSC_AUX", r, 0x55);
    user_run(u_rdpmc);
    check("#GP RDPMC at CPL 3 without PCE", last.f.vec == GP);
    static const struct {
        const char *code, *name;
    } umip[] = {
        {u_sgdt, "SGDT"}, {u_sidt, "SIDT"}, {u_smsw, "SMSW"}, {u_str, "STR"}, {u_sldt, "SLDT"}};
    for (int i = 0; i < 5; i++) {
        user_run(umip[i].code);
        check(umip[i].name, last.f.vec == 0x80);
        if (!(l7.c >> 2 & 1)) continue;
        write_cr4(read_cr4() | CR4_UMIP);
        user_run(umip[i].code);
        check(umip[i].name, last.f.vec == GP && last.f.err == 0);
        write_cr4(read_cr4() & ~(u64)CR4_UMIP);
    }
    struct dtr d = {0, 0};
    asm volatile("sgdt %0" : "=m"(d));
    check("SGDT", d.limit == GDT_BYTES - 1 && d.base == (u64)gdt);
    asm volatile("sidt %0" : "=m"(d));
    check("SIDT", d.limit == sizeof idt - 1 && d.base == (u64)idt);
    d.base = NONCANON;
    ATTEMPT("lgdt %0", ::"m"(d) : "memory");
    d.base = (u64)gdt, d.limit = GDT_BYTES - 1;
    lgdt(&d);
    check_trap("#GP LGDT non-canonical base", GP, 0);
}

static void cpuid_sane(void)
{
    u32 top = cpuid(0, 0).a;
    check("CPUID highest leaf", top >= 7 && top < 0x100);
    /* FPU DE PSE TSC MSR PAE CX8 APIC SEP MTRR PGE CMOV PAT CLFSH MMX FXSR SSE SSE2 */
    check_eq("CPUID has the 64-bit baseline", l1.d & 0x0789BB7D, 0x0789BB7D);
    check("CPUID: long mode, NX, SYSCALL", (cpuid(0x80000001, 0).d & 0x20100800) == 0x20100800);
    write_cr4(read_cr4() & ~(u64)CR4_OSXSAVE);
    check("CPUID.OSXSAVE follows CR4", !(cpuid(1, 0).c >> 27 & 1));
    check("CPUID.APIC", cpuid(1, 0).d >> 9 & 1);
    u64 f;
    asm volatile("pushfq\n xorl $0x200000, (%%rsp)\n popfq\n pushfq\n pop %0" : "=r"(f)::"cc");
    check("RFLAGS.ID can be set", f & FL_ID);
    write_flags(2);
    write_flags(2 | FL_VM);
    check_eq("POPF leaves VM alone", read_flags() & FL_VM, 0);
    u64 zero = 0xFFFFFFFF00000000;
    asm volatile("cpuid" : "+a"(zero)::"rbx", "rcx", "rdx");
    check_eq("CPUID clears the upper halves", zero >> 32, 0);
}

/* ---- descriptors ---- */
static bool zf_of(const char *what, u16 sel)
{
    bool zf = false;
    if (what[0] == 'r') asm volatile("verr %w1" : "=@ccz"(zf) : "r"(sel));
    else asm volatile("verw %w1" : "=@ccz"(zf) : "r"(sel));
    return zf;
}

static void descriptors(void)
{
    u64 r = 0x5555;
    bool zf;
    gdt_set(S0, seg_desc(0x1000, 0x2345, 0x92, 0x40)); /* data, limit in bytes */
    gdt_set(S1, seg_desc(0, 0xFFFFF, 0x90, 0xC0));     /* read-only data */
    gdt_set(S2, seg_desc(0, 0xFFFFF, 0x98, 0xA0));     /* execute-only code */
    gdt_set(S3, seg_desc(0, 0xFFFFF, 0x9E, 0xC0));     /* conforming readable code */
    asm volatile("lar %w2, %k0" : "+r"(r), "=@ccz"(zf) : "r"(S0));
    check("LAR", zf && r == 0x409200);
    asm volatile("lsl %w2, %k0" : "+r"(r), "=@ccz"(zf) : "r"(S0));
    check("LSL bytes", zf && r == 0x2345);
    asm volatile("lsl %w2, %k0" : "+r"(r), "=@ccz"(zf) : "r"(S1));
    check("LSL pages", zf && r == 0xFFFFFFFF);
    r = 0x5555;
    asm volatile("lar %w2, %k0" : "+r"(r), "=@ccz"(zf) : "r"(0));
    check("LAR null: ZF clear, register kept", !zf && r == 0x5555);
    asm volatile("lsl %w2, %k0" : "+r"(r), "=@ccz"(zf) : "r"(GDT_BYTES));
    check("LSL beyond the table: ZF clear", !zf && r == 0x5555);
    asm volatile("lar %w2, %k0" : "+r"(r), "=@ccz"(zf) : "r"(SEL_TSS));
    check("LAR of a busy TSS", zf && (r & 0xFF00) == 0x8B00);
    check("VERR, VERW writable data", zf_of("r", S0) && zf_of("w", S0));
    check("VERR, VERW read-only data", zf_of("r", S1) && !zf_of("w", S1));
    check("VERR execute-only code", !zf_of("r", S2));
    check("VERR readable code, VERW not", zf_of("r", S3) && !zf_of("w", S3));
    check("VERR null", !zf_of("r", 0));
    check("VERR system descriptor", !zf_of("r", SEL_TSS));
    asm volatile("mov %0, %%ds" ::"r"(S0));
    check("loading a segment sets its accessed bit", gdt[S0 / 8] >> 40 & 1);
    asm volatile("mov %0, %%ds" ::"r"(KDS));
    ATTEMPT("mov %0, %%ss", ::"r"(S1) : "memory");
    check_trap("#GP MOV SS read-only data", GP, S1);
    gdt_set(S0, seg_desc(0, 0xFFFFF, 0x93, 0xC0));
    gdt_set(S0 + 8, seg_desc(0, 0xFFFFF, 0xB3, 0xC0)); /* DPL 1 */
    ATTEMPT("mov %0, %%ss", ::"r"(S0 + 8) : "memory");
    check_trap("#GP MOV SS with DPL 1", GP, S0 + 8);
    ATTEMPT("mov %0, %%es", ::"r"(S0 + 8) : "memory");
    check_none("MOV ES with DPL 1 at CPL 0");
    ATTEMPT("mov %0, %%es", ::"r"(KDS | 3) : "memory");
    check_trap("#GP MOV ES, RPL 3 on DPL 0", GP, KDS);
    asm volatile("mov %0, %%es" ::"r"(KDS));
    ATTEMPT("mov %0, %%ds", ::"r"(3) : "memory");
    check_none("null DS with RPL 3");
    asm volatile("mov %0, %%ds" ::"r"(KDS));
}

static void system_segments(void)
{
    u16 sel;
    static u64 ldt[2];
    gdt_set(S0, seg_desc((u32)(u64)ldt, 15, 0x82, 0));
    gdt_set(S1, 0);
    ldt[1] = seg_desc(0, 0xFFFFF, 0x93, 0xC0);
    asm volatile("lldt %w0" ::"r"(S0));
    asm volatile("sldt %0" : "=r"(sel));
    check_eq("LLDT, SLDT", sel, S0);
    ATTEMPT("mov %0, %%es", ::"r"(8 | 4) : "memory");
    check_none("a selector in the LDT");
    ATTEMPT("mov %0, %%es", ::"r"(16 | 4) : "memory");
    check_trap("#GP beyond the LDT limit", GP, 16 | 4);
    asm volatile("mov %0, %%es" ::"r"(KDS));
    gdt_set(S0, seg_desc((u32)(u64)ldt, 15, 0x02, 0));
    ATTEMPT("lldt %w0", ::"r"(S0) : "memory");
    check_trap("#NP LLDT", NP, S0);
    ATTEMPT("lldt %w0", ::"r"(KDS) : "memory");
    check_trap("#GP LLDT of a data segment", GP, KDS);
    ATTEMPT("lldt %w0", ::"r"(12) : "memory");
    check_trap("#GP LLDT with TI", GP, 12);
    asm volatile("lldt %w0" ::"r"(0));
    ATTEMPT("mov %0, %%es", ::"r"(12) : "memory");
    check_trap("#GP LDT selector with a null LDT", GP, 12);
    check("LTR marked the TSS busy", (gdt[SEL_TSS / 8] >> 40 & 15) == 11);
    ATTEMPT("ltr %w0", ::"r"(SEL_TSS) : "memory");
    check_trap("#GP LTR of a busy TSS", GP, SEL_TSS);
    ATTEMPT("ltr %w0", ::"r"(0) : "memory");
    check_trap("#GP LTR null", GP, 0);
    gdt_set(S0, seg_desc((u32)(u64)tss, 0x67, 0x09, 0));
    ATTEMPT("ltr %w0", ::"r"(S0) : "memory");
    check_trap("#NP LTR", NP, S0);
    asm volatile("str %0" : "=r"(sel));
    check_eq("STR unchanged by failures", sel, SEL_TSS);
    gdt[SEL_TSS / 8] &= ~(2ull << 40); /* not busy: load it again whatever happened above */
    ltr(SEL_TSS);
}

/* ---- call gates and far transfers ---- */
asm(".text\n gate_target: mov %rsp, sys_saved\n mov %cs, %eax\n mov %rax, sys_saved+8\n"
    "mov %ss, %eax\n mov %rax, sys_saved+16\n mov (%rsp), %rax\n mov %rax, sys_saved+24\n"
    "mov 8(%rsp), %rax\n mov %rax, sys_saved+32\n mov 24(%rsp), %rax\n mov %rax, sys_saved+40\n"
    "lretq\n");
extern const char gate_target[];
UCODE(u_gate, "lcall *1f(%rip)\n .global u_gate_ret\n u_gate_ret: mov %cs, %esi\n mov %ss, %edi\n"
              "int $0x80\n 1: .long 0\n .word 0x4b\n")
extern const char u_gate_ret[];

static void call_gate(int sel, const void *to, u16 cs, u8 access)
{
    u64 a = (u64)to;
    gdt_set(sel, (a & 0xFFFF) | (u64)cs << 16 | (u64)access << 40 | (a >> 16 & 0xFFFF) << 48);
    gdt_set(sel + 8, a >> 32);
}

static void far_transfers(void)
{
    struct {
        u32 off;
        u16 sel;
    } __attribute__((packed)) far = {0, S0};
    u64 rsp;
    call_gate(S0, gate_target, KCS, 0x8C);
    ATTEMPT("mov %%rsp, %0\n lcall *%1", : "=&r"(rsp) : "m"(far) : "rax", "memory");
    check("call gate 0 -> 0", last.f.vec == NO_TRAP && sys_saved[1] == KCS);
    user_run(u_gate);
    check("#GP call gate with DPL 0 from CPL 3", last.f.vec == GP && last.f.err == S0);
    call_gate(S0, gate_target, KCS, 0xEC);
    user_run(u_gate);
    check("call gate 3 -> 0: stack from RSP0", sys_saved[0] == tss[0].rsp[0] - 32);
    check("call gate 3 -> 0: CS, null SS", sys_saved[1] == KCS && (sys_saved[2] & ~3ull) == 0);
    check("call gate 3 -> 0: return frame",
          sys_saved[3] == uva(u_gate_ret) && sys_saved[4] == UCS && sys_saved[5] == UDS);
    check("far RET 0 -> 3", last.f.vec == 0x80 && last.f.rsi == UCS && last.f.rdi == UDS);
    call_gate(S0, gate_target, KCS32, 0xEC);
    user_run(u_gate);
    check("#GP call gate to 32-bit code", last.f.vec == GP && last.f.err == KCS32);
    call_gate(S0, gate_target, KCS, 0x6C);
    user_run(u_gate);
    check("#NP call gate", last.f.vec == NP && last.f.err == S0);
    call_gate(S0, gate_target, 0, 0xEC);
    user_run(u_gate);
    check("#GP call gate with a null selector", last.f.vec == GP && last.f.err == 0);
    ATTEMPT2("push %0\n lea 1f(%%rip), %%rax\n push %%rax", "lretq\n 1:", ::"r"((u64)KCS)
             : "rax", "memory");
    check_none("far RET 0 -> 0");
    ATTEMPT2("push %0\n lea 1f(%%rip), %%rax\n push %%rax", "lretq\n 1:", ::"r"((u64)KDS)
             : "rax", "memory");
    check_trap("#GP far RET to data", GP, KDS);
    ATTEMPT2("push %0\n push %0", "lretq", ::"r"(0ull) : "memory");
    check_trap("#GP far RET to null", GP, 0);
    gdt_set(S0, 0), gdt_set(S1, 0);
}

/* ---- flags and I/O privilege ---- */
UCODE(u_cli, "cli\n")
UCODE(u_sti, "sti\n")
UCODE(u_popf, "push $0x3202\n popfq\n pushfq\n pop %rbx\n")
UCODE(u_in, "mov $0x80, %edx\n in %dx, %al\n")
UCODE(u_out, "mov $0x80, %edx\n out %al, %dx\n")
UCODE(u_inw, "mov $0x7f, %edx\n in %dx, %ax\n")
UCODE(u_pushf, "pushfq\n pop %rbx\n")

static void io_privilege(void)
{
    user_run(u_cli);
    check_trap("#GP CLI at CPL 3, IOPL 0", GP, 0);
    user_run(u_sti);
    check_trap("#GP STI at CPL 3, IOPL 0", GP, 0);
    user_run_flags(u_cli, 2 | FL_IOPL);
    check("CLI at CPL 3, IOPL 3", last.f.vec == 0x80 && !(last.f.rflags & FL_IF));
    user_run_flags(u_popf, 2);
    check_eq("POPF at CPL 3 keeps IF and IOPL", last.f.rbx & 0x3200, 0);
    user_run_flags(u_popf, 2 | FL_IOPL);
    check_eq("POPF at CPL 3, IOPL 3 sets IF, keeps IOPL", last.f.rbx & 0x3200, 0x3200);
    user_run_flags(u_pushf, 2 | FL_IOPL | FL_RF | FL_NT);
    check_eq("PUSHF shows IOPL and NT, hides RF", last.f.rbx & (FL_IOPL | FL_NT | FL_RF),
             FL_IOPL | FL_NT);
    user_run(u_in);
    check("#GP IN, bitmap closed", last.f.vec == GP && last.f.err == 0);
    user_run_flags(u_in, 2 | FL_IOPL);
    check_eq("IN with IOPL 3", last.f.vec, 0x80);
    tss[0].bitmap[0x80 / 8] &= ~1u;
    user_run(u_in);
    check_eq("IN, bitmap open", last.f.vec, 0x80);
    user_run(u_out);
    check_eq("OUT, bitmap open", last.f.vec, 0x80);
    user_run(u_inw);
    check("#GP word IN over an open and a closed port", last.f.vec == GP);
    tss[0].bitmap[0x7F / 8] &= 0x7F;
    user_run(u_inw);
    check_eq("word IN over two open ports in two bytes", last.f.vec, 0x80);
    tss[0].iomap = 0xFFFF;
    user_run(u_in);
    check("#GP bitmap offset beyond the TSS limit", last.f.vec == GP);
    tss[0].iomap = offsetof(struct tss, bitmap);
    tss[0].bitmap[0x80 / 8] = 0xFF, tss[0].bitmap[0x7F / 8] = 0xFF;
}

/* ---- debug registers and single-step ---- */
static volatile u64 steps, step_rip[64], step_dr6;
static bool on_step(struct frame *f)
{
    if (steps < 64) step_rip[steps] = f->rip;
    steps++;
    step_dr6 = read_dr6();
    write_dr6(0xFFFF0FF0);
    if (!(step_dr6 & 0x4000)) f->rflags |= FL_RF;
    return true;
}

extern const char t0[], t1[], t2[], t3[], t4[], t_rep[], t_ss[], t_after[];
static void single_step(void)
{
    hooks[DB] = on_step;
    steps = 0;
    asm volatile(
        "pushfq\n orl $0x100, (%%rsp)\n popfq\n t0: nop\n t1: lea 1(%%rax), %%rax\n t2: pushfq\n"
        "andl $0xfffffeff, (%%rsp)\n popfq\n t3: nop\n" ::
            : "rax", "memory", "cc");
    check("TF: first trap after the instruction behind POPF", steps && step_rip[0] == (u64)t1);
    check_eq("TF: one trap per instruction, one after the POPF that clears it", steps, 5);
    check("TF: last trap behind the clearing POPF", step_rip[4] == (u64)t3);
    check_eq("TF: DR6.BS", step_dr6 & 0x400F, 0x4000);
    steps = 0;
    u64 rcx = 3, rdi = (u64)sys_saved;
    asm volatile("pushfq\n pushfq\n orl $0x100, (%%rsp)\n popfq\n t_rep: rep stosb\n popfq\n nop"
                 : "+c"(rcx), "+D"(rdi)
                 : "a"(0)
                 : "memory", "cc");
    check("TF over REP: a trap after each iteration", steps == 4 && step_rip[0] == (u64)t_rep &&
                                                          step_rip[1] == (u64)t_rep &&
                                                          step_rip[2] == (u64)t_rep + 2);
    steps = 0;
    asm volatile("mov %%ss, %%ecx\n pushfq\n pushfq\n orl $0x100, (%%rsp)\n popfq\n"
                 "mov %%ecx, %%ss\n nop\n t_ss: popfq\n nop" ::
                     : "rcx", "memory", "cc");
    check("TF: MOV SS suppresses its own trap", steps == 2 && step_rip[0] == (u64)t_ss);
    steps = 0;
    user_run_flags(u_pushf, 2 | FL_TF);
    check("TF in user mode", steps == 3 || steps == 2);
    check("PUSHF shows TF", last.f.rbx & FL_TF);
    steps = 0;
    wrmsr(MSR_FMASK, FL_TF | FL_DF | FL_IF);
    user_run_flags(u_syscall, 2 | FL_TF);
    check("TF masked by SYSCALL stops stepping in the kernel, back with SYSRET",
          last.f.vec == 0x80 && steps >= 5 && steps <= 9);
    check("no step was taken inside the SYSCALL handler", ({
              bool in = false;
              for (u64 i = 0; i < steps && i < 64; i++) in |= step_rip[i] - UVA_CODE > 0x100000;
              !in;
          }));
    hooks[DB] = NULL;
    ATTEMPT2("pushfq\n orl $0x100, (%%rsp)\n popfq", "ud2", ::: "memory", "cc");
    check("TF and a fault: the fault is taken, TF saved",
          last.f.vec == UD && (last.f.rflags & FL_TF));
    ATTEMPT2("pushfq\n orl $0x100, (%%rsp)\n popfq", "int $0x21", ::: "memory", "cc");
    check("TF and INT n: no trap in the handler, TF saved",
          last.f.vec == 0x21 && (last.f.rflags & FL_TF));
    write_dr6(0xFFFF0FF0);
}

static u64 dr7_of(int n, int rw, int len)
{
    return 0x400 | 2ull << (2 * n) | (u64)(rw | len << 2) << (16 + 4 * n);
}

static void breakpoints(void)
{
    static u64 cell __attribute__((aligned(8)));
    enum { EXEC = 0, WRITE = 1, IO = 2, RW = 3, LEN1 = 0, LEN2 = 1, LEN8 = 2, LEN4 = 3 };
    hooks[DB] = on_step;
    steps = 0;
    write_dr0((u64)t4);
    write_dr7(dr7_of(0, EXEC, 0));
    asm volatile("nop\n t4: nop\n t_after: nop");
    check("instruction breakpoint is a fault, RF resumes", steps == 1 && step_rip[0] == (u64)t4);
    check_eq("DR6.B0", step_dr6 & 0x400F, 1);
    write_dr7(0x400);
    steps = 0;
    write_dr1((u64)&cell);
    write_dr7(dr7_of(1, WRITE, LEN4));
    asm volatile("movl $1, (%0)" ::"r"(&cell) : "memory");
    check("data breakpoint, write: trap", steps == 1);
    check_eq("DR6.B1", step_dr6 & 0x400F, 2);
    (void)RD(u32, &cell);
    check_eq("write breakpoint ignores loads", steps, 1);
    RD(u8, (u64)&cell + 3) = 1;
    check_eq("a byte inside the range hits", steps, 2);
    RD(u8, (u64)&cell + 4) = 1;
    check_eq("a byte behind the range does not", steps, 2);
    RD(u64, (u64)&cell) = 1;
    check_eq("a wider store overlapping it hits", steps, 3);
    write_dr7(dr7_of(1, RW, LEN8));
    steps = 0;
    (void)RD(u8, (u64)&cell + 7);
    check_eq("read/write breakpoint hits loads, 8 bytes", steps, 1);
    write_dr7(0x400);
    u64 cr4 = read_cr4();
    write_cr4(cr4 | CR4_DE);
    steps = 0;
    write_dr2(0x80);
    write_dr7(dr7_of(2, IO, LEN1));
    outb(0x80, 0);
    check("I/O breakpoint", steps == 1 && (step_dr6 & 0x400F) == 4);
    inb(0x80);
    check_eq("I/O breakpoint on IN", steps, 2);
    outb(0x81, 0);
    check_eq("next port does not hit", steps, 2);
    write_dr7(0x400);
    ATTEMPT("mov %%dr4, %%rax", ::: "rax");
    check_trap("#UD DR4 with CR4.DE", UD, 0);
    write_cr4(cr4);
    u64 v;
    asm volatile("mov %%dr4, %0" : "=r"(v));
    check_eq("DR4 is DR6 without CR4.DE", v, read_dr6());
    steps = 0;
    write_dr3((u64)&cell);
    write_dr7(dr7_of(3, WRITE, LEN1));
    u64 rcx = 4, rdi = (u64)&cell - 2;
    asm volatile("rep stosb" : "+c"(rcx), "+D"(rdi) : "a"(0) : "memory");
    check_eq("data breakpoint within REP STOS", steps, 1);
    check_eq("REP went on to its end", rcx, 0);
    steps = 0;
    asm volatile(
        "mov %%ss, %%eax\n mov %0, %%rcx\n mov %%eax, %%ss\n movb $1, (%%rcx)\n nop" ::"r"(&cell)
        : "rax", "rcx", "memory");
    check_eq("data breakpoint behind MOV SS", steps, 1);
    write_dr7(0x400);
    hooks[DB] = NULL;
    ATTEMPT("mov %0, %%dr7", ::"r"(1ull << 32) : "memory");
    check_trap("#GP DR7[63:32]", GP, 0);
    ATTEMPT("mov %0, %%dr6", ::"r"(1ull << 32) : "memory");
    check_trap("#GP DR6[63:32]", GP, 0);
    write_dr6(0);
    check_eq("DR6 fixed bits", read_dr6() & ~(1ull << 11 | 1ull << 16), 0xFFFE07F0);
    write_dr7(0xDC00);
    check_eq("DR7 fixed bits", read_dr7() & 0xD400, 0x400);
    write_dr7(0x400);
    write_dr7(0x400 | 1 << 13);
    ATTEMPT("mov %%dr0, %%rax", ::: "rax");
    check_trap("DR7.GD: MOV DR traps before", DB, 0);
    check("DR7.GD: DR6.BD set, GD cleared", (last.dr6 & 0x2000) && !(read_dr7() & 1 << 13));
    write_dr6(0xFFFF0FF0);
    write_dr7(0x400);
}

/* ---- XSAVE ---- */
static u8 area[4096] __attribute__((aligned(64)));
static u64 xgetbv(u32 i)
{
    u32 a, d;
    asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(i));
    return (u64)d << 32 | a;
}
static void xsetbv(u64 v) { asm volatile("xsetbv" ::"a"((u32)v), "d"((u32)(v >> 32)), "c"(0)); }

static void fxsave(void)
{
    u32 csr = 0x1FA0;
    u16 cw = 0x27F;
    memset(area, 0xEE, sizeof area);
    asm volatile("fninit\n fldcw %1\n ldmxcsr %2\n fldpi\n pcmpeqd %%xmm5, %%xmm5\n fxsave64 %0"
                 : "=m"(area)
                 : "m"(cw), "m"(csr));
    check("FXSAVE: FCW, MXCSR, tag",
          *(u16 *)area == cw && *(u32 *)(area + 24) == csr && area[4] == 0x80);
    check("FXSAVE: TOP in FSW", (*(u16 *)(area + 2) >> 11 & 7) == 7);
    check("FXSAVE: ST0 is pi",
          *(u64 *)(area + 32) == 0xC90FDAA22168C235 && *(u16 *)(area + 40) == 0x4000);
    check("FXSAVE: XMM5", *(u64 *)(area + 160 + 80) == ~0ull && *(u64 *)(area + 160 + 88) == ~0ull);
    check("FXSAVE: bytes 464..511 are left alone", area[464] == 0xEE && area[511] == 0xEE);
    asm volatile("pxor %%xmm5, %%xmm5\n fninit\n fxrstor64 %1\n movq %%xmm5, %0"
                 : "=m"(sys_saved[0])
                 : "m"(area));
    check_eq("FXRSTOR", sys_saved[0], ~0ull);
    ATTEMPT("fxsave (%0)", ::"r"(area + 8) : "memory");
    check_trap("#GP FXSAVE misaligned", GP, 0);
    *(u32 *)(area + 24) = 0x80000000;
    ATTEMPT("fxrstor (%0)", ::"r"(area) : "memory");
    check_trap("#GP FXRSTOR with reserved MXCSR bits", GP, 0);
    csr = 0x1F80;
    asm volatile("fninit\n ldmxcsr %0" ::"m"(csr));
}

static void xsave(void)
{
    if (!(l1.c >> 26 & 1)) {
        skip("XSAVE", "not in CPUID");
        return;
    }
    ATTEMPT("xgetbv", ::"c"(0) : "rax", "rdx");
    check_trap("#UD XGETBV without OSXSAVE", UD, 0);
    write_cr4(read_cr4() | CR4_OSXSAVE);
    check("CPUID.OSXSAVE set", cpuid(1, 0).c >> 27 & 1);
    struct cpuid d0 = cpuid(13, 0), d1 = cpuid(13, 1);
    u64 all = (d0.a | (u64)d0.d << 32) & 7;
    check("XCR0 supports x87 and SSE", (all & 3) == 3);
    ATTEMPT("xsetbv", ::"a"(2), "d"(0), "c"(0));
    check_trap("#GP XSETBV without x87", GP, 0);
    ATTEMPT("xsetbv", ::"a"(5), "d"(0), "c"(0));
    check_trap("#GP XSETBV AVX without SSE", GP, 0);
    ATTEMPT("xsetbv", ::"a"(3), "d"(0), "c"(1));
    check_trap("#GP XSETBV of XCR1", GP, 0);
    ATTEMPT("xsetbv", ::"a"(3), "d"(0x80000000), "c"(0));
    check_trap("#GP XSETBV reserved bit", GP, 0);
    user_run(u_xsetbv);
    check("#GP XSETBV at CPL 3", last.f.vec == GP && last.f.rip == trap_at + 2);
    xsetbv(all);
    check_eq("XCR0 reads back", xgetbv(0), all);
    check_eq("CPUID 0DH: size for XCR0", cpuid(13, 0).b, all & 4 ? 832 : 576);
    memset(area, 0, sizeof area);
    asm volatile("fninit\n pcmpeqd %%xmm1, %%xmm1\n xsave64 %0" : "+m"(area) : "a"(3), "d"(0));
    check("XSAVE: SSE in XSTATE_BV, XCOMP_BV 0",
          (*(u64 *)(area + 512) & 2) && !*(u64 *)(area + 520));
    check_eq("XSAVE: XMM1", *(u64 *)(area + 160 + 16), ~0ull);
    asm volatile("pxor %%xmm1, %%xmm1\n xrstor64 %1\n movq %%xmm1, %0"
                 : "=m"(sys_saved[0])
                 : "m"(area), "a"(2), "d"(0));
    check_eq("XRSTOR", sys_saved[0], ~0ull);
    *(u64 *)(area + 512) = 0;
    asm volatile("xrstor64 %1\n movq %%xmm1, %0" : "=m"(sys_saved[0]) : "m"(area), "a"(2), "d"(0));
    check_eq("XRSTOR of an absent component initialises it", sys_saved[0], 0);
    *(u64 *)(area + 512) = 1ull << 62;
    ATTEMPT("xrstor64 %0", ::"m"(area), "a"(-1), "d"(-1) : "memory");
    check_trap("#GP XRSTOR: XSTATE_BV bit not in XCR0", GP, 0);
    *(u64 *)(area + 512) = 0, *(u64 *)(area + 528) = 1;
    ATTEMPT("xrstor64 %0", ::"m"(area), "a"(-1), "d"(-1) : "memory");
    check_trap("#GP XRSTOR: reserved header bytes", GP, 0);
    ATTEMPT("xsave64 (%0)", ::"r"(area + 16), "a"(3), "d"(0) : "memory");
    check_trap("#GP XSAVE misaligned to 64", GP, 0);
    memset(area, 0, sizeof area);
    if (all & 4) {
        asm volatile(
            "vpcmpeqd %%xmm2, %%xmm2, %%xmm2\n vinsertf128 $1, %%xmm2, %%ymm2, %%ymm2\n xsave64 %0"
            : "+m"(area)
            : "a"(7), "d"(0));
        check_eq("XSAVE: YMM2 high half at its CPUID offset", *(u64 *)(area + cpuid(13, 2).b + 32),
                 ~0ull);
        asm volatile("vzeroupper");
    } else skip("XSAVE AVX", "not in CPUID");
    if (d1.a & 1) {
        memset(area, 0, sizeof area);
        asm volatile("xsaveopt64 %0" : "+m"(area) : "a"(3), "d"(0));
        check("XSAVEOPT: MXCSR mask and image", (*(u64 *)(area + 512) & ~7ull) == 0);
    } else skip("XSAVEOPT", "not in CPUID");
    if (d1.a & 2) {
        memset(area, 0, sizeof area);
        asm volatile("pcmpeqd %%xmm1, %%xmm1\n xsavec64 %0" : "+m"(area) : "a"(2), "d"(0));
        check_eq("XSAVEC: XCOMP_BV", *(u64 *)(area + 520), 1ull << 63 | 2);
        check_eq("XSAVEC: XMM1", *(u64 *)(area + 160 + 16), ~0ull);
        if (all & 4) {
            asm volatile("vpcmpeqd %%xmm2, %%xmm2, %%xmm2\n vinsertf128 $1, %%xmm2, %%ymm2, "
                         "%%ymm2\n xsavec64 %0"
                         : "+m"(area)
                         : "a"(4), "d"(0));
            check_eq("XSAVEC: AVX compacted to offset 576", *(u64 *)(area + 576 + 32), ~0ull);
            asm volatile("vzeroupper");
        }
    } else skip("XSAVEC", "not in CPUID");
    write_cr4(read_cr4() & ~(u64)CR4_OSXSAVE);
}

int main(void)
{
    l1 = cpuid(1, 0), l7 = cpuid_or0(7, 0);
    user_init();
    cpuid_sane();
    registers();
    privileged();
    fast_calls();
    bases();
    descriptors();
    system_segments();
    far_transfers();
    io_privilege();
    single_step();
    breakpoints();
    fxsave();
    xsave();
    finish();
}

/* exceptions - every vector the CPU raises by itself: vector, error code, saved RIP, stack.
 * SDM volume 3A chapter 6 unless a line names something else. */
#include "guest/lib/rt.h"

#define NONCANON 0x8000000000000000ull
enum { V_INT = 0x21, SEL_T = SEL_FREE, IDT_BIT = 2, EXT = 1 };
static u8 ist_stack[4][4096] __attribute__((aligned(4096)));
static u64 saved_gate[2];

static void gate_save(int v) { memcpy(saved_gate, &idt[2 * v], 16); }
static void gate_restore(int v) { memcpy(&idt[2 * v], saved_gate, 16); }
static void gate_type(int v, u8 type_dpl)
{
    idt[2 * v] = (idt[2 * v] & ~(0xFFull << 40)) | (u64)type_dpl << 40;
}
static void gate_sel(int v, u16 sel)
{
    idt[2 * v] = (idt[2 * v] & ~(0xFFFFull << 16)) | (u64)sel << 16;
}

/* ---- simple vectors ---- */
static void arithmetic(void)
{
    ATTEMPT("divl %%ecx", ::"a"(1), "d"(0), "c"(0) : "cc");
    check_trap("#DE divide by zero", DE, 0);
    check_eq("#DE leaves EAX", last.f.rax, 1);
    ATTEMPT("idivl %%ecx", ::"a"(0x80000000), "d"(-1), "c"(-1) : "cc");
    check_trap("#DE IDIV overflow", DE, 0);
    ATTEMPT("divb %%cl", ::"a"(0x1000), "c"(1) : "cc");
    check_trap("#DE 8-bit quotient overflow", DE, 0);
    ATTEMPT("divq %%rcx", ::"a"(0), "d"(5), "c"(5) : "cc");
    check_trap("#DE 64-bit quotient overflow", DE, 0);
    ATTEMPT("divq %%rcx", ::"a"(7), "d"(4), "c"(5) : "cc");
    check_none("DIV at the edge of overflow");
}

static void software(void)
{
    ATTEMPT("int3", ::: "memory");
    check_after("#BP INT3 is a trap", BP, 0);
    ATTEMPT(".byte 0xCD, 3", ::: "memory");
    check_after("INT 3 (CD 03)", BP, 0);
    ATTEMPT(".byte 0xF1", ::: "memory");
    check_after("#DB INT1 is a trap", DB, 0);
    for (int v = 32; v < 256; v += 37) {
        static u8 code[4] __attribute__((aligned(64)));
        code[0] = 0xCD, code[1] = (u8)v, code[2] = 0xC3;
        ATTEMPT("call *%0", ::"r"(code) : "memory");
        check("INT n vector", last.f.vec == (u64)v && last.f.rip == (u64)code + 2);
    }
}

UCODE(u_int3, "int3")
UCODE(u_int21, "int $0x21")
UCODE(u_icebp, ".byte 0xF1")
UCODE32(u_into, "movl $0x7fffffff, %eax\n addl $1, %eax\n .global u_into_at\n u_into_at: into\n")
UCODE32(u_into_no, "xorl %eax, %eax\n into\n")
UCODE32(u_bound, "movl $0x3B, %ebx\n movl %ebx, %ds\n movl $0x40200000, %ebx\n movl $5, %ecx\n "
                 ".global u_bound_at\n"
                 "u_bound_at: bound %ecx, (%ebx)\n")
extern const char u_into_at[], u_bound_at[];

static void user_software(void)
{
    user_run(u_int3);
    check_trap("INT3 at CPL 3, gate DPL 0: #GP", GP, BP * 8 + IDT_BIT);
    idt_dpl(BP, 3);
    user_run(u_int3);
    check("INT3 at CPL 3, gate DPL 3", last.f.vec == BP && last.f.rip == uva(u_int3) + 1);
    check("saved CS has RPL 3", last.f.cs == UCS && last.f.ss == UDS);
    check("stack switched to RSP0", last.handler_rsp == tss[0].rsp[0] - 40);
    idt_dpl(BP, 0);
    user_run(u_int21);
    check_trap("INT n at CPL 3, gate DPL 0: #GP", GP, V_INT * 8 + IDT_BIT);
    user_run(u_icebp);
    check("INT1 at CPL 3 ignores the gate's DPL", last.f.vec == DB);
    user_run32(u_into);
    check_eq("INTO with gate DPL 0: #GP error code", last.f.err, OF * 8 + IDT_BIT);
    check_eq("INTO with gate DPL 0: #GP", last.f.vec, GP);
    idt_dpl(OF, 3);
    user_run32(u_into);
    check("#OF is a trap", last.f.vec == OF && last.f.rip == uva(u_into_at) + 1);
    idt_dpl(OF, 0);
    user_run32(u_into_no);
    check_eq("INTO with OF = 0 goes on", last.f.vec, 0x80);
    RD(u32, UVA_DATA) = 6, RD(u32, UVA_DATA + 4) = 9;
    user_run32(u_bound);
    check("#BR is a fault, gate DPL ignored", last.f.vec == BR && last.f.rip == uva(u_bound_at));
    RD(u32, UVA_DATA) = 5;
    user_run32(u_bound);
    check_eq("BOUND inside goes on", last.f.vec, 0x80);
}

static void undefined(void)
{
    ATTEMPT("ud2", ::: "memory");
    check_trap("#UD UD2", UD, 0);
    check("fault pushes RF = 1", last.f.rflags & FL_RF);
    ATTEMPT("int3", ::: "memory");
    check("trap pushes RF = 0", !(last.f.rflags & FL_RF));
    ATTEMPT(".byte 0x0F, 0xFF, 0xC0", ::: "memory");
    check_trap("#UD UD0", UD, 0);
    ATTEMPT(".byte 0x0F, 0xB9, 0xC0", ::: "memory");
    check_trap("#UD UD1", UD, 0);
    ATTEMPT(".byte 0xF0, 0x90", ::: "memory");
    check_trap("#UD LOCK NOP", UD, 0);
    ATTEMPT(".byte 0xF0, 0x01, 0xC0", ::: "memory");
    check_trap("#UD LOCK with a register destination", UD, 0);
    ATTEMPT(".byte 0xF0, 0x8B, 0x00", ::"a"(&last) : "memory");
    check_trap("#UD LOCK MOV", UD, 0);
    ATTEMPT(".byte 0x37", ::: "memory");
    check_trap("#UD AAA in 64-bit mode", UD, 0);
    ATTEMPT(".byte 0x06", ::: "memory");
    check_trap("#UD PUSH ES in 64-bit mode", UD, 0);
    ATTEMPT(".byte 0x9A, 0, 0, 0, 0, 8, 0", ::: "memory");
    check_trap("#UD far CALL immediate in 64-bit mode", UD, 0);
    ATTEMPT(".byte 0x8E, 0xC8", ::"a"(KCS) : "memory");
    check_trap("#UD MOV to CS", UD, 0);
    ATTEMPT(".byte 0x8E, 0xF0", ::"a"(0) : "memory");
    check_trap("#UD MOV to segment register 6", UD, 0);
    ATTEMPT(".byte 0x0F, 0x20, 0xC8", ::: "memory", "rax");
    check_trap("#UD MOV from CR1", UD, 0);
    ATTEMPT(".byte 0x0F, 0x01, 0xF8", ::: "memory");
    if (last.f.vec != NO_TRAP) check("SWAPGS", false);
    asm volatile("swapgs");
    ATTEMPT(".byte 0x8D, 0xC0", ::: "memory");
    check_trap("#UD LEA of a register", UD, 0);
    ATTEMPT(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90", ::
                : "memory");
    check_none("15-byte instruction");
    ATTEMPT(".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,"
            "0x90",
            ::
                : "memory");
    check_trap("#GP 16-byte instruction", GP, 0);
}

/* ---- FPU ---- */
static void device_not_available(void)
{
    u64 cr0 = read_cr0();
    write_cr0(cr0 | CR0_TS);
    ATTEMPT("fnop", ::: "memory");
    check_trap("#NM x87 with TS", NM, 0);
    ATTEMPT("movaps %%xmm0, %%xmm0", ::: "memory");
    check_trap("#NM SSE with TS", NM, 0);
    ATTEMPT("wait", ::: "memory");
    check_trap("#NM WAIT with TS and MP", NM, 0);
    write_cr0((cr0 | CR0_TS) & ~(u64)CR0_MP);
    ATTEMPT("wait", ::: "memory");
    check_none("WAIT with TS but not MP");
    write_cr0(cr0 | CR0_EM);
    ATTEMPT("fnop", ::: "memory");
    check_trap("#NM x87 with EM", NM, 0);
    ATTEMPT("movaps %%xmm0, %%xmm0", ::: "memory");
    check_trap("#UD SSE with EM", UD, 0);
    write_cr0(cr0 | CR0_TS);
    asm volatile("clts");
    check_eq("CLTS", read_cr0(), cr0);
    write_cr0(cr0);
    write_cr4(read_cr4() & ~(u64)CR4_OSFXSR);
    ATTEMPT("movaps %%xmm0, %%xmm0", ::: "memory");
    check_trap("#UD SSE without OSFXSR", UD, 0);
    write_cr4(read_cr4() | CR4_OSFXSR);
}

static void float_errors(void)
{
    u16 cw = 0x37B;
    asm volatile("fninit\n fldcw %0\n fld1\n fldz\n fdivrp" ::"m"(cw));
    ATTEMPT("wait", ::: "memory");
    check_trap("#MF at the next waiting instruction", MF, 0);
    ATTEMPT("fnstsw %%ax", ::: "memory", "rax");
    check_none("FNSTSW does not wait");
    ATTEMPT("fld1", ::: "memory");
    check_trap("#MF before FLD1", MF, 0);
    asm volatile("fnclex\n fninit");
    u32 csr = 0x1F80 & ~0x200u, def = 0x1F80;
    asm volatile("ldmxcsr %0\n pxor %%xmm0, %%xmm0\n pcmpeqd %%xmm1, %%xmm1\n"
                 "pslld $25, %%xmm1\n psrld $2, %%xmm1" ::"m"(csr));
    ATTEMPT("divps %%xmm0, %%xmm1", ::: "memory");
    check_trap("#XM divide by zero unmasked", XM, 0);
    write_cr4(read_cr4() & ~(u64)CR4_XMM);
    ATTEMPT("divps %%xmm0, %%xmm1", ::: "memory");
    check_trap("#UD unmasked SIMD fault without OSXMMEXCPT", UD, 0);
    write_cr4(read_cr4() | CR4_XMM);
    asm volatile("ldmxcsr %0" ::"m"(def));
    u32 bad = 0x80000000;
    ATTEMPT("ldmxcsr %0", ::"m"(bad) : "memory");
    check_trap("#GP LDMXCSR reserved bit", GP, 0);
    ATTEMPT("movaps 1(%0), %%xmm0", ::"r"(ist_stack) : "memory");
    check_trap("#GP misaligned MOVAPS", GP, 0);
}

UCODE(u_ac, "mov $0x40200001, %ebx\n .global u_ac_at\n u_ac_at: movl (%rbx), %eax\n")
UCODE(u_ac_byte, "mov $0x40200001, %ebx\n movb (%rbx), %al\n")
extern const char u_ac_at[];

static void alignment(void)
{
    u64 cr0 = read_cr0();
    user_run_flags(u_ac, 2 | FL_AC);
    check_eq("no #AC without CR0.AM", last.f.vec, 0x80);
    write_cr0(cr0 | CR0_AM);
    user_run_flags(u_ac, 2 | FL_AC);
    check("#AC at CPL 3", last.f.vec == AC && last.f.err == 0 && last.f.rip == uva(u_ac_at));
    user_run_flags(u_ac, 2);
    check_eq("no #AC without RFLAGS.AC", last.f.vec, 0x80);
    user_run_flags(u_ac_byte, 2 | FL_AC);
    check_eq("no #AC for bytes", last.f.vec, 0x80);
    write_flags(2 | FL_AC);
    ATTEMPT("movl 1(%0), %%eax", ::"r"(ist_stack) : "rax", "memory");
    write_flags(2);
    check_none("no #AC at CPL 0");
    write_cr0(cr0);
}

/* ---- selectors ---- */
static void selectors(void)
{
    gdt_set(SEL_T, seg_desc(0, 0xFFFFF, 0x13, 0xC0));      /* data, not present */
    gdt_set(SEL_T + 8, seg_desc(0, 0xFFFFF, 0x19, 0xA0));  /* code execute-only, not present */
    gdt_set(SEL_T + 16, seg_desc(0, 0xFFFFF, 0x99, 0xA0)); /* code execute-only */
    ATTEMPT("mov %%eax, %%ds", ::"a"(SEL_T) : "memory");
    check_trap("#NP MOV DS, not present", NP, SEL_T);
    ATTEMPT("mov %%eax, %%ss", ::"a"(SEL_T) : "memory");
    check_trap("#SS MOV SS, not present", SS, SEL_T);
    ATTEMPT("mov %%eax, %%ds", ::"a"(GDT_BYTES) : "memory");
    check_trap("#GP MOV DS beyond the GDT", GP, GDT_BYTES);
    ATTEMPT("mov %%eax, %%ds", ::"a"(GDT_BYTES | 3) : "memory");
    check_trap("#GP error code drops the RPL", GP, GDT_BYTES);
    ATTEMPT("mov %%eax, %%ds", ::"a"(0x14) : "memory");
    check_trap("#GP MOV DS from a null LDT, TI in the error code", GP, 0x14);
    ATTEMPT("mov %%eax, %%ds", ::"a"(SEL_T + 16) : "memory");
    check_trap("#GP MOV DS, execute-only code", GP, SEL_T + 16);
    ATTEMPT("mov %%eax, %%ss", ::"a"(KCS) : "memory");
    check_trap("#GP MOV SS, code", GP, KCS);
    ATTEMPT("mov %%eax, %%ss", ::"a"(UDS) : "memory");
    check_trap("#GP MOV SS, RPL 3 at CPL 0", GP, UDS & ~3);
    ATTEMPT("mov %%eax, %%ss", ::"a"(3) : "memory");
    check_trap("#GP MOV SS, null with RPL 3 at CPL 0", GP, 0);
    ATTEMPT("mov %%eax, %%ss", ::"a"(0) : "memory");
    check_none("MOV SS, null at CPL 0 in 64-bit mode");
    asm volatile("mov %0, %%ss" ::"r"(KDS));
    struct {
        u32 off;
        u16 sel;
    } far = {0x1000, SEL_T + 8};
    ATTEMPT("ljmp *%0", ::"m"(far) : "memory");
    check_trap("#NP far JMP, not present", NP, SEL_T + 8);
    far.sel = KDS;
    ATTEMPT("ljmp *%0", ::"m"(far) : "memory");
    check_trap("#GP far JMP to data", GP, KDS);
    far.sel = 0;
    ATTEMPT("ljmp *%0", ::"m"(far) : "memory");
    check_trap("#GP far JMP to null", GP, 0);
    far.sel = UCS;
    ATTEMPT("ljmp *%0", ::"m"(far) : "memory");
    check_trap("#GP far JMP to DPL 3 code", GP, UCS & ~3);
}

/* ---- gates and double faults ---- */
static void gates(void)
{
    gate_save(V_INT);
    gate_type(V_INT, 0x0E);
    ATTEMPT("int $0x21", ::: "memory");
    check_trap("#NP INT n, gate not present", NP, V_INT * 8 + IDT_BIT);
    gate_type(V_INT, 0x85);
    ATTEMPT("int $0x21", ::: "memory");
    check_trap("#GP INT n, task gate in long mode", GP, V_INT * 8 + IDT_BIT);
    gate_restore(V_INT);
    gate_sel(V_INT, 0);
    ATTEMPT("int $0x21", ::: "memory");
    check_trap("#GP INT n, null gate selector", GP, 0);
    gate_sel(V_INT, KDS);
    ATTEMPT("int $0x21", ::: "memory");
    check_trap("#GP INT n, gate to data", GP, KDS);
    gate_sel(V_INT, KCS32);
    ATTEMPT("int $0x21", ::: "memory");
    check_trap("#GP INT n, gate to 32-bit code", GP, KCS32);
    gate_sel(V_INT, SEL_T + 8);
    ATTEMPT("int $0x21", ::: "memory");
    check_trap("#NP INT n, gate to absent code", NP, SEL_T + 8);
    gate_restore(V_INT);
    idt[2 * V_INT + 1] = 0x12345678;
    ATTEMPT("int $0x21", ::: "memory");
    check_trap("#GP INT n, non-canonical gate offset", GP, 0);
    gate_restore(V_INT);
    struct dtr small = {V_INT * 16 - 1, (u64)idt}, full = {sizeof idt - 1, (u64)idt};
    lidt(&small);
    ATTEMPT("int $0x21", ::: "memory");
    lidt(&full);
    check_trap("#GP INT n beyond the IDT limit", GP, V_INT * 8 + IDT_BIT);
    gate_save(UD);
    gate_type(UD, 0x0E);
    ATTEMPT("ud2", ::: "memory");
    check_trap("#NP delivering #UD has EXT", NP, UD * 8 + IDT_BIT + EXT);
    gate_restore(UD);
}

static volatile bool if_seen;
static bool see_if(struct frame *f)
{
    (void)f;
    if_seen = read_flags() & FL_IF;
    return true;
}

static void gate_flags(void)
{
    hooks[V_INT] = see_if;
    gate_save(V_INT);
    asm volatile("sti\n nop\n int $0x21\n cli" ::: "memory");
    check("interrupt gate clears IF", !if_seen);
    gate_type(V_INT, 0x8F);
    asm volatile("sti\n nop\n int $0x21\n cli" ::: "memory");
    check("trap gate keeps IF", if_seen);
    gate_restore(V_INT);
    hooks[V_INT] = NULL;
}

static void double_faults(void)
{
    static const struct {
        int first;
        const char *name;
    } first[] = {
        {DE, "#DF from #NP in #DE"}, {GP, "#DF from #NP in #GP"}, {PF, "#DF from #NP in #PF"}};
    idt_ist(DF, 1);
    tss[0].ist[0] = (u64)ist_stack[1];
    for (int i = 0; i < 3; i++) {
        gate_save(first[i].first);
        gate_type(first[i].first, 0x0E);
        if (i == 0) ATTEMPT("divl %%ecx", ::"a"(1), "d"(0), "c"(0) : "cc");
        if (i == 1) ATTEMPT("mov (%0), %%eax", ::"r"(NONCANON) : "rax");
        if (i == 2) ATTEMPT("mov (%0), %%eax", ::"r"(TEST_VA) : "rax");
        gate_restore(first[i].first);
        check(first[i].name, last.f.vec == DF && last.f.err == 0);
    }
    tss[0].ist[1] = TEST_VA + 0x2000; /* not mapped: pushing there faults */
    idt_ist(GP, 2);
    ATTEMPT("mov (%0), %%eax", ::"r"(NONCANON) : "rax");
    idt_ist(GP, 0);
    check("#PF while delivering #GP is delivered as #PF",
          last.f.vec == PF && last.f.err == 2 && last.cr2 - (TEST_VA + 0x1000) < 0x1000);
    idt_ist(PF, 2);
    ATTEMPT("mov (%0), %%eax", ::"r"(TEST_VA) : "rax");
    idt_ist(PF, 0);
    check("#PF while delivering #PF is #DF", last.f.vec == DF && last.f.err == 0);
    idt_ist(UD, 2);
    ATTEMPT("ud2", ::: "memory");
    idt_ist(UD, 0);
    check("#PF while delivering #UD is #PF", last.f.vec == PF && last.f.err == 2);
    tss[0].ist[1] = NONCANON;
    idt_ist(V_INT, 2);
    ATTEMPT("int $0x21", ::: "memory");
    check_trap("#SS INT n with a non-canonical IST stack", SS, 0);
    gdt_set(SEL_TSS, seg_desc((u32)(u64)&tss[0], 0x2A, 0x89, 0));
    ltr(SEL_TSS);
    ATTEMPT("int $0x21", ::: "memory");
    check_trap("#TS IST beyond the TSS limit", TS, SEL_TSS);
    idt_ist(V_INT, 0);
    gdt_set(SEL_TSS, seg_desc((u32)(u64)&tss[0], sizeof tss[0] - 1, 0x89, 0));
    ltr(SEL_TSS);
    idt_ist(DF, 0);
}

/* ---- stacks ---- */
static void stacks(void)
{
    static u8 s[4096] __attribute__((aligned(16)));
    u64 keep;
    tss[0].ist[2] = (u64)ist_stack[3];
    idt_ist(UD, 3);
    ATTEMPT("ud2", ::: "memory");
    idt_ist(UD, 0);
    check_eq("IST switches the stack at CPL 0", last.handler_rsp, (u64)ist_stack[3] - 40);
    check("IST: old RSP and SS saved", last.f.rsp == trap_rsp && last.f.ss == KDS);
    for (u64 k = 0; k < 16; k += 5) {
        ATTEMPT2("mov %%rsp, %0\n mov %1, %%rsp", "ud2",
                 : "=&r"(keep)
                 : "r"(s + 2048 + k)
                 : "memory");
        check("RSP aligned to 16 before the frame", last.f.vec == UD &&
                                                        last.f.rsp == (u64)s + 2048 + k &&
                                                        last.handler_rsp == (u64)s + 2048 - 40);
        ATTEMPT2("mov %%rsp, %0\n mov %1, %%rsp", "mov (%2), %%eax",
                 : "=&r"(keep)
                 : "r"(s + 2048 + k), "r"(TEST_VA)
                 : "memory", "rax");
        check("same with an error code",
              last.f.vec == PF && last.handler_rsp == (u64)s + 2048 - 40);
    }
}

/* ---- IRET ---- */
static void iret_to(u64 cs, u64 rip, u64 ss, u64 rflags)
{
    static u64 frame[5];
    frame[0] = rip, frame[1] = cs, frame[2] = rflags, frame[3] = UVA_STACK_TOP, frame[4] = ss;
    ATTEMPT2("mov %0, %%rsp", "iretq", ::"r"(frame) : "memory");
}

UCODE(u_nop, "nop")
UCODE32(u_nop32, "nop")
UCODE(u_iret_k, "mov %rsp, %rbx\n push $0x3b\n push %rbx\n push $2\n push $8\n push $0\n"
                ".global u_iret_k_at\n u_iret_k_at: iretq\n")
UCODE(u_iret_u, "mov %rsp, %rbx\n push $0x3b\n push %rbx\n push $0x10ad7\n push $0x43\n"
                "lea 1f(%rip), %rax\n push %rax\n iretq\n ud2\n 1: pushfq\n pop %rcx\n")
asm(".code32\n k_cs32: int $0x21\n .code64\n");
extern const char u_iret_k_at[], k_cs32[];

static void irets(void)
{
    iret_to(UCS, uva(u_nop), UDS, 2);
    check("IRET 0 -> 3, 64-bit", last.f.vec == 0x80 && last.f.cs == UCS && last.f.ss == UDS);
    iret_to(UCS32, uva(u_nop32), UDS, 2);
    check("IRET 0 -> 3, compatibility", last.f.vec == 0x80 && last.f.cs == UCS32);
    iret_to(KCS32, (u64)k_cs32, KDS, 2);
    check("IRET 0 -> 0, compatibility", last.f.vec == V_INT && last.f.cs == KCS32);
    iret_to(KCS, (u64)isr_of(V_INT), 0, 2);
    check("IRET 0 -> 0 with null SS", true);
    iret_to(UCS, NONCANON, UDS, 2);
    check("#GP IRET to non-canonical RIP", last.f.vec == GP && last.f.err == 0);
    iret_to(UCS, uva(u_nop), 3, 2);
    check_trap("#GP IRET 0 -> 3 with null SS, 64-bit", GP, 0);
    iret_to(UCS32, uva(u_nop32), 0, 2);
    check_trap("#GP IRET to compatibility with null SS", GP, 0);
    iret_to(UCS, uva(u_nop), KDS, 2);
    check_trap("#GP IRET with SS RPL 0 to CPL 3", GP, KDS);
    iret_to(KCS | 3, uva(u_nop), UDS, 2);
    check_trap("#GP IRET to RPL 3 with DPL 0 code", GP, KCS);
    iret_to(KDS, uva(u_nop), KDS, 2);
    check_trap("#GP IRET to a data selector", GP, KDS);
    iret_to(0, uva(u_nop), KDS, 2);
    check_trap("#GP IRET to null CS", GP, 0);
    iret_to(SEL_T + 8, uva(u_nop), KDS, 2);
    check_trap("#NP IRET to absent code", NP, SEL_T + 8);
    ATTEMPT2("pushq %0\n popfq", "iretq", ::"r"(2ull | FL_NT) : "memory");
    check_trap("#GP IRET with NT in 64-bit mode", GP, 0);
    user_run(u_iret_k);
    check("#GP IRET 3 -> 0", last.f.vec == GP && last.f.err == 8 && last.f.rip == uva(u_iret_k_at));
    user_run(u_iret_u);
    check("IRET 3 -> 3", last.f.vec == 0x80);
    check_eq("IRET 3 -> 3 sets arithmetic flags, keeps IF and IOPL", last.f.rcx & 0x3FFFF, 0x8D7);
}

/* ---- canonical addresses ---- */
static void canonical(void)
{
    static u64 bad = NONCANON;
    u64 keep;
    ATTEMPT("mov (%0), %%eax", ::"r"(NONCANON) : "rax");
    check_trap("#GP load non-canonical", GP, 0);
    ATTEMPT("movl $1, (%0)", ::"r"(0x0000800000000000ull) : "memory");
    check_trap("#GP store at 2^47", GP, 0);
    ATTEMPT("mov (%0), %%rax", ::"r"(0x00007FFFFFFFFFFCull) : "rax");
    check_trap("#GP load across the canonical hole", GP, 0);
    tss[0].ist[3] = (u64)ist_stack[2];
    idt_ist(SS, 4), idt_ist(GP, 4); /* the frame itself cannot go to a non-canonical stack */
    ATTEMPT2("mov %%rsp, %0\n mov %1, %%rsp", "push %%rax",
             : "=&r"(keep)
             : "r"(NONCANON)
             : "memory");
    check_trap("#SS PUSH non-canonical", SS, 0);
    ATTEMPT2("mov %%rsp, %0\n mov %1, %%rsp", "pop %%rax", : "=&r"(keep) : "r"(NONCANON) : "rax");
    check_trap("#SS POP non-canonical", SS, 0);
    idt_ist(SS, 0), idt_ist(GP, 0);
    ATTEMPT2("push %%rbp\n mov %0, %%rbp", "mov (%%rbp), %%eax\n", ::"r"(NONCANON)
             : "rax", "memory");
    u64 v = last.f.vec, at = last.f.rip == trap_at;
    asm volatile("" ::: "memory");
    check("#SS load through RBP", v == SS && at);
    ATTEMPT("jmp *%0", ::"r"(NONCANON) : "memory");
    check_trap("#GP JMP to non-canonical, at the JMP", GP, 0);
    ATTEMPT("call *%0", ::"m"(bad) : "memory");
    check_trap("#GP CALL to non-canonical, at the CALL", GP, 0);
    ATTEMPT2("push %0", "ret", ::"m"(bad) : "memory");
    check_trap("#GP RET to non-canonical, at the RET", GP, 0);
    ATTEMPT("invlpg (%0)", ::"r"(NONCANON) : "memory");
    check_none("INVLPG non-canonical is a NOP");
    ATTEMPT("clflush (%0)", ::"r"(NONCANON) : "memory");
    check_trap("#GP CLFLUSH non-canonical", GP, 0);
}

/* ---- page faults: the error code's five bits ---- */
UCODE(u_read, "mov $0x50000000, %ebx\n movl (%rbx), %eax\n")
UCODE(u_write, "mov $0x50000000, %ebx\n movl %eax, (%rbx)\n")
UCODE(u_exec, "mov $0x50000000, %ebx\n jmp *%rbx\n")

static void page_faults(void)
{
    u64 pa = (u64)pages_alloc(1);
    enum { P = 1, W = 2, U = 4, RSVD = 8, I = 16 };
    memset((void *)pa, 0xC3, 16);
    ATTEMPT("mov 8(%0), %%eax", ::"r"(TEST_VA) : "rax");
    check_pf("#PF read, absent", 0, TEST_VA + 8);
    ATTEMPT("movl $1, 0xffc(%0)", ::"r"(TEST_VA) : "memory");
    check_pf("#PF write, absent", W, TEST_VA + 0xFFC);
    ATTEMPT("addl $1, (%0)", ::"r"(TEST_VA) : "memory", "cc");
    check_pf("#PF read-modify-write, absent, is a write", W, TEST_VA);
    ATTEMPT("call *%0", ::"r"(TEST_VA + 4) : "memory");
    check("#PF fetch, absent: I set, RIP and CR2 at the target",
          last.f.vec == PF && last.f.err == I && last.cr2 == TEST_VA + 4 &&
              last.f.rip == TEST_VA + 4);
    map(TEST_VA, pa, PTE_P);
    ATTEMPT("movl $1, (%0)", ::"r"(TEST_VA) : "memory");
    check_pf("#PF write, read-only", P | W, TEST_VA);
    map(TEST_VA, pa, PTE_P | PTE_W | PTE_NX);
    ATTEMPT("call *%0", ::"r"(TEST_VA) : "memory");
    check("#PF fetch, NX", last.f.vec == PF && last.f.err == (P | I) && last.cr2 == TEST_VA);
    map(TEST_VA, pa, PTE_P | PTE_W | 1ull << 51);
    ATTEMPT("mov (%0), %%eax", ::"r"(TEST_VA) : "rax");
    check_pf("#PF read, reserved bit", P | RSVD, TEST_VA);
    ATTEMPT("movl $1, (%0)", ::"r"(TEST_VA) : "memory");
    check_pf("#PF write, reserved bit", P | W | RSVD, TEST_VA);
    map(TEST_VA, pa, PTE_W | 1ull << 51);
    ATTEMPT("mov (%0), %%eax", ::"r"(TEST_VA) : "rax");
    check_pf("reserved bits do not matter when absent", 0, TEST_VA);
    static const struct {
        u64 pte;
        u64 r, w, x;
        const char *n;
    } rows[] = {{0, U, U | W, U | I, "user, absent"},
                {PTE_P | PTE_W, U | P, U | P | W, U | P | I, "user, supervisor page"},
                {PTE_P | PTE_U | PTE_NX, ~0ull, U | P | W, U | P | I, "user, read-only NX page"},
                {PTE_P | PTE_U | PTE_W | 1ull << 51, U | P | RSVD, U | P | W | RSVD,
                 U | P | I | RSVD, "user, reserved bit"}};
    for (int i = 0; i < 4; i++) {
        map(TEST_VA, pa, rows[i].pte);
        user_run(u_read);
        check(rows[i].n, rows[i].r == ~0ull ? last.f.vec == 0x80
                                            : last.f.vec == PF && last.f.err == rows[i].r);
        user_run(u_write);
        check(rows[i].n, last.f.vec == PF && last.f.err == rows[i].w && last.cr2 == TEST_VA);
        user_run(u_exec);
        check(rows[i].n, last.f.vec == PF && last.f.err == rows[i].x && last.cr2 == TEST_VA);
    }
    unmap(TEST_VA);
}

/* ---- nesting ---- */
static volatile u64 depth, depth_max;
static bool deeper(struct frame *f)
{
    if (f->vec == UD) f->rip += 2;
    if (++depth < depth_max) asm volatile("ud2" ::: "memory");
    return true;
}

static void nesting(void)
{
    hooks[UD] = deeper;
    depth = 0, depth_max = 50;
    asm volatile("ud2" ::: "memory");
    hooks[UD] = NULL;
    check_eq("50 nested exceptions return in order", depth, 50);
}

int main(void)
{
    user_init();
    arithmetic();
    undefined();
    software();
    user_software();
    device_not_available();
    float_errors();
    alignment();
    selectors();
    gates();
    gate_flags();
    double_faults();
    stacks();
    irets();
    canonical();
    page_faults();
    nesting();
    finish();
}

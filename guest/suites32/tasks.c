/* tasks - hardware task switches: JMP, CALL, IRET, interrupts and exceptions, 16- and 32-bit TSS,
 * busy bits, links, NT, TS, the T flag, what is saved and loaded, and the faults of each stage.
 * SDM volume 3A chapter 8. */
#include "guest/lib32/rt32.h"

enum { TA = SEL_FREE, TB = TA + 8, GATE = TB + 8, S1 = GATE + 8, T16 = S1 + 8, V = 0x40 };
/* As ATTEMPT, but a trap in another task comes back with that task's registers. */
#define TASK(insn, ...)                                                                            \
    do {                                                                                           \
        trap_begin();                                                                              \
        asm volatile(                                                                              \
            "movl $771f, trap_fixup\n movl $771f, trap_end\n movl $770f, trap_at\n pusha\n"        \
            "mov %%esp, trap_esp\n 770: " insn "\n771: popa\n" ::__VA_ARGS__                       \
            : "memory");                                                                           \
        trap_fixup = 0;                                                                            \
    } while (0)
static struct tss32 a;
struct tss16 {
    u16 link, sp0, ss0, sp1, ss1, sp2, ss2, ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss,
        ds, ldt;
} __attribute__((packed));
static struct tss16 small;
static u8 stack_a[4096] __attribute__((aligned(16)));
/* what the task saw */
u32 seen[12];
asm(".text\n.global task_note, task_note16\n"
    "task_note: mov %eax, seen\n mov %ecx, seen + 4\n pushf\n pop seen + 8\n str seen + 12\n"
    "mov %cr0, %eax\n mov %eax, seen + 16\n mov %ds, seen + 20\n sldt seen + 24\n"
    "mov %esp, seen + 28\n mov %gs, seen + 32\n mov %cr3, %eax\n mov %eax, seen + 36\n"
    "incl seen + 40\n jmp *task_then\n"
    ".data\n.global task_then\n task_then: .long 0\n .text\n"
    ".global task_iret, task_int, task_jmp, task_err\n"
    "task_note16: mov %eax, seen\n pushf\n pop seen + 8\n str seen + 12\n mov %esp, seen + 28\n"
    "mov %gs, seen + 32\n int $0xff\n"
    "task_iret: iretl\n incl seen + 44\n jmp task_note\n"
    "task_int: int $0xff\n"
    "task_err: pop seen + 44\n jmp *task_then2\n .data\n.global task_then2\n task_then2: .long "
    "task_iret\n .text\n"
    "task_jmp: ljmp $0x58, $0\n jmp task_note\n");
extern const char task_note[], task_note16[], task_iret[], task_int[], task_jmp[], task_err[];
extern const char *task_then, *task_then2;
enum { EAX, ECX, FLAGS, TR, CR0, DSEL, LDTR, SP, GSEL, CR3, RUNS, AGAIN };

static void task_make(struct tss32 *t, int sel, const char *entry)
{
    memset(t, 0, 0x68);
    t->eip = (u32)entry, t->eflags = 2, t->esp = (u32)stack_a + sizeof stack_a - 16;
    t->cs = KCS, t->ss = t->ds = t->es = t->fs = t->gs = KDS;
    t->cr3 = read_cr3();
    t->eax = 0xAAAA5555, t->ecx = 0x12345678;
    t->iomap = 0x68;
    gdt_set(sel, seg_desc((u32)t, 0x67, 0x89, 0));
}

static void fresh(const char *then)
{
    tss_reload();
    task_make(&a, TA, task_note);
    memset(seen, 0, sizeof seen);
    task_then = then;
}

static const struct {
    u32 off;
    u16 sel;
} far_a = {0, TA}, far_gate = {0, GATE}, far_16 = {0, T16};

/* ---- the good ways ---- */
static void call_task(void)
{
    fresh(task_iret);
    TASK("lcall *%0", "m"(far_a), "a"(0x77), "c"(0x88));
    check_none("CALL to a TSS and IRET back");
    check("registers of the new task", seen[EAX] == 0xAAAA5555 && seen[ECX] == 0x12345678);
    check_eq("NT is set in the nested task", seen[FLAGS] & FL_NT, FL_NT);
    check_eq("TR", seen[TR] & 0xFFFF, TA);
    check_eq("CR0.TS is set", seen[CR0] & CR0_TS, CR0_TS);
    check_eq("ESP of the new task", seen[SP], (u32)stack_a + sizeof stack_a - 16);
    check_eq("back link", a.link & 0xFFFF, SEL_TSS);
    check_eq("the task left by IRET is not busy", gdt_access(TA), 0x89);
    check_eq("the task returned to is", gdt_access(SEL_TSS), 0x8B);
    check_eq("IRET saved EIP behind itself", a.eip, (u32)task_iret + 1);
    check_eq("IRET saved NT clear", a.eflags & FL_NT, 0);
    check("the caller's registers were in its TSS", tss.eax == 0x77 && tss.ecx == 0x88);
    check_eq("... and selectors", tss.gs << 16 | tss.cs, KDS << 16 | KCS);
    check_eq("NT is clear again", read_flags() & FL_NT, 0);
    u32 again = seen[RUNS];
    TASK("lcall *%0", "m"(far_a));
    check("the next CALL goes on behind the IRET", seen[AGAIN] == 1 && seen[RUNS] == again + 1);
    asm volatile("clts");
}

static void jump_task(void)
{
    fresh(task_jmp);
    TASK("ljmp *%0", "m"(far_a));
    check_none("JMP to a TSS and JMP back");
    check_eq("NT stays clear", seen[FLAGS] & FL_NT, 0);
    check_eq("no back link", a.link, 0);
    check_eq("the task jumped from is not busy", gdt_access(TA), 0x89);
    check_eq("the main task is", gdt_access(SEL_TSS), 0x8B);
    fresh(task_int);
    gdt_set(GATE, gate_desc(TA, 0x1234, 0x85, 0));
    TASK("ljmp *%0", "m"(far_gate));
    check("JMP through a task gate", last.f.vec == 0xFF && last.f.eip == (u32)task_int + 2);
    check_eq("... the new task is busy", gdt_access(TA), 0x8B);
    check_eq("... the old one is not", gdt_access(SEL_TSS), 0x89);
    fresh(task_iret);
    gdt_set(GATE, gate_desc(TA, 0x1234, 0x85, 0));
    TASK("lcall *%0", "m"(far_gate));
    check_none("CALL through a task gate");
    ldt[2] = gate_desc(TA, 0, 0x85 | 3 << 5, 0);
    static const struct {
        u32 off;
        u16 sel;
    } in_ldt = {0, 0x14};
    fresh(task_iret);
    lldt(SEL_LDT);
    tss.ldt = SEL_LDT;
    TASK("lcall *%0", "m"(in_ldt));
    check_none("a task gate may lie in the LDT");
    u32 sel = 0;
    asm volatile("sldt %0" : "=r"(sel));
    check_eq("the LDT comes back with the task", sel & 0xFFFF, SEL_LDT);
    check_eq("the new task had its own", seen[LDTR] & 0xFFFF, 0);
    fresh(task_iret);
    a.ldt = SEL_LDT, a.gs = 0xC;
    ldt[1] = seg_desc(0, 0xFFFFF, 0x93, 0xC0);
    TASK("lcall *%0", "m"(far_a));
    check("a task with an LDT and a segment of it", seen[LDTR] == SEL_LDT && seen[GSEL] == 0xC);
}

SNIP32(t_int, "int $0x40")
SNIP32(t_callgate, "push %eax\n push $0\n lcall *(%esp)")
static void events(void)
{
    fresh(task_iret);
    idt_set(V, gate_desc(TA, 0, 0x85 | 3 << 5, 0));
    ATTEMPT("int $0x40", ::: "memory");
    check_none("INT n through a task gate and IRET back");
    check_eq("EIP saved behind the INT", tss.eip, trap_end);
    fresh(task_iret);
    idt_set(V, gate_desc(TA, 0, 0x85 | 3 << 5, 0));
    ring_run(3, t_int);
    check("... from CPL 3", last.f.vec == 0xFF && last.f.cs == UCS && (tss.cs & 0xFFFF) == UCS);
    fresh(task_iret);
    idt_set(V, gate_desc(TA, 0, 0x85, 0));
    ring_run(3, t_int);
    check_vec("#GP(IDT): task gate DPL 0 at CPL 3", GP, V * 8 + IDT_BIT);
    idt_set(V, gate_desc(TA, 0, 0x05 | 3 << 5, 0));
    ring_run(3, t_int);
    check_vec("#NP(IDT): task gate not present", NP, V * 8 + IDT_BIT);
    idt_set(V, gate_desc(KDS, 0, 0x85 | 3 << 5, 0));
    ring_run(3, t_int);
    check_vec("#GP(TSS): task gate to data", GP, KDS);
    idt_default(V);
}

/* The handler's own IRET would start the faulting instruction again, so end it by INT FFh. */
static void exceptions(void)
{
    static const u32 beyond = GDT_BYTES;
    fresh(task_int);
    task_then2 = task_int;
    a.eip = (u32)task_err;
    idt_set(GP, gate_desc(TA, 0, 0x85, 0));
    TASK("mov %0, %%gs", "m"(beyond));
    idt_default(GP);
    check_eq("#GP through a task gate pushes its error code", seen[AGAIN], GDT_BYTES);
    check_eq("EIP saved at the instruction", tss.eip, trap_at);
    check_eq("RF is set in the saved flags of a fault", tss.eflags & FL_RF, FL_RF);
    check_eq("... on the new task's stack", last.f.vec, 0xFF);
    tss_reload();
}

/* ---- 16-bit TSS ---- */
static void tss16(void)
{
    fresh(task_iret);
    memset(&small, 0, sizeof small);
    gdt_set(S1, seg_desc((u32)task_note16, 0xFFFF, 0x9B, 0x40)); /* IP has 16 bits */
    small.ip = 0, small.cs = S1, small.flags = 2, small.sp = 0xFF0, small.ax = 0x1234;
    gdt_set(S1 + 16, seg_desc((u32)stack_a, 0xFFF, 0x93, 0));
    small.ss = S1 + 16, small.ds = small.es = KDS;
    gdt_set(T16, seg_desc((u32)&small, sizeof small - 1, 0x81, 0));
    TASK("lcall *%0", "m"(far_16));
    check("16-bit TSS: registers loaded", (seen[EAX] & 0xFFFF) == 0x1234);
    check_eq("... NT", seen[FLAGS] & FL_NT, FL_NT);
    check_eq("... TR", seen[TR] & 0xFFFF, T16);
    check_eq("... SP", seen[SP] & 0xFFFF, 0xFF0);
    check_eq("... FS and GS are null", seen[GSEL] & 0xFFFF, 0);
    check_eq("... busy, back link", gdt_access(T16) << 16 | small.link, 0x83 << 16 | SEL_TSS);
    tss_reload();
}

/* ---- faults in the old task ---- */
static void refused(const char *name, u32 vec, u32 err)
{
    TASK("lcall *%0", "m"(far_a));
    bool same = gdt_access(SEL_TSS) == 0x8B && !seen[RUNS];
    check_trap(name, vec, err);
    check("... nothing was switched", same);
}

static void refusals(void)
{
    fresh(task_iret);
    gdt_access_set(TA, 0x8B);
    refused("#GP(TSS): busy", GP, TA);
    gdt_access_set(TA, 0x09);
    refused("#NP(TSS): not present", NP, TA);
    gdt_set(TA, seg_desc((u32)&a, 0x66, 0x89, 0));
    refused("#TS(TSS): limit below 67h", TS, TA);
    gdt_set(TA, seg_desc((u32)&a, 0x2A, 0x81, 0));
    refused("#TS(TSS): 16-bit, limit below 2Bh", TS, TA);
    gdt_set(TA, seg_desc((u32)&a, 0x67, 0x89, 0));
    static const struct {
        u32 off;
        u16 sel;
    } in_ldt = {0, 0x14};
    lldt(SEL_LDT);
    ldt[2] = gdt[TA / 8];
    TASK("lcall *%0", "m"(in_ldt));
    check_trap("#GP(TSS): a TSS in the LDT", GP, 0x14);
    gdt_set(GATE, gate_desc(0x14, 0, 0x85, 0));
    TASK("lcall *%0", "m"(far_gate));
    check_trap("#GP(TSS): task gate to the LDT", GP, 0x14);
    lldt(0);
    gdt_set(GATE, gate_desc(TA, 0, 0x05, 0));
    TASK("ljmp *%0", "m"(far_gate));
    check_trap("#NP(gate): not present", NP, GATE);
    gdt_set(GATE, gate_desc(TA, 0, 0x85, 0));
    struct ctx c = ctx_ring(3, t_callgate);
    c.eax = GATE | 3;
    trap_begin();
    ctx_run(&c);
    check_vec("#GP(gate): DPL 0 at CPL 3", GP, GATE);
    c.eax = TA | 3;
    trap_begin();
    ctx_run(&c);
    check_vec("#GP(TSS): DPL 0 at CPL 3", GP, TA);
    fresh(task_iret);
    gdt_access_set(TA, 0xE9);
    c.eax = TA | 3;
    trap_begin();
    ctx_run(&c);
    check("TSS with DPL 3, called at CPL 3", last.f.vec == 0xFF && seen[RUNS] == 1);
    /* IRET with a bad link */
    tss_reload();
    tss.link = 0;
    ATTEMPT2("pushl $0x4002\n popf", "iret", ::: "memory");
    check_trap("#TS(0): IRET with NT, null link", TS, 0);
    tss.link = TA;
    ATTEMPT2("pushl $0x4002\n popf", "iret", ::: "memory");
    check_trap("#TS(link): IRET to a task that is not busy", TS, TA);
    tss.link = KDS;
    ATTEMPT2("pushl $0x4002\n popf", "iret", ::: "memory");
    check_trap("#TS(link): IRET to data", TS, KDS);
    tss.link = 0;
    write_flags(2);
    ATTEMPT("ltr %%ax", ::"a"(SEL_TSS) : "memory");
    check_trap("#GP(sel): LTR, busy", GP, SEL_TSS);
    ATTEMPT("ltr %%ax", ::"a"(KDS) : "memory");
    check_trap("#GP(sel): LTR, data", GP, KDS);
    ATTEMPT("ltr %%ax", ::"a"(0) : "memory");
    check_trap("#GP(0): LTR, null", GP, 0);
    gdt_access_set(TA, 0x09);
    ATTEMPT("ltr %%ax", ::"a"(TA) : "memory");
    check_trap("#NP(sel): LTR, not present", NP, TA);
}

/* ---- faults in the new task ---- */
static void failing(const char *name, u32 vec, u32 err)
{
    idt_rescue((int)vec);
    TASK("lcall *%0", "m"(far_a));
    idt_default((int)vec);
    bool inside =
        rescue.link == SEL_TSS && last.task; /* rescue_dispatch has put the main task there */
    check_vec(name, vec, err);
    check("... in the new task, at its first instruction",
          inside && last.f.eip == a.eip && gdt_access(TA) == 0x8B);
    fresh(task_iret);
}

static void failures(void)
{
    gdt_set(S1, seg_desc(0, 0xFFFFF, 0x13, 0xC0)); /* data, absent */
    gdt_set(S1 + 8, seg_desc(0, 0xFFFFF, 0x1B, 0xC0));
    gdt_set(S1 + 16, seg_desc(0, 0xFF, 0x9B, 0x40));
    fresh(task_iret);
    a.ldt = KDS;
    failing("#TS(LDT): no LDT", TS, KDS);
    a.ldt = GDT_BYTES;
    failing("#TS(LDT): beyond the GDT", TS, GDT_BYTES);
    gdt_access_set(SEL_LDT, 0x02);
    a.ldt = SEL_LDT;
    failing("#TS(LDT): not present", TS, SEL_LDT);
    gdt_access_set(SEL_LDT, 0x82);
    a.cs = KDS;
    failing("#TS(CS): data", TS, KDS);
    a.cs = 0;
    failing("#TS(0): null CS", TS, 0);
    a.cs = KCS | 3;
    failing("#TS(CS): RPL and DPL differ", TS, KCS);
    a.cs = S1 + 8;
    failing("#NP(CS): not present", NP, S1 + 8);
    a.ss = 0;
    failing("#TS(0): null SS", TS, 0);
    a.ss = KCS;
    failing("#TS(SS): code", TS, KCS);
    a.ss = UDS;
    failing("#TS(SS): another ring's", TS, UDS & 0xFFFC);
    a.ss = S1;
    failing("#SS(SS): not present", SS, S1);
    a.gs = KCS + 0x1F0;
    gdt_set(0x1F8, 0);
    failing("#TS(GS): no segment", TS, 0x1F8);
    a.es = S1;
    failing("#NP(ES): not present", NP, S1);
    a.cs = S1 + 16;
    idt_rescue(GP);
    TASK("lcall *%0", "m"(far_a));
    idt_default(GP);
    check("#GP(0): EIP beyond the new CS", last.f.vec == GP && last.f.err == 0 && last.task);
    fresh(task_iret);
}

/* ---- T flag, debug registers, virtual-8086 task ---- */
static volatile u32 db_seen, db_dr6, db_eip;
static bool on_db(struct frame *f)
{
    db_seen++, db_dr6 = read_dr6(), db_eip = f->eip;
    return true;
}

SNIP16(v_int, "mov $0x1111, %ax")
static void flags(void)
{
    fresh(task_iret);
    a.trap = 1;
    hooks[DB] = on_db;
    db_seen = 0;
    write_dr6(0xFFFF0FF0);
    TASK("lcall *%0", "m"(far_a));
    check("T flag: #DB before the first instruction", db_seen == 1 && db_eip == (u32)task_note);
    check_eq("... DR6.BT", db_dr6 & 0xE00F, 0x8000);
    hooks[DB] = NULL;
    write_dr6(0xFFFF0FF0);
    fresh(task_iret);
    write_dr0(0), write_dr7(0x3 | 0x400);
    TASK("lcall *%0", "m"(far_a));
    check_eq("a task switch clears the local breakpoints", read_dr7() & 0xFF, 2);
    write_dr7(0x400);
    fresh(task_iret);
    a.eflags = 2 | FL_VM | FL_IOPL, a.eip = 0, a.cs = LOW_CODE / 16, a.ss = LOW_STACK / 16;
    a.esp = SP16, a.ds = a.es = a.fs = a.gs = LOW_DATA / 16;
    a.ss0 = KDS, a.esp0 = (u32)stack_a + 2048;
    memcpy((void *)LOW_CODE, v_int, (size_t)(v_int_end - v_int));
    TASK("ljmp *%0", "m"(far_a));
    check("a task may run in virtual-8086 mode",
          last.f.vec == 0xFF && last.f.eflags & FL_VM && (last.f.eax & 0xFFFF) == 0x1111);
    check("... its interrupt comes on its own ring-0 stack",
          last.esp - (u32)stack_a < 2048 && last.f.vds == LOW_DATA / 16);
    tss_reload();
}

int main(void)
{
    call_task();
    jump_task();
    exceptions();
    events();
    tss16();
    refusals();
    failures();
    flags();
    finish();
}

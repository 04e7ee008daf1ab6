/* fpu - x87 errors: #MF with CR0.NE set; FERR#, IRQ 13 and IGNNE# (port F0h) with it clear; #NM by
 * TS, EM and MP; what waits and what does not. SDM volume 1 8.6-8.7 and appendix D. */
#include "guest/lib32/rt32.h"

enum { IRQ13 = 0x75, ES = 0x80, ZE = 4 };
static volatile u32 irqs, irq_eip, irq_fsw;
static bool clear_in_handler;

static u16 fsw(void)
{
    u16 v;
    asm volatile("fnstsw %0" : "=a"(v));
    return v;
}

/* Leaves an unmasked divide-by-zero pending. */
#define PEND "fninit\n fldcw unmasked\n fld1\n fldz\n fdivrp %%st, %%st(1)\n"
asm(".data\n.global unmasked\n unmasked: .word 0x37B\n x87_word: .word 0x37F\n.text\n");

/* ---- NE set ---- */
static void errors(void)
{
    write_cr0(read_cr0() | CR0_NE);
    ATTEMPT2(PEND, "fwait", ::: "memory");
    check_trap("#MF at FWAIT", MF, 0);
    check_eq("... ES and ZE", fsw() & (ES | ZE), ES | ZE);
    ATTEMPT2(PEND, "fld1", ::: "memory");
    check_trap("#MF at the next waiting instruction", MF, 0);
    ATTEMPT2(PEND, "fldcw x87_word", ::: "memory");
    check_trap("#MF at FLDCW", MF, 0);
    ATTEMPT2(PEND, "movd %%mm0, %%eax", ::: "memory", "eax");
    check_trap("#MF at an MMX instruction", MF, 0);
    ATTEMPT2(PEND, "fnstsw %%ax\n fnstcw x87_word\n fnclex\n fwait", ::: "memory", "eax");
    check_none("FNSTSW, FNSTCW and FNCLEX do not wait");
    ATTEMPT2(PEND, "fninit\n fwait", ::: "memory");
    check_none("FNINIT does not wait");
    asm volatile("fninit");
}

static void not_available(void)
{
    u32 cr0 = read_cr0();
    write_cr0(cr0 | CR0_TS);
    ATTEMPT("fld1", ::: "memory");
    check_trap("#NM with TS", NM, 0);
    write_cr0((cr0 | CR0_TS) & ~(u32)CR0_MP);
    ATTEMPT("fwait", ::: "memory");
    check_none("FWAIT with TS, MP clear");
    write_cr0(cr0 | CR0_TS | CR0_MP);
    ATTEMPT("fwait", ::: "memory");
    check_trap("#NM FWAIT with TS and MP", NM, 0);
    write_cr0(cr0 | CR0_EM);
    ATTEMPT("fld1", ::: "memory");
    check_trap("#NM with EM", NM, 0);
    ATTEMPT("movd %%mm0, %%eax", ::: "memory", "eax");
    check_trap("#UD MMX with EM", UD, 0);
    write_cr0(cr0);
}

/* ---- NE clear: the PC's way ---- */
static bool on_irq13(struct frame *f)
{
    irqs++, irq_eip = f->eip, irq_fsw = fsw();
    outb(0xF0, 0);
    if (clear_in_handler) asm volatile("fnclex");
    outb(0xA0, 0x20), outb(0x20, 0x20);
    return true;
}

static void pics(void)
{
    static const u8 init[][2] = {{0x20, 0x11}, {0xA0, 0x11}, {0x21, 0x08}, {0xA1, 0x70},
                                 {0x21, 4},    {0xA1, 2},    {0x21, 1},    {0xA1, 1},
                                 {0x21, 0xFB}, {0xA1, 0xDF}};
    for (u32 k = 0; k < sizeof init / sizeof *init; k++) outb(init[k][0], init[k][1]);
}

static u8 irr2(void)
{
    outb(0xA0, 0x0A);
    return inb(0xA0);
}

static void external(void)
{
    write_cr0(read_cr0() & ~(u32)CR0_NE);
    pics();
    hooks[IRQ13] = on_irq13;
    clear_in_handler = true;
    irqs = 0;
    ATTEMPT2("sti\n nop\n" PEND, "fld1\n fstp %%st\n cli", ::: "memory");
    check_none("NE clear: no #MF");
    cli();
    check_eq("... IRQ 13 instead, once", irqs, 1);
    check("... before the waiting instruction or right behind the faulty one",
          irq_eip == trap_at || irq_eip == trap_at - 2);
    check_eq("... with the error pending", irq_fsw & (ES | ZE), ES | ZE);
    check_eq("... which the handler cleared", fsw() & ES, 0);
    check_eq("IRQ 13 is down again", irr2() & 0x20, 0);
    irqs = 0;
    ATTEMPT2("sti\n nop\n" PEND, "fwait\n cli", ::: "memory");
    cli();
    check_eq("a second error, at FWAIT: another IRQ 13", irqs, 1);
    check_none("... and no #MF");
    /* a handler that only writes port F0h: IGNNE# lets the program go on */
    clear_in_handler = false;
    irqs = 0;
    ATTEMPT2("sti\n nop\n" PEND, "fld1\n fstp %%st\n cli", ::: "memory");
    cli();
    check_none("IGNNE#: the program goes on although the error is pending");
    check_eq("... after one interrupt", irqs, 1);
    asm volatile("fnclex\n fninit");
    /* once FERR# has gone down, IGNNE# has, too */
    clear_in_handler = true;
    irqs = 0;
    ATTEMPT2("sti\n nop\n" PEND, "fwait\n cli", ::: "memory");
    cli();
    check_eq("IGNNE# ends with FERR#: the next error interrupts", irqs, 1);
    asm volatile("fninit");
    /* masked at the PIC, the request stays */
    write_cr0(read_cr0() | CR0_NE);
    hooks[IRQ13] = NULL;
    outb(0x21, 0xFF), outb(0xA1, 0xFF);
}

int main(void)
{
    errors();
    not_available();
    external();
    finish();
}

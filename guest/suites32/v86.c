/* v86 - virtual-8086 mode: what IOPL decides, interrupts through the IDT and, with CR4.VME, through
 * the program's own table, VIF and VIP, the way in and out; and protected-mode virtual interrupts
 * (CR4.PVI). SDM volume 3B chapter 21; volume 2 CLI, STI, PUSHF, POPF, INT n, IRET. */
#include "guest/lib32/rt32.h"

enum { IVT_OFF = 0x300 };
/* The program's handler in its own segment: note flags and return. */
SNIP16(h_note, "push %bp\n mov %sp, %bp\n mov 6(%bp), %ax\n pushf\n pop %bx\n mov 2(%bp), %dx\n"
               "mov 4(%bp), %si\n pop %bp\n iret")

/* IVT entry of @vec at h_note, copied to LOW_CODE + IVT_OFF. */
static void ivt(int vec)
{
    u32 at = (u32)vec * 4;
    asm("" : "+r"(at));
    memcpy((void *)(LOW_CODE + IVT_OFF), h_note, (size_t)(h_note_end - h_note));
    RD(u32, at) = (LOW_CODE / 16) << 16 | IVT_OFF;
}

static void run(u32 iopl, u32 flags, const char *code, const char *end)
{
    r16_default();
    v86_iopl = iopl;
    r16.eflags |= flags;
    run16(IN_V86, code, end);
}
#define RUN(iopl, flags, s) run(iopl, flags, s, s##_end)
static bool ended(void) { return r16.vec == 0xFF; }
static bool gp0(u32 ip) { return r16.vec == GP && last.f.err == 0 && (r16.ip & 0xFFFF) == ip; }

/* ---- IOPL 0 to 2: the sensitive instructions fault; IOPL 3: they work ---- */
SNIP16(s_cli, "cli")
SNIP16(s_sti, "sti\n nop\n cli")
SNIP16(s_pushf, "pushf\n pop %ax")
SNIP16(s_pushfd, "pushfl\n pop %eax")
SNIP16(s_popf, "push $0x3202\n popf\n pushf\n pop %ax")
SNIP16(s_popfd, "pushl $0x243202\n popfl\n pushfl\n pop %eax\n pushl $2\n popfl")
SNIP16(s_int, "int $0x40")
SNIP16(s_iret, "pushw $2\n push %cs\n pushw $(1f - s_iret)\n iretw\n 1:")
SNIP16(s_iretd, "pushl $2\n pushl $0x2000\n pushl $(1f - s_iretd)\n iretl\n 1:")
SNIP16(s_int3, "int3")
SNIP16(s_into, "mov $0x7F, %al\n inc %al\n into")

static void sensitive(void)
{
    static const struct {
        const char *code, *end, *name;
        u32 ip;
    } t[] = {{s_cli, s_cli_end, "CLI", 0},       {s_sti, s_sti_end, "STI", 0},
             {s_pushf, s_pushf_end, "PUSHF", 0}, {s_pushfd, s_pushfd_end, "PUSHFD", 0},
             {s_popf, s_popf_end, "POPF", 3},    {s_popfd, s_popfd_end, "POPFD", 6},
             {s_int, s_int_end, "INT n", 0},     {s_iret, s_iret_end, "IRET", 6},
             {s_iretd, s_iretd_end, "IRETD", 0}};
    idt_dpl(0x40, 3);
    for (u32 k = 0; k < sizeof t / sizeof *t; k++) {
        u32 bad = 0;
        for (u32 iopl = 0; iopl < 3; iopl++) {
            run(iopl, 0, t[k].code, t[k].end);
            bad += r16.vec != GP || last.f.err || (t[k].ip && (r16.ip & 0xFFFF) != t[k].ip);
        }
        say("# %s\n", t[k].name);
        check_eq("#GP(0) below IOPL 3", bad, 0);
        run(3, 0, t[k].code, t[k].end);
        check("works with IOPL 3", ended() || r16.vec == 0x40);
    }
    RUN(0, 0, s_int3);
    check_vec("INT3 needs a gate with DPL 3, not IOPL", GP, BP * 8 + IDT_BIT);
    idt_dpl(BP, 3), idt_dpl(OF, 3);
    RUN(0, 0, s_int3);
    check("INT3 with such a gate", r16.vec == BP && (r16.ip & 0xFFFF) == 1);
    RUN(0, 0, s_into);
    check("INTO likewise", r16.vec == OF);
    idt_default(BP), idt_default(OF);
    idt_default(0x40);
    RUN(3, 0, s_int);
    check_vec("INT n with IOPL 3 needs DPL 3 as well", GP, 0x40 * 8 + IDT_BIT);
    idt_dpl(0x40, 3);
}

static void flags(void)
{
    RUN(3, 0, s_pushf);
    check_eq("PUSHF shows IOPL and IF", r16.eax & 0x3202, 0x3002);
    RUN(3, FL_IF, s_pushf);
    check_eq("... IF set", r16.eax & 0x3202, 0x3202);
    RUN(3, 0, s_pushfd);
    check_eq("PUSHFD does not show VM and RF", r16.eax & (FL_VM | FL_RF), 0);
    RUN(3, 0, s_popf);
    check_eq("POPF changes IF", r16.eax & FL_IF, FL_IF);
    RUN(3, 0, s_popfd);
    check_eq("POPFD changes AC and ID, not IOPL", r16.eax & 0x243200, 0x243200);
    RUN(3, 0, s_iretd);
    check("IRETD stays in virtual-8086 mode", ended() && r16.flags & FL_VM);
}

/* ---- entry and exit ---- */
SNIP16(e_seg,
       "mov %cs, %ax\n mov %ss, %bx\n mov %ds, %cx\n mov %es, %dx\n mov %fs, %si\n mov %gs, %di")
static void frames(void)
{
    r16_default();
    v86_iopl = 3;
    r16.ds = 0x1111, r16.es = 0x2222, r16.fs = 0x3333, r16.gs = 0x4444;
    run16(IN_V86, e_seg, e_seg_end);
    check("IRET loads all segment registers",
          (r16.ecx & 0xFFFF) == 0x1111 && (r16.edx & 0xFFFF) == 0x2222 &&
              (r16.esi & 0xFFFF) == 0x3333 && (r16.edi & 0xFFFF) == 0x4444);
    check("... CS and SS",
          (r16.eax & 0xFFFF) == LOW_CODE / 16 && (r16.ebx & 0xFFFF) == LOW_STACK / 16);
    check("the interrupt's frame has them",
          r16.ds == 0x1111 && r16.es == 0x2222 && r16.fs == 0x3333 && r16.gs == 0x4444);
    check("... ESP and SS", r16.esp == SP16 && r16.ss == LOW_STACK / 16);
    check("... VM in EFLAGS", (r16.flags & (FL_VM | FL_IOPL)) == (FL_VM | FL_IOPL));
    check("the handler's data segments were null",
          !last.f.fs && !last.f.gs && !last.f.ds && !last.f.es);
    check_eq("the handler's frame has nine words", last.esp, tss.esp0 - 36);
    struct ctx c = {0x10000,
                    LOW_CODE / 16,
                    2 | FL_VM | FL_IOPL,
                    SP16,
                    LOW_STACK / 16,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0,
                    0};
    trap_begin();
    ctx_run(&c);
    check("EIP beyond FFFF: #GP(0)", last.f.vec == GP && last.f.err == 0);
    /* the handler must be at CPL 0 */
    idt_set(0x40, gate_desc(CS1 & 0xFFFC, 0, 0xEE, 0));
    RUN(3, 0, s_int);
    check_vec("#GP(CS): handler not at DPL 0", GP, CS1 & 0xFFFC);
    gdt_set(SEL_FREE, seg_desc(0, 0xFFFFF, 0x9F, 0xC0));
    idt_set(0x40, gate_desc(SEL_FREE, 0, 0xEE, 0));
    RUN(3, 0, s_int);
    check_vec("#GP(CS): conforming handler", GP, SEL_FREE);
    idt_default(0x40);
    idt_dpl(0x40, 3);
}

/* ---- privileged instructions, ports, page of ports ---- */
SNIP16(p_hlt, "hlt")
SNIP16(p_cr, "mov %cr0, %eax")
SNIP16(p_lgdt, "lgdt 0")
SNIP16(p_lmsw, "lmsw %ax")
SNIP16(p_clts, "clts")
SNIP16(p_invd, "invd")
SNIP16(p_rdmsr, "rdmsr")
SNIP16(p_dr, "mov %dr0, %eax")
SNIP16(p_in, "in $0xE0, %al")
SNIP16(p_out, "out %al, $0xE0")
static void privileged(void)
{
    static const struct {
        const char *code, *end, *name;
    } t[] = {{p_hlt, p_hlt_end, "HLT"},       {p_cr, p_cr_end, "MOV from CR0"},
             {p_lgdt, p_lgdt_end, "LGDT"},    {p_lmsw, p_lmsw_end, "LMSW"},
             {p_clts, p_clts_end, "CLTS"},    {p_invd, p_invd_end, "INVD"},
             {p_rdmsr, p_rdmsr_end, "RDMSR"}, {p_dr, p_dr_end, "MOV from DR0"}};
    for (u32 k = 0; k < sizeof t / sizeof *t; k++) {
        run(3, 0, t[k].code, t[k].end);
        say("# %s\n", t[k].name);
        check("#GP(0) in virtual-8086 mode", gp0(0));
    }
    memset(tss.bitmap, 0xFF, sizeof tss.bitmap);
    RUN(3, 0, p_in);
    check("IN asks the bitmap even with IOPL 3", gp0(0));
    RUN(3, 0, p_out);
    check("OUT as well", gp0(0));
    tss.bitmap[0xE0 / 8] = 0xFE;
    RUN(0, 0, p_in);
    check("IN from an allowed port with IOPL 0", gp0(2)); /* at INT FFh */
    memset(tss.bitmap, 0xFF, sizeof tss.bitmap);
}

/* ---- CR4.VME ---- */
SNIP16(v_cli, "cli\n pushf\n pop %ax")
SNIP16(v_sti, "sti\n pushf\n pop %ax")
SNIP16(v_int, "mov $0, %ax\n int $0x40\n mov %sp, %cx")
SNIP16(v_popf, "push $0x202\n popf\n pushf\n pop %ax")
SNIP16(v_popf0, "push $0x002\n popf\n pushf\n pop %ax")
SNIP16(v_popftf, "push $0x102\n popf")
SNIP16(v_iret, "pushw $0x202\n push %cs\n pushw $(1f - v_iret)\n iretw\n 1: pushf\n pop %ax")
SNIP16(v_iret0, "pushw $0x002\n push %cs\n pushw $(1f - v_iret0)\n iretw\n 1: pushf\n pop %ax")

static void redirect(int vec, bool to_idt)
{
    if (to_idt) tss.redirect[vec / 8] |= (u8)(1u << vec % 8);
    else tss.redirect[vec / 8] &= (u8) ~(1u << vec % 8);
}

static void vme_interrupts(void)
{
    ivt(0x40);
    redirect(0x40, false);
    RUN(3, FL_IF, v_int);
    check("VME, IOPL 3, redirected: the program's own handler", ended());
    check_eq("... FLAGS pushed as they are", r16.eax & 0x3202, 0x3202);
    check_eq("... IF and TF clear in the handler", r16.ebx & 0x300, 0);
    check("... IP and CS", (r16.edx & 0xFFFF) == 5 && (r16.esi & 0xFFFF) == LOW_CODE / 16);
    check_eq("... SP is back", r16.ecx & 0xFFFF, SP16);
    redirect(0x40, true);
    RUN(3, 0, v_int);
    check("VME, IOPL 3, not redirected: the IDT", r16.vec == 0x40);
    RUN(0, 0, v_int);
    check("VME, IOPL 0, not redirected: #GP(0)", gp0(3));
    redirect(0x40, false);
    redirect(0xFF, true);
    RUN(0, 0, v_int);
    check("VME, IOPL 0, redirected: handler, then #GP at INT FFh", gp0(7));
    check_eq("... FLAGS pushed with VIF as IF, and IOPL 3", r16.eax & 0x3200, 0x3000);
    RUN(0, FL_VIF, v_int);
    check_eq("... VIF set", r16.eax & 0x3200, 0x3200);
    check_eq("... VIF clear in the handler", r16.ebx & FL_IF, 0);
    check_eq("... IRET brings VIF back", r16.flags & FL_VIF, FL_VIF);
    u16 map = tss.iomap;
    tss.iomap = 0x50;
    RUN(0, 0, v_int);
    check("no room for the map below the I/O bitmap", r16.vec == GP);
    tss.iomap = map;
}

static void vme_flags(void)
{
    RUN(0, FL_VIF, v_cli);
    check_eq("VME: CLI clears VIF", r16.flags & FL_VIF, 0);
    check_eq("... PUSHF shows it as IF, IOPL 3", r16.eax & 0x3200, 0x3000);
    RUN(0, 0, v_sti);
    check_eq("VME: STI sets VIF", r16.flags & FL_VIF, FL_VIF);
    check_eq("... PUSHF shows it", r16.eax & 0x3200, 0x3200);
    RUN(0, FL_VIP, v_sti);
    check("VME: STI with VIP set: #GP(0)", gp0(0));
    RUN(0, FL_VIP | FL_VIF, v_cli);
    check_eq("VME: CLI with VIP set", r16.flags & (FL_VIF | FL_VIP), FL_VIP);
    RUN(0, 0, v_popf);
    check_eq("VME: POPF sets VIF", r16.flags & (FL_VIF | FL_IF), FL_VIF);
    RUN(0, FL_VIF, v_popf0);
    check_eq("VME: POPF clears VIF", r16.flags & FL_VIF, 0);
    RUN(0, FL_VIP, v_popf);
    check("VME: POPF that would set VIF with VIP set: #GP(0)", gp0(3));
    RUN(0, FL_VIP | FL_VIF, v_popf0);
    check("VME: POPF that clears it is fine", gp0(5));
    RUN(0, 0, v_popftf);
    check("VME: POPF of TF: #GP(0)", gp0(3));
    RUN(0, 0, v_iret);
    check_eq("VME: IRET sets VIF", r16.flags & FL_VIF, FL_VIF);
    RUN(0, FL_VIF, v_iret0);
    check_eq("VME: IRET clears VIF", r16.flags & FL_VIF, 0);
    RUN(0, FL_VIP, v_iret);
    check("VME: IRET that would set VIF with VIP set: #GP(0)", gp0(7));
    RUN(0, 0, s_pushfd);
    check("VME: PUSHFD still needs IOPL 3", gp0(0));
    RUN(0, 0, s_popfd);
    check("VME: POPFD as well", gp0(6));
    RUN(0, 0, s_iretd);
    check("VME: IRETD as well", r16.vec == GP);
    RUN(3, 0, v_sti);
    check_eq("VME, IOPL 3: STI sets IF", r16.flags & (FL_IF | FL_VIF), FL_IF);
}

static void vme(void)
{
    if (!(cpuid(1, 0).d & 2)) {
        skip("VME", "not offered");
        return;
    }
    write_cr4(read_cr4() | CR4_VME);
    vme_interrupts();
    vme_flags();
    write_cr4(read_cr4() & ~(u32)CR4_VME);
}

/* ---- CR4.PVI ---- */
SNIP32(i_cli, "cli\n pushf\n pop %eax")
SNIP32(i_sti, "sti\n pushf\n pop %eax")
static void pvi_run(u32 flags, const char *code)
{
    struct ctx c = ctx_ring(3, code);
    c.eflags |= flags;
    trap_begin();
    ctx_run(&c);
}

static void pvi(void)
{
    if (!(cpuid(1, 0).d & 2)) {
        skip("PVI", "not offered");
        return;
    }
    write_cr4(read_cr4() | CR4_PVI);
    pvi_run(0, i_sti);
    check("PVI: STI at CPL 3, IOPL 0, sets VIF", last.f.vec == 0xFF && last.f.eflags & FL_VIF);
    check_eq("... not IF", last.f.eflags & FL_IF, 0);
    pvi_run(FL_VIF, i_cli);
    check("PVI: CLI clears VIF", last.f.vec == 0xFF && !(last.f.eflags & FL_VIF));
    pvi_run(FL_VIP, i_sti);
    check("PVI: STI with VIP set: #GP(0)", last.f.vec == GP && !last.f.err);
    pvi_run(FL_VIF, i_sti);
    check_eq("PVI: PUSHF shows IF, not VIF", last.f.eax & FL_IF, 0);
    struct ctx c = ctx_ring(1, i_sti);
    trap_begin();
    ctx_run(&c);
    check("PVI is for CPL 3 only", last.f.vec == GP);
    write_cr4(read_cr4() & ~(u32)CR4_PVI);
    pvi_run(0, i_sti);
    check("without PVI: #GP(0)", last.f.vec == GP);
}

int main(void)
{
    sensitive();
    flags();
    frames();
    privileged();
    vme();
    pvi();
    finish();
}

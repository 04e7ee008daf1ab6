/* gates - call, interrupt and trap gates of 16 and 32 bits, stack switches between all rings, far
 * returns, IRET, and what goes wrong on the way, double faults included. SDM volume 3A 5.8, 6.11-
 * 6.15. */
#include "guest/lib32/rt32.h"

enum { G0 = SEL_FREE, CONF = G0 + 8, S1 = CONF + 8, V = 0x40 };
enum { CALL32 = 0x8C, CALL16 = 0x84, INT32 = 0x8E, TRAP32 = 0x8F, INT16 = 0x86, TRAP16 = 0x87 };
static const u16 ring_cs[4] = {KCS, CS1, CS2, UCS}, ring_ss[4] = {KDS, DS1, DS2, UDS};

/* ---- call gates ---- */
SNIP32(c_call, "push $0x33333333\n push $0x22222222\n push $0x11111111\n mov %esp, %esi\n"
               "push %eax\n push $0\n lcall *(%esp)\n mov %esp, %edi\n mov %ss, %ebp")
SNIP32(c_jmp, "push %eax\n push $0\n ljmp *(%esp)")
/* the inner procedure: leaves what it finds in inner_frame, returns with RETF n */
u32 inner_frame[10], inner_cs, inner_ss, inner_esp;
asm(".text\n.global inner0, inner3, inner_imm\n"
    "inner_note: mov %cs, inner_cs\n mov %ss, inner_ss\n lea 4(%esp), %eax\n mov %eax, inner_esp\n"
    "push %ecx\n xor %ecx, %ecx\n 1: mov 8(%esp,%ecx,4), %eax\n mov %eax, inner_frame(,%ecx,4)\n"
    "inc %ecx\n cmp $10, %ecx\n jb 1b\n pop %ecx\n ret\n"
    "inner0: call inner_note\n lret\n"
    "inner3: call inner_note\n lret $12\n");
extern const char inner0[], inner3[];

static void set_gate(u16 sel, const char *fn, u8 access, u8 params)
{
    gdt_set(G0, gate_desc(sel, (u32)fn, access, params));
}

static void call_at(int ring, const char *code)
{
    struct ctx c = ctx_ring(ring, code);
    c.eax = G0 | 3;
    memset(inner_frame, 0, sizeof inner_frame);
    trap_begin();
    ctx_run(&c);
}

static void call_gates(void)
{
    u32 bad_cs = 0, bad_frame = 0, bad_back = 0, bad_jmp = 0, bad_dpl = 0;
    for (int cpl = 0; cpl < 4; cpl++) {
        for (int dpl = 0; dpl < 4; dpl++) {
            set_gate(ring_cs[dpl] & 0xFFFC, inner3, CALL32 | 3 << 5, 3);
            call_at(cpl, c_call);
            if (dpl > cpl) { /* less privileged code cannot be called */
                bad_dpl += last.f.vec != GP || last.f.err != (u32)(ring_cs[dpl] & 0xFFFC);
                continue;
            }
            bad_back += last.f.vec != 0xFF || last.f.cs != ring_cs[cpl];
            if (last.f.vec != 0xFF) continue;
            bad_cs += inner_cs != ring_cs[dpl] || inner_ss != ring_ss[dpl];
            bad_frame += inner_frame[1] != ring_cs[cpl];
            if (dpl < cpl) { /* two words of ours lie above the parameters: selector and offset */
                bad_frame += inner_frame[2] != 0 || inner_frame[3] != (G0 | 3);
                bad_frame += inner_frame[4] != 0x11111111 || inner_frame[6] != ring_ss[cpl];
                bad_frame += inner_frame[5] != last.f.esi - 8;
                bad_back += last.f.edi != last.f.esi + 4 || last.f.ebp != ring_ss[cpl];
            }
            set_gate(ring_cs[dpl] & 0xFFFC, c_jmp_end - 2, CALL32 | 3 << 5, 3);
            call_at(cpl, c_jmp);
            if (dpl < cpl)
                bad_jmp += last.f.vec != GP || last.f.err != (u32)(ring_cs[dpl] & 0xFFFC);
            else bad_jmp += last.f.vec != 0xFF || last.f.cs != ring_cs[cpl];
        }
    }
    check_eq("call gate to every ring: CS and SS", bad_cs, 0);
    check_eq("call gate: return address, parameters, old stack", bad_frame, 0);
    check_eq("RETF n drops the parameters on both stacks", bad_back, 0);
    check_eq("call gate to a less privileged ring: #GP(target)", bad_dpl, 0);
    check_eq("JMP through a gate keeps the ring", bad_jmp, 0);
    gdt_set(CONF, seg_desc(0, 0xFFFFF, 0x9F, 0xC0));
    set_gate(CONF, inner0, CALL32 | 3 << 5, 3);
    call_at(3, c_call);
    check("call gate to conforming code stays at CPL 3",
          last.f.vec == 0xFF && inner_cs == (CONF | 3) && inner_ss == UDS);
}

static void call_gates16(void)
{
    u32 d = (u32)inner0;
    gdt_set(S1, seg_desc(d & ~0xFFFu, 0xFFFFF, 0x9B, 0xC0)); /* the offset has 16 bits */
    gdt_set(G0, gate_desc(S1, d & 0xFFF, CALL16 | 3 << 5, 2));
    call_at(3, c_call);
    check("16-bit call gate: entered at CPL 0", inner_cs == S1 && inner_ss == KDS);
    check_eq("... return address of 16 bits, CS above it", inner_frame[0] >> 16, UCS);
    check_eq("... two parameters of 16 bits", inner_frame[1], 0);
    check_eq("... SP of 16 bits", inner_frame[2] & 0xFFFF, (last.f.esi - 8) & 0xFFFF);
    check_eq("... SS", inner_frame[2] >> 16, UDS);
}

static void call_gate_faults(void)
{
    set_gate(KCS, inner0, CALL32 | 2 << 5, 0);
    call_at(3, c_call);
    check_vec("#GP(gate): gate DPL 2 at CPL 3", GP, G0);
    set_gate(KCS, inner0, (CALL32 | 3 << 5) & 0x7F, 0);
    call_at(3, c_call);
    check_vec("#NP(gate): not present", NP, G0);
    set_gate(0, inner0, CALL32 | 3 << 5, 0);
    call_at(3, c_call);
    check_vec("#GP(0): null target", GP, 0);
    set_gate(KDS, inner0, CALL32 | 3 << 5, 0);
    call_at(3, c_call);
    check_vec("#GP(target): data", GP, KDS);
    set_gate(GDT_BYTES, inner0, CALL32 | 3 << 5, 0);
    call_at(3, c_call);
    check_vec("#GP(target): beyond the GDT", GP, GDT_BYTES);
    gdt_set(S1, seg_desc(0, 0xFFFFF, 0x1B, 0xC0));
    set_gate(S1, inner0, CALL32 | 3 << 5, 0);
    call_at(3, c_call);
    check_vec("#NP(target): not present", NP, S1);
    gdt_set(S1, seg_desc(0, 0xFF, 0x9B, 0x40));
    set_gate(S1, inner0, CALL32 | 3 << 5, 0);
    call_at(3, c_call);
    check_vec("#GP(0): offset beyond the limit", GP, 0);
    set_gate(KCS, inner0, CALL32 | 3 << 5, 0);
    /* the stack in the TSS; the fault itself comes at CPL 3, so it switches to ring 0, too: use
     * ring 1 for the gate */
    static const struct {
        u32 ss, vec, err;
        const char *name;
    } t[] = {{0, TS, 0, "#TS(0): null stack selector"},
             {DS2, TS, DS2 & 0xFFFC, "#TS(SS): RPL and DPL of the wrong ring"},
             {(DS1 & 0xFFFC) | 2, TS, DS1 & 0xFFFC, "#TS(SS): RPL of the wrong ring"},
             {CS1, TS, CS1 & 0xFFFC, "#TS(SS): code"},
             {GDT_BYTES | 1, TS, GDT_BYTES, "#TS(SS): beyond the GDT"},
             {S1 | 1, SS, S1, "#SS(SS): not present"}};
    gdt_set(S1, seg_desc(0, 0xFFFFF, 0x33, 0xC0));
    set_gate(CS1 & 0xFFFC, inner0, CALL32 | 3 << 5, 0);
    for (u32 k = 0; k < sizeof t / sizeof *t; k++) {
        tss.ss1 = t[k].ss;
        call_at(3, c_call);
        check_vec(t[k].name, t[k].vec, t[k].err);
    }
    gdt_set(S1, seg_desc((u32)inner_frame, 0x7, 0xB3, 0x40));
    tss.ss1 = S1 | 1, tss.esp1 = 8;
    call_at(3, c_call);
    check_vec("#SS(SS): the new stack is too small", SS, S1);
    tss_reload();
    gdt_set(SEL_TSS, seg_desc((u32)&tss, 0xB, 0x8B, 0)); /* ESP0 and SS0 only */
    gdt_access_set(SEL_TSS, 0x89);
    ltr(SEL_TSS);
    call_at(3, c_call);
    check_vec("#TS(TSS): no room for the ring's stack", TS, SEL_TSS);
    tss_reload();
}

/* ---- far return ---- */
SNIP32(r_ret, "push %ecx\n push %edx\n push %eax\n push $r_to\n lret\n r_to: nop")
static void far_returns(void)
{
    u32 bad = 0;
    for (int cpl = 0; cpl < 4; cpl++) {
        for (int to = 0; to < 4; to++) {
            struct ctx c = ctx_ring(cpl, r_ret), inner = ctx_ring(to, r_ret);
            c.eax = ring_cs[to], c.ecx = ring_ss[to], c.edx = inner.esp;
            trap_begin();
            ctx_run(&c);
            if (to < cpl) bad += last.f.vec != GP || last.f.err != (u32)(ring_cs[to] & 0xFFFC);
            else bad += last.f.vec != 0xFF || last.f.cs != ring_cs[to];
            if (to > cpl) bad += last.f.esp != inner.esp || last.f.ss != ring_ss[to];
        }
    }
    check_eq("RETF to every ring: outward yes, inward #GP(CS)", bad, 0);
    struct ctx c = ctx_ring(1, r_ret);
    c.eax = UCS, c.ecx = DS2, c.edx = 0x1000;
    trap_begin();
    ctx_run(&c);
    check_vec("#GP(SS): RETF outward, stack of another ring", GP, DS2 & 0xFFFC);
    c.ecx = 0;
    trap_begin();
    ctx_run(&c);
    check_vec("#GP(0): RETF outward, null stack", GP, 0);
    c.eax = KDS | 1;
    trap_begin();
    ctx_run(&c);
    check_vec("#GP(CS): RETF to data", GP, KDS);
    c.eax = 1;
    trap_begin();
    ctx_run(&c);
    check_vec("#GP(0): RETF to null", GP, 0);
    gdt_set(S1, seg_desc(0, 0xFFFFF, 0xFB & 0x7F, 0xC0));
    c.eax = S1 | 3;
    trap_begin();
    ctx_run(&c);
    check_vec("#NP(CS): RETF, not present", NP, S1);
    gdt_set(S1, seg_desc(0, 0xFFFFF, 0xDF, 0xC0)); /* conforming, DPL 2 */
    c = ctx_ring(3, r_ret);
    c.eax = S1 | 3;
    trap_begin();
    ctx_run(&c);
    check("RETF to conforming code, same ring", last.f.vec == 0xFF && last.f.cs == (S1 | 3));
}

/* ---- interrupt and trap gates ---- */
SNIP32(i_int, "int $0x40")
SNIP32(i_sti, "sti\n nop\n int $0x40")
u32 i_flags;
/* The common stubs serve 32-bit frames only; a 16-bit gate gets a handler of its own. */
asm(".text\n.global i_16\n i_16: mov %esp, inner_esp\n mov %cs, inner_cs\n push %eax\n"
    "movzwl 4(%esp), %eax\n mov %eax, inner_frame\n movzwl 6(%esp), %eax\n mov %eax, inner_frame + "
    "4\n"
    "movzwl 8(%esp), %eax\n mov %eax, inner_frame + 8\n movzwl 10(%esp), %eax\n"
    "mov %eax, inner_frame + 12\n movzwl 12(%esp), %eax\n mov %eax, inner_frame + 16\n pushf\n"
    "pop i_flags\n pop %eax\n iretw\n"
    ".global i_32\n i_32: push %eax\n mov %cs, inner_cs\n mov %ss, inner_ss\n pushf\n pop i_flags\n"
    "mov 4(%esp), %eax\n mov %eax, inner_frame\n mov 8(%esp), %eax\n mov %eax, inner_frame + 4\n"
    "mov 12(%esp), %eax\n mov %eax, inner_frame + 8\n pop %eax\n iretl\n");
extern const char i_16[], i_32[];

static void int_gates(void)
{
    u32 bad = 0, badss = 0, if_bad = 0, deny = 0;
    for (int cpl = 0; cpl < 4; cpl++) {
        for (int to = 0; to < 4; to++) {
            for (u32 trap = 0; trap < 2; trap++) {
                idt_set(V, gate_desc(ring_cs[to] & 0xFFFC, (u32)i_32, (u8)((INT32 + trap) | 3 << 5),
                                     0));
                struct ctx c = ctx_ring(cpl, i_int);
                c.eflags |= FL_IF | FL_IOPL;
                trap_begin();
                ctx_run(&c);
                if (to > cpl) {
                    deny += last.f.vec != GP || last.f.err != (u32)(ring_cs[to] & 0xFFFC);
                    continue;
                }
                bad += last.f.vec != 0xFF || inner_cs != ring_cs[to];
                bad += inner_frame[1] != ring_cs[cpl] || inner_frame[0] != (u32)i_int + 2;
                bad += !(inner_frame[2] & FL_IF);
                badss += inner_ss != ring_ss[to];
                if_bad += !!(i_flags & FL_IF) != trap || i_flags & FL_TF;
            }
        }
    }
    check_eq("INT n from every ring to every inner one", bad, 0);
    check_eq("... on the ring's stack", badss, 0);
    check_eq("... interrupt gates clear IF, trap gates keep it", if_bad, 0);
    check_eq("... to an outer ring: #GP(CS)", deny, 0);
    gdt_set(CONF, seg_desc(0, 0xFFFFF, 0x9F, 0xC0));
    idt_set(V, gate_desc(CONF, (u32)i_32, INT32 | 3 << 5, 0));
    ring_run(3, i_int);
    check("INT n to conforming code stays at CPL 3", last.f.vec == 0xFF && inner_cs == (CONF | 3));
    gdt_set(S1, seg_desc((u32)i_16, 0xFFFFF, 0x9B, 0xC0));
    idt_set(V, gate_desc(S1, 0, INT16 | 3 << 5, 0));
    gdt_set(G0, seg_desc((u32)i_int, 0xFFF, 0xFB, 0x40));
    struct ctx c = ctx_ring(3, NULL);
    c.cs = G0 | 3, c.esp = 0xF00, c.eip = 0;
    gdt_set(S1 + 8, seg_desc((u32)pages_alloc(1), 0xFFF, 0xF3, 0x40));
    c.ss = (S1 + 8) | 3;
    trap_begin();
    ctx_run(&c);
    check("16-bit gate: back again",
          last.f.vec == 0xFF && last.f.eip == 4 && last.f.cs == (G0 | 3));
    check("... IP, CS, FLAGS, SP, SS of 16 bits",
          inner_frame[0] == 2 && inner_frame[1] == (G0 | 3) && (inner_frame[2] & 2) &&
              inner_frame[3] == 0xF00 && inner_frame[4] == ((S1 + 8) | 3));
    check_eq("... IF is clear", i_flags & FL_IF, 0);
    idt_default(V);
}

static void int_gate_faults(void)
{
    static const struct {
        u16 sel;
        u8 access;
        u32 vec, err;
        const char *name;
    } t[] = {{KCS, INT32, GP, V * 8 + IDT_BIT, "#GP(IDT): gate DPL 0 at CPL 3"},
             {KCS, (INT32 | 3 << 5) & 0x7F, NP, V * 8 + IDT_BIT, "#NP(IDT): not present"},
             {KCS, CALL32 | 3 << 5, GP, V * 8 + IDT_BIT, "#GP(IDT): a call gate"},
             {KCS, 0x9B, GP, V * 8 + IDT_BIT, "#GP(IDT): not a gate"},
             {0, INT32 | 3 << 5, GP, 0, "#GP(0): null"},
             {KDS, INT32 | 3 << 5, GP, KDS, "#GP(CS): data"},
             {S1, INT32 | 3 << 5, NP, S1, "#NP(CS): not present"}};
    gdt_set(S1, seg_desc(0, 0xFFFFF, 0x1B, 0xC0));
    for (u32 k = 0; k < sizeof t / sizeof *t; k++) {
        idt_set(V, gate_desc(t[k].sel, (u32)i_32, t[k].access, 0));
        ring_run(3, i_int);
        check_vec(t[k].name, t[k].vec, t[k].err);
        check_eq("... at the INT", last.f.eip, (u32)i_int);
    }
    gdt_set(S1, seg_desc(0, 0x10, 0x9B, 0x40));
    idt_set(V, gate_desc(S1, (u32)i_32, INT32 | 3 << 5, 0));
    ring_run(3, i_int);
    check_vec("#GP(0): handler beyond the limit", GP, 0);
    idt_set(V, gate_desc(CS1 & 0xFFFC, (u32)i_32, INT32 | 3 << 5, 0));
    tss.ss1 = 0;
    ring_run(3, i_int);
    check_vec("#TS(0): INT n, null inner stack", TS, 0);
    tss.ss1 = KDS | 1;
    ring_run(3, i_int);
    check_vec("#TS(SS): INT n, inner stack of another ring", TS, KDS);
    tss_reload();
    const struct dtr small = {V * 8 + 6, (u32)idt}, full = {sizeof idt - 1, (u32)idt};
    lidt(&small);
    ATTEMPT("int $0x40", ::: "memory");
    lidt(&full);
    check_trap("#GP(IDT): beyond the limit", GP, V * 8 + IDT_BIT);
    idt_default(V);
}

SNIP32(s_int3, "int3")
SNIP32(s_into, "mov $0x7f, %al\n inc %al\n into")
SNIP32(s_int1, ".byte 0xF1")
SNIP32(s_bound, "push $1\n push $0\n mov $2, %eax\n bound %eax, (%esp)")
SNIP32(s_ud, "ud2")
SNIP32(s_hlt, "hlt")
static void soft(void)
{
    ring_run(3, s_int3);
    check_vec("INT3 needs the gate's DPL", GP, BP * 8 + IDT_BIT);
    ring_run(3, s_into);
    check_vec("INTO needs the gate's DPL", GP, OF * 8 + IDT_BIT);
    ring_run(3, s_int1);
    check("INT1 does not, and is a trap", last.f.vec == DB && last.f.eip == (u32)s_int1 + 1);
    ring_run(3, s_bound);
    check("BOUND does not, and is a fault", last.f.vec == BR && last.f.eip == (u32)s_bound_end - 5);
    idt_dpl(BP, 3), idt_dpl(OF, 3);
    ring_run(3, s_int3);
    check("INT3: EIP behind it", last.f.vec == BP && last.f.eip == (u32)s_int3 + 1);
    ring_run(3, s_into);
    check("INTO: EIP behind it", last.f.vec == OF && last.f.eip == (u32)s_into_end - 2);
    idt_default(BP), idt_default(OF);
    idt_set(UD, gate_desc(KCS, 0, INT32 & 0x7F, 0));
    ring_run(3, s_ud);
    check_vec("#NP(IDT | EXT): delivering #UD", NP, UD * 8 + IDT_BIT + EXT);
    idt_default(UD);
    ring_run(3, s_hlt);
    check_vec("#GP(0) HLT at CPL 3", GP, 0);
}

/* ---- faults during delivery, through the rescue task ---- */
static void double_faults(void)
{
    idt_rescue(DF);
    idt_set(GP, gate_desc(KCS, 0, INT32 & 0x7F, 0));
    ATTEMPT("mov %%eax, %%gs", ::"a"(GDT_BYTES) : "memory");
    check_trap("#NP while delivering #GP: #DF(0)", DF, 0);
    idt_default(GP);
    idt_set(DE, gate_desc(KDS, 0, INT32, 0));
    ATTEMPT("div %%ecx", ::"a"(1), "c"(0), "d"(0) : "cc");
    check_trap("#GP while delivering #DE: #DF(0)", DF, 0);
    idt_default(DE);
    idt_set(UD, gate_desc(KDS, 0, INT32, 0));
    ATTEMPT("ud2", ::: "memory");
    check_trap("#GP while delivering #UD: #GP", GP, KDS | EXT);
    idt_default(UD);
    gdt_set(S1, seg_desc((u32)inner_frame, 7, 0x93, 0x40));
    ATTEMPT2("mov %0, %%ss\n mov $0, %%esp", "ud2", ::"r"(S1) : "memory");
    check("#SS while pushing #UD's frame, and again for #SS: #DF",
          last.f.vec == DF && !last.f.err && last.task);
    /* at CPL 3 with a broken ring-0 stack: #TS, whose delivery breaks the same way */
    tss.ss0 = UDS;
    ring_run(3, s_ud);
    tss.ss0 = KDS;
    check("#TS for the inner stack, twice: #DF", last.f.vec == DF && !last.f.err && last.task);
    check_eq("... seen from CPL 3", last.f.cs, UCS);
    idt_default(DF);
    tss_reload();
}

/* ---- IRET ---- */
SNIP32(e_iret, "push %ecx\n push %edx\n push %ebx\n push %eax\n push $e_to\n iretl\n"
               ".global e_to\n e_to: pushf\n pop %edx")
static struct ctx iret_ctx(int cpl, int to, u32 flags)
{
    struct ctx c = ctx_ring(cpl, e_iret), inner = ctx_ring(to, e_iret);
    c.eax = ring_cs[to], c.ecx = ring_ss[to], c.edx = inner.esp, c.ebx = flags;
    return c;
}

static void irets(void)
{
    u32 bad = 0, flags_bad = 0;
    for (int cpl = 0; cpl < 4; cpl++) {
        for (int to = 0; to < 4; to++) {
            struct ctx c = iret_ctx(cpl, to, 0x200EC7);
            trap_begin();
            ctx_run(&c);
            if (to < cpl) {
                bad += last.f.vec != GP || last.f.err != (u32)(ring_cs[to] & 0xFFFC);
                continue;
            }
            bad += last.f.vec != 0xFF || last.f.cs != ring_cs[to];
            if (to > cpl) bad += last.f.esp != c.edx || last.f.ss != ring_ss[to];
            u32 want = 0x200CC7 | (cpl == 0 ? FL_IF : 0); /* IOPL is 0 */
            flags_bad += (last.f.edx & 0x3F7FD7) != want;
        }
    }
    check_eq("IRET to every ring: outward yes, inward #GP(CS)", bad, 0);
    check_eq("IRET changes IF only with CPL <= IOPL", flags_bad, 0);
    struct ctx c = iret_ctx(1, 3, 2 | FL_IOPL);
    trap_begin();
    ctx_run(&c);
    check_eq("IRET at CPL 1 keeps IOPL", last.f.edx & FL_IOPL, 0);
    c = iret_ctx(0, 3, 2 | FL_IOPL);
    trap_begin();
    ctx_run(&c);
    check_eq("IRET at CPL 0 loads IOPL", last.f.edx & FL_IOPL, FL_IOPL);
    c = iret_ctx(0, 3, 2);
    c.ecx = KDS;
    trap_begin();
    ctx_run(&c);
    check_vec("#GP(SS): IRET outward, inner stack", GP, KDS);
    c.ecx = 0;
    trap_begin();
    ctx_run(&c);
    check_vec("#GP(0): IRET outward, null stack", GP, 0);
    c = iret_ctx(1, 1, 2 | FL_VM);
    trap_begin();
    ctx_run(&c);
    check("IRET at CPL 1 ignores VM in the image", last.f.vec == 0xFF && !(last.f.eflags & FL_VM));
}

/* ---- POPF and CLI/STI at every CPL and IOPL ---- */
SNIP32(f_popf, "pushl $0x3202\n popf\n pushf\n pop %eax")
SNIP32(f_popfw, "pushw $0x3202\n popfw\n pushf\n pop %eax")
SNIP32(f_cli, "cli")
SNIP32(f_sti, "sti\n nop\n cli")
SNIP32(f_in, "in $0x80, %al")
static void iopl(void)
{
    u32 popf_bad = 0, cli_bad = 0, io_bad = 0;
    for (int cpl = 0; cpl < 4; cpl++) {
        for (u32 level = 0; level < 4; level++) {
            const char *popf[2] = {f_popf, f_popfw}, *set[2] = {f_cli, f_sti};
            bool may = (u32)cpl <= level;
            for (int k = 0; k < 2; k++) {
                struct ctx c = ctx_ring(cpl, popf[k]);
                c.eflags |= level << 12;
                trap_begin();
                ctx_run(&c);
                u32 want = (cpl == 0 ? 0x3000 : level << 12) | (may ? FL_IF : 0);
                popf_bad += last.f.vec != 0xFF || (last.f.eax & 0x3200) != want;
                c = ctx_ring(cpl, set[k]);
                c.eflags |= level << 12;
                trap_begin();
                ctx_run(&c);
                cli_bad += may ? last.f.vec != 0xFF : last.f.vec != GP || last.f.err;
            }
            struct ctx c = ctx_ring(cpl, f_in);
            c.eflags |= level << 12;
            trap_begin();
            ctx_run(&c);
            io_bad += may ? last.f.vec != 0xFF : last.f.vec != GP || last.f.err;
        }
    }
    check_eq("POPF: IF with CPL <= IOPL, IOPL at CPL 0", popf_bad, 0);
    check_eq("CLI and STI with CPL <= IOPL", cli_bad, 0);
    check_eq("IN with CPL <= IOPL, all ports denied by the bitmap", io_bad, 0);
}

/* ---- the I/O permission bitmap ---- */
SNIP32(b_in1, "in %dx, %al")
SNIP32(b_in2, "in %dx, %ax")
SNIP32(b_in4, "in %dx, %eax")
SNIP32(b_out1, "out %al, %dx")
SNIP32(b_ins, "mov %esp, %edi\n sub $16, %edi\n insb")
SNIP32(b_outs, "mov %esp, %esi\n outsb")
static bool port_allowed(const char *code, u16 port)
{
    struct ctx c = ctx_ring(3, code);
    c.edx = port;
    trap_begin();
    ctx_run(&c);
    return last.f.vec == 0xFF;
}

static void bitmap(void)
{
    static const char *const code[] = {b_in1, b_in2, b_in4, b_out1, b_ins, b_outs};
    static const u8 width[] = {1, 2, 4, 1, 1, 1};
    u32 bad = 0;
    for (u16 port = 0xE0; port < 0xF0; port++) {
        if (port == 0xE9) continue;
        for (u32 k = 0; k < 6; k++) {
            memset(tss.bitmap, 0xFF, sizeof tss.bitmap);
            for (u16 p = port; p < port + width[k]; p++) tss.bitmap[p / 8] &= (u8) ~(1u << p % 8);
            bad += !port_allowed(code[k], port);
            for (u16 p = port; p < port + width[k]; p++) {
                tss.bitmap[p / 8] |= (u8)(1u << p % 8);
                bad += port_allowed(code[k], port);
                tss.bitmap[p / 8] &= (u8) ~(1u << p % 8);
            }
        }
    }
    check_eq("I/O bitmap: every bit of the access must be clear", bad, 0);
    memset(tss.bitmap, 0, sizeof tss.bitmap);
    tss.bitmap[8192] = 0xFF;
    check("port FFFF, byte", port_allowed(b_in1, 0xFFFF));
    check("port FFFF, word: the byte after the bitmap counts", !port_allowed(b_in2, 0xFFFF));
    u16 map = tss.iomap;
    tss.iomap = sizeof tss;
    check("a bitmap beyond the limit allows nothing", !port_allowed(b_in1, 0xE0));
    tss.iomap = map;
    write_flags(2);
    gdt_set(SEL_TSS, seg_desc((u32)&tss, (u32)map + 0xE0 / 8, 0x89, 0));
    ltr(SEL_TSS);
    check("a bitmap cut off by the limit: the two bytes read must be inside",
          !port_allowed(b_in1, 0xE0));
    check("... ports below are free", port_allowed(b_in1, 0xD7));
    tss_reload();
    memset(tss.bitmap, 0xFF, sizeof tss.bitmap);
}

int main(void)
{
    call_gates();
    call_gates16();
    call_gate_faults();
    far_returns();
    int_gates();
    int_gate_faults();
    soft();
    double_faults();
    irets();
    iopl();
    bitmap();
    finish();
}

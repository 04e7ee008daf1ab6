/* segments - protected-mode segmentation: limits, expand-down, types, null selectors, privilege of
 * data, stack and code segments at every CPL, RPL and DPL, LDT, accessed bits, and what LAR, LSL,
 * VERR, VERW and ARPL say. SDM volume 3A chapters 3 and 5. */
#include "guest/lib32/rt32.h"

enum { S0 = SEL_FREE, S1 = S0 + 8, S2 = S1 + 8, S3 = S2 + 8 };
enum { DATA = 0x93, DATA_RO = 0x91, DOWN = 0x97, CODE = 0x9B, CODE_X = 0x99, CONF = 0x9F };
static u8 area[0x20000] __attribute__((aligned(16)));

/* ---- limits ---- */
/* Is an access of @bytes at @off inside? what the manual says, in one line each */
static bool inside(u32 limit, bool down, bool big, u32 off, u32 bytes)
{
    u64 end = (u64)off + bytes - 1;
    if (!down) return end <= limit;
    return off > limit && end <= (big ? 0xFFFFFFFFull : 0xFFFF);
}

static bool access_at(u32 off, u32 bytes, bool write)
{
    switch (bytes << 1 | write) {
    case 2: ATTEMPT("movb %%es:(%0), %%al", ::"r"(off) : "eax", "memory"); break;
    case 3: ATTEMPT("movb %%al, %%es:(%0)", ::"r"(off) : "memory"); break;
    case 4: ATTEMPT("movw %%es:(%0), %%ax", ::"r"(off) : "eax", "memory"); break;
    case 5: ATTEMPT("movw %%ax, %%es:(%0)", ::"r"(off) : "memory"); break;
    case 8: ATTEMPT("movl %%es:(%0), %%eax", ::"r"(off) : "eax", "memory"); break;
    case 9: ATTEMPT("movl %%eax, %%es:(%0)", ::"r"(off) : "memory"); break;
    case 16: ATTEMPT("bound %%eax, %%es:(%1)", ::"a"(0x7FFFFFFF), "r"(off) : "memory"); break;
    default: break;
    }
    return last.f.vec != GP;
}

static void limit_case(const char *name, u32 limit_field, u8 access, u8 flags, u32 limit)
{
    bool down = (access & 0xC) == 4, big = flags & 0x40;
    u32 bad = 0;
    memset(area, 0, sizeof area);
    for (s32 d = -9; d <= 9; d++) {
        for (u32 bytes = 1; bytes <= 8; bytes *= 2) {
            for (u32 w = 0; w < (bytes == 8 ? 1 : 2); w++) {
                gdt_set(S0, seg_desc((u32)area, limit_field, access, flags));
                asm volatile("mov %0, %%es" ::"r"(S0));
                u32 off = limit + (u32)d;
                if (off > sizeof area - 8) continue;
                bool got = access_at(off, bytes, w), want = inside(limit, down, big, off, bytes);
                if (got != want) bad++;
                if (!got && (last.f.err || last.f.eip != trap_at)) bad++;
            }
        }
    }
    asm volatile("mov %0, %%es" ::"r"(KDS));
    check_eq(name, bad, 0);
}

static void limits(void)
{
    limit_case("limit, byte granular", 0x123, DATA, 0x40, 0x123);
    limit_case("limit, byte granular, 16-bit segment", 0x123, DATA, 0, 0x123);
    limit_case("limit, page granular", 1, DATA, 0xC0, 0x1FFF);
    limit_case("limit 0: one byte", 0, DATA, 0x40, 0);
    limit_case("expand-down, 32 bits", 0x123, DOWN, 0x40, 0x123);
    limit_case("expand-down, 16 bits", 0x123, DOWN, 0, 0x123);
    limit_case("expand-down, page granular", 1, DOWN, 0xC0, 0x1FFF);
    limit_case("expand-down, 16 bits, the upper end", 0x100, DOWN, 0, 0x100);
    gdt_set(S0, seg_desc((u32)area, 0x100, DOWN, 0));
    asm volatile("mov %0, %%es" ::"r"(S0));
    ATTEMPT("movb %%es:0xFFFF, %%al", ::: "eax");
    check_none("expand-down, 16 bits: FFFF is inside");
    ATTEMPT("movb %%es:0x10000, %%al", ::: "eax");
    check_trap("expand-down, 16 bits: 10000 is outside", GP, 0);
    asm volatile("mov %0, %%es" ::"r"(S0));
    ATTEMPT("movw %%es:0xFFFF, %%ax", ::: "eax");
    check_trap("expand-down, 16 bits: a word at FFFF is outside", GP, 0);
    gdt_set(S0, seg_desc((u32)area, 0xFFFFF, DATA, 0xC0));
    asm volatile("mov %0, %%es" ::"r"(S0));
    ATTEMPT("movb %%es:0xFFFFFFFF, %%al", ::: "eax");
    check_none("4 GiB segment: the last byte wraps to base - 1");
    ATTEMPT("movl %%es:0xFFFFFFFE, %%eax", ::: "eax");
    bool none = last.f.vec == NO_TRAP, gp = last.f.vec == GP && !last.f.err;
    check("4 GiB segment: an access across the end faults or wraps", none || gp);
    asm volatile("mov %0, %%es" ::"r"(KDS));
}

/* ---- stack segments ---- */
static void stacks(void)
{
    gdt_set(S0, seg_desc((u32)area, 0xFFF, DATA, 0x40));
    asm volatile("mov %0, %%es" ::"r"(S0));
    ATTEMPT("movb %%es:0x1000, %%al", ::: "eax");
    asm volatile("mov %0, %%es" ::"r"(KDS));
    if (last.f.vec != GP) {
        skip("stack segments", "no limit checks here: the tests would run into their own stacks");
        return;
    }
    idt_rescue(SS); /* the frame itself would not fit */
    ATTEMPT2("mov %0, %%ss\n mov $2, %%esp", "push %%eax", ::"r"(S0) : "memory");
    check_trap("PUSH below the segment's start wraps: #SS", SS, 0);
    ATTEMPT2("mov %0, %%ss\n mov $0xFFE, %%esp", "pop %%eax", ::"r"(S0) : "eax", "memory");
    check_trap("POP across the limit: #SS", SS, 0);
    check_eq("ESP is unchanged", last.f.esp, 0xFFE);
    ATTEMPT2("mov %0, %%ss\n mov $0x10, %%esp", "pusha", ::"r"(S0) : "memory");
    check_trap("PUSHA half outside: #SS", SS, 0);
    check_eq("ESP is unchanged", last.f.esp, 0x10);
    ATTEMPT2("mov %0, %%ss\n mov $0xFF0, %%esp", "popa", ::"r"(S0) : "memory");
    check_trap("POPA half outside: #SS", SS, 0);
    check_eq("ESP is unchanged", last.f.esp, 0xFF0);
    ATTEMPT2("mov %0, %%ss\n mov $2, %%esp", "call 1f\n 1:", ::"r"(S0) : "memory");
    check_trap("CALL without room: #SS at the CALL", SS, 0);
    ATTEMPT2("mov %0, %%ss\n mov $0x1000, %%ebp", "movb (%%ebp), %%al\n mov $0, %%ebp", ::"r"(S0)
             : "eax", "memory");
    check_trap("EBP addresses the stack segment: #SS", SS, 0);
    ATTEMPT2("mov %0, %%ss\n mov $0x1000, %%esp", "enter $0x2000, $0", ::"r"(S0) : "memory");
    u32 vec = last.f.vec;
    check("ENTER that leaves the stack outside: #SS", vec == SS && last.f.eip == trap_at);
    asm volatile("" ::: "memory");
    gdt_set(S1, seg_desc((u32)area, 0xFFFF, DATA, 0)); /* 16-bit stack */
    ATTEMPT2("mov %%esp, %%ebx\n mov %%ss, %%ecx\n mov %1, %%ss\n mov $0x50002, %%esp\n push %%ax\n"
             "mov %%esp, %0\n mov %%ecx, %%ss\n mov %%ebx, %%esp",
             "nop",
             : "=&a"(vec)
             : "r"(S1)
             : "ebx", "ecx", "memory");
    check_eq("16-bit stack: PUSH changes SP only", vec, 0x50000);
    ATTEMPT2("mov %%esp, %%ebx\n mov %%ss, %%ecx\n mov %1, %%ss\n xor %%esp, %%esp\n push %%ecx\n"
             "mov %%esp, %0\n mov %%ecx, %%ss\n mov %%ebx, %%esp",
             "nop",
             : "=&a"(vec)
             : "r"(S1)
             : "ebx", "ecx", "memory");
    check_eq("16-bit stack: PUSH at SP = 0 wraps to FFFC", vec, 0xFFFC);
    check_eq("and stores there", RD(u32, area + 0xFFFC), KDS);
    ATTEMPT2("mov %0, %%ss\n mov $2, %%esp", "push %%eax", ::"r"(S1) : "memory");
    check_trap("16-bit stack: a dword across FFFF: #SS", SS, 0);
    gdt_set(S2, seg_desc((u32)area, 0x7FF, DOWN, 0x40));
    ATTEMPT2("mov %0, %%ss\n mov $0x802, %%esp", "push %%eax", ::"r"(S2) : "memory");
    check_trap("expand-down stack runs out: #SS", SS, 0);
    ATTEMPT2("mov %%esp, %%ebx\n mov %%ss, %%ecx\n mov %1, %%ss\n mov $0x804, %%esp\n push %%eax\n"
             "mov %%esp, %0\n mov %%ecx, %%ss\n mov %%ebx, %%esp",
             "nop",
             : "=&a"(vec)
             : "r"(S2)
             : "ebx", "ecx", "memory");
    check_eq("expand-down stack: the last element fits", vec, 0x800);
    idt_default(SS);
}

/* ---- types ---- */
SNIP32(x_read, "mov %cs:0x100000, %eax")
static void types(void)
{
    static const struct {
        u8 access;
        bool read, write;
        const char *name;
    } t[] = {{DATA_RO, true, false, "read-only data"},
             {DATA, true, true, "writable data"},
             {CODE, true, false, "readable code"},
             {CONF, true, false, "conforming code"},
             {0x95, true, false, "read-only expand-down"}};
    for (u32 k = 0; k < sizeof t / sizeof *t; k++) {
        gdt_set(S0, seg_desc((u32)area - 0x1000, 0xFFF, t[k].access & ~1u, 0x40));
        if ((t[k].access & 0xC) != 4)
            gdt_set(S0, seg_desc((u32)area, 0x1FFF, t[k].access & ~1u, 0x40));
        asm volatile("mov %0, %%fs" ::"r"(S0));
        check_eq("the accessed bit is set by a load", gdt_access(S0), t[k].access | 1);
        ATTEMPT("mov %%fs:0x1000, %%eax", ::: "eax");
        check(t[k].name, (last.f.vec == NO_TRAP) == t[k].read);
        ATTEMPT("mov %%eax, %%fs:0x1000", ::: "memory");
        check(t[k].name, t[k].write ? last.f.vec == NO_TRAP
                                    : last.f.vec == GP && !last.f.err && last.f.eip == trap_at);
    }
    ATTEMPT("movl $0, %%cs:area", ::: "memory");
    check_trap("#GP store through CS", GP, 0);
    gdt_set(S0, seg_desc(0, 0xFFFFF, CODE_X, 0xC0));
    struct ctx c = ctx_ring(0, NULL);
    c.eip = (u32)x_read, c.cs = S0;
    trap_begin();
    ctx_run(&c);
    check("#GP reading execute-only code through CS",
          last.f.vec == GP && !last.f.err && last.f.eip == (u32)x_read);
    for (u8 type = 0; type < 16; type++) {
        gdt_set(S0, seg_desc((u32)area, 0xFFF, 0x80 | type, 0));
        ATTEMPT("mov %%eax, %%es", ::"a"(S0) : "memory");
        check_trap("#GP(sel) loading a system descriptor", GP, S0);
    }
    asm volatile("mov %0, %%es\n mov %0, %%fs" ::"r"(KDS));
}

/* ---- null and bad selectors ---- */
static void selectors(void)
{
    for (u32 sel = 0; sel < 4; sel++) {
        ATTEMPT("mov %%eax, %%es", ::"a"(sel) : "memory");
        check_none("a null selector loads into ES");
        ATTEMPT("mov %%es:area, %%eax", ::: "eax");
        check_trap("#GP(0) read through null", GP, 0);
        asm volatile("mov %0, %%es" ::"r"(sel));
        ATTEMPT("mov %%eax, %%es:area", ::: "memory");
        check_trap("#GP(0) write through null", GP, 0);
        ATTEMPT("mov %%eax, %%ss", ::"a"(sel) : "memory");
        check_trap("#GP(0) null into SS", GP, 0);
    }
    asm volatile("mov %0, %%es" ::"r"(0));
    ATTEMPT("stosb", ::"D"(area) : "memory");
    check_trap("#GP(0) STOSB through null ES", GP, 0);
    asm volatile("mov %0, %%es" ::"r"(KDS));
    ATTEMPT("mov %%eax, %%gs", ::"a"(GDT_BYTES) : "memory");
    check_trap("#GP(sel) beyond the GDT", GP, GDT_BYTES);
    ATTEMPT("mov %%eax, %%gs", ::"a"(GDT_BYTES + 3) : "memory");
    check_trap("#GP error code without RPL", GP, GDT_BYTES);
    ATTEMPT("mov %%eax, %%gs", ::"a"(7) : "memory");
    check_trap("#GP(sel | TI) with no LDT", GP, 4);
    gdt_set(S0, seg_desc((u32)area, 0xFFF, DATA & 0x7F, 0x40));
    ATTEMPT("mov %%eax, %%gs", ::"a"(S0) : "memory");
    check_trap("#NP(sel) not present", NP, S0);
    ATTEMPT("mov %%eax, %%ss", ::"a"(S0) : "memory");
    check_trap("#SS(sel) not present into SS", SS, S0);
    ATTEMPT("push %%eax\n pop %%gs", ::"a"(S0) : "memory");
    check("#NP POP GS", last.f.vec == NP && last.f.err == S0);
    static const struct {
        u32 off;
        u16 sel;
    } far = {0x1234, S0};
    ATTEMPT("lgs %0, %%eax", ::"m"(far) : "eax");
    check_trap("#NP LGS", NP, S0);
    check_eq("LGS that faults leaves the register", last.f.eax == 0x1234, 0);
    ATTEMPT("lss %0, %%eax", ::"m"(far) : "eax");
    check_trap("#SS LSS", SS, S0);
    /* the LDT */
    ldt[1] = seg_desc((u32)area, 0xFFF, DATA, 0x40);
    lldt(SEL_LDT);
    area[5] = 0x5A;
    u32 v = 0;
    asm volatile("mov %1, %%gs\n movzbl %%gs:5, %0" : "=r"(v) : "r"(8 | 4));
    check_eq("a segment of the LDT", v, 0x5A);
    ATTEMPT("mov %%eax, %%gs", ::"a"(sizeof ldt | 4) : "memory");
    check_trap("#GP beyond the LDT", GP, sizeof ldt | 4);
    asm volatile("mov %0, %%gs" ::"r"(KDS));
    ATTEMPT("lldt %%ax", ::"a"(12) : "memory");
    check_trap("#GP LLDT from the LDT", GP, 12);
    ATTEMPT("lldt %%ax", ::"a"(KDS) : "memory");
    check_trap("#GP LLDT of data", GP, KDS);
    gdt_set(S1, seg_desc((u32)ldt, 0x7F, 0x02, 0));
    ATTEMPT("lldt %%ax", ::"a"(S1) : "memory");
    check_trap("#NP LLDT not present", NP, S1);
    lldt(0);
    ATTEMPT("mov %%eax, %%gs", ::"a"(12) : "memory");
    check_trap("#GP LDT selector after LLDT 0", GP, 12);
}

/* ---- privilege: every CPL, RPL, DPL ---- */
SNIP32(p_ds, "mov %eax, %gs")
SNIP32(p_ss, "mov %eax, %ss\n mov %ecx, %ss")
SNIP32(p_lar, "lar %eax, %ebx\n setz %cl\n lsl %eax, %edx\n setz %ch")
SNIP32(p_ver, "verr %ax\n setz %cl\n verw %ax\n setz %ch")
SNIP32(p_jmp, "push %eax\n push $p_jmp_to\n ljmp *(%esp)\n.global p_jmp_to\np_jmp_to: add $8, %esp")
SNIP32(p_call, "push %eax\n push $p_call_to\n lcall *(%esp)\n jmp 1f\n"
               ".global p_call_to\np_call_to: mov %cs, %ebx\n lret\n 1: add $8, %esp")

static struct ctx at_ring(int ring, const char *code, u32 eax)
{
    struct ctx c = ctx_ring(ring, code);
    c.eax = eax;
    c.ecx = c.ss;
    trap_begin();
    ctx_run(&c);
    return c;
}

static void privileges(void)
{
    u32 data = 0, conf = 0, ro = 0, stack = 0, xonly = 0, lar = 0, ver = 0;
    for (int cpl = 0; cpl < 4; cpl++) {
        for (u32 rpl = 0; rpl < 4; rpl++) {
            for (u32 dpl = 0; dpl < 4; dpl++) {
                u32 sel = S0 | rpl, weakest = rpl > (u32)cpl ? rpl : (u32)cpl;
                gdt_set(S0, seg_desc(0, 0xFFFFF, (u8)(DATA | dpl << 5), 0xC0));
                at_ring(cpl, p_ds, sel);
                bool ok = last.f.vec == 0xFF;
                data += ok != (dpl >= weakest) || (!ok && (last.f.vec != GP || last.f.err != S0));
                at_ring(cpl, p_ss, sel);
                ok = last.f.vec == 0xFF;
                stack += ok != (dpl == (u32)cpl && rpl == (u32)cpl);
                stack += !ok && (last.f.vec != GP || last.f.err != S0);
                at_ring(cpl, p_lar, sel);
                bool seen = last.f.ecx & 1;
                lar += seen != (dpl >= weakest) || (last.f.ecx >> 8 & 1) != seen;
                lar += seen && (last.f.ebx != (u32)(0xCF9300 | dpl << 13) || last.f.edx != ~0u);
                at_ring(cpl, p_ver, sel);
                ver += (last.f.ecx & 0x101) != (dpl >= weakest ? 0x101u : 0);
                gdt_set(S0, seg_desc(0, 0xFFFFF, (u8)(DATA_RO | dpl << 5), 0xC0));
                at_ring(cpl, p_ver, sel);
                ver += (last.f.ecx & 0x101) != (dpl >= weakest);
                at_ring(cpl, p_ss, sel);
                ro += last.f.vec != GP || last.f.err != S0;
                gdt_set(S0, seg_desc(0, 0xFFFFF, (u8)(CONF | dpl << 5), 0xC0));
                at_ring(cpl, p_ds, sel);
                conf += last.f.vec != 0xFF;
                at_ring(cpl, p_ver, sel);
                ver += (last.f.ecx & 0x101) != 1;
                gdt_set(S0, seg_desc(0, 0xFFFFF, (u8)(CODE_X | dpl << 5), 0xC0));
                at_ring(cpl, p_ds, sel);
                xonly += last.f.vec != GP || last.f.err != S0;
                at_ring(cpl, p_ver, sel);
                ver += (last.f.ecx & 0x101) != 0;
            }
        }
    }
    check_eq("data segments: DPL >= max(CPL, RPL)", data, 0);
    check_eq("stack segments: DPL = RPL = CPL", stack, 0);
    check_eq("stack segments: writable", ro, 0);
    check_eq("conforming code loads into GS at any privilege", conf, 0);
    check_eq("execute-only code never does", xonly, 0);
    check_eq("LAR and LSL", lar, 0);
    check_eq("VERR and VERW", ver, 0);
}

static void code_privileges(void)
{
    u32 plain = 0, conf = 0, back = 0;
    for (int cpl = 0; cpl < 4; cpl++) {
        for (u32 rpl = 0; rpl < 4; rpl++) {
            for (u32 dpl = 0; dpl < 4; dpl++) {
                for (int call = 0; call < 2; call++) {
                    const char *code = call ? p_call : p_jmp;
                    gdt_set(S0, seg_desc(0, 0xFFFFF, (u8)(CODE | dpl << 5), 0xC0));
                    at_ring(cpl, code, S0 | rpl);
                    bool ok = last.f.vec == 0xFF;
                    plain += ok != (dpl == (u32)cpl && rpl <= (u32)cpl);
                    plain += !ok && (last.f.vec != GP || last.f.err != S0);
                    if (ok && !call) back += (last.f.cs != (u32)(S0 | cpl));
                    gdt_set(S0, seg_desc(0, 0xFFFFF, (u8)(CONF | dpl << 5), 0xC0));
                    at_ring(cpl, code, S0 | rpl);
                    ok = last.f.vec == 0xFF;
                    conf += ok != (dpl <= (u32)cpl);
                    conf += !ok && (last.f.vec != GP || last.f.err != S0);
                    if (ok && !call) back += last.f.cs != (u32)(S0 | cpl);
                    if (ok && call) back += last.f.ebx != (u32)(S0 | cpl);
                }
            }
        }
    }
    check_eq("JMP and CALL to code: DPL = CPL, RPL <= CPL", plain, 0);
    check_eq("JMP and CALL to conforming code: DPL <= CPL", conf, 0);
    check_eq("the new CS has the CPL as its RPL", back, 0);
}

/* ---- code segment limits ---- */
SNIP32(l_end, "nop\n nop\n nop")
SNIP32(l_jmp, "jmp *%eax")
static void code_limits(void)
{
    struct ctx c = ctx_ring(0, NULL);
    gdt_set(S0, seg_desc((u32)l_end, 1, CODE, 0x40)); /* two of the three NOPs */
    c.cs = S0, c.eip = 0;
    trap_begin();
    ctx_run(&c);
    check("#GP(0) fetching beyond the limit, EIP there",
          last.f.vec == GP && !last.f.err && last.f.eip == 2);
    gdt_set(S0, seg_desc((u32)l_end, 3, CODE, 0x40)); /* half of INT FFh */
    trap_begin();
    ctx_run(&c);
    check("#GP(0) for an instruction across the limit",
          last.f.vec == GP && !last.f.err && last.f.eip == 3);
    gdt_set(S0, seg_desc((u32)l_jmp, 0xFF, CODE, 0x40));
    c.eax = 0x100;
    trap_begin();
    ctx_run(&c);
    check("#GP(0) JMP beyond the limit, at the JMP",
          last.f.vec == GP && !last.f.err && !last.f.eip);
    gdt_set(S0, seg_desc((u32)l_end, 0xFF, CODE, 0x40));
    struct {
        u32 off;
        u16 sel;
    } far = {0x100, S0};
    ATTEMPT("ljmp *%0", ::"m"(far) : "memory");
    check_trap("#GP(0) far JMP beyond the limit", GP, 0);
    gdt_set(S0, seg_desc(0, 0xFFFFF, CODE & 0x7F, 0xC0));
    ATTEMPT("ljmp *%0", ::"m"(far) : "memory");
    check_trap("#NP far JMP, not present", NP, S0);
    far.sel = KDS;
    ATTEMPT("ljmp *%0", ::"m"(far) : "memory");
    check_trap("#GP(sel) far JMP to data", GP, KDS);
    far.sel = 3;
    ATTEMPT("lcall *%0", ::"m"(far) : "memory");
    check_trap("#GP(0) far CALL to null", GP, 0);
}

/* ---- LAR and LSL of system descriptors; ARPL ---- */
static void system_types(void)
{
    u32 lar_bad = 0, lsl_bad = 0, arpl_bad = 0;
    for (u32 type = 0; type < 16; type++) {
        /* LAR: 1 2 3 4 5 9 B C; LSL: 1 2 3 9 B (SDM 2A) */
        u32 lar_valid = 0x1A3E >> type & 1, lsl_valid = 0x0A0E >> type & 1, ok, got;
        gdt_set(S0, seg_desc(0x1234, 0x4567, (u8)(0x80 | type), 0));
        asm volatile("xor %1, %1\n lar %2, %1\n sete %b0" : "=q"(ok), "=&r"(got) : "r"(S0));
        lar_bad += (ok & 1) != lar_valid || (lar_valid && got != (0x8000 | type << 8));
        asm volatile("xor %1, %1\n lsl %2, %1\n sete %b0" : "=q"(ok), "=&r"(got) : "r"(S0));
        lsl_bad += (ok & 1) != lsl_valid || (lsl_valid && got != 0x4567);
    }
    check_eq("LAR: valid system types", lar_bad, 0);
    check_eq("LSL: valid system types", lsl_bad, 0);
    for (u32 a = 0; a < 4; a++) {
        for (u32 b = 0; b < 4; b++) {
            u32 d = 0x100 | a;
            u8 z;
            asm volatile("arpl %w2, %w0\n setz %1" : "+r"(d), "=q"(z) : "r"(0x200 | b) : "cc");
            arpl_bad += d != (0x100 | (a < b ? b : a)) || z != (a < b);
        }
    }
    check_eq("ARPL", arpl_bad, 0);
}

/* ---- what IRET and RET to an outer level do to data segments ---- */
SNIP32(o_segs, "mov %ds, %eax\n mov %es, %ebx\n mov %fs, %ecx\n mov %gs, %edx")
static void outer_segments(void)
{
    struct ctx c = ctx_ring(3, o_segs);
    gdt_set(S0, seg_desc(0, 0xFFFFF, CONF, 0xC0));
    c.ds = KDS, c.es = UDS, c.fs = S0, c.gs = CS2;
    trap_begin();
    ctx_run(&c);
    /* DS is loaded before IRET */
    check_eq("IRET outward: DS above the new CPL becomes null", last.f.eax, 0);
    check_eq("... user data stays", last.f.ebx, UDS);
    check_eq("... conforming code stays", last.f.ecx, S0);
    check_eq("... inner code becomes null", last.f.edx, 0);
}

int main(void)
{
    limits();
    stacks();
    types();
    selectors();
    privileges();
    code_privileges();
    code_limits();
    system_types();
    outer_segments();
    finish();
}

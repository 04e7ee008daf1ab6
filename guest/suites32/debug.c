/* debug - breakpoints of every kind and length, DR6 and DR7, single-stepping through everything,
 * RF, INT1, shadows, and their priorities. SDM volume 3B chapter 18. */
#include "guest/lib32/rt32.h"

enum { B0 = 1, B1 = 2, BD = 1 << 13, BS = 1 << 14, HITS = 64, DR6_NONE = (int)0xFFFF0FF0 };
enum { EXEC = 0, WRITE = 1, IO = 2, RW = 3 };
static u8 data[64] __attribute__((aligned(64)));
static struct {
    u32 eip, dr6, eflags, ecx;
} hit[HITS];
static u32 hits;
static bool stop_rf, clear_tf;

static bool on_db(struct frame *f)
{
    if (hits < HITS) {
        hit[hits].eip = f->eip, hit[hits].dr6 = read_dr6(), hit[hits].eflags = f->eflags;
        hit[hits].ecx = f->ecx;
    }
    hits++;
    write_dr6((u32)DR6_NONE);
    f->eflags |= stop_rf ? FL_RF : 0;
    if (clear_tf || hits >= HITS) f->eflags &= ~(u32)FL_TF;
    return true;
}

static void begin(void)
{
    hits = 0;
    clear_tf = false;
    stop_rf = true;
    hooks[DB] = on_db;
    write_dr6((u32)DR6_NONE);
}

static void arm(int n, const void *at, u32 type, u32 len)
{
    u32 a = (u32)at, code = len == 8 ? 2 : len - 1;
    if (n == 0) write_dr0(a);
    else if (n == 1) write_dr1(a);
    else if (n == 2) write_dr2(a);
    else write_dr3(a);
    u32 dr7 = read_dr7() & ~(0xFu << (16 + 4 * n) | 3u << 2 * n);
    write_dr7(dr7 | 0x400 | (type | code << 2) << (16 + 4 * n) | 2u << 2 * n);
}
static void disarm(void) { write_dr7(0x400); }

/* ---- data breakpoints: every length, every distance ---- */
static void data_breakpoints(void)
{
    u32 wbad = 0, rbad = 0, eip_bad = 0;
    for (u32 len = 1; len <= 4; len *= 2) {
        for (u32 at = 16; at < 24; at += len) {
            for (u32 size = 1; size <= 4; size *= 2) {
                for (u32 off = 12; off < 28; off++) {
                    u8 *p = data + off;
                    bool overlap = off < at + len && at < off + size;
                    for (u32 type = WRITE; type <= RW; type += 2) {
                        begin();
                        arm(0, data + at, type, len);
                        if (size == 1) asm volatile("movb $1, (%0)" ::"r"(p) : "memory");
                        if (size == 2) asm volatile("movw $1, (%0)" ::"r"(p) : "memory");
                        if (size == 4) asm volatile("movl $1, (%0)" ::"r"(p) : "memory");
                        wbad += hits != overlap || (hits && (hit[0].dr6 & 0xE00F) != B0);
                        begin();
                        u32 v;
                        if (size == 1) asm volatile("movzbl (%1), %0" : "=r"(v) : "r"(p));
                        if (size == 2) asm volatile("movzwl (%1), %0" : "=r"(v) : "r"(p));
                        if (size == 4) asm volatile("movl (%1), %0" : "=r"(v) : "r"(p));
                        rbad += hits != (overlap && type == RW);
                        disarm();
                    }
                }
            }
        }
    }
    check_eq("data breakpoints: writes of every size and distance", wbad, 0);
    check_eq("data breakpoints: reads only with R/W", rbad, 0);
    begin();
    arm(0, data, WRITE, 4);
    u32 behind;
    asm volatile("movl $1f, %0\n movl $0, data\n 1: nop" : "=r"(behind)::"memory");
    disarm();
    eip_bad = hits != 1 || hit[0].eip != behind;
    check_eq("data breakpoints are traps", eip_bad, 0);
    begin();
    arm(0, data, WRITE, 4), arm(1, data + 2, RW, 2);
    asm volatile("movl $0, data" ::: "memory");
    disarm();
    check("two breakpoints at once", hits == 1 && (hit[0].dr6 & 15) == (B0 | B1));
    begin();
    arm(0, data, WRITE, 4);
    write_dr7(read_dr7() & ~3u);
    asm volatile("movl $0, data" ::: "memory");
    check_eq("not enabled: no trap", hits, 0);
    disarm();
}

static void string_breakpoints(void)
{
    begin();
    arm(0, data + 5, WRITE, 1);
    u32 c = 16;
    void *d = data;
    asm volatile("rep stosb" : "+D"(d), "+c"(c) : "a"(0) : "memory");
    disarm();
    check("REP STOSB traps after the iteration that wrote", hits == 1 && hit[0].ecx == 10 && !c);
    begin();
    arm(0, data + 4, WRITE, 4);
    c = 4, d = data;
    asm volatile("rep stosl" : "+D"(d), "+c"(c) : "a"(0) : "memory");
    disarm();
    check("REP STOSD as well", hits == 1 && hit[0].ecx == 2);
    begin();
    arm(0, data + 8, RW, 4);
    asm volatile("pushl data + 8\n popl data + 8" ::: "memory");
    disarm();
    check_eq("PUSH and POP with memory operands", hits, 2);
    begin();
    arm(0, data + 8, WRITE, 4);
    asm volatile("lock addl $1, data + 8\n xchg %%eax, data + 8" ::: "eax", "memory");
    disarm();
    check_eq("LOCK ADD and XCHG", hits, 2);
}

/* ---- instruction breakpoints, RF ---- */
static u32 exec_hits(void)
{
    asm volatile(".global x_insn\n nop\n x_insn: nop\n nop");
    return hits;
}
extern const char x_insn[];

static void exec_breakpoints(void)
{
    begin();
    arm(2, x_insn, EXEC, 1);
    exec_hits();
    check("instruction breakpoint: a fault at the instruction",
          hits == 1 && hit[0].eip == (u32)x_insn && (hit[0].dr6 & 0xE00F) == 4);
    check_eq("its image has RF clear", hit[0].eflags & FL_RF, 0);
    begin();
    arm(2, x_insn, EXEC, 1);
    ATTEMPT("nop", ::: "memory");
    exec_hits();
    exec_hits();
    check_eq("RF lasts for one instruction", hits, 2);
    disarm();
    /* a fault at the instruction itself pushes RF, so that returning does not hit again */
    begin();
    extern const char x_ud[];
    arm(0, x_ud, EXEC, 1);
    ATTEMPT(".global x_ud\n x_ud: ud2", ::: "memory");
    check("breakpoint before the instruction's own fault", hits == 1 && last.f.vec == UD);
    check_eq("#UD pushes RF", last.f.eflags & FL_RF, FL_RF);
    disarm();
    begin();
    arm(0, x_insn, EXEC, 1), arm(1, x_insn, EXEC, 1);
    exec_hits();
    disarm();
    check("two at one address", hits == 1 && (hit[0].dr6 & 15) == 3);
}

/* ---- single-step ---- */
static void stepping(void)
{
    u32 start, end;
    begin();
    asm volatile("pushf\n orl $0x100, (%%esp)\n movl $1f, %0\n movl $2f, %1\n popf\n 1: nop\n nop\n"
                 "pushf\n andl $~0x100, (%%esp)\n popf\n 2: nop"
                 : "=&r"(start), "=&r"(end)::"memory", "cc");
    check("TF: a trap after each instruction, POPF that sets it excepted",
          hits == 5 && hit[0].eip == start + 1 && hit[4].eip == end);
    check_eq("DR6.BS", hit[0].dr6 & 0xE00F, BS);
    check_eq("the frame shows TF", hit[0].eflags & FL_TF, FL_TF);
    check_eq("the instruction that clears TF still traps", hit[4].eflags & FL_TF, 0);
    begin();
    asm volatile(
        "pushf\n orl $0x100, (%%esp)\n popf\n mov %%ss, %%eax\n mov %%eax, %%ss\n nop\n nop\n"
        "pushf\n andl $~0x100, (%%esp)\n popf" ::
            : "eax", "memory", "cc");
    check_eq("TF: no trap behind MOV SS", hits, 6);
    begin();
    asm volatile(
        "pushf\n orl $0x100, (%%esp)\n popf\n mov $3, %%ecx\n mov %%esi, %%esi\n rep lodsb\n"
        "pushf\n andl $~0x100, (%%esp)\n popf" ::"S"(data)
        : "eax", "ecx", "memory", "cc");
    check_eq("TF: REP traps after each iteration", hits, 8);
    begin();
    asm volatile("pushf\n orl $0x100, (%%esp)\n popf\n call 1f\n jmp 2f\n 1: ret\n 2:\n"
                 "pushf\n andl $~0x100, (%%esp)\n popf" ::
                     : "memory", "cc");
    check_eq("TF: branches trap at their target", hits, 6);
}

/* INT n clears TF in the handler; the trap for INT n itself is lost, the next one is not. */
static volatile u32 int_flags;
static bool on_int(struct frame *f)
{
    (void)f;
    int_flags = read_flags();
    return true;
}

SNIP32(u_step, "nop\n nop\n nop")
static void step_events(void)
{
    begin();
    hooks[0x40] = on_int;
    asm volatile("pushf\n orl $0x100, (%%esp)\n popf\n int $0x40\n nop\n"
                 "pushf\n andl $~0x100, (%%esp)\n popf" ::
                     : "memory", "cc");
    hooks[0x40] = NULL;
    check_eq("TF: INT n gives no trap, its handler runs without TF", int_flags & FL_TF, 0);
    check_eq("... the instruction behind it traps again", hits, 4);
    begin();
    clear_tf = true;
    struct ctx c = ctx_ring(3, u_step);
    c.eflags |= FL_TF;
    trap_begin();
    ctx_run(&c);
    check("IRET that sets TF: one instruction runs first",
          hits == 1 && hit[0].eip == (u32)u_step + 1);
    begin();
    clear_tf = true;
    ATTEMPT2("pushf\n orl $0x100, (%%esp)\n popf", "ud2", ::: "memory");
    check("a fault leaves no single-step trap", hits == 0 && last.f.vec == UD);
    check_eq("... its frame shows TF", last.f.eflags & FL_TF, FL_TF);
}

static void int1(void)
{
    begin();
    hooks[DB] = NULL;
    ATTEMPT(".byte 0xF1", ::: "memory");
    check_after("INT1 is a trap", DB, 0);
    check_eq("INT1 sets no bit of DR6", last.dr6 & 0xE00F, 0);
    ATTEMPT("int $1", ::: "memory");
    check_after("INT 1", DB, 0);
}

/* ---- the registers ---- */
static void registers(void)
{
    u32 v;
    disarm();
    hooks[DB] = NULL;
    write_dr6(0);
    check_eq("DR6: fixed bits", read_dr6() & 0xFFFE1FF0, 0xFFFE0FF0);
    write_dr6(0xFFFFFFFF);
    check_eq("DR6: writable bits", read_dr6() & 0x0000F00F, 0xE00F);
    write_dr6((u32)DR6_NONE);
    write_dr7(0);
    check_eq("DR7: bit 10 is fixed", read_dr7(), 0x400);
    write_dr7(0xFFFF0355);
    check_eq("DR7 keeps what it can", read_dr7(), 0xFFFF0755);
    disarm();
    asm volatile("mov %%dr4, %0" : "=r"(v));
    check_eq("DR4 is DR6 without CR4.DE", v, read_dr6());
    asm volatile("mov %%dr5, %0" : "=r"(v));
    check_eq("DR5 is DR7 without CR4.DE", v, read_dr7());
    write_cr4(read_cr4() | CR4_DE);
    ATTEMPT("mov %%dr4, %%eax", ::: "eax");
    check_trap("#UD DR4 with CR4.DE", UD, 0);
    write_cr4(read_cr4() & ~(u32)CR4_DE);
    write_dr7(0x400 | 1 << 13);
    ATTEMPT("mov %%dr0, %%eax", ::: "eax");
    check_trap("DR7.GD: #DB at the access", DB, 0);
    check_eq("... DR6.BD", last.dr6 & 0xE00F, BD);
    check_eq("... GD is cleared for the handler", read_dr7() & BD, 0);
    write_dr6((u32)DR6_NONE);
    disarm();
}

/* ---- I/O breakpoints ---- */
static void io_breakpoints(void)
{
    begin();
    write_cr4(read_cr4() | CR4_DE);
    arm(3, (void *)0xE0, IO, 1);
    inb(0xE1);
    check_eq("I/O breakpoint: another port", hits, 0);
    outb(0xE0, 0);
    check("I/O breakpoint: OUT traps", hits == 1 && (hit[0].dr6 & 15) == 8);
    begin();
    inb(0xE0);
    check_eq("I/O breakpoint: IN", hits, 1);
    begin();
    asm volatile("in %%dx, %%ax" ::"d"(0xDF) : "eax");
    check_eq("I/O breakpoint: a word that reaches the port", hits, 1);
    disarm();
    write_cr4(read_cr4() & ~(u32)CR4_DE);
    begin();
}

/* ---- MOV SS holds a breakpoint back ---- */
static u16 new_ss = KDS;
static void shadow(void)
{
    begin();
    arm(0, &new_ss, RW, 2);
    u32 behind;
    asm volatile("movl $1f, %0\n mov new_ss_alias, %%ss\n nop\n 1: nop" : "=r"(behind)::"memory");
    disarm();
    check("a data breakpoint of MOV SS is delivered one instruction later",
          hits == 1 && hit[0].eip == behind);
}
asm(".set new_ss_alias, new_ss\n");

int main(void)
{
    data_breakpoints();
    string_breakpoints();
    exec_breakpoints();
    stepping();
    step_events();
    int1();
    registers();
    io_breakpoints();
    shadow();
    hooks[DB] = NULL;
    finish();
}

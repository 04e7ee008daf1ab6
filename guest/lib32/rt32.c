/* rt32.c - console, verdicts, descriptor tables, traps and foreign code of the 32-bit guests. */
#include "guest/lib32/rt32.h"

enum { COM1 = 0x3F8, COM_LSR = COM1 + 5, LSR_THRE = 0x20, EXIT_PORT = 0xF4, POLL_MAX = 1 << 20 };
enum { HEAP_END = 48 << 20, ENTRY16 = 16, STACK_BYTES = 8192 };
struct trap last;
u32 trap_fixup, trap_esp, trap_at, trap_end;
u32 trap_regs[8];
trap_hook hooks[256];
u64 idt[256] __attribute__((aligned(8))), ldt[16] __attribute__((aligned(8)));
struct tss32 tss, rescue;
struct real r16;
bool big_real;
u32 v86_iopl = 3;
extern char isr_stubs[], trap_resume[], rescue_entry[], rescue_stack_top[], __image_end[];
extern char low_begin[], low_end[], low_regs[], low_stubs[], low_seg[];
extern u32 trap_frame, trap_ss;
extern const struct dtr boot_idtr;
void real_enter(void);
static u32 heap_at, failed, passed;
static int rescue_vec;
static u8 ring_stack[4][STACK_BYTES] __attribute__((aligned(16)));
static u8 user_stack[4][STACK_BYTES] __attribute__((aligned(16)));

/* ---- console ---- */
static void put(char c)
{
    if (c == '\n') put('\r');
    for (int i = 0; i < POLL_MAX && !(inb(COM_LSR) & LSR_THRE); i++) pause();
    outb(COM1, (u8)c);
}

static void put_num(u32 v, u32 base)
{
    char buf[12];
    int n = 0;
    do buf[n++] = "0123456789abcdef"[v % base];
    while ((v /= base) != 0);
    while (n) put(buf[--n]);
}

void say(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    for (; *fmt; fmt++) {
        if (*fmt != '%') {
            put(*fmt);
            continue;
        }
        switch (*++fmt) {
        case 's':
            for (const char *s = va_arg(ap, const char *); *s; s++) put(*s);
            break;
        case 'c': put((char)va_arg(ap, int)); break;
        case 'x': put_num(va_arg(ap, u32), 16); break;
        case 'd':
        case 'u': put_num(va_arg(ap, u32), 10); break;
        default: put(*fmt);
        }
    }
    va_end(ap);
}

/* ---- verdicts ---- */
static void verdict(bool ok, const char *name)
{
    if (ok) passed++;
    else failed++;
    say("%s - %s", ok ? "ok" : "not ok", name);
}

void check(const char *name, bool cond)
{
    verdict(cond, name);
    if (!cond)
        say(": got vector 0x%x err 0x%x eip 0x%x eflags 0x%x", last.f.vec, last.f.err, last.f.eip,
            last.f.eflags);
    say("\n");
}

void check_eq(const char *name, u32 got, u32 want)
{
    verdict(got == want, name);
    if (got != want) say(": got 0x%x, want 0x%x", got, want);
    say("\n");
}

void skip(const char *name, const char *why)
{
    passed++;
    say("ok - %s # skip %s\n", name, why);
}

void debug_exit(u8 code)
{
    outb(EXIT_PORT, code);
    for (;;) asm volatile("cli\n hlt");
}

void finish(void)
{
    say("# %u passed, %u failed\n", passed, failed);
    debug_exit(failed || !passed);
}

/* ---- memory ---- */
/* No string instructions: a test may have left anything in ES. */
void *memset(void *d, int c, size_t n)
{
    for (u8 *p = d; n--;) *p++ = (u8)c;
    return d;
}

void *memcpy(void *d, const void *s, size_t n)
{
    u8 *p = d;
    for (const u8 *q = s; n--;) *p++ = *q++;
    return d;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const u8 *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

void *pages_alloc(u32 n)
{
    void *p = (void *)heap_at;
    heap_at += n * 4096;
    if (heap_at > HEAP_END) {
        check("guest heap exhausted", false);
        finish();
    }
    return memset(p, 0, n * 4096);
}

/* ---- descriptors ---- */
u64 seg_desc(u32 base, u32 limit, u8 access, u8 flags)
{
    return (limit & 0xFFFF) | (u64)(base & 0xFFFFFF) << 16 | (u64)access << 40 |
           (u64)(limit >> 16 & 15) << 48 | (u64)(flags & 0xF0) << 48 | (u64)(base >> 24) << 56;
}

u64 gate_desc(u16 sel, u32 off, u8 access, u8 params)
{
    return (off & 0xFFFF) | (u64)sel << 16 | (u64)params << 32 | (u64)access << 40 |
           (u64)(off >> 16) << 48;
}

void gdt_set(int sel, u64 desc) { gdt[sel / 8] = desc; }
u8 gdt_access(int sel) { return ((u8 *)&gdt[sel / 8])[5]; }
void gdt_access_set(int sel, u8 access) { ((u8 *)&gdt[sel / 8])[5] = access; }
u32 gdt_base(int sel)
{
    u64 d = gdt[sel / 8];
    return (u32)(d >> 16 & 0xFFFFFF) | (u32)(d >> 56) << 24;
}

void *isr_of(int vec) { return isr_stubs + 16 * vec; }
void idt_set(int vec, u64 gate) { idt[vec] = gate; }
void idt_default(int vec) { idt[vec] = gate_desc(KCS, (u32)isr_of(vec), 0x8E, 0); }
void idt_dpl(int vec, int dpl) { idt[vec] = (idt[vec] & ~(3ull << 45)) | (u64)dpl << 45; }

void idt_rescue(int vec)
{
    rescue_vec = vec;
    rescue.eip = (u32)rescue_entry;
    rescue.esp = (u32)rescue_stack_top;
    rescue.cs = KCS;
    rescue.ss = rescue.ds = rescue.es = rescue.fs = rescue.gs = KDS;
    rescue.eflags = 2;
    rescue.cr3 = read_cr3();
    gdt_access_set(SEL_RESCUE, 0x89);
    idt[vec] = gate_desc(SEL_RESCUE, 0, 0x85, 0);
}

void tss_reload(void)
{
    write_flags(2);
    tss.ss0 = KDS, tss.ss1 = DS1, tss.ss2 = DS2;
    tss.esp0 = (u32)ring_stack[0] + STACK_BYTES - 64;
    tss.esp1 = (u32)ring_stack[1] + STACK_BYTES - 64;
    tss.esp2 = (u32)ring_stack[2] + STACK_BYTES - 64;
    gdt_set(SEL_TSS, seg_desc((u32)&tss, sizeof tss - 1, 0x89, 0));
    gdt_set(SEL_RESCUE, seg_desc((u32)&rescue, 0x67, 0x89, 0));
    tss.ldt = 0;
    ltr(SEL_TSS);
    lldt(0);
    asm volatile("clts");
}

void rt_init(void)
{
    asm volatile("fninit");
    outb(COM1 + 1, 0);
    outb(COM1 + 3, 3);
    outb(0x21, 0xFF);
    outb(0xA1, 0xFF);
    heap_at = ((u32)__image_end + 4095) & ~4095u;
    for (int v = 0; v < 256; v++) idt_default(v);
    idt_dpl(0xFF, 3);
    tss.iomap = offsetof(struct tss32, bitmap);
    memset(tss.bitmap, 0xFF, sizeof tss.bitmap);
    memset(tss.redirect, 0xFF, sizeof tss.redirect);
    gdt_set(SEL_LDT, seg_desc((u32)ldt, sizeof ldt - 1, 0x82, 0));
    tss_reload();
    lidt(&boot_idtr);
}

/* ---- traps ---- */
void trap_begin(void)
{
    memset(&last, 0, sizeof last);
    last.f.vec = NO_TRAP;
}

static _Noreturn void unexpected(const struct frame *f)
{
    say("not ok - unexpected vector %u err 0x%x eip 0x%x cs 0x%x eflags 0x%x cr2 0x%x\n", f->vec,
        f->err, f->eip, f->cs, f->eflags, read_cr2());
    failed++;
    finish();
}

static void keep_regs(const struct frame *f) { memcpy(trap_regs, &f->edi, sizeof trap_regs); }

bool trap_dispatch(void);
bool trap_dispatch(void) /* false: go on at trap_fixup */
{
    u32 base = trap_ss & 4 ? 0 : gdt_base((int)(trap_ss & ~7u));
    struct frame *f = (struct frame *)(base + trap_frame);
    if (hooks[f->vec & 0xFF] && hooks[f->vec & 0xFF](f)) return true;
    if (!trap_fixup) unexpected(f);
    last.n++;
    last.f = *f;
    last.cr2 = read_cr2();
    last.dr6 = read_dr6();
    last.esp = trap_frame + offsetof(struct frame, eip);
    last.ss = trap_ss;
    keep_regs(f);
    return false;
}

static bool has_error(int vec) { return vec == DF || (vec >= TS && vec <= PF) || vec == AC; }

void rescue_dispatch(const u32 *stack);
void rescue_dispatch(const u32 *stack)
{
    struct tss32 *t = (struct tss32 *)gdt_base((int)(rescue.link & 0xFFF8));
    struct frame f = {.gs = t->gs, .fs = t->fs, .es = t->es, .ds = t->ds};
    f.edi = t->edi, f.esi = t->esi, f.ebp = t->ebp, f.ebx = t->ebx, f.edx = t->edx;
    f.ecx = t->ecx, f.eax = t->eax;
    f.vec = (u32)rescue_vec, f.err = has_error(rescue_vec) ? *stack : 0;
    f.eip = t->eip, f.cs = t->cs, f.eflags = t->eflags, f.esp = t->esp, f.ss = t->ss;
    if (!trap_fixup) unexpected(&f);
    last.n++;
    last.f = f;
    last.task = true;
    last.cr2 = read_cr2();
    last.dr6 = read_dr6();
    keep_regs(&f);
    rescue.link = SEL_TSS;
    gdt_access_set(SEL_TSS, 0x8B);
    tss.eip = (u32)trap_resume, tss.cs = KCS, tss.eflags = 2, tss.esp = trap_esp;
    tss.ss = tss.ds = tss.es = tss.fs = tss.gs = KDS;
    tss.cr3 = read_cr3();
    tss.ldt = 0;
}

static void check_at(const char *name, u32 vec, u32 err, u32 eip)
{
    bool ok = last.f.vec == vec && last.f.err == err && (!eip || last.f.eip == eip);
    verdict(ok, name);
    if (!ok)
        say(": got vector 0x%x err 0x%x eip 0x%x, want 0x%x err 0x%x eip 0x%x", last.f.vec,
            last.f.err, last.f.eip, vec, err, eip);
    say("\n");
}

void check_trap(const char *name, u32 vec, u32 err) { check_at(name, vec, err, trap_at); }
void check_after(const char *name, u32 vec, u32 err) { check_at(name, vec, err, trap_end); }
void check_vec(const char *name, u32 vec, u32 err) { check_at(name, vec, err, 0); }

void check_none(const char *name)
{
    verdict(last.f.vec == NO_TRAP, name);
    if (last.f.vec != NO_TRAP) say(": got vector 0x%x err 0x%x", last.f.vec, last.f.err);
    say("\n");
}

/* ---- code elsewhere ---- */
struct ctx ctx_ring(int ring, const void *code)
{
    static const u16 cs[4] = {KCS, CS1, CS2, UCS}, ds[4] = {KDS, DS1, DS2, UDS};
    struct ctx c = {.eip = (u32)code, .cs = cs[ring], .eflags = 2, .ss = ds[ring]};
    c.esp = (u32)user_stack[ring] + STACK_BYTES - 64;
    c.ds = c.es = c.fs = c.gs = ds[ring];
    return c;
}

void ring_run(int ring, const void *code)
{
    struct ctx c = ctx_ring(ring, code);
    trap_begin();
    trap_at = (u32)code;
    ctx_run(&c);
}

void r16_default(void)
{
    memset(&r16, 0, sizeof r16);
    r16.ds = r16.es = r16.fs = r16.gs = LOW_DATA / 16;
    r16.ss = LOW_STACK / 16;
    r16.esp = SP16;
    r16.eflags = 2;
    big_real = false;
}

static void run_real(void)
{
    u32 at = 0;
    asm("" : "+r"(at)); /* the compiler must not see a null pointer */
    struct real *copy = (struct real *)(LOW_TRAMP + (low_regs - low_begin));
    memcpy((void *)LOW_TRAMP, low_begin, (size_t)(low_end - low_begin));
    *(u32 *)(LOW_TRAMP + (low_seg - low_begin)) = big_real ? KDS : D16;
    for (int v = 0; v < 256; v++)
        ((volatile u32 *)at)[v] = (u32)(low_stubs - low_begin + ENTRY16 * v) | (u32)LOW_TRAMP / 16
                                                                                   << 16;
    *copy = r16;
    copy->vec = copy->ip = copy->cs = copy->flags = 0;
    real_enter();
    r16 = *copy;
}

/* Fields of the trap that ended virtual-8086 or 16-bit protected code. */
static void from_last(bool v86)
{
    const struct frame *f = &last.f;
    r16.eax = f->eax, r16.ecx = f->ecx, r16.edx = f->edx, r16.ebx = f->ebx;
    r16.ebp = f->ebp, r16.esi = f->esi, r16.edi = f->edi, r16.esp = f->esp;
    r16.ss = f->ss;
    r16.ds = v86 ? f->vds : f->ds, r16.es = v86 ? f->ves : f->es;
    r16.fs = v86 ? f->vfs : f->fs, r16.gs = v86 ? f->vgs : f->gs;
    r16.vec = f->vec, r16.ip = f->eip, r16.cs = f->cs, r16.flags = f->eflags;
}

static void run_v86(void)
{
    struct ctx c = {0,       LOW_CODE / 16, r16.eflags | FL_VM | v86_iopl << 12,
                    r16.esp, r16.ss,        r16.es,
                    r16.ds,  r16.fs,        r16.gs,
                    r16.eax, r16.ecx,       r16.edx,
                    r16.ebx, r16.ebp,       r16.esi,
                    r16.edi};
    trap_begin();
    ctx_run(&c);
    from_last(true);
}

/* Ring 3, so that the stack switches; segments with the bases real mode would have. */
static void run_pm16(void)
{
    enum { SEL = GDT_BYTES - 0x30 };
    const u32 base[6] = {LOW_CODE, r16.ss << 4, r16.ds << 4, r16.es << 4, r16.fs << 4, r16.gs << 4};
    for (int k = 0; k < 6; k++) gdt_set(SEL + 8 * k, seg_desc(base[k], 0xFFFF, k ? 0xF3 : 0xFB, 0));
    struct ctx c = {0,
                    SEL | 3,
                    r16.eflags | v86_iopl << 12,
                    r16.esp,
                    (SEL + 8) | 3,
                    (SEL + 24) | 3,
                    (SEL + 16) | 3,
                    (SEL + 32) | 3,
                    (SEL + 40) | 3,
                    r16.eax,
                    r16.ecx,
                    r16.edx,
                    r16.ebx,
                    r16.ebp,
                    r16.esi,
                    r16.edi};
    trap_begin();
    ctx_run(&c);
    from_last(false);
}

void run16(enum where w, const void *code, const void *end)
{
    memcpy((void *)LOW_CODE, code, (size_t)((const u8 *)end - (const u8 *)code));
    if (w == IN_REAL) run_real();
    else if (w == IN_V86) run_v86();
    else run_pm16();
}

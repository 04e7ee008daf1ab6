/* rt.c - console, verdicts, allocator, traps and user mode of the test guests. */
#include "guest/lib/rt.h"

enum { COM1 = 0x3F8, COM_LSR = COM1 + 5, LSR_THRE = 0x20, EXIT_PORT = 0xF4, POLL_MAX = 1 << 20 };
enum { NPAGES_LOW = 0x3000000 / 4096 }; /* heap: from the image's end to 48 MiB */

struct trap last;
u64 trap_fixup, trap_rsp, trap_at, trap_end;
trap_hook hooks[256];
u64 idt[512] __attribute__((aligned(4096)));
struct tss tss[CPUS_MAX];
extern char isr_stubs[], __image_end[], __utext_start[], __utext_end[];
extern u64 boot_pml4[];
static u64 heap_at;
static u64 failed, passed;
static u8 rsp0_stack[CPUS_MAX][8192] __attribute__((aligned(16)));

/* ---- console ---- */
static void put(char c)
{
    if (c == '\n') put('\r');
    for (int i = 0; i < POLL_MAX && !(inb(COM_LSR) & LSR_THRE); i++) pause();
    outb(COM1, (u8)c);
}

static void put_num(u64 v, u32 base)
{
    char buf[24];
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
        case 'x': put_num(va_arg(ap, u64), 16); break;
        case 'u': put_num(va_arg(ap, u64), 10); break;
        case 'd': {
            s64 v = va_arg(ap, s64);
            if (v < 0) put('-');
            put_num(v < 0 ? 0 - (u64)v : (u64)v, 10);
            break;
        }
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
    say("\n");
}

void check_eq(const char *name, u64 got, u64 want)
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
    for (const char *s = "Shutdown"; *s; s++) outb(0x8900, (u8)*s); /* Bochs leaves by this port */
    for (;;) asm volatile("cli\n hlt");
}

void finish(void)
{
    say("# %u passed, %u failed\n", passed, failed);
    debug_exit(failed || !passed);
}

/* ---- memory ---- */
void *memset(void *d, int c, size_t n)
{
    void *r = d;
    asm volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
    return r;
}

void *memcpy(void *d, const void *s, size_t n)
{
    void *r = d;
    asm volatile("rep movsb" : "+D"(d), "+S"(s), "+c"(n)::"memory");
    return r;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const u8 *x = a, *y = b;
    for (size_t i = 0; i < n; i++)
        if (x[i] != y[i]) return x[i] < y[i] ? -1 : 1;
    return 0;
}

u64 pages_left(void) { return NPAGES_LOW - heap_at / 4096; }

void *pages_alloc(u64 n)
{
    if (n > pages_left()) {
        check("guest heap exhausted", false);
        finish();
    }
    void *p = (void *)heap_at;
    heap_at += n * 4096;
    return memset(p, 0, n * 4096);
}

u64 *pte_in(u64 *root, u64 va, int level)
{
    u64 *table = root;
    for (int l = 4; l > level; l--) {
        u64 *e = &table[va >> (12 + 9 * (l - 1)) & 511];
        if (!(*e & PTE_P)) *e = (u64)pages_alloc(1) | PTE_P | PTE_W | PTE_U;
        table = (u64 *)(*e & PTE_ADDR);
    }
    return &table[va >> (12 + 9 * (level - 1)) & 511];
}

u64 *pte_of(u64 va, int level) { return pte_in((u64 *)(read_cr3() & PTE_ADDR), va, level); }

void map(u64 va, u64 pa, u64 flags)
{
    *pte_of(va, 1) = pa | flags;
    invlpg(va);
}

void map_large(u64 va, u64 pa, u64 flags, int level)
{
    *pte_of(va, level) = pa | flags | PTE_PS;
    invlpg(va);
}

void unmap(u64 va)
{
    *pte_of(va, 1) = 0;
    invlpg(va);
}

/* ---- descriptor tables ---- */
void *isr_of(int vec) { return isr_stubs + 16 * vec; }

void idt_set(int vec, void (*fn)(void), int type_dpl, int ist)
{
    u64 a = (u64)fn;
    idt[2 * vec] = (a & 0xFFFF) | (u64)KCS << 16 | (u64)ist << 32 | (u64)type_dpl << 40 |
                   (a >> 16 & 0xFFFF) << 48;
    idt[2 * vec + 1] = a >> 32;
}

void idt_dpl(int vec, int dpl) { idt[2 * vec] = (idt[2 * vec] & ~(3ull << 45)) | (u64)dpl << 45; }

void idt_ist(int vec, int ist) { idt[2 * vec] = (idt[2 * vec] & ~(7ull << 32)) | (u64)ist << 32; }

void gdt_set(int sel, u64 desc) { gdt[sel / 8] = desc; }

u64 seg_desc(u32 base, u32 limit, u8 access, u8 flags)
{
    return (limit & 0xFFFF) | (u64)(base & 0xFFFFFF) << 16 | (u64)access << 40 |
           (u64)(limit >> 16 & 15) << 48 | (u64)(flags & 0xF0) << 48 | (u64)(base >> 24) << 56;
}

void cpu_tables_load(int cpu);
void cpu_tables_load(int cpu)
{
    struct dtr g = {GDT_BYTES - 1, (u64)gdt}, i = {sizeof idt - 1, (u64)idt};
    struct tss *t = &tss[cpu];
    int sel = SEL_TSS + 16 * cpu;
    t->rsp[0] = (u64)rsp0_stack[cpu] + sizeof rsp0_stack[cpu];
    t->iomap = offsetof(struct tss, bitmap);
    memset(t->bitmap, 0xFF, sizeof t->bitmap);
    lgdt(&g);
    lidt(&i);
    gdt_set(sel, seg_desc((u32)(u64)t, sizeof *t - 1, 0x89, 0));
    gdt_set(sel + 8, (u64)t >> 32);
    asm volatile("lldt %w0" ::"r"(0));
    ltr((u16)sel);
}

void rt_init(void)
{
    asm volatile("fninit"); /* reset leaves x87 exceptions unmasked */
    outb(COM1 + 1, 0);
    outb(COM1 + 3, 3);
    heap_at = ((u64)__image_end + 4095) & ~4095ull;
    outb(0x21, 0xFF); /* both PICs masked until a test wants them */
    outb(0xA1, 0xFF);
    for (int v = 0; v < 256; v++) idt_set(v, (void (*)(void))isr_of(v), 0x8E, 0);
    idt_dpl(0x80, 3);
    cpu_tables_load(0);
}

/* ---- traps ---- */
void trap_begin(void)
{
    memset(&last, 0, sizeof last);
    last.f.vec = NO_TRAP;
}

static _Noreturn void unexpected(const struct frame *f)
{
    say("not ok - unexpected vector %u err 0x%x rip 0x%x cs 0x%x rsp 0x%x rflags 0x%x cr2 0x%x\n",
        f->vec, f->err, f->rip, f->cs, f->rsp, f->rflags, read_cr2());
    failed++;
    finish();
}

void trap_dispatch(struct frame *f);
void trap_dispatch(struct frame *f)
{
    if (hooks[f->vec] && hooks[f->vec](f)) return;
    if (!trap_fixup) unexpected(f);
    last.n++;
    last.f = *f;
    last.cr2 = read_cr2();
    last.dr6 = read_dr6();
    last.handler_rsp = (u64)&f->rip;
    f->rip = trap_fixup;
    f->rsp = trap_rsp;
    f->cs = KCS;
    f->ss = KDS;
    f->rflags = 2;
    trap_fixup = 0;
}

static void check_at(const char *name, u64 vec, u64 err, u64 rip)
{
    bool ok = last.f.vec == vec && last.f.err == err && last.f.rip == rip;
    verdict(ok, name);
    if (!ok)
        say(": got vector 0x%x err 0x%x rip 0x%x, want 0x%x err 0x%x rip 0x%x", last.f.vec,
            last.f.err, last.f.rip, vec, err, rip);
    say("\n");
}

void check_trap(const char *name, u64 vec, u64 err) { check_at(name, vec, err, trap_at); }
void check_after(const char *name, u64 vec, u64 err) { check_at(name, vec, err, trap_end); }

void check_none(const char *name)
{
    verdict(last.f.vec == NO_TRAP, name);
    if (last.f.vec != NO_TRAP) say(": got vector 0x%x err 0x%x", last.f.vec, last.f.err);
    say("\n");
}

void check_pf(const char *name, u64 err, u64 cr2)
{
    bool ok = last.f.vec == PF && last.f.err == err && last.cr2 == cr2 && last.f.rip == trap_at;
    verdict(ok, name);
    if (!ok)
        say(": got vector 0x%x err 0x%x cr2 0x%x rip 0x%x, want #PF err 0x%x cr2 0x%x rip 0x%x",
            last.f.vec, last.f.err, last.cr2, last.f.rip, err, cr2, trap_at);
    say("\n");
}

/* ---- user mode ---- */
void user_init(void)
{
    u64 code = (u64)__utext_start;
    for (u64 a = code; a < (u64)__utext_end; a += 4096)
        map(UVA_CODE + a - code, a, PTE_P | PTE_W | PTE_U);
    for (u64 i = 0; i < 4; i++) {
        map(UVA_STACK + i * 4096, (u64)pages_alloc(1), PTE_P | PTE_W | PTE_U);
        map(UVA_DATA + i * 4096, (u64)pages_alloc(1), PTE_P | PTE_W | PTE_U);
    }
}

u64 uva(const void *sym) { return (u64)sym - (u64)__utext_start + UVA_CODE; }

static void run(const void *code, u64 cs, u64 flags)
{
    struct user_state s = {uva(code), cs, flags, UVA_STACK_TOP, UDS, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                           0,         0,  0};
    trap_begin();
    trap_at = uva(code);
    user_enter(&s);
}

void user_run(const void *code) { run(code, UCS, 2); }
void user_run32(const void *code) { run(code, UCS32, 2); }
void user_run_flags(const void *code, u64 rflags) { run(code, UCS, rflags); }

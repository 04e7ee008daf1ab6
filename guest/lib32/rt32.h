/* rt32.h - runtime of the 32-bit test guests: verdict lines, traps that are expected and recovered
 * from, code at any privilege, in virtual-8086 and in real mode. Flat protected mode, ring 0, no
 * paging, IF = 0. Arguments travel in registers (-mregparm=3). */
#ifndef GUEST_RT32_H
#define GUEST_RT32_H
#include "guest/lib32/cpu32.h"
#include "guest/lib32/layout32.h"
#include <stdarg.h>
#include <stddef.h>

/* ---- verdicts ---- */
void say(const char *fmt, ...);          /* %s %d %u %x %c; 32-bit integers only */
void check(const char *name, bool cond); /* "ok - name" or "not ok - name" */
void check_eq(const char *name, u32 got, u32 want);
void skip(const char *name, const char *why);
_Noreturn void finish(void);
_Noreturn void debug_exit(u8 code);
void rt_init(void);
int main(void);
void *memset(void *d, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *pages_alloc(u32 n); /* zeroed, 4 KiB each, never freed */

/* ---- descriptors ---- */
extern u64 gdt[], idt[256], ldt[16];
u64 seg_desc(u32 base, u32 limit, u8 access, u8 flags); /* flags: G D/B L AVL in the high nibble */
u64 gate_desc(u16 sel, u32 off, u8 access, u8 params);
void gdt_set(int sel, u64 desc);
u8 gdt_access(int sel); /* its type byte */
void gdt_access_set(int sel, u8 access);
u32 gdt_base(int sel);
void idt_set(int vec, u64 gate);
void idt_default(int vec); /* 32-bit interrupt gate, DPL 0, to the common handler */
void idt_dpl(int vec, int dpl);
void *isr_of(int vec);
void idt_rescue(int vec); /* task gate to the rescue task; one vector at a time */

struct tss32 {
    u32 link, esp0, ss0, esp1, ss1, esp2, ss2, cr3, eip, eflags;
    u32 eax, ecx, edx, ebx, esp, ebp, esi, edi;
    u32 es, cs, ss, ds, fs, gs, ldt;
    u16 trap, iomap;
    u8 redirect[32];
    u8 bitmap[8192 + 1];
} __attribute__((packed));
extern struct tss32 tss, rescue;
void tss_reload(void); /* main task again: TR, busy bits, stacks, NT = 0 */

/* ---- traps ---- */
struct frame {
    u32 gs, fs, es, ds, edi, esi, ebp, esp_k, ebx, edx, ecx, eax;
    u32 vec, err, eip, cs, eflags, esp, ss, ves, vds, vfs,
        vgs; /* esp..: from outer rings and v86 */
};
struct trap {
    u32 n;          /* traps since trap_begin() */
    struct frame f; /* f.vec == NO_TRAP when nothing happened */
    u32 cr2, dr6;
    u32 esp, ss; /* of the frame's start (EIP or error code) and its stack segment */
    bool task;   /* through the rescue task: err is valid where the vector has one */
};
enum { NO_TRAP = 0x100 };
extern struct trap last;
extern u32 trap_fixup, trap_esp, trap_at, trap_end;
typedef bool (*trap_hook)(struct frame *f); /* true: handled, resume at @f */
extern trap_hook hooks[256];
void trap_begin(void);
void check_trap(const char *name, u32 vec, u32 err);
void check_after(const char *name, u32 vec, u32 err);
void check_none(const char *name);
void check_vec(const char *name, u32 vec, u32 err); /* vector and error code, wherever */

#define ATTEMPT2(pre, insn, ...)                                                                   \
    do {                                                                                           \
        trap_begin();                                                                              \
        asm volatile("movl $771f, trap_fixup\n movl $771f, trap_end\n movl $770f, trap_at\n"       \
                     "mov %%esp, trap_esp\n" pre "\n770: " insn "\n771:\n" __VA_ARGS__);           \
        trap_fixup = 0;                                                                            \
    } while (0)
#define ATTEMPT(insn, ...) ATTEMPT2("", insn, __VA_ARGS__)

/* ---- code elsewhere ---- */
struct ctx { /* known to ctx_run in boot32.S */
    u32 eip, cs, eflags, esp, ss, es, ds, fs, gs, eax, ecx, edx, ebx, ebp, esi, edi;
};
void ctx_run(struct ctx *c); /* IRET there; the trap that ends it is in `last` */
extern const char ctx_iret[];
struct ctx ctx_ring(int ring, const void *code); /* flat 32-bit code with a stack, at @ring */
void ring_run(int ring, const void *code);       /* trap_begin, ctx_ring, ctx_run */
/* SNIP32/SNIP16(name, "text"): code that ends with INT FFh; `name`_at may mark an instruction. */
#define SNIP(bits, name, text)                                                                     \
    asm(".pushsection .snippets,\"ax\"\n.code" #bits "\n.global " #name ", " #name "_end\n" #name  \
        ":\n" text "\n int $0xff\n" #name "_end:\n.code32\n.popsection\n");                        \
    extern const char name[], name##_end[] __attribute__((unused));
#define SNIP32(name, text) SNIP(32, name, text)
#define SNIP16(name, text) SNIP(16, name, text)

/* 16-bit code at LOW_CODE. Registers in and out; vec, ip, cs, flags of the interrupt that ended
 * it. */
struct real {
    u32 eax, ecx, edx, ebx, ebp, esi, edi, esp, ds, es, fs, ss, gs, eflags;
    u32 vec, ip, cs, flags;
};
enum where { IN_REAL, IN_V86, IN_PM16, WHERES };
extern struct real r16;
extern bool big_real;   /* next real_run: data segments of 4 GiB */
void r16_default(void); /* segments and stack as layout32.h has them */
void run16(enum where w, const void *code, const void *end); /* with r16; result in r16 */
extern u32 v86_iopl;                                         /* flags of IN_V86: 0 to 3 */

#endif

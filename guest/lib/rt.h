/* rt.h - runtime of the bare-metal test guests: verdict lines, traps that are expected and
 * recovered from, page tables, user mode.  Everything runs on CPU 0 with IF = 0 unless it says
 * otherwise; the linear map is described in boot.S. */
#ifndef GUEST_RT_H
#define GUEST_RT_H
#include "guest/lib/cpu.h"
#include "guest/lib/layout.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- verdicts ---- */
void say(const char *fmt, ...);          /* %s %d %u %x %c; 64-bit integers only */
void check(const char *name, bool cond); /* "ok - name" or "not ok - name" */
void check_eq(const char *name, u64 got, u64 want);
void skip(const char *name, const char *why); /* "ok - name # skip why" */
_Noreturn void finish(void);                  /* debug exit: 0 when nothing failed, else 1 */
_Noreturn void debug_exit(u8 code);
void rt_init(void);
int main(void);

/* ---- memory ---- */
void *memset(void *d, int c, size_t n);
void *memcpy(void *d, const void *s, size_t n);
int memcmp(const void *a, const void *b, size_t n);
void *pages_alloc(u64 n); /* zeroed, identity mapped, never freed */
u64 pages_left(void);

enum {
    PTE_P = 1,
    PTE_W = 2,
    PTE_U = 4,
    PTE_PWT = 8,
    PTE_PCD = 16,
    PTE_A = 32,
    PTE_D = 64,
    PTE_PS = 128,
    PTE_G = 256
};
#define PTE_NX (1ull << 63)
#define PTE_ADDR 0x000FFFFFFFFFF000ull
u64 *pte_of(u64 va, int level);            /* entry of @va at @level (1 = PTE .. 4), made */
u64 *pte_in(u64 *root, u64 va, int level); /* same under another root */
void map(u64 va, u64 pa, u64 flags);       /* one 4 KiB page, flushed */
void map_large(u64 va, u64 pa, u64 flags, int level);
void unmap(u64 va);

#define TEST_VA 0x50000000ull   /* [1, 3 GiB) is free for tests */
#define UVA_CODE 0x40000000ull  /* user alias of .utext */
#define UVA_STACK 0x40100000ull /* four pages, grows down from UVA_STACK_TOP */
#define UVA_STACK_TOP (UVA_STACK + 0x4000)
#define UVA_DATA 0x40200000ull /* four pages, read/write */

/* ---- traps ---- */
struct frame {
    u64 r15, r14, r13, r12, r11, r10, r9, r8, rdi, rsi, rbp, rbx, rdx, rcx, rax;
    u64 vec, err, rip, cs, rflags, rsp, ss;
};
struct trap {
    u64 n;          /* traps since trap_begin() */
    struct frame f; /* as delivered; f.vec == NO_TRAP when nothing happened */
    u64 cr2, dr6;
    u64 handler_rsp; /* where the frame lay */
};
enum { NO_TRAP = 0x100 };
extern struct trap last;
extern u64 trap_fixup, trap_rsp, trap_at, trap_end;
typedef bool (*trap_hook)(struct frame *f); /* true: handled, resume at @f */
extern trap_hook hooks[256];
extern u64 idt[512];
extern u64 gdt[];

void trap_begin(void);
void check_trap(const char *name, u64 vec, u64 err);  /* fault: RIP is the instruction */
void check_after(const char *name, u64 vec, u64 err); /* trap: RIP is the next one */
void check_none(const char *name);                    /* nothing was raised */
void check_pf(const char *name, u64 err, u64 cr2);    /* #PF fault with error code and CR2 */

/* ATTEMPT2(pre, insn, operands): run @pre then @insn; a trap is recorded in `last` and execution
 * goes on behind @insn with registers as the trap left them. @operands starts with a colon. */
#define ATTEMPT2(pre, insn, ...)                                                                   \
    do {                                                                                           \
        trap_begin();                                                                              \
        asm volatile("push %%rax\n lea 771f(%%rip), %%rax\n mov %%rax, trap_fixup\n"               \
                     "mov %%rax, trap_end\n lea 770f(%%rip), %%rax\n mov %%rax, trap_at\n"         \
                     "pop %%rax\n mov %%rsp, trap_rsp\n" pre "\n770: " insn                        \
                     "\n771:\n" __VA_ARGS__);                                                      \
        trap_fixup = 0;                                                                            \
    } while (0)
#define ATTEMPT(insn, ...) ATTEMPT2("", insn, __VA_ARGS__)

void idt_set(int vec, void (*fn)(void), int type_dpl, int ist); /* type_dpl: 0x8E, 0xEF ... */
void idt_dpl(int vec, int dpl);
void idt_ist(int vec, int ist);
void *isr_of(int vec);
void gdt_set(int sel, u64 desc);
u64 seg_desc(u32 base, u32 limit, u8 access, u8 flags); /* flags: G D/B L AVL in the high nibble */

struct tss {
    u32 rsv0;
    u64 rsp[3], rsv1, ist[7], rsv2;
    u16 rsv3, iomap;
    u8 bitmap[8192 + 1];
} __attribute__((packed));
extern struct tss tss[];

/* ---- user mode ---- */
struct user_state {
    u64 rip, cs, rflags, rsp, ss;
    u64 rax, rbx, rcx, rdx, rsi, rbp, r8, r9, r10, r11, r12, rdi;
};
void user_init(void);     /* map code, stack and data pages */
u64 uva(const void *sym); /* user address of a symbol in .utext */
void user_enter(struct user_state *s);
void user_run(const void *code);   /* 64-bit CPL 3, IF = 0; ends with a trap */
void user_run32(const void *code); /* same in compatibility mode */
void user_run_flags(const void *code, u64 rflags);
/* UCODE(name, "text"): user code; label name_at marks the instruction of interest if set. */
#define UCODE(name, text)                                                                          \
    asm(".pushsection .utext,\"ax\"\n.code64\n.global " #name "\n" #name ":\n" text                \
        "\nint $0x80\n.popsection\n");                                                             \
    extern const char name[];
#define UCODE32(name, text)                                                                        \
    asm(".pushsection .utext,\"ax\"\n.code32\n.global " #name "\n" #name ":\n" text                \
        "\nint $0x80\n.code64\n.popsection\n");                                                    \
    extern const char name[];

#endif

/* tests/bt_diff.h - random programs under the interpreter and under the translator, from the same
 * state; all state and all memory compared where they end.
 *
 * A program is a list of up to PROG_ITEMS items of a few instructions each: whatever isa_diff.h
 * generates, plus branches, bounded loops, calls, self-modification, changes of page tables and
 * address spaces. Faults go to a handler in guest memory that logs the frame and goes on at the
 * next of the program's resume points; the last of them ends in HLT. Two machines live as long as a
 * round, so caches are warm and programs replace one another. A mismatch is run again on fresh
 * machines and reduced to the items that it needs.
 * Included by tests/bt_random_test.c, tests/bt_opcodes_test.c and tests/fuzz/bt_fuzz.c. */
#ifndef TESTS_BT_DIFF_H
#define TESTS_BT_DIFF_H
/* only the generators are used here */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#include "isa_diff.h"
#pragma GCC diagnostic pop

#include <pthread.h>
#include <time.h>

#include "cpu/env.h"
#include "cpu/vcpu_mode.h"
#include "engine/bt/bt.h"
#include "engine/interp/interp.h"
#include "mmu/mmu.h"

/* ---- the guest's memory ----------------------------------------------------------------------
 * virtual          what                                           physical
 * SYS              everything, one supervisor page of 2 MiB       0
 * DIFF_ARENA       operands, diff_prot[] says how                 ARENA_GPA + space * ARENA_STRIDE
 * CODE_GVA         programs; neighbours are not neighbours        CODE_GPA
 * COUNTER_GVA      loop counters                                  COUNTER_GPA */
#define SYS 0xFFFF800000000000ull
#define CODE_GVA 0x20000000ull
#define COUNTER_GVA 0x20010000ull
#define MMIO_GPA 0xFE000000ull
enum {
    RAM_BYTES = 2 << 20,
    GDT_GPA = 0x1000,
    IDT_GPA = 0x2000,
    TSS_GPA = 0x3000,
    STUB_GPA = 0x4000,
    COMMON_GPA = 0x5000,
    NEXT_GPA = 0x6000, /* index of the next resume point */
    RESUME_GPA = 0x6100,
    LOG_GPA = 0x7000,
    INVPCID_GPA = 0x8000,
    IST_GPA = 0xA000,
    SPACE_GPA = 0x10000,
    SPACE_STRIDE = 0x8000,
    SPACES = 2,
    ARENA_GPA = 0x100000,
    ARENA_STRIDE = 0x20000,
    SPARE_GPA = 0x140000,
    SPARE_PAGES = 8,
    CODE_GPA = 0x180000,
    CODE_PAGES = 8,
    COUNTER_GPA = 0x190000,
    RESUMES = 64,
    VEC_CALL = 0x80,
    VEC_END = 0x81,
    SYSCALL_STUB = 0x82, /* in the place of a vector's */
};
enum { PTE_P = 1, PTE_W = 2, PTE_U = 4, PTE_A = 0x20, PTE_D = 0x40, PTE_PS = 0x80, PTE_G = 0x100 };
#define PTE_NX BIT(63)
enum { K_CODE = 0x08, K_DATA = 0x10, U_DATA = 0x1B, U_CODE = 0x23, TSS_SEL = 0x30 };

/* Vector and error code are pushed; log the frame, go on at the next resume point. */
__asm__(".pushsection .rodata\n"
        "bt_diff_common:\n"
        "push %rax\n push %rcx\n push %rdx\n"
        "mov bt_diff_common+0x1000(%rip), %rax\n"
        "and $63, %eax\n"
        "mov %eax, %ecx\n shl $6, %ecx\n"
        "lea bt_diff_common+0x2000(%rip), %rdx\n add %rcx, %rdx\n"
        "mov 24(%rsp), %rcx\n mov %rcx, (%rdx)\n"
        "mov 32(%rsp), %rcx\n mov %rcx, 8(%rdx)\n"
        "mov 40(%rsp), %rcx\n mov %rcx, 16(%rdx)\n"
        "mov 48(%rsp), %rcx\n mov %rcx, 24(%rdx)\n"
        "mov 56(%rsp), %rcx\n mov %rcx, 32(%rdx)\n"
        "mov 64(%rsp), %rcx\n mov %rcx, 40(%rdx)\n"
        "mov %cr2, %rcx\n mov %rcx, 48(%rdx)\n"
        "incq bt_diff_common+0x1000(%rip)\n"
        "lea bt_diff_common+0x1100(%rip), %rcx\n"
        "mov (%rcx,%rax,8), %rcx\n mov %rcx, 40(%rsp)\n"
        "pop %rdx\n pop %rcx\n pop %rax\n add $16, %rsp\n iretq\n"
        "bt_diff_common_end:\n"
        ".popsection\n");
extern const u8 bt_diff_common[], bt_diff_common_end[];

/* ---- programs -------------------------------------------------------------------------------- */

enum { PROG_ITEMS = 40, ITEM_BYTES = 64, FIXES = 2 };
struct fix {    /* a rel32 field */
    u8 at, end; /* of the field, and of its instruction, in the item */
    u8 item;    /* what it points to ... */
    u8 add;     /* ... and how far into it */
};
struct item {
    u8 bytes[ITEM_BYTES];
    u8 n, fixes;
    u8 imm_at; /* of an immediate that may be overwritten, 0: none */
    bool gone; /* reduced away */
    struct fix fix[FIXES];
};
struct prog {
    struct item item[PROG_ITEMS + 1]; /* the last one ends the program */
    u32 items;
    u32 code_off; /* where it starts */
    u32 runs;
    u8 resume[RESUMES];
    bool user, spaces, ts, writable_code, mmio;
    u64 arena_flags[DIFF_PAGES], code_flags;
    u32 counter[PROG_ITEMS];
    u64 fs_base, gs_base, fmask;
    struct diff_state in;
    u32 at[PROG_ITEMS + 1]; /* of each item from CODE_GVA: set by prog_link */
};

static void put(struct item *t, const void *bytes, u32 n)
{
    memcpy(t->bytes + t->n, bytes, n);
    t->n = (u8)(t->n + n);
}
#define PUT(t, ...) put(t, (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__}))
static void put32(struct item *t, u32 val) { put(t, &val, 4); }
static void put64(struct item *t, u64 val) { put(t, &val, 8); }
static void put_mov(struct item *t, u32 reg, u64 val)
{
    PUT(t, (u8)(0x48 | (reg >> 3)), (u8)(0xB8 | (reg & 7)));
    put64(t, val);
}
static void put_rel(struct item *t, u32 item, u32 add)
{
    t->fix[t->fixes++] = (struct fix){t->n, (u8)(t->n + 4), (u8)item, (u8)add};
    put32(t, 0);
}

/* Integer instructions compilers emit; the generators of isa_diff.h prefer the rare ones. */
static u32 gen_common(u8 *b)
{
    static const u8 one[] = {0x00, 0x01, 0x02, 0x03, 0x08, 0x0B, 0x10, 0x13, 0x18, 0x1B,
                             0x20, 0x23, 0x28, 0x29, 0x2B, 0x30, 0x31, 0x33, 0x38, 0x39,
                             0x3A, 0x3B, 0x63, 0x69, 0x6B, 0x80, 0x81, 0x83, 0x84, 0x85,
                             0x86, 0x87, 0x88, 0x89, 0x8A, 0x8B, 0x8D, 0xC0, 0xC1, 0xC6,
                             0xC7, 0xD0, 0xD1, 0xD2, 0xD3, 0xF6, 0xF7, 0xFE, 0xFF};
    static const u8 two[] = {0x10, 0x11, 0x12, 0x28, 0x29, 0x2A, 0x40, 0x42, 0x44, 0x47,
                             0x4C, 0x51, 0x54, 0x57, 0x58, 0x5C, 0x6E, 0x6F, 0x70, 0x7E,
                             0x7F, 0x90, 0x92, 0x94, 0x9F, 0xA3, 0xA4, 0xA5, 0xAB, 0xAC,
                             0xAF, 0xB0, 0xB1, 0xB3, 0xB6, 0xB7, 0xBA, 0xBB, 0xBC, 0xBD,
                             0xBE, 0xBF, 0xC0, 0xC1, 0xC7, 0xC8, 0xD6, 0xE7, 0xEF, 0xFE};
    u32 n = 0;
    if (!below(16)) b[n++] = 0xF0;
    if (!below(16)) b[n++] = 0x65;
    if (!below(5)) b[n++] = (u8[]){0x66, 0x66, 0xF2, 0xF3}[below(4)];
    if (below(4)) b[n++] = (u8)(0x40 | below(16));
    if (below(3)) {
        b[n++] = one[below(ARRAY_LEN(one))];
    } else {
        b[n++] = 0x0F;
        b[n++] = two[below(ARRAY_LEN(two))];
    }
    return put_random_tail(b, n);
}

static void prog_random_insn(void)
{
    u8 b[32];
    for (;;) {
        if (below(3)) {
            u32 n = gen_common(b);
            if (isa_decode(&D.i, b, n, ISA_64) <= 0) continue;
        } else {
            diff_random_insn();
        }
        if (diff_wanted(&D.i) && D.i.mnemonic != ZYDIS_MNEMONIC_PREFETCH) return;
    }
}

static u64 rnd_gva(const struct insn *i)
{
    if (!below(48)) return rnd();
    if (!below(48)) return 0x800000000000ull - below(16);
    u64 to = rnd_target(i);
    while (diff_prot[(to - DIFF_ARENA) >> PAGE_SHIFT] != P_RW && below(8)) to = rnd_target(i);
    if (below(2)) to &= ~7ull;
    return to;
}

/* Make the operands of D.i land in the arena, mostly. */
static void put_aim(struct item *t, bool based)
{
    const struct insn *i = &D.i;
    if (i->row != INSN_COMPUTE) {
        if (below(2)) put_mov(t, RSP, rnd_gva(i) & (below(8) ? ~7ull : ~0ull));
        if (insn_rows[i->row].class == C_STRING) {
            put_mov(t, RSI, rnd_gva(i));
            put_mov(t, RDI, rnd_gva(i));
            put_mov(t, RCX, below(40));
        }
    }
    if (diff_is_bt(i)) put_mov(t, i->op[1].reg & 15, (u64)((s64)below(1 << 18) - (1 << 17)));
    if (!i->mem_bytes || !based || i->base >= GPRS) return;
    u64 scaled = 0;
    if (i->index < GPRS && i->index != i->base) {
        u64 index = below(64);
        put_mov(t, i->index, index);
        scaled = index << i->scale;
    }
    u64 seg = i->seg == GS ? DIFF_ARENA / 2 : 0;
    put_mov(t, i->base, rnd_gva(i) - (u64)i->disp - scaled - seg);
}

static void item_random(struct item *t, u32 k, u32 items)
{
    prog_random_insn();
    struct diff_state s = {.rip = CODE_GVA + 0x4000};
    diff_patch_disp(&s);
    const struct insn *i = &D.i;
    bool branch = i->row != INSN_COMPUTE && insn_rows[i->row].class == C_BRANCH;
    u32 to = k + 1 + below(items - k);
    put_aim(t, below(6) != 0);
    if (branch && i->op[0].kind == OPND_REL && i->opsize == 8) {
        u32 head = (u32)i->len - ((i->opcode & 0xF0) == 0x80 || i->opcode >= 0xE8 ? 4u : 1u);
        if (i->opcode == 0xEB || i->opcode == 0xE8 || i->opcode == 0xE9) {
            PUT(t, (u8)(i->opcode == 0xE8 ? 0xE8 : 0xE9));
            put_rel(t, to, 0);
        } else if (i->len - head == 4) {
            put(t, i->bytes, head);
            put_rel(t, to, 0);
        } else {
            put(t, i->bytes, i->len - 1u);
            PUT(t, 5, 0xE9);
            put_rel(t, to, 0);
        }
        return;
    }
    put(t, i->bytes, i->len);
}

/* ---- items of a purpose ---- */

static void item_jcc(struct item *t, u32 k, u32 items)
{
    PUT(t, 0x0F, (u8)(0x80 | below(16)));
    put_rel(t, k + 1 + below(items - k), 0);
}
static void item_loop(struct item *t, u32 k)
{
    PUT(t, 0x83, 0x2C, 0x25); /* sub dword [counter], 1; jns */
    put32(t, (u32)COUNTER_GVA + k * 4);
    PUT(t, 1, 0x0F, 0x89);
    put_rel(t, k - below(min_u64(k + 1, 6) & 0xFF), 0);
}
static void item_indirect(struct item *t, u32 k, u32 items)
{
    u32 to = k + 1 + below(items - k);
    PUT(t, 0x48, 0x8D, 0x05); /* lea rax, [item] */
    put_rel(t, to, 0);
    switch (below(4)) {
    case 0: PUT(t, 0xFF, 0xE0); break;
    case 1: PUT(t, 0xFF, 0xD0); break;
    case 2: PUT(t, 0x50, 0xC3); break;
    default: PUT(t, 0x49, 0x89, 0xC2, 0x41, 0xFF, 0xE2); /* through r10 */
    }
}
static void item_call_ret(struct item *t, u32 k, u32 items)
{
    if (below(2)) {
        PUT(t, 0xC3);
        return;
    }
    PUT(t, 0xE8);
    put_rel(t, k + 1 + below(items - k), 0);
}
/* mov r32, imm32: what item_patch overwrites */
static void item_imm(struct item *t)
{
    u32 reg = below(16);
    if (reg == RSP) reg = R15;
    if (reg >= 8) PUT(t, 0x41);
    PUT(t, (u8)(0xB8 | (reg & 7)));
    t->imm_at = t->n;
    put32(t, (u32)rnd());
}
/* mov byte [rip + ...], imm8; which byte is decided when the target is known */
static void item_patch(struct item *t, u32 k, u32 items)
{
    PUT(t, 0xC6, 0x05);
    u32 to = below(4) ? k + below(items - k) : below(items);
    t->fix[t->fixes++] = (struct fix){t->n, (u8)(t->n + 5), (u8)to, 1};
    put32(t, 0);
    PUT(t, (u8)rnd());
}
static void item_pushf(struct item *t)
{
    u64 flags = (rnd() & (RFLAGS_ARITH | RFLAGS_ID)) | 2;
    if (!below(8)) flags |= RFLAGS_DF;
    if (!below(8)) flags |= RFLAGS_AC;
    if (!below(8)) flags |= RFLAGS_NT;
    if (!below(16)) flags |= RFLAGS_TF;
    if (below(2)) {
        PUT(t, 0x9C, 0x58);
        return;
    }
    PUT(t, 0x68);
    put32(t, (u32)flags);
    PUT(t, 0x9D);
}
/* An IRETQ within the supervisor's code; sometimes one that faults. */
static void item_iret(struct item *t)
{
    static const u8 cs[] = {K_CODE, K_CODE, K_CODE, K_CODE, K_CODE, K_CODE,    K_CODE + 1,
                            K_DATA, U_CODE, 0,      0x28,   0xF8,   K_CODE + 4};
    static const u8 ss[] = {K_DATA, K_DATA, K_DATA, K_DATA, 0, 0, U_DATA, K_CODE, 3, 0x70};
    const u32 user_flags = RFLAGS_ARITH | RFLAGS_DF | RFLAGS_AC | RFLAGS_ID | RFLAGS_IOPL;
    u32 flags = ((u32)rnd() & user_flags & ~(below(4) ? RFLAGS_DF : 0u)) | 2;
    if (!below(16)) flags |= RFLAGS_TF;
    if (!below(16)) flags |= RFLAGS_NT;
    if (!below(16)) flags |= RFLAGS_RF;
    put_mov(t, RSP, DIFF_ARENA + below(DIFF_PAGES) * PAGE_BYTES + (below(4) ? 0x800 : below(4096)));
    PUT(t, 0x6A, ss[below(ARRAY_LEN(ss))], 0x54, 0x68);
    put32(t, flags);
    PUT(t, 0x6A, cs[below(ARRAY_LEN(cs))]);
    if (below(16)) PUT(t, 0x48, 0x8D, 0x05, 3, 0, 0, 0, 0x50, 0x48, 0xCF);
    else PUT(t, 0x48, 0xB8, 0, 0, 0, 0, 0, 0x80, 0, 0, 0x50, 0x48, 0xCF); /* not canonical */
}
/* What has an inline form, or is executed by light.c. */
static void item_inline(struct item *t, bool user)
{
    switch (below(user ? 8 : 10)) {
    case 0: PUT(t, 0x0F, 0x31); break;                                     /* rdtsc */
    case 1: PUT(t, 0x0F, 0x01, 0xF9); break;                               /* rdtscp */
    case 2: PUT(t, 0x66, 0x8C, 0xD8); break;                               /* mov ax, ds */
    case 3: PUT(t, 0x66, 0x41, 0x8C, (u8)(0xC2 + 8 * below(6))); break;    /* mov r10w, sreg */
    case 4: PUT(t, 0xF3, 0x0F, 0xAE, (u8)(0xD0 + below(8))); break;        /* wrfsbase r32 */
    case 5: PUT(t, 0xF3, 0x49, 0x0F, 0xAE, (u8)(0xD0 + below(16))); break; /* wr{f,g}sbase r8.. */
    case 6:
    case 7: /* syscall, or a return from none */
        if (user) PUT(t, 0x0F, 0x05);
        else put_mov(t, RCX, BIT(47)), PUT(t, 0x48, 0x0F, 0x07);
        break;
    default: PUT(t, (u8)(0x40 + below(2)), 0x0F, 0x22, (u8)(0xD0 + below(8))); /* mov cr2, reg */
    }
}
static void item_system(struct item *t, bool user)
{
    if (below(2)) {
        if (user || below(3)) item_inline(t, user);
        else item_iret(t);
        return;
    }
    switch (below(user ? 6 : 9)) {
    case 0: PUT(t, 0xCC); break;
    case 1: PUT(t, 0xCD, VEC_CALL); break;
    case 2:
        put_mov(t, RAX, DIFF_ARENA / 2 + below(4096));
        PUT(t, 0xF3, 0x48, 0x0F, 0xAE, 0xD8);
        break;                                           /* wrgsbase */
    case 3: PUT(t, 0xF3, 0x48, 0x0F, 0xAE, 0xCB); break; /* rdgsbase rbx */
    case 4: PUT(t, 0xFC); break;
    case 5: PUT(t, 0x0F, 0x0B); break;
    case 6: PUT(t, 0x0F, 0x06); break;                                                 /* clts */
    case 7: PUT(t, 0x0F, 0x20, 0xC0, 0x48, 0x83, 0xF0, 0x08, 0x0F, 0x22, 0xC0); break; /* TS */
    default: PUT(t, 0x0F, 0x01, 0xF8);                                                 /* swapgs */
    }
}
static u64 pt_gpa(u32 space) { return SPACE_GPA + space * SPACE_STRIDE + 0x3000; }
/* Change the translation of an arena page, and let the processor know. */
static void item_remap(struct item *t, const struct prog *p)
{
    u32 page = below(DIFF_PAGES), space = p->spaces ? below(SPACES) : 0;
    u64 to = below(3) ? SPARE_GPA + below(SPARE_PAGES) * PAGE_BYTES
                      : ARENA_GPA + below(DIFF_PAGES) * PAGE_BYTES;
    u64 pte = to | (rnd() & (PTE_W | PTE_U | PTE_A | PTE_D)) | PTE_NX | (below(4) ? 7 : 6);
    put_mov(t, RAX, pte);
    put_mov(t, RCX, SYS + pt_gpa(space) + 8 * page);
    PUT(t, 0x48, 0x89, 0x01);
    if (p->spaces || below(4) == 0) {
        PUT(t, 0xB8, 2, 0, 0, 0);
        put_mov(t, RCX, SYS + INVPCID_GPA);
        PUT(t, 0x66, 0x0F, 0x38, 0x82, 0x01, 0x31, 0xC9); /* nobody else is to find it */
    } else {
        put_mov(t, RCX, DIFF_ARENA + page * PAGE_BYTES + below(PAGE_BYTES));
        PUT(t, 0x0F, 0x01, 0x39);
    }
}
static u64 cr3_of(u32 space, bool spaces)
{
    return (SPACE_GPA + space * SPACE_STRIDE) | (spaces ? space + 1 : 0);
}
static void item_cr3(struct item *t)
{
    put_mov(t, RAX, cr3_of(below(SPACES), true) | (below(2) ? CR3_NOFLUSH : 0));
    PUT(t, 0x0F, 0x22, 0xD8);
}

static void item_make(struct prog *p, u32 k)
{
    struct item *t = &p->item[k];
    *t = (struct item){.n = 0};
    switch (below(24)) {
    case 0: item_jcc(t, k, p->items); break;
    case 1: item_loop(t, k); break;
    case 2: item_indirect(t, k, p->items); break;
    case 3: item_call_ret(t, k, p->items); break;
    case 4: item_imm(t); break;
    case 5:
        if (p->writable_code) item_patch(t, k, p->items);
        else item_imm(t);
        break;
    case 6:
        if (below(2)) item_system(t, p->user);
        else item_pushf(t);
        break;
    case 7:
        if (!p->user) item_remap(t, p);
        else item_random(t, k, p->items);
        break;
    case 8:
        if (p->spaces) item_cr3(t);
        else item_random(t, k, p->items);
        break;
    default: item_random(t, k, p->items);
    }
}

/* Where the fixes of item_patch go: an immediate, or bytes that are written as they are. */
static void prog_patches(struct prog *p)
{
    for (u32 k = 0; k < p->items; k++) {
        struct item *t = &p->item[k];
        if (t->n != 7 || t->bytes[0] != 0xC6 || t->bytes[1] != 5 || !t->fixes) continue;
        struct fix *f = &t->fix[0];
        const struct item *to = &p->item[f->item];
        f->add = to->imm_at ? (u8)(to->imm_at + below(4)) : 0;
        if (!to->imm_at) t->bytes[6] = to->bytes[0];
    }
}

static void prog_pages(struct prog *p)
{
    for (u32 n = 0; n < DIFF_PAGES; n++) {
        u64 prot = diff_prot[n] == P_RW ? PTE_P | PTE_W : diff_prot[n] == P_R ? PTE_P : 0;
        p->arena_flags[n] = prot | PTE_NX | (below(32) ? PTE_U : 0) |
                            (rnd() & (PTE_A | PTE_D | (p->spaces ? 0 : PTE_G)));
    }
    p->code_flags = PTE_P | PTE_U | PTE_A | (p->writable_code ? PTE_W | PTE_D : 0);
}

static void prog_make(struct prog *p)
{
    memset(p, 0, sizeof *p);
    p->items = 2 + below(PROG_ITEMS - 10);
    p->runs = below(2) ? 1 : 2 + below(3);
    p->user = below(2);
    p->spaces = !p->user && !below(3);
    p->ts = !below(16);
    p->writable_code = below(3) == 0;
    p->mmio = !below(3);
    p->code_off = below(CODE_PAGES * PAGE_BYTES - (PROG_ITEMS + 1) * ITEM_BYTES);
    if (!below(3)) p->code_off |= 0xFC0;
    p->code_off =
        (u32)min_u64(p->code_off, CODE_PAGES * PAGE_BYTES - (PROG_ITEMS + 1) * ITEM_BYTES);
    prog_pages(p);
    for (u32 n = 0; n < PROG_ITEMS; n++) p->counter[n] = 1 + below(below(8) ? 6 : 40);
    p->gs_base = DIFF_ARENA / 2;
    p->fmask = below(2) ? RFLAGS_ARITH | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF : rnd() & 0x3F7FD7;
    diff_random_state(&p->in);
    if (p->in.fx.mxcsr != 0x1F80 && below(2)) p->in.fx.mxcsr = 0x1F80;
    p->in.gpr[RSP] = DIFF_ARENA + 2 * PAGE_BYTES + 0x800;
    for (u32 k = 0; k < p->items; k++) item_make(p, k);
    p->item[p->items] = (struct item){.bytes = {0xCD, VEC_END}, .n = 2};
    prog_patches(p);
    u32 at = 0;
    for (u32 n = 0; n < RESUMES; n++) {
        at += below(4);
        if (!below(8) && at > 4) at -= below(4);
        p->resume[n] = (u8)(at > p->items || n >= RESUMES - 2 ? p->items : at);
    }
}

/* The program's bytes at @code; returns how many. */
static u32 prog_link(struct prog *p, u8 *code)
{
    u32 at = 0;
    for (u32 k = 0; k <= p->items; k++) {
        p->at[k] = p->code_off + at;
        if (p->item[k].gone) continue;
        memcpy(code + at, p->item[k].bytes, p->item[k].n);
        at += p->item[k].n;
    }
    for (u32 k = 0; k <= p->items; k++) {
        const struct item *t = &p->item[k];
        for (u32 f = 0; f < t->fixes && !t->gone; f++) {
            const struct fix *x = &t->fix[f];
            u32 add = p->item[x->item].gone ? 0 : x->add;
            u32 rel = p->at[x->item] + add - (p->at[k] + x->end);
            memcpy(code + p->at[k] - p->code_off + x->at, &rel, 4);
        }
    }
    return at;
}

/* ---- machines -------------------------------------------------------------------------------- */

struct box {
    const struct engine *engine;
    struct mem mem;
    struct mmu_domain *domain;
    struct cpu_env env;
    struct vcpu *v;
    u64 mmio_hash;
};
static struct {
    struct cpu_model model;
    struct box box[2]; /* interpreter, translator */
    u8 *before;        /* memory at the program's start */
    _Atomic(struct box *) running;
    _Atomic u32 turn;
    bool late; /* vcpu.bt_late of the translator */
    u64 programs, skipped, faults;
} T;

static u64 box_mmio_read(void *ctx, struct vcpu *v, gpa_t gpa, u32 bytes)
{
    struct box *b = ctx;
    (void)v;
    b->mmio_hash = (b->mmio_hash ^ gpa ^ bytes) * 0x9E3779B97F4A7C15ull;
    return (gpa * 0xD1B54A32D192ED03ull) >> 8 & mask_bytes(bytes);
}
static void box_mmio_write(void *ctx, struct vcpu *v, gpa_t gpa, u64 val, u32 bytes)
{
    struct box *b = ctx;
    (void)v;
    val &= mask_bytes(bytes);
    b->mmio_hash = (b->mmio_hash ^ gpa ^ (u64)bytes << 60 ^ val << 7) * 0xBF58476D1CE4E5B9ull;
}
static u32 box_port_in(void *ctx, struct vcpu *v, u16 port, u32 bytes)
{
    (void)ctx, (void)v;
    return (port * 0x9E3779B1u) & (u32)mask_bytes(bytes);
}
static void box_port_out(void *ctx, struct vcpu *v, u16 port, u32 val, u32 bytes)
{
    (void)ctx, (void)v, (void)port, (void)val, (void)bytes;
}
static u64 box_clock(void *ctx)
{
    (void)ctx;
    return 1000;
}
static u8 box_cr8_get(void *ctx, struct vcpu *v)
{
    (void)ctx, (void)v;
    return 0;
}
static void box_cr8_set(void *ctx, struct vcpu *v, u8 cr8) { (void)ctx, (void)v, (void)cr8; }

static void must(int rc, const struct err *e)
{
    if (rc >= 0) return;
    fprintf(stderr, "%s\n", e->text);
    abort();
}

static void box_init(struct box *b, const struct engine *engine)
{
    struct err e = {0};
    *b = (struct box){.engine = engine};
    b->env = (struct cpu_env){.ctx = b,
                              .mmio_read = box_mmio_read,
                              .mmio_write = box_mmio_write,
                              .port_in = box_port_in,
                              .port_out = box_port_out,
                              .cr8_get = box_cr8_get,
                              .cr8_set = box_cr8_set,
                              .clock_ns = box_clock,
                              .wall_ns = box_clock,
                              .random = box_clock};
    must(mem_init(&b->mem, &e), &e);
    must(mem_add(&b->mem, 0, RAM_BYTES, false, &e), &e);
    must(mmu_domain_create(&b->domain, &b->mem, &e), &e);
    b->v = aligned_alloc(64, align_up(sizeof *b->v, 64));
    if (!b->v) abort();
    struct vcpu_cfg cfg = {.tsc_khz = 1000000, .mem = &b->mem, .env = &b->env, .model = &T.model};
    vcpu_init(b->v, &cfg);
    vcpu_reset(b->v, false);
    must(mmu_init(b->v, b->domain, &e), &e);
    must(engine->init(b->v, &e), &e);
}
static void box_fini(struct box *b)
{
    if (!b->v) return;
    b->engine->fini(b->v);
    mmu_fini(b->v);
    free(b->v);
    mmu_domain_destroy(b->domain);
    mem_fini(&b->mem);
    b->v = NULL;
}
static u8 *box_ram(const struct box *b) { return b->mem.slot[0].hva; }

static void poke(struct box *b, gpa_t at, const void *data, u32 n)
{
    if (memcmp(box_ram(b) + at, data, n)) must(mem_load(&b->mem, at, data, n), &(struct err){0});
}
static void poke64(struct box *b, gpa_t at, u64 val) { poke(b, at, &val, 8); }

/* ---- guest tables ---- */

static void put_gate(struct box *b, u32 vector)
{
    u64 to = SYS + STUB_GPA + vector * 16, dpl = vector >= VEC_CALL || vector == 3 ? 3 : 0;
    poke64(b, IDT_GPA + vector * 16,
           (to & 0xFFFF) | (u64)K_CODE << 16 | 1ull << 32 | (0x8E00 | dpl << 13) << 32 |
               (to >> 16 & 0xFFFF) << 48);
    poke64(b, IDT_GPA + vector * 16 + 8, to >> 32);
}
static void put_stub(struct box *b, u32 vector)
{
    u8 code[16] = {0};
    u32 n = 0;
    bool error = vector == 8 || (vector >= 10 && vector <= 14) || vector == 17;
    if (vector == VEC_END) {
        code[n++] = 0xF4;
    } else if (vector == SYSCALL_STUB) {
        code[n++] = 0x48, code[n++] = 0x0F, code[n++] = 0x07;
    } else if (vector == VEC_CALL) {
        code[n++] = 0x48, code[n++] = 0xCF;
    } else {
        if (!error) code[n++] = 0x6A, code[n++] = 0;
        code[n++] = 0x6A, code[n++] = (u8)vector, code[n++] = 0xE9;
        u32 rel = COMMON_GPA - (STUB_GPA + vector * 16 + n + 4);
        memcpy(code + n, &rel, 4);
    }
    poke(b, STUB_GPA + vector * 16, code, sizeof code);
}
static void box_tables(struct box *b)
{
    static const u64 gdt[8] = {0,
                               0x00AF9B000000FFFF,
                               0x00CF93000000FFFF,
                               0x00CFF3000000FFFF,
                               0x00AFFB000000FFFF,
                               0,
                               (u64)(TSS_GPA & 0xFFFF) << 16 | 0x8B0000000067ull,
                               SYS >> 32};
    poke(b, GDT_GPA, gdt, sizeof gdt);
    for (u32 n = 0; n < 32; n++) put_gate(b, n), put_stub(b, n);
    for (u32 n = VEC_CALL; n <= VEC_END; n++) put_gate(b, n), put_stub(b, n);
    put_stub(b, SYSCALL_STUB);
    poke(b, COMMON_GPA, bt_diff_common, (u32)(bt_diff_common_end - bt_diff_common));
    u8 tss[0x68] = {0};
    u64 ist = SYS + IST_GPA;
    memcpy(tss + 4, &ist, 8);
    memcpy(tss + 0x24, &ist, 8);
    poke(b, TSS_GPA, tss, sizeof tss);
}
static void box_paging(struct box *b, const struct prog *p)
{
    enum { ALL = PTE_P | PTE_W | PTE_U | PTE_A };
    for (u32 s = 0; s < SPACES; s++) {
        gpa_t g = SPACE_GPA + s * SPACE_STRIDE;
        poke64(b, g, (g + 0x1000) | ALL);
        poke64(b, g + 256 * 8, (g + 0x5000) | ALL);
        poke64(b, g + 0x1000, (g + 0x2000) | ALL);
        poke64(b, g + 0x2000 + (DIFF_ARENA >> 21) * 8, (g + 0x3000) | ALL);
        poke64(b, g + 0x2000 + (CODE_GVA >> 21) * 8, (g + 0x4000) | ALL);
        poke64(b, g + 0x5000, (g + 0x6000) | ALL);
        poke64(b, g + 0x6000, PTE_P | PTE_W | PTE_A | PTE_D | PTE_PS | PTE_G);
        for (u32 n = 0; n < DIFF_PAGES; n++) {
            u64 to = ARENA_GPA + s * ARENA_STRIDE + n * PAGE_BYTES;
            if (p->mmio && n == 9) to = MMIO_GPA | PTE_P | PTE_W;
            poke64(b, g + 0x3000 + n * 8, to | p->arena_flags[n]);
        }
        for (u32 n = 0; n < CODE_PAGES; n++)
            poke64(b, g + 0x4000 + n * 8, (CODE_GPA + (n ^ 1) * PAGE_BYTES) | p->code_flags);
        poke64(b, g + 0x4000 + 16 * 8, COUNTER_GPA | ALL | PTE_D | PTE_NX);
    }
}

static void poke_code(struct box *b, u32 off, const u8 *code, u32 n)
{
    for (u32 done = 0, some; done < n; done += some) {
        u32 at = off + done;
        some = (u32)min_u64(n - done, PAGE_BYTES - at % PAGE_BYTES);
        poke(b, CODE_GPA + (at / PAGE_BYTES ^ 1) * PAGE_BYTES + at % PAGE_BYTES, code + done, some);
    }
}

static void set_segment(struct seg *s, u16 sel, u64 base, u32 attr)
{
    *s = (struct seg){.base = base, .limit = ~0u, .attr = attr, .sel = sel};
}
static void box_processor(struct box *b, const struct prog *p, bool flush)
{
    struct vcpu *v = b->v;
    u32 ring = p->user ? SEG_DPL : 0;
    v->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG | (p->ts ? CR0_TS : 0);
    v->cr4 = CR4_PAE | CR4_PGE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE | CR4_FSGSBASE;
    if (p->spaces) v->cr4 |= CR4_PCIDE;
    v->efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
    v->star = (u64)(K_DATA | 3) << 48 | (u64)K_CODE << 32;
    v->lstar = SYS + STUB_GPA + SYSCALL_STUB * 16;
    v->fmask = p->fmask;
    v->xcr0 = T.model.xcr0;
    v->cr3 = cr3_of(0, p->spaces);
    v->cr2 = 0;
    v->cpl = p->user ? 3 : 0;
    v->dr6 = DR6_FIXED;
    v->dr7 = DR7_FIXED;
    v->shadow = 0;
    v->pending_dbg = 0;
    v->kernel_gs_base = DIFF_ARENA / 2 + 64;
    for (u32 s = 0; s < SEGS; s++)
        set_segment(&v->seg[s], p->user ? U_DATA : K_DATA, 0,
                    SEG_P | SEG_S | SEG_W | SEG_A | SEG_G | SEG_DB | ring);
    set_segment(&v->seg[CS], p->user ? U_CODE : K_CODE, 0,
                SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A | SEG_L | SEG_G | ring);
    v->seg[GS].base = p->gs_base;
    v->tr = (struct seg){SYS + TSS_GPA, 0x67, 0x8B, TSS_SEL};
    v->gdtr = (struct dtable){SYS + GDT_GPA, 63};
    v->idtr = (struct dtable){SYS + IDT_GPA, 0xFFF};
    memcpy(v->gpr, p->in.gpr, sizeof v->gpr);
    v->rip = CODE_GVA + p->at[0];
    v->rflags = p->in.rflags & ~(u64)RFLAGS_IF;
    v->fx = p->in.fx;
    memcpy(v->vec, p->in.vec, sizeof v->vec);
    memcpy(v->k, p->in.k, sizeof v->k);
    v->run_state = VCPU_RUNNING;
    b->mmio_hash = 1;
    vcpu_mode_changed(v);
    vcpu_update_step(v);
    if (flush) v->mmu->flush_all(v);
}

/* @again: it ran just now, so user code finds its translations. */
static void box_load(struct box *b, struct prog *p, bool again)
{
    u8 code[(PROG_ITEMS + 1) * ITEM_BYTES];
    u32 n = prog_link(p, code);
    box_tables(b);
    again &= p->user;
    if (!again) box_paging(b, p);
    poke_code(b, p->code_off, code, n);
    poke64(b, NEXT_GPA, 0);
    poke64(b, INVPCID_GPA, 0);
    poke64(b, INVPCID_GPA + 8, 0);
    poke(b, COUNTER_GPA, p->counter, sizeof p->counter);
    for (u32 k = 0; k < RESUMES; k++) poke64(b, RESUME_GPA + k * 8, CODE_GVA + p->at[p->resume[k]]);
    u8 none[RESUMES * 64] = {0};
    poke(b, LOG_GPA, none, sizeof none);
    box_processor(b, p, !again);
}

/* ---- running ---- */

enum { BUDGET = 20000, TURNS_MAX = 60 };

/* Stops a program that has been running for three seconds, as a machine would. */
static void *watch(void *arg)
{
    struct box *last = NULL;
    u32 turn = 0, seen = 0;
    (void)arg;
    for (;;) {
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
        struct box *b = atomic_load(&T.running);
        u32 now = atomic_load(&T.turn);
        seen = b && b == last && now == turn ? seen + 1 : 0;
        last = b;
        turn = now;
        if (seen < TURNS_MAX) continue;
        vcpu_attention(b->v, ATT_STOP);
        b->engine->kick(b->v);
    }
    return NULL;
}

static enum run_exit box_run(struct box *b)
{
    atomic_fetch_add(&T.turn, 1);
    atomic_store(&T.running, b);
    enum run_exit why = b->engine->run(b->v, BUDGET);
    atomic_store(&T.running, NULL);
    atomic_fetch_and(&b->v->attention, ~(u32)ATT_STOP);
    return why;
}

/* ---- comparison ------------------------------------------------------------------------------ */

#define NOTE(...) (void)((loud ? printf(__VA_ARGS__) : 0), same = false)
static bool same_registers(const struct vcpu *a, const struct vcpu *b, bool loud)
{
    static const char *const name[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    bool same = true;
    for (u32 n = 0; n < GPRS; n++)
        if (a->gpr[n] != b->gpr[n])
            NOTE("  %-8s %18" PRIx64 " %18" PRIx64 "\n", name[n], a->gpr[n], b->gpr[n]);
#define FIELD(f)                                                                                   \
    if (a->f != b->f) NOTE("  %-8s %18" PRIx64 " %18" PRIx64 "\n", #f, (u64)a->f, (u64)b->f)
    FIELD(rip);
    FIELD(rflags);
    FIELD(cpl);
    FIELD(mode);
    FIELD(shadow);
    FIELD(run_state);
    FIELD(cr0);
    FIELD(cr2);
    FIELD(cr3);
    FIELD(cr4);
    FIELD(efer);
    FIELD(dr6);
    FIELD(dr7);
    FIELD(pending_dbg);
    FIELD(kernel_gs_base);
    for (u32 n = 0; n < SEGS; n++) {
        FIELD(seg[n].base);
        FIELD(seg[n].sel);
        FIELD(seg[n].attr);
    }
#undef FIELD
    return same;
}
static bool same_vectors(const struct vcpu *a, const struct vcpu *b, bool loud)
{
    bool same = true;
    for (u32 n = 0; n < 32; n++) {
        if (!memcmp(a->vec[n], b->vec[n], 64)) continue;
        NOTE("  vec%u\n", n);
        if (!loud) continue;
        print_bytes("interp", a->vec[n], 64);
        print_bytes("bt", b->vec[n], 64);
    }
    for (u32 n = 0; n < 8; n++)
        if (a->k[n] != b->k[n]) NOTE("  k%u %" PRIx64 " %" PRIx64 "\n", n, a->k[n], b->k[n]);
    if (!same_x87(&a->fx, &b->fx)) {
        NOTE("  x87\n");
        if (loud) print_x87("interp", &a->fx), print_x87("bt    ", &b->fx);
    }
    return same;
}
/* Accessed bits may be set for accesses that were never made (SDM vol. 3A section 4.8). */
static bool is_table(gpa_t gpa) { return gpa - SPACE_GPA < SPACES * SPACE_STRIDE; }
static bool same_memory(const struct box *a, const struct box *b, bool loud)
{
    bool same = true;
    const u8 *x = box_ram(a), *y = box_ram(b);
    u32 shown = 0;
    if (a->mmio_hash != b->mmio_hash) NOTE("  MMIO accesses differ\n");
    if (!memcmp(x, y, RAM_BYTES)) return same;
    for (u32 n = 0; n < RAM_BYTES && shown < 20; n += 8) {
        u64 p, q;
        memcpy(&p, x + n, 8);
        memcpy(&q, y + n, 8);
        if (is_table(n)) q = (q & ~(u64)PTE_A) | (p & PTE_A);
        if (p != q) NOTE("  [%06x] %18" PRIx64 " %18" PRIx64 "\n", n, p, q), shown++;
    }
    return same;
}
#undef NOTE
static bool boxes_same(bool loud)
{
    const struct box *a = &T.box[0], *b = &T.box[1];
    bool r = same_registers(a->v, b->v, loud), v = same_vectors(a->v, b->v, loud);
    return same_memory(a, b, loud) && r && v;
}

/* ---- one program ----------------------------------------------------------------------------- */

enum outcome { SAME, DIFFERENT, SKIPPED };

/* Run @p on both machines as they are. */
static enum outcome prog_once(struct prog *p, bool again, bool loud)
{
    box_load(&T.box[0], p, again);
    box_load(&T.box[1], p, again);
    enum run_exit a = box_run(&T.box[0]);
    if (a == RUN_BUDGET) return SKIPPED; /* endless: the engines stop anywhere */
    enum run_exit b = box_run(&T.box[1]);
    if (a != b && loud) printf("  exit %d %d\n", (int)a, (int)b);
    return boxes_same(loud) && a == b ? SAME : DIFFERENT;
}

/* Several times: later runs find translated code and what was learnt about it. */
static enum outcome prog_run(struct prog *p, bool loud)
{
    enum outcome o = SAME;
    for (u32 n = 0; n < p->runs && o == SAME; n++) o = prog_once(p, n > 0, loud);
    return o;
}

static void boxes_fini(void)
{
    box_fini(&T.box[0]);
    box_fini(&T.box[1]);
}
static void boxes_init(void)
{
    box_init(&T.box[0], &engine_interp);
    box_init(&T.box[1], &engine_bt);
    T.box[1].v->bt_late = T.late;
}
/* On fresh machines, with memory as it was. */
static enum outcome prog_run_fresh(struct prog *p, bool loud)
{
    boxes_fini();
    boxes_init();
    for (u32 n = 0; n < 2; n++) memcpy(box_ram(&T.box[n]), T.before, RAM_BYTES);
    return prog_run(p, loud);
}

static void prog_reduce(struct prog *p)
{
    for (bool again = true; again;) {
        again = false;
        for (u32 k = 0; k < p->items; k++) {
            if (p->item[k].gone) continue;
            p->item[k].gone = true;
            if (prog_run_fresh(p, false) == DIFFERENT) again = true;
            else p->item[k].gone = false;
        }
    }
    for (u32 was; (was = p->runs) > 1;) {
        p->runs--;
        if (prog_run_fresh(p, false) == DIFFERENT) continue;
        p->runs = was;
        break;
    }
    for (u32 n = 0; n < PROG_ITEMS; n++) {
        u32 was = p->counter[n];
        p->counter[n] = 0;
        if (prog_run_fresh(p, false) != DIFFERENT) p->counter[n] = was;
    }
    u64 flags = p->in.rflags;
    p->in.rflags = 0x202;
    if (prog_run_fresh(p, false) != DIFFERENT) p->in.rflags = flags;
    bool *const knob[] = {&p->ts, &p->mmio};
    for (u32 n = 0; n < ARRAY_LEN(knob); n++) {
        bool was = *knob[n];
        *knob[n] = false;
        if (was && prog_run_fresh(p, false) != DIFFERENT) *knob[n] = true;
    }
}

static void prog_print(struct prog *p)
{
    u8 code[(PROG_ITEMS + 1) * ITEM_BYTES];
    char text[128];
    prog_link(p, code);
    printf("  run %u of %s%s%s%s%s, rflags %" PRIx64 ", mxcsr %x\n", p->runs,
           p->user ? "user" : "supervisor", p->spaces ? ", two spaces" : "",
           p->ts ? ", CR0.TS" : "", p->mmio ? ", MMIO page 9" : "",
           p->writable_code ? ", code writable" : "", p->in.rflags, p->in.fx.mxcsr);
    for (u32 k = 0; k <= p->items; k++) {
        struct insn i;
        if (p->item[k].gone) continue;
        for (u32 at = 0; at < p->item[k].n; at += i.len) {
            u64 rip = CODE_GVA + p->at[k] + at;
            const u8 *b = code + p->at[k] - p->code_off + at;
            if (isa_decode(&i, b, p->item[k].n - at, ISA_64) <= 0) break;
            printf("  %" PRIx64 ":  ", rip);
            for (u32 n = 0; n < i.len; n++) printf("%02x", b[n]);
            printf("  %s\n", isa_format(&i, rip, text, sizeof text));
        }
    }
    u64 faults;
    memcpy(&faults, box_ram(&T.box[0]) + NEXT_GPA, 8);
    for (u64 n = 0; n < faults && n < 8; n++) {
        u64 x[2][7];
        for (u32 m = 0; m < 2; m++) memcpy(x[m], box_ram(&T.box[m]) + LOG_GPA + n * 64, 56);
        printf("  exception %" PRIu64 "/%" PRIu64 " error %" PRIx64 "/%" PRIx64 " rip %" PRIx64
               "/%" PRIx64 " cr2 %" PRIx64 "/%" PRIx64 "\n",
               x[0][0], x[1][0], x[0][1], x[1][1], x[0][2], x[1][2], x[0][6], x[1][6]);
    }
}

static void prog_report(struct prog *p, u64 seed, u32 n)
{
    printf("MISMATCH seed %" PRIu64 " program %u (left: interpreter, right: translator)\n", seed,
           n);
    fflush(stdout);
    boxes_same(true);
    if (prog_run_fresh(p, false) == DIFFERENT) {
        prog_reduce(p);
        printf(" reduced, on fresh machines:\n");
        prog_run_fresh(p, true);
    } else {
        printf(" only after the programs before it:\n");
    }
    prog_print(p);
    fflush(stdout);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

enum { ROUND_PROGRAMS = 60 };

/* False at the first mismatch, already reported. */
static inline bool bt_diff_round(u64 seed)
{
    D.rng = seed * 0x9E3779B97F4A7C15ull | 1;
    for (u32 n = 0; n < 4; n++) (void)rnd();
    T.late = seed % 3 == 0; /* both ways of executing code for the first time, and changes */
    boxes_init();
    for (u64 n = 0; n < SPARE_GPA + SPARE_PAGES * PAGE_BYTES - ARENA_GPA; n += 64)
        rnd_vector(box_ram(&T.box[0]) + ARENA_GPA + n, 64);
    memcpy(box_ram(&T.box[1]), box_ram(&T.box[0]), RAM_BYTES);
    bool good = true;
    for (u32 n = 0; n < ROUND_PROGRAMS && good; n++) {
        static struct prog p;
        prog_make(&p);
        memcpy(T.before, box_ram(&T.box[0]), RAM_BYTES);
        enum outcome o = prog_run(&p, false);
        T.programs++;
        T.skipped += o == SKIPPED;
        if (o == DIFFERENT) prog_report(&p, seed, n);
        good = o != DIFFERENT;
        if (o == SKIPPED) {
            boxes_fini();
            boxes_init();
            for (u32 m = 0; m < 2; m++) memcpy(box_ram(&T.box[m]), T.before, RAM_BYTES);
        }
        u64 faults;
        memcpy(&faults, box_ram(&T.box[0]) + NEXT_GPA, 8);
        T.faults += faults;
    }
    boxes_fini();
    return good;
}

/* Once per process, before everything else. */
static void bt_diff_start(void)
{
    struct err e = {0};
    struct cpu_model_cfg cfg = {.vcpus = 1, .tsc_khz = 1000000};
    const char *model = getenv("BT_MODEL");
    pthread_t thread;
    must(cpu_model_init(&T.model, model ? model : "max", &cfg, &e), &e);
    D.mode = ISA_64;
    D.v = aligned_alloc(64, align_up(sizeof *D.v, 64)); /* the generators look at it */
    T.before = malloc(RAM_BYTES);
    if (!T.before || !D.v) abort();
    memset(D.v, 0, sizeof *D.v);
    D.v->model = &T.model;
    D.v->mode = ISA_64;
    D.off_ymm = xstate_offset(2);
    D.off_k = xstate_offset(5);
    D.off_zmm_hi = xstate_offset(6);
    D.off_zmm_16 = xstate_offset(7);
    if (pthread_create(&thread, NULL, watch, NULL)) abort();
}
#endif

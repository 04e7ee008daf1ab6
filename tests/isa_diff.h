/* tests/isa_diff.h - the same random instruction on the host CPU and through the vCPU, all state
 * compared. The native side runs the original bytes in this process: a signal handler loads every
 * register through its signal frame with TF set, the processor runs one instruction, and the next
 * signal (#DB, or the instruction's own fault) hands every register back. Memory operands lie in an
 * arena with pages of every kind; the vCPU works on a second copy of it behind vcpu_mmu_ops.
 * Included by tests/isa_random_test.c and tests/fuzz/isa_fuzz.c. */
#ifndef TESTS_ISA_DIFF_H
#define TESTS_ISA_DIFF_H
#include <Zydis/Zydis.h>
#include <asm/ldt.h>
#include <asm/prctl.h>
#include <cpuid.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "cpu/insn_exec.h"
#include "cpu/seg.h"
#include "cpu/vcpu.h"
#include "engine/common/native.h"

/* ---- arena ----------------------------------------------------------------------------------- */

#define DIFF_ARENA 0x10000000ull /* fixed and below 4 GiB, so that 32-bit addresses reach it */
enum { DIFF_PAGES = 12, DIFF_CODE_PAGE = 10, DIFF_GUARD = 1 << 20 };
#define DIFF_BYTES ((u64)DIFF_PAGES * PAGE_BYTES)
#define DIFF_GS_BASE 0x2000ull
enum { P_NONE = 0, P_R = 1, P_RW = 3 };
/* The address sanitizer's shadow memory answers where the guest has nothing: no comparison then. */
#if defined(__SANITIZE_ADDRESS__)
enum { DIFF_SHADOWED = true };
#else
enum { DIFF_SHADOWED = false };
#endif
#define DIFF_SKIP "ok - random instructions # SKIP the address sanitizer's memory is in the way"
static const u8 diff_prot[DIFF_PAGES] = {P_RW, P_RW, P_RW, P_NONE, P_RW, P_R,
                                         P_RW, P_RW, P_RW, P_NONE, P_R,  P_NONE};

struct diff_state {
    u64 gpr[GPRS], rip, rflags;
    struct fxsave fx;
    u8 vec[32][64];
    u64 k[8];
    int vector; /* exception, -1: none */
    u32 error;
    u64 cr2;
};

static struct diff {
    enum isa_mode mode; /* of the code under test */
    u64 rng, seed, cases, mismatches;
    u8 *native;       /* DIFF_ARENA             */
    u8 *native_alias; /* the same, all writable */
    u8 *copy;         /* what the vCPU sees     */
    struct vcpu *v;
    struct insn i;
    struct diff_state in, host, guest;
    volatile int phase; /* 0 idle, 1 entering, 2 running */
    gregset_t home;
    u8 home_fp[8192];
    u32 fp_bytes;
    u32 off_ymm, off_k, off_zmm_hi, off_zmm_16;
    struct sigaction previous[NSIG];
    u16 selector[ISA_64 + 1]; /* CS of compatibility mode */
    u64 code_base;            /* CS base */
    bool segmented;           /* 32-bit code with the data segments of the LDT */
    gva_t home_lin;           /* of the operand */
    bool tlb_full;
    u8 known[ZYDIS_MNEMONIC_MAX_VALUE / 8 +
             1]; /* mnemonics of COMPUTE that came up, and that ran */
    u8 ran[ZYDIS_MNEMONIC_MAX_VALUE / 8 + 1];
    u64 per_category[ZYDIS_CATEGORY_MAX_VALUE + 1], per_vector[32], per_kind[8];
} D;
enum {
    KIND_MEM,
    KIND_LOCK,
    KIND_CROSSING,
    KIND_MASKED,
    KIND_FAULT,
    KIND_HIGH,
    KIND_RIPREL,
    KIND_DIRECT
};

static u64 rnd(void)
{
    D.rng ^= D.rng << 13;
    D.rng ^= D.rng >> 7;
    D.rng ^= D.rng << 17;
    return D.rng * 0x2545F4914F6CDD1Dull;
}
static u32 below(u32 n) { return (u32)((rnd() >> 33) % n); }

static void diff_decoder(ZydisDecoder *d)
{
    static const ZydisMachineMode machine[] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_16,
                                               ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
                                               ZYDIS_MACHINE_MODE_LONG_64};
    static const ZydisStackWidth stack[] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32,
                                            ZYDIS_STACK_WIDTH_64};
    ZydisDecoderInit(d, machine[D.mode], stack[D.mode]);
}

/* ---- native side ----------------------------------------------------------------------------- */

static const int diff_greg[GPRS] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                    REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                    REG_R12, REG_R13, REG_R14, REG_R15};
enum { SW_RESERVED = 464, XHEADER = 512, FLAGS_COMPARED = RFLAGS_ARITH | RFLAGS_DF | RFLAGS_AC };

static void diff_load(ucontext_t *uc, const struct diff_state *s)
{
    greg_t *g = uc->uc_mcontext.gregs;
    u8 *fp = (u8 *)uc->uc_mcontext.fpregs;
    for (u32 n = 0; n < GPRS; n++) g[diff_greg[n]] = (greg_t)s->gpr[n];
    g[REG_RIP] = (greg_t)s->rip;
    g[REG_EFL] = (greg_t)(s->rflags | RFLAGS_TF);
    if (D.mode != ISA_64) g[REG_CSGSFS] = (g[REG_CSGSFS] & ~0xFFFFll) | D.selector[D.mode];
    memcpy(fp, &s->fx, 160); /* all but XMM and the software bytes */
    for (u32 n = 0; n < 16; n++) {
        memcpy(fp + 160 + 16 * n, s->vec[n], 16);
        if (D.off_ymm) memcpy(fp + D.off_ymm + 16 * n, s->vec[n] + 16, 16);
        if (D.off_zmm_hi) memcpy(fp + D.off_zmm_hi + 32 * n, s->vec[n] + 32, 32);
        if (D.off_zmm_16) memcpy(fp + D.off_zmm_16 + 64 * n, s->vec[n + 16], 64);
    }
    if (D.off_k) memcpy(fp + D.off_k, s->k, sizeof s->k);
    if (D.off_ymm) fp[XHEADER] |= D.off_k ? 0xE7 : 0x7;
}

static void diff_capture(const ucontext_t *uc, struct diff_state *s)
{
    const greg_t *g = uc->uc_mcontext.gregs;
    const u8 *fp = (const u8 *)uc->uc_mcontext.fpregs;
    u8 bv = D.off_ymm ? fp[XHEADER] : 3;
    memset(s, 0, sizeof *s);
    for (u32 n = 0; n < GPRS; n++) s->gpr[n] = (u64)g[diff_greg[n]];
    s->rip = (u64)g[REG_RIP];
    s->rflags = (u64)g[REG_EFL];
    memcpy(&s->fx, fp, 160);
    if (!(bv & 1)) {
        memset(&s->fx, 0, 24);
        memset(s->fx.st, 0, sizeof s->fx.st);
        s->fx.fcw = 0x37F;
    }
    for (u32 n = 0; n < 16; n++) {
        if (bv & 2) memcpy(s->vec[n], fp + 160 + 16 * n, 16);
        if (bv & 4) memcpy(s->vec[n] + 16, fp + D.off_ymm + 16 * n, 16);
        if (bv & 0x40) memcpy(s->vec[n] + 32, fp + D.off_zmm_hi + 32 * n, 32);
        if (bv & 0x80) memcpy(s->vec[n + 16], fp + D.off_zmm_16 + 64 * n, 64);
    }
    if (bv & 0x20) memcpy(s->k, fp + D.off_k, sizeof s->k);
    s->vector = g[REG_TRAPNO] == EXC_DB ? -1 : (int)g[REG_TRAPNO];
    s->error = s->vector >= 0 ? (u32)g[REG_ERR] : 0;
    s->cr2 = s->vector == EXC_PF ? (u64)g[REG_CR2] : 0;
}

static void diff_handler(int sig, siginfo_t *info, void *context)
{
    ucontext_t *uc = context;
    u8 *fp = (u8 *)uc->uc_mcontext.fpregs;
    if (D.phase == 1 && sig == SIGTRAP) {
        u32 magic;
        memcpy(&magic, fp + SW_RESERVED, 4);
        D.fp_bytes = 512;
        if (magic == 0x46505853) memcpy(&D.fp_bytes, fp + SW_RESERVED + 16, 4);
        memcpy(D.home, uc->uc_mcontext.gregs, sizeof D.home);
        memcpy(D.home_fp, fp, D.fp_bytes);
        diff_load(uc, &D.in);
        D.phase = 2;
    } else if (D.phase == 2) {
        diff_capture(uc, &D.host);
        memcpy(uc->uc_mcontext.gregs, D.home, sizeof D.home);
        memcpy(fp, D.home_fp, D.fp_bytes);
        D.phase = 0;
    } else if (D.previous[sig].sa_flags & SA_SIGINFO) {
        D.previous[sig].sa_sigaction(sig, info, context);
    } else {
        signal(sig, SIG_DFL);
    }
}

/* The single-step trap came between iterations of a string instruction, a gather or a scatter. */
static bool diff_unfinished(const struct diff_state *in)
{
    bool jump = D.i.row != INSN_COMPUTE && insn_rows[D.i.row].class == C_BRANCH;
    return D.host.vector < 0 && D.host.rip == in->rip && !jump;
}
static void diff_run_native(void)
{
    const struct diff_state in = D.in;
    u32 resumed = 0;
    do { /* a gather or scatter may stop for the single-step trap before its fault: go on */
        D.phase = 1;
        __asm__ volatile("int3" ::: "memory");
        D.in = D.host;
        D.in.fx.mxcsr_mask = in.fx.mxcsr_mask;
        D.in.rflags = (D.host.rflags & FLAGS_COMPARED) | 0x202;
    } while (diff_unfinished(&in) && resumed++ < 100);
    D.in = in;
}

/* ---- guest side ------------------------------------------------------------------------------ */

static int diff_check(struct vcpu *v, gva_t gva, u32 bytes, bool write)
{
    for (u64 a = gva; a < gva + bytes; a = (a & PAGE_MASK) + PAGE_BYTES) {
        u64 page = (a - DIFF_ARENA) >> PAGE_SHIFT;
        u8 prot = a >= DIFF_ARENA && page < DIFF_PAGES ? diff_prot[page] : P_NONE;
        if (prot & (write ? 2 : 1)) continue;
        return vcpu_raise_pf(v, a, PF_U | (write ? PF_W : 0) | (prot ? PF_P : 0));
    }
    return 0;
}
static hva_t diff_at(gva_t gva) { return D.copy + (gva - DIFF_ARENA); }
static int diff_read(struct vcpu *v, gva_t gva, void *buf, u32 bytes, bool sys)
{
    (void)sys;
    if (diff_check(v, gva, bytes, false)) return X_FAULT;
    memcpy(buf, diff_at(gva), bytes);
    return 0;
}
static int diff_write(struct vcpu *v, gva_t gva, const void *buf, u32 bytes, bool sys)
{
    (void)sys;
    if (diff_check(v, gva, bytes, true)) return X_FAULT;
    memcpy(diff_at(gva), buf, bytes);
    return 0;
}
static int diff_map(struct vcpu *v, gva_t gva, u32 bytes, u8 rw, struct access_map *m)
{
    if (diff_check(v, gva, bytes, rw & OPND_W)) return X_FAULT;
    m->kind = rw;
    m->bytes = (u16)bytes;
    m->gpa[0] = gva;
    if ((gva & ~PAGE_MASK) + bytes <= PAGE_BYTES) {
        m->state = MAP_DIRECT;
        m->ptr = diff_at(gva);
        return 0;
    }
    m->state = MAP_BOUNCE;
    m->ptr = m->bounce;
    memset(m->bounce, 0xA5, sizeof m->bounce);
    if (rw & OPND_R) memcpy(m->bounce, diff_at(gva), bytes);
    return 0;
}
static void diff_unmap(struct vcpu *v, struct access_map *m)
{
    (void)v;
    if (m->kind & OPND_W) memcpy(diff_at(m->gpa[0]), m->bounce, m->bytes);
}
static int diff_probe(struct vcpu *v, gva_t gva, u32 bytes, enum access kind, bool sys)
{
    (void)sys;
    return diff_check(v, gva, bytes, kind == ACC_WRITE);
}
static const struct vcpu_mmu_ops diff_ops = {.read = diff_read,
                                             .write = diff_write,
                                             .map = diff_map,
                                             .unmap = diff_unmap,
                                             .probe = diff_probe};

/* Half of the cases find their pages in the fast arrays. */
static void diff_fill_tlb(struct vcpu *v, bool full)
{
    memset(v->tlb.e, 0xFF, sizeof v->tlb.e);
    for (u64 p = 0; full && p < DIFF_PAGES; p++) {
        gva_t gva = DIFF_ARENA + p * PAGE_BYTES;
        struct tlb_entry e = {gva, (u64)(uintptr_t)D.copy - DIFF_ARENA};
        u32 slot = (gva >> PAGE_SHIFT) & (TLB_ENTRIES - 1);
        if (diff_prot[p] & 1) v->tlb.e[ACC_READ][slot] = e;
        if (diff_prot[p] & 2) v->tlb.e[ACC_WRITE][slot] = e;
    }
}

static void diff_run_guest(void)
{
    struct vcpu *v = D.v;
    memcpy(v->gpr, D.in.gpr, sizeof v->gpr);
    v->rip = D.in.rip;
    v->rflags = D.in.rflags;
    v->fx = D.in.fx;
    memcpy(v->vec, D.in.vec, sizeof v->vec);
    memcpy(v->k, D.in.k, sizeof v->k);
    memset(&v->exc, 0, sizeof v->exc);
    D.home_lin = D.i.mem_bytes ? insn_ea(v, &D.i) : 0;
    D.tlb_full = rnd() & 1;
    diff_fill_tlb(v, D.tlb_full);
    insn_bind(v, &D.i, native_exec);
    enum x_result r;
    do r = D.i.exec(v, &D.i);
    while (r == X_AGAIN);
    struct diff_state *s = &D.guest;
    memset(s, 0, sizeof *s);
    memcpy(s->gpr, v->gpr, sizeof s->gpr);
    s->rip = r == X_NEXT ? vcpu_next_rip(v, &D.i) : v->rip;
    s->rflags = v->rflags;
    s->fx = v->fx;
    memcpy(s->vec, v->vec, sizeof s->vec);
    memcpy(s->k, v->k, sizeof s->k);
    s->vector = r == X_FAULT ? v->exc.vector : -1;
    s->error = v->exc.error;
    s->cr2 = s->vector == EXC_PF ? v->exc.payload : 0;
}

/* ---- random state ---------------------------------------------------------------------------- */

static u64 rnd_value(void)
{
    static const u64 edge[] = {0,
                               1,
                               2,
                               0x7F,
                               0x80,
                               0xFF,
                               0x7FFF,
                               0x8000,
                               0xFFFF,
                               0x7FFFFFFF,
                               0x80000000,
                               0xFFFFFFFF,
                               0x7FFFFFFFFFFFFFFF,
                               0x8000000000000000,
                               ~0ull,
                               31,
                               32,
                               63,
                               64};
    switch (below(4)) {
    case 0: return edge[below(ARRAY_LEN(edge))];
    case 1: return rnd() >> below(64);
    case 2: return DIFF_ARENA + rnd() % DIFF_BYTES;
    default: return rnd();
    }
}
static void rnd_vector(u8 *b, u32 n)
{
    static const u64 f64[] = {0,
                              0x8000000000000000,
                              0x3FF0000000000000,
                              0xBFF0000000000000,
                              0x7FF0000000000000,
                              0x7FF8000000000000,
                              0x7FF4000000000000,
                              1,
                              0x7FEFFFFFFFFFFFFF,
                              0x41DFFFFFFFC00000};
    static const u32 f32[] = {0,          0x80000000, 0x3F800000, 0x7F800000, 0x7FC00000,
                              0x7FA00000, 1,          0x7F7FFFFF, 0x4F000000};
    u32 kind = below(6);
    for (u32 k = 0; k < n; k += 8) {
        u64 val = rnd();
        if (kind == 0) val = f64[below(ARRAY_LEN(f64))];
        else if (kind == 1)
            val = (u64)f32[below(ARRAY_LEN(f32))] << 32 | f32[below(ARRAY_LEN(f32))];
        else if (kind == 2) val = (val & 0x8007FFFF8007FFFF) | 0x3F0000003F000000;
        else if (kind == 3) val = rnd_value();
        memcpy(b + k, &val, 8);
    }
}
static void rnd_x87(struct fxsave *f)
{
    memset(f, 0, sizeof *f);
    f->fcw = below(4) ? 0x37F : (u16)((rnd() & 0xF3F) | 0x40);
    f->ftw = below(3) ? 0 : (u8)rnd();
    f->fsw = (u16)(below(8) << 11) | (u16)(rnd() & 0x4700);
    if (!below(16)) f->fsw |= (u16)(rnd() & 0x3F);
    if (f->fsw & ~f->fcw & 0x3F) f->fsw |= 0x8080;
    if (!below(2)) f->ftw = 0xFF;
    f->fop = (u16)(rnd() & 0x7FF);
    f->fip = rnd() >> 17;
    f->fdp = rnd() >> 17;
    f->mxcsr = below(4) ? 0x1F80 : (u32)(rnd() & 0xFFFF);
    f->mxcsr_mask = 0xFFFF;
    for (u32 n = 0; n < 8; n++) {
        rnd_vector(f->st[n], 8);
        u16 se = below(2) ? (u16)(0x3FFF + below(20) - 10) : (u16)rnd();
        if (below(2)) f->st[n][7] |= 0x80;
        memcpy(f->st[n] + 8, &se, 2);
    }
}
static void diff_random_state(struct diff_state *s)
{
    memset(s, 0, sizeof *s);
    for (u32 n = 0; n < GPRS; n++) s->gpr[n] = rnd_value();
    s->rflags =
        (rnd() & RFLAGS_ARITH) | 0x202 | (below(30) ? 0 : RFLAGS_DF) | (below(20) ? 0 : RFLAGS_AC);
    rnd_x87(&s->fx);
    for (u32 n = 0; n < 32; n++) {
        rnd_vector(s->vec[n], 64);
        if (!D.off_zmm_16 && n >= 16) memset(s->vec[n], 0, 64);
        if (!D.off_zmm_hi) memset(s->vec[n] + 32, 0, 32);
        if (!D.off_ymm) memset(s->vec[n], 0, 64);
    }
    for (u32 n = 0; n < 8 && D.off_k; n++) s->k[n] = below(4) ? rnd() : ~0ull;
    s->rip = DIFF_ARENA + DIFF_CODE_PAGE * PAGE_BYTES + 64 + below(PAGE_BYTES - 128) - D.code_base;
}

/* ---- random instructions --------------------------------------------------------------------- */

static u32 put_random_tail(u8 *b, u32 n)
{
    if (below(2)) b[n] = (u8)rnd() | 0xC0;
    else b[n] = (u8)rnd();
    for (n++; n < 15; n++) b[n] = (u8)rnd();
    return 15;
}
static u32 gen_legacy(u8 *b)
{
    static const u8 prefix[] = {0x66, 0xF2, 0xF3, 0xF0, 0x67, 0x3E, 0x65, 0x2E, 0x36, 0x26};
    u32 n = 0, map = below(8);
    while (!below(3) && n < 3) b[n++] = prefix[below(ARRAY_LEN(prefix))];
    if (map >= 5 && below(2)) b[n++] = (u8[]){0x66, 0xF2, 0xF3}[below(3)];
    if (D.mode == ISA_64 && below(2)) b[n++] = (u8)(0x40 | below(16));
    if (map >= 3) b[n++] = 0x0F;
    if (map == 6) b[n++] = 0x38;
    if (map == 7) b[n++] = 0x3A;
    if (map == 0) b[n++] = (u8)(0xD8 | below(8)); /* x87 */
    else b[n++] = (u8)rnd();
    return put_random_tail(b, n);
}
static u32 gen_vex(u8 *b)
{
    u32 n = 0;
    if (!below(8)) b[n++] = 0x67;
    b[n++] = 0xC4;
    b[n++] = (u8)((rnd() & 0xE0) | (1 + below(3)));
    b[n++] = (u8)(below(3) ? rnd() : rnd() | 0x78);
    b[n++] = (u8)rnd();
    if (!below(32)) {
        b[n - 3] = (u8)((b[n - 3] & 0xE0) | 2);
        b[n - 2] = (u8)((b[n - 2] & 0xFC) | 1);
        b[n - 1] = (u8)(0x90 | below(4));
        b[n++] = (u8)((rnd() & 0x78) | 4);
        for (; n < 15; n++) b[n] = (u8)rnd();
        return n;
    }
    return put_random_tail(b, n);
}
static u32 gen_evex(u8 *b)
{
    static const u8 map[] = {1, 1, 2, 2, 3, 5, 6};
    u32 n = 0;
    b[n++] = 0x62;
    b[n++] = (u8)((rnd() & 0xF0) | map[below(ARRAY_LEN(map))]);
    b[n++] = (u8)(rnd() | 4 | (below(2) ? 0x78 : 0));
    b[n++] = (u8)(rnd() | (below(2) ? 8 : 0));
    b[n++] = (u8)rnd();
    if (!below(16)) { /* gather and scatter need a SIB */
        b[1] = (u8)((b[1] & 0xF0) | 2);
        b[2] = (u8)((b[2] & 0x80) | 0x7D);
        b[3] = (u8)((b[3] & 0x6F) | (1 + below(7)));
        b[4] = (u8[]){0x90, 0x91, 0x92, 0x93, 0xA0, 0xA1, 0xA2, 0xA3}[below(8)];
        b[5] = (u8)((rnd() & 0x78) | 4);
        for (n = 6; n < 15; n++) b[n] = (u8)rnd();
        return n;
    }
    return put_random_tail(b, n);
}

/* COMPUTE; the rows of user code that need no descriptor: strings, stack, near control flow, flags,
 * hints, BCD; and what only faults at CPL 3: ports, privileged instructions. */
static bool diff_class_wanted(const struct insn *i)
{
    if (i->row == INSN_COMPUTE) return true;
    if (i->row == INSN_UD || i->op[0].file == RF_SEG) return false;
    const struct insn_row *row = &insn_rows[i->row];
    switch (row->class) {
    case C_STRING:
    case C_STACK:
    case C_BRANCH:
    case C_LEGACY:
    case C_IO:
    case C_HINT: return true;
    case C_FLAGS: return strncmp(row->name, "PUSHF", 5) && strncmp(row->name, "POPF", 4); /* TF */
    case C_SYSTEM: return row->attr & A_CPL0;
    default: return false;
    }
}

static bool diff_wanted(const struct insn *i)
{
    if (!diff_class_wanted(i) || i->seg == FS) return false;
    if (i->seg == GS && D.mode != ISA_64) return false;
    switch (i->mnemonic) {
    case ZYDIS_MNEMONIC_RDRAND:
    case ZYDIS_MNEMONIC_RDSEED: return false; /* no two results agree */
    case ZYDIS_MNEMONIC_RDSSPD:
    case ZYDIS_MNEMONIC_RDSSPQ: return false;
    default: return true;
    }
}

/* A random instruction of user code into D.i. */
static void diff_random_insn(void)
{
    u8 b[32];
    for (;;) {
        u32 kind = below(8);
        u32 n = kind < 4 ? gen_legacy(b) : kind < 6 ? gen_vex(b) : gen_evex(b);
        if (kind >= 4 && D.mode != ISA_64) b[1 + (b[0] == 0x67)] |= 0xC0; /* else LES, LDS, BOUND */
        if (isa_decode(&D.i, b, n, D.mode) > 0 && diff_wanted(&D.i)) return;
    }
}

/* ---- memory operands into the arena ---------------------------------------------------------- */

static bool diff_is_bt(const struct insn *i)
{
    return i->op[0].kind == OPND_MEM && i->op[1].kind == OPND_REG &&
           (i->mnemonic == ZYDIS_MNEMONIC_BT || i->mnemonic == ZYDIS_MNEMONIC_BTS ||
            i->mnemonic == ZYDIS_MNEMONIC_BTR || i->mnemonic == ZYDIS_MNEMONIC_BTC);
}
static gva_t rnd_target(const struct insn *i)
{
    u64 page = DIFF_ARENA + (u64)below(DIFF_PAGES) * PAGE_BYTES, off = below(PAGE_BYTES);
    if (!below(5)) off = PAGE_BYTES - 1 - below(i->mem_bytes ? i->mem_bytes : 8);
    else if (below(2)) off &= ~63ull;
    return page + off;
}
static bool in_reach(u64 a)
{
    return a >= DIFF_ARENA - DIFF_GUARD / 2 && a < DIFF_ARENA + DIFF_BYTES + DIFF_GUARD / 2;
}
static bool is_harmless(u64 a)
{
    if (D.mode != ISA_64) return in_reach(a) || a < 0xF000;
    return in_reach(a) || a < 0xF000 || (s64)(a << 16) >> 16 != (s64)a;
}

/* Choose registers so that the operand is in the arena, its guard zones, near zero or not
 * canonical: never in our own memory. */
static bool diff_aim(struct diff_state *s)
{
    const struct insn *i = &D.i;
    bool vsib = i->index != REG_NONE && i->index < 32 && i->mem_bytes && native_supported(i) &&
                strstr(ZydisMnemonicGetString(i->mnemonic), "gather");
    vsib |= strstr(ZydisMnemonicGetString(i->mnemonic), "scatter") != NULL;
    D.v->rip = s->rip;
    if (i->row != INSN_COMPUTE) { /* implicit addresses */
        s->gpr[RSP] = rnd_target(i) & (below(8) ? ~7ull : ~0ull);
        s->gpr[RBP] = rnd_target(i);
        s->gpr[RSI] = rnd_target(i);
        s->gpr[RDI] = rnd_target(i);
        s->gpr[RCX] = below(40);
        s->rflags &= ~(u64)RFLAGS_AC;
        memcpy(D.v->gpr, s->gpr, sizeof s->gpr);
    }
    if ((i->mem_bytes > 16 && i->fpu == FPU_X87) || i->mnemonic == ZYDIS_MNEMONIC_VCVTPH2PS)
        s->rflags &= ~(u64)RFLAGS_AC; /* checked piece by piece */
    if (i->mnemonic == ZYDIS_MNEMONIC_XLAT) s->gpr[RBX] = rnd_target(i);
    if (i->mnemonic == ZYDIS_MNEMONIC_MASKMOVQ || i->mnemonic == ZYDIS_MNEMONIC_MASKMOVDQU ||
        i->mnemonic == ZYDIS_MNEMONIC_VMASKMOVDQU)
        s->gpr[RDI] = rnd_target(i) & ~(u64)0x1F; /* whether masked-off bytes of the next page fault
                                                     is the processor's choice */
    if (i->mnemonic == ZYDIS_MNEMONIC_MOVDIR64B)
        s->gpr[i->op[0].reg & 15] = rnd_target(i) & (below(8) ? ~63ull : ~0ull);
    if (diff_is_bt(i)) s->gpr[i->op[1].reg & 15] = (u64)((s64)below(1 << 18) - (1 << 17));
    if (!i->mem_bytes || i->mnemonic == ZYDIS_MNEMONIC_XLAT) return true;
    if (strstr(ZydisMnemonicGetString(i->mnemonic), "maskmovq") ||
        strstr(ZydisMnemonicGetString(i->mnemonic), "maskmovdqu")) {
        for (u32 n = 0; n < 8; n++) s->fx.st[n][0] |= 0x80; /* nor whether an empty mask faults */
        for (u32 n = 0; n < 16; n++) s->vec[n][0] |= 0x80;
        return true;
    }
    if (vsib) {
        for (u32 k = 0; k < 8; k++) {
            u64 val = (u64)below(2048) << 32 | below(2048);
            if (ZydisMnemonicGetString(
                    i->mnemonic)[strlen(ZydisMnemonicGetString(i->mnemonic)) - 2] == 'q' ||
                strstr(ZydisMnemonicGetString(i->mnemonic), "erq"))
                val = below(4096) - 1024u;
            memcpy(s->vec[i->index & 31] + 8 * k, &val, 8);
        }
    }
    for (u32 tries = 0; tries < 20; tries++) {
        u64 base_saved = i->base < GPRS ? s->gpr[i->base] : 0;
        memcpy(D.v->gpr, s->gpr, sizeof s->gpr);
        struct insn copy = *i;
        if (vsib) copy.index = REG_NONE;
        u64 seg = i->seg == GS || D.mode != ISA_64 ? D.v->seg[i->seg].base : 0,
            ea = insn_ea(D.v, &copy);
        if (D.mode != ISA_64) ea = (u32)(ea + seg) - seg;
        if (i->addrsize == 2 && !vsib)
            return true; /* 64 KiB from the segment's base: nothing of ours */
        if (tries && is_harmless(ea + seg) && (in_reach(ea + seg) || !below(8)) && !vsib)
            return true;
        if (vsib && tries && in_reach(ea + seg)) return true;
        if (i->base >= GPRS) { /* displacement only, or RIP-relative: rewritten by the caller */
            if (is_harmless(ea + seg)) return true;
            if (i->index >= GPRS || vsib) return false;
            s->gpr[i->index] = rnd_value();
            continue;
        }
        s->gpr[i->base] = base_saved + (rnd_target(i) - (ea + seg));
        if (D.mode != ISA_64) s->gpr[i->base] = (u32)s->gpr[i->base];
        if (!below(32) && !vsib && D.mode == ISA_64) s->gpr[i->base] = rnd();
        if (i->index == i->base)
            s->gpr[i->base] = (rnd_target(i) - (u64)i->disp) / ((1u << i->scale) + 1u);
    }
    return false;
}

/* Outside 64-bit mode only eight registers of 32 bits are there. */
static void diff_narrow(struct diff_state *s)
{
    if (D.mode == ISA_64) return;
    for (u32 n = 0; n < GPRS; n++) s->gpr[n] = n < 8 ? (u32)s->gpr[n] : 0;
}

/* RIP-relative and absolute displacements are random: put a useful one into the bytes. */
static void diff_patch_disp(struct diff_state *s)
{
    struct insn *i = &D.i;
    ZydisDecoder d;
    ZydisDecodedInstruction z;
    if (i->base < GPRS || !i->mem_bytes) return;
    diff_decoder(&d);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d, NULL, i->bytes, i->len, &z)) ||
        !z.raw.disp.size)
        return;
    if (z.raw.disp.size < 32) return;
    s64 val = (s64)rnd_target(i) - (i->base == BASE_RIP ? (s64)(s->rip + i->len) : 0);
    memcpy(i->bytes + z.raw.disp.offset, &val, z.raw.disp.size / 8);
    u8 bytes[INSN_BYTES_MAX];
    memcpy(bytes, i->bytes, sizeof bytes);
    isa_decode(i, bytes, i->len, D.mode);
}

/* ---- comparison ------------------------------------------------------------------------------ */

static bool same_x87(const struct fxsave *a, const struct fxsave *b)
{
    if (a->fcw != b->fcw || a->fsw != b->fsw || a->ftw != b->ftw || a->mxcsr != b->mxcsr)
        return false;
    if (a->fop != b->fop || a->fip != b->fip || a->fdp != b->fdp) return false;
    for (u32 n = 0; n < 8; n++)
        if (memcmp(a->st[n], b->st[n], 10)) return false;
    return true;
}
/* After a fault of an MMX instruction, whether TOP and the tags have changed already differs
 * between processors. */
static bool x87_comparable(void)
{
    if (D.host.vector < 0) return true;
    return D.i.fpu != FPU_MMX && D.i.op[0].file != RF_MMX && D.i.op[1].file != RF_MMX;
}
/* Ten-byte stores across pages may have written a part when they fault. */
static bool writes_in_pieces(void)
{
    if (D.host.vector < 0 || D.i.fpu != FPU_X87 || D.i.mem_bytes != 10) return false;
    memcpy(D.copy, D.native_alias, DIFF_BYTES);
    return true;
}
/* Which byte of an operand that is accessed in pieces is reported first is the processor's choice:
 * the page counts. */
static bool same_cr2(u64 a, u64 b)
{
    bool pieces = D.i.fpu >= FPU_X87 && (D.i.fpu != FPU_SSE || D.i.mem_rw == OPND_W);
    bool two = D.i.row != INSN_COMPUTE; /* CMPS, PUSH [mem]: two addresses, either may be first */
    if (two) return true;
    return pieces ? !((a ^ b) >> PAGE_SHIFT) : a == b;
}
/* PF_P depends on what the host has populated. */
static bool diff_same(void)
{
    /* a POPA or CALL that faults may have loaded some registers or pushed already: that it faults
     * counts */
    const char *name = insn_rows[D.i.row].name;
    bool partly = D.host.vector >= 0 && (!strncmp(name, "POPA", 4) || !strcmp(name, "CALL"));
    if (partly) memcpy(D.copy, D.native_alias, DIFF_BYTES);
    if (partly) return D.guest.vector >= 0;
    struct diff_state *a = &D.host, *b = &D.guest;
    bool either = !strncmp(name, "CMPS", 4) || (D.i.fpu == FPU_X87 && D.i.mem_bytes > 10);
    either = either && a->vector >= 0 && b->vector >= 0;
    if (memcmp(a->gpr, b->gpr, sizeof a->gpr) || a->rip != b->rip) return false;
    if (a->vector != b->vector) return either; /* accessed in pieces: any may be first */
    if ((a->rflags ^ b->rflags) & FLAGS_COMPARED) return false;
    if (a->vector >= 0 && ((a->error ^ b->error) & ~(u32)PF_P || !same_cr2(a->cr2, b->cr2)))
        return false;
    if (memcmp(a->vec, b->vec, sizeof a->vec) || memcmp(a->k, b->k, sizeof a->k)) return false;
    return (!x87_comparable() || same_x87(&a->fx, &b->fx)) &&
           (writes_in_pieces() || !memcmp(D.native_alias, D.copy, DIFF_BYTES));
}

static void print_bytes(const char *name, const u8 *b, u32 n)
{
    printf("  %-8s", name);
    while (n--) printf("%02x", b[n]);
    printf("\n");
}
static void print_x87(const char *who, const struct fxsave *f)
{
    printf("  %s fcw %04x fsw %04x ftw %02x fop %03x fip %" PRIx64 " fdp %" PRIx64 " mxcsr %08x\n",
           who, f->fcw, f->fsw, f->ftw, f->fop, f->fip, f->fdp, f->mxcsr);
    for (u32 n = 0; n < 8; n++) print_bytes("st", f->st[n], 10);
}
static void diff_report(void)
{
    const struct diff_state *in = &D.in, *a = &D.host, *b = &D.guest;
    static const char *const name[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                       "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    char text[128];
    printf("MISMATCH %u-bit seed %" PRIu64 " case %" PRIu64 ": %s  [", 16u << D.mode, D.seed,
           D.cases, isa_format(&D.i, in->rip, text, sizeof text));
    for (u32 n = 0; n < D.i.len; n++) printf("%s%02x", n ? " " : "", D.i.bytes[n]);
    printf("]\n  %-8s%18s %18s %18s\n", "", "before", "host", "guest");
    for (u32 n = 0; n < GPRS; n++)
        printf("%c %-8s%18" PRIx64 " %18" PRIx64 " %18" PRIx64 "\n",
               a->gpr[n] == b->gpr[n] ? ' ' : '*', name[n], in->gpr[n], a->gpr[n], b->gpr[n]);
    printf("  rip     %18" PRIx64 " %18" PRIx64 " %18" PRIx64 "\n", in->rip, a->rip, b->rip);
    printf("  rflags  %18" PRIx64 " %18" PRIx64 " %18" PRIx64 "\n", in->rflags,
           a->rflags & FLAGS_COMPARED, b->rflags & FLAGS_COMPARED);
    printf("  vector  %18s %18d %18d   error %x %x  cr2 %" PRIx64 " %" PRIx64 "\n", "", a->vector,
           b->vector, a->error, b->error, a->cr2, b->cr2);
    for (u32 n = 0; n < 32; n++) {
        if (!memcmp(a->vec[n], b->vec[n], 64)) continue;
        printf("* vec%u\n", n);
        print_bytes("before", in->vec[n], 64);
        print_bytes("host", a->vec[n], 64);
        print_bytes("guest", b->vec[n], 64);
    }
    for (u32 n = 0; n < 8; n++)
        if (a->k[n] != b->k[n])
            printf("* k%u %" PRIx64 " host %" PRIx64 " guest %" PRIx64 "\n", n, in->k[n], a->k[n],
                   b->k[n]);
    if (!same_x87(&a->fx, &b->fx)) {
        print_x87("before", &in->fx);
        print_x87("host", &a->fx);
        print_x87("guest", &b->fx);
    }
    for (u64 n = 0; n < DIFF_BYTES; n++)
        if (D.native_alias[n] != D.copy[n])
            printf("* mem %" PRIx64 ": host %02x guest %02x\n", (u64)DIFF_ARENA + n,
                   D.native_alias[n], D.copy[n]);
    fflush(stdout);
}

/* ---- one case -------------------------------------------------------------------------------- */

static void diff_count(void)
{
    ZydisDecoder d;
    ZydisDecodedInstruction z;
    diff_decoder(&d);
    if (ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d, NULL, D.i.bytes, D.i.len, &z)))
        D.per_category[z.meta.category]++;
    D.per_vector[D.host.vector < 0 ? 31 : D.host.vector]++;
    D.per_kind[KIND_MEM] += D.i.mem_bytes != 0;
    D.per_kind[KIND_LOCK] += (D.i.prefixes & PFX_LOCK) != 0;
    D.per_kind[KIND_FAULT] += D.host.vector >= 0;
    D.per_kind[KIND_CROSSING] += (D.home_lin & ~PAGE_MASK) + D.i.mem_bytes > PAGE_BYTES;
    D.per_kind[KIND_DIRECT] += D.tlb_full;
    D.per_kind[KIND_RIPREL] += D.i.base == BASE_RIP;
    D.per_kind[KIND_HIGH] += D.i.op[0].file == RF_GPR_HIGH || D.i.op[1].file == RF_GPR_HIGH;
    D.per_kind[KIND_MASKED] += z.avx.mask.mode >= ZYDIS_MASK_MODE_MERGING && D.i.mem_bytes;
}

/* Run D.i with D.in on both sides. @before: the rng state that repeats the case. */
static bool diff_run_case(u64 before)
{
    D.seed = before;
    D.cases++;
    D.ran[D.i.mnemonic / 8] |= (u8)(1u << D.i.mnemonic % 8);
    u64 off = D.in.rip + D.code_base - DIFF_ARENA;
    diff_narrow(&D.in);
    memcpy(D.native_alias + off, D.i.bytes, D.i.len);
    memcpy(D.copy + off, D.i.bytes, D.i.len);
    diff_run_native();
    diff_run_guest();
    diff_count();
    if (diff_same()) return true;
    D.mismatches++;
    diff_report();
    memcpy(D.copy, D.native_alias, DIFF_BYTES);
    return false;
}

/* Returns false at a mismatch, already reported. The rng state before the case is enough to repeat
 * it. */
static bool diff_case(void)
{
    u64 before;
    do {
        before = D.rng;
        diff_random_insn();
        diff_random_state(&D.in);
        diff_narrow(&D.in);
        diff_patch_disp(&D.in);
    } while (!diff_wanted(&D.i) || !diff_aim(&D.in));
    return diff_run_case(before);
}

/* One case of the instruction that @head begins, with a memory operand or without. Returns false at
 * a mismatch; true also where @head begins nothing we want. */
static inline bool diff_case_of(const u8 *head, u32 n, bool mem)
{
    for (u32 tries = 0; tries < 12; tries++) {
        u64 before = D.rng;
        u8 b[32];
        memcpy(b, head, n);
        for (u32 k = n; k < 15; k++) b[k] = (u8)rnd();
        b[n] = (u8)((b[n] & 7) | (head[n] & 0x38) | (mem ? 0x80 : 0xC0));
        if (isa_decode(&D.i, b, 15, D.mode) <= 0 || D.i.row != INSN_COMPUTE) return true;
        if (!diff_wanted(&D.i)) continue;
        D.known[D.i.mnemonic / 8] |= (u8)(1u << D.i.mnemonic % 8);
        diff_random_state(&D.in);
        diff_narrow(&D.in);
        diff_patch_disp(&D.in);
        if (diff_aim(&D.in)) return diff_run_case(before);
    }
    return true;
}

/* ---- set-up ---------------------------------------------------------------------------------- */

static u32 xstate_offset(u32 component)
{
    u32 a, b, c, d;
    __cpuid_count(0xD, component, a, b, c, d);
    return a ? b : 0;
}
static void diff_map_arena(void)
{
    int fd = memfd_create("arena", 0);
    if (fd < 0 || ftruncate(fd, DIFF_BYTES) < 0) abort();
    u8 *guard = mmap((void *)(DIFF_ARENA - DIFF_GUARD), DIFF_BYTES + 2 * DIFF_GUARD, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);
    if (guard == MAP_FAILED) abort();
    for (u32 p = 0; p < DIFF_PAGES; p++) {
        int prot = diff_prot[p] == P_RW  ? PROT_READ | PROT_WRITE
                   : diff_prot[p] == P_R ? PROT_READ
                                         : PROT_NONE;
        if (p == DIFF_CODE_PAGE) prot |= PROT_EXEC;
        if (mmap((void *)(DIFF_ARENA + (u64)p * PAGE_BYTES), PAGE_BYTES, prot,
                 MAP_SHARED | MAP_FIXED, fd, (off_t)p * PAGE_BYTES) == MAP_FAILED)
            abort();
    }
    D.native_alias = mmap(NULL, DIFF_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    D.copy = mmap(NULL, DIFF_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (u64 n = 0; n < DIFF_BYTES; n += 64) rnd_vector(D.native_alias + n, 64);
    memcpy(D.copy, D.native_alias, DIFF_BYTES);
    close(fd);
}

static void diff_init_vcpu(void)
{
    struct vcpu *v = D.v = aligned_alloc(64, align_up(sizeof *v, 64));
    struct err e = {0};
    if (!v) abort();
    memset(v, 0, sizeof *v);
    v->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_PG;
    v->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    v->xcr0 = 0xE7;
    v->efer = EFER_LME | EFER_LMA | EFER_SCE;
    v->cpl = 3;
    v->mode = ISA_64;
    D.mode = ISA_64;
    v->flat = true;
    for (u32 n = 0; n < SEGS; n++) {
        v->seg[n].limit = ~0u;
        v->seg[n].attr = SEG_P | SEG_S | SEG_W | SEG_A | SEG_DPL | SEG_G | SEG_DB;
    }
    v->seg[GS].base = DIFF_GS_BASE;
    v->mmu = &diff_ops;
    static struct cpu_model model;
    struct cpu_model_cfg cfg = {.vcpus = 1, .tsc_khz = 1000000};
    if (cpu_model_init(&model, "max", &cfg, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
    v->model = &model;
    if (native_init(v, &e) < 0) {
        fprintf(stderr, "%s\n", e.text);
        abort();
    }
}

enum { LDT_CODE = 0x7, LDT_DATA = 0xF, LDT_DOWN = 0x17 };
enum { DOWN_LIMIT = 0x17FF, DATA_LIMIT = (DIFF_PAGES - 2) * PAGE_BYTES + 0x7FF };

/* In this process's LDT: a 16-bit code segment at the code page, a data segment that ends within
 * the arena, and one that expands down to its second page. False when the kernel has none. */
static bool diff_make_ldt(void)
{
    struct user_desc code = {.entry_number = 0,
                             .base_addr = DIFF_ARENA + DIFF_CODE_PAGE * PAGE_BYTES,
                             .limit = 0xFFFFF,
                             .contents = 2,
                             .limit_in_pages = 1};
    struct user_desc data = {
        .entry_number = 1, .base_addr = DIFF_ARENA, .limit = DATA_LIMIT, .seg_32bit = 1};
    struct user_desc down = {
        .entry_number = 2, .base_addr = DIFF_ARENA, .limit = DOWN_LIMIT, .contents = 1};
    return syscall(SYS_modify_ldt, 0x11, &code, sizeof code) == 0 &&
           syscall(SYS_modify_ldt, 0x11, &data, sizeof data) == 0 &&
           syscall(SYS_modify_ldt, 0x11, &down, sizeof down) == 0;
}

/* Segment registers of the vCPU as the selectors above have them. */
static void diff_data_segments(bool from_ldt)
{
    enum { FLAT = SEG_P | SEG_S | SEG_W | SEG_A | SEG_DPL | SEG_G | SEG_DB };
    struct seg *ds = &D.v->seg[DS], *es = &D.v->seg[ES];
    u64 base = from_ldt ? DIFF_ARENA : 0;
    *ds = (struct seg){.base = base, .limit = from_ldt ? DATA_LIMIT : ~0u, .attr = FLAT};
    *es = (struct seg){.base = base, .limit = from_ldt ? DOWN_LIMIT : ~0u, .attr = FLAT};
    if (!from_ldt) return;
    ds->attr &= ~(u32)SEG_G;
    es->attr = (FLAT | SEG_E) & ~(u32)(SEG_G | SEG_DB);
}

/* Run code of this size from now on; @segmented: 32-bit code with the LDT's data segments, as
 * 16-bit code always has. False when this host cannot. */
static bool diff_set_mode(enum isa_mode mode, bool segmented)
{
    enum { USER32_CS = 0x23, USER_DS = 0x2B };
    struct vcpu *v = D.v;
    bool ldt = mode == ISA_16 || (mode == ISA_32 && segmented);
    u16 ds = ldt ? LDT_DATA : mode == ISA_32 ? USER_DS : 0, es = ldt ? LDT_DOWN : ds;
    if (ldt && !diff_make_ldt()) return false;
    D.segmented = ldt;
    D.mode = mode;
    v->mode = (u8)mode;
    D.selector[ISA_32] = USER32_CS;
    D.selector[ISA_16] = LDT_CODE;
    D.code_base = mode == ISA_16 ? DIFF_ARENA + DIFF_CODE_PAGE * PAGE_BYTES : 0;
    v->flat = !ldt;
    v->seg[CS].attr = SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A | SEG_DPL | SEG_G |
                      (mode == ISA_64   ? SEG_L
                       : mode == ISA_32 ? SEG_DB
                                        : 0);
    v->seg[CS].base = D.code_base;
    diff_data_segments(ldt);
    __asm__ volatile("mov %0, %%ds\n\tmov %1, %%es" : : "r"(ds), "r"(es));
    return true;
}

/* Take the signals of the code under test. Whoever called diff_init() has them already. */
static void diff_catch(void)
{
    static const int sigs[] = {SIGTRAP, SIGSEGV, SIGFPE, SIGILL, SIGBUS};
    struct sigaction sa = {.sa_sigaction = diff_handler, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    for (u32 n = 0; n < ARRAY_LEN(sigs); n++) { /* what the first call found stays behind us */
        struct sigaction *old = &D.previous[sigs[n]];
        sigaction(sigs[n], &sa, old->sa_sigaction ? NULL : old);
    }
}

static void diff_init(u64 seed)
{
    static u8 stack[64 << 10];
    D.rng = seed ? seed : 1;
    stack_t ss = {.ss_sp = stack, .ss_size = sizeof stack};
    sigaltstack(&ss, NULL);
    if (__builtin_cpu_supports("avx")) D.off_ymm = xstate_offset(2);
    if (__builtin_cpu_supports("avx512f")) {
        D.off_k = xstate_offset(5);
        D.off_zmm_hi = xstate_offset(6);
        D.off_zmm_16 = xstate_offset(7);
    }
    diff_map_arena();
    diff_init_vcpu();
    diff_catch();
    syscall(SYS_arch_prctl, ARCH_SET_GS, DIFF_GS_BASE);
}
static void diff_fini(void)
{
    native_fini(D.v);
    free(D.v);
    munmap((void *)(DIFF_ARENA - DIFF_GUARD), DIFF_BYTES + 2 * DIFF_GUARD);
    munmap(D.native_alias, DIFF_BYTES);
    munmap(D.copy, DIFF_BYTES);
}
#endif

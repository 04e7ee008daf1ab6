/* Random blocks through the translator and through the interpreter's functions, on two vCPUs with
 * memories of their own; where translated code stops (an exit, or a fault that is taken for one),
 * the other runs up to there and everything must be the same. The translator's memory is a real
 * table over pages in an order of their own, so that an access across pages that nobody noticed
 * hits the wrong bytes. BT_SEED and BT_CASES choose other cases; a failure prints both codes. */
#include <Zydis/Zydis.h>
#include <asm/prctl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/test.h"
#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "cpu/insn_exec.h"
#include "cpu/seg.h"
#include "engine/bt/bt_state.h"
#include "engine/bt/enter.h"
#include "engine/bt/host.h"
#include "engine/bt/marks.h"
#include "engine/bt/plan.h"
#include "engine/common/native.h"

enum { PAGES = 12, CODE_BYTES = 64 << 10, BLOCK_MAX = 24, GUEST_BYTES = 1024 };
#define ARENA 0x10000000ull
#define ARENA_BYTES ((u64)PAGES * PAGE_BYTES)
#define CODE_GVA 0x20003000ull
#define TABLE_BYTES (BIT(36) * 8)
enum { P_NONE, P_R, P_RW };
static const u8 prot[PAGES] = {P_RW, P_RW, P_RW,   P_NONE, P_RW, P_R,
                               P_RW, P_RW, P_NONE, P_RW,   P_RW, P_R};
/* which page of the host's memory holds page n: those of the first two are neighbours, too */
static const u8 place[PAGES] = {7, 8, 2, 0, 11, 4, 1, 9, 3, 10, 6, 5};

static struct t {
    u64 rng, seed;
    struct vcpu *v, *w;  /* translated, interpreted */
    u8 *host, *host_all; /* v's pages, permissions applied; all writable */
    u8 *window;          /* the arena's in order, with a window around them (window.h) */
    u8 *copy;            /* w's pages */
    u64 *table;
    u8 *code;
    struct bt bt;
    struct bt_hints hints;
    struct fault_region region;
    struct bt_block block;
    struct bt_out out;
    struct insn insn[BLOCK_MAX];
    struct block b;
    u32 turn; /* instructions of a turn, when it is a loop */
    u16 guest_off;
    int trap; /* of the fault that ended the block, -1 */
    u64 trap_pc, inlined, stepped, faulted, misaligned, tested;
    u8 guest[GUEST_BYTES];
    u32 guest_bytes;
} T;

static u64 rnd(void)
{
    T.rng ^= T.rng << 13;
    T.rng ^= T.rng >> 7;
    T.rng ^= T.rng << 17;
    return T.rng * 0x2545F4914F6CDD1Dull;
}
static u32 below(u32 n) { return (u32)((rnd() >> 33) % n); }

/* ---- w's memory ------------------------------------------------------------------------------ */

static u8 *host_at(gva_t gva)
{
    return T.host_all + place[(gva - ARENA) >> PAGE_SHIFT] * PAGE_BYTES + (gva & (PAGE_BYTES - 1));
}
static int check(struct vcpu *v, gva_t gva, u32 bytes, bool write)
{
    if (gva + bytes < gva) return vcpu_raise_pf(v, gva, write ? PF_W : 0);
    for (u64 a = gva; a < gva + bytes; a = (a & PAGE_MASK) + PAGE_BYTES) {
        u64 page = (a - ARENA) >> PAGE_SHIFT;
        u8 p = a >= ARENA && page < PAGES ? prot[page] : P_NONE;
        if (p < (write ? P_RW : P_R)) return vcpu_raise_pf(v, a, write ? PF_W : 0);
    }
    return 0;
}
static int op_read(struct vcpu *v, gva_t gva, void *buf, u32 bytes, bool sys)
{
    (void)sys;
    if (check(v, gva, bytes, false)) return X_FAULT;
    memcpy(buf, T.copy + (gva - ARENA), bytes);
    return 0;
}
static int op_write(struct vcpu *v, gva_t gva, const void *buf, u32 bytes, bool sys)
{
    (void)sys;
    if (check(v, gva, bytes, true)) return X_FAULT;
    memcpy(T.copy + (gva - ARENA), buf, bytes);
    return 0;
}
static int op_map(struct vcpu *v, gva_t gva, u32 bytes, u8 rw, struct access_map *m)
{
    if (check(v, gva, bytes, rw & OPND_W)) return X_FAULT;
    *m = (struct access_map){.kind = rw, .bytes = (u16)bytes, .gpa = {gva}, .state = MAP_DIRECT};
    m->ptr = T.copy + (gva - ARENA);
    return 0;
}
static void op_unmap(struct vcpu *v, struct access_map *m) { (void)v, (void)m; }
static int op_probe(struct vcpu *v, gva_t gva, u32 bytes, enum access kind, bool sys)
{
    (void)sys;
    return check(v, gva, bytes, kind == ACC_WRITE);
}
static int host_read(struct vcpu *v, gva_t gva, void *buf, u32 bytes, bool sys)
{
    (void)sys;
    if (check(v, gva, bytes, false)) return X_FAULT;
    for (u32 n = 0; n < bytes; n++) ((u8 *)buf)[n] = *host_at(gva + n);
    return 0;
}
static int host_write(struct vcpu *v, gva_t gva, const void *buf, u32 bytes, bool sys)
{
    (void)sys;
    if (check(v, gva, bytes, true)) return X_FAULT;
    for (u32 n = 0; n < bytes; n++) *host_at(gva + n) = ((const u8 *)buf)[n];
    return 0;
}
/* the interpreter on v's own memory */
static const struct vcpu_mmu_ops host_ops = {
    .read = host_read, .write = host_write, .probe = op_probe};
static const struct vcpu_mmu_ops ops = {
    .read = op_read, .write = op_write, .map = op_map, .unmap = op_unmap, .probe = op_probe};

/* ---- set-up ---------------------------------------------------------------------------------- */

enum {
    STUB_STEP = 0,
    STUB_LINK = 16,
    STUB_LOOKUP = 32,
    STUB_FILL = 48,
    STUB_JUMP = 80,
    POLL = 64,
    CODE_START = 128
};

static bool on_fault(struct fault_region *r, siginfo_t *info, ucontext_t *uc)
{
    greg_t *g = uc->uc_mcontext.gregs;
    /* a test of an entry failed: as if the access had faulted */
    bool tested = (u64)g[REG_RIP] == r->start + STUB_FILL;
    u64 pc = (u64)g[tested ? REG_R11 : REG_RIP] - r->start - T.block.code_off;
    u32 k = T.block.marks - 1u;
    (void)info;
    if (pc >= T.block.code_bytes) return false;
    while (k && T.block.mark[k].host_off > pc) k--;
    T.trap = tested ? EXC_PF : (int)g[REG_TRAPNO];
    T.tested += tested;
    T.trap_pc = pc;
    g[REG_R10] = T.block.mark[k].guest_off;
    g[REG_RIP] = (greg_t)(uintptr_t)bt_exit_step;
    return true;
}

static int host_prot(u32 page)
{
    return prot[page] == P_RW ? PROT_READ | PROT_WRITE : prot[page] == P_R ? PROT_READ : PROT_NONE;
}

static void make_memory(void)
{
    int fd = memfd_create("t", 0);
    assert_int_equal(ftruncate(fd, ARENA_BYTES), 0);
    T.host_all = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    T.host = mmap(NULL, ARENA_BYTES, PROT_NONE, MAP_SHARED, fd, 0);
    T.copy = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    u8 *table = mmap(NULL, JUMP_AREA_BYTES + TABLE_BYTES, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    T.window = mmap(NULL, 2 * WINDOW_GUARD_BYTES + WINDOW_BYTES, PROT_NONE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    assert_true(table != MAP_FAILED && T.window != MAP_FAILED);
    T.window += WINDOW_GUARD_BYTES;
    for (u32 n = 0; n < PAGES; n++)
        mmap(T.window + WINDOW_BYTES / 2 + n * PAGE_BYTES, PAGE_BYTES, host_prot(n),
             MAP_SHARED | MAP_FIXED, fd, place[n] * (off_t)PAGE_BYTES);
    table += JUMP_AREA_BYTES;
    close(fd);
    T.table = (u64 *)table;
    u64 first = ARENA >> PAGE_SHIFT, populated = first * 8 & PAGE_MASK;
    /* and the part before: a shared look-up may begin below the arena */
    mprotect(table + populated - PAGE_BYTES, 2 * PAGE_BYTES, PROT_READ | PROT_WRITE);
    for (u64 n = 0; n < 1024; n++) T.table[populated / 8 - 512 + n] = BIT(47);
    for (u32 n = 0; n < PAGES; n++) {
        u8 *at = T.host + (u64)place[n] * PAGE_BYTES;
        mprotect(at, PAGE_BYTES, host_prot(n));
        if (prot[n] != P_NONE) T.table[first + n] = (u64)(uintptr_t)at - (ARENA + n * PAGE_BYTES);
    }
}

static struct vcpu *make_vcpu(const struct cpu_model *model)
{
    struct vcpu *v = aligned_alloc(64, align_up(sizeof *v, 64));
    memset(v, 0, sizeof *v);
    v->cr0 = CR0_PE | CR0_MP | CR0_ET | CR0_NE | CR0_WP | CR0_PG;
    v->cr4 = CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT | CR4_OSXSAVE;
    v->xcr0 = 0xE7;
    v->efer = EFER_LME | EFER_LMA | EFER_SCE;
    v->cpl = 3;
    v->mode = ISA_64;
    v->flat = true;
    memset(v->tlb.e, 0xFF, sizeof v->tlb.e);
    for (u32 n = 0; n < SEGS; n++)
        v->seg[n] =
            (struct seg){.limit = ~0u, .attr = SEG_P | SEG_S | SEG_W | SEG_A | SEG_DPL | SEG_G};
    v->seg[CS].attr |= SEG_CODE | SEG_L;
    v->seg[FS].base = 0x1230;
    v->seg[GS].base = 0x7FF9;
    v->mmu = &ops; /* T.v gets host_ops */
    v->model = model;
    return v;
}

static void put_stub(u32 at, void (*target)(void))
{
    static const u8 jmp[8] = {0xFF, 0x25, 2}; /* the address is aligned: AC is set */
    memcpy(T.code + at, jmp, 8);
    memcpy(T.code + at + 8, &target, 8);
}

/* Whether the stack is in the window. */
static void set_window(bool used)
{
    struct engine_words *g = &T.v->eng;
    T.bt.user = T.bt.windows = used;
    g->stack_host = used ? (u64)(uintptr_t)T.window + WINDOW_BYTES / 2 - ARENA : 0;
    g->stack_guest = 0 - g->stack_host;
    g->stack_low = 0 - (u64)(uintptr_t)T.window;
}

/* Whether translated code has the vector registers: else it must not touch the host's. */
static void set_vectors(bool loaded)
{
    struct engine_words *g = &T.v->eng;
    bool avx512 = T.bt.has_avx512, avx = T.bt.has_avx;
    T.bt.vec_loaded = loaded;
    g->vec_load = !loaded  ? (void *)bt_vec_keep
                  : avx512 ? (void *)bt_vec_load512
                  : avx    ? (void *)bt_vec_load256
                           : (void *)bt_vec_load128;
    g->vec_save = !loaded  ? (void *)bt_vec_keep
                  : avx512 ? (void *)bt_vec_save512
                  : avx    ? (void *)bt_vec_save256
                           : (void *)bt_vec_save128;
}

static void set_up(void)
{
    static struct cpu_model model;
    static struct fault_stack stack;
    struct cpu_model_cfg cfg = {.vcpus = 1, .tsc_khz = 1000000};
    struct err e = {0};
    assert_int_equal(cpu_model_init(&model, "max", &cfg, &e), 0);
    T.v = make_vcpu(&model);
    T.w = make_vcpu(&model);
    T.v->mmu = &host_ops;
    make_memory();
    assert_int_equal(native_init(T.w, &e), 0);
    assert_int_equal(fault_stack_init(&stack, &e), 0);
    assert_int_equal(fault_stack_enter(&stack, &e), 0);
    u8 *code = mmap(NULL, PAGE_BYTES + CODE_BYTES, PROT_READ | PROT_WRITE | PROT_EXEC,
                    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(code != MAP_FAILED);
    mprotect(code, PAGE_BYTES, PROT_NONE); /* a poll word there faults */
    T.code = code + PAGE_BYTES;
    put_stub(STUB_STEP, bt_exit_step);
    put_stub(STUB_LINK, bt_exit_link);
    put_stub(STUB_LOOKUP, bt_exit_lookup);
    put_stub(STUB_JUMP, bt_exit_jump);
    T.region = (struct fault_region){(u64)(uintptr_t)T.code, CODE_BYTES, on_fault};
    assert_int_equal(fault_register(&T.region, &e), 0);
    static struct plan_cache plans;
    const struct bt_host host = bt_host_find();
    T.bt = (struct bt){
        .v = T.v, .hints = &T.hints, .plans = &plans, .plain = T.bt.plain || !host.bmi2};
    T.code[STUB_FILL] = 0x0F; /* ud2 */
    T.code[STUB_FILL + 1] = 0x0B;
    T.bt.stubs = (struct bt_stubs){.step = STUB_STEP,
                                   .link = STUB_LINK,
                                   .lookup = STUB_LOOKUP,
                                   .jump = STUB_JUMP,
                                   .light = STUB_STEP,
                                   .poll = POLL,
                                   .fill = {STUB_FILL, STUB_FILL}};
    T.bt.has_avx = host.avx2;
    T.bt.has_avx512 = host.avx512;
    set_vectors(true);
    struct engine_words *g = &T.v->eng;
    g->table = (u64)(uintptr_t)T.table + TABLE_SHIFT;
    /* what bt_exit_lookup may look into: it finds nothing there */
    static struct bt_state nothing;
    nothing.lockstep = (struct lockstep *)&nothing;
    T.v->engine_state = &nothing;
    for (u32 kind = 0; kind < JUMP_KINDS; kind++) {
        struct jump_table *j = jump_table_at(g->table, kind);
        assert_int_equal(mprotect(j, JUMP_TABLE_BYTES, PROT_READ | PROT_WRITE), 0);
        j->minus_address[0] = 1;
        j->base[0] = CODE_GVA;
    }
    bt_host_masks(T.v);
    syscall(SYS_arch_prctl, ARCH_SET_GS, T.v);
}
/* cmocka puts its own signal handlers in place for each test. */
static void begin(void)
{
    static const int sigs[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
    static struct sigaction ours[4];
    bool first = !T.v;
    if (first) set_up();
    for (u32 n = 0; n < 4; n++)
        sigaction(sigs[n], first ? NULL : &ours[n], first ? &ours[n] : NULL);
}

/* ---- random guest code ----------------------------------------------------------------------- */

static u64 rnd_value(void)
{
    static const u64 edge[] = {0,
                               1,
                               0x7F,
                               0x80,
                               0xFF,
                               0x8000,
                               0x7FFFFFFF,
                               0x80000000,
                               0xFFFFFFFF,
                               0x7FFFFFFFFFFFFFFF,
                               0x8000000000000000,
                               ~0ull,
                               31,
                               64};
    switch (below(4)) {
    case 0: return edge[below(ARRAY_LEN(edge))];
    case 1: return rnd() >> below(64);
    case 2: return ARENA + rnd() % ARENA_BYTES;
    default: return rnd();
    }
}
static u64 rnd_target(u32 bytes)
{
    u64 a = ARENA + (u64)below(PAGES) * PAGE_BYTES + below(PAGE_BYTES);
    switch (below(8)) {
    case 0: return (a | (PAGE_BYTES - 1)) - below(bytes ? bytes + 1 : 9);
    case 1: return (a & PAGE_MASK) + below(16);
    case 2: return a;
    default: return a & ~63ull;
    }
}

static u32 put_tail(u8 *b, u32 n)
{
    b[n++] = (u8)(rnd() | (below(3) ? 0 : 0xC0));
    while (n < 15) b[n++] = (u8)rnd();
    return 15;
}
static u32 gen_compute(u8 *b)
{
    static const u8 prefix[] = {0x66, 0xF2, 0xF3, 0xF0, 0x67, 0x64, 0x65};
    u32 n = 0, kind = below(8);
    if (kind < 5) {
        u32 map = below(8);
        if (!below(3)) b[n++] = prefix[below(ARRAY_LEN(prefix))];
        if (map >= 5 && below(2)) b[n++] = (u8[]){0x66, 0xF2, 0xF3}[below(3)];
        if (below(2)) b[n++] = (u8)(0x40 | below(16));
        if (map >= 4) b[n++] = 0x0F;
        if (map == 6) b[n++] = 0x38;
        if (map == 7) b[n++] = 0x3A;
        b[n++] = (u8)rnd();
        return put_tail(b, n);
    }
    if (kind < 7) {
        b[n++] = 0xC4;
        b[n++] = (u8)((rnd() & 0xE0) | (1 + below(3)));
        b[n++] = (u8)(below(3) ? rnd() : rnd() | 0x78);
        b[n++] = (u8)rnd();
        return put_tail(b, n);
    }
    b[n++] = 0x62;
    b[n++] = (u8)((rnd() & 0xF0) | (1 + below(3)));
    b[n++] = (u8)(rnd() | 4 | (below(2) ? 0x78 : 0));
    b[n++] = (u8)((rnd() & (below(3) ? ~7u : ~0u)) | (below(2) ? 8 : 0));
    b[n++] = (u8)rnd();
    return put_tail(b, n);
}
/* Moves and arithmetic of general registers, as compilers write them. */
static u32 gen_common(u8 *b)
{
    static const u8 op[] = {0x8B, 0x89, 0x8A, 0x88, 0x8D, 0x01, 0x03, 0x33, 0x39, 0x3B, 0x85, 0x63,
                            0xC7, 0x81, 0x83, 0x87, 0x86, 0xC1, 0xD3, 0xF7, 0xFF, 0x38, 0xFE, 0xC6};
    static const u8 op2[] = {0xB6, 0xB7, 0xBE, 0xBF, 0xAF, 0x44, 0x4F, 0x94,
                             0xA3, 0xBA, 0xB1, 0xC1, 0xBC, 0xB8, 0x10, 0x11,
                             0x6F, 0x7F, 0xD6, 0x6E, 0x7E, 0x28, 0x2A, 0x58};
    u32 n = 0;
    if (!below(5)) b[n++] = (u8[]){0x66, 0xF2, 0xF3}[below(3)];
    if (below(4)) b[n++] = (u8)(0x40 | below(16));
    if (below(2)) {
        b[n++] = op[below(ARRAY_LEN(op))];
    } else {
        b[n++] = 0x0F;
        b[n++] = op2[below(ARRAY_LEN(op2))];
    }
    return put_tail(b, n);
}
static u32 gen_flow(u8 *b)
{
    static const u8 fixed[][4] = {{1, 0xC3},       {3, 0xC2, 0x10, 0x00}, {1, 0xC9},
                                  {2, 0xF3, 0x90}, {3, 0x0F, 0xAE, 0xE8}, {1, 0x9C},
                                  {1, 0x90},       {2, 0x0F, 0xA2}};
    static const u8 rel8[] = {0xE0, 0xE1, 0xE2, 0xE3, 0xEB};
    u32 n = 0;
    switch (below(9)) {
    case 0:
        n = fixed[0][0];
        memcpy(b, fixed[0] + 1, 3);
        break;
    case 1: {
        const u8 *f = fixed[below(ARRAY_LEN(fixed))];
        memcpy(b, f + 1, 3);
        return f[0];
    }
    case 2: /* jump of one byte displacement */
        if (!below(4)) b[n++] = 0x67;
        b[n++] = below(2) ? (u8)(0x70 | below(16)) : rel8[below(ARRAY_LEN(rel8))];
        b[n++] = (u8)rnd();
        break;
    case 3: b[n++] = 0x0F; b[n++] = (u8)(0x80 | below(16)); /* fallthrough */
    case 4:
        if (!n) b[n++] = below(2) ? 0xE9 : 0xE8;
        s32 rel = below(2) ? (s32)below(8192) - 4096 : (s32)rnd();
        memcpy(b + n, &rel, 4);
        n += 4;
        break;
    case 5:
        if (below(2)) b[n++] = 0x41;
        b[n++] = (u8)(0x50 | below(16));
        break;
    case 6:
        b[n++] = below(2) ? 0x68 : 0x6A;
        memset(b + n, (int)rnd(), 4);
        n += 4;
        break;
    case 7: /* group 5: call, jmp, push */
        if (below(2)) b[n++] = (u8)(0x40 | below(16));
        b[n++] = 0xFF;
        b[n] = (u8)(rnd() & 0xC7) | (u8[]){0x10, 0x20, 0x30}[below(3)];
        for (n++; n < 15; n++) b[n] = (u8)rnd();
        break;
    default: /* pop rm */
        if (below(2)) b[n++] = (u8)(0x40 | below(16));
        b[n++] = 0x8F;
        b[n] = (u8)(rnd() & 0xC7);
        for (n++; n < 15; n++) b[n] = (u8)rnd();
    }
    return n;
}

/* MOVS, STOS, LODS, and a few of the others, with and without REP; 32-bit addresses, segments */
static u32 gen_string(u8 *b)
{
    static const u8 op[] = {0xA4, 0xA5, 0xAA, 0xAB, 0xAC, 0xAD, 0xA4, 0xA5, 0xAA, 0xAB, 0xA6, 0xAF};
    u32 n = 0;
    if (!below(16)) b[n++] = (u8[]){0x67, 0x64, 0x2E}[below(3)];
    if (!below(4)) b[n++] = 0x66;
    if (below(4)) b[n++] = below(8) ? 0xF3 : 0xF2;
    if (below(2)) b[n++] = 0x48;
    b[n++] = op[below(ARRAY_LEN(op))];
    return n;
}

static bool is_wanted(const struct insn *i)
{
    if (i->row == INSN_UD) return false;
    switch (insn_rows[i->row].class) {
    case C_COMPUTE:
        return i->mnemonic != ZYDIS_MNEMONIC_RDRAND && i->mnemonic != ZYDIS_MNEMONIC_RDSEED;
    case C_BRANCH:
    case C_STACK:
    case C_STRING:
    case C_HINT: return i->mnemonic != ZYDIS_MNEMONIC_ENTER;
    case C_FLAGS: return i->mnemonic == ZYDIS_MNEMONIC_PUSHFQ;
    default: return false;
    }
}

static void add_insn(const u8 *bytes, u32 avail)
{
    struct insn *i = &T.insn[T.b.count];
    if (isa_decode(i, bytes, avail, ISA_64) <= 0) return;
    insn_bind(T.v, i, native_exec);
    memcpy(T.guest + T.guest_bytes, i->bytes, i->len);
    T.guest_bytes += i->len;
    T.b.count++;
}
/* mov reg, imm64 */
static void add_mov(u8 reg, u64 val)
{
    u8 b[10] = {(u8)(0x48 | (reg & 8) >> 3), (u8)(0xB8 | (reg & 7))};
    memcpy(b + 2, &val, 8);
    add_insn(b, 10);
}
static u64 rip_now(void) { return CODE_GVA + T.guest_off + T.guest_bytes; }

/* Put registers or a displacement so that the operand lies in the arena. */
static void aim(struct insn *i)
{
    u64 target = rnd_target(i->mem_bytes), seg = i->seg >= FS ? T.v->seg[i->seg].base : 0;
    u64 small = below(64);
    ZydisDecoder d;
    ZydisDecodedInstruction z;
    if (!i->mem_bytes) return;
    target -= seg;
    if (i->index < GPRS && i->index != i->base)
        add_mov(i->index, i->base >= GPRS ? (target - (u64)i->disp) >> i->scale : small);
    if (i->base < GPRS && i->index == i->base)
        add_mov(i->base, (target - (u64)i->disp) / ((1u << i->scale) + 1u));
    else if (i->base < GPRS)
        add_mov(i->base, target - (u64)i->disp - (i->index < GPRS ? small << i->scale : 0));
    if (i->base < GPRS || i->index < GPRS) return;
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&d, NULL, i->bytes, i->len, &z))) return;
    s64 val = (s64)target - (i->base == BASE_RIP ? (s64)(rip_now() + i->len) : 0);
    if (z.raw.disp.size >= 32) memcpy(i->bytes + z.raw.disp.offset, &val, z.raw.disp.size / 8);
}

static void aim_string(void)
{
    u64 mask = below(4) ? ~7ull : ~0ull;
    if (below(8)) add_mov(RCX, below(4) ? below(100) : below(3000));
    if (below(16)) add_mov(RSI, rnd_target(8) & mask);
    if (below(16))
        add_mov(RDI, below(4) ? rnd_target(8) & mask : (T.v->gpr[RSI] + below(32)) & mask);
}

static void add_random(void)
{
    u8 b[32] = {0};
    struct insn i;
    u32 kind = below(16), n = kind < 8    ? gen_common(b)
                              : kind < 13 ? gen_compute(b)
                              : kind < 15 ? gen_flow(b)
                                          : gen_string(b);
    if (isa_decode(&i, b, n, ISA_64) <= 0 || !is_wanted(&i)) return;
    if (T.b.count + 6 > BLOCK_MAX) return;
    if (insn_rows[i.row].class == C_STACK || insn_rows[i.row].class == C_BRANCH)
        if (below(4))
            add_mov(i.mnemonic == ZYDIS_MNEMONIC_LEAVE ? RBP : RSP,
                    rnd_target(8) & (below(4) ? ~7ull : ~0ull));
    if (insn_rows[i.row].class == C_STRING) aim_string();
    aim(&i);
    add_insn(i.bytes, i.len);
}

static bool ends_block(const struct insn *i)
{
    u16 attr = insn_rows[i->row].attr;
    return attr & A_ENDBLOCK && !(attr & A_CONDITIONAL);
}
static void finish_block(void)
{
    for (u32 k = 0; k < T.b.count; k++) { /* a jump to the block's own start would not stop */
        struct insn *i = &T.insn[k];
        u32 off = 0;
        for (u32 j = 0; j <= k; j++) off += T.insn[j].len;
        if (i->op[0].kind == OPND_REL && off + (s64)i->imm == 0) T.b.count = k;
    }
    T.b.first = T.insn;
    T.b.mode = ISA_64;
    T.b.bytes = 0;
    for (u32 k = 0; k < T.b.count; k++) T.b.bytes = (u16)(T.b.bytes + T.insn[k].len);
}
static void random_block(u32 insns)
{
    T.b.count = T.guest_bytes = 0;
    T.guest_off = (u16)(below(4) ? below(PAGE_BYTES - 600) : 0);
    for (u32 tries = 0; tries < 100 && T.b.count < insns; tries++) {
        u32 before = T.b.count;
        add_random();
        if (T.b.count > before && ends_block(&T.insn[T.b.count - 1])) break;
    }
    finish_block();
}

static void add_stack(u64 top)
{
    add_mov(RBP, top);
    add_insn((const u8[]){0x48, 0x89, 0xEC}, 3); /* mov rsp, rbp */
}

/* Instructions on memory around RBX and RSI, which are rarely changed: what shares look-ups. */
static void add_near(void)
{
    static const char *const op[] = {
        "8b",     "89",     "488b",   "4889",    "4c8b",       "4c89",   "4801",   "4803",
        "31",     "3b",     "0fb6",   "8a",      "88",         "480faf", "c7",     "4883",
        "0f10",   "0f11",   "0f28",   "0f29",    "660fef",     "f20f58", "c5fc58", "c5fc10",
        "c5fc11", "c5fc28", "c5fd6f", "c5fe7f",  "62f17c4858", "f30f6f", "c5fb59", "4c11",
        "4c13",   "8f",     "ff",     "c4e2f9f7"};
    u8 b[32] = {0};
    struct insn i;
    u32 n = 0;
    const char *hex = op[below(ARRAY_LEN(op))];
    for (unsigned byte; *hex; hex += 2, b[n++] = (u8)byte) sscanf(hex, "%2x", &byte);
    const u32 kind = below(16), base = below(4) ? RBX : RSI;
    const s32 disp = ((s32)below(600) - 300) & (below(4) ? ~31 : below(4) ? ~7 : ~0);
    b[n++] = (u8)(0x80 | below(8) << 3 | (kind ? base : 4));
    if (!kind) b[n++] = (u8)(0x48 | base); /* [base + rcx * 2] */
    memcpy(b + n, &disp, 4);
    n += 4;
    for (u32 k = 0; k < 8; k++) b[n + k] = (u8)rnd();
    if (kind == 1 && !below(4)) n = gen_flow(b);
    if (isa_decode(&i, b, n + 8, ISA_64) <= 0 || !is_wanted(&i)) return;
    add_insn(i.bytes, i.len);
}
static void near_block(u32 insns)
{
    T.b.count = T.guest_bytes = 0;
    T.guest_off = (u16)(below(4) ? below(PAGE_BYTES - 600) : 0);
    add_mov(RBX, rnd_target(64) + (below(4) ? 0 : 300));
    add_mov(RSI, below(4) ? rnd_target(64) : T.insn[0].imm + below(256));
    add_mov(RCX, below(8) * 8);
    add_stack(rnd_target(8) & ~7ull);
    for (u32 tries = 0; tries < 100 && T.b.count < insns; tries++) {
        add_near();
        if (ends_block(&T.insn[T.b.count - 1])) break;
    }
    finish_block();
}

/* A loop over memory around RBX and RSI, several turns of it in the block. RBP counts them. */
static void loop_block(u32 insns)
{
    static const char *const step[] = {"4883c320", "4883eb10", "488d7308", "4883c608",
                                       "48ffc6",   "48ffcb",   "488d5b40", "48ffc1"};
    T.b.count = T.guest_bytes = 0;
    T.guest_off = (u16)(below(4) ? below(PAGE_BYTES - 600) : 0);
    for (u32 tries = 0; tries < 100 && T.b.count < insns; tries++) {
        u8 b[INSN_BYTES_MAX] = {0};
        const u32 count = T.b.count, bytes = T.guest_bytes;
        const char *hex = step[below(ARRAY_LEN(step))];
        for (u32 n = 0; hex[2 * n]; n++) sscanf(hex + 2 * n, "%2hhx", &b[n]);
        if (below(3)) add_near();
        else add_insn(b, sizeof b);
        const struct insn *i = &T.insn[count];
        if (T.b.count == count) continue;
        const bool counter = i->op[0].reg == RBP || i->op[1].reg == RBP;
        if (i->row != INSN_COMPUTE || counter) T.b.count = count, T.guest_bytes = bytes;
    }
    add_insn((const u8[]){0x48, 0xFF, 0xCD}, 3); /* dec rbp */
    add_insn((const u8[]){0x75, (u8) - (T.guest_bytes + 2)}, 2);
    T.turn = T.b.count;
    T.b = (struct block){.first = T.insn, .mode = ISA_64, .bytes = (u16)T.guest_bytes};
    for (T.b.count = T.turn; T.b.count + T.turn <= BLOCK_MAX; T.b.count += T.turn)
        memcpy(&T.insn[T.b.count], T.insn, T.turn * sizeof T.insn[0]);
}
static void loop_state(void)
{
    T.v->gpr[RBX] = T.w->gpr[RBX] = rnd_target(64);
    T.v->gpr[RSI] = T.w->gpr[RSI] = rnd_target(64) + below(256);
    T.v->gpr[RCX] = T.w->gpr[RCX] = below(8) * 8;
    T.v->gpr[RBP] = T.w->gpr[RBP] = 1 + below(12);
}

/* R10, R11 and R15, which live in memory, in instructions of all forms, now and then on memory. */
static u8 homed_reg(void) { return (u8[]){10, 11, 15, 10, 11, 15, 10, 15, 0, 2, 6, 9}[below(12)]; }
static const char *const homed_op[] = {
    "00",     "01",   "02",   "03",   "09",   "0b",     "11",     "13",     "19",     "1b",
    "20",     "21",   "23",   "29",   "2b",   "30",     "31",     "33",     "38",     "39",
    "3a",     "3b",   "63",   "69",   "6b",   "80",     "81",     "83",     "84",     "85",
    "86",     "87",   "88",   "89",   "8a",   "8b",     "89",     "8b",     "8d",     "8d",
    "c0",     "c1",   "d1",   "d3",   "c6c0", "c7c0",   "f6",     "f7",     "ff",     "fe",
    "0f44",   "0f4f", "0f94", "0fa3", "0fa4", "0fa5",   "0fab",   "0fac",   "0faf",   "0fb1",
    "0fb6",   "0fb7", "0fb8", "0fba", "0fbc", "0fbd",   "0fbe",   "0fbf",   "0fc1",   "0f38f6",
    "0f38f0", "0f6e", "0f7e", "0f2a", "0fd7", "0f3a16", "0f3a22", "0f38f1", "0f1038", "0fb0"};
static const char *const homed_op_reg[] = {"b8", "b0", "90", "0fc8", "b8"};
static const char *const homed_vex[] = {"42a8f2", "43b0f0", "42abf6", "42a8f7", "42abf7", "41abd2"};
static u32 put_hex(u8 *b, const char *hex)
{
    u32 n = 0;
    for (unsigned byte; *hex; hex += 2, b[n++] = (u8)byte) sscanf(hex, "%2x", &byte);
    return n;
}
static u32 gen_homed_vex(u8 *b)
{
    const u8 reg = homed_reg(), rm = homed_reg(), v = homed_reg();
    u8 op[3];
    put_hex(op, homed_vex[below(ARRAY_LEN(homed_vex))]);
    b[0] = 0xC4;
    b[1] = (u8)((reg & 8 ? 0 : 0x80) | 0x40 | (rm & 8 ? 0 : 0x20) | (op[0] & 3));
    b[2] = (u8)((below(2) ? 0x80 : 0) | (~(op[0] == 0x43 ? 0 : v) & 15) << 3 | (op[1] & 3));
    b[3] = op[2];
    b[4] = (u8)(0xC0 | (reg & 7) << 3 | (rm & 7));
    return 5;
}
static u32 gen_homed(u8 *b)
{
    const u8 reg = homed_reg(), rm = homed_reg(), base = below(2) ? RBX : RSI;
    const bool memory = !below(6);
    u32 n = 0;
    if (!below(24)) return gen_homed_vex(b);
    if (!below(6)) b[n++] = (u8[]){0x66, 0xF2, 0xF3, 0xF3}[below(4)];
    if (!below(5)) {
        b[n++] = (u8)(0x40 | (below(2) ? 8 : 0) | rm >> 3);
        n += put_hex(b + n, homed_op_reg[below(ARRAY_LEN(homed_op_reg))]);
        b[n - 1] |= rm & 7;
        return n;
    }
    const char *op = homed_op[below(ARRAY_LEN(homed_op))];
    b[n++] = (u8)(0x40 | (below(3) ? 8 : 0) | reg >> 3 << 2 | (memory ? 0 : rm >> 3));
    n += put_hex(b + n, op);
    if (b[n - 1] >= 0xC0 && n > 2 && op[2] == 'c') n--; /* C6, C7: no digit but 0 */
    const u8 digit = b[n - 1] == 0xC6 || b[n - 1] == 0xC7 ? 0 : reg & 7;
    if (b[n - 1] == 0x8D) { /* LEA: with an index */
        const u8 index = homed_reg();
        b[n - 2] |= (u8)(rm >> 3 | index >> 3 << 1);
        b[n++] = (u8)(0x44 | digit << 3);
        b[n++] = (u8)(below(4) << 6 | (index & 7) << 3 | (rm & 7));
        b[n++] = (u8)rnd();
        return n;
    }
    b[n++] = (u8)((memory ? 0x40 | base : 0xC0 | (rm & 7)) | digit << 3);
    if (memory) b[n++] = (u8)rnd() & (below(8) ? 0x78 : 0x7F);
    return n;
}
static void homed_block(u32 insns)
{
    T.b.count = T.guest_bytes = 0;
    T.guest_off = (u16)(below(4) ? below(PAGE_BYTES - 600) : 0);
    add_mov(RBX, below(4) ? ARENA + 64 * below(120) : rnd_target(64));
    add_mov(RSI, below(4) ? ARENA + 64 * below(120) : rnd_target(64));
    for (u32 tries = 0; tries < 200 && T.b.count < insns; tries++) {
        u8 b[32] = {0};
        struct insn i;
        u32 n = gen_homed(b);
        for (u32 k = n; k < n + 8; k++) b[k] = (u8)rnd();
        if (!below(50)) n = gen_flow(b);
        if (isa_decode(&i, b, n + 8, ISA_64) <= 0 || !is_wanted(&i)) continue;
        add_insn(i.bytes, i.len);
        if (ends_block(&T.insn[T.b.count - 1])) break;
    }
    finish_block();
}

static u32 gen_rsp(u8 *b)
{
    static const char *const insn[] = {
        "4889ec",     "4839e0",     "483b642408",   "488d7c2418", "4c8d542410", "4c8d5c2c08",
        "4883e4f0",   "4883e4e0",   "ff742408",     "8f442408",   "54",         "5c",
        "8f0424",     "4989e2",     "4989e7",       "4889642408", "488d65f0",   "4c89dc",
        "488b6424f8", "488b642408", "f30f6f4424f8", "4829e0",     "480fa3e0",   "4801c4",
        "4881ec0010", "c5fd7f4424", "0fba24240a",   "8d4424f8",   "66892424",   "48872424",
        "4887e5",     "0f28442410", "c5fc114424",   "4154",       "415f",       "f048010424",
        "0fc7442408", "44882424",   "4889e3",       "89e0",       "01e0",       "4c3b7c2420"};
    return put_hex(b, insn[below(ARRAY_LEN(insn))]);
}
/* What functions do to their stack: around a boundary of pages, or not; sometimes misaligned. */
static void add_on_stack(void)
{
    static const char *const op[] = {"4883ec", "4883c4", "488d6424"};
    static const u8 disp8[][3] = {{0x48, 0x8B, 0x44}, {0x48, 0x89, 0x4C}, {0x4C, 0x89, 0x54},
                                  {0x4C, 0x8B, 0x5C}, {0x48, 0x01, 0x54}, {0x48, 0x8D, 0x44},
                                  {0x0F, 0x11, 0x44}, {0x0F, 0x10, 0x4C}};
    u8 b[32] = {0};
    struct insn i;
    u32 n = 0;
    switch (below(T.bt.windows ? 12 : 10)) {
    case 10: n = gen_rsp(b); break;
    case 11: n = below(8) ? gen_rsp(b) : gen_flow(b); break;
    case 0:
    case 1:
    case 2: /* push or pop reg */
        if (below(2)) b[n++] = 0x41;
        b[n] = (u8)((T.rng >> 20 & 1 ? 0x50 : 0x58) | below(8));
        n++;
        break;
    case 3:
        b[n++] = 0x6A;
        b[n++] = (u8)rnd();
        break;
    case 4: {
        const char *hex = op[below(ARRAY_LEN(op))];
        for (unsigned byte; *hex; hex += 2, b[n++] = (u8)byte) sscanf(hex, "%2x", &byte);
        b[n++] = (u8)(below(12) * 8 + (below(40) ? 0 : 4));
        break;
    }
    case 5: /* xor eax, eax; mov rbp, rsp; leave; jcc */
        n = below(2) ? 2 : 3;
        memcpy(b, n == 2 ? (const u8[]){0x31, 0xC0, 0} : (const u8[]){0x48, 0x89, 0xE5}, n);
        if (!below(8)) b[0] = 0x7F, n = 2;
        if (!below(8)) b[0] = 0xC9, n = 1;
        break;
    default: {
        const u8 *d = disp8[below(ARRAY_LEN(disp8))];
        memcpy(b, d, 3);
        b[3] = 0x24;
        b[4] = (u8)(below(16) * 8 - (below(8) ? 0 : 16) + (below(60) ? 0 : 3));
        n = 5;
    }
    }
    if (isa_decode(&i, b, n + 8, ISA_64) <= 0 || !is_wanted(&i)) return;
    add_insn(i.bytes, i.len);
}
static void stack_block(u32 insns)
{
    T.b.count = T.guest_bytes = 0;
    T.guest_off = (u16)(below(4) ? below(PAGE_BYTES - 600) : 0);
    const u64 page = ARENA + (1 + (u64)below(PAGES - 1)) * PAGE_BYTES;
    const u64 near = below(2) ? page + (below(40) - 20) * 8 : rnd_target(8) & ~7ull;
    add_stack(near + (below(24) ? 0 : 1 + below(7)));
    while (T.b.count < insns) add_on_stack();
    if (below(4)) {
        const bool call = below(2);
        add_insn(call ? (const u8[]){0xE8, 1, 2, 3, 4} : (const u8[]){0xC2, 8, 0}, call ? 5 : 3);
    }
    finish_block();
}

static void random_state(void)
{
    struct vcpu *v = T.v, *w = T.w;
    for (u32 n = 0; n < GPRS; n++) v->gpr[n] = rnd_value();
    v->gpr[RSP] = rnd_target(8) & ~7ull;
    v->rflags = (rnd() & RFLAGS_ARITH) | 0x202 | (below(16) ? 0 : RFLAGS_DF);
    v->fx = (struct fxsave){
        .fcw = 0x37F, .mxcsr = below(8) ? 0x1F80 : (u32)rnd() & 0xFFFF, .mxcsr_mask = 0xFFFF};
    for (u32 n = 0; n < 32; n++)
        for (u32 k = 0; k < 64; k += 8) {
            u64 val = below(2) ? rnd() : 0x3F8000003F800000;
            memcpy(v->vec[n] + k, &val, 8);
            if ((n >= 16 || k >= 32) && !T.bt.has_avx512) memset(v->vec[n] + k, 0, 8);
        }
    for (u32 n = 0; n < 8; n++) v->k[n] = T.bt.has_avx512 ? rnd() : 0;
    v->rip = CODE_GVA + T.guest_off;
    memcpy(w->gpr, v->gpr, sizeof v->gpr);
    memcpy(w->vec, v->vec, sizeof v->vec);
    memcpy(w->k, v->k, sizeof v->k);
    w->rflags = v->rflags;
    w->rip = v->rip;
    w->fx = v->fx;
    for (u64 n = 0; n < ARENA_BYTES; n += 8) {
        u64 val = n & 0x38 ? T.rng + n * 0x9E3779B97F4A7C15 : 0x4000000000000000 + n;
        u64 page = n >> PAGE_SHIFT;
        memcpy(T.copy + n, &val, 8);
        memcpy(T.host_all + place[page] * PAGE_BYTES + (n & 0xFFF), &val, 8);
    }
}

/* ---- running and comparing ------------------------------------------------------------------- */

static void dump_code(const char *name, const u8 *code, u32 bytes, u64 at)
{
    ZydisDecoder d;
    ZydisFormatter f;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    char text[128];
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL);
    printf("%s\n", name);
    for (u32 n = 0; n < bytes; n += z.length) {
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, code + n, bytes - n, &z, op))) {
            printf("  %4x (bad) %02x %02x\n", n, code[n], code[n + 1]);
            return;
        }
        ZydisFormatterFormatInstruction(&f, &z, op, z.operand_count_visible, text, sizeof text,
                                        at + n, NULL);
        printf("  %4x  %s\n", n, text);
    }
}
static void dump(void)
{
    dump_code("guest", T.guest, T.guest_bytes, CODE_GVA + T.guest_off);
    dump_code("host", T.code + T.block.code_off, T.block.code_bytes, T.block.code_off);
    for (u32 k = 0; k < T.block.marks; k++)
        printf("  mark host %x guest %x\n", T.block.mark[k].host_off,
               T.block.mark[k].guest_off - T.guest_off);
    printf("seed %#" PRIx64 " trap %d at %" PRIx64 "\n", T.seed, T.trap, T.trap_pc);
}

/* Returns enum bt_exit. */
static u32 run_translated(void)
{
    T.out.rw = T.code + CODE_START;
    T.out.off = CODE_START;
    T.out.room = CODE_BYTES - CODE_START;
    T.out.wanders = T.seed & 1;
    bt_translate(&T.bt, &T.b, T.guest_off, &T.out, &T.block);
    T.trap = -1;
    T.v->eng.rsp = T.v->gpr[RSP] + T.v->eng.stack_host;
    u32 why = bt_enter(T.v, T.code + CODE_START);
    bt_mmx_done(&T.bt);
    T.v->rip = why == BT_EXIT_LOOKUP ? T.v->eng.exit_arg : CODE_GVA + (u32)T.v->eng.exit_arg;
    return why;
}

/* Translated code may have stopped in the middle of a repetition: both go on to its end. */
static void finish_string(struct insn *i)
{
    while (i->exec(T.v, i) == X_AGAIN) {
    }
    while (i->exec(T.w, i) == X_AGAIN) {
    }
}
/* As far as the translated code came: before the instruction it could not do, or to the end or the
 * first jump. NULL: an instruction faulted on the way. Else the instruction to come, or the last.
 */
static const struct insn *run_interpreted(u32 why)
{
    struct vcpu *w = T.w;
    struct insn *i = T.insn;
    for (u32 k = 0; k < T.b.count; k++) {
        i = &T.insn[k];
        if (why == BT_EXIT_STEP && w->rip == T.v->rip) {
            if (insn_rows[i->row].class == C_STRING) finish_string(i);
            return i;
        }
        enum x_result r;
        while ((r = i->exec(w, i)) == X_AGAIN) {
        }
        if (r == X_FAULT) return NULL;
        if (r != X_NEXT) break;
        w->rip = vcpu_next_rip(w, i);
    }
    return i;
}

/* The same for a loop. When there is no room for all its turns the code ends anywhere. */
static const struct insn *run_turns(void)
{
    struct vcpu *w = T.w;
    for (u32 k = 0;; k = (k + 1) % T.turn) {
        struct insn *i = &T.insn[k];
        if (w->rip == T.v->rip && w->gpr[RBP] == T.v->gpr[RBP]) return i;
        const enum x_result r = i->exec(w, i);
        if (r == X_FAULT) return NULL;
        if (r == X_NEXT) w->rip = vcpu_next_rip(w, i);
        if (r == X_NEXT && k + 1 == T.turn) return i;
    }
}

static bool same_memory(void)
{
    for (u32 n = 0; n < PAGES; n++)
        if (memcmp(T.copy + n * PAGE_BYTES, T.host_all + place[n] * PAGE_BYTES, PAGE_BYTES))
            return false;
    return true;
}
static const char *difference(void)
{
    const struct vcpu *v = T.v, *w = T.w;
    if (v->rip != w->rip) return "rip";
    for (u32 n = 0; n < GPRS; n++)
        if (v->gpr[n] != w->gpr[n]) return "general register";
    if ((v->rflags ^ w->rflags) & RFLAGS_ARITH) return "flags";
    if (memcmp(v->vec, w->vec, sizeof v->vec)) return "vector register";
    if (memcmp(v->k, w->k, sizeof v->k)) return "mask register";
    /* #XM, and #PF of VCVTPS2PH's store, come after sticky bits are set; they will be again */
    if ((v->fx.mxcsr ^ w->fx.mxcsr) & (T.trap >= 0 ? ~0x3Fu : ~0u)) return "mxcsr";
    return same_memory() ? NULL : "memory";
}
static void report(const char *what)
{
    const struct vcpu *v = T.v, *w = T.w;
    printf("\n%s\n", what);
    dump();
    for (u32 n = 0; n < GPRS; n++)
        printf("%c r%-2u %18" PRIx64 " %18" PRIx64 "\n", v->gpr[n] == w->gpr[n] ? ' ' : '*', n,
               v->gpr[n], w->gpr[n]);
    printf("  rip %18" PRIx64 " %18" PRIx64 "\n  flags %16x %18x\n  mxcsr %16x %18x\n", v->rip,
           w->rip, (u32)v->rflags & RFLAGS_ARITH, (u32)w->rflags & RFLAGS_ARITH, v->fx.mxcsr,
           w->fx.mxcsr);
    for (u32 n = 0; n < 32; n++)
        if (memcmp(v->vec[n], w->vec[n], 64)) printf("* vec%u\n", n);
    for (u64 n = 0; n < ARENA_BYTES; n++) {
        u8 a = T.host_all[place[n >> 12] * PAGE_BYTES + (n & 0xFFF)];
        if (a != T.copy[n]) printf("* mem %" PRIx64 " %02x %02x\n", (u64)(ARENA + n), a, T.copy[n]);
    }
    fflush(stdout);
}

/* A fault of the translated code at @i that the guest's processor does not raise must have a
 * reason: the operand crosses a page or is misaligned. */
static bool is_spurious(const struct insn *i)
{
    struct vcpu *w = T.w;
    if (T.trap != EXC_PF && T.trap != EXC_GP) return false;
    if (i->row != INSN_COMPUTE || !i->mem_bytes) return false;
    u64 lin = insn_ea(w, i) + (i->seg >= FS ? w->seg[i->seg].base : 0);
    if ((lin & 0xFFF) + i->mem_bytes > PAGE_BYTES) return false;
    if (i->mem_bytes >= 16 && lin & (i->mem_bytes - 1u)) return false;
    return i->exec(w, i) != X_FAULT;
}

static const char *run_case(void)
{
    u32 why = run_translated();
    const struct insn *i = T.turn ? run_turns() : run_interpreted(why);
    const struct vcpu *w = T.w;
    T.inlined += T.trap < 0 && why != BT_EXIT_STEP;
    T.stepped += T.trap < 0 && why == BT_EXIT_STEP;
    T.faulted += T.trap >= 0;
    T.misaligned += T.trap == EXC_AC;
    if (!i) /* jumps to impossible addresses are found out by the lookup */
        return w->exc.vector == EXC_GP && !is_canonical(w, T.v->rip) ? NULL : "unnoticed fault";
    const char *what = difference();
    if (what) return what;
    if (T.trap == EXC_AC && T.hints.checked[0] && i->row == INSN_COMPUTE)
        return "alignment trap in the checked form"; /* a misaligned stack is left alone */
    return T.trap >= 0 && is_spurious(i) ? "spurious fault" : NULL;
}

static u64 env_u64(const char *name, u64 otherwise)
{
    const char *s = getenv(name);
    return s ? strtoull(s, NULL, 0) : otherwise;
}

/* The marks as they are kept are the same. */
static void check_packed(void)
{
    u8 bytes[MARKS_BYTES_MAX];
    const struct bt_block *b = &T.block;
    assert_in_range(marks_put(bytes, b), 1, sizeof bytes);
    const struct bt_marks m = {bytes, b->guest_off, (u8)b->marks, (u8)b->insns,
                               (u8)marks_second(b)};
    for (u32 k = 0; k < b->marks; k++) {
        const struct bt_mark one = marks_at(&m, k);
        const bool shared = k + 1u < b->marks && b->mark[k + 1].host_off == b->mark[k].host_off;
        const struct bt_mark found = marks_find(&m, one.host_off);
        assert_memory_equal(&one, &b->mark[k], sizeof one);
        if (!shared) assert_memory_equal(&found, &one, sizeof one);
    }
}

enum { NEAR = 1 << 8, HOME = 1 << 9, STACK = 1 << 10, LOOP = 1 << 11 };
static void random_blocks(u32 insns, u64 cases)
{
    u64 grouped = 0;
    T.rng = env_u64("BT_SEED", 0xB10C + insns);
    for (u64 n = 0; n < cases; n++) {
        T.seed = T.rng;
        memset(T.hints.checked, below(2) ? 0xFF : 0, sizeof T.hints.checked);
        memset(T.hints.tested, below(2) ? 0xFF : 0, sizeof T.hints.tested);
        set_vectors(below(4));
        T.turn = 0;
        if (insns & LOOP) loop_block(1 + below(insns % NEAR));
        else if (insns & NEAR) near_block(insns % NEAR);
        else if (insns & HOME) homed_block(insns % NEAR);
        else if (insns & STACK) stack_block(1 + below(insns % STACK));
        else random_block(insns);
        if (!T.b.count) continue;
        random_state();
        if (T.turn) loop_state();
        const char *what = run_case();
        grouped += T.block.marks > T.block.insns;
        if (n % 32 == 0) check_packed();
        if (!what) continue;
        report(what);
        fail_msg("%s", what);
    }
    print_message("to the end %" PRIu64 ", stepped %" PRIu64 ", faulted %" PRIu64
                  ", misaligned %" PRIu64 ", found by tests %" PRIu64 "\n",
                  T.inlined, T.stepped, T.faulted, T.misaligned, T.tested);
    assert_true(insns == 1 || T.tested > 100);
    assert_true(!(insns & (NEAR | STACK)) || grouped > cases / 4 || T.bt.windows);
}
static void test_single_instructions(void **state)
{
    (void)state;
    begin();
    random_blocks(1, env_u64("BT_CASES", 40000));
    random_blocks(3, env_u64("BT_CASES", 40000));
}
static void test_blocks(void **state)
{
    (void)state;
    begin();
    random_blocks(12, env_u64("BT_CASES", 20000));
}

/* Accesses that share look-ups, near the edges of pages. */
static void test_groups(void **state)
{
    (void)state;
    begin();
    random_blocks(NEAR | 20, env_u64("BT_CASES", 30000));
    random_blocks(STACK | 18, env_u64("BT_CASES", 60000));
}

/* Several turns of a loop in a block, which share look-ups although registers move. */
static void test_turns(void **state)
{
    (void)state;
    begin();
    random_blocks(LOOP | 6, env_u64("BT_CASES", 15000));
}

/* Registers of the guest that live in memory. */
/* 64-bit user code. */
static void test_windows(void **state)
{
    (void)state;
    begin();
    set_window(true);
    random_blocks(STACK | 18, env_u64("BT_CASES", 40000));
    random_blocks(1, env_u64("BT_CASES", 15000));
    random_blocks(30, env_u64("BT_CASES", 2000));
    random_blocks(NEAR | 20, env_u64("BT_CASES", 5000));
    random_blocks(HOME | 20, env_u64("BT_CASES", 5000));
    set_window(false);
}
static void test_homed(void **state)
{
    (void)state;
    begin();
    random_blocks(HOME | 4, env_u64("BT_CASES", 40000));
    random_blocks(HOME | 20, env_u64("BT_CASES", 40000));
}

/* ---- by hand --------------------------------------------------------------------------------- */

static void start_block(u16 guest_off)
{
    T.b = (struct block){.first = T.insn, .mode = ISA_64};
    T.guest_bytes = 0;
    T.guest_off = guest_off;
    memset(&T.hints, 0, sizeof T.hints);
    set_vectors(true);
}
static void add_hex(const char *hex)
{
    u8 b[INSN_BYTES_MAX];
    u32 n = 0;
    for (; hex[2 * n]; n++) {
        unsigned byte;
        sscanf(hex + 2 * n, "%2x", &byte);
        b[n] = (u8)byte;
    }
    add_insn(b, n);
}
static u32 translate(void)
{
    T.out.rw = T.code + CODE_START;
    T.out.off = CODE_START;
    T.out.room = CODE_BYTES - CODE_START;
    return bt_translate(&T.bt, &T.b, T.guest_off, &T.out, &T.block);
}

/* Everything emitted is instructions, one after the other to the end; jumps stay inside or go to a
 * stub; marks are at instructions, ascending. */
static void check_emission(u32 bytes)
{
    static u8 starts[BT_BLOCK_CODE_BYTES];
    const u8 *code = T.code + CODE_START;
    ZydisDecoder d;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
    ZydisDecoderInit(&d, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
    memset(starts, 0, sizeof starts);
    for (u32 n = 0; n < bytes; n += z.length) {
        starts[n] = 1;
        if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, code + n, bytes - n, &z, op))) {
            dump();
            fail_msg("no instruction at %x", n);
        }
    }
    for (u32 n = 0; n < bytes; n += z.length) {
        u64 to;
        ZydisDecoderDecodeFull(&d, code + n, bytes - n, &z, op);
        if (!(z.attributes & ZYDIS_ATTRIB_IS_RELATIVE) ||
            op[0].type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
            continue;
        ZydisCalcAbsoluteAddress(&z, op, CODE_START + n, &to);
        if (!memcmp(code + n, "\xE3\x03\x0F\x1F\x84\xE9", 6)) { /* em_jump_rcx_zero */
            s32 rel;
            memcpy(&rel, code + n + 6, 4);
            to = CODE_START + n + 10 + (u64)(s64)rel;
        }
        bool stub = to == STUB_STEP || to == STUB_LINK || to == STUB_LOOKUP || to == STUB_FILL ||
                    to == STUB_JUMP;
        if (stub || (to - CODE_START < bytes && starts[to - CODE_START])) continue;
        dump();
        fail_msg("jump at %x to %" PRIx64, n, to);
    }
    for (u32 k = 0; k < T.block.marks; k++) {
        assert_true(starts[T.block.mark[k].host_off]);
        assert_true(T.block.mark[k].again == T.block.mark[k].host_off ||
                    starts[T.block.mark[k].again]);
        if (k && k < T.block.insns)
            assert_true(T.block.mark[k].guest_off > T.block.mark[k - 1].guest_off);
        if (k) assert_true(T.block.mark[k].host_off >= T.block.mark[k - 1].host_off);
    }
    check_packed();
}
static void test_emission(void **state)
{
    (void)state;
    begin();
    T.rng = env_u64("BT_SEED", 0xE317);
    for (u32 n = 0; n < 20000; n++) {
        T.seed = T.rng;
        for (u32 k = 0; k < sizeof T.hints.checked; k++) T.hints.checked[k] = (u8)rnd();
        for (u32 k = 0; k < sizeof T.hints.tested; k++) T.hints.tested[k] = (u8)rnd();
        for (u32 k = 0; k < sizeof T.hints.stepped; k++)
            T.hints.stepped[k] = below(8) ? 0 : (u8)rnd();
        set_vectors(below(2));
        random_block(1 + below(BLOCK_MAX - 6));
        if (!T.b.count) continue;
        u32 bytes = translate();
        const u8 *copy = T.code + T.block.copy_off; /* the guest code comes behind */
        assert_int_equal(T.block.copy_off, CODE_START + T.block.code_bytes);
        assert_int_equal(bytes, T.block.code_bytes);
        assert_memory_equal(copy, T.b.first->bytes, T.b.first->len);
        assert_in_range(T.block.insns, 1, T.b.count);
        assert_int_equal(T.block.guest_off, T.guest_off);
        check_emission(bytes);
    }
    memset(&T.hints, 0, sizeof T.hints);
}

/* Instructions that must not leave translated code when their operands are ordinary. */
static const char *const inline_forms[] = {
    "488b4608", "48894608",   "4c8b5608",   "4c895608",   "450fb65608", "440fb71e",
    "8a6601",   "886601",     "480fb106",   "f0480fc106", "48870e",     "48013e",
    "48ff06",   "480fba2e05", "480faf06",   "48f726",     "4c0316",     "660f6f06",
    "f30f6f06", "660f7f06",   "0f1006",     "f20f5806",   "f30f7e06",   "c5fe6f06",
    "c5fc5806", "c5f96f06",   "c4e2f8f206", "660f3800c1", "0fae1e",     "480fc70e",
    "50",       "4152",       "58",         "415a",       "6a01",       "ff36",
    "8f06",     "c9",         "f390",       "0faee8",     "90",         "480fc8",
    "4d89fa",   "4d01d7",     "4d87d3",     "48d3e0",     "49d3e2",     "0f94c0",
    "410f94c2", "480f44c2",   "4c0f4416",   "488d04b6",   "4e8d1456",   "488d0500000000",
    "f3a4",     "f348a5",     "f3aa",       "f348ab",     "a4",         "ab",
    "48ad",     "c4e2fbf7c1", "f3480fb8c0", "480fbcc0",   "98",         "4899",
    "9e",       "9f",         "f8",         "f5"};

static void ordinary_state(void)
{
    random_state();
    for (u32 n = 0; n < GPRS; n++) T.v->gpr[n] = ARENA + 0x40 * n;
    T.v->gpr[RSP] = ARENA + 0x800;
    T.v->gpr[RBP] = ARENA + 0x900;
    T.v->gpr[RCX] = 5;
    T.v->gpr[RDX] = 0;
    T.v->rflags &= ~(u64)RFLAGS_DF;
    T.v->fx.mxcsr = 0x1F80;
    for (u64 n = 0; n < ARENA_BYTES; n += 8) {
        u64 val = 0x1F80;
        memcpy(host_at(ARENA + n), &val, 8);
    }
}
static void test_inline_forms(void **state)
{
    (void)state;
    begin();
    for (u32 k = 0; k < ARRAY_LEN(inline_forms); k++) {
        bool avx =
            inline_forms[k][0] == 'c' && (inline_forms[k][1] == '5' || inline_forms[k][1] == '4');
        if (avx && !T.bt.has_avx) continue;
        start_block(64);
        add_hex(inline_forms[k]);
        if (!T.b.count) fail_msg("%s does not decode", inline_forms[k]);
        ordinary_state();
        u32 why = run_translated();
        if (why != BT_EXIT_STEP) continue;
        dump();
        fail_msg("%s: %s", inline_forms[k], T.trap < 0 ? "no inline form" : "fault");
    }
}

/* Exits name their targets; the link site is a jump that C can point elsewhere. */
static void test_exits(void **state)
{
    (void)state;
    begin();
    start_block(64);
    add_hex("eb10");
    ordinary_state();
    assert_int_equal(run_translated(), BT_EXIT_LINK);
    assert_int_equal(T.v->eng.exit_arg, 64 + 2 + 16);
    u32 site = (u32)T.v->eng.exit_site & ~SITE_FORWARD;
    assert_in_range(site, CODE_START + 1, CODE_START + T.block.code_bytes - 4);
    assert_int_equal(T.code[site - 1], 0xE9);
    s32 rel = STUB_LOOKUP - (s32)(site + 4);
    memcpy(T.code + site, &rel, 4);
    T.v->rip = CODE_GVA + 64;
    T.v->eng.rsp = T.v->gpr[RSP];
    assert_int_equal(bt_enter(T.v, T.code + CODE_START), BT_EXIT_LOOKUP);

    start_block(64);
    add_hex("e900100000");
    ordinary_state();
    assert_int_equal(run_translated(), BT_EXIT_LOOKUP);
    assert_int_equal(T.v->rip, CODE_GVA + 64 + 5 + 0x1000);

    start_block(4095); /* falls off its page */
    add_hex("90");
    ordinary_state();
    assert_int_equal(run_translated(), BT_EXIT_LOOKUP);
    assert_int_equal(T.v->rip, CODE_GVA + 4096);

    start_block(64);
    add_hex("0fa2"); /* CPUID has no inline form */
    ordinary_state();
    assert_int_equal(run_translated(), BT_EXIT_STEP);
    assert_int_equal(T.v->rip, CODE_GVA + 64);
}

/* A block that jumps to its own start does not leave; the poll word stops it. */
static void test_loops_and_poll(void **state)
{
    (void)state;
    begin();
    start_block(64);
    add_hex("48ffc0"); /* inc rax; loop back */
    add_hex("e2fb");
    ordinary_state();
    T.v->gpr[RCX] = 1000;
    u64 rax = T.v->gpr[RAX];
    assert_int_equal(run_translated(), BT_EXIT_LINK);
    assert_int_equal(T.v->gpr[RAX], rax + 1000);
    assert_int_equal(T.v->gpr[RCX], 0);

    T.bt.stubs.poll = (u32) - (s32)PAGE_BYTES; /* in front of the code */
    ordinary_state();
    rax = T.v->gpr[RAX];
    u32 why = run_translated();
    T.bt.stubs.poll = POLL;
    assert_int_equal(why, BT_EXIT_STEP);
    assert_int_equal(T.trap, EXC_PF);
    assert_int_equal(T.v->rip, CODE_GVA + 64);
    assert_int_equal(T.v->gpr[RAX], rax);
}

/* A class that may not run, hints, and a poor host all lead to the interpreter. */
static void test_what_is_left_to_the_interpreter(void **state)
{
    static const char *const vectors[] = {"0f58c1", "660fefc0", "0f1006"};
    (void)state;
    begin();
    for (u32 k = 0; k < ARRAY_LEN(vectors); k++) {
        start_block(64);
        add_hex(vectors[k]);
        T.v->fpu_fault[FPU_SSE] = EXC_NM;
        ordinary_state();
        assert_int_equal(run_translated(), BT_EXIT_STEP);
        T.v->fpu_fault[FPU_SSE] = 0;
        set_vectors(false);
        ordinary_state();
        assert_int_equal(run_translated(), BT_EXIT_STEP);
    }
    start_block(64);
    add_hex("90");
    add_hex("4801c0");
    T.hints.stepped[65 / 8] = 1 << 65 % 8;
    ordinary_state();
    assert_int_equal(run_translated(), BT_EXIT_STEP);
    assert_int_equal(T.v->rip, CODE_GVA + 65);
    start_block(64);
    add_hex("d9e8"); /* x87 */
    ordinary_state();
    assert_int_equal(run_translated(), BT_EXIT_STEP);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_emission),
                                       cmocka_unit_test(test_inline_forms),
                                       cmocka_unit_test(test_exits),
                                       cmocka_unit_test(test_loops_and_poll),
                                       cmocka_unit_test(test_what_is_left_to_the_interpreter),
                                       cmocka_unit_test(test_single_instructions),
                                       cmocka_unit_test(test_blocks),
                                       cmocka_unit_test(test_groups),
                                       cmocka_unit_test(test_turns),
                                       cmocka_unit_test(test_homed),
                                       cmocka_unit_test(test_windows)};
    const int failed = cmocka_run_group_tests_name("translate", tests, NULL, NULL);
    if (failed) return failed;
    T.bt.plain = true; /* and as for a host without BMI2 */
    return cmocka_run_group_tests_name("translate, without BMI2", tests, NULL, NULL);
}

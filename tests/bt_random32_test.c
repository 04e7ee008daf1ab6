/* Random 32-bit programs under the interpreter and under the translator: flat protected mode, with
 * and without paging, privilege level 0, a few instructions each, ending in HLT; so do all
 * exceptions, each at an address of its own. All state and all memory are compared, so vector,
 * error code, address and what was done before an exception are, too. BT32_SEED and BT32_CASES
 * choose other programs. */
#include <signal.h>
#include <stdio.h>
#include <sys/time.h>

#include "engine/bt/bt.h"
#include "engine/common/rig_test.h"
#include "engine/interp/interp.h"

enum {
    GDT = 0x800,
    IDT = 0x1000,
    HANDLER = 0x1800, /* of vector n: a HLT at HANDLER + n */
    CODE = 0x3F00,    /* programs start at random below the next page and cross into it */
    STACK = 0x9000,
    DIRECTORY = 0xA000, /* of programs with paging */
    TABLE = 0xB000,     /* of the first 4 MiB */
    ARENA = 0x10000,    /* where operands lie, mostly */
    ARENA_BYTES = 0x4000,
    INSNS = 24,
    TAIL = 64, /* HLTs behind a program, for jumps */
    PROGRAM_BYTES = INSNS * 24 + TAIL,
    CASES = 4000,
    ENDLESS = 5000,
};
enum { SEL_CODE = 8, SEL_DATA = 16, SEL_BASED = 24, SEL_SHORT = 32, SEL_READONLY = 40 };

static u64 seed;
static u32 rnd(void)
{
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(seed >> 33);
}
static u32 below(u32 n) { return rnd() % n; }

struct program {
    u32 at, n;
    u8 bytes[PROGRAM_BYTES];
    u32 gpr[8], flags;
    u16 fs, gs;
    bool paging, wp;
    u8 arena[ARENA_BYTES / PAGE_BYTES]; /* with paging: flags of these pages */
    u8 vec[8][16], st[8][10];
    u16 fcw;
    u8 ftw;
};
static void put(struct program *p, const void *bytes, u32 n)
{
    memcpy(p->bytes + p->n, bytes, n);
    p->n += n;
}
#define PUT(p, ...) put(p, (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__}))
static void put_mov(struct program *p, u32 reg, u32 val)
{
    PUT(p, (u8)(0xB8 | reg));
    put(p, &val, 4);
}

/* ---- what programs are made of --------------------------------------------------------------- */

static u32 random_address(void)
{
    u32 at = ARENA + below(ARENA_BYTES);
    if (below(2)) at &= ~7u;
    if (!below(32)) at = (ARENA + PAGE_BYTES * (1 + below(3))) - below(12); /* across a page */
    if (!below(64)) at = RIG_MMIO + below(64) * 4;
    if (!below(128)) at = 0u - below(12); /* the end of the address space */
    return at;
}

/* One instruction of random bytes: prefixes, opcode of one of the lists, whatever follows. */
static u32 random_bytes(u8 *b)
{
    static const u8 two[] = {0x10, 0x11, 0x28, 0x29, 0x2A, 0x40, 0x44, 0x4F, 0x51, 0x54, 0x58, 0x5C,
                             0x6E, 0x6F, 0x7E, 0x7F, 0x90, 0x9C, 0xA0, 0xA2, 0xA3, 0xA4, 0xA8, 0xAB,
                             0xAC, 0xAF, 0xB0, 0xB1, 0xB3, 0xB6, 0xB7, 0xBA, 0xBB, 0xBC, 0xBD, 0xBE,
                             0xBF, 0xC0, 0xC1, 0xC7, 0xC8, 0xCF, 0xD6, 0xE7, 0xEF, 0xFE};
    static const u8 prefix[] = {0x66, 0x66, 0x66, 0xF2, 0xF3, 0xF3,
                                0x67, 0x64, 0x65, 0x2E, 0x36, 0xF0};
    u32 n = 0;
    while (n < 2 && !below(4)) b[n++] = prefix[below(ARRAY_LEN(prefix))];
    if (!below(6)) {
        b[n++] = (u8)(0xD8 | below(8)); /* x87 */
    } else if (!below(8)) {
        b[n++] = 0x0F; /* MMX, mostly */
        b[n++] = (u8)(0x60 | rnd());
    } else if (below(3)) {
        b[n++] = (u8)rnd();
    } else {
        b[n++] = 0x0F;
        b[n++] = two[below(ARRAY_LEN(two))];
    }
    while (n < INSN_BYTES_MAX) b[n++] = (u8)rnd();
    return n;
}

/* Left out: what the interpreter and the host's clock or devices decide, and what leaves the
 * program. */
static bool is_wanted(const struct insn *i)
{
    if (i->row == INSN_UD || i->row == INSN_COMPUTE) return i->row != INSN_UD;
    switch (insn_rows[i->row].class) {
    case C_STACK:
    case C_STRING: return !(i->opcode >= 0x6C && i->opcode <= 0x6F); /* INS, OUTS */
    case C_BRANCH: return i->op[0].kind == OPND_REL;
    case C_FLAGS: return true;
    default: return false;
    }
}

static void aim(struct program *p, const struct insn *i)
{
    if (i->prefixes & (PFX_REP | PFX_REPNE)) put_mov(p, RCX, below(8) ? below(40) : 0);
    if (i->row != INSN_COMPUTE && insn_rows[i->row].class == C_STRING) {
        put_mov(p, RSI, random_address());
        put_mov(p, RDI, random_address());
    }
    if (!i->mem_bytes || i->base >= 8 || !below(8)) return;
    u32 scaled = 0;
    if (i->index < 8 && i->index != i->base) {
        u32 index = below(64);
        put_mov(p, i->index, index);
        scaled = index << i->scale;
    }
    put_mov(p, i->base, random_address() - (u32)i->disp - scaled);
}

static void put_random(struct program *p)
{
    u8 b[INSN_BYTES_MAX];
    struct insn i;
    int len;
    do len = isa_decode(&i, b, random_bytes(b), ISA_32);
    while (len <= 0 || !is_wanted(&i));
    if (i.disp && below(2)) { /* a small displacement lands where it is aimed */
        u8 *disp = memmem(b, (size_t)len, &i.disp, 4);
        if (disp) memset(disp + 1, 0, 3);
        isa_decode(&i, b, INSN_BYTES_MAX, ISA_32);
    }
    aim(p, &i);
    if (i.row != INSN_COMPUTE && insn_rows[i.row].class == C_BRANCH) {
        u32 field = i.opsize == 2 ? 2 : 4; /* forward, a little */
        if (i.opcode < 0x80 || i.opcode >= 0xE0)
            field = i.opcode == 0xE8 || i.opcode == 0xE9 ? field : 1;
        memset(b + len - field, 0, field);
        b[len - (int)field] = (u8)below(12);
    }
    put(p, b, (u32)len);
}

/* Calls, returns and jumps through registers, to the next instruction. */
static void put_flow(struct program *p)
{
    u32 next;
    switch (below(5)) {
    case 0: /* push imm; ret */
        next = p->at + p->n + 6;
        PUT(p, 0x68);
        put(p, &next, 4);
        PUT(p, 0xC3);
        break;
    case 1: /* mov eax, imm; jmp eax */
        put_mov(p, RAX, p->at + p->n + 7);
        PUT(p, 0xFF, 0xE0);
        break;
    case 2: /* mov ecx, imm; call ecx */
        put_mov(p, RCX, p->at + p->n + 7);
        PUT(p, 0xFF, 0xD1);
        break;
    case 3: PUT(p, 0xE8, 0, 0, 0, 0, 0x5B); break;      /* call next; pop ebx */
    default: PUT(p, 0x6A, (u8)rnd(), 0x9C, 0x58, 0xC9); /* push imm8; pushf; pop eax; leave */
    }
}

static void put_segment(struct program *p)
{
    static const u16 sel[] = {0, SEL_DATA, SEL_BASED, SEL_SHORT, SEL_READONLY};
    put_mov(p, RAX, sel[below(ARRAY_LEN(sel))]);
    PUT(p, 0x8E, below(2) ? 0xE0 : 0xE8); /* mov fs, eax; mov gs, eax */
}

static void make_program(struct program *p)
{
    memset(p, 0, sizeof *p);
    p->at = CODE + below(0x140);
    for (u32 k = 0; k < 8; k++) {
        p->gpr[k] = below(2) ? random_address() : rnd() * 2;
        for (u32 n = 0; n < 16; n++) p->vec[k][n] = (u8)rnd();
    }
    for (u32 k = 0; k < sizeof p->st; k++) p->st[k / 10][k % 10] = (u8)rnd();
    p->fcw = below(8) ? 0x37F : (u16)((rnd() & 0xF3F) | 0x40);
    p->ftw = below(2) ? 0 : (u8)rnd();
    p->gpr[RSP] = STACK + below(2) * (below(8) ? 0x20 : below(16));
    p->gpr[RBP] = below(2) ? STACK + 0x40 : p->gpr[RBP];
    p->flags = (rnd() & RFLAGS_ARITH) | RFLAGS_FIXED | (below(8) ? 0 : RFLAGS_DF);
    p->fs = below(2) ? SEL_BASED : 0;
    p->gs = below(2) ? SEL_DATA : SEL_SHORT;
    p->paging = below(2);
    p->wp = below(2);
    for (u32 k = 0; k < ARRAY_LEN(p->arena); k++)
        p->arena[k] = (u8[]){0x63, 0x23, 0x03, 0x03, 0x21, 0x01, 0x02}[below(7)]; /* D A W P */
    u32 count = 2 + below(INSNS - 2);
    for (u32 k = 0; k < count; k++) {
        if (!below(16)) put_flow(p);
        else if (!below(24)) put_segment(p);
        else put_random(p);
    }
    memset(p->bytes + p->n, 0xF4, TAIL);
    p->n += TAIL;
}

/* ---- running --------------------------------------------------------------------------------- */

static void put_descriptor(struct rig *r, u16 sel, u32 base, u64 rest)
{
    u64 d = rest | (u64)(base & 0xFFFFFF) << 16 | (u64)(base >> 24) << 56;
    rig_put(r, GDT + sel, &d, sizeof d);
}

static struct seg segment(u16 sel)
{
    struct seg s = {.sel = sel, .attr = SEG_NULL};
    u32 attr = SEG_P | SEG_S | SEG_W | SEG_A | SEG_DB | SEG_G;
    if (sel == SEL_DATA) s = (struct seg){.sel = sel, .limit = ~0u, .attr = attr};
    if (sel == SEL_BASED) s = (struct seg){.sel = sel, .limit = ~0u, .attr = attr, .base = 0x10000};
    if (sel == SEL_SHORT) s = (struct seg){.sel = sel, .limit = 0x13FFF, .attr = attr};
    if (sel == SEL_CODE) s = (struct seg){.sel = sel, .limit = ~0u, .attr = attr | SEG_CODE};
    return s;
}

static struct rig *make(void)
{
    static const struct engine *const engines[] = {&engine_bt};
    struct rig *r = rig_create(engines, 1);
    put_descriptor(r, SEL_CODE, 0, 0x00CF9B000000FFFF);
    put_descriptor(r, SEL_DATA, 0, 0x00CF93000000FFFF);
    put_descriptor(r, SEL_BASED, 0x10000, 0x00CF93000000FFFF);
    put_descriptor(r, SEL_SHORT, 0, 0x00C0930000000013);
    put_descriptor(r, SEL_READONLY, 0, 0x00CF91000000FFFF);
    for (u32 n = 0; n < 32; n++) {
        u64 gate = (HANDLER + n) | (u64)SEL_CODE << 16 | 0x8E0000000000;
        rig_put(r, IDT + n * 8, &gate, sizeof gate);
        rig_put(r, HANDLER + n, "\xF4", 1);
    }
    return r;
}

/* Guest memory one to one, the arena's pages as the program wants them; devices in a large page. */
static void put_paging(struct rig *r, const struct program *p)
{
    u32 dir[1024] = {TABLE | 3}, table[1024] = {0};
    dir[RIG_MMIO >> 22] = RIG_MMIO | 0x83;
    for (u32 k = 0; k < RIG_RAM / PAGE_BYTES; k++) table[k] = k * PAGE_BYTES | 3;
    for (u32 k = 0; k < ARRAY_LEN(p->arena); k++)
        table[ARENA / PAGE_BYTES + k] = (ARENA + k * (u32)PAGE_BYTES) | p->arena[k];
    assert_int_equal(mem_write(&r->mem, DIRECTORY, dir, sizeof dir), 0);
    assert_int_equal(mem_write(&r->mem, TABLE, table, sizeof table), 0);
    r->v->cr3 = DIRECTORY;
    r->v->cr4 |= CR4_PSE;
    r->v->cr0 |= CR0_PG | (p->wp ? CR0_WP : 0);
}

static void start(struct rig *r, const struct program *p)
{
    struct vcpu *v = r->v;
    vcpu_reset(v, false);
    v->cr0 = CR0_PE | CR0_NE | CR0_ET;
    v->cr4 = CR4_OSFXSR | CR4_OSXMMEXCPT;
    v->gdtr = (struct dtable){GDT, 47};
    v->idtr = (struct dtable){IDT, 255};
    for (u32 s = 0; s < SEGS; s++) v->seg[s] = segment(s == CS ? SEL_CODE : SEL_DATA);
    v->seg[FS] = segment(p->fs);
    v->seg[GS] = segment(p->gs);
    v->cpl = 0;
    v->rflags = p->flags;
    v->rip = p->at;
    for (u32 k = 0; k < GPRS; k++) v->gpr[k] = k < 8 ? p->gpr[k] : 0;
    for (u32 k = 0; k < 8; k++) memcpy(v->vec[k], p->vec[k], 16);
    for (u32 k = 0; k < 8; k++) memcpy(v->fx.st[k], p->st[k], 10);
    v->fx.fcw = p->fcw;
    v->fx.ftw = p->ftw;
    v->run_state = VCPU_RUNNING;
    v->shadow = 0;
    v->pending_dbg = 0;
    put_paging(r, p);
    if (!p->paging) v->cr0 &= ~(u64)CR0_PG;
    vcpu_mode_changed(v);
    v->mmu->flush_all(v);
    u8 arena[ARENA_BYTES];
    for (u32 k = 0; k < ARENA_BYTES; k++) arena[k] = (u8)(k * 7 ^ k >> 8);
    assert_int_equal(mem_write(&r->mem, ARENA, arena, sizeof arena), 0);
    u8 low[STACK + 0x100 - CODE];
    memset(low, 0xF4, sizeof low);
    memcpy(low + p->at - CODE, p->bytes, p->n);
    assert_int_equal(mem_write(&r->mem, CODE, low, sizeof low), 0);
    r->ios = 0;
}

static bool same_x87(const struct fxsave *a, const struct fxsave *b)
{
    return a->fcw == b->fcw && a->fsw == b->fsw && a->ftw == b->ftw && a->fop == b->fop &&
           a->fip == b->fip && a->fdp == b->fdp && !memcmp(a->st, b->st, sizeof a->st);
}

/* Accessed bits may be set for accesses that were never made (SDM vol. 3A section 4.8). */
static bool same_memory(const struct rig *a, const struct rig *b)
{
    const u8 *x = a->mem.slot[0].hva, *y = b->mem.slot[0].hva;
    for (u32 n = DIRECTORY; n < TABLE + PAGE_BYTES; n++)
        if ((x[n] ^ y[n]) & (n % 4 ? 0xFF : 0xDF)) return false;
    const u32 rest = TABLE + PAGE_BYTES;
    return !memcmp(x, y, DIRECTORY) && !memcmp(x + rest, y + rest, RIG_RAM - rest);
}

static const char *difference(const struct rig *a, const struct rig *b)
{
    const struct vcpu *v = a->v, *w = b->v;
    for (u32 k = 0; k < 8; k++) {
        if (v->gpr[k] != w->gpr[k]) return "general registers";
        if (memcmp(v->vec[k], w->vec[k], 64)) return "vector registers";
    }
    if (v->rip != w->rip || v->rflags != w->rflags) return "RIP or RFLAGS";
    if (v->cr2 != w->cr2 || v->run_state != w->run_state) return "CR2 or the end";
    if (!same_x87(&v->fx, &w->fx)) return "x87 registers";
    if (v->fx.mxcsr != w->fx.mxcsr) return "MXCSR";
    if (v->seg[FS].sel != w->seg[FS].sel || v->seg[GS].sel != w->seg[GS].sel) return "FS or GS";
    if (a->ios != b->ios || memcmp(a->io, b->io, sizeof a->io[0] * min_u64(a->ios, RIG_LOG)))
        return "device accesses";
    return same_memory(a, b) ? NULL : "memory";
}

static void report(const struct program *p, const char *what, const struct rig *a,
                   const struct rig *b)
{
    char text[128];
    struct insn i;
    for (u32 at = 0; at < p->n - TAIL; at += i.len) {
        if (isa_decode(&i, p->bytes + at, p->n - at, ISA_32) <= 0) break;
        fprintf(stderr, "  %x: %s\n", p->at + at, isa_format(&i, p->at + at, text, sizeof text));
    }
    vcpu_dump(a->v, 2);
    vcpu_dump(b->v, 2);
    fail_msg("the translator differs in: %s", what);
}

/* Programs that loop, or repeat a string instruction billions of times, are stopped and not used.
 */
static struct vcpu *_Atomic watched;
static void on_alarm(int signum)
{
    (void)signum;
    vcpu_attention(watched, ATT_STOP);
}
static enum run_exit run_bounded(struct rig *r)
{
    const struct itimerval limit = {.it_value.tv_usec = 100000}, off = {0};
    watched = r->v;
    setitimer(ITIMER_REAL, &limit, NULL);
    enum run_exit why = rig_run(r, ENDLESS);
    setitimer(ITIMER_REAL, &off, NULL);
    atomic_fetch_and(&r->v->attention, ~(u32)ATT_STOP);
    return why;
}

static void test_programs(void **state)
{
    const char *s = getenv("BT32_SEED"), *n = getenv("BT32_CASES");
    u32 cases = n ? (u32)strtoul(n, NULL, 0) : CASES;
    struct rig *interp = make(), *bt = make();
    struct program p;
    u32 vectors[32] = {0};
    (void)state;
    signal(SIGALRM, on_alarm);
    seed = s ? strtoull(s, NULL, 0) : 20261120;
    rig_engine(interp, &engine_interp);
    rig_engine(bt, &engine_bt);
    for (u32 k = 0; k < cases; k++) {
        u64 was = seed;
        make_program(&p);
        for (u32 again = 0; again < 2; again++) { /* the second time what was learnt applies */
            start(interp, &p);
            enum run_exit a = run_bounded(interp);
            if (a != RUN_HALTED && a != RUN_SHUTDOWN) {
                assert_int_equal(mem_write(&bt->mem, 0, interp->mem.slot[0].hva, RIG_RAM), 0);
                break;
            }
            start(bt, &p);
            enum run_exit b = rig_run(bt, 0);
            if (a == RUN_HALTED && interp->v->rip - HANDLER - 1 < 32)
                vectors[interp->v->rip - HANDLER - 1]++;
            const char *what = a != b ? "how they end" : difference(interp, bt);
            if (!what) continue;
            fprintf(stderr, "case %u, BT32_SEED=%llu\n", k, (unsigned long long)was);
            report(&p, what, interp, bt);
        }
    }
    for (u32 k = 0; k < 32; k++)
        if (vectors[k]) print_message("vector %-3u %8u\n", k, vectors[k]);
    if (cases >= CASES)
        assert_true(vectors[EXC_DE] && vectors[EXC_UD] && vectors[EXC_GP] && vectors[EXC_PF]);
    rig_destroy(bt);
    rig_destroy(interp);
}

int main(void)
{
    struct err e;
    if (engine_bt.probe(&e) < 0) {
        printf("ok 1 - # SKIP %s\n", e.text);
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_programs)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* tests/smp_litmus.h - litmus tests: short programs of up to four processors on shared words, run
 * many times; what they read, and what is in memory at the end, must be an outcome that a model of
 * x86-TSO allows. The model knows nothing of the engines: memory, a FIFO of stores for each
 * processor, all interleavings (Sewell et al., x86-TSO, 2010; SDM vol. 3A section 8.2). The known
 * tests by name, and random ones. */
#ifndef TESTS_SMP_LITMUS_H
#define TESTS_SMP_LITMUS_H
#include "smp_rig.h"

enum {
    LIT_OPS = 4,
    LIT_LOCS = 3,
    LIT_RUNS = 500,
    LIT_CELLS = 0x200000, /* of one run: LIT_CELL_BYTES */
    LIT_CELL_BYTES = 256,
    LIT_RESULTS = 0x300000, /* of each processor: 16 bytes of each run */
    LIT_RESULT_BYTES = 0x10000,
    LIT_BARRIER = 0x31000,
    LIT_STATES = 1 << 20,
    LIT_OUTCOMES = 1 << 16,
};
/* W loc, R loc, F (MFENCE), X loc (XCHG); a digit is the location */
struct lit {
    char op[SMP_CPUS][LIT_OPS], loc[SMP_CPUS][LIT_OPS];
    u32 ops[SMP_CPUS], cpus;
    bool near, code; /* words in one line; pages hold code that is executed, too */
};
static const char *const lit_known[] = {
    "W0R1|W1R0",       /* SB */
    "W0FR1|W1FR0",     /* SB with fences */
    "W0W1|R1R0",       /* MP */
    "R0W1|R1W0",       /* LB */
    "W0W1|W1W0",       /* 2+2W */
    "W0W1|W1R0",       /* R */
    "W0W1|R1W0",       /* S */
    "W0|W0|R0R0",      /* CoRR */
    "W0|W1|R0R1|R1R0", /* IRIW */
    "W0|R0W1|R1R0",    /* WRC */
    "W0W1|R1W2|R2R0",  /* ISA2 */
    "W0R0R1|W1R1R0",   /* n7, forwarding */
    "X0R1|X1R0",       /* SB, locked */
    "X0W1|W1X0|R0R1|R1R0",
};

/* ---- the model ---- */

/* Values are 1 + number of the write; 4 bits each. */
struct lit_state {
    u64 regs; /* 4 bits of each read, in order of processor and operation */
    u16 memory;
    u8 done[SMP_CPUS], flushed[SMP_CPUS]; /* operations; of their stores, in memory */
};
struct lit_model {
    const struct lit *l;
    u64 *seen; /* hashes */
    u64 outcome[LIT_OUTCOMES];
    u32 outcomes, states;
};
static inline u32 lit_number(const struct lit *l, u32 cpu, u32 k, bool reads)
{
    u32 n = 0;
    for (u32 i = 0; i <= cpu; i++)
        for (u32 j = 0; j < (i == cpu ? k : l->ops[i]); j++)
            n += reads ? l->op[i][j] == 'R' || l->op[i][j] == 'X'
                       : l->op[i][j] == 'W' || l->op[i][j] == 'X';
    return n;
}
static inline u64 lit_value(const struct lit *l, u32 cpu, u32 k)
{
    return lit_number(l, cpu, k, false) + 1;
}
static inline bool lit_is_new(struct lit_model *m, u64 hash)
{
    hash |= 1;
    for (u32 at = (u32)(hash >> 20) % LIT_STATES;; at = (at + 1) % LIT_STATES) {
        if (m->seen[at] == hash) return false;
        if (m->seen[at]) continue;
        m->seen[at] = hash;
        smp_must(++m->states < LIT_STATES / 2, "model too large");
        return true;
    }
}
static inline u64 lit_hash(const struct lit_state *s)
{
    u32 done, flushed;
    u64 h = s->regs;
    memcpy(&done, s->done, sizeof done);
    memcpy(&flushed, s->flushed, sizeof flushed);
    h = smp_next(&h) ^ (done | (u64)flushed << 32);
    h = smp_next(&h) ^ s->memory;
    return smp_next(&h);
}
/* Place of the @n-th store, from 0, in the program of @cpu. */
static inline u32 lit_store_at(const struct lit *l, u32 cpu, u32 n)
{
    for (u32 k = 0;; k++)
        if (l->op[cpu][k] == 'W' && !n--) return k;
}
static inline u32 lit_buffered(const struct lit *l, const struct lit_state *s, u32 cpu)
{
    u32 n = 0;
    for (u32 k = 0; k < s->done[cpu]; k++) n += l->op[cpu][k] == 'W';
    return n - s->flushed[cpu];
}
static inline void lit_set(u16 *memory, u32 loc, u64 val)
{
    *memory = (u16)((*memory & ~(15u << (4 * loc))) | (u32)val << (4 * loc));
}
static inline u64 lit_load(const struct lit *l, const struct lit_state *s, u32 cpu, u32 loc)
{
    const u32 stores = s->flushed[cpu] + lit_buffered(l, s, cpu);
    for (u32 n = stores; n > s->flushed[cpu]; n--) {
        const u32 k = lit_store_at(l, cpu, n - 1);
        if ((u32)l->loc[cpu][k] == loc) return lit_value(l, cpu, k);
    }
    return s->memory >> (4 * loc) & 15;
}
static inline void lit_explore(struct lit_model *m, struct lit_state s)
{
    const struct lit *l = m->l;
    bool end = true;
    if (!lit_is_new(m, lit_hash(&s))) return;
    for (u32 cpu = 0; cpu < l->cpus; cpu++) {
        const u32 buffered = lit_buffered(l, &s, cpu), k = s.done[cpu];
        if (buffered) {
            struct lit_state t = s;
            const u32 at = lit_store_at(l, cpu, s.flushed[cpu]);
            lit_set(&t.memory, (u32)l->loc[cpu][at], lit_value(l, cpu, at));
            t.flushed[cpu]++;
            end = false;
            lit_explore(m, t);
        }
        if (k == l->ops[cpu]) continue;
        end = false;
        const char op = l->op[cpu][k];
        if (op != 'W' && op != 'R' && buffered) continue;
        struct lit_state t = s;
        if (op == 'R' || op == 'X')
            t.regs |= lit_load(l, &s, cpu, (u32)l->loc[cpu][k])
                      << (4 * lit_number(l, cpu, k, true));
        if (op == 'X') lit_set(&t.memory, (u32)l->loc[cpu][k], lit_value(l, cpu, k));
        t.done[cpu]++;
        lit_explore(m, t);
    }
    if (!end) return;
    smp_must(m->outcomes < LIT_OUTCOMES, "too many outcomes");
    m->outcome[m->outcomes++] = s.regs | (u64)s.memory << 48;
}
static inline bool lit_allows(const struct lit_model *m, u64 outcome)
{
    for (u32 n = 0; n < m->outcomes; n++)
        if (m->outcome[n] == outcome) return true;
    return false;
}

/* ---- the programs ---- */

static inline u32 lit_where(const struct lit *l, u32 loc) { return loc * (l->near ? 8 : 64); }

/* RBX = words of this run, R13 = results, RBP = runs left, R12 = what the barrier must reach.
 * Reads go to EAX, ESI, EDI, R10D. */
static inline void lit_op(struct code *c, const struct lit *l, u32 cpu, u32 k)
{
    static const u8 reg[LIT_OPS] = {RAX, RSI, RDI, R10};
    const u8 r = reg[k], rex = r & 8 ? 0x44 : 0x40;
    const u8 modrm = (u8)(0x83 | (r & 7) << 3);
    const u32 val = (u32)lit_value(l, cpu, k);
    if (!smp_below(6)) C(c, 0x90);
    switch (l->op[cpu][k]) {
    case 'F': C(c, 0x0F, 0xAE, 0xF0); return;
    case 'R': C(c, rex, 0x8B, modrm); break;
    case 'X':
        C(c, (u8)(rex & 4 ? 0x41 : 0x40), (u8)(0xB8 | (r & 7)));
        c_u32(c, val);
        C(c, rex, 0x87, modrm);
        break;
    default:
        if (smp_below(2)) { /* mov r11d, value; mov [], r11d */
            C(c, 0x41, 0xBB);
            c_u32(c, val);
            C(c, 0x44, 0x89, 0x9B);
        } else {
            C(c, 0xC7, 0x83);
            c_u32(c, lit_where(l, (u32)l->loc[cpu][k]));
            c_u32(c, val);
            return;
        }
    }
    c_u32(c, lit_where(l, (u32)l->loc[cpu][k]));
}
static inline void lit_program(struct code *c, const struct lit *l, u32 cpu)
{
    C(c, 0xBB), c_u32(c, LIT_CELLS);
    C(c, 0x41, 0xBD), c_u32(c, LIT_RESULTS + cpu * LIT_RESULT_BYTES);
    C(c, 0xBD), c_u32(c, LIT_RUNS);
    C(c, 0x45, 0x31, 0xE4);
    const gpa_t loop = c->at + c->n;
    if (l->code && smp_below(2)) C(c, 0x48, 0x89, 0xDA, 0x81, 0xCA, 0xFF, 0x0F, 0, 0, 0xFF, 0xD2);
    C_ABS(c, LIT_BARRIER, 0xF0, 0x48, 0xFF, 0x04);
    C(c, 0x49, 0x83, 0xC4, (u8)l->cpus);     /* add r12, cpus */
    C(c, 0xBA, 64, 0, 0, 0);                 /* r: mov edx, 64        */
    C_ABS(c, LIT_BARRIER, 0x4C, 0x39, 0x24); /* w: cmp [barrier], r12 */
    C(c, 0x73, 8, 0xFF, 0xCA, 0x75, 0xF2);   /* jae; dec edx; jnz w   */
    C(c, 0xE6, SMP_PORT_YIELD, 0xEB, 0xE9);  /* out; jmp r            */
    c_delay(c, smp_below(3) ? smp_below(40) : 0);
    for (u32 k = 0; k < l->ops[cpu]; k++) lit_op(c, l, cpu, k);
    C(c, 0x41, 0x89, 0x45, 0, 0x41, 0x89, 0x75, 4, 0x41, 0x89, 0x7D, 8, 0x45, 0x89, 0x55, 12);
    C(c, 0x48, 0x81, 0xC3), c_u32(c, LIT_CELL_BYTES);
    C(c, 0x49, 0x83, 0xC5, 16, 0xFF, 0xCD, 0x0F, 0x85);
    c_rel(c, loop);
    c_halt(c);
}

static inline void lit_parse(struct lit *l, const char *text)
{
    *l = (struct lit){.cpus = 1};
    for (; *text; text++) {
        const u32 cpu = l->cpus - 1;
        if (*text == '|') {
            l->cpus++;
            continue;
        }
        l->op[cpu][l->ops[cpu]] = *text;
        if (*text != 'F') l->loc[cpu][l->ops[cpu]] = (char)(*++text - '0');
        l->ops[cpu]++;
    }
}
static inline void lit_random(struct lit *l)
{
    *l = (struct lit){.cpus = 2 + smp_below(SMP_CPUS - 1)};
    for (u32 cpu = 0; cpu < l->cpus; cpu++) {
        l->ops[cpu] = 1 + smp_below(l->cpus == 2 ? 4 : l->cpus == 3 ? 3 : 2);
        for (u32 k = 0; k < l->ops[cpu]; k++) {
            l->op[cpu][k] = "WWWRRRRFX"[smp_below(9)];
            l->loc[cpu][k] = (char)smp_below(l->cpus == 2 ? 2 : LIT_LOCS);
        }
    }
}

/* ---- one test ---- */

static inline u64 lit_outcome(struct smp *r, const struct lit *l, u32 run)
{
    u64 outcome = 0;
    for (u32 cpu = 0; cpu < l->cpus; cpu++) {
        for (u32 k = 0; k < l->ops[cpu]; k++) {
            if (l->op[cpu][k] != 'R' && l->op[cpu][k] != 'X') continue;
            const u64 got =
                (u32)smp_read64(r, LIT_RESULTS + cpu * LIT_RESULT_BYTES + run * 16 + k * 4);
            outcome |= (got & 15) << (4 * lit_number(l, cpu, k, true));
        }
    }
    for (u32 loc = 0; loc < LIT_LOCS; loc++)
        outcome |= (smp_read64(r, LIT_CELLS + run * LIT_CELL_BYTES + lit_where(l, loc)) & 15)
                   << (48 + 4 * loc);
    return outcome;
}
static inline void lit_print(const struct lit *l, u64 outcome, u32 run)
{
    printf("litmus run %u, reads and memory %" PRIx64 " not allowed:%s%s", run, outcome,
           l->near ? " one line," : "", l->code ? " beside code," : "");
    for (u32 cpu = 0; cpu < l->cpus; cpu++) {
        printf(" |");
        for (u32 k = 0; k < l->ops[cpu]; k++) printf(" %c%d", l->op[cpu][k], l->loc[cpu][k]);
    }
    printf("\n");
}

/* False, and said why, when something happened that TSO does not allow. */
static inline bool smp_litmus(u64 seed)
{
    static struct lit_model m;
    static struct smp r;
    struct lit l;
    smp_rng = seed;
    if (smp_below(2)) lit_parse(&l, lit_known[smp_below(ARRAY_LEN(lit_known))]);
    else lit_random(&l);
    l.near = smp_below(2);
    l.code = !smp_below(3);
    m = (struct lit_model){.l = &l, .seen = calloc(LIT_STATES, sizeof *m.seen)};
    smp_must(m.seen != NULL, "memory");
    lit_explore(&m, (struct lit_state){0});
    free(m.seen);
    smp_make(&r, l.cpus);
    const u8 ret = 0xC3;
    for (u32 page = 0; page < LIT_RUNS * LIT_CELL_BYTES && l.code; page += PAGE_BYTES)
        smp_write(&r, LIT_CELLS + page + PAGE_BYTES - 1, &ret, 1);
    for (u32 cpu = 0; cpu < l.cpus; cpu++) {
        struct code c = smp_program(cpu);
        lit_program(&c, &l, cpu);
        smp_load(&r, cpu, &c);
    }
    bool good = smp_run(&r);
    for (u32 run = 0; run < LIT_RUNS && good; run++) {
        const u64 outcome = lit_outcome(&r, &l, run);
        good = lit_allows(&m, outcome);
        if (!good) lit_print(&l, outcome, run);
    }
    smp_done(&r);
    return good;
}
#endif

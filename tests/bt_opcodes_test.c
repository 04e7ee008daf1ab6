/* tests/bt_opcodes_test.c - programs of a single 64-bit instruction under the interpreter and under
 * the translator: every COMPUTE mnemonic, until it has run to its end with register and with memory
 * operands, and random instructions of every class in user code, most of which fault somewhere.
 * Exceptions are compared (vector, error code, address, frame), and what the instruction has done
 * before: all registers and all memory. BT_SEED chooses other programs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above */
#include <cmocka.h>

#include "bt_diff.h"
#include "child.h"
#include "isa_heads.h"

enum {
    SEED = 7,
    CLEAN_WANTED = 2,
    TRIES = 8,
    TRIES_MAX = 250,
    RANDOM_CASES = 6000,
    ROUND = 500,
    EVERY = 128
};

static struct {
    u64 programs, mismatches, per_vector[33];
    u8 clean[ZYDIS_MNEMONIC_MAX_VALUE + 1][2], tries[ZYDIS_MNEMONIC_MAX_VALUE + 1][2];
    bool known[ZYDIS_MNEMONIC_MAX_VALUE + 1];   /* came up */
    bool offered[ZYDIS_MNEMONIC_MAX_VALUE + 1]; /* and was not always #UD */
} C;

/* New machines now and then; operands differ in both of them alike. */
static void fresh_machines(void)
{
    boxes_fini();
    boxes_init();
    for (u64 n = 0; n < SPARE_GPA + SPARE_PAGES * PAGE_BYTES - ARENA_GPA; n += 64)
        rnd_vector(box_ram(&T.box[0]) + ARENA_GPA + n, 64);
    memcpy(box_ram(&T.box[1]), box_ram(&T.box[0]), RAM_BYTES);
}

/* The vector of the program's first exception, or -1. */
static int first_vector(void)
{
    u64 faults, vector;
    memcpy(&faults, box_ram(&T.box[0]) + NEXT_GPA, 8);
    memcpy(&vector, box_ram(&T.box[0]) + LOG_GPA, 8);
    return faults ? (int)(vector & 31) : -1;
}

/* A program of D.i into @p. False where its operand cannot be led into the arena. */
static bool one_insn(struct prog *p, bool user)
{
    memset(p, 0, sizeof *p);
    p->items = 1;
    p->runs = 2;
    p->user = user;
    p->ts = !below(32);
    p->mmio = !below(4);
    p->code_off = below(CODE_PAGES * PAGE_BYTES - ITEM_BYTES);
    if (!below(4)) p->code_off |= 0xFF0;
    p->code_off = (u32)min_u64(p->code_off, CODE_PAGES * PAGE_BYTES - ITEM_BYTES);
    prog_pages(p);
    p->code_flags = PTE_P | PTE_U | PTE_A;
    p->gs_base = DIFF_ARENA / 2;
    p->fmask = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_IF | RFLAGS_DF;
    diff_random_state(&p->in);
    p->in.rip = CODE_GVA + p->code_off;
    if (below(2)) p->in.fx.mxcsr = 0x1F80;
    p->in.gpr[RSP] = DIFF_ARENA + 2 * PAGE_BYTES + 0x800;
    D.v->seg[GS].base = p->gs_base;
    diff_patch_disp(&p->in);
    if (!diff_aim(&p->in)) return false;
    if (D.i.row != INSN_COMPUTE && !below(4)) /* partly or wholly not canonical */
        p->in.gpr[(u32[]){RSP, RSP, RSI, RDI}[below(4)]] = BIT(47) - below(16);
    put(&p->item[0], D.i.bytes, D.i.len);
    p->item[1] = (struct item){.bytes = {0xCD, VEC_END}, .n = 2};
    memset(p->resume, 1, sizeof p->resume);
    return true;
}

/* Run D.i once under both. False at a mismatch, already reported. */
static bool run_one(bool user, bool *clean)
{
    static struct prog p;
    u64 before = D.rng;
    *clean = false;
    if (!one_insn(&p, user)) return true;
    if (C.programs++ % ROUND == 0) fresh_machines();
    memcpy(T.before, box_ram(&T.box[0]), RAM_BYTES);
    enum outcome o = prog_run(&p, false);
    int vector = first_vector();
    if (o == SAME) {
        *clean = vector < 0;
        C.per_vector[vector < 0 ? 32 : vector]++;
        if (vector != EXC_UD && vector != EXC_NM) C.offered[D.i.mnemonic] = true;
        return true;
    }
    if (o == DIFFERENT) prog_report(&p, before, (u32)C.programs), C.mismatches++;
    fresh_machines();
    return o == SKIPPED;
}

/* For isa_heads.h. What has run to its end often enough, or never does, is left alone. */
static bool case_of(const u8 *head, u32 n, bool mem)
{
    for (u32 again = 0; again < TRIES; again++) {
        u8 b[32];
        memcpy(b, head, n);
        for (u32 k = n; k < 15; k++) b[k] = (u8)rnd();
        b[n] = (u8)((mem ? b[n] & 7 : again & 7) | (head[n] & 0x38) | (mem ? 0x80 : 0xC0));
        if (isa_decode(&D.i, b, 15, ISA_64) <= 0 || D.i.row != INSN_COMPUTE) continue;
        if (!diff_wanted(&D.i)) continue;
        u32 m = D.i.mnemonic;
        bool clean;
        C.known[m] = true;
        if (C.clean[m][mem] >= CLEAN_WANTED && rnd() % EVERY) continue;
        if (C.clean[m][mem] == 0 && C.tries[m][mem] >= TRIES_MAX) continue;
        C.tries[m][mem]++;
        if (!run_one(below(2), &clean)) return C.mismatches < 3;
        C.clean[m][mem] = (u8)min_u64(C.clean[m][mem] + clean, 255);
        if (clean && mem) return true;
    }
    return true;
}

static int all_opcodes(void)
{
    u32 known = 0, ran = 0;
    legacy_heads(case_of);
    vex_heads(case_of);
    evex_heads(case_of);
    for (u32 m = 0; m <= ZYDIS_MNEMONIC_MAX_VALUE; m++) {
        bool done = C.clean[m][0] || C.clean[m][1];
        known += C.offered[m];
        ran += done;
        if (C.known[m] && !done)
            printf("%s: %s\n", C.offered[m] ? "never executed" : "always #UD",
                   ZydisMnemonicGetString((ZydisMnemonic)m));
    }
    printf("%u of %u mnemonics executed under bt in %" PRIu64 " programs\n", ran, known,
           C.programs);
    return C.mismatches || ran != known;
}

/* Random; DIV, IDIV, POP and undefined opcodes oftener than at random. */
static void choose_insn(void)
{
    const u8 div[2] = {0xF7, (u8)(0xF0 | below(16))}, pop[1] = {(u8)(0x58 | below(8))};
    const u8 undefined[4] = {0x0F, 0x78, 0xC0, 0x00};
    int len = 0;
    switch (below(48)) {
    case 0: len = isa_decode(&D.i, div, sizeof div, ISA_64); break;
    case 1: len = isa_decode(&D.i, pop, sizeof pop, ISA_64); break;
    case 2: len = isa_decode(&D.i, undefined, sizeof undefined, ISA_64); break;
    default: break;
    }
    if (len > 0) return;
    do diff_random_insn();
    while (D.i.row != INSN_COMPUTE && insn_rows[D.i.row].class == C_BRANCH);
}

/* User code: privileged instructions are exceptions, whatever their operands. */
static int random_faults(void)
{
    static const u8 wanted[] = {EXC_DE, EXC_UD, EXC_NM, EXC_SS, EXC_GP,
                                EXC_PF, EXC_MF, EXC_AC, EXC_XM};
    u64 end = C.programs + RANDOM_CASES;
    int bad = 0;
    while (C.programs < end && C.mismatches < 3) {
        bool clean;
        choose_insn();
        run_one(true, &clean);
    }
    for (u32 n = 0; n < ARRAY_LEN(wanted); n++) {
        printf("vector %-3u %8" PRIu64 "\n", wanted[n], C.per_vector[wanted[n]]);
        if (!C.per_vector[wanted[n]]) bad = 1;
    }
    printf("no exception %4" PRIu64 "\n", C.per_vector[32]);
    return C.mismatches || bad;
}

static void in_child(int (*body)(void))
{
    const char *seed = getenv("BT_SEED");
    const pid_t pid = child_start();
    if (pid == 0) {
        bt_diff_start();
        D.rng = (seed ? strtoull(seed, NULL, 0) : SEED) * 0x9E3779B97F4A7C15ull | 1;
        child_end(body());
    }
    child_passes(pid);
}

static void test_every_opcode(void **state)
{
    (void)state;
    in_child(all_opcodes);
}
static void test_faults_agree(void **state)
{
    (void)state;
    in_child(random_faults);
}

int main(void)
{
    struct err e = {0};
    if (engine_bt.probe(&e) < 0) {
        printf("ok 1 - # SKIP %s\n", e.text);
        return 0;
    }
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_every_opcode),
                                       cmocka_unit_test(test_faults_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

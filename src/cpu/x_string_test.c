/* x_string_test - string instructions on the flat vCPU; the page-at-a-time path against the element
 * loop. */
#include "base/test.h"

#include "../../tests/flat_vcpu.h"

static struct flat *f; /* of the running test */

static int setup(void **state)
{
    f = flat_create(ISA_64);
    *state = f;
    return 0;
}
static int teardown(void **state)
{
    free(*state);
    return 0;
}
static struct vcpu *mode(enum isa_mode m)
{
    flat_reset(f, m);
    return &f->v;
}
#define RUN(...) FLAT_EXEC(f, __VA_ARGS__)

/* Run a repeated instruction to its end; how many calls it took. */
static u32 run_rep(const u8 *code, u32 n, enum x_result *last)
{
    u32 calls = 1;
    while ((*last = flat_exec(f, code, n)) == X_AGAIN) assert_in_range(++calls, 1, 1000);
    return calls;
}

static void single_elements(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    flat_put(f, 0x2000, 0x1122334455667788, 8);
    v->gpr[RSI] = 0x2000, v->gpr[RDI] = 0x3000;
    assert_int_equal(RUN(0x48, 0xA5), X_NEXT);
    assert_int_equal(flat_get(f, 0x3000, 8), 0x1122334455667788);
    assert_int_equal(v->gpr[RSI], 0x2008);
    assert_int_equal(v->gpr[RDI], 0x3008);
    v->rflags |= RFLAGS_DF;
    v->gpr[RSI] = 0x2004;
    v->gpr[RAX] = ~0ull;
    assert_int_equal(RUN(0xAC), X_NEXT); /* LODSB */
    assert_int_equal(v->gpr[RAX], 0xFFFFFFFFFFFFFF44);
    assert_int_equal(v->gpr[RSI], 0x2003);
    v->gpr[RSI] = 0x2004;
    assert_int_equal(RUN(0xAD), X_NEXT); /* LODSD clears the upper half */
    assert_int_equal(v->gpr[RAX], 0x11223344);
    v->gpr[RDI] = 0x3008;
    assert_int_equal(RUN(0x66, 0xAB), X_NEXT);
    assert_int_equal(flat_get(f, 0x3008, 8), 0x3344);
    assert_int_equal(v->gpr[RDI], 0x3006);
}

static void compare_flags(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    v->gpr[RAX] = 0x80;
    flat_put(f, 0x3000, 0x01, 1);
    v->gpr[RDI] = 0x3000;
    assert_int_equal(RUN(0xAE), X_NEXT); /* 80h - 01h = 7Fh: OF, AF */
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_OF | RFLAGS_AF);
    v->gpr[RAX] = 0;
    v->gpr[RDI] = 0x3000;
    assert_int_equal(RUN(0xAE), X_NEXT); /* 0 - 1 = FFh */
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_CF | RFLAGS_AF | RFLAGS_SF | RFLAGS_PF);
    v->gpr[RSI] = 0x2000, v->gpr[RDI] = 0x2000;
    assert_int_equal(RUN(0x48, 0xA7), X_NEXT);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_ZF | RFLAGS_PF);
}

static void repeated_compare(void **state)
{
    static const u8 repne_scasb[] = {0xF2, 0xAE}, repe_cmpsb[] = {0xF3, 0xA6};
    struct vcpu *v = mode(ISA_64);
    enum x_result r;
    (void)state;
    memset(f->mem + 0x2000, 'x', 0x3000);
    f->mem[0x2000 + 9000] = 0;
    v->gpr[RDI] = 0x2000, v->gpr[RCX] = ~0ull;
    assert_int_equal(run_rep(repne_scasb, 2, &r), 3); /* 9001 elements, 4096 a call */
    assert_int_equal(r, X_NEXT);
    assert_int_equal(~v->gpr[RCX], 9001);
    assert_int_equal(v->gpr[RDI], 0x2000 + 9001);
    assert_true(v->rflags & RFLAGS_ZF);

    v = mode(ISA_64); /* the flags stay while it goes on, and when it faults */
    flat_protect(f, 8, FLAT_ABSENT);
    memset(f->mem + 0x2000, 'x', 0x6000);
    v->gpr[RSI] = 0x2000, v->gpr[RDI] = 0x5000, v->gpr[RCX] = 0x10000;
    v->rflags |= RFLAGS_CF | RFLAGS_OF;
    assert_int_equal(flat_exec(f, repe_cmpsb, 2), X_AGAIN);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_CF | RFLAGS_OF);
    run_rep(repe_cmpsb, 2, &r);
    assert_int_equal(r, X_FAULT);
    assert_int_equal(v->exc.payload, 0x8000);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_CF | RFLAGS_OF);
    assert_int_equal(v->gpr[RCX], 0x10000 - 0x3000);
    assert_int_equal(v->gpr[RDI], 0x8000);
    assert_int_equal(v->rip, FLAT_CODE);
    v->gpr[RCX] = 0; /* no element: no flags */
    assert_int_equal(flat_exec(f, repe_cmpsb, 2), X_NEXT);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_CF | RFLAGS_OF);
}

static void faults_in_the_middle(void **state)
{
    static const u8 rep_movsq[] = {0xF3, 0x48, 0xA5}, rep_stosd[] = {0xF3, 0xAB};
    struct vcpu *v = mode(ISA_64);
    enum x_result r;
    (void)state;
    flat_protect(f, 6, FLAT_READ_ONLY);
    v->gpr[RSI] = 0x2000, v->gpr[RDI] = 0x6000 - 24 - 4, v->gpr[RCX] = 100;
    for (u32 k = 0; k < 64; k++) f->mem[0x2000 + k] = (u8)(k + 1);
    run_rep(rep_movsq, 3, &r);
    assert_int_equal(r, X_FAULT);
    assert_int_equal(v->exc.payload, 0x6000);
    assert_int_equal(v->exc.error, PF_W | PF_P);
    assert_int_equal(v->gpr[RCX], 97);
    assert_int_equal(v->gpr[RSI], 0x2000 + 24);
    assert_int_equal(v->gpr[RDI], 0x6000 - 4);
    assert_memory_equal(f->mem + 0x6000 - 28, f->mem + 0x2000, 24);
    assert_int_equal(flat_get(f, 0x6000 - 4, 4), 0); /* nothing of the faulting element */

    v = mode(ISA_32);
    flat_protect(f, 6, FLAT_ABSENT);
    v->gpr[RAX] = 0xA5A5A5A5, v->gpr[RDI] = 0x4000, v->gpr[RCX] = 0x1000;
    run_rep(rep_stosd, 2, &r);
    assert_int_equal(r, X_FAULT);
    assert_int_equal(v->gpr[RCX], 0x1000 - 0x800);
    assert_int_equal(v->gpr[RDI], 0x6000);
    assert_int_equal(flat_get(f, 0x5FFC, 4), 0xA5A5A5A5);
}

static void bounded_per_call(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    v->gpr[RDI] = 0x2000, v->gpr[RCX] = 10000;
    assert_int_equal(RUN(0xF3, 0xAA), X_AGAIN);
    assert_int_equal(v->gpr[RCX], 10000 - 4096);
    assert_int_equal(v->rip, FLAT_CODE);
    vcpu_attention(v, ATT_STEP); /* single-stepping sees every element */
    assert_int_equal(RUN(0xF3, 0xAA), X_AGAIN);
    assert_int_equal(v->gpr[RCX], 10000 - 4097);
    v->gpr[RCX] = 1;
    assert_int_equal(RUN(0xF3, 0xAA), X_NEXT);
    assert_int_equal(v->rip, FLAT_CODE + 2);
}

static void address_sizes(void **state)
{
    static const u8 rep_stosb[] = {0xF3, 0xAA}, a32_rep_stosb[] = {0x67, 0xF3, 0xAA};
    struct vcpu *v = mode(ISA_16);
    enum x_result r;
    (void)state;
    v->gpr[RAX] = 0x77;
    v->gpr[RCX] = 0x5555000A, v->gpr[RDI] = 0x6666FFFC;
    v->seg[ES].base = 0x1000;
    run_rep(rep_stosb, 2, &r); /* wraps from offset FFFFh to 0 */
    assert_int_equal(r, X_NEXT);
    assert_int_equal(v->gpr[RCX], 0x55550000);
    assert_int_equal(v->gpr[RDI], 0x66660006);
    assert_int_equal(flat_get(f, 0x10FFC, 4), 0x77777777);
    assert_int_equal(flat_get(f, 0x11000, 1), 0);
    assert_int_equal(flat_get(f, 0x1000, 7), 0x777777777777);

    v = mode(ISA_64);
    v->gpr[RCX] = 0xFFFFFFFF00000004, v->gpr[RDI] = 0xFFFFFFFF00003000;
    run_rep(a32_rep_stosb, 3, &r);
    assert_int_equal(r, X_NEXT);
    assert_int_equal(v->gpr[RCX], 0);
    assert_int_equal(v->gpr[RDI], 0x3004);

    v = mode(ISA_32); /* the limit of ES stops it */
    v->seg[ES].limit = 0x2FFF;
    vcpu_mode_changed(v);
    v->gpr[RCX] = 0x20, v->gpr[RDI] = 0x2FF0;
    run_rep(rep_stosb, 2, &r);
    assert_int_equal(r, X_FAULT);
    assert_int_equal(v->exc.vector, EXC_GP);
    assert_int_equal(v->gpr[RCX], 0x10);
    assert_int_equal(v->gpr[RDI], 0x3000);
}

static void segment_override(void **state)
{
    struct vcpu *v = mode(ISA_64);
    (void)state;
    v->seg[GS].base = 0x5000;
    v->seg[ES].base = 0x9000; /* ignored */
    flat_put(f, 0x5010, 0xAB, 1);
    v->gpr[RSI] = 0x10, v->gpr[RDI] = 0x2000;
    assert_int_equal(RUN(0x65, 0xA4), X_NEXT);
    assert_int_equal(flat_get(f, 0x2000, 1), 0xAB);
}

static void port_strings(void **state)
{
    static const u8 rep_insw[] = {0x66, 0xF3, 0x6D}, rep_outsb[] = {0xF3, 0x6E};
    struct vcpu *v = mode(ISA_64);
    enum x_result r;
    (void)state;
    f->port_in_val = 0x100;
    v->gpr[RDX] = 0x1F0, v->gpr[RDI] = 0x3000 - 4, v->gpr[RCX] = 4;
    flat_protect(f, 3, FLAT_READ_ONLY);
    run_rep(rep_insw, 3, &r);
    assert_int_equal(r, X_FAULT);
    assert_int_equal(f->ports, 2); /* the port is not read for a place that cannot take it */
    assert_int_equal(v->gpr[RCX], 2);
    assert_int_equal(flat_get(f, 0x3000 - 4, 4), 0x01010100);
    v->gpr[RSI] = 0x3000 - 4, v->gpr[RCX] = 2;
    run_rep(rep_outsb, 2, &r);
    assert_int_equal(r, X_NEXT);
    assert_int_equal(f->port[3].val, 0x01);
    assert_true(f->port[3].out);
    assert_int_equal(f->port[3].bytes, 1);
    v->gpr[RCX] = 1;
    assert_int_equal(RUN(0x48, 0xF3, 0x6F), X_NEXT); /* REX before a prefix is void: OUTSD */
    assert_int_equal(f->port[4].bytes, 4);
}

static void port_in_string(void *ctx, struct vcpu *v, const struct port_string *s)
{
    for (u32 i = 0; i < s->count; i++) {
        u32 val = flat_port_in(ctx, v, s->port, s->bytes);
        memcpy(s->buf + i * s->bytes, &val, s->bytes);
    }
}
static void port_out_string(void *ctx, struct vcpu *v, const struct port_string *s)
{
    for (u32 i = 0, val = 0; i < s->count; i++) {
        memcpy(&val, s->buf + i * s->bytes, s->bytes);
        flat_port_out(ctx, v, s->port, val, s->bytes);
    }
}

/* The same instructions with and without the upcall for many elements: the same ports, memory and
 * registers, across a page border and down to the last offset of 16-bit addresses. */
static void port_strings_at_once(void **state)
{
    static const u8 rep_insw[] = {0x66, 0xF3, 0x6D}, rep_outsb[] = {0xF3, 0x6E};
    static u8 mem[2][0x3000];
    struct flat_port log[2][FLAT_PORT_LOG];
    (void)state;
    for (u32 bulk = 0; bulk < 2; bulk++) {
        struct vcpu *v = mode(ISA_64);
        enum x_result r;
        f->env.port_in_string = bulk ? port_in_string : NULL;
        f->env.port_out_string = bulk ? port_out_string : NULL;
        memset(f->mem + 0x2000, 0, sizeof mem[0]);
        memset(f->port, 0, sizeof f->port);
        v->gpr[RDX] = 0x1F0, v->gpr[RDI] = 0x3000 - 5, v->gpr[RCX] = 6;
        run_rep(rep_insw, 3, &r);
        assert_int_equal(r, X_NEXT);
        assert_int_equal(v->gpr[RCX], 0);
        assert_int_equal(v->gpr[RDI], 0x3000 + 7);
        v->gpr[RSI] = 0x3000 - 5, v->gpr[RCX] = 9;
        run_rep(rep_outsb, 2, &r);
        assert_int_equal(v->gpr[RSI], 0x3000 + 4);
        assert_int_equal(f->ports, 15);
        memcpy(mem[bulk], f->mem + 0x2000, sizeof mem[0]);
        memcpy(log[bulk], f->port, sizeof f->port);
    }
    assert_memory_equal(mem[0], mem[1], sizeof mem[0]);
    assert_memory_equal(log[0], log[1], sizeof log[0]);
}

/* ---- bulk against elements ------------------------------------------------------------------- */

static u64 next_random(u64 *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

/* The same random REP MOVS or STOS with the TLB (page at a time) and without (element by element)
 * must agree in every register and byte, overlaps and faults included. */
static void bulk_equals_elements(void **state)
{
    static const u8 op[][4] = {{0xF3, 0xA4}, {0x66, 0xF3, 0xA5}, {0xF3, 0xA5}, {0xF3, 0x48, 0xA5},
                               {0xF3, 0xAA}, {0x66, 0xF3, 0xAB}, {0xF3, 0xAB}, {0xF3, 0x48, 0xAB}};
    static const u8 len[] = {2, 3, 2, 3, 2, 3, 2, 3};
    struct flat *g = aligned_alloc(4096, align_up(sizeof *g, 4096));
    u64 seed = 88172645463325252ull;
    (void)state;
    assert_non_null(g);
    for (u32 n = 0; n < 3000; n++) {
        enum x_result want, got;
        u32 k = next_random(&seed) % ARRAY_LEN(op);
        enum isa_mode m = k == 3 || k == 7 || n & 1 ? ISA_64 : ISA_32;
        struct vcpu *v = mode(m);
        for (u32 b = 0; b < 0x6000; b += 8) flat_put(f, 0x2000 + b, next_random(&seed), 8);
        v->gpr[RSI] = 0x2000 + next_random(&seed) % 0x3000;
        v->gpr[RDI] = n % 3 ? v->gpr[RSI] + next_random(&seed) % 64 - 32
                            : 0x2000 + next_random(&seed) % 0x3000;
        v->gpr[RCX] = next_random(&seed) % (n & 4 ? 5000 : 100);
        v->gpr[RAX] = next_random(&seed);
        if (n % 5 == 0) v->rflags |= RFLAGS_DF;
        f->prot[5] = n % 7 == 0 ? FLAT_READ_ONLY : n % 11 == 0 ? FLAT_ABSENT : FLAT_RW;
        if (m == ISA_32 && n % 13 == 0) v->seg[ES].limit = 0x3ABC, vcpu_mode_changed(v);
        memcpy(g->mem, f->mem, sizeof g->mem);
        u64 gpr[GPRS];
        memcpy(gpr, v->gpr, sizeof gpr);
        f->no_tlb = true;
        run_rep(op[k], len[k], &want);
        struct event exc = v->exc;
        u64 after[GPRS];
        memcpy(after, v->gpr, sizeof after);
        for (u32 b = 0; b < FLAT_BYTES; b++) { /* swap memories */
            u8 t = f->mem[b];
            f->mem[b] = g->mem[b];
            g->mem[b] = t;
        }
        memcpy(v->gpr, gpr, sizeof gpr);
        v->rip = FLAT_CODE;
        f->no_tlb = false;
        run_rep(op[k], len[k], &got);
        assert_int_equal(got, want);
        assert_memory_equal(v->gpr, after, sizeof after);
        assert_memory_equal(f->mem, g->mem, FLAT_BYTES);
        if (got == X_FAULT) {
            assert_int_equal(v->exc.vector, exc.vector);
            assert_int_equal(v->exc.payload, exc.payload);
            assert_int_equal(v->exc.error, exc.error);
        }
    }
    free(g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(single_elements, setup, teardown),
        cmocka_unit_test_setup_teardown(compare_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(repeated_compare, setup, teardown),
        cmocka_unit_test_setup_teardown(faults_in_the_middle, setup, teardown),
        cmocka_unit_test_setup_teardown(bounded_per_call, setup, teardown),
        cmocka_unit_test_setup_teardown(address_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(segment_override, setup, teardown),
        cmocka_unit_test_setup_teardown(port_strings, setup, teardown),
        cmocka_unit_test_setup_teardown(port_strings_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(bulk_equals_elements, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

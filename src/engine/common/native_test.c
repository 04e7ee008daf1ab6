/* engine/common/native_test.c - the code cache and the fault path; tests/isa_random_test.c tests
 * the semantics. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
/* cmocka wants the above */
#include <cmocka.h>

#include "cpu/insn_exec.h"
#include "engine/common/native.h"
#include "engine/common/native_internal.h"

static struct vcpu *make_vcpu(void)
{
    struct vcpu *v = aligned_alloc(64, align_up(sizeof *v, 64));
    struct err e = {0};
    assert_non_null(v);
    memset(v, 0, sizeof *v);
    v->mode = ISA_64;
    v->flat = true;
    v->fx.fcw = 0x37F;
    v->fx.mxcsr = 0x1F80;
    assert_int_equal(native_init(v, &e), 0);
    return v;
}
static void free_vcpu(struct vcpu *v)
{
    native_fini(v);
    free(v);
}

static enum x_result run(struct vcpu *v, const u8 *code, u32 len)
{
    struct insn i;
    assert_int_equal(isa_decode(&i, code, len, ISA_64), len);
    insn_bind(v, &i, native_exec);
    return i.exec(v, &i);
}

/* More distinct instructions than the cache has entries: the rest run from the scratch page. */
static void test_full_cache(void **state)
{
    struct vcpu *v = make_vcpu();
    u8 imul[] = {0x69, 0xC3, 0, 0, 0, 0}; /* imul eax, ebx, imm32 */
    (void)state;
    for (u32 n = 0; n < NATIVE_THUNKS_MAX + 1000; n++) {
        u32 imm = n * 0x9E3779B9u;
        memcpy(imul + 2, &imm, 4);
        v->gpr[RBX] = n;
        assert_int_equal(run(v, imul, sizeof imul), X_NEXT);
        assert_int_equal(v->gpr[RAX], n * imm);
    }
    free_vcpu(v);
}

/* The same instruction decoded twice shares its code; immediates of ALU instructions are not part
 * of it. */
static void test_sharing(void **state)
{
    struct vcpu *v = make_vcpu();
    struct insn a, b;
    const u8 add5[] = {0x83, 0xC3, 5}, add7[] = {0x81, 0xC3, 7, 0, 0, 0};
    (void)state;
    isa_decode(&a, add5, sizeof add5, ISA_64);
    isa_decode(&b, add7, sizeof add7, ISA_64);
    insn_bind(v, &a, native_exec);
    insn_bind(v, &b, native_exec);
    assert_int_equal(a.exec(v, &a), X_NEXT);
    assert_int_equal(b.exec(v, &b), X_NEXT);
    assert_int_equal(v->gpr[RBX], 12);
    assert_ptr_equal(a.thunk, b.thunk);
    free_vcpu(v);
}

/* A host exception becomes the guest's, on the right vCPU, and nothing has changed. The first test:
 * fault handlers are installed once, and cmocka puts its own in place before each test. */
static void test_divide_error(void **state)
{
    struct vcpu *a = make_vcpu(), *b = make_vcpu();
    const u8 div[] = {0xF7, 0xF3}, inc[] = {0xFF, 0xC0}; /* div ebx; inc eax */
    (void)state;
    b->gpr[RAX] = 7;
    b->gpr[RDX] = 9;
    assert_int_equal(run(b, div, sizeof div), X_FAULT);
    assert_int_equal(b->exc.vector, EXC_DE);
    assert_int_equal(b->gpr[RAX], 7);
    assert_int_equal(b->gpr[RDX], 9);
    assert_int_equal(a->exc.kind, EV_NONE);
    b->gpr[RBX] = 10;
    assert_int_equal(run(b, div, sizeof div), X_NEXT);
    free_vcpu(b);
    assert_int_equal(run(a, inc, sizeof inc), X_NEXT);
    assert_int_equal(run(a, div, sizeof div), X_FAULT);
    free_vcpu(a);
}

/* Decoding alone must not be enough to reach the host: these are no COMPUTE instructions. */
static void test_not_on_the_host(void **state)
{
    static const u8 code[][4] = {{0x0F, 0x05},
                                 {0xCC},
                                 {0xF4},
                                 {0xCD, 0x80},
                                 {0x0F, 0x01, 0xF9},
                                 {0x0F, 0x01, 0xEF},
                                 {0xF3, 0x0F, 0xAE, 0xD0},
                                 {0x0F, 0xA2},
                                 {0x0F, 0x31},
                                 {0xC3},
                                 {0x9D},
                                 {0xFD}};
    (void)state;
    for (u32 n = 0; n < ARRAY_LEN(code); n++) {
        struct insn i;
        if (isa_decode(&i, code[n], sizeof code[n], ISA_64) <= 0) continue;
        if (native_supported(&i)) fail_msg("row %u would run on the host", n);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_divide_error), cmocka_unit_test(test_full_cache),
        cmocka_unit_test(test_sharing), cmocka_unit_test(test_not_on_the_host)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

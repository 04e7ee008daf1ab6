/* x_legacy_test - the instructions 64-bit mode has not. The decimal ones are compared with the host
 * processor, which runs them in compatibility mode: result and all six flags, over every AL and the
 * AH that matter. Hosts that will not map the page low in memory skip that test. */
#include "base/test.h"

#include <sys/mman.h>

#include "../../tests/flat_vcpu.h"

static struct flat *f; /* of the running test */

static int setup(void **state)
{
    f = flat_create(ISA_32);
    *state = f;
    return 0;
}
static int teardown(void **state)
{
    free(*state);
    return 0;
}

/* ---- the host -------------------------------------------------------------------------------- */

enum { HOST_PAGE = 0x10000000, HOST_CS32 = 0x23, HOST_CS64 = 0x33 }; /* Linux's selectors */
/* eax and eflags in and out */
typedef void host_fn(u32 *eax, u32 *eflags);

/* 64-bit code that enters 32-bit code, which runs the @n bytes at @op between loading and saving
 * the flags, and comes back. NULL when the page cannot be had. */
static host_fn *host_build(const u8 *op, u32 n)
{
    static const u8 enter[] = {
        0x53, 0x55, 0x41, 0x54,                /* push rbx; push rbp; push r12       */
        0x49, 0x89, 0xE4,                      /* mov r12, rsp                       */
        0x8B, 0x07, 0x8B, 0x1E,                /* mov eax, [rdi]; mov ebx, [rsi]     */
        0xBC, 0x00, 0x0F, 0x00, 0x10,          /* mov esp, HOST_PAGE + 0F00h         */
        0xFF, 0x2C, 0x25, 0,    0x0E, 0, 0x10, /* jmp far [HOST_PAGE + 0E00h]        */
    };
    static const u8 leave[] = {
        0x4C, 0x89, 0xE4,             /* mov rsp, r12                       */
        0x89, 0x07, 0x89, 0x1E,       /* mov [rdi], eax; mov [rsi], ebx     */
        0x41, 0x5C, 0x5D, 0x5B, 0xC3, /* pop r12; pop rbp; pop rbx; ret     */
    };
    static const struct {
        u32 off;
        u16 cs;
    } __attribute__((packed)) in = {HOST_PAGE + 0x100, HOST_CS32},
                              out = {HOST_PAGE + 0x200, HOST_CS64};
    u8 *p = mmap((void *)(uintptr_t)HOST_PAGE, PAGE_BYTES, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (p != (u8 *)(uintptr_t)HOST_PAGE) return NULL;
    memcpy(p, enter, sizeof enter);
    memcpy(p + 0xE00, &in, sizeof in);
    memcpy(p + 0x200, leave, sizeof leave);
    u8 *q = p + 0x100;
    memcpy(q, "\x53\x9D", 2); /* push ebx; popfd */
    memcpy(q + 2, op, n);
    memcpy(q + 2 + n, "\x9C\x5B\xEA", 3); /* pushfd; pop ebx; jmp far */
    memcpy(q + 5 + n, &out, sizeof out);
    if (mprotect(p, PAGE_BYTES, PROT_READ | PROT_EXEC | PROT_WRITE)) return NULL;
    host_fn *fn;
    memcpy(&fn, &p, sizeof fn);
    return fn;
}

static void against_host(void **state)
{
    static const u8 op[][2] = {{0x37, 0x90}, {0x3F, 0x90}, {0x27, 0x90}, {0x2F, 0x90},
                               {0xD4, 10},   {0xD4, 7},    {0xD4, 1},    {0xD5, 10},
                               {0xD5, 0},    {0xD5, 200},  {0xD6, 0x90}};
    (void)state;
    for (u32 k = 0; k < ARRAY_LEN(op); k++) {
        u32 n = op[k][1] == 0x90 ? 1 : 2;
        host_fn *host = host_build(op[k], n);
        if (!host) skip();
        for (u32 case_nr = 0; case_nr < 256 * 16 * 8; case_nr++) {
            u32 ax = (case_nr & 0xFF) | (case_nr >> 8 & 0xF) * 0x1B00;
            u32 in = RFLAGS_FIXED | RFLAGS_IF | (case_nr >> 12 & 1 ? RFLAGS_CF : 0) |
                     (case_nr >> 13 & 1 ? RFLAGS_AF : 0) |
                     (case_nr >> 14 & 1 ? RFLAGS_PF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF : 0);
            u32 want_ax = 0xABCD0000 | ax, want_flags = in;
            host(&want_ax, &want_flags);
            f->v.gpr[RAX] = 0xABCD0000 | ax;
            f->v.rflags = in;
            assert_int_equal(flat_exec(f, op[k], n), X_NEXT);
            assert_int_equal(f->v.gpr[RAX], want_ax);
            assert_int_equal(f->v.rflags & RFLAGS_ARITH, want_flags & RFLAGS_ARITH);
        }
        munmap((void *)(uintptr_t)HOST_PAGE, PAGE_BYTES);
    }
}

/* ---- without a host -------------------------------------------------------------------------- */

static void decimal(void **state)
{
    struct vcpu *v = &f->v;
    (void)state;
    v->gpr[RAX] = 0x12AE; /* SDM's example: AL = 79h + 35h = AEh, then DAA */
    assert_int_equal(FLAT_EXEC(f, 0x27), X_NEXT);
    assert_int_equal(v->gpr[RAX], 0x1214);
    assert_int_equal(v->rflags & (RFLAGS_CF | RFLAGS_AF), RFLAGS_CF | RFLAGS_AF);
    v->gpr[RAX] = 0x45;
    assert_int_equal(FLAT_EXEC(f, 0xD4, 0x0A), X_NEXT);
    assert_int_equal(v->gpr[RAX], 0x0609);
    assert_int_equal(FLAT_EXEC(f, 0xD5, 0x0A), X_NEXT);
    assert_int_equal(v->gpr[RAX], 0x45);
    assert_int_equal(FLAT_EXEC(f, 0xD4, 0x00), X_FAULT);
    assert_int_equal(v->exc.vector, EXC_DE);
    flat_reset(f, ISA_64);
    assert_int_equal(FLAT_EXEC(f, 0x27), X_FAULT);
    assert_int_equal(v->exc.vector, EXC_UD);
}

static void xlat(void **state)
{
    struct vcpu *v = &f->v;
    (void)state;
    v->gpr[RBX] = 0x2000, v->gpr[RAX] = 0xFFFFFF80;
    flat_put(f, 0x2080, 0x5A, 1);
    assert_int_equal(FLAT_EXEC(f, 0xD7), X_NEXT);
    assert_int_equal(v->gpr[RAX], 0xFFFFFF5A);
    v->gpr[RBX] = 0x1FFF0, v->gpr[RAX] = 0x20; /* 16-bit addresses wrap */
    flat_put(f, 0x0010, 0x77, 1);
    assert_int_equal(FLAT_EXEC(f, 0x67, 0xD7), X_NEXT);
    assert_int_equal(v->gpr[RAX], 0x77);
}

static void bound(void **state)
{
    struct vcpu *v = &f->v;
    (void)state;
    flat_put(f, 0x2000, 0xFFFFFFFE, 4); /* -2 .. 5 */
    flat_put(f, 0x2004, 5, 4);
    v->gpr[RSI] = 0x2000;
    v->gpr[RAX] = 0xFFFFFFFE;
    assert_int_equal(FLAT_EXEC(f, 0x62, 0x06), X_NEXT);
    v->gpr[RAX] = 5;
    assert_int_equal(FLAT_EXEC(f, 0x62, 0x06), X_NEXT);
    v->gpr[RAX] = 6;
    assert_int_equal(FLAT_EXEC(f, 0x62, 0x06), X_FAULT);
    assert_int_equal(v->exc.vector, EXC_BR);
    v->gpr[RAX] = 0xFFFFFFFD;
    assert_int_equal(FLAT_EXEC(f, 0x62, 0x06), X_FAULT);
}

static void arpl(void **state)
{
    struct vcpu *v = &f->v;
    (void)state;
    v->gpr[RAX] = 0xFFFF0010, v->gpr[RCX] = 3;
    assert_int_equal(FLAT_EXEC(f, 0x63, 0xC8), X_NEXT);
    assert_int_equal(v->gpr[RAX], 0xFFFF0013);
    assert_true(v->rflags & RFLAGS_ZF);
    assert_int_equal(FLAT_EXEC(f, 0x63, 0xC8), X_NEXT);
    assert_false(v->rflags & RFLAGS_ZF);
    flat_put(f, 0x2000, 0x20, 2);
    v->gpr[RBX] = 0x2000;
    assert_int_equal(FLAT_EXEC(f, 0x63, 0x0B), X_NEXT);
    assert_int_equal(flat_get(f, 0x2000, 2), 0x23);
    flat_put(f, 0x2010, 0x20, 2);
    flat_protect(f, 2, FLAT_READ_ONLY);
    assert_int_equal(FLAT_EXEC(f, 0x63, 0x0B), X_NEXT); /* no change: nothing is written */
    v->gpr[RBX] = 0x2010;
    assert_int_equal(FLAT_EXEC(f, 0x63, 0x0B), X_FAULT);
    assert_int_equal(v->exc.vector, EXC_PF);
    flat_reset(f, ISA_16);
    assert_int_equal(FLAT_EXEC(f, 0x63, 0xC8), X_FAULT);
    assert_int_equal(v->exc.vector, EXC_UD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(against_host, setup, teardown),
        cmocka_unit_test_setup_teardown(decimal, setup, teardown),
        cmocka_unit_test_setup_teardown(xlat, setup, teardown),
        cmocka_unit_test_setup_teardown(bound, setup, teardown),
        cmocka_unit_test_setup_teardown(arpl, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

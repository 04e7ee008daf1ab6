/* The interpreter's own machinery: blocks found again, dropped and evicted, instructions across
 * pages, and that code changes under it are seen. What instructions do is tested elsewhere. */
#include "engine/interp/interp.h"

#include <stdlib.h>
#include <string.h>

#include "base/test.h"
#include "cpu/cpuid.h"
#include "cpu/env.h"
#include "cpu/vcpu_mode.h"
#include "engine/common/cache.h"
#include "mmu/mmu.h"

enum { P = 1 << 0, W = 1 << 1, PS = 1 << 7 };
enum { ROOT = 0x1000, CODE = 0x10000, RAM = 64 << 20, HLT = 0xF4, NOP = 0x90 };

struct rig {
    struct mem mem;
    struct mmu_domain *domain;
    struct cpu_env env;
    struct cpu_model model;
    struct vcpu *v;
};

/* 64-bit supervisor code, the low 64 MiB mapped one to one by 2 MiB pages. */
static struct rig *make(void)
{
    struct err e = {0};
    struct rig *r = calloc(1, sizeof *r);
    r->model.name = "rig";
    memset(r->model.features, 0xFF, sizeof r->model.features);
    assert_int_equal(mem_init(&r->mem, &e), 0);
    assert_int_equal(mem_add(&r->mem, 0, RAM, false, &e), 0);
    assert_int_equal(mmu_domain_create(&r->domain, &r->mem, &e), 0);
    u64 table[3] = {0x2000 | P | W, 0x3000 | P | W, 0};
    for (u32 i = 0; i < 2; i++) (void)!mem_write(&r->mem, ROOT + i * 0x1000, &table[i], 8);
    for (u64 i = 0; i < RAM >> 21; i++) {
        u64 pde = i << 21 | P | W | PS;
        (void)!mem_write(&r->mem, 0x3000 + i * 8, &pde, 8);
    }
    struct vcpu *v = r->v = aligned_alloc(64, align_up(sizeof *v, 64));
    struct vcpu_cfg cfg = {.tsc_khz = 1000000, .mem = &r->mem, .env = &r->env, .model = &r->model};
    vcpu_init(v, &cfg);
    assert_int_equal(mmu_init(v, r->domain, &e), 0);
    v->cr0 = CR0_PE | CR0_PG | CR0_WP;
    v->cr4 = CR4_PAE | CR4_OSFXSR;
    v->efer = EFER_LME | EFER_LMA;
    v->cr3 = ROOT;
    v->seg[CS].attr = SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A | SEG_L;
    v->seg[CS].base = 0;
    v->rip = CODE;
    v->gpr[RSP] = 0x8000;
    v->mmu->flush_all(v);
    vcpu_mode_changed(v);
    assert_int_equal(engine_interp.init(v, &e), 0);
    return r;
}
static void done(struct rig *r)
{
    engine_interp.fini(r->v);
    mmu_fini(r->v);
    free(r->v);
    mmu_domain_destroy(r->domain);
    mem_fini(&r->mem);
    free(r);
}
static void put(struct rig *r, gpa_t gpa, const void *code, u32 bytes)
{
    assert_int_equal(mem_write(&r->mem, gpa, code, bytes), 0);
}
#define PUT(r, gpa, text) put(r, gpa, text, sizeof(text) - 1)

/* Run from @rip to HLT. */
static void run(struct rig *r, u64 rip)
{
    r->v->rip = rip;
    r->v->run_state = VCPU_RUNNING;
    assert_int_equal(engine_interp.run(r->v, 0), RUN_HALTED);
    r->v->run_state = VCPU_RUNNING;
}

static void test_block_reuse(void **state)
{
    (void)state;
    struct rig *r = make();
    PUT(r, CODE, "\x48\xff\xc0\x48\xff\xc3\xf4"); /* inc rax; inc rbx; hlt */
    run(r, CODE);
    u64 decodes = r->v->stats.decodes, insns = r->v->stats.insns;
    for (u32 i = 0; i < 10; i++) run(r, CODE);
    assert_int_equal(r->v->stats.decodes, decodes);
    assert_int_equal(r->v->stats.insns, insns + 30);
    assert_int_equal(r->v->gpr[RAX], 11);
    run(r, CODE + 3); /* into the middle: a block of its own */
    assert_int_equal(r->v->gpr[RBX], 12);
    run(r, CODE);
    assert_int_equal(r->v->gpr[RAX], 12);
    done(r);
}

static void test_budget(void **state)
{
    (void)state;
    struct rig *r = make();
    PUT(r, CODE, "\xeb\xfe");
    r->v->rip = CODE;
    assert_int_equal(engine_interp.run(r->v, 1000), RUN_BUDGET);
    assert_in_range(r->v->stats.insns, 1000, 1000 + BLOCK_INSNS);
    assert_int_equal(r->v->rip, CODE);
    vcpu_attention(r->v, ATT_STOP);
    assert_int_equal(engine_interp.run(r->v, 0), RUN_KICKED);
    done(r);
}

/* More pages with code than there are records, and more instructions than the pool holds: every
 * page still does its own thing. */
static void test_eviction(void **state)
{
    (void)state;
    struct rig *r = make();
    enum { PAGES = 6000, FIRST = 1 << 20 };
    for (u32 i = 0; i < PAGES; i++) {
        u8 code[80];
        memset(code, NOP, sizeof code);
        code[70] = 0xB8; /* mov eax, i; hlt */
        memcpy(code + 71, &i, 4);
        code[75] = HLT;
        put(r, FIRST + i * PAGE_BYTES, code, sizeof code);
    }
    for (u32 round = 0; round < 2; round++) {
        for (u32 i = 0; i < PAGES; i++) {
            run(r, FIRST + i * PAGE_BYTES);
            assert_int_equal(r->v->gpr[RAX], i);
        }
    }
    u64 seed = 9;
    for (u32 i = 0; i < PAGES; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        u32 page = (u32)(seed >> 33) % PAGES;
        run(r, FIRST + page * PAGE_BYTES + (seed >> 20) % 70);
        assert_int_equal(r->v->gpr[RAX], page);
    }
    done(r);
}

/* The guest rewrites the instruction that follows the write. */
static void test_self_modifying(void **state)
{
    (void)state;
    struct rig *r = make();
    /* mov [rel next+1], cl; next: mov al, 0; hlt */
    PUT(r, CODE, "\x88\x0d\x01\x00\x00\x00\xb0\x00\xf4");
    for (u32 i = 1; i < 200; i++) {
        r->v->gpr[RCX] = i;
        run(r, CODE);
        assert_int_equal(r->v->gpr[RAX] & 0xFF, i & 0xFF);
    }
    assert_int_not_equal(r->v->stats.code_invalidations, 0);
    u8 val = 77; /* a device writes */
    put(r, CODE + 7, &val, 1);
    put(r, CODE, "\x90\x90\x90\x90\x90\x90", 6);
    run(r, CODE);
    assert_int_equal(r->v->gpr[RAX] & 0xFF, 77);
    done(r);
}

/* An instruction across two pages: used again, decoded anew when either half changes, and when
 * its second page is mapped elsewhere. */
static void test_crosser(void **state)
{
    (void)state;
    struct rig *r = make();
    gpa_t at = CODE + PAGE_BYTES - 2;
    for (u32 i = 0; i < 50; i++) {
        u8 code[6] = {0xB8, (u8)i, 0, (u8)(i * 3), 0, HLT}; /* mov eax, imm32 */
        put(r, at, code, sizeof code);
        run(r, at);
        run(r, at);
        assert_int_equal(r->v->gpr[RAX], i | i * 3 << 16);
    }
    u8 third = 0xAB;
    put(r, at + 4, &third, 1); /* only the second page */
    run(r, at);
    assert_int_equal(r->v->gpr[RAX], 49 | 147 << 16 | 0xABu << 24);
    u64 decodes = r->v->stats.decodes;
    for (u32 i = 0; i < 10; i++) run(r, at);
    assert_in_range(r->v->stats.decodes - decodes, 0, 10); /* at most the HLT */
    /* the 2 MiB page becomes a table whose second page is another one */
    for (u64 i = 0; i < 512; i++) {
        u64 pte = i << 12 | P | W;
        put(r, 0x4000 + i * 8, &pte, 8);
    }
    u64 pte = 0x20000 | P | W, pde = 0x4000 | P | W;
    PUT(r, 0x20000, "\x01\x02\x03\xf4");
    put(r, 0x4000 + ((CODE >> 12) + 1) * 8, &pte, 8);
    put(r, 0x3000, &pde, 8);
    r->v->mmu->invlpg(r->v, at);
    run(r, at);
    assert_int_equal(r->v->gpr[RAX], 49 | 0x030201u << 8);
    done(r);
}

static void test_mode_of_a_block(void **state)
{
    (void)state;
    struct rig *r = make();
    PUT(r, CODE, "\x48\xb8\x11\x00\x00\x00\xf4\x90\x90\x90\xf4"); /* mov rax, imm64; hlt */
    run(r, CODE);
    assert_int_equal(r->v->gpr[RAX], 0x909090F400000011ull);
    r->v->seg[CS].attr = SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A | SEG_DB;
    r->v->seg[CS].limit = 0xFFFFFFFF;
    vcpu_mode_changed(r->v);
    r->v->gpr[RAX] = 6;
    run(r, CODE); /* 32-bit: dec eax; mov eax, 0x11; hlt */
    assert_int_equal(r->v->gpr[RAX], 0x11);
    assert_int_equal(r->v->rip, CODE + 7);
    done(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_reuse), cmocka_unit_test(test_budget),
        cmocka_unit_test(test_eviction),    cmocka_unit_test(test_self_modifying),
        cmocka_unit_test(test_crosser),     cmocka_unit_test(test_mode_of_a_block),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

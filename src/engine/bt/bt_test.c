/* The translator among other threads: kicks reach a processor in any loop, cost it nothing but
 * time, locked instructions of two processors add up, and code another processor changes is seen.
 */
#include "engine/bt/bt.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/test.h"
#include "cpu/cpuid.h"
#include "cpu/env.h"
#include "cpu/vcpu_mode.h"
#include "mmu/mmu.h"

enum { P = 1 << 0, W = 1 << 1, PS = 1 << 7, RAM = 16 << 20, CPUS = 2 };
enum { ROOT = 0x1000, CODE = 0x100000, DATA = 0x200000, STACK = 0x300000, HANG_SECONDS = 60 };

/* In a process of its own: cmocka has signal handlers around each test. */
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (cond) break;                                                                           \
        dprintf(2, "%s:%d: %s\n", __FILE__, __LINE__, #cond);                                      \
        _exit(1);                                                                                  \
    } while (0)

struct rig {
    struct mem mem;
    struct mmu_domain *domain;
    struct cpu_env env;
    struct cpu_model model;
    struct vcpu *v[CPUS];
    u32 cpus;
    enum run_exit why[CPUS];
};

static void cpu_init(struct rig *r, u32 n)
{
    struct err e = {0};
    struct vcpu *v = r->v[n] = aligned_alloc(64, align_up(sizeof *v, 64));
    struct vcpu_cfg cfg = {
        .id = n, .tsc_khz = 1000000, .mem = &r->mem, .env = &r->env, .model = &r->model};
    vcpu_init(v, &cfg);
    CHECK(mmu_init(v, r->domain, &e) == 0);
    v->cr0 = CR0_PE | CR0_PG | CR0_WP;
    v->cr4 = CR4_PAE | CR4_OSFXSR;
    v->efer = EFER_LME | EFER_LMA;
    v->cr3 = ROOT;
    v->seg[CS].attr = SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A | SEG_L;
    v->seg[CS].base = 0;
    v->gpr[RSP] = STACK - n * 0x1000;
    v->mmu->flush_all(v);
    vcpu_mode_changed(v);
    CHECK(engine_bt.init(v, &e) == 0);
}

/* 64-bit supervisor code, all RAM mapped one to one by 2 MiB pages. */
static struct rig *make(u32 cpus)
{
    struct err e = {0};
    struct rig *r = calloc(1, sizeof *r);
    struct cpu_model_cfg model = {.vcpus = cpus, .tsc_khz = 1000000};
    CHECK(r && cpu_model_init(&r->model, "max", &model, &e) == 0);
    CHECK(mem_init(&r->mem, &e) == 0 && mem_add(&r->mem, 0, RAM, false, &e) == 0);
    CHECK(mmu_domain_create(&r->domain, &r->mem, &e) == 0);
    for (u32 i = 0; i < 2; i++) {
        u64 table = (ROOT + (i + 1) * 0x1000) | P | W;
        CHECK(mem_write(&r->mem, ROOT + i * 0x1000, &table, 8) == 0);
    }
    for (u64 i = 0; i < RAM >> 21; i++) {
        u64 pde = i << 21 | P | W | PS;
        CHECK(mem_write(&r->mem, ROOT + 0x2000 + i * 8, &pde, 8) == 0);
    }
    r->cpus = cpus;
    for (u32 n = 0; n < cpus; n++) cpu_init(r, n);
    return r;
}
static void done(struct rig *r)
{
    for (u32 n = 0; n < r->cpus; n++) {
        engine_bt.fini(r->v[n]);
        mmu_fini(r->v[n]);
        free(r->v[n]);
    }
    mmu_domain_destroy(r->domain);
    mem_fini(&r->mem);
    free(r);
}

struct run {
    struct rig *r;
    u32 n;
};
static void *run(void *arg)
{
    struct run *a = arg;
    a->r->why[a->n] = engine_bt.run(a->r->v[a->n], 0);
    return NULL;
}
static pthread_t start(struct run *a, u64 rip)
{
    pthread_t t;
    a->r->v[a->n]->rip = rip;
    a->r->v[a->n]->run_state = VCPU_RUNNING;
    CHECK(pthread_create(&t, NULL, run, a) == 0);
    return t;
}
static void pause_us(u32 us) { nanosleep(&(struct timespec){.tv_nsec = us * 1000l}, NULL); }
static void put(struct rig *r, gpa_t gpa, const void *code, u32 bytes)
{
    CHECK(mem_write(&r->mem, gpa, code, bytes) == 0);
}

/* ---- kicks ---- */

static const struct loop {
    u8 bytes[24];
    u32 n, off; /* from CODE */
} loops[] = {
    {{0xEB, 0xFE}, 2, 0},                                                        /* jmp $ */
    {{0x48, 0xFF, 0xC0, 0xEB, 0xFB}, 5, 0},                                      /* inc rax; jmp */
    {{0xFF, 0xC0, 0x75, 0xFC, 0xEB, 0xFA}, 6, 0},                                /* jnz */
    {{0x90, 0xE9, 0xFA, 0xFF, 0xFF, 0xFF}, 6, 4093},                             /* across pages */
    {{0x48, 0x8D, 0x05, 0xF9, 0xFF, 0xFF, 0xFF, 0xFF, 0xE0}, 9, 0},              /* lea; jmp rax */
    {{0xE8, 2, 0, 0, 0, 0xEB, 0xF9, 0xC3}, 8, 0},                                /* call, ret */
    {{0x31, 0xC0, 0x0F, 0xA2, 0xEB, 0xFA}, 6, 0},                                /* cpuid: steps */
    {{0xBF, 0, 0, 0x40, 0, 0xB9, 0, 0, 0x40, 0, 0xF3, 0xAA, 0xEB, 0xF2}, 14, 0}, /* rep stosb */
    {{0x48, 0xC7, 0xC1, 0xFF, 0xFF, 0xFF, 0x7F, 0xE2, 0xFE, 0xEB, 0xF5}, 11, 0}, /* loop $ */
    {{0xFB, 0x90, 0xFA, 0xEB, 0xFB}, 5, 0},                                      /* sti; nop; cli */
    {{0xF3, 0x90, 0xEB, 0xFC}, 4, 0},                                            /* pause */
};

static void kicks_stop_every_loop(void)
{
    struct rig *r = make(1);
    for (u32 k = 0; k < ARRAY_LEN(loops); k++) {
        put(r, CODE + loops[k].off, loops[k].bytes, loops[k].n);
        for (u32 n = 0; n < 40; n++) {
            struct run a = {r, 0};
            pthread_t t = start(&a, CODE + loops[k].off);
            pause_us(n * 25);
            vcpu_attention(r->v[0], ATT_STOP);
            engine_bt.kick(r->v[0]);
            pthread_join(t, NULL);
            CHECK(r->why[0] == RUN_KICKED);
            CHECK(r->v[0]->rip - (CODE + loops[k].off) < loops[k].n);
            atomic_fetch_and(&r->v[0]->attention, ~(u32)ATT_STOP);
        }
    }
    done(r);
}

static void kicks_cost_nothing_but_time(void)
{
    /* mov ecx, 3000000; l: inc rax; add [DATA], 1; dec ecx; jnz l; hlt */
    static const u8 code[] = {0xB9, 0xC0, 0xC6, 0x2D, 0, 0x48, 0xFF, 0xC0, 0x48, 0x83, 0x04,
                              0x25, 0,    0,    0x20, 0, 1,    0xFF, 0xC9, 0x75, 0xF0, 0xF4};
    struct rig *r = make(1);
    struct run a = {r, 0};
    put(r, CODE, code, sizeof code);
    pthread_t t = start(&a, CODE);
    u32 kicks = 0;
    do {
        vcpu_attention(r->v[0], ATT_KICK);
        engine_bt.kick(r->v[0]);
        kicks++;
        if (kicks % 16 == 0) pause_us(10);
    } while (pthread_tryjoin_np(t, NULL));
    u64 count;
    CHECK(mem_read(&r->mem, DATA, &count, 8) == 0);
    CHECK(r->v[0]->stats.bt_hot > 0);
    CHECK(r->why[0] == RUN_HALTED);
    CHECK(r->v[0]->gpr[RAX] == 3000000 && count == 3000000 && !(u32)r->v[0]->gpr[RCX]);
    done(r);
}

/* ---- two processors ---- */

static void locked_counters_add_up(void)
{
    enum { ROUNDS = 100000 };
    /* l: lock inc [rbx]; lock xadd [rbx+8], rdx (rdx = 1); xchg-locked add [rbx+16];
     *    mov rax, [rbx+24]; r: lea rdx, [rax+1]; lock cmpxchg [rbx+24], rdx; jnz r; dec ecx; jnz l
     */
    static const u8 code[] = {
        0xF0, 0x48, 0xFF, 0x03,                         /* l: lock inc qword [rbx]          */
        0xBA, 1,    0,    0,    0,                      /* mov edx, 1                       */
        0xF0, 0x48, 0x0F, 0xC1, 0x53, 8,                /* lock xadd [rbx+8], rdx           */
        0xF3, 0x90, 0xB8, 1,    0,    0,    0,          /* s: pause; mov eax, 1             */
        0x87, 0x43, 0x20, 0x85, 0xC0, 0x75, 0xF2,       /* xchg [rbx+32], eax; test; jnz s  */
        0x48, 0xFF, 0x43, 0x10,                         /* inc qword [rbx+16]               */
        0xC7, 0x43, 0x20, 0,    0,    0,    0,          /* mov dword [rbx+32], 0            */
        0x48, 0x8B, 0x43, 0x18,                         /* mov rax, [rbx+24]                */
        0x48, 0x8D, 0x50, 1,                            /* r: lea rdx, [rax+1]              */
        0xF0, 0x48, 0x0F, 0xB1, 0x53, 0x18, 0x75, 0xF4, /* lock cmpxchg [rbx+24], rdx; jnz r */
        0xFF, 0xC9, 0x75, 0xC4, 0xF4,                   /* dec ecx; jnz l; hlt              */
    };
    struct rig *r = make(2);
    struct run a[2] = {{r, 0}, {r, 1}};
    pthread_t t[2];
    put(r, CODE, code, sizeof code);
    for (u32 n = 0; n < 2; n++) {
        r->v[n]->gpr[RBX] = DATA;
        r->v[n]->gpr[RCX] = ROUNDS;
        t[n] = start(&a[n], CODE);
    }
    for (u32 n = 0; n < 2; n++) pthread_join(t[n], NULL);
    u64 count[4];
    CHECK(mem_read(&r->mem, DATA, count, sizeof count) == 0);
    for (u32 n = 0; n < 4; n++) CHECK(count[n] == 2 * ROUNDS);
    CHECK(r->why[0] == RUN_HALTED && r->why[1] == RUN_HALTED);
    done(r);
}

/* One writes the immediate of a function and then a flag; the other waits for the flag, serialises,
 * calls the function and answers with what it returned. */
static void cross_modified_code_is_seen(void)
{
    static const u8 writer[] = {
        0x31, 0xC9,                                     /* xor ecx, ecx                     */
        0xFF, 0xC1,                                     /* l: inc ecx                       */
        0x89, 0x0C, 0x25, 1,    0x10, 0x10, 0,          /* mov [function + 1], ecx          */
        0x89, 0x0C, 0x25, 0,    0,    0x20, 0,          /* mov [DATA], ecx                  */
        0xF3, 0x90, 0x39, 0x0C, 0x25, 0x40, 0, 0x20, 0, /* w: pause; cmp [DATA+64], ecx     */
        0x75, 0xF5, 0x81, 0xF9, 0xE8, 3,    0, 0,       /* jne w; cmp ecx, 1000             */
        0x75, 0xDD, 0xF4,                               /* jne l; hlt                       */
    };
    static const u8 reader[] = {
        0x31, 0xF6,                                     /* xor esi, esi                     */
        0xFF, 0xC6,                                     /* l: inc esi                       */
        0xF3, 0x90, 0x39, 0x34, 0x25, 0,    0, 0x20, 0, /* w: pause; cmp [DATA], esi        */
        0x75, 0xF5, 0x31, 0xC0, 0x0F, 0xA2,             /* jne w; xor eax, eax; cpuid       */
        0xE8, 0x68, 0x0F, 0,    0,                      /* call function                    */
        0x39, 0xF0, 0x75, 0x11,                         /* cmp eax, esi; jne bad            */
        0x89, 0x04, 0x25, 0x40, 0,    0x20, 0,          /* mov [DATA+64], eax               */
        0x81, 0xFE, 0xE8, 3,    0,    0,                /* cmp esi, 1000                    */
        0x75, 0xD7, 0xF4, 0x90,                         /* jne l; hlt                       */
        0x0F, 0x0B,                                     /* bad: ud2                         */
    };
    static const u8 function[] = {0xB8, 0, 0, 0, 0, 0xC3}; /* mov eax, imm; ret */
    struct rig *r = make(2);
    struct run a[2] = {{r, 0}, {r, 1}};
    put(r, CODE, writer, sizeof writer);
    put(r, CODE + 0x80, reader, sizeof reader);
    put(r, CODE + 0x1000, function, sizeof function);
    pthread_t t1 = start(&a[1], CODE + 0x80), t0 = start(&a[0], CODE);
    pthread_join(t1, NULL);
    CHECK(r->why[1] == RUN_HALTED);
    pthread_join(t0, NULL);
    CHECK(r->why[0] == RUN_HALTED);
    CHECK((u32)r->v[1]->gpr[RAX] == 1000 && (u32)r->v[1]->gpr[RSI] == 1000);
    done(r);
}

/* ---- jumps to nowhere ---- */

/* The first entry of a jump table, emptied because its page was invalidated, matches nothing: not
 * even the address that is not canonical but leads there. */
static void emptied_entries_match_nothing(void)
{
    enum { MAIN = 0x100100, FUNCTION = 0x120000, TABLE = 0x4000, JUMP_OFF = 23 };
    static const u8 code[] = {
        0xE8, 0xFB, 0xFE, 1,    0,                      /* call FUNCTION                    */
        0x0F, 0x01, 0x3C, 0x25, 0, 0, 0x12, 0,          /* invlpg [FUNCTION]                */
        0x48, 0xB8, 1,    0,    0, 0, 0,    0, 0, 0x80, /* mov rax, 8000000000000001        */
        0xFF, 0xE0,                                     /* jmp rax                          */
    };
    static const u8 function[] = {0xFF, 0xC3, 0x59, 0xFF, 0xE1}; /* inc ebx; pop rcx; jmp rcx */
    struct rig *r = make(1);
    struct run a = {r, 0};
    for (u64 k = 0; k < 512; k++) { /* the first 2 MiB by small pages */
        u64 pte = k << 12 | P | W;
        put(r, TABLE + k * 8, &pte, 8);
    }
    put(r, ROOT + 0x2000, &(u64){TABLE | P | W}, 8);
    r->v[0]->mmu->flush_all(r->v[0]);
    put(r, MAIN, code, sizeof code);
    put(r, FUNCTION, function, sizeof function);
    pthread_join(start(&a, MAIN), NULL);
    CHECK(r->why[0] == RUN_SHUTDOWN); /* #GP, and there is no IDT */
    CHECK(r->v[0]->gpr[RBX] == 1 && r->v[0]->rip == MAIN + JUMP_OFF);
    done(r);
}

/* ---- translating late ---- */

/* Blocks executed once are not translated; those executed again are, and do the same. */
static void once_is_not_translated(void)
{
    static const u8 code[] = {
        0x83, 0xC0, 3,                /* add eax, 3                       */
        0xEB, 0,                      /* jmp next                         */
        0x0F, 0xAF, 0xC0,             /* next: imul eax, eax              */
        0x74, 0,                      /* jz last                          */
        0xFE, 0x04, 0x25, 0, 0, 0x20, /* last: inc byte [DATA]            */
        0,    0xF4,                   /* hlt                              */
    };
    struct rig *r = make(1);
    struct vcpu *v = r->v[0];
    struct run a = {r, 0};
    u8 count;
    v->bt_late = true;
    put(r, CODE, code, sizeof code);
    for (u32 n = 1; n <= 3; n++) {
        v->gpr[RAX] = n;
        pthread_join(start(&a, CODE), NULL);
        CHECK(r->why[0] == RUN_HALTED && v->gpr[RAX] == (n + 3) * (n + 3));
        CHECK(mem_read(&r->mem, DATA, &count, 1) == 0 && count == n);
        CHECK((v->stats.bt_translations == 0) == (n == 1));
        CHECK(v->stats.insns == 6 || n > 1);
    }
    const u64 executed = v->stats.insns;
    put(r, CODE + 2, &(u8){5}, 1); /* other code, of the same address */
    v->gpr[RAX] = 1;
    pthread_join(start(&a, CODE), NULL);
    CHECK(r->why[0] == RUN_HALTED && v->gpr[RAX] == 36);
    CHECK(v->stats.insns == executed + 1); /* HLT */
    done(r);
}

/* ---- */

static void apart(void (*fn)(void))
{
    struct err e = {0};
    int status;
    if (engine_bt.probe(&e) < 0) skip();
    pid_t pid = fork();
    if (pid == 0) {
        alarm(HANG_SECONDS);
        fn();
        _exit(0);
    }
    assert_true(pid > 0);
    assert_true(waitpid(pid, &status, 0) == pid);
    if (WIFSIGNALED(status)) fail_msg("signal %d", WTERMSIG(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}
#define APART(name)                                                                                \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        apart(name);                                                                               \
    }
APART(kicks_stop_every_loop)
APART(kicks_cost_nothing_but_time)
APART(locked_counters_add_up)
APART(cross_modified_code_is_seen)
APART(emptied_entries_match_nothing)
APART(once_is_not_translated)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kicks_stop_every_loop),
        cmocka_unit_test(test_kicks_cost_nothing_but_time),
        cmocka_unit_test(test_locked_counters_add_up),
        cmocka_unit_test(test_cross_modified_code_is_seen),
        cmocka_unit_test(test_emptied_entries_match_nothing),
        cmocka_unit_test(test_once_is_not_translated),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* tests/smp_rig.h - several processors, each on a thread of its own, in 4 MiB of memory mapped one
 * to one by small pages; what runs on them is written with the few helpers here. While they run,
 * one more thread kicks them, interrupts them and writes bytes of their code by DMA (the same ones
 * again), at random. An exception is a triple fault: programs execute UD2 when something is wrong.
 * Included by tests/smp_litmus.h and tests/smp_chaos.h. */
#ifndef TESTS_SMP_RIG_H
#define TESTS_SMP_RIG_H
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cpu/cpuid.h"
#include "cpu/env.h"
#include "cpu/vcpu_mode.h"
#include "engine/bt/bt.h"
#include "engine/interp/interp.h"
#include "mmu/mmu.h"

enum {
    SMP_CPUS = 4,
    SMP_RAM = 4 << 20,
    SMP_ROOT = 0x1000, /* and the tables behind it: PDPT, PD, two page tables */
    SMP_TABLES = 0x4000,
    SMP_GDT = 0x6000,
    SMP_IDT = 0x7000,
    SMP_STACK = 0x10000, /* a page of each processor's */
    SMP_HANDLER = 0x20000,
    SMP_CODE = 0x100000, /* SMP_CODE_BYTES of each */
    SMP_CODE_BYTES = 0x4000,
    SMP_IRQS = 0x30000, /* u64: interrupts taken; the words behind it are for shootdowns */
    SMP_REQUEST = SMP_IRQS + 64,
    SMP_ACK = SMP_IRQS + 128, /* u32 of each processor */
    SMP_REMAPPED = 0x190000,
    SMP_VECTOR = 0x40,
    SMP_PORT_INTERRUPT = 0x80, /* all others */
    SMP_PORT_YIELD = 0x81,     /* there may be fewer host processors */
    SMP_PRESENT_WRITABLE = 3,
};

struct smp {
    struct mem mem;
    struct mmu_domain *domain;
    struct cpu_env env;
    struct cpu_model model;
    struct vcpu *v[SMP_CPUS];
    const struct engine *engine[SMP_CPUS];
    u32 cpus;
    enum run_exit why[SMP_CPUS];
    _Atomic bool pending[SMP_CPUS];
    _Atomic bool ended;
    u32 code_bytes[SMP_CPUS];
    u64 rng; /* of the storm */
};
static u64 smp_rng;

static inline u64 smp_next(u64 *state)
{
    u64 z = *state += 0x9E3779B97F4A7C15ull;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
    z = (z ^ z >> 27) * 0x94D049BB133111EBull;
    return z ^ z >> 31;
}
static inline u32 smp_below(u32 n) { return (u32)(smp_next(&smp_rng) % n); }

static inline void smp_must(bool good, const char *what)
{
    if (good) return;
    fprintf(stderr, "smp: %s\n", what);
    abort();
}

/* ---- machine code ---- */

struct code {
    u8 b[SMP_CODE_BYTES];
    u32 n;
    gpa_t at;
};
static inline void c_put(struct code *c, const void *bytes, u32 n)
{
    smp_must(c->n + n <= sizeof c->b, "program too long");
    memcpy(c->b + c->n, bytes, n);
    c->n += n;
}
#define C(c, ...) c_put(c, (const u8[]){__VA_ARGS__}, sizeof((const u8[]){__VA_ARGS__}))
static inline void c_u32(struct code *c, u32 val) { c_put(c, &val, 4); }
/* the bytes of an instruction whose operand is [@address] */
#define C_ABS(c, address, ...) (C(c, __VA_ARGS__, 0x25), c_u32(c, address))
static inline void c_rel(struct code *c, gpa_t target)
{
    c_u32(c, (u32)(target - (c->at + c->n + 4)));
}
enum { JE = 0x74, JNE = 0x75, JAE = 0x73, JBE = 0x76 };
/* UD2 unless the condition of the short jump @good holds. */
static inline void c_expect(struct code *c, u8 good) { C(c, good, 2, 0x0F, 0x0B); }
static inline void c_halt(struct code *c) { C(c, 0xF4, 0xEB, 0xFD); }
static inline void c_delay(struct code *c, u32 turns) /* changes EDX */
{
    if (!turns) return;
    C(c, 0xBA);
    c_u32(c, turns);
    C(c, 0xFF, 0xCA, 0x75, 0xFC);
}

static inline void smp_write(struct smp *r, gpa_t gpa, const void *bytes, u32 n)
{
    smp_must(mem_write(&r->mem, gpa, bytes, n) == 0, "write");
}
static inline void smp_write64(struct smp *r, gpa_t gpa, u64 val) { smp_write(r, gpa, &val, 8); }
static inline u64 smp_read64(struct smp *r, gpa_t gpa)
{
    u64 val;
    smp_must(mem_read(&r->mem, gpa, &val, 8) == 0, "read");
    return val;
}
static inline gpa_t smp_pte(gpa_t page) { return SMP_TABLES + (page >> PAGE_SHIFT) * 8; }

/* ---- interrupts ---- */

static inline void smp_interrupt(struct smp *r, u32 n)
{
    atomic_store(&r->pending[n], true);
    atomic_store(&r->v[n]->intr_line, true);
    vcpu_attention(r->v[n], ATT_KICK);
    if (r->engine[n]->kick) r->engine[n]->kick(r->v[n]);
}
static int smp_ack(void *ctx, struct vcpu *v)
{
    struct smp *r = ctx;
    atomic_store(&v->intr_line, false);
    return atomic_exchange(&r->pending[v->id], false) ? (int)(SMP_VECTOR + v->id) : -1;
}
static void smp_port_out(void *ctx, struct vcpu *v, u16 port, u32 val, u32 bytes)
{
    struct smp *r = ctx;
    (void)val, (void)bytes;
    if (port == SMP_PORT_YIELD) {
        sched_yield();
        return;
    }
    for (u32 n = 0; n < r->cpus; n++)
        if (n != v->id) smp_interrupt(r, n);
}

/* The handler takes part in shootdowns of SMP_REMAPPED, and leaves no trace in registers. */
static inline void smp_handler(struct smp *r, u32 n)
{
    struct code c = {.at = SMP_HANDLER + n * 256};
    C(&c, 0x50);                        /* push rax             */
    C_ABS(&c, SMP_REQUEST, 0x8B, 0x04); /* mov eax, [request]   */
    C_ABS(&c, SMP_REMAPPED, 0x0F, 0x01, 0x3C);
    C_ABS(&c, SMP_ACK + 4 * n, 0x89, 0x04); /* mov [ack], eax       */
    C_ABS(&c, SMP_IRQS, 0xF0, 0x48, 0xFF, 0x04);
    C(&c, 0x31, 0xC0, 0x58, 0x48, 0xCF); /* xor eax, eax; pop rax; iretq */
    smp_write(r, c.at, c.b, c.n);
    smp_write64(r, SMP_IDT + (SMP_VECTOR + n) * 16,
                (c.at & 0xFFFF) | 8 << 16 | 0x8E00ull << 32 | (c.at >> 16) << 48);
    smp_write64(r, SMP_IDT + (SMP_VECTOR + n) * 16 + 8, 0);
}

/* ---- life ---- */

static inline void smp_cpu_init(struct smp *r, u32 n)
{
    struct err e = {0};
    struct vcpu *v = r->v[n] = aligned_alloc(64, align_up(sizeof *v, 64));
    struct vcpu_cfg cfg = {
        .id = n, .tsc_khz = 1000000, .mem = &r->mem, .env = &r->env, .model = &r->model};
    smp_must(v != NULL, "memory");
    vcpu_init(v, &cfg);
    smp_must(mmu_init(v, r->domain, &e) == 0, e.text);
    v->cr0 = CR0_PE | CR0_PG | CR0_WP;
    v->cr4 = CR4_PAE | CR4_OSFXSR;
    v->efer = EFER_LME | EFER_LMA;
    v->cr3 = SMP_ROOT;
    v->seg[CS].sel = 8;
    v->seg[CS].attr = SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A | SEG_L | SEG_G;
    v->seg[CS].base = 0;
    v->gdtr = (struct dtable){SMP_GDT, 15};
    v->idtr = (struct dtable){SMP_IDT, 0xFFF};
    v->gpr[RSP] = SMP_STACK + (n + 1) * 0x1000;
    v->rip = SMP_CODE + n * SMP_CODE_BYTES;
    v->rflags = 2 | RFLAGS_IF;
    v->run_state = VCPU_RUNNING;
    v->mmu->flush_all(v);
    vcpu_mode_changed(v);
    v->bt_late = !smp_below(3);
    smp_must(r->engine[n]->init(v, &e) == 0, e.text);
}

/* @cpus processors; which of the two engines each has is random, mostly the translator. */
static inline void smp_make(struct smp *r, u32 cpus)
{
    struct err e = {0};
    struct cpu_model_cfg model = {.vcpus = cpus, .tsc_khz = 1000000};
    const bool mixed = !smp_below(4);
    *r = (struct smp){.cpus = cpus, .rng = smp_next(&smp_rng)};
    r->env = (struct cpu_env){.ctx = r, .intr_ack = smp_ack, .port_out = smp_port_out};
    smp_must(cpu_model_init(&r->model, "max", &model, &e) == 0, e.text);
    smp_must(mem_init(&r->mem, &e) == 0 && mem_add(&r->mem, 0, SMP_RAM, false, &e) == 0, e.text);
    smp_must(mmu_domain_create(&r->domain, &r->mem, &e) == 0, e.text);
    for (u32 i = 0; i < 2; i++)
        smp_write64(r, SMP_ROOT + i * 0x1000, (SMP_ROOT + (i + 1) * 0x1000) | SMP_PRESENT_WRITABLE);
    for (u32 i = 0; i < 2; i++)
        smp_write64(r, SMP_ROOT + 0x2000 + i * 8, (SMP_TABLES + i * 0x1000) | SMP_PRESENT_WRITABLE);
    for (u64 page = 0; page < SMP_RAM; page += PAGE_BYTES)
        smp_write64(r, smp_pte(page), page | SMP_PRESENT_WRITABLE);
    smp_write64(r, SMP_GDT + 8, 0x00AF9B000000FFFFull);
    for (u32 n = 0; n < cpus; n++) smp_handler(r, n);
    for (u32 n = 0; n < cpus; n++) {
        r->engine[n] = mixed && smp_below(2) ? &engine_interp : &engine_bt;
        smp_cpu_init(r, n);
    }
}
static inline void smp_done(struct smp *r)
{
    for (u32 n = 0; n < r->cpus; n++) {
        r->engine[n]->fini(r->v[n]);
        mmu_fini(r->v[n]);
        free(r->v[n]);
    }
    mmu_domain_destroy(r->domain);
    mem_fini(&r->mem);
}

/* Where the program of processor @n goes. */
static inline struct code smp_program(u32 n)
{
    return (struct code){.at = SMP_CODE + n * SMP_CODE_BYTES};
}
static inline void smp_load(struct smp *r, u32 n, const struct code *c)
{
    smp_write(r, c->at, c->b, c->n);
    r->code_bytes[n] = c->n;
}

/* ---- running ---- */

struct smp_thread {
    struct smp *r;
    u32 n;
};
static void *smp_run_cpu(void *arg)
{
    struct smp_thread *t = arg;
    struct smp *r = t->r;
    do r->why[t->n] = r->engine[t->n]->run(r->v[t->n], 0);
    while (r->why[t->n] == RUN_KICKED || r->why[t->n] == RUN_BUDGET);
    return NULL;
}
static void *smp_storm(void *arg)
{
    struct smp *r = arg;
    while (!atomic_load(&r->ended)) {
        const u64 x = smp_next(&r->rng);
        const u32 n = (u32)(x >> 8) % r->cpus;
        u8 byte;
        const gpa_t gpa = SMP_CODE + n * SMP_CODE_BYTES + (x >> 16) % 64;
        switch (x % 4) {
        case 0:
            vcpu_attention(r->v[n], ATT_KICK);
            if (r->engine[n]->kick) r->engine[n]->kick(r->v[n]);
            break;
        case 1: /* the entry of a program is never changed by it */
            smp_must(mem_read(&r->mem, gpa, &byte, 1) == 0, "read");
            smp_write(r, gpa, &byte, 1);
            break;
        default: smp_interrupt(r, n);
        }
        nanosleep(&(struct timespec){.tv_nsec = (long)(x >> 40) % 100000}, NULL);
    }
    return NULL;
}

/* Run all to their HLT. False, and said why, when one ended otherwise. */
static inline bool smp_run(struct smp *r)
{
    pthread_t t[SMP_CPUS], storm;
    struct smp_thread a[SMP_CPUS];
    bool good = true;
    for (u32 n = 0; n < r->cpus; n++) {
        a[n] = (struct smp_thread){r, n};
        smp_must(pthread_create(&t[n], NULL, smp_run_cpu, &a[n]) == 0, "thread");
    }
    smp_must(pthread_create(&storm, NULL, smp_storm, r) == 0, "thread");
    for (u32 n = 0; n < r->cpus; n++) pthread_join(t[n], NULL);
    atomic_store(&r->ended, true);
    pthread_join(storm, NULL);
    for (u32 n = 0; n < r->cpus; n++) {
        const struct vcpu *v = r->v[n];
        if (r->why[n] == RUN_HALTED) continue;
        good = false;
        printf("cpu %u (%s): exit %d at %" PRIx64 "\n", n, r->engine[n]->name, (int)r->why[n],
               v->rip);
        for (u32 k = 0; k < GPRS; k++) printf(" %" PRIx64, v->gpr[k]);
        printf("\n");
    }
    return good;
}
#endif

/* lockstep_report.c - a difference between interpreter and translator as text. */
#include <stdio.h>
#include <string.h>

#include "engine/bt/dump.h"
#include "engine/bt/lockstep_internal.h"

static const char *const names[GPRS] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                        "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};

static void put_word(const char *name, u64 before, const u64 *after)
{
    dprintf(2, "%c %-7s %016llx %016llx %016llx\n", after[0] == after[1] ? ' ' : '*', name,
            (unsigned long long)before, (unsigned long long)after[0], (unsigned long long)after[1]);
}

static void put_registers(const struct lockstep *l)
{
    const struct registers *b = &l->before, *x = &l->after[INTERPRETED], *y = &l->after[TRANSLATED];
    dprintf(2, "  %-7s %-16s %-16s %-16s\n", "", "before", "interpreter", "translator");
    for (u32 n = 0; n < GPRS; n++) put_word(names[n], b->gpr[n], (u64[]){x->gpr[n], y->gpr[n]});
    put_word("rip", b->rip, (u64[]){x->rip, y->rip});
    put_word("rflags", b->rflags, (u64[]){x->rflags, y->rflags});
    put_word("fsbase", b->fs_base, (u64[]){x->fs_base, y->fs_base});
    put_word("gsbase", b->gs_base, (u64[]){x->gs_base, y->gs_base});
    put_word("kgsbase", b->kernel_gs_base, (u64[]){x->kernel_gs_base, y->kernel_gs_base});
    put_word("tlbctx", b->ctx, (u64[]){x->ctx, y->ctx});
    put_word("table", b->table, (u64[]){x->table, y->table});
    put_word("cr2", b->cr2, (u64[]){x->cr2, y->cr2});
    put_word("cpl", b->cpl, (u64[]){x->cpl, y->cpl});
    put_word("cs", b->cs[0], (u64[]){x->cs[0], y->cs[0]});
    put_word("cs attr", b->cs[1], (u64[]){x->cs[1], y->cs[1]});
    put_word("ss", b->ss[0], (u64[]){x->ss[0], y->ss[0]});
    put_word("ss attr", b->ss[1], (u64[]){x->ss[1], y->ss[1]});
    if (l->wide) put_word("mxcsr", b->fx.mxcsr, (u64[]){x->fx.mxcsr, y->fx.mxcsr});
    for (u32 n = 0; n < 8 && l->wide; n++)
        if (x->k[n] != y->k[n]) put_word("opmask", b->k[n], (u64[]){x->k[n], y->k[n]});
    if (l->wide && memcmp(&x->fx, &y->fx, sizeof x->fx)) dprintf(2, "* x87 or MXCSR state\n");
}

static void put_bytes(const char *who, const u8 *b, u32 n)
{
    dprintf(2, "    %-12s", who);
    while (n--) dprintf(2, "%02x", *b++);
    dprintf(2, "\n");
}

static void put_vectors(const struct lockstep *l)
{
    for (u32 n = 0; n < 32; n++) {
        const u8 *x = l->after[INTERPRETED].vec[n], *y = l->after[TRANSLATED].vec[n];
        if (!memcmp(x, y, 64)) continue;
        dprintf(2, "* vector register %u\n", n);
        put_bytes("before", l->before.vec[n], 64);
        put_bytes("interpreter", x, 64);
        put_bytes("translator", y, 64);
    }
}

static void put_memory(const struct journal *j)
{
    for (u32 i = 0; i < j->entries; i++) {
        const struct journal_entry *e = &j->entry[i];
        bool same = !memcmp(e->after[INTERPRETED], e->after[TRANSLATED], e->bytes);
        dprintf(2, "%c instruction %u wrote %u bytes at %#llx\n", same ? ' ' : '*', e->insn,
                e->bytes, (unsigned long long)e->gva);
        put_bytes("before", e->before, e->bytes);
        put_bytes("interpreter", e->after[INTERPRETED], e->bytes);
        put_bytes("translator", e->after[TRANSLATED], e->bytes);
    }
}

static void put_guest(const struct lockstep *l)
{
    u64 at = l->before.rip;
    dprintf(2, "guest code, %u instructions; the interpreter executed %u:\n", l->block->count,
            l->done);
    for (u32 n = 0; n < l->block->count; at += l->block->first[n++].len)
        bt_dump_insn(at, &l->block->first[n]);
}

void lockstep_report(const struct lockstep *l, struct vcpu *v)
{
    const struct bt_state *s = state_of(v);
    static const char *const exits[] = {"step", "link", "lookup", "poll"};
    dprintf(2, "lockstep: block %llu differs; CPL %u, exit %s, code base %#llx, vectors %s\n",
            (unsigned long long)l->blocks, v->cpl,
            l->why < ARRAY_LEN(exits) ? exits[l->why] : "unknown",
            (unsigned long long)v->eng.code_base, s->bt.vec_loaded ? "loaded" : "not loaded");
    put_registers(l);
    if (l->wide) put_vectors(l);
    put_memory(&l->journal);
    put_guest(l);
    bt_dump_host(&s->code, l->slot);
}

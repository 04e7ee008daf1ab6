/* light.c - see light.h. Compiled for general registers only (Makefile), as quick.c is; calls
 * nothing but what is compiled so, enter.S's vector routines and the clock.
 * Spec: SDM vol. 2B RDTSC, SYSCALL, SYSRET; vol. 2A IRET. */
#include "engine/bt/light.h"

#include "cpu/far.h"
#include "cpu/seg.h"
#include "cpu/tsc.h"
#include "engine/bt/enter.h"
#include "engine/bt/jump_cache.h"
#include "engine/bt/table_internal.h"
#include "engine/bt/x87.h"

const u8 *bt_quick(struct vcpu *v, u64 address); /* quick.c */

enum {
    FLAT_CODE = SEG_P | SEG_S | SEG_CODE | SEG_R | SEG_A | SEG_G | SEG_L,
    FLAT_DATA = SEG_P | SEG_S | SEG_W | SEG_A | SEG_G | SEG_DB,
    SYSRET_FLAGS = 0x3C7FD7,
    IRET_FLAGS = RFLAGS_ARITH | RFLAGS_TF | RFLAGS_DF | RFLAGS_NT | RFLAGS_AC | RFLAGS_ID |
                 RFLAGS_IF | RFLAGS_IOPL | RFLAGS_VIF | RFLAGS_VIP, /* of CPL 0, without RF */
    FRAME = 5, /* words: RIP CS RFLAGS RSP SS */
};

struct light {
    struct bt_state *s;
    struct vcpu *v;
    u32 place, off, behind; /* of the instruction */
};

/* ---- ways to go on --------------------------------------------------------------------------- */

static const u8 *to_step(const struct light *l)
{
    l->v->eng.exit_arg = l->place;
    return (const u8 *)(uintptr_t)bt_exit_step;
}

static const u8 *behind(const struct light *l) { return l->s->code.rx + l->behind; }

/* The jump table for code of the present mode and variant; NULL when it has to be set up. */
static struct jump_table *jumps_of(const struct bt_state *s)
{
    struct jump_table *j = jump_of(s->v, bt_variant_of(s));
    return j->key == jump_key(s) ? j : NULL;
}

static bool event_waits(const struct vcpu *v)
{
    return atomic_load_explicit(&v->attention, memory_order_relaxed) ||
           (v->rflags & RFLAGS_IF && atomic_load_explicit(&v->intr_line, memory_order_acquire));
}

const u8 *bt_light_continue(struct bt_state *s)
{
    struct vcpu *v = s->v;
    const struct jump_table *j = jumps_of(s);
    if (!j || event_waits(v)) return NULL;
    s->variant = bt_variant_of(s);
    const u32 n = jump_index(v->rip);
    return j->minus_address[n] == 0 - v->rip ? j->code[n] : bt_quick(v, v->rip);
}

static void count(struct vcpu *v)
{
    v->stats.bt_light++;
    v->stats.insns++;
}

/* Host RSP for the present mode and RSP. False: its window, or its page, is still to be made. */
static bool settle_stack(const struct bt_state *s)
{
    struct vcpu *v = s->v;
    struct windows *w = &s->tables->windows;
    windows_leave(v);
    if (v->cpl != 3 || v->mode != ISA_64 || !w->area) return true;
    if (!bt_has_stack(v)) return false;
    struct window *at = windows_find(w, table_now(s->tables) - TABLE_USERS, v->gpr[RSP]);
    if (!at || (at->waits < WINDOW_WAITS && !*window_page(w, at, v->gpr[RSP]))) return false;
    windows_enter(w, at, v);
    return true;
}

/* State is complete with the next RIP. */
static const u8 *go(struct bt_state *s, u64 rip)
{
    struct vcpu *v = s->v;
    v->rip = v->eng.exit_arg = rip;
    const u8 *code = likely(!s->lockstep) && settle_stack(s) ? bt_light_continue(s) : NULL;
    return code ? code : (const u8 *)(uintptr_t)bt_exit_leave;
}

static bool vectors_live(const struct vcpu *v) { return v->eng.vec_save != (void *)bt_vec_keep; }

/* ---- privilege ------------------------------------------------------------------------------- */

/* Table of the user of the present address space; 0: there is none yet. */
static u64 user_table(struct bt_tables *t)
{
    const u32 asn = (u32)(t->v->tlb.ctx >> PRIV_BITS);
    if (likely(asn == t->asn && t->tb[PRIV_USER])) return t->tb[PRIV_USER];
    if (asn != t->asn || !t->table_of[asn]) return 0;
    const u32 k = t->table_of[asn];
    t->table[k].used = ++t->uses;
    return t->tb[PRIV_USER] = table_tb(t, k);
}

/* What the MMU would choose for @cpl and RFLAGS @flags. */
static u32 privilege(const struct vcpu *v, u8 cpl, u64 flags)
{
    if (cpl == 3) return PRIV_USER;
    return v->cr4 & CR4_SMAP && flags & RFLAGS_AC ? PRIV_SUPERVISOR_AC : PRIV_SUPERVISOR;
}

static u64 table_for(struct bt_state *s, u32 priv)
{
    return priv == PRIV_USER ? user_table(s->tables) : s->bt.table[priv == PRIV_SUPERVISOR_AC];
}

/* May 64-bit code of @cpl run with RFLAGS @flags in translated code? */
static bool may_run(const struct vcpu *v, u8 cpl, u64 flags)
{
    if (flags & RFLAGS_TF) return false;
    return !(cpl == 3 && flags & RFLAGS_AC && v->cr0 & CR0_AM);
}

static void load_vectors(struct bt_state *s)
{
    struct vcpu *v = s->v;
    if (!vectors_live(v)) {
        void (*load)(struct vcpu *) = (void (*)(struct vcpu *))s->vec_load;
        load(v);
        v->eng.vec_save = s->vec_save;
    }
    s->bt.vec_loaded = true;
}

/* CPL and RFLAGS as given; CS and SS are set by the caller. */
static void set_privilege(struct bt_state *s, u8 cpl, u64 flags, u64 table)
{
    struct vcpu *v = s->v;
    const u32 priv = privilege(v, cpl, flags);
    v->rflags = flags;
    v->cpl = cpl;
    v->tlb.ctx = (v->tlb.ctx & ~(u64)(BIT(PRIV_BITS) - 1)) | priv;
    v->eng.table = table;
    if (unlikely(s->lockstep != NULL)) return;
    if (bt_starts_with_vectors(v)) load_vectors(s);
    else s->bt.vec_loaded = false;
}

static void set_segments(struct vcpu *v, u16 cs, u16 ss, u8 cpl)
{
    const u32 dpl = (u32)cpl << SEG_DPL_SHIFT;
    v->seg[CS].base = v->seg[SS].base = 0;
    v->seg[CS].limit = v->seg[SS].limit = 0xFFFFFFFF;
    v->seg[CS].attr = FLAT_CODE | dpl;
    v->seg[SS].attr = FLAT_DATA | dpl;
    v->seg[CS].sel = (u16)((cs & ~3) | cpl);
    v->seg[SS].sel = (u16)((ss & ~3) | cpl);
}

/* ---- SYSCALL and SYSRET ---------------------------------------------------------------------- */

enum { SYSCALL_BYTES = 2 };

static const u8 *light_syscall(struct light *l)
{
    struct vcpu *v = l->v;
    const u64 flags = (v->rflags & ~(v->fmask | RFLAGS_RF)) | RFLAGS_FIXED;
    const u16 cs = (u16)(v->star >> 32);
    if (!(v->efer & EFER_SCE) || !may_run(v, 0, flags) || !is_canonical(v, v->lstar))
        return to_step(l);
    v->gpr[RCX] = v->eng.code_base + l->off + SYSCALL_BYTES;
    v->gpr[R11] = v->rflags & ~(u64)RFLAGS_RF;
    set_segments(v, cs, (u16)(cs + 8), 0);
    set_privilege(l->s, 0, flags, table_for(l->s, privilege(v, 0, flags)));
    count(v);
    return go(l->s, v->lstar);
}

static const u8 *light_sysret(struct light *l)
{
    struct vcpu *v = l->v;
    const u64 flags = (v->gpr[R11] & SYSRET_FLAGS) | RFLAGS_FIXED, rip = v->gpr[RCX];
    const u16 star = (u16)(v->star >> 48);
    const u64 table = user_table(l->s->tables);
    if (v->cpl || !(v->efer & EFER_SCE) || !table || !may_run(v, 3, flags) || !is_canonical(v, rip))
        return to_step(l);
    set_segments(v, (u16)(star + 16), (u16)(star + 8), 3);
    set_privilege(l->s, 3, flags, table);
    count(v);
    return go(l->s, rip);
}

/* ---- IRETQ ----------------------------------------------------------------------------------- */

/* The 8-byte descriptor of @sel as the supervisor reads it, if it is plain memory; else NULL. */
static const u64 *descriptor(const struct vcpu *v, u16 sel)
{
    const gva_t gva = v->gdtr.base + (sel & ~7u);
    const struct tlb_entry *e = &v->tlb.e[ACC_READ][(gva >> PAGE_SHIFT) & (TLB_ENTRIES - 1)];
    const u64 ctx = (v->tlb.ctx & ~(u64)(BIT(PRIV_BITS) - 1)) | PRIV_SUPERVISOR;
    if (sel & SEL_TI || (sel | 7u) > v->gdtr.limit || gva & 7) return NULL;
    return e->tag == ((gva & PAGE_MASK) | ctx) ? (const u64 *)(uintptr_t)(gva + e->addend) : NULL;
}

static struct light_seg *slot_of(struct bt_state *s, u16 sel)
{
    return &s->iret_seg[sel / 8 % ARRAY_LEN(s->iret_seg)];
}

static void note(struct bt_state *s, const struct seg *seg)
{
    const struct vcpu *v = s->v;
    const volatile u64 *desc = seg->sel & 0xFFFC ? descriptor(v, seg->sel) : NULL;
    struct light_seg *n = slot_of(s, seg->sel);
    const u64 now = desc ? *desc : 0;
    if (!(now & DESC_ACCESSED)) return;
    n->desc = now;
    n->seg.base = seg->base;
    n->seg.limit = seg->limit;
    n->seg.attr = seg->attr;
    n->seg.sel = seg->sel;
    n->known = true;
}

void bt_light_note_iret(struct bt_state *s)
{
    const struct vcpu *v = s->v;
    if (v->mode != ISA_64) return;
    note(s, &v->seg[CS]);
    note(s, &v->seg[SS]);
}

/* What an IRETQ of CPL 0 to CPL @sel.RPL loaded for @sel from the descriptor that is there still:
 * its checks depend on nothing else. */
static const struct seg *noted(struct bt_state *s, u16 sel, u32 code)
{
    const struct light_seg *n = slot_of(s, sel);
    const u64 *desc = descriptor(s->v, sel);
    if (!desc || !n->known || n->seg.sel != sel || n->desc != *desc) return NULL;
    return (n->seg.attr & SEG_CODE) == code ? &n->seg : NULL;
}

/* Returning to CPL 3 takes data segments away that it may not have. */
static bool would_drop_segments(const struct vcpu *v)
{
    static const u8 data_segs[] = {ES, DS, FS, GS};
    for (u32 k = 0; k < ARRAY_LEN(data_segs); k++) {
        const struct seg *g = &v->seg[data_segs[k]];
        if (g->attr & SEG_NULL ? g->sel : (g->attr >> SEG_DPL_SHIFT & 3) != 3) return true;
    }
    return false;
}

static void copy_seg(struct seg *to, const struct seg *from)
{
    to->base = from->base;
    to->limit = from->limit;
    to->attr = from->attr;
    to->sel = from->sel;
}

/* SS of the frame: a null selector is all right in 64-bit code of the supervisor. */
static bool load_ss(struct bt_state *s, u16 sel, u8 cpl, struct seg *out)
{
    if (sel & 0xFFFC) {
        const struct seg *ss = (sel & 3) == cpl ? noted(s, sel, 0) : NULL;
        if (ss) copy_seg(out, ss);
        return ss;
    }
    out->base = 0;
    out->limit = 0;
    out->attr = SEG_NULL | (u32)cpl << SEG_DPL_SHIFT;
    out->sel = sel;
    return cpl != 3 && sel == cpl;
}

static const u8 *light_iret(struct light *l)
{
    struct vcpu *v = l->v;
    const gva_t rsp = v->gpr[RSP];
    const volatile u64 *f =
        rsp & 7 ? NULL : (const volatile u64 *)tlb_find(v, rsp, FRAME * 8, ACC_READ);
    if (!f || v->cpl || v->rflags & RFLAGS_NT || v->dr7 & 0xFF || atomic_load(&v->posted))
        return to_step(l);
    const u64 rip = f[0], sp = f[3];
    const u64 flags = (v->rflags & ~(u64)(IRET_FLAGS | RFLAGS_RF)) | (f[2] & IRET_FLAGS);
    const u16 cs_sel = (u16)f[1], ss_sel = (u16)f[4];
    const u8 cpl = cs_sel & 3;
    const struct seg *cs = cpl == 0 || cpl == 3 ? noted(l->s, cs_sel, SEG_CODE) : NULL;
    struct seg ss;
    if (!cs || !(cs->attr & SEG_L) || !load_ss(l->s, ss_sel, cpl, &ss)) return to_step(l);
    const u64 table = table_for(l->s, privilege(v, cpl, flags));
    if (!table || !may_run(v, cpl, flags) || !is_canonical(v, rip)) return to_step(l);
    if (cpl == 3 && would_drop_segments(v)) return to_step(l);
    v->nmi_masked = false;
    copy_seg(&v->seg[CS], cs);
    copy_seg(&v->seg[SS], &ss);
    v->gpr[RSP] = sp;
    set_privilege(l->s, cpl, flags, table);
    count(v);
    return go(l->s, rip);
}

/* ---- POPFQ ----------------------------------------------------------------------------------- */

/* Flags that POPF changes, and that say more than how a computation went. */
static u64 other_flags(const struct vcpu *v)
{
    const u64 flags = RFLAGS_TF | RFLAGS_DF | RFLAGS_NT | RFLAGS_AC | RFLAGS_ID | RFLAGS_RF;
    if (v->cpl == 0) return flags | RFLAGS_IF | RFLAGS_IOPL;
    return (v->rflags & RFLAGS_IOPL) == RFLAGS_IOPL ? flags | RFLAGS_IF : flags;
}

static const u8 *light_popf(struct light *l)
{
    struct vcpu *v = l->v;
    const gva_t rsp = v->gpr[RSP];
    const volatile u64 *top =
        rsp & 7 ? NULL : (const volatile u64 *)tlb_find(v, rsp, sizeof *top, ACC_READ);
    if (!top) return to_step(l);
    const u64 image = *top;
    if (((image & ~(u64)RFLAGS_RF) ^ v->rflags) & other_flags(v)) return to_step(l);
    v->rflags = (v->rflags & ~(u64)RFLAGS_ARITH) | (image & RFLAGS_ARITH);
    v->gpr[RSP] = rsp + 8;
    count(v);
    return behind(l);
}

/* ---- the time-stamp counter ------------------------------------------------------------------ */

static const u8 *light_rdtsc(struct light *l)
{
    struct vcpu *v = l->v;
    if (v->cpl && v->cr4 & CR4_TSD) return to_step(l);
    const u64 now = tsc_now(v);
    v->gpr[RAX] = (u32)now;
    v->gpr[RDX] = now >> 32;
    count(v);
    return behind(l);
}

static const u8 *light_rdtscp(struct light *l)
{
    struct vcpu *v = l->v;
    if (v->cpl && v->cr4 & CR4_TSD) return to_step(l);
    v->gpr[RCX] = (u32)v->tsc_aux;
    return light_rdtsc(l);
}

/* ---- x87 registers, vector registers
 * ------------------------------------------------------------------------
 */

static const u8 *light_x87(struct light *l) { return bt_x87_load(l->s) ? behind(l) : to_step(l); }

static const u8 *light_vectors(struct light *l)
{
    struct bt_state *s = l->s;
    struct vcpu *v = l->v;
    load_vectors(s);
    v->stats.bt_vector_loads++;
    return go(s, v->eng.code_base + l->off);
}

static const u8 *(*const light_fn[LIGHTS])(struct light *) = {
    [LIGHT_SYSCALL] = light_syscall, [LIGHT_SYSRET] = light_sysret,   [LIGHT_IRET] = light_iret,
    [LIGHT_X87] = light_x87,         [LIGHT_POPF] = light_popf,       [LIGHT_RDTSC] = light_rdtsc,
    [LIGHT_RDTSCP] = light_rdtscp,   [LIGHT_VECTORS] = light_vectors,
};

const u8 *bt_light(struct vcpu *v, u32 place, u32 t2, u32 flags)
{
    struct light l;
    l.s = state_of(v);
    l.v = v;
    l.place = place;
    l.off = bt_note_place(l.s, place);
    l.behind = t2 & (u32)(BIT(LIGHT_SHIFT) - 1);
    v->rflags = (v->rflags & ~(u64)RFLAGS_ARITH) | (flags >> 8 & 0xD5) | (flags & 1) << 11;
    const u32 kind = t2 >> LIGHT_SHIFT;
    /* RDTSC is not repeatable */
    const u8 *to =
        unlikely(l.s->lockstep && kind >= LIGHT_RDTSC) ? to_step(&l) : light_fn[kind](&l);
    v->eng.rsp = v->gpr[RSP] + v->eng.stack_host;
    return to;
}

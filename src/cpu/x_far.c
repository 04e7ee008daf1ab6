/* x_far - far JMP, CALL and RET: real and virtual-8086 mode, code segments, call gates, tasks.
 * Spec: SDM vol. 3A section 5.8; vol. 2 JMP, CALL, RET. */
#include "cpu/far.h"
#include "cpu/insn_exec.h"
#include "cpu/task.h"
#include "cpu/vcpu_mode.h"

/* A far JMP or CALL on its way. */
struct far_jump {
    u16 sel;
    u64 off;
    u8 opsize;
    bool call;
    u64 next_rip; /* return address of a CALL, where a left task goes on */
};

static int read_far_pointer(struct vcpu *v, const struct insn *i, struct far_jump *j)
{
    u64 buf[2] = {0, 0};
    gva_t lin;
    j->opsize = i->opsize;
    j->next_rip = vcpu_next_rip(v, i);
    if (i->op[0].kind == OPND_FAR) {
        j->off = i->imm & mask_bytes(i->opsize);
        j->sel = i->imm2;
        return 0;
    }
    if (i->op[0].kind != OPND_MEM) return vcpu_raise(v, EXC_UD);
    if (seg_linear(v, i->seg, insn_ea(v, i), i->opsize + 2u, OPND_R, &lin)) return X_FAULT;
    if (vcpu_read(v, lin, buf, i->opsize + 2u)) return X_FAULT;
    memcpy(&j->sel, (u8 *)buf + i->opsize, 2);
    j->off = buf[0] & mask_bytes(i->opsize);
    return 0;
}

/* Push CS:RIP of the caller on the current stack; RSP moves only in @st. */
static int push_return(struct vcpu *v, const struct far_jump *j, u32 bytes, struct far_stack *st)
{
    u64 frame[2] = {j->next_rip, v->seg[CS].sel};
    far_stack_current(v, st);
    return far_push(v, st, frame, 2, bytes);
}

static enum x_result jump_8086(struct vcpu *v, const struct far_jump *j)
{
    struct far_stack st;
    if (j->off > v->seg[CS].limit) return vcpu_raise_err(v, EXC_GP, 0);
    if (j->call) {
        if (push_return(v, j, j->opsize, &st)) return X_FAULT;
        v->gpr[RSP] = st.sp;
    }
    seg_set_real(v, CS, j->sel);
    v->rip = j->off;
    vcpu_cs_changed(v);
    return X_JUMP;
}

/* ---- straight to a code segment -------------------------------------------------------------- */

static enum x_result jump_code(struct vcpu *v, const struct far_jump *j)
{
    struct far_target t;
    struct far_stack st;
    u32 err = j->sel & 0xFFFC;
    if (far_read_code(v, j->sel, &t)) return X_FAULT;
    u8 dpl = seg_dpl(&t.cs);
    bool ok = seg_is_conforming(&t.cs) ? dpl <= v->cpl : dpl == v->cpl && (j->sel & 3) <= v->cpl;
    if (!ok) return vcpu_raise_err(v, EXC_GP, err);
    if (!(t.cs.attr & SEG_P)) return vcpu_raise_err(v, EXC_NP, err);
    t.cpl = v->cpl;
    t.rip = j->off;
    if (far_check_rip(v, &t.cs, t.rip)) return X_FAULT;
    if (seg_set_accessed(v, j->sel, &t.desc)) return X_FAULT;
    if (j->call) {
        if (push_return(v, j, j->opsize, &st)) return X_FAULT;
        v->gpr[RSP] = st.sp;
    }
    far_commit(v, &t);
    vcpu_cs_changed(v);
    return X_JUMP;
}

/* ---- through a call gate --------------------------------------------------------------------- */

struct call_gate {
    u16 sel;
    u64 rip;
    u8 params; /* elements to copy from the caller's stack */
    u8 bytes;  /* of one element: 2, 4, 8 */
};

static int read_call_gate(struct vcpu *v, const struct far_jump *j, struct call_gate *g)
{
    u64 d[2];
    bool wide = vcpu_is_long(v);
    u32 err = j->sel & 0xFFFC;
    if (seg_read_desc(v, j->sel, EXC_GP, d, wide)) return X_FAULT;
    if (wide && bits(d[1], 44, 40)) return vcpu_raise_err(v, EXC_GP, err);
    if (!(d[0] & BIT(47))) return vcpu_raise_err(v, EXC_NP, err);
    g->sel = (u16)(d[0] >> 16);
    g->params = wide ? 0 : (d[0] >> 32) & 0x1F;
    g->bytes = wide ? 8 : bits(d[0], 43, 40) == SYS_CALL32 ? 4 : 2;
    g->rip = (d[0] & 0xFFFF) | (d[0] >> 48) << 16 | d[1] << 32;
    if (g->bytes == 2) g->rip &= 0xFFFF;
    return 0;
}

static int gate_code(struct vcpu *v, const struct call_gate *g, bool call, struct far_target *t)
{
    u32 err = g->sel & 0xFFFC;
    if (far_read_code(v, g->sel, t)) return X_FAULT;
    u8 dpl = seg_dpl(&t->cs);
    bool stay = seg_is_conforming(&t->cs) || dpl == v->cpl;
    if (dpl > v->cpl || (!call && !stay)) return vcpu_raise_err(v, EXC_GP, err);
    if (vcpu_is_long(v) && !(t->cs.attr & SEG_L)) return vcpu_raise_err(v, EXC_GP, err);
    if (!(t->cs.attr & SEG_P)) return vcpu_raise_err(v, EXC_NP, err);
    t->cpl = stay ? v->cpl : dpl;
    t->rip = g->rip;
    return seg_set_accessed(v, g->sel, &t->desc);
}

/* Inner stack and its frame: parameters between the old stack pointer and the return address. */
static int push_inner(struct vcpu *v, const struct far_jump *j, const struct call_gate *g, u8 cpl,
                      struct far_stack *st)
{
    u64 f[2 + 31 + 2] = {j->next_rip, v->seg[CS].sel};
    u32 n = 2;
    for (u32 k = 0; k < g->params; k++, n++) {
        if (stack_peek(v, (u64)k * g->bytes, &f[n], g->bytes)) return X_FAULT;
    }
    f[n++] = v->gpr[RSP];
    f[n++] = v->seg[SS].sel;
    if (!vcpu_is_long(v)) {
        if (far_stack_tss(v, cpl, st)) return X_FAULT;
        return far_push(v, st, f, n, g->bytes);
    }
    *st = (struct far_stack){.mask = ~0ull, .cpl = cpl, .long_mode = true};
    st->ss = (struct seg){.sel = cpl, .attr = SEG_NULL | (u32)cpl << SEG_DPL_SHIFT};
    if (far_stack_tss64(v, cpl, &st->sp)) return X_FAULT;
    return far_push(v, st, f, n, 8);
}

static enum x_result jump_gate(struct vcpu *v, const struct far_jump *j)
{
    struct call_gate g = {0};
    struct far_target t;
    struct far_stack st;
    if (read_call_gate(v, j, &g)) return X_FAULT;
    if (gate_code(v, &g, j->call, &t)) return X_FAULT;
    bool inner = t.cpl < v->cpl;
    if (far_check_rip(v, &t.cs, t.rip)) return X_FAULT;
    if (j->call) {
        if (inner ? push_inner(v, j, &g, t.cpl, &st) : push_return(v, j, g.bytes, &st))
            return X_FAULT;
        if (inner) v->seg[SS] = st.ss;
        v->gpr[RSP] = st.sp;
    }
    far_commit(v, &t);
    vcpu_cs_changed(v);
    return X_JUMP;
}

/* ---- system descriptors ---------------------------------------------------------------------- */

static enum x_result jump_task(struct vcpu *v, const struct far_jump *j, u16 tss_sel)
{
    enum task_reason why = j->call ? TASK_CALL : TASK_JMP;
    return task_switch(v, tss_sel, why, j->next_rip) ? X_FAULT : X_JUMP;
}

static enum x_result jump_system(struct vcpu *v, const struct far_jump *j, const u64 *desc)
{
    struct seg s;
    u32 err = j->sel & 0xFFFC;
    seg_from_desc(&s, j->sel, desc[0]);
    u8 type = seg_sys_type(&s), dpl = seg_dpl(&s);
    bool reach = dpl >= v->cpl && dpl >= (j->sel & 3), is_long = vcpu_is_long(v);
    if (!reach) return vcpu_raise_err(v, EXC_GP, err);
    if (type == SYS_CALL32 || (type == SYS_CALL16 && !is_long)) return jump_gate(v, j);
    if (is_long) return vcpu_raise_err(v, EXC_GP, err);
    switch (type) {
    case SYS_TASK_GATE:
        if (!(s.attr & SEG_P)) return vcpu_raise_err(v, EXC_NP, err);
        return jump_task(v, j, (u16)(desc[0] >> 16));
    case SYS_TSS16:
    case SYS_TSS32: return jump_task(v, j, j->sel);
    default: return vcpu_raise_err(v, EXC_GP, err);
    }
}

static enum x_result far_jump(struct vcpu *v, const struct insn *i, bool call)
{
    struct far_jump j = {.call = call};
    u64 d[2];
    if (read_far_pointer(v, i, &j)) return X_FAULT;
    if (!vcpu_is_protected(v)) return jump_8086(v, &j);
    if (!(j.sel & 0xFFFC)) return vcpu_raise_err(v, EXC_GP, 0);
    if (seg_read_desc(v, j.sel, EXC_GP, d, false)) return X_FAULT;
    if (d[0] & BIT(44)) return jump_code(v, &j);
    return jump_system(v, &j, d);
}

enum x_result x_jmp_far(struct vcpu *v, const struct insn *i) { return far_jump(v, i, false); }
enum x_result x_call_far(struct vcpu *v, const struct insn *i) { return far_jump(v, i, true); }

/* ---- RET far --------------------------------------------------------------------------------- */

static enum x_result ret_8086(struct vcpu *v, u16 sel, u64 rip, u64 drop)
{
    if (rip > v->seg[CS].limit) return vcpu_raise_err(v, EXC_GP, 0);
    stack_add(v, (s64)drop);
    seg_set_real(v, CS, sel);
    v->rip = rip;
    vcpu_cs_changed(v);
    return X_JUMP;
}

static enum x_result ret_outer(struct vcpu *v, const struct insn *i, const struct far_target *t,
                               u64 imm)
{
    u64 sp, sel, depth = 2ull * i->opsize + imm;
    struct seg ss;
    if (stack_peek(v, depth, &sp, i->opsize)) return X_FAULT;
    if (stack_peek(v, depth + i->opsize, &sel, i->opsize)) return X_FAULT;
    if (far_return_stack(v, (u16)sel, t, &ss)) return X_FAULT;
    if (far_check_rip(v, &t->cs, t->rip)) return X_FAULT;
    far_commit(v, t);
    v->seg[SS] = ss;
    vcpu_cs_changed(v);
    stack_set(v, sp + imm);
    far_drop_segments(v);
    vcpu_cs_changed(v);
    return X_JUMP;
}

enum x_result x_ret_far(struct vcpu *v, const struct insn *i)
{
    u64 rip, sel, imm = i->opnds && i->op[0].kind == OPND_IMM ? (u16)i->imm : 0;
    struct far_target t;
    if (stack_peek(v, 0, &rip, i->opsize)) return X_FAULT;
    if (stack_peek(v, i->opsize, &sel, i->opsize)) return X_FAULT;
    if (!vcpu_is_protected(v)) return ret_8086(v, (u16)sel, rip, 2ull * i->opsize + imm);
    if (far_return_code(v, (u16)sel, rip, &t)) return X_FAULT;
    if (t.cpl > v->cpl) return ret_outer(v, i, &t, imm);
    if (far_check_rip(v, &t.cs, t.rip)) return X_FAULT;
    stack_add(v, (s64)(2ull * i->opsize + imm));
    far_commit(v, &t);
    vcpu_cs_changed(v);
    return X_JUMP;
}

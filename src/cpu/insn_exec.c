/* insn_exec - binds decoded instructions to the functions of isa/insn.def, with the rules that come
 * from the row: code size, LOCK, CPU model at bind time; privilege and mode at run time. */
#include "cpu/insn_exec.h"

#include <Zydis/Zydis.h>

#include "cpu/cpuid.h"
#include "isa/feature.h"

static insn_exec_fn *const row_exec[] = {
    NULL, /* COMPUTE */
#define INSN(mnemonic, form, class, attr, exec, spec) exec,
#include "isa/insn.def"
#undef INSN
};

insn_exec_fn *insn_row_exec(u16 row) { return row < ARRAY_LEN(row_exec) ? row_exec[row] : NULL; }

/* Does the guest's processor have this instruction? */
static bool is_offered(const struct vcpu *v, const struct insn *i)
{
    if (!v->model) return true;
    for (unsigned k = 0; k < ARRAY_LEN(i->feature); k++) {
        if (i->feature[k] != FEAT_BASE && !cpu_model_has(v->model, i->feature[k])) return false;
    }
    return true;
}

/* Processors without BMI1 and LZCNT ignore the F3 of TZCNT and LZCNT. A DS override takes its
 * place: the length stays, and the segment of the operand is in i->seg already. */
static bool respell_as_scan(struct insn *i)
{
    if (i->mnemonic != ZYDIS_MNEMONIC_TZCNT && i->mnemonic != ZYDIS_MNEMONIC_LZCNT) return false;
    for (unsigned k = 0; k < i->len && i->bytes[k] != 0x0F; k++) {
        if (i->bytes[k] == 0xF3) i->bytes[k] = 0x3E;
    }
    i->mnemonic = i->mnemonic == ZYDIS_MNEMONIC_TZCNT ? ZYDIS_MNEMONIC_BSF : ZYDIS_MNEMONIC_BSR;
    i->feature[0] = FEAT_BASE;
    i->head = 0;
    i->flags_r = i->flags_w = IF_ALL; /* ZF defined, the others left undefined */
    return true;
}

/* Rules known once the code size is. */
static bool is_allowed(const struct insn *i)
{
    u16 attr = insn_rows[i->row].attr;
    if (attr & A_NO64 && i->mode == ISA_64) return false;
    if (attr & A_ONLY64 && i->mode != ISA_64) return false;
    return i->row == INSN_COMPUTE || !(i->prefixes & PFX_LOCK) || attr & A_LOCK;
}

/* Every instruction an engine is about to execute or translate comes through here. */
static void trace_bound(const struct vcpu *v, const struct insn *i)
{
    struct trace_ring *r = (struct trace_ring *)(uintptr_t)&v->trace;
    TRACE(r, INSN, i->row, i->mnemonic, i->mode);
}

void insn_bind(const struct vcpu *v, struct insn *i, insn_exec_fn *compute)
{
    trace_bound(v, i);
    if (i->row >= ARRAY_LEN(row_exec) || !is_allowed(i) ||
        (!is_offered(v, i) && !respell_as_scan(i))) {
        i->exec = x_ud;
    } else if (i->row == INSN_COMPUTE) {
        i->exec = compute;
    } else if (insn_rows[i->row].attr & (A_CPL0 | A_PROT) || i->fpu != FPU_NONE) {
        i->exec = insn_exec_checked;
    } else {
        i->exec = row_exec[i->row];
    }
}

enum x_result insn_exec_checked(struct vcpu *v, const struct insn *i)
{
    u16 attr = insn_rows[i->row].attr;
    if (attr & A_PROT && !vcpu_is_protected(v)) return vcpu_raise(v, EXC_UD);
    if (attr & A_CPL0 && v->cpl) return vcpu_raise_err(v, EXC_GP, 0);
    if (v->fpu_fault[i->fpu]) return vcpu_raise(v, v->fpu_fault[i->fpu]);
    return row_exec[i->row](v, i);
}

/* x_debug - MOV to and from debug registers. Spec: SDM vol. 3B section 18.2; vol. 2B MOV. */
#include "cpu/access.h"
#include "cpu/cr.h"
#include "cpu/insn_exec.h"
#include "cpu/vcpu_mode.h"

/* DR4 and DR5 are other names of DR6 and DR7, unless CR4.DE says they do not exist. Returns false
 * with the fault raised. */
static bool check_dr(struct vcpu *v, u8 *dr)
{
    if (*dr > 7 || ((*dr == 4 || *dr == 5) && v->cr4 & CR4_DE)) {
        vcpu_raise(v, EXC_UD);
        return false;
    }
    if (*dr == 4 || *dr == 5) *dr += 2;
    if (v->dr7 & DR7_GD) {
        vcpu_raise(v, EXC_DB);
        v->exc.payload = DR6_BD;
        return false;
    }
    return true;
}

enum x_result x_mov_dr_read(struct vcpu *v, const struct insn *i)
{
    u8 dr = i->op[1].reg;
    if (!check_dr(v, &dr)) return X_FAULT;
    u64 val = dr < 4 ? v->dr[dr] : dr == 6 ? v->dr6 : v->dr7;
    v->gpr[i->op[0].reg & (GPRS - 1)] = v->mode == ISA_64 ? val : (u32)val;
    return X_NEXT;
}

enum x_result x_mov_dr_write(struct vcpu *v, const struct insn *i)
{
    u8 dr = i->op[0].reg;
    u64 val = v->gpr[i->op[1].reg & (GPRS - 1)];
    if (!check_dr(v, &dr)) return X_FAULT;
    if (v->mode != ISA_64) val = (u32)val;
    if (dr >= 6 && val >> 32) return vcpu_raise_err(v, EXC_GP, 0);
    if (dr < 4) v->dr[dr] = val;
    else if (dr == 6) v->dr6 = (val & DR6_WRITABLE) | DR6_FIXED;
    else v->dr7 = (val & DR7_WRITABLE) | DR7_FIXED;
    if (dr != 6) v->mmu->flush_all(v); /* pages with an armed breakpoint have no fast entries */
    vcpu_update_step(v);
    return X_NEXT;
}

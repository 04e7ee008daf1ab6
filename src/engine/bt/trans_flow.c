/* trans_flow.c - direct jumps, JRCXZ, LOOP, and instructions that only wait or order.
 * CALL, RET and indirect jumps: trans_stack.c. Spec: SDM vol. 2A. */
#include "engine/bt/trans_flow.h"

#include <Zydis/Mnemonic.h>

/* ---- control flow ---------------------------------------------------------------------------- */

static s64 target_of(const struct trans *t) { return next_off(t) + (s64)t->i->imm; }

enum tr tr_jmp_rel(struct trans *t)
{
    if (t->i->opsize != t->word) return TR_NONE;
    tr_branch(t, EM_JMP, target_of(t));
    return TR_END;
}
enum tr tr_jcc(struct trans *t)
{
    if (t->i->opsize != t->word) return TR_NONE;
    if (tr_turns(t, t->k)) tr_branch(t, t->i->cc ^ 1, next_off(t));
    else tr_branch(t, t->i->cc, target_of(t));
    t->in_t1 = t->was_in_t1;
    return TR_NEXT;
}

/* JRCXZ, or JECXZ */
static u32 put_jcxz(struct trans *t)
{
    if (t->i->addrsize == 4) em_byte(&t->e, 0x67);
    return em_jump8(&t->e, EM_JRCXZ);
}
enum tr tr_jcxz(struct trans *t)
{
    if (t->i->opsize != t->word) return TR_NONE;
    u32 yes = put_jcxz(t), no = em_jump8(&t->e, EM_JMP8);
    em_fix8(&t->e, yes);
    tr_branch(t, EM_JMP, target_of(t));
    em_fix8(&t->e, no);
    return TR_NEXT;
}
/* LOOP, LOOPE, LOOPNE: @cc is the further condition. */
static enum tr loop_if(struct trans *t, int cc)
{
    u32 width = t->i->addrsize == 4 ? EM_32 : EM_64;
    if (t->i->opsize != t->word) return TR_NONE;
    em_mem_op(&t->e, EM_LEA, width, RCX, (struct em_mem){RCX, REG_NONE, 0, -1});
    u32 no = put_jcxz(t);
    tr_branch(t, cc, target_of(t));
    em_fix8(&t->e, no);
    return TR_NEXT;
}
enum { CC_Z = 4, CC_NZ = 5 };
enum tr tr_loop(struct trans *t) { return loop_if(t, EM_JMP); }
enum tr tr_loope(struct trans *t) { return loop_if(t, CC_Z); }
enum tr tr_loopne(struct trans *t) { return loop_if(t, CC_NZ); }

/* ---- hints ----------------------------------------------------------------------------------- */

enum tr tr_hint(struct trans *t)
{
    if (t->i->mnemonic == ZYDIS_MNEMONIC_PAUSE) em_bytes(&t->e, "\xF3\x90", 2);
    return TR_NEXT;
}
enum tr tr_fence(struct trans *t)
{
    switch (t->i->mnemonic) {
    case ZYDIS_MNEMONIC_LFENCE: em_bytes(&t->e, "\x0F\xAE\xE8", 3); return TR_NEXT;
    case ZYDIS_MNEMONIC_MFENCE: em_bytes(&t->e, "\x0F\xAE\xF0", 3); return TR_NEXT;
    case ZYDIS_MNEMONIC_SFENCE: em_bytes(&t->e, "\x0F\xAE\xF8", 3); return TR_NEXT;
    case ZYDIS_MNEMONIC_SERIALIZE: tr_poll(t); return TR_NEXT; /* has code changed? */
    default: return TR_NONE;
    }
}

/* light.h - instructions executed without leaving translated code for good ("light exits"): a C
 * function called on the host stack, with the guest's vector registers where they are, after which
 * translated code goes on, here or at the instruction's target.
 *
 * A site puts its place into T1 and the code offset behind itself, with the kind above it,
 * into T2 and jumps to stubs.light; enter.S stores the general registers and the arithmetic flags
 * into *v, calls bt_light() and goes where that says with what *v then holds. Whatever is not the
 * plain case is left to the ordinary step, with nothing changed: faults, single-stepping, missing
 * translations, waiting events. */
#ifndef ENGINE_BT_LIGHT_H
#define ENGINE_BT_LIGHT_H
#include "engine/bt/bt_state.h"

enum bt_light {
    LIGHT_SYSCALL,
    LIGHT_SYSRET, /* to 64-bit code */
    LIGHT_IRET,   /* IRETQ, from CPL 0 */
    LIGHT_X87,    /* load the x87 registers and go on */
    LIGHT_RDTSC,  /* from here on not in lockstep, which has them executed as steps */
    LIGHT_RDTSCP,
    LIGHT_POPF,    /* POPFQ that changes nothing but arithmetic flags */
    LIGHT_VECTORS, /* load the vector registers and go on in the variant that has them */
    LIGHTS,
};
enum { LIGHT_SHIFT = 26 }; /* of the kind in T2 */
static_assert(BT_CODE_BYTES == 1 << LIGHT_SHIFT, "T2 of a light exit: kind | code offset");

/**
 * bt_light - execute the instruction at @place (bt_place), called from enter.S.
 * @t2     kind << LIGHT_SHIFT | code offset behind the site
 * @flags  AX after LAHF and SETO AL: the arithmetic flags
 * Returns where to go on: translated code, or an exit of enter.S, with T1 in v->eng.exit_arg.
 * General registers only, and aligned accesses only: the guest's vector registers may be live, and
 * AC is set.
 */
const u8 *bt_light(struct vcpu *v, u32 place, u32 t2, u32 flags);
/** bt_light_note_iret - an IRETQ was just executed: remember the segments it loaded with their
 * descriptors, so that the next one with the same needs only compare. */
void bt_light_note_iret(struct bt_state *s);
/** bt_light_continue - host code at v->rip for the present mode and s->bt.vec_loaded, having made
 * it current (jump cache, variant); NULL when there is anything else to do first. */
const u8 *bt_light_continue(struct bt_state *s);
#endif

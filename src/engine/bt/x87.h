/* x87.h - the guest's x87 and MMX registers in the host's, while translated code uses them.
 *
 * The first x87 or MMX instruction of a block looks at v->eng_x87.absent and, unless it is 0, has
 * a light exit load the registers from v->fx. They stay loaded, through all blocks and whatever is
 * executed on the host stack, until translated code is left. Loaded are they only with every
 * exception masked and none pending, and an FLDCW that unmasks one is left to the interpreter: so
 * nothing copied raises #MF or FERR#, and FOP and FDP, which the host keeps for the last unmasked
 * exception only (bt_x87_init() looks whether it does), never change. FIP is mapped back when the
 * registers are saved. Spec: SDM vol. 1 sections 8.1.8, 13.7, 13.8; vol. 3A section 13. */
#ifndef ENGINE_BT_X87_H
#define ENGINE_BT_X87_H
#include "engine/bt/bt_state.h"

/** bt_x87_init - what loading and saving need; s->bt.has_x87 tells whether they are possible. */
int bt_x87_init(struct bt_state *s, struct err *e) MUST_USE;
void bt_x87_fini(struct bt_state *s);
/** bt_x87_load - from v->fx into the host's registers; false, and nothing done, when they may not
 * be there. Callable with the guest's vector registers live. */
bool bt_x87_load(struct bt_state *s);
/** bt_x87_store - the reverse, and a clean x87 state for C. Only if they are loaded. */
void bt_x87_store(struct bt_state *s);
/** bt_x87_save - call whenever translated code has been left, before anything of it is dropped: C
 * may use x87 again. Without BMI2 translated code uses MMX registers itself, and loads nothing. */
static inline void bt_x87_save(struct bt_state *s)
{
    bt_mmx_done(&s->bt);
    if (unlikely(!s->v->eng_x87.absent)) bt_x87_store(s);
}
#endif

/* engine/bt/enter.h - the routines of enter.S and fill.S: into translated code and out of it. But
 * for bt_enter, nothing in C calls them: their addresses are jumped to from translated code and
 * from signal handlers, with the registers of bt_internal.h. */
#ifndef ENGINE_BT_ENTER_H
#define ENGINE_BT_ENTER_H
#include "base/types.h"

struct vcpu;

/** bt_enter - run translated code from @host_pc, a block's far entry, with @v's registers. Returns
 * enum bt_exit, the registers in @v again. */
u32 bt_enter(struct vcpu *v, const void *host_pc);
void bt_exit_step(void);
void bt_exit_link(void);
void bt_exit_lookup(void);
void bt_exit_jump(void);
void bt_exit_dropped(void);
void bt_exit_poll(void);
void bt_exit_light(void);
void bt_exit_leave(void); /* T1 = linear address to go on at: BT_EXIT_LOOKUP, without a look-up */
void bt_exit_fill_read(void); /* fill.S: no entry for T1; T2 = host address to go on at */
void bt_exit_fill_write(void);
/* What bt_enter loads and saves vector registers with, by the host's width. */
void bt_vec_keep(struct vcpu *v); /* neither loads nor saves */
void bt_vec_load128(struct vcpu *v);
void bt_vec_save128(struct vcpu *v);
void bt_vec_load256(struct vcpu *v);
void bt_vec_save256(struct vcpu *v);
void bt_vec_load512(struct vcpu *v);
void bt_vec_save512(struct vcpu *v);
#endif

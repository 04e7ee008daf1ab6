/* dump.h - translated blocks as text on standard error, for --dump, for lockstep's report and for
 * the last words of a monitor whose translated code failed. */
#ifndef ENGINE_BT_DUMP_H
#define ENGINE_BT_DUMP_H
#include "engine/bt/bt_state.h"

/** bt_dump_insn - one instruction at @at: address, bytes, text. */
void bt_dump_insn(u64 at, const struct insn *i);
/** bt_dump_host - the host code of @s, with the guest offset each part belongs to. */
void bt_dump_host(const struct bt_code *c, const struct bt_slot *s);
/** bt_dump_block - @slot, whose first instruction is at linear @rip; @what of enum vcpu_dump. */
void bt_dump_block(const struct bt_state *s, const struct bt_slot *slot, u64 rip, u8 what);
/** bt_dump_bug - what is known of a host fault at @pc that translated code must not raise. */
void bt_dump_bug(const struct bt_state *s, const struct bt_slot *slot, u64 pc, u64 trap);
#endif

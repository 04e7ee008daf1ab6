/* trans_system.h - the system instructions with an inline form or a light exit (trans_system.c),
 * for the table of translate.c. */
#ifndef ENGINE_BT_TRANS_SYSTEM_H
#define ENGINE_BT_TRANS_SYSTEM_H
#include "engine/bt/trans.h"

enum tr tr_cli(struct trans *t);
enum tr tr_sti(struct trans *t);
enum tr tr_cld(struct trans *t);
enum tr tr_std(struct trans *t);
enum tr tr_clac(struct trans *t);
enum tr tr_stac(struct trans *t);
enum tr tr_pushf(struct trans *t);
enum tr tr_popf(struct trans *t);
enum tr tr_swapgs(struct trans *t);
enum tr tr_rdfsbase(struct trans *t);
enum tr tr_rdgsbase(struct trans *t);
enum tr tr_mov_from_seg(struct trans *t);
enum tr tr_mov_from_cr(struct trans *t);
enum tr tr_bit_string(struct trans *t);
enum tr tr_syscall(struct trans *t);
enum tr tr_sysret(struct trans *t);
enum tr tr_iret(struct trans *t);
enum tr tr_rdtsc(struct trans *t);
enum tr tr_rdtscp(struct trans *t);
enum tr tr_wrfsbase(struct trans *t);
enum tr tr_wrgsbase(struct trans *t);
enum tr tr_mov_to_cr(struct trans *t);
/** tr_vectors - at an instruction that needs vector registers: go on where they are loaded. */
enum tr tr_vectors(struct trans *t);
#endif

/* trans_flow.h - the rows trans_flow.c has inline forms of. Private to trans*.c. */
#ifndef ENGINE_BT_TRANS_FLOW_H
#define ENGINE_BT_TRANS_FLOW_H
#include "engine/bt/trans.h"

enum tr tr_jmp_rel(struct trans *t);
enum tr tr_jcc(struct trans *t);
enum tr tr_jcxz(struct trans *t);
enum tr tr_loop(struct trans *t);
enum tr tr_loope(struct trans *t);
enum tr tr_loopne(struct trans *t);
enum tr tr_hint(struct trans *t);
enum tr tr_fence(struct trans *t);
#endif

/* engine/bt/bt.h - the binary translator: guest code of 64-bit mode rewritten into safe host code,
 * kept in a code cache. */
#ifndef ENGINE_BT_BT_H
#define ENGINE_BT_BT_H
#include "cpu/engine.h"

extern const struct engine engine_bt;
#endif

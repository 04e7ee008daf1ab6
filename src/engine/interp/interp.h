/* engine/interp/interp.h - the interpreter: the reference loop over exec functions, the oracle for
 * all other engines. */
#ifndef ENGINE_INTERP_INTERP_H
#define ENGINE_INTERP_INTERP_H
#include "cpu/engine.h"

extern const struct engine engine_interp;
#endif

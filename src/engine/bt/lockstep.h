/* engine/bt/lockstep.h - the translator checked against the interpreter, block by block. For
 * finding mistakes; slow. One vCPU. */
#ifndef ENGINE_BT_LOCKSTEP_H
#define ENGINE_BT_LOCKSTEP_H
#include "cpu/engine.h"

/** engine_lockstep - stops with RUN_FAILED at the first block whose translation does something else
 * than the interpreter; both states, the guest's and the host's code go to standard error. */
extern const struct engine engine_lockstep;
#endif

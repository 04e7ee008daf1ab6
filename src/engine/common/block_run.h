/* engine/common/block_run.h - execute one block of decoded instructions: the interpreter's inner
 * loop, and what the translator falls back to for code it does not translate. */
#ifndef ENGINE_COMMON_BLOCK_RUN_H
#define ENGINE_COMMON_BLOCK_RUN_H
#include "engine/common/cache.h"

/** block_run - find or decode the block at v->rip and execute it until something leaves it or
 * v->attention is set. Returns X_JUMP or X_AGAIN (state advanced), X_HALT or X_SHUTDOWN. */
enum x_result block_run(struct cache *c, struct vcpu *v);
/** block_run_once - the same for code that is not to be found again. */
enum x_result block_run_once(struct cache *c, struct vcpu *v);
/** block_run_first - execute only the instruction at v->rip, precisely; results as block_run. */
enum x_result block_run_first(struct cache *c, struct vcpu *v);
/** block_exec_first - the same for a block that block_single() just gave. */
enum x_result block_exec_first(struct vcpu *v, const struct block *b);
/** block_run_step - while ATT_STEP is set: one instruction with everything around it, as
 * step_one(), but from decoded code when only an interrupt shadow asks for it. */
enum x_result block_run_step(struct cache *c, struct vcpu *v);
/** block_find - the decoded block at v->rip; NULL when the instruction there crosses a page or
 * cannot be fetched or decoded. On success *gpa is its physical address. */
const struct block *block_find(struct cache *c, struct vcpu *v, gpa_t *gpa);
/** block_pass - the same, decoded now and not to be found again: valid until the next call. */
const struct block *block_pass(struct cache *c, struct vcpu *v, gpa_t *gpa);
/** block_single - the same for nothing but the instruction at v->rip: valid until the next call. */
const struct block *block_single(struct cache *c, struct vcpu *v);
#endif

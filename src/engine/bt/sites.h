/* engine/bt/sites.h - places in translated code whose accesses keep faulting. Counted by host
 * address in two small hashed tables; what collides is forgotten. Owner: the vCPU's thread, also
 * while it serves a host fault. */
#ifndef ENGINE_BT_SITES_H
#define ENGINE_BT_SITES_H
#include "engine/bt/code.h"

struct bt_state;

enum {
    SLOW_SITES = 256,
    SLOW_FAULTS_MAX = 64, /* faults that nothing cures, before the interpreter has the site */
    HOT_SITES = 256,
    MISS_SITES = 1024,
    MISSES_MAX = 4,      /* host faults of a site for want of an entry, before it is tested for */
    MISSES_NS = 4000000, /* all within this time: a test makes code slower and longer */
};
/* A site whose faults the tables could not cure. */
struct slow_site {
    u64 pc;
    u32 count;
};
/* A site that found no entry. */
struct miss_site {
    u64 pc;
    u32 count;
    u64 since_ns; /* of the first one counted */
};
/* A block found running. */
struct hot_site {
    u32 place, count;
};
struct bt_sites {
    struct hot_site hot[HOT_SITES];
    struct slow_site slow[SLOW_SITES];
    struct miss_site miss[MISS_SITES];
    const struct bt_slot *renew; /* to be translated again, soon; NULL: none */
    u64 renew_rip, renew_ctx, renew_flushes;
};

/** bt_slow_site - fault.c: the access at host @pc, guest instruction @off of @slot's page, could
 * not be made fast, and not because of the guest: after some times the instruction is left to the
 * interpreter. */
void bt_slow_site(struct bt_state *s, const struct bt_slot *slot, u16 off, u64 pc);
/** bt_miss - fill.c: the access at host @pc found no entry: after some times it will be tested for
 * one. True: leave translated code for that. */
bool bt_miss(struct bt_state *s, const struct bt_slot *slot, u16 off, u64 pc);
/** bt_renew - fill.c: translate what bt_miss chose. Outside of translated code. */
void bt_renew(struct bt_state *s);
#endif

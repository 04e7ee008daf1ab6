/* breakpoint - see breakpoint.h. */
#include "cpu/breakpoint.h"

#include "cpu/vcpu_mode.h"

static u32 find(const struct vcpu *v, gva_t at)
{
    u32 i = 0;
    while (i < v->breaks.count && v->breaks.at[i] != at) i++;
    return i;
}

bool vcpu_break_at(const struct vcpu *v, gva_t at) { return find(v, at) < v->breaks.count; }

int vcpu_break_add(struct vcpu *v, gva_t at)
{
    struct breakpoints *b = &v->breaks;
    if (vcpu_break_at(v, at)) return E_BUSY;
    if (b->count == BREAKPOINTS_MAX) return E_NOSPC;
    b->at[b->count++] = at;
    vcpu_update_step(v);
    return 0;
}

int vcpu_break_remove(struct vcpu *v, gva_t at)
{
    struct breakpoints *b = &v->breaks;
    u32 i = find(v, at);
    if (i == b->count) return E_NOENT;
    b->at[i] = b->at[--b->count];
    vcpu_update_step(v);
    return 0;
}

void vcpu_break_begin(struct vcpu *v)
{
    v->breaks.resumed = vcpu_linear_rip(v);
    v->breaks.resuming = true;
}

bool vcpu_break_due(struct vcpu *v)
{
    gva_t at = vcpu_linear_rip(v);
    v->breaks.resuming &= at == v->breaks.resumed;
    return !v->breaks.resuming && vcpu_break_at(v, at);
}

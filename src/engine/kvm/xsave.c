/* xsave - vector and floating-point state between struct vcpu and KVM's XSAVE area: the standard
 * format with the host's offsets. Spec: SDM vol. 1 section 13.4; api.rst KVM_GET_XSAVE. */
#include <string.h>

#include "engine/kvm/kvm_internal.h"

enum { LEGACY_BYTES = 160 };

/* One component of @v from or to its place in the area. */
static void copy_component(struct vcpu *v, u8 *at, u32 bit, bool store)
{
    const struct xstate_comp *c = &xstate_comps[bit];
    if (bit == XSTATE_OPMASK || bit == XSTATE_PKRU) {
        void *own = bit == XSTATE_OPMASK ? (void *)v->k : (void *)&v->pkru;
        size_t bytes = bit == XSTATE_OPMASK ? sizeof v->k : sizeof v->pkru;
        memcpy(store ? own : at, store ? at : own, bytes);
    }
    for (u32 r = 0; c->width && r < 16; r++) {
        u8 *own = &v->vec[c->reg + r][c->from], *theirs = at + r * c->width;
        memcpy(store ? own : theirs, store ? theirs : own, c->width);
    }
}

int kvm_xsave_pack(const struct kvm_cpu *k, const struct vcpu *v, u8 *area, struct err *e)
{
    struct vcpu *mine = (struct vcpu *)(uintptr_t)v; /* only read */
    const u64 have = k->vm->xcr0;
    u64 beyond = xstate_inuse(v) & ~have;
    if (beyond)
        return err_set(e, E_UNSUPPORTED,
                       "KVM: the guest uses state components %#llx, this KVM "
                       "has %#llx",
                       (unsigned long long)beyond, (unsigned long long)have);
    memset(area, 0, k->vm->xsave_bytes);
    memcpy(area, &v->fx, LEGACY_BYTES);
    memcpy(area + XSAVE_HEADER, &have, sizeof have);
    copy_component(mine, area + LEGACY_BYTES, XSTATE_SSE, false);
    for (u32 b = 2; b < XSTATE_BITS; b++) {
        if (have & BIT(b)) copy_component(mine, area + k->vm->xoffset[b], b, false);
    }
    return 0;
}

void kvm_xsave_unpack(const struct kvm_cpu *k, struct vcpu *v)
{
    static const u8 initial[1024]; /* no component is longer, and all start as zeros */
    u8 *area = k->xsave;
    u64 present;
    u32 mask = v->fx.mxcsr_mask;
    memcpy(&present, area + XSAVE_HEADER, sizeof present);
    memcpy(&v->fx, area, LEGACY_BYTES);
    v->fx.rsvd = 0;
    v->fx.mxcsr_mask = mask;
    copy_component(v, area + LEGACY_BYTES, XSTATE_SSE, true);
    for (u32 b = 2; b < XSTATE_BITS; b++) {
        if (!(k->vm->xcr0 & BIT(b))) continue;
        u8 *at = present & BIT(b) ? area + k->vm->xoffset[b] : (u8 *)(uintptr_t)initial;
        copy_component(v, at, b, true);
    }
}

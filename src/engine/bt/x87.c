/* x87.c - see x87.h. Compiled for general registers only (Makefile). XSAVE and XRSTOR of the x87
 * component alone leave vector registers and MXCSR as they are, which FXSAVE and FXRSTOR do not. */
#include "engine/bt/x87.h"

#include "cpu/x87.h"
#include "engine/common/hostmem.h"

enum { XFEATURE_X87 = 1, FCW_MASKS = 0x3F, FCW_INIT = 0x37F };

/* Standard format: the legacy region and the header. */
struct bt_x87_area {
    struct fxsave fx;
    u64 xstate_bv, rest[7];
} __attribute__((aligned(64)));
static_assert(sizeof(struct bt_x87_area) == 576, "XSAVE area");

/* ---- what the host does ---------------------------------------------------------------------- */

static bool has_xsave(void)
{
    enum { LEAF_1_ECX_OSXSAVE = 1 << 27 };
    u32 a = 1, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return c & LEAF_1_ECX_OSXSAVE;
}

/* FOP and FDP stay as they were when no exception is unmasked. */
static bool keeps_pointers(struct fxsave *fx)
{
    static const float one = 1;
    fx->fcw = FCW_INIT;
    fx->mxcsr = 0x1F80;
    fx->fop = 0x123;
    fx->fdp = 0x12345;
    __asm__ volatile("fxrstor64 %0; flds %1; fstp %%st(0); fxsave64 %0; fninit"
                     : "+m"(*fx)
                     : "m"(one));
    return fx->fop == 0x123 && fx->fdp == 0x12345;
}

int bt_x87_init(struct bt_state *s, struct err *e)
{
    s->v->eng_x87.absent = 1;
    s->x87 = hostmem_reserve(sizeof *s->x87);
    if (!s->x87) return err_set(e, E_NOMEM, "translator: x87 registers");
    s->bt.has_x87 = !s->bt.plain && has_xsave() && keeps_pointers(&s->x87->fx);
    return 0;
}

void bt_x87_fini(struct bt_state *s) { hostmem_release(s->x87, sizeof *s->x87); }

/* ---- loading and saving ---------------------------------------------------------------------- */

static void copy_words(void *to, const void *from, u64 words)
{
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(words) : : "memory");
}

/* Everything but MXCSR. */
static void copy_x87(struct fxsave *to, const struct fxsave *from)
{
    copy_words(to, from, offsetof(struct fxsave, mxcsr) / 8);
    copy_words(to->st, from->st, sizeof to->st / 8);
}

bool bt_x87_load(struct bt_state *s)
{
    struct vcpu *v = s->v;
    struct bt_x87_area *a = s->x87;
    if (!v->eng_x87.absent) return true;
    if ((v->fx.fcw & FCW_MASKS) != FCW_MASKS || v->fx.fsw & FSW_ERROR || v->x87_ferr) return false;
    copy_x87(&a->fx, &v->fx);
    a->xstate_bv = XFEATURE_X87;
    __asm__ volatile("xrstor64 %0" : : "m"(*a), "a"(XFEATURE_X87), "d"(0));
    v->eng_x87.absent = 0;
    v->stats.bt_x87_loads++;
    return true;
}

/* The host recorded where the copy of the instruction is. */
static u64 guest_fip(struct bt_state *s, u64 pc)
{
    const struct bt_slot *slot = code_at(&s->code, pc);
    if (!slot) return pc; /* FNINIT's 0 */
    const u64 fip = s->v->eng_x87.base + code_mark_of(&s->code, slot, pc)->guest_off;
    return slot->variant & VARIANT_32 ? (u32)fip : fip;
}

void bt_x87_store(struct bt_state *s)
{
    struct vcpu *v = s->v;
    struct bt_x87_area *a = s->x87;
    const u64 loaded_fip = v->fx.fip;
    __asm__ volatile("xsave64 %0; fninit" : "+m"(*a) : "a"(XFEATURE_X87), "d"(0));
    copy_x87(&v->fx, &a->fx);
    if (v->fx.fip != loaded_fip) v->fx.fip = guest_fip(s, v->fx.fip);
    v->eng_x87.absent = 1;
}

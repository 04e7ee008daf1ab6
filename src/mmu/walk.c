/* walk.c - the one page walker: no paging, 32-bit, PSE, PAE, 4- and 5-level (DESIGN section 4).
 * A walk first finds the leaf and checks every permission, then sets accessed and dirty bits with
 * compare-and-swap; if an entry changed under it, it starts over. Entries are read once each, as
 * aligned words. Spec: SDM vol. 3A sections 4.3-4.8. */
#include "mmu/mmu_internal.h"

enum {
    PTE_P = 1 << 0,
    PTE_W = 1 << 1,
    PTE_U = 1 << 2,
    PTE_A = 1 << 5,
    PTE_D = 1 << 6,
    PTE_PS = 1 << 7,
    PTE_G = 1 << 8,
    ABOVE_NX = PTE_A, /* in walk.above, beside PTE_W and PTE_U */
    LEVELS_MAX = 5,
    WALK_RETRIES = 64, /* entries changing under the walk: another vCPU is at it */
};
#define PTE_NX BIT(63)
#define PTE_ADDR(top) (((1ull << (top)) - 1) & PAGE_MASK)

/* Shape of the current paging mode. */
struct shape {
    u8 levels;      /* entries visited                       */
    u8 entry_bytes; /* 4 or 8                                */
    u8 index_bits;  /* 10 or 9                               */
    bool pae, longmode;
};
/* The path of one walk. */
struct path {
    gpa_t at[LEVELS_MAX]; /* address of each entry; ~0 for a PDPTE register */
    u64 entry[LEVELS_MAX];
    u32 count;
};

static struct shape shape_of(const struct vcpu *v)
{
    if (vcpu_is_long(v)) return (struct shape){v->cr4 & CR4_LA57 ? 5 : 4, 8, 9, true, true};
    if (v->cr4 & CR4_PAE) return (struct shape){3, 8, 9, true, false};
    return (struct shape){2, 4, 10, false, false};
}

static u64 read_entry(const struct mem *mem, gpa_t at, u32 bytes)
{
    at &= ~mem->a20_clear;
    hva_t page = mem_page_ptr(mem, at);
    if (!page) return ~0ull; /* an unclaimed bus read: reserved bits set */
    void *p = page + (at & ~PAGE_MASK);
    if (bytes == 8) return __atomic_load_n((u64 *)p, __ATOMIC_ACQUIRE);
    return __atomic_load_n((u32 *)p, __ATOMIC_ACQUIRE);
}

static u32 leaf_shift(const struct shape *s, u32 level)
{
    return PAGE_SHIFT + level * s->index_bits;
}

/* Bits that must be zero in @e at @level (0 = page table), given whether it maps a page. */
static u64 reserved_bits(const struct vcpu *v, const struct shape *s, u32 level, bool leaf)
{
    if (!s->pae) return leaf && level == 1 ? BIT(21) : 0; /* PSE-36: bits 20:13 are address */
    u64 r = bits(~0ull, s->longmode ? 51 : 62, GPA_BITS) << GPA_BITS;
    if (!(v->efer & EFER_NXE)) r |= PTE_NX;
    if (leaf && level) r |= (BIT(leaf_shift(s, level)) - 1) & ~(u64)0x1FFF; /* above PAT, bit 12 */
    if (level >= 3) r |= PTE_PS;
    return r;
}

static bool is_leaf(const struct vcpu *v, const struct shape *s, u32 level, u64 e)
{
    if (level == 0) return true;
    if (!(e & PTE_PS)) return false;
    if (!s->pae) return v->cr4 & CR4_PSE;
    return level == 1 || (level == 2 && s->longmode);
}

static u32 pf_base(const struct vcpu *v, const struct shape *s, enum access kind, u32 flags)
{
    u32 error = 0;
    if (kind == ACC_WRITE) error |= PF_W;
    if (v->cpl == 3 && !(flags & WALK_SYS)) error |= PF_U;
    bool nx = s->pae && v->efer & EFER_NXE;
    if (kind == ACC_EXEC && (nx || v->cr4 & CR4_SMEP)) error |= PF_I;
    return error;
}

/* Permission check at the end of a walk (section 4.6). */
static bool allowed(const struct vcpu *v, const struct walk *w, enum access kind, u32 flags)
{
    bool user_mode = v->cpl == 3 && !(flags & WALK_SYS);
    if (kind == ACC_EXEC) {
        if (!w->exec) return false;
        return user_mode ? w->user : !(w->user && v->cr4 & CR4_SMEP);
    }
    if (user_mode) return w->user && (kind == ACC_READ || w->writable);
    bool ac_open = v->rflags & RFLAGS_AC && !(flags & WALK_SYS);
    if (w->user && v->cr4 & CR4_SMAP && !ac_open) return false;
    return kind == ACC_READ || w->writable || !(v->cr0 & CR0_WP);
}

/* Set A on the whole path and D on the leaf. False: an entry changed, walk again. */
static bool set_accessed(struct vcpu *v, const struct shape *s, struct path *p, bool dirty)
{
    for (u32 i = 0; i < p->count; i++) {
        u64 want = PTE_A | (dirty && i + 1 == p->count ? PTE_D : 0);
        if (p->at[i] == ~0ull || (p->entry[i] & want) == want) continue;
        const gpa_t at = p->at[i] & ~v->mem->a20_clear;
        int rc = mem_cmpxchg(v->mem, at, p->entry[i], p->entry[i] | want, s->entry_bytes);
        if (rc == 0) return false;
        p->entry[i] |= want;
    }
    return true;
}

static gpa_t leaf_base(const struct shape *s, u32 level, u64 e)
{
    u64 low = BIT(leaf_shift(s, level)) - 1;
    if (s->pae) return e & PTE_ADDR(52) & ~low;
    gpa_t base = (u32)e & ~low;
    if (level) base |= bits(e, 20, 13) << 32;
    return base;
}

/* Follow the tables to the leaf, collecting rights. 0, or X_FAULT with the bits in w->error. */
static int descend(struct vcpu *v, const struct shape *s, gva_t gva, struct walk *w, struct path *p)
{
    gpa_t table = s->pae ? v->cr3 & PTE_ADDR(52) : v->cr3 & 0xFFFFF000u;
    u32 level = s->levels - 1;
    p->count = 0;
    w->writable = w->user = w->exec = w->accessed = true;
    for (;; level--) {
        u64 index = (gva >> leaf_shift(s, level)) & (BIT(s->index_bits) - 1);
        bool pdpte = s->pae && !s->longmode && level == 2;
        gpa_t at = pdpte ? ~0ull : table + index * s->entry_bytes;
        u64 e = pdpte ? v->pdpte[index & 3] : read_entry(v->mem, at, s->entry_bytes);
        p->at[p->count] = at;
        p->entry[p->count++] = e;
        if (!(e & PTE_P)) return X_FAULT;
        bool leaf = !pdpte && is_leaf(v, s, level, e);
        if (!pdpte && e & reserved_bits(v, s, level, leaf)) {
            w->error |= PF_P | PF_RSVD;
            return X_FAULT;
        }
        if (leaf) {
            w->entry_at = at;
            w->above =
                (u8)((w->writable ? PTE_W : 0) | (w->user ? PTE_U : 0) | (w->exec ? 0 : ABOVE_NX));
        }
        if (!pdpte) {
            w->accessed &= (e & PTE_A) != 0;
            w->writable &= (e & PTE_W) != 0;
            w->user &= (e & PTE_U) != 0;
            if (s->pae && e & PTE_NX) w->exec = false;
        }
        if (leaf) break;
        table = s->pae ? e & PTE_ADDR(52) : e & 0xFFFFF000u;
    }
    u64 e = p->entry[p->count - 1];
    w->page_shift = (u8)leaf_shift(s, level);
    w->gpa = leaf_base(s, level, e) | (gva & (BIT(w->page_shift) - 1));
    w->gpa &= ~v->mem->a20_clear;
    w->global = e & PTE_G && v->cr4 & CR4_PGE;
    return 0;
}

static void identity(gva_t gva, struct walk *w)
{
    *w = (struct walk){.gpa = gva,
                       .page_shift = PAGE_SHIFT,
                       .writable = true,
                       .user = true,
                       .exec = true,
                       .accessed = true,
                       .entry_at = ~0ull};
}

/* A fast write entry needs D set and a write allowed to this privilege; a fetch is checked against
 * other rules, so it tells nothing about writes. */
static void note_writable(const struct vcpu *v, struct walk *w, enum access kind, u64 leaf)
{
    bool may_write = kind != ACC_EXEC && (w->writable || (!(v->cr0 & CR0_WP) && v->cpl != 3));
    w->writable = may_write && leaf & PTE_D;
}

int mmu_walk(struct vcpu *v, gva_t gva, enum access kind, u32 flags, struct walk *w)
{
    if (!(v->cr0 & CR0_PG)) {
        identity((u32)gva & ~v->mem->a20_clear, w);
        return 0;
    }
    v->stats.page_walks++;
    struct shape s = shape_of(v);
    if (!s.longmode) gva = (u32)gva;
    struct path p;
    for (u32 tries = 0; tries < WALK_RETRIES; tries++) {
        w->error = pf_base(v, &s, kind, flags);
        int rc = descend(v, &s, gva, w, &p);
        if (rc) return rc;
        if (!allowed(v, w, kind, flags)) {
            w->error |= PF_P;
            return X_FAULT;
        }
        if (flags & WALK_PEEK) break;
        w->accessed = set_accessed(v, &s, &p, kind == ACC_WRITE);
        if (w->accessed) break;
    }
    note_writable(v, w, kind, p.entry[p.count - 1]);
    return 0;
}

int mmu_walk_beside(struct vcpu *v, const struct walk *near, s32 pages, struct walk *w)
{
    if (near->entry_at == ~0ull) return X_FAULT;
    const struct shape s = shape_of(v);
    const gpa_t at = near->entry_at + (u64)((s64)pages * s.entry_bytes);
    const u64 e = read_entry(v->mem, at, s.entry_bytes);
    if (!(e & PTE_P) || e & reserved_bits(v, &s, 0, true)) return X_FAULT;
    *w = (struct walk){.gpa = leaf_base(&s, 0, e) & ~v->mem->a20_clear,
                       .page_shift = PAGE_SHIFT,
                       .writable = e & near->above & PTE_W,
                       .user = e & near->above & PTE_U,
                       .exec = !(near->above & ABOVE_NX) && !(s.pae && e & PTE_NX),
                       .global = e & PTE_G && v->cr4 & CR4_PGE,
                       .accessed = e & PTE_A,
                       .entry_at = at,
                       .above = near->above};
    if (!allowed(v, w, ACC_READ, 0)) return X_FAULT;
    note_writable(v, w, ACC_READ, e);
    return 0;
}

int walk_load_pdptes(struct vcpu *v, u64 cr3)
{
    u64 pdpte[4];
    for (u32 i = 0; i < 4; i++) {
        pdpte[i] = read_entry(v->mem, (cr3 & 0xFFFFFFE0u) + i * 8, 8);
        u64 reserved = BIT(1) | BIT(2) | bits(~0ull, 8, 5) << 5 | ~(BIT(GPA_BITS) - 1);
        if (pdpte[i] & PTE_P && pdpte[i] & reserved) return vcpu_raise_err(v, EXC_GP, 0);
    }
    for (u32 i = 0; i < 4; i++) v->pdpte[i] = pdpte[i];
    return 0;
}

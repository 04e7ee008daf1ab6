/* access.c - slow paths of guest-virtual accesses: walks, faults, MMIO, page crossings, traced
 * pages, watchpoints. Every page of an access is checked before anything is changed, so a faulting
 * instruction leaves memory as it was. */
#include <string.h>

#include "cpu/env.h"
#include "mmu/mmu_internal.h"

enum { READ_PAGES_MAX = 3 };

/* Where one piece of an access lands. */
struct place {
    gpa_t gpa;
    hva_t ptr; /* RAM, or NULL: MMIO or nothing */
};

static enum access kind_of(u8 rw) { return rw & OPND_W ? ACC_WRITE : ACC_READ; }

/* Data breakpoints: note hits for the debug trap after this instruction (SDM vol. 3B
 * section 18.2.4). */
static void note_watchpoints(struct vcpu *v, gva_t gva, u32 bytes, enum access kind)
{
    static const u8 len_bytes[4] = {1, 2, 8, 4};
    if (likely(!(v->dr7 & 0xFF)) || kind == ACC_EXEC) return;
    for (u32 i = 0; i < 4; i++) {
        u32 rw = (u32)(v->dr7 >> (16 + i * 4)) & 3, len = len_bytes[(v->dr7 >> (18 + i * 4)) & 3];
        if (!(v->dr7 >> (i * 2) & 3) || !(rw == 3 || (rw == 1 && kind == ACC_WRITE))) continue;
        u64 start = v->dr[i] & ~(u64)(len - 1);
        if (gva < start + len && start < gva + bytes) v->pending_dbg |= BIT(i);
    }
}

/* Translate one page's worth; fills a fast entry where that is right. */
static int place_find(struct vcpu *v, gva_t gva, enum access kind, bool sys, struct place *p)
{
    struct walk w;
    u64 ctx = tlb_ctx(v, sys);
    if (tlb_holds(&v->tlb, gva, kind, (gva & PAGE_MASK) | ctx)) {
        p->ptr = (hva_t)(uintptr_t)(gva + v->tlb.e[kind][tlb_index(gva)].addend);
        p->gpa = ~0ull; /* RAM with a fast entry: nobody needs it */
        return 0;
    }
    if (mmu_walk(v, gva, kind, sys ? WALK_SYS : 0, &w)) return vcpu_raise_pf(v, gva, w.error);
    tlb_fill(v, gva, kind, ctx, &w);
    hva_t page = mem_page_ptr(v->mem, w.gpa);
    p->gpa = w.gpa;
    p->ptr = page ? page + (gva & ~PAGE_MASK) : NULL;
    return 0;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* Largest naturally aligned power of two at @gpa within @bytes, at most 8. */
static u32 mmio_unit(gpa_t gpa, u32 bytes)
{
    u32 n = 8;
    while (n > bytes || gpa & (n - 1)) n >>= 1;
    return n;
}

static void mmio_read(struct vcpu *v, gpa_t gpa, u8 *buf, u32 bytes)
{
    for (u32 done = 0, n; done < bytes; done += n) {
        n = mmio_unit(gpa + done, bytes - done);
        u64 val = v->env->mmio_read(v->env->ctx, v, gpa + done, n);
        memcpy(buf + done, &val, n);
        v->stats.mmio_read++;
    }
}

static void mmio_write(struct vcpu *v, gpa_t gpa, const u8 *buf, u32 bytes)
{
    for (u32 done = 0, n; done < bytes; done += n) {
        n = mmio_unit(gpa + done, bytes - done);
        u64 val = 0;
        memcpy(&val, buf + done, n);
        v->env->mmio_write(v->env->ctx, v, gpa + done, val, n);
        v->stats.mmio_write++;
    }
}

static void piece_read(struct vcpu *v, const struct place *p, void *buf, u32 bytes)
{
    if (!p->ptr) mmio_read(v, p->gpa, buf, bytes);
    else if (p->gpa == ~0ull) memcpy(buf, p->ptr, bytes);
    else mem_read(v->mem, p->gpa, buf, bytes);
}

static void piece_write(struct vcpu *v, const struct place *p, const void *buf, u32 bytes)
{
    if (!p->ptr) mmio_write(v, p->gpa, buf, bytes);
    else if (p->gpa == ~0ull) memcpy(p->ptr, buf, bytes);
    else mem_write(v->mem, p->gpa, buf, bytes);
}

/* The linear address of the next page, wrapped to 32 bits outside long mode. */
static gva_t next_gva(const struct vcpu *v, gva_t gva, u32 bytes)
{
    return vcpu_is_long(v) ? gva + bytes : (u32)(gva + bytes);
}

/* ---- the table ------------------------------------------------------------------------------- */

/* An access: which bytes, what for, and whether the processor makes it for itself. */
struct span {
    gva_t gva;
    u32 bytes;
    enum access kind;
    bool sys;
};
struct pieces {
    u32 count;
    u32 bytes[READ_PAGES_MAX];
    struct place at[READ_PAGES_MAX];
};
/* Find every page of @s, at most READ_PAGES_MAX. 0, or X_FAULT with the exception raised. */
static int pieces_find(struct vcpu *v, const struct span *s, struct pieces *ps)
{
    gva_t gva = s->gva;
    u32 bytes = s->bytes;
    ps->count = 0;
    note_watchpoints(v, gva, bytes, s->kind);
    while (bytes) {
        ASSERT(ps->count < READ_PAGES_MAX, "access of %u bytes at %#llx", bytes,
               (unsigned long long)gva);
        u32 n = (u32)min_u64(bytes, PAGE_BYTES - (gva & ~PAGE_MASK));
        int rc = place_find(v, gva, s->kind, s->sys, &ps->at[ps->count]);
        if (rc) return rc;
        ps->bytes[ps->count++] = n;
        bytes -= n;
        gva = next_gva(v, gva, n);
    }
    return 0;
}

static int access_read(struct vcpu *v, gva_t gva, void *buf, u32 bytes, bool sys)
{
    struct pieces ps;
    int rc = pieces_find(v, &(struct span){gva, bytes, ACC_READ, sys}, &ps);
    if (rc) return rc;
    u8 *out = buf;
    for (u32 i = 0; i < ps.count; out += ps.bytes[i++]) piece_read(v, &ps.at[i], out, ps.bytes[i]);
    return 0;
}

static int access_write(struct vcpu *v, gva_t gva, const void *buf, u32 bytes, bool sys)
{
    struct pieces ps;
    int rc = pieces_find(v, &(struct span){gva, bytes, ACC_WRITE, sys}, &ps);
    if (rc) return rc;
    const u8 *in = buf;
    for (u32 i = 0; i < ps.count; in += ps.bytes[i++]) piece_write(v, &ps.at[i], in, ps.bytes[i]);
    return 0;
}

static int access_probe(struct vcpu *v, gva_t gva, u32 bytes, enum access kind, bool sys)
{
    while (bytes) {
        struct place p;
        u32 n = (u32)min_u64(bytes, PAGE_BYTES - (gva & ~PAGE_MASK));
        int rc = place_find(v, gva, kind, sys, &p);
        if (rc) return rc;
        bytes -= n;
        gva = next_gva(v, gva, n);
    }
    return 0;
}

/* One page of RAM: the guest's own bytes, with a note afterwards when somebody traces them. */
static bool map_in_place(struct vcpu *v, const struct place *p, u8 rw, struct access_map *m)
{
    if (!p->ptr) return false;
    u8 trace = p->gpa == ~0ull ? 0 : mem_page_trace(v->mem, p->gpa);
    if (rw & OPND_W && trace & MEM_ROM) return false;
    m->ptr = p->ptr;
    m->state = rw & OPND_W && p->gpa != ~0ull ? MAP_TRACED : MAP_DIRECT;
    m->gpa[0] = p->gpa;
    return true;
}

static int access_map(struct vcpu *v, gva_t gva, u32 bytes, u8 rw, struct access_map *m)
{
    ASSERT(bytes && bytes <= ACCESS_BYTES_MAX, "operand of %u bytes", bytes);
    struct pieces ps;
    int rc = pieces_find(v, &(struct span){gva, bytes, kind_of(rw), false}, &ps);
    if (rc) return rc;
    m->kind = rw;
    m->bytes = (u16)bytes;
    if (ps.count == 1 && map_in_place(v, &ps.at[0], rw, m)) return 0;
    m->state = MAP_BOUNCE;
    m->ptr = m->bounce + (gva & 63);
    m->first = (u16)ps.bytes[0];
    for (u32 i = 0; i < ps.count; i++) {
        m->gpa[i] = ps.at[i].gpa;
        m->hva[i] = ps.at[i].ptr;
        if (rw & OPND_R) piece_read(v, &ps.at[i], m->ptr + (i ? m->first : 0), ps.bytes[i]);
    }
    return 0;
}

static void access_unmap(struct vcpu *v, struct access_map *m)
{
    if (!(m->kind & OPND_W)) return;
    if (m->state == MAP_TRACED) {
        mem_wrote(v->mem, m->gpa[0], m->bytes);
        return;
    }
    struct place p = {m->gpa[0], m->hva[0]};
    piece_write(v, &p, m->ptr, m->first);
    if (m->first == m->bytes) return;
    p = (struct place){m->gpa[1], m->hva[1]};
    piece_write(v, &p, m->ptr + m->first, m->bytes - m->first);
}

int mmu_fetch_page(struct vcpu *v, gva_t gva, hva_t *page, gpa_t *page_gpa)
{
    u64 i = tlb_index(gva);
    if (unlikely(!tlb_holds(&v->tlb, gva, ACC_EXEC, (gva & PAGE_MASK) | v->tlb.ctx))) {
        struct walk w;
        if (mmu_walk(v, gva, ACC_EXEC, 0, &w)) return vcpu_raise_pf(v, gva, w.error);
        tlb_fill(v, gva, ACC_EXEC, v->tlb.ctx, &w);
        *page = mem_page_ptr(v->mem, w.gpa);
        *page_gpa = w.gpa & PAGE_MASK;
        return 0;
    }
    *page = (hva_t)(uintptr_t)((gva & PAGE_MASK) + v->tlb.e[ACC_EXEC][i].addend);
    *page_gpa = v->tlb.exec_page[i] & PAGE_MASK;
    return 0;
}

const struct vcpu_mmu_ops mmu_ops = {
    .read = access_read,
    .write = access_write,
    .map = access_map,
    .unmap = access_unmap,
    .probe = access_probe,
    .invlpg = tlb_invlpg,
    .invpcid = tlb_invpcid,
    .cr3_loaded = tlb_cr3_loaded,
    .flush_all = tlb_flush_spaces,
    .mode_changed = tlb_mode_changed,
    .load_pdptes = walk_load_pdptes,
};

/* journal.c - memory accesses of the interpreter that can be taken back: the vCPU's slow-path
 * operations with a note of what every write is about to overwrite. No fast entry for writing
 * outlives the operation that made it, so every write comes here. Page-table bits the walker sets
 * stay set. */
#include <string.h>

#include "engine/bt/lockstep_internal.h"

/* RAM that nobody traces, at @gva; NULL otherwise. *faults: the access will fault before it does
 * anything. */
static hva_t plain_ram(struct vcpu *v, gva_t gva, enum access kind, bool *faults)
{
    struct walk w;
    *faults = mmu_walk(v, gva, kind, WALK_PEEK, &w);
    if (*faults) return NULL;
    hva_t page = mem_page_ptr(v->mem, w.gpa);
    if (!page || (kind == ACC_WRITE && mem_page_trace(v->mem, w.gpa))) return NULL;
    return page + (gva & ~PAGE_MASK);
}

static void note(struct journal *j, gva_t gva, hva_t at, u32 bytes)
{
    struct journal_entry *e = &j->entry[j->entries];
    if (j->entries == JOURNAL_ENTRIES || bytes > sizeof e->before) {
        j->refused = true;
        return;
    }
    e->gva = gva;
    e->at = at;
    e->bytes = (u16)bytes;
    e->insn = j->insn;
    memcpy(e->before, at, bytes);
    j->entries++;
}

/* May the access be made? Writes are noted. Faults are the real operation's to raise. */
static bool allow(struct vcpu *v, gva_t gva, u32 bytes, enum access kind)
{
    struct journal *j = &lockstep_of(v)->journal;
    if (!j->active) return true;
    hva_t at[2] = {NULL, NULL};
    u32 part[2] = {(u32)min_u64(bytes, PAGE_BYTES - (gva & ~PAGE_MASK)), 0};
    part[1] = bytes - part[0];
    for (u32 i = 0; i < 2 && part[i]; i++) {
        bool faults;
        at[i] = plain_ram(v, gva + (i ? part[0] : 0), kind, &faults);
        if (faults) return true;
        if (!at[i]) j->refused = true;
    }
    for (u32 i = 0; i < 2 && part[i] && kind == ACC_WRITE && !j->refused; i++)
        note(j, gva + (i ? part[0] : 0), at[i], part[i]);
    return !j->refused;
}

/* Writes go on coming here. */
static void forget_fast(struct vcpu *v, gva_t gva)
{
    for (u32 i = 0; i < 2; i++)
        v->tlb.e[ACC_WRITE][((gva >> PAGE_SHIFT) + i) & (TLB_ENTRIES - 1)].tag = TLB_EMPTY;
}

static int journal_read(struct vcpu *v, gva_t gva, void *buf, u32 bytes, bool sys)
{
    if (!allow(v, gva, bytes, ACC_READ)) return X_FAULT;
    return lockstep_of(v)->journal.real->read(v, gva, buf, bytes, sys);
}
static int journal_write(struct vcpu *v, gva_t gva, const void *buf, u32 bytes, bool sys)
{
    if (!allow(v, gva, bytes, ACC_WRITE)) return X_FAULT;
    int rc = lockstep_of(v)->journal.real->write(v, gva, buf, bytes, sys);
    forget_fast(v, gva);
    return rc;
}
static int journal_map(struct vcpu *v, gva_t gva, u32 bytes, u8 rw, struct access_map *m)
{
    if (!allow(v, gva, bytes, rw & OPND_W ? ACC_WRITE : ACC_READ)) return X_FAULT;
    int rc = lockstep_of(v)->journal.real->map(v, gva, bytes, rw, m);
    forget_fast(v, gva);
    return rc;
}
static int journal_probe(struct vcpu *v, gva_t gva, u32 bytes, enum access kind, bool sys)
{
    int rc = lockstep_of(v)->journal.real->probe(v, gva, bytes, kind, sys);
    forget_fast(v, gva);
    return rc;
}

void journal_init(struct journal *j, struct vcpu *v)
{
    j->real = v->mmu;
    j->ops = *v->mmu;
    j->ops.read = journal_read;
    j->ops.write = journal_write;
    j->ops.map = journal_map;
    j->ops.probe = journal_probe;
    memset(v->tlb.e[ACC_WRITE], 0xFF, sizeof v->tlb.e[ACC_WRITE]);
    v->mmu = &j->ops;
}
void journal_fini(struct journal *j, struct vcpu *v) { v->mmu = j->real; }

void journal_begin(struct journal *j)
{
    j->entries = 0;
    j->refused = false;
    j->active = true;
}
void journal_end(struct journal *j) { j->active = false; }

void journal_undo(struct journal *j, u32 save)
{
    for (u32 i = 0; i < j->entries; i++)
        memcpy(j->entry[i].after[save], j->entry[i].at, j->entry[i].bytes);
    for (u32 i = j->entries; i-- > 0;)
        memcpy(j->entry[i].at, j->entry[i].before, j->entry[i].bytes);
}

void journal_redo(struct journal *j, u32 saved)
{
    for (u32 i = 0; i < j->entries; i++)
        memcpy(j->entry[i].at, j->entry[i].after[saved], j->entry[i].bytes);
}

bool journal_same(const struct journal *j)
{
    for (u32 i = 0; i < j->entries; i++) {
        const struct journal_entry *e = &j->entry[i];
        if (memcmp(e->after[INTERPRETED], e->after[TRANSLATED], e->bytes)) return false;
    }
    return true;
}

/* hot.c - which blocks run often, and what is done for them.
 *
 * Most interrupts of a busy vCPU are its timer's, so the blocks found at the poll (BT_EXIT_POLL),
 * heads of loops and of functions, are samples of where time goes. A block found twice is hot; so
 * are those it runs into. Hot blocks
 *   - are several turns of a loop, when they are one, so that more accesses share look-ups,
 *   - share look-ups however little that saves (trans_group.c),
 *   - lose the tests of entries they have (fill.c), which pages touched first are the usual reason
 *     for. Where entries are missing again the tests come back; they are taken away again after
 *     ever longer times.
 */
#include "engine/bt/hot.h"

#include <string.h>

#include "cpu/insn_exec.h"
#include "engine/bt/bt_state.h"
#include "engine/bt/code_index.h"
#include "engine/common/block_run.h"

enum {
    FOUND_HOT = 2,    /* times a block is found before it is hot */
    LOOP_BLOCKS = 12, /* that are hot with one, at most */
    TURNS_MAX = 8,    /* of a loop in a block */
};
static_assert((int)BT_BLOCK_INSNS == 2 * BLOCK_INSNS, "room of struct hot_block");

/* ---- loops ----------------------------------------------------------------------------------- */

/* The number of instructions of @b up to a jump back to its start; 0: there is none. */
static u32 turn_of(const struct block *b)
{
    s64 at = 0;
    for (u32 k = 0; k < b->count; k++) {
        const struct insn *i = &b->first[k];
        at += i->len;
        if (i->op[0].kind == OPND_REL && at + (s64)i->imm == 0)
            return i->mode == ISA_64 && i->row < insn_rows_count && insn_row_exec(i->row) == x_jcc
                       ? k + 1
                       : 0;
    }
    return 0;
}

static const struct block *several_turns(const struct block *b, u32 turn, struct hot_block *room)
{
    const u32 turns = (u32)min_u64(BT_BLOCK_INSNS / turn, TURNS_MAX);
    if (turns < 2) return b;
    room->b = (struct block){.first = room->insn, .count = turns * turn, .mode = b->mode};
    for (u32 k = 0; k < turn; k++) room->b.bytes = (u16)(room->b.bytes + b->first[k].len);
    for (u32 n = 0; n < turns; n++)
        memcpy(&room->insn[n * turn], b->first, turn * sizeof *b->first);
    return &room->b;
}

static bool is_hot(struct bt_state *s, gpa_t gpa)
{
    if (s->lockstep) return false; /* which follows jumps itself */
    if (s->bt.eager) return true;
    const struct bt_page *p = code_page(&s->code, gpa, bt_variant_of(s), false);
    return p && bt_hint(code_hints(&s->code, p)->hot, gpa & (PAGE_BYTES - 1));
}

const struct block *bt_hot_extend(struct bt_state *s, const struct block *b, gpa_t gpa,
                                  struct hot_block *room)
{
    if (likely(!is_hot(s, gpa))) return b;
    const u32 turn = turn_of(b);
    return turn ? several_turns(b, turn, room) : b;
}

/* ---- which blocks ---------------------------------------------------------------------------- */

/* Does @b, @off bytes behind the head of what may be a loop, jump back to the head or before? */
static bool closes(const struct block *b, s64 off)
{
    for (u32 k = 0; k < b->count; k++) {
        const struct insn *i = &b->first[k];
        off += i->len;
        if (i->op[0].kind == OPND_REL && off + (s64)i->imm <= 0) return true;
    }
    const struct insn *last = &b->first[b->count - 1];
    return last->row != INSN_COMPUTE &&
           (last->row >= insn_rows_count || insn_row_exec(last->row) != x_jcc);
}

static void forget_tests(struct bt_hints *h, u32 off, u32 bytes)
{
    for (u32 n = off; n < off + bytes && n < PAGE_BYTES; n++) bt_hint_clear(h->tested, n);
}

/* The block at v->rip and @gpa is hot. Returns it as it is translated now, NULL to stop there. */
static const struct block *heat(struct bt_state *s, gpa_t gpa, struct hot_block *room)
{
    const u64 flushes = s->code.flushes;
    gpa_t found;
    const struct block *b = block_pass(&s->decoded, s->v, &found);
    if (!b || found != gpa) return NULL;
    const struct bt_slot *old = code_find(&s->code, gpa, bt_variant_of(s));
    struct bt_page *p = code_page(&s->code, gpa, bt_variant_of(s), false);
    if (!p) return NULL;
    struct bt_hints *h = code_hints_make(&s->code, p);
    const u32 off = (u32)(gpa & (PAGE_BYTES - 1));
    bt_hint_set(h->hot, off);
    b = bt_hot_extend(s, b, gpa, room);
    forget_tests(h, off, b->bytes);
    if (!old) return b;
    const struct bt_slot *by = bt_translate_at(s, b, gpa);
    if (s->code.flushes != flushes) return NULL;
    code_replace(&s->code, old, by);
    s->v->stats.bt_hot++;
    return b;
}

/* From the head of a loop, or of a function, at v->rip on. */
static void heat_all(struct bt_state *s, gpa_t gpa)
{
    struct vcpu *v = s->v;
    struct hot_block room;
    const u64 rip = v->rip;
    const gpa_t head = gpa;
    for (u32 n = 0; n < LOOP_BLOCKS; n++) {
        const struct block *b = heat(s, gpa, &room);
        if (!b || closes(b, (s64)(gpa - head))) break;
        gpa += b->bytes;
        v->rip += b->bytes;
        if (gpa >> PAGE_SHIFT != head >> PAGE_SHIFT) break;
    }
    v->rip = rip;
}

/* Is this the time to translate the block that was found @count times? First, and, where it has
 * tests, at each power of two. */
static bool is_time(const struct bt_state *s, const struct bt_slot *b, u32 count)
{
    const struct bt_page *p = &s->code.pages[b->page];
    const struct bt_hints *h = code_hints(&s->code, p);
    if (count < FOUND_HOT) return false;
    if (!bt_hint(h->hot, b->b.guest_off)) return true;
    if (count & (count - 1)) return false;
    for (u32 n = b->b.guest_off; n < b->b.guest_end; n++)
        if (bt_hint(h->tested, n)) return true;
    return false;
}

void bt_hot_found(struct bt_state *s, u32 place)
{
    const struct bt_page *p = &s->code.pages[place >> PAGE_SHIFT];
    struct hot_site *site = &s->sites.hot[(place ^ place >> 12) % HOT_SITES];
    if (!p->page || (p->page - 1) % VARIANTS != bt_variant_of(s)) return;
    const gpa_t gpa = ((p->page - 1) / VARIANTS << PAGE_SHIFT) | (place & (PAGE_BYTES - 1));
    const struct bt_slot *b = code_find(&s->code, gpa, bt_variant_of(s));
    if (site->place != place) *site = (struct hot_site){place, 0};
    site->count++;
    if (b && !is_cross(b) && is_time(s, b, site->count)) heat_all(s, gpa);
}

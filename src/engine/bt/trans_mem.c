/* trans_mem.c - addresses of memory operands and the sequences that access them.
 *
 * Misaligned scalars. AC = 1 makes the first misaligned access of a site trap; from then on the
 * site has one of the forms below, none of which the alignment check sees. Measured on a Sapphire
 * Rapids at 3 GHz, nanoseconds, without address and table lookup:
 *     plain access                                                              0.5
 *     load:  two aligned loads of 8 bytes, shifted together                     1.0
 *            the same through a 16-byte vector load (a vector register is saved) 2.3
 *     store: one byte at a time                                                 1.4
 *            masked vector store (AVX2 or AVX-512; two registers are saved)     2.7
 *     POPF twice around the access, to clear AC and set it again                19.7
 *     the interpreter                                                         > 100
 * So loads are made of two aligned ones and stores of bytes. An aligned operand is still accessed
 * at once there: lock-free code depends on it. A misaligned one is not (only some processors
 * promise that, and only within a cache line). LOCK forms are left to the interpreter.
 */
#include "engine/bt/trans_hints.h"

/* v->eng.mask[@n], n of enum bt_mask */
#define GS_MASK(n) (offsetof(struct vcpu, eng.mask) + 8u * (n))

static bool fits_s32(s64 val) { return val == (s64)(s32)val; }

/* dst += val */
static void add_const(struct trans *t, u8 dst, s64 val)
{
    if (fits_s32(val)) {
        if (val) em_lea_disp(&t->e, dst, dst, (s32)val);
        return;
    }
    em_mov_imm(&t->e, T2, (u64)val);
    em_lea_sum(&t->e, dst, dst, T2);
}

static void effective_const(struct trans *t, s64 disp, u8 dst)
{
    const struct insn *i = t->i;
    if (i->base == BASE_RIP) {
        tr_base(t, dst);
        add_const(t, dst, disp + next_off(t));
        if (i->addrsize == 4) em_mov32(&t->e, dst, dst);
    } else {
        em_mov_imm(&t->e, dst, i->addrsize == 4 ? (u32)disp : (u64)disp);
    }
}

void tr_effective(struct trans *t, s32 extra, u8 dst)
{
    const struct insn *i = t->i;
    s64 disp = i->disp + extra;
    if (i->base >= GPRS && i->index >= GPRS) {
        effective_const(t, disp, dst);
        return;
    }
    struct em_mem m = {REG_NONE, REG_NONE, i->scale, fits_s32(disp) ? (s32)disp : 0};
    if (i->base < GPRS) m.base = tr_guest(t, i->base, T1);
    if (i->index < GPRS) m.index = tr_guest(t, i->index, T2);
    em_mem_op(&t->e, EM_LEA, i->addrsize == 4 ? EM_32 : EM_64, dst, m);
    if (!fits_s32(disp)) {
        add_const(t, dst, disp);
        if (i->addrsize == 4) em_mov32(&t->e, dst, dst);
    }
}

/* FS and GS have a base, the other segments do not. */
static bool has_segment_base(const struct insn *i) { return i->seg == FS || i->seg == GS; }

/* In 32-bit code a segment may be null or have a limit; then eng.seg_guard sends the address where
 * every access faults (fault.c), else it is 0. */
static void add_segment_base(struct trans *t)
{
    const u8 seg = t->i->seg;
    em_load_gs(&t->e, T2,
               offsetof(struct vcpu, seg) + sizeof(struct seg) * seg + offsetof(struct seg, base));
    em_mem_op(&t->e, EM_LEA, tr_width(t), T1, (struct em_mem){T1, T2, 0, 0});
    if (!t->is32) return;
    em_load_gs(&t->e, T2, offsetof(struct vcpu, eng.seg_guard) + 8u * (seg - FS));
    em_lea_sum(&t->e, T1, T1, T2);
}

u8 tr_pointer(struct trans *t, u8 reg)
{
    if (!t->is32) return reg;
    em_mov32(&t->e, T1, reg);
    return T1;
}

u8 tr_address(struct trans *t, s32 extra)
{
    const struct insn *i = t->i;
    bool based = has_segment_base(i);
    const bool in_place = i->base < GPRS && !is_homed(i->base) && !(t->window && i->base == RSP);
    if (in_place && i->index >= GPRS && !(i->disp + extra) && !based && i->addrsize == 8)
        return i->base;
    tr_effective(t, extra, T1);
    if (based) add_segment_base(t);
    return T1;
}

void tr_address_t1(struct trans *t) { em_mov(&t->e, T1, tr_address(t, 0)); }

void tr_lookup(struct trans *t, u8 base)
{
    em_page_number(&t->e, T2, base, TB);
    em_mem_op(&t->e, EM_MOV_LOAD, EM_64, T2, (struct em_mem){TB, T2, 3, -TABLE_SHIFT});
}

void tr_low_bits(struct trans *t, u8 dst, u8 src, u8 from)
{
    const u8 rest = 64 - PAGE_SHIFT;
    if (t->e.plain) em_mm_cut(&t->e, dst, src, (const u8[]){rest, (u8)(rest + from)});
    else em_pext_gs(&t->e, dst, src, GS_MASK(from));
}

/* Below 2^47, in the writable view below 2^46 (view.h). Empty entries make sums with bit 47 set
 * (table.h). */
void tr_entry_bits(struct trans *t, u8 dst, u8 src, bool write)
{
    const bool low = write && t->bt->write_bit;
    if (t->e.plain) em_mm_cut(&t->e, dst, src, (const u8[]){low ? 10 : 9, 56});
    else em_pext_gs(&t->e, dst, src, GS_MASK(low ? MASK_WRITE : MASK_READ));
}

/* RCX is kept in @keep meanwhile, T1 or TB. */
static void test_entry(struct trans *t, u8 base, bool write, u8 keep)
{
    struct emit *e = &t->e;
    em_mov(e, keep, RCX);
    em_lea_sum(e, RCX, base, T2);
    tr_entry_bits(t, RCX, RCX, write);
    u32 good = em_jump8(e, EM_JRCXZ);
    tr_cold(t, COLD_FILL, em_jump32(e, EM_JMP),
            base | keep << FILL_KEEP | (write ? FILL_WRITE : 0));
    em_fix8(e, good);
    em_mov(e, RCX, keep);
    if (keep == TB) tr_table_reload(t);
}

void tr_lookup_read(struct trans *t, u8 base)
{
    tr_lookup(t, base);
    if (is_tested(t)) test_entry(t, base, false, base == T1 ? TB : T1);
}

void tr_lookup_write(struct trans *t, u8 base)
{
    tr_lookup(t, base);
    if (is_tested(t)) test_entry(t, base, true, base == T1 ? TB : T1);
}

void tr_lookup_write_beside(struct trans *t, u8 base)
{
    tr_lookup(t, base);
    if (is_tested(t)) test_entry(t, base, true, TB);
}

/* ---- page-crossing tests --------------------------------------------------------------------- */

/* RCX is in TB. */
static void window_test(struct trans *t, u32 bytes, bool exact)
{
    const u8 last = bytes <= 16 ? 4 : (u8)__builtin_ctz(bytes);
    em_lea_disp(&t->e, RCX, T1, 1 << last); /* into the first bytes of a page? */
    tr_low_bits(t, RCX, RCX, last);
    u32 site = em_jump_rcx_zero(&t->e);
    tr_cold(t, exact ? COLD_WINDOW : COLD_STEP, site, bytes);
    t->cold[t->colds - 1].back = t->e.n;
    em_mov(&t->e, RCX, TB);
}

void tr_window(struct trans *t, u32 bytes, bool exact)
{
    em_mov(&t->e, TB, RCX);
    window_test(t, bytes, exact);
}

struct cold *tr_window_ahead(struct trans *t, u32 bytes)
{
    struct emit *e = &t->e;
    em_mov(e, T2, RCX);
    tr_low_bits(t, RCX, T1, (u8)__builtin_ctz(bytes));
    tr_cold(t, COLD_AHEAD, em_jump_rcx_zero(e), bytes);
    t->aheads++;
    em_mov(e, RCX, T2);
    return &t->cold[t->colds - 1];
}

void tr_canonical(struct trans *t)
{
    enum { LOW_BITS = 47, HIGH_BITS = 64 - LOW_BITS };
    em_mov(&t->e, TB, RCX);
    em_field(&t->e, RCX, T1, LOW_BITS, HIGH_BITS); /* all clear, or all set */
    u32 low = em_jump8(&t->e, EM_JRCXZ);
    em_lea_disp(&t->e, RCX, RCX, -((1 << HIGH_BITS) - 1));
    u32 high = em_jump8(&t->e, EM_JRCXZ);
    tr_cold(t, COLD_STEP, em_jump32(&t->e, EM_JMP), 0);
    em_fix8(&t->e, low);
    em_fix8(&t->e, high);
    em_mov(&t->e, RCX, TB);
    tr_table_reload(t);
}

/* ---- misaligned scalars ---------------------------------------------------------------------- */

/* Both loads are of the form [register + T2], so that a fault names its page. The aligned word with
 * the first byte, shifted down, and the one with the last byte, shifted up by the rest in two
 * steps, so that nothing of it is left when the operand is aligned. Where both are the same word
 * the sum is wrong above the operand only. */
void tr_load_any(struct trans *t, u32 bytes)
{
    struct emit *e = &t->e;
    em_shift_down(e, TB, T1, 3);
    em_lea(e, TB, (struct em_mem){REG_NONE, TB, 3, 0});
    em_mem_op(e, EM_MOV_LOAD, EM_64, TB, tr_at(TB));
    em_store_gs(e, SAVE_ADDRESS, T1);
    em_lea_disp(e, T1, T1, (s32)bytes - 1);
    em_shift_down(e, T1, T1, 3);
    em_lea(e, T1, (struct em_mem){REG_NONE, T1, 3, 0});
    em_mem_op(e, EM_MOV_LOAD, EM_64, T1, tr_at(T1));
    em_load_gs(e, T2, SAVE_ADDRESS);
    em_lea(e, T2, (struct em_mem){REG_NONE, T2, 3, 0});
    em_shift(e, EM_SHRX, TB, TB, T2);
    em_not(e, EM_64, T2);
    em_lea_sum(e, T1, T1, T1);
    em_shift(e, EM_SHLX, T1, T1, T2);
    em_lea_sum(e, T1, T1, TB);
}

static void store_once(struct trans *t, u32 bytes)
{
    if (bytes == 2) em_byte(&t->e, 0x66);
    em_mem_op(&t->e, EM_MOV_STORE, bytes == 8 ? EM_64 : EM_32, TB, tr_at(T1));
}
static void store_bytewise(struct trans *t, u32 bytes)
{
    for (u32 k = 0; k < bytes; k++) {
        if (k) em_shift_down(&t->e, TB, TB, 8);
        em_mem_op(&t->e, EM_MOV_STORE8, EM_32, TB, (struct em_mem){T1, T2, 0, (s32)k});
    }
}

void tr_store_any(struct trans *t, u32 bytes, void (*value)(struct trans *t))
{
    struct emit *e = &t->e;
    u8 low_bits = bytes == 8 ? 3 : bytes == 4 ? 2 : 1;
    em_mov(e, TB, RCX);
    em_shift_up(e, RCX, T1, (u8)(64 - low_bits));
    u32 aligned = em_jump8(e, EM_JRCXZ), misaligned = em_jump8(e, EM_JMP8);
    em_fix8(e, aligned);
    em_mov(e, RCX, TB);
    value(t);
    store_once(t, bytes);
    u32 done = em_jump32(e, EM_JMP);
    em_fix8(e, misaligned);
    window_test(t, bytes, false);
    value(t);
    store_bytewise(t, bytes);
    em_fix32(e, done, e->n);
}

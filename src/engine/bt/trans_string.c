/* trans_string.c - MOVS, STOS (with REP) and LODS upwards; the rest of the string instructions, and
 * DF = 1, are left to the interpreter.
 *
 * The first element is moved like any access, so that every fault comes before anything changed.
 * What follows it in the same pages (of source and destination) cannot fault any more and is done
 * by the host's own REP, with host addresses in RSI and RDI meanwhile. Then the instruction starts
 * again, past the poll, until RCX is 0. Spec: SDM vol. 1 section 7.3.9; vol. 2A LODS; vol. 2B MOVS,
 * REP, STOS. */
#include "engine/bt/trans_hints.h"

/* Uses of eng.save while no guest instruction can fault. */
enum {
    SAVE_RAX = SAVE_JUMP,
    SAVE_LEFT = SAVE_VALUE,
    SAVE_SOURCE = SAVE_ADDRESS, /* the source's table entry */
    SAVE_FLAGS = SAVE_ADDRESS + 8,
};
enum { ADD_RM = 0x03, SUB_RM = 0x2B }; /* op reg, r/m */

static u32 element_bytes(const struct insn *i) { return i->opcode & 1 ? i->opsize : 1; }
static bool is_rep(const struct insn *i) { return i->prefixes & (PFX_REP | PFX_REPNE); }

static bool can_translate(const struct trans *t)
{
    const struct insn *i = t->i;
    return i->addrsize == t->word && i->seg < FS && (element_bytes(i) == 1 || !is_checked(t));
}

/* The interpreter goes on when DF is set. */
static void test_direction(struct trans *t)
{
    em_mov(&t->e, TB, RCX);
    em_gs_op(&t->e, EM_MOV_LOAD, EM_32, T1, offsetof(struct vcpu, rflags));
    em_field(&t->e, RCX, T1, (u8)__builtin_ctz(RFLAGS_DF), 1);
    u32 up = em_jump8(&t->e, EM_JRCXZ);
    tr_cold(t, COLD_STEP, em_jump32(&t->e, EM_JMP), 0);
    em_fix8(&t->e, up);
    em_mov(&t->e, RCX, TB);
    tr_table_reload(t);
}

/* RCX, or ECX in 32-bit code, is 0. */
static u32 jump_if_none_left(struct trans *t)
{
    if (t->is32) em_byte(&t->e, 0x67);
    u32 yes = em_jump8(&t->e, EM_JRCXZ), no = em_jump8(&t->e, EM_JMP8);
    em_fix8(&t->e, yes);
    u32 site = em_jump32(&t->e, EM_JMP);
    em_fix8(&t->e, no);
    return site;
}

/* 32-bit code: only the low halves of these registers count, the high ones are undefined. */
static void clean_registers(struct trans *t, bool source, bool dest)
{
    if (!t->is32) return;
    if (source) em_mov32(&t->e, RSI, RSI);
    if (dest) em_mov32(&t->e, RDI, RDI);
    if (is_rep(t->i)) em_mov32(&t->e, RCX, RCX);
}
/* The next element, at most at the end of the address space. */
static void advance(struct trans *t, u8 reg, u32 bytes)
{
    em_mem_op(&t->e, EM_LEA, tr_width(t), reg, (struct em_mem){reg, REG_NONE, 0, (s32)bytes});
}

static void load_element(struct trans *t, u8 dst, u32 bytes)
{
    u32 op = bytes == 1 ? EM_MOVZX8 : bytes == 2 ? EM_MOVZX16 : EM_MOV_LOAD;
    tr_lookup_read(t, RSI);
    em_mem_op(&t->e, op, bytes == 8 ? EM_64 : EM_32, dst, tr_at(RSI));
}
static void store_element(struct trans *t, u8 src, u32 bytes)
{
    tr_lookup_write_beside(t, RDI);
    if (bytes == 2) em_byte(&t->e, 0x66);
    em_mem_op(&t->e, bytes == 1 ? EM_MOV_STORE8 : EM_MOV_STORE, bytes == 8 ? EM_64 : EM_32, src,
              tr_at(RDI));
}

/* T1 = how many of the RCX elements, each 1 << @shift bytes, are in the pages of both addresses.
 * Flags, RAX and TB are free. */
static void count_elements(struct trans *t, bool source, u32 shift)
{
    static const u8 dest[] = {
        0x41, 0x89, 0xFA,             /* mov r10d, edi */
        0x41, 0xF7, 0xDA,             /* neg r10d      */
        0x41, 0x81, 0xE2, 0xFF, 0x0F, /* and r10d, FFF */
        0,    0,
    };
    static const u8 both[] = {
        0x41, 0x89, 0xF7,                   /* mov r15d, esi     */
        0x41, 0xF7, 0xDF,                   /* neg r15d          */
        0x41, 0x81, 0xE7, 0xFF, 0x0F, 0, 0, /* and r15d, FFF     */
        0x45, 0x39, 0xD7,                   /* cmp r15d, r10d    */
        0x45, 0x0F, 0x42, 0xD7,             /* cmovb r10d, r15d  */
    };
    static const u8 limit[] = {
        0x49, 0x39, 0xCA,       /* cmp r10, rcx   */
        0x4C, 0x0F, 0x47, 0xD1, /* cmova r10, rcx */
    };
    em_bytes(&t->e, dest, sizeof dest);
    if (source) em_bytes(&t->e, both, sizeof both);
    if (shift) em_bytes(&t->e, (const u8[]){0x41, 0xC1, 0xEA, (u8)shift}, 4); /* shr r10d, shift */
    em_bytes(&t->e, limit, sizeof limit);
}

/* RSI and RDI to host addresses or back; T2 is the destination's table entry. */
static void shift_addresses(struct trans *t, u32 op, bool source)
{
    if (source) em_gs_op(&t->e, op, EM_64, RSI, SAVE_SOURCE);
    em_reg_op(&t->e, op, EM_64, RDI, T2);
}

/* The host's instruction, with a 66 or REX.W prefix as its size wants. */
static void rep(struct trans *t, u8 opcode, u32 bytes)
{
    if (bytes == 2) em_byte(&t->e, 0x66);
    em_byte(&t->e, 0xF3);
    if (bytes == 8) em_byte(&t->e, 0x40 | EM_64);
    em_byte(&t->e, opcode);
}

/* Elements 2 to the end of the page that ends first. */
static void bulk(struct trans *t, u8 opcode, bool source, u32 bytes)
{
    struct emit *e = &t->e;
    em_store_gs(e, SAVE_RAX, RAX);
    em_bytes(e, "\x9F\x0F\x90\xC0", 4); /* lahf; seto al */
    em_store_gs(e, SAVE_FLAGS, RAX);
    count_elements(t, source, (u32)__builtin_ctz(bytes));
    em_reg_op(e, SUB_RM, EM_64, RCX, T1);
    em_store_gs(e, SAVE_LEFT, RCX);
    em_mov32(e, RCX, T1);
    shift_addresses(t, ADD_RM, source);
    if (!source) em_load_gs(e, RAX, SAVE_RAX);
    rep(t, opcode, bytes);
    shift_addresses(t, SUB_RM, source);
    clean_registers(t, source, true);
    em_load_gs(e, RCX, SAVE_LEFT);
    em_load_gs(e, RAX, SAVE_FLAGS);
    em_bytes(e, "\x04\x7F\x9E", 3); /* add al, 7F; sahf */
    em_load_gs(e, RAX, SAVE_RAX);
    tr_table_reload(t);
}

static enum tr move(struct trans *t, bool source)
{
    const struct insn *i = t->i;
    u32 bytes = element_bytes(i), start = t->e.n, none = 0;
    if (!can_translate(t)) return TR_NONE;
    if (is_rep(i)) tr_poll(t);
    test_direction(t);
    if (is_rep(i)) none = jump_if_none_left(t);
    clean_registers(t, source, true);
    if (source) {
        load_element(t, T1, bytes);
        em_store_gs(&t->e, SAVE_SOURCE, T2);
    }
    store_element(t, source ? T1 : RAX, bytes);
    if (source) advance(t, RSI, bytes);
    advance(t, RDI, bytes);
    if (!is_rep(i)) return TR_NEXT;
    em_lea_disp(&t->e, RCX, RCX, -1);
    u32 one = jump_if_none_left(t);
    bulk(t, (u8)((source ? 0xA4 : 0xAA) | (bytes > 1)), source, bytes);
    u32 done = em_jump8(&t->e, EM_JRCXZ);
    em_fix32(&t->e, em_jump32(&t->e, EM_JMP), start);
    em_fix8(&t->e, done);
    em_fix32(&t->e, none, t->e.n);
    em_fix32(&t->e, one, t->e.n);
    return TR_NEXT;
}

enum tr tr_movs(struct trans *t) { return move(t, true); }
enum tr tr_stos(struct trans *t) { return move(t, false); }

enum tr tr_lods(struct trans *t)
{
    u32 bytes = element_bytes(t->i);
    if (!can_translate(t) || is_rep(t->i)) return TR_NONE;
    test_direction(t);
    clean_registers(t, true, false);
    tr_lookup_read(t, RSI);
    if (bytes == 2) em_byte(&t->e, 0x66);
    em_mem_op(&t->e, bytes == 1 ? 0x8A : EM_MOV_LOAD, bytes == 8 ? EM_64 : EM_32, RAX, tr_at(RSI));
    advance(t, RSI, bytes);
    return TR_NEXT;
}

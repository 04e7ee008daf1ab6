/* dump.c - see dump.h. Called from signal handlers, too: no allocation, no lock. */
#include "engine/bt/dump.h"
#include "engine/bt/jump_cache.h"

#include <stdio.h>

#include "mem/mem.h"

void bt_dump_insn(u64 at, const struct insn *i)
{
    char text[128];
    dprintf(2, "  %#llx: ", (unsigned long long)at);
    for (u32 n = 0; n < i->len; n++) dprintf(2, "%02x", i->bytes[n]);
    dprintf(2, "  %s\n", isa_format(i, at, text, sizeof text));
}

/* As it is in memory now: none is kept. Not that of an instruction across pages. */
static void put_guest(const struct mem *mem, const struct bt_slot *s, u64 rip)
{
    const u32 bytes = (u32)s->b.guest_end - s->b.guest_off;
    const enum isa_mode mode = s->variant & VARIANT_32 ? ISA_32 : ISA_64;
    u8 code[BT_BLOCK_INSNS * INSN_BYTES_MAX];
    if (!is_cross(s)) (void)mem_read(mem, s->page_gpa + s->b.guest_off, code, bytes);
    dprintf(2, " guest code, %u instructions, %u bytes:\n", s->b.insns, bytes);
    for (u32 at = 0; at < bytes && !is_cross(s);) {
        struct insn i;
        if (isa_decode(&i, code + at, bytes - at, mode) <= 0) break;
        bt_dump_insn(rip + at, &i);
        at += i.len;
    }
}

void bt_dump_host(const struct bt_code *c, const struct bt_slot *s)
{
    const u8 *code = code_far(c, s);
    u32 mark = 0;
    dprintf(2, " host code, %u bytes:\n", s->b.code_bytes);
    for (u32 at = 0; at < s->b.code_bytes;) {
        struct insn i;
        if (isa_decode(&i, code + at, INSN_BYTES_MAX, ISA_64) <= 0) break;
        for (; mark < s->b.marks && code_mark(c, s, mark).host_off <= at; mark++)
            dprintf(2, " guest offset %#x:\n", code_mark(c, s, mark).guest_off);
        bt_dump_insn((u64)(uintptr_t)code + at, &i);
        at += i.len;
    }
}

static const char *stub_name(const struct bt_stubs *s, u32 off)
{
    if (off == s->step) return "step: the interpreter executes one instruction";
    if (off == s->link) return "link: a jump within the page, patched when taken";
    if (off == s->lookup || off == s->jump) return "lookup: a target the jump table does not have";
    if (off == s->light) return "light: a C function executes the instruction";
    if (off == s->fill[0] || off == s->fill[1]) return "fill: no entry in the memory table";
    return NULL;
}

/* Jumps to the routines every block shares, and to other blocks where they are linked. */
static void put_exits(const struct bt_code *c, const struct bt_slot *s)
{
    const u32 start = s->b.code_off, end = start + s->b.code_bytes;
    dprintf(2, " exits:\n");
    for (u32 at = start; at < end;) {
        struct insn i;
        if (isa_decode(&i, c->rx + at, INSN_BYTES_MAX, ISA_64) <= 0) break;
        at += i.len;
        if (i.op[0].kind != OPND_REL) continue;
        const u32 to = at + (u32)i.imm;
        const char *name = stub_name(&c->stubs, to);
        if (name) dprintf(2, "  +%#x %s\n", at - i.len - start, name);
        else if (to < start || to >= end) dprintf(2, "  +%#x to a block\n", at - i.len - start);
    }
}

void bt_dump_block(const struct bt_state *s, const struct bt_slot *slot, u64 rip, u8 what)
{
    dprintf(2, "block at %#llx, physical %#llx: %s code, vectors %s\n", (unsigned long long)rip,
            (unsigned long long)(slot->page_gpa + slot->b.guest_off),
            slot->variant & VARIANT_USER ? "user" : "supervisor",
            slot->variant & VARIANT_VEC ? "in registers" : "not loaded");
    if (what & DUMP_GUEST) put_guest(s->v->mem, slot, rip);
    if (what & DUMP_HOST) bt_dump_host(&s->code, slot);
    if (what & DUMP_EXITS) put_exits(&s->code, slot);
}

const struct bt_slot *bt_dumped(const struct bt_state *s, const struct bt_slot *slot)
{
    if (unlikely(s->v->dump)) bt_dump_block(s, slot, s->v->rip, s->v->dump);
    return slot;
}

void bt_dump_bug(const struct bt_state *s, const struct bt_slot *slot, u64 pc, u64 trap)
{
    dprintf(2, "translated code raised trap %llu at host address %#llx, block +%#llx\n",
            (unsigned long long)trap, (unsigned long long)pc,
            (unsigned long long)(pc - (u64)(uintptr_t)code_far(&s->code, slot)));
    bt_dump_block(s, slot, bt_base_of(s, slot->page) + slot->b.guest_off, DUMP_ALL);
}

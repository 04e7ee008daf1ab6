/* Random descriptor tables, selectors and stacks under every instruction that reads them: whatever
 * a guest puts there, an instruction that faults has changed nothing, and one that succeeds leaves
 * a state the processor can be in. */
#include "cpu/cr.h"
#include "cpu/far.h"
#include "cpu/flat_tables_test.h"

enum { ROUNDS = 20000 };

static u64 next_random(u64 *s) /* xorshift64 */
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

/* Mostly plausible descriptors: the right bits in most places, now and then noise. */
static u64 random_desc(u64 *s)
{
    static const u16 attrs[] = {0xC09B, 0xC093, 0xC0FB, 0xC0F3, 0xA09B, 0xA0FB, 0xC09F,
                                0x4097, 0xC091, 0x009B, 0x0093, 0x0089, 0x008B, 0x0081,
                                0x0082, 0x008C, 0x0084, 0x00E5, 0x008E, 0x008F, 0x0087,
                                0xC0FF, 0xA09F, 0x40B3, 0x00EC};
    u64 r = next_random(s);
    if (r % 16 == 0) return next_random(s);
    u16 attr = attrs[(r >> 8) % ARRAY_LEN(attrs)];
    if ((r >> 16) % 16 == 0) attr ^= (u16)(1 << (r >> 20) % 16);
    bool gate = !(attr & SEG_S) && (attr & 0xF) != 9 && (attr & 0xF) != 11 && (attr & 0xF) != 1 &&
                (attr & 0xF) != 2;
    if (gate) /* selector and offset */
        return (r >> 24 & 0xFFFF) | ((r >> 40) % (S_END + 8)) << 16 | (u64)attr << 40 |
               (u64)(attr >> 12) << 52;
    return flat_desc((u32)(r >> 24 & 0x3FFF), (u32)(r >> 40) & 0xFFFFF, attr);
}

static void scramble(struct flat *f, u64 *s)
{
    u32 idt = vcpu_is_long(&f->v) ? 512 : 256;
    for (u32 k = 0; k < S_END / 8; k++) {
        if (next_random(s) % 3 == 0) flat_put(f, FLAT_GDT + k * 8, random_desc(s), 8);
    }
    for (u32 k = 0; k < 8; k++) flat_put(f, FLAT_LDT + k * 8, random_desc(s), 8);
    for (u32 k = 0; k < idt; k++) flat_put(f, FLAT_IDT + k * 8, random_desc(s), 8);
    for (u32 k = 0; k < 0x300; k += 2) {
        u64 r = next_random(s);
        flat_put(f, FLAT_TSS + k, r % 4 ? r >> 8 & 0xFF : r >> 8, 2);
    }
    for (u32 k = 0; k < 96; k++) { /* the stack: selectors, small addresses, flags */
        u64 r = next_random(s);
        flat_put(f, 0x7F00 + k * 4,
                 r % 3   ? (r >> 8) % (S_END + 8)
                 : r % 7 ? r >> 8 & 0xFFFFF
                         : r,
                 4);
    }
    for (u32 k = 0; k < GPRS; k++) {
        u64 r = next_random(s);
        f->v.gpr[k] = r % 4 == 0 ? r : r % 4 == 1 ? (r >> 8) % (S_END + 8) : r >> 8 & 0x7FFF;
    }
    f->v.gpr[RSP] = next_random(s) % 16 ? 0x8000 - next_random(s) % 64 * 4 : next_random(s);
    f->v.gpr[RBX] = 0x7F00 + next_random(s) % 128;
    if (!vcpu_is_long(&f->v)) {
        for (u32 k = 0; k < GPRS; k++) f->v.gpr[k] = (u32)f->v.gpr[k];
    }
    if (next_random(s) % 8 == 0)
        f->v.ldtr = (struct seg){.base = FLAT_LDT, .limit = 0x3F, .attr = 0x82, .sel = S_LDT};
    if (next_random(s) % 8 == 0) f->fault_page = (next_random(s) % 9 + 1) << PAGE_SHIFT;
    if (next_random(s) % 8 == 0) f->v.rflags |= RFLAGS_NT;
    if (next_random(s) % 8 == 0) f->v.tr.attr = SEG_P | SYS_TSS16_BUSY;
    f->v.rflags |= next_random(s) & (RFLAGS_IOPL | RFLAGS_IF | RFLAGS_AC);
}

/* What the processor must look like at any instruction boundary. */
static void check_state(struct flat *f)
{
    const struct vcpu *v = &f->v;
    bool is_long = vcpu_is_long(v), code64 = is_long && v->seg[CS].attr & SEG_L;
    assert_true(v->cpl <= 3);
    assert_int_equal(v->mode, code64 ? ISA_64 : v->seg[CS].attr & SEG_DB ? ISA_32 : ISA_16);
    assert_true(v->rflags & RFLAGS_FIXED);
    assert_false(v->rflags & ~0x3F7FD7ull);
    if (v->rflags & RFLAGS_VM) assert_int_equal(v->cpl, 3);
    if (!code64) assert_true(v->rip >> 32 == 0);
    else assert_true(is_canonical(v, v->rip));
    assert_true(is_canonical(v, v->seg[FS].base) && is_canonical(v, v->seg[GS].base));
    if (is_long) assert_true(v->cr0 & CR0_PG && v->cr4 & CR4_PAE && v->efer & EFER_LME);
}

static void check_unchanged(struct flat *f, const struct vcpu *old)
{
    const struct vcpu *v = &f->v;
    assert_int_equal(v->exc.kind, EV_FAULT);
    if (v->tr.sel != old->tr.sel || v->tr.base != old->tr.base)
        return; /* faulted in the new task */
    assert_memory_equal(v->gpr, old->gpr, sizeof v->gpr);
    assert_memory_equal(v->seg, old->seg, sizeof v->seg);
    assert_int_equal(v->rip, old->rip);
    assert_int_equal(v->rflags, old->rflags);
    assert_int_equal(v->cpl, old->cpl);
    assert_int_equal(v->cr0, old->cr0);
    assert_int_equal(v->cr4, old->cr4);
    assert_int_equal(v->efer, old->efer);
}

static const struct {
    u8 bytes;
    char code[8];
} insns[] = {
    {2, "\xCD\x21"},
    {1, "\xCC"},
    {1, "\xF1"},
    {1, "\xCF"},
    {2, "\x66\xCF"},
    {1, "\xCB"},
    {2, "\x66\xCB"},
    {3, "\xCA\x08\x00"},
    {2, "\xFF\x1B"},
    {2, "\xFF\x2B"},
    {3, "\x66\xFF\x1B"},
    {3, "\x66\xFF\x2B"},
    {2, "\x8E\xD0"},
    {2, "\x8E\xD8"},
    {2, "\x8E\x23"},
    {2, "\x0F\xA1"},
    {2, "\x0F\xA9"},
    {3, "\x0F\xB2\x03"},
    {3, "\x0F\x02\xC1"},
    {3, "\x0F\x03\xC1"},
    {3, "\x0F\x00\xE1"},
    {3, "\x0F\x00\xE9"},
    {3, "\x0F\x00\xD1"},
    {3, "\x0F\x00\xD9"},
    {3, "\x0F\x01\x13"},
    {3, "\x0F\x01\x1B"},
    {3, "\x0F\x22\xC1"},
    {3, "\x0F\x22\xD9"},
    {3, "\x0F\x22\xE1"},
    {3, "\x0F\x23\xF9"},
    {2, "\x0F\x05"},
    {2, "\x0F\x07"},
    {2, "\x0F\x34"},
    {2, "\x0F\x35"},
    {3, "\x0F\x01\xF1"},
    {3, "\x0F\x01\x3B"},
    {5, "\x66\x0F\x38\x82\x03"},
    {1, "\xF4"},
    {2, "\x48\xCF"},
    {2, "\x48\xCB"},
    {3, "\x48\xFF\x1B"},
};

static struct flat *random_start(u64 *s)
{
    u64 r = next_random(s);
    struct flat *f = r & 1 ? flat_long(r & 2 ? 3 : 0) : flat_protected(r & 2 ? 3 : 0);
    if (!(r & 1) && r % 16 == 8) { /* virtual-8086 */
        f->v.rflags |= RFLAGS_VM;
        f->v.cpl = 3;
        for (int k = 0; k < SEGS; k++) seg_set_real(&f->v, k, 0);
        vcpu_mode_changed(&f->v);
    }
    return f;
}

static void random_tables(void **state)
{
    (void)state;
    u64 seed = 0x9E3779B97F4A7C15ull;
    struct vcpu *old = aligned_alloc(64, sizeof *old);
    u32 faults = 0, done = 0, shutdowns = 0;
    for (u32 round = 0; round < ROUNDS; round++) {
        struct flat *f = random_start(&seed);
        struct insn i;
        u32 k = next_random(&seed) % ARRAY_LEN(insns);
        scramble(f, &seed);
        int len = isa_decode(&i, (const u8 *)insns[k].code, insns[k].bytes, f->v.mode);
        if (len != insns[k].bytes) { /* 48 is DEC EAX outside 64-bit mode */
            free(f);
            continue;
        }
        memcpy(old, &f->v, sizeof *old);
        insn_bind(&f->v, &i, x_ud);
        enum x_result r = i.exec(&f->v, &i);
        if (r == X_FAULT) {
            faults++;
            check_unchanged(f, old);
            struct event ev = f->v.exc;
            r = exc_deliver(&f->v, &ev);
        } else {
            done++;
            if (r == X_NEXT) f->v.rip = vcpu_next_rip(&f->v, &i);
        }
        if (r == X_SHUTDOWN) shutdowns++;
        else check_state(f);
        free(f);
    }
    free(old);
    assert_true(faults > ROUNDS / 10 && done > ROUNDS / 10 && shutdowns > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_tables)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

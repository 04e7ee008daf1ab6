/* fuzz_vcpu - random bytes as code in every mode, with random tables, segments and control state,
 * on the processors of a whole machine whose memory they share. The engine keeps within its budget,
 * the monitor survives, and what is left can be saved. */
#include "cpu/access.h"
#include "cpu/cr.h"
#include "cpu/seg.h"
#include "cpu/vcpu_mode.h"
#include "fuzz_machine.h"

/* Guest-physical layout. Tables and code are within one another's reach on purpose: guests
 * overwrite them. */
enum {
    GDT = 0x1000,
    IDT = 0x3000,
    TSS = 0x5000,
    PML4 = 0x8000,
    PDPT = 0x9000,
    PD = 0xA000,
    PT = 0xB000,
    CODE = 0x10000,
    CODE_BYTES = 0x800,
    DATA = 0x20000,
    RAM = 4 << 20,
};
enum kind { REAL, VM86, PROT16, PROT32, PAGED32, PAE32, COMPAT, LONG64, KINDS };

static void put(struct machine *m, gpa_t at, u64 val, u32 bytes)
{
    (void)mem_load(&m->mem, at, &val, bytes);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Opcodes that reach beyond arithmetic; random bytes find the rest. */
static const u8 seeds[][4] = {{0x0F, 0x01, 0xD0},
                              {0x0F, 0x01, 0xF8},
                              {0x0F, 0x01, 0xF9},
                              {0x0F, 0x20, 0xC0},
                              {0x0F, 0x22, 0xC0},
                              {0x0F, 0x22, 0xD8},
                              {0x0F, 0x22, 0xE0},
                              {0x0F, 0x30},
                              {0x0F, 0x32},
                              {0x0F, 0xA2},
                              {0x0F, 0x05},
                              {0x0F, 0x07},
                              {0x0F, 0x34},
                              {0x0F, 0x35},
                              {0xCF},
                              {0x48, 0xCF},
                              {0xCB},
                              {0x9A},
                              {0xEA},
                              {0xFF, 0x28},
                              {0xFF, 0x18},
                              {0xCD, 0x80},
                              {0xCC},
                              {0xF4},
                              {0xFB},
                              {0x9D},
                              {0x8E, 0xD0},
                              {0x8E, 0xD8},
                              {0x0F, 0xB4},
                              {0x0F, 0x00, 0xD8},
                              {0x0F, 0x00, 0xD0},
                              {0x0F, 0x01, 0x10},
                              {0x0F, 0x01, 0x18},
                              {0xF3, 0xA4},
                              {0xF3, 0x6C},
                              {0xF3, 0x6E},
                              {0xF3, 0xAB},
                              {0x6C},
                              {0xE4},
                              {0xEE},
                              {0xC8},
                              {0x0F, 0xAE, 0x00},
                              {0x0F, 0xAE, 0x20},
                              {0x0F, 0xC7, 0x20},
                              {0x0F, 0x23, 0xF8},
                              {0x0F, 0x01, 0x38},
                              {0x0F, 0xC7, 0x08},
                              {0xF0, 0x0F, 0xB1},
                              {0xD9, 0x20},
                              {0xDB, 0xE3},
                              {0xDD, 0x30},
                              {0x62},
                              {0xC4, 0xE2},
                              {0xC5, 0xF8, 0x77},
                              {0x0F, 0x1A},
                              {0x0F, 0xFF},
                              {0x0F, 0x0B},
                              {0xE0},
                              {0xEB},
                              {0x75}};

static void make_code(struct machine *m)
{
    u8 code[CODE_BYTES];
    fuzz_fill(code, sizeof code);
    for (u32 i = 0; i + 8 < sizeof code; i += 1 + fuzz_below(12))
        if (fuzz_one_in(2)) memcpy(code + i, seeds[fuzz_below(ARRAY_LEN(seeds))], 4);
    (void)mem_load(&m->mem, CODE, code, sizeof code);
}

/* Descriptors of every type, most of them present, flat or small. */
static u64 random_desc(void)
{
    u64 type = fuzz_below(32), dpl = fuzz_below(4), base = fuzz_one_in(2) ? 0 : fuzz_below(RAM);
    u64 limit = fuzz_one_in(2) ? 0xFFFFF : fuzz_below(0x100000), flags = fuzz_below(16);
    u64 present = !fuzz_one_in(8);
    return (limit & 0xFFFF) | (base & 0xFFFFFF) << 16 | (type | dpl << 5 | present << 7) << 40 |
           (limit >> 16) << 48 | flags << 52 | (base >> 24) << 56;
}

/* Selectors that mean what they should, unless damaged; the others are random. */
enum {
    SEL_CODE0 = 1 * 8,
    SEL_DATA0 = 2 * 8,
    SEL_CODE3 = 3 * 8 | 3,
    SEL_DATA3 = 4 * 8 | 3,
    SEL_TSS = 6 * 8,
    SEL_LDT = 8 * 8
};

static void make_gdt(struct machine *m, enum kind kind)
{
    u64 flags = kind == LONG64 ? 0xAFull : kind == PROT16 ? 0x00ull : 0xCFull;
    u64 base = kind == PROT16 ? (u64)CODE << 16 : 0;
    for (u32 i = 0; i < 64; i++) put(m, GDT + 8 * i, i ? random_desc() : 0, 8);
    put(m, GDT + SEL_CODE0,
        0xFFFF | (u64)0x9B << 40 | (kind >= COMPAT ? 0xAFull : flags) << 48 | base, 8);
    put(m, GDT + SEL_DATA0, 0xFFFF | (u64)0x93 << 40 | 0xCFull << 48, 8);
    put(m, GDT + (SEL_CODE3 & ~7u), 0xFFFF | (u64)0xFB << 40 | flags << 48 | base, 8);
    put(m, GDT + (SEL_DATA3 & ~7u), 0xFFFF | (u64)0xF3 << 40 | 0xCFull << 48, 8);
    put(m, GDT + SEL_TSS, 0x1FFF | (u64)TSS << 16 | (u64)0x89 << 40, 8);
    put(m, GDT + SEL_LDT, 0x1FF | (u64)GDT << 16 | (u64)0x82 << 40, 8);
    if (kind >= COMPAT) put(m, GDT + SEL_TSS + 8, 0, 8), put(m, GDT + SEL_LDT + 8, 0, 8);
}

/* Gates back into the random code; some lead elsewhere. */
static void make_idt(struct machine *m, enum kind kind)
{
    static const u8 types[] = {0xE, 0xF, 0x6, 0x7, 0x5, 0xC};
    bool wide = kind >= COMPAT;
    for (u32 i = 0; i < 256; i++) {
        u64 target =
            fuzz_one_in(16) ? fuzz_value() : (kind == PROT16 ? 0 : CODE) + fuzz_below(CODE_BYTES);
        u64 sel = fuzz_one_in(16) ? 8 * fuzz_below(64) : (u64)SEL_CODE0;
        u64 type = fuzz_one_in(16) ? types[fuzz_below(ARRAY_LEN(types))] : 0xE;
        u64 gate = (target & 0xFFFF) | sel << 16 | (u64)(fuzz_one_in(8) ? fuzz_below(8) : 0) << 32 |
                   (type | fuzz_below(4) << 5 | 0x80) << 40 | (target >> 16 & 0xFFFF) << 48;
        put(m, IDT + (wide ? 16 : 8) * i, gate, 8);
        if (wide) put(m, IDT + 16 * i + 8, target >> 32, 8);
    }
}

static void make_tables(struct machine *m, enum kind kind)
{
    make_gdt(m, kind);
    make_idt(m, kind);
    for (u32 i = 0; i < 104; i += 4)
        put(m, TSS + i, fuzz_one_in(3) ? fuzz_value() : fuzz_below(RAM), 4);
    for (u32 ring = 0; ring < 3; ring++) {
        u64 top = DATA + fuzz_below(RAM / 2);
        if (kind >= COMPAT) put(m, TSS + 4 + 8 * ring, top, 8);
        else put(m, TSS + 4 + 8 * ring, top | (u64)(SEL_DATA0 | ring) << 32, 8);
    }
    if (kind >= COMPAT)
        for (u32 ist = 0; ist < 7; ist++) put(m, TSS + 36 + 8 * ist, DATA + fuzz_below(RAM / 2), 8);
}

static u64 entry(gpa_t to)
{
    u64 e = to | 7 | (fuzz_one_in(3) ? 0 : 0x60);
    if (fuzz_one_in(64)) e ^= 1ull << fuzz_below(64);
    if (fuzz_one_in(64)) e &= ~(1ull << fuzz_below(8));
    return e;
}

/* An identity map of the first 2 MiB by small pages, of more by large ones, with flaws. Every
 * format has its first entries at the same places, so the flavour is @bytes per entry. */
static void make_paging(struct machine *m, u32 bytes)
{
    u32 n = PAGE_BYTES / bytes;
    for (u32 i = 0; i < n; i++) put(m, PT + bytes * i, entry((gpa_t)i << 12), bytes);
    put(m, PD, entry(PT), bytes);
    for (u32 i = 1; i < n; i++)
        put(m, PD + bytes * i, entry((gpa_t)i << (bytes == 4 ? 22 : 21)) | 0x80, bytes);
    if (bytes == 4) return;
    for (u32 i = 0; i < 512; i++) {
        put(m, PDPT + 8 * i, fuzz_one_in(2) ? PD | 1 : entry(PD), 8);
        put(m, PML4 + 8 * i, entry(PDPT), 8);
    }
}

/* ---- processor ------------------------------------------------------------------------------- */

static void set_seg(struct seg *s, u16 sel, u64 base, u32 limit, u32 attr)
{
    *s = (struct seg){.base = base, .limit = limit, .attr = attr, .sel = sel};
}

static void make_segments(struct vcpu *v, enum kind kind)
{
    static const u32 code_attr[] = {0x9B, 0xFB, 0x9B, 0xC09B, 0xC09B, 0xC09B, 0xC09B, 0xA09B};
    u32 ring = (u32)v->cpl << SEG_DPL_SHIFT;
    u32 limit = kind == REAL || kind == VM86 || kind == PROT16 ? 0xFFFF : 0xFFFFFFFF;
    u64 base = limit == 0xFFFF ? CODE : 0;
    set_seg(&v->seg[CS],
            (u16)(kind <= VM86  ? base >> 4
                  : v->cpl == 3 ? SEL_CODE3
                                : SEL_CODE0 | v->cpl),
            base, limit, code_attr[kind] | ring);
    for (u32 i = 0; i < SEGS; i++) {
        if (i == CS) continue;
        u64 at = kind <= VM86 ? DATA : !fuzz_one_in(4) ? 0 : fuzz_below(RAM);
        u32 end = kind <= VM86 || !fuzz_one_in(8) ? limit : fuzz_below(0x20000);
        u32 attr = (limit == 0xFFFF ? 0x93u : 0xC093u) | ring |
                   (kind > VM86 && fuzz_one_in(6) ? SEG_E : 0);
        if (kind == LONG64 && i != FS && i != GS) at = 0;
        set_seg(&v->seg[i],
                (u16)(kind <= VM86  ? at >> 4
                      : v->cpl == 3 ? SEL_DATA3
                                    : SEL_DATA0 | v->cpl),
                at, end, attr);
        if (i != SS && kind > VM86 && fuzz_one_in(8)) v->seg[i] = (struct seg){.attr = SEG_NULL};
    }
    set_seg(&v->tr, SEL_TSS, TSS, 0x67 + fuzz_below(0x2000), 0x8B);
    set_seg(&v->ldtr, SEL_LDT, GDT, 0x1FF, 0x82);
    v->gdtr = (struct dtable){GDT, (u16)(fuzz_one_in(16) ? fuzz_below(0x200) : 0x1FF)};
    v->idtr = (struct dtable){kind == REAL ? 0 : IDT,
                              (u16)(fuzz_one_in(16) ? fuzz_below(0x1000) : 0xFFF)};
}

static void make_control(struct vcpu *v, enum kind kind)
{
    bool paged = kind >= PAGED32, wide = kind >= PAE32, lng = kind >= COMPAT;
    u64 cr0 = CR0_ET | (kind != REAL ? CR0_PE : 0) | (paged ? CR0_PG : 0);
    v->cr0 = cr0 | (fuzz_u64() & (CR0_MP | CR0_NE | CR0_WP | CR0_AM));
    if (fuzz_one_in(6)) v->cr0 |= fuzz_u64() & (CR0_EM | CR0_TS);
    v->cr4 = (wide ? CR4_PAE : 0) | (fuzz_u64() & (CR4_DE | CR4_PSE | CR4_PGE | CR4_OSFXSR |
                                                   CR4_OSXMMEXCPT | CR4_FSGSBASE | CR4_OSXSAVE));
    if (fuzz_one_in(2)) v->cr4 |= CR4_OSFXSR | CR4_OSXSAVE | CR4_OSXMMEXCPT;
    if (fuzz_one_in(3))
        v->cr4 |= fuzz_u64() & (CR4_VME | CR4_PVI | CR4_TSD | CR4_UMIP | CR4_SMEP | CR4_SMAP);
    if (lng && fuzz_one_in(3)) v->cr4 |= CR4_PCIDE;
    v->cr4 &= cr4_valid_bits(v);
    v->efer = (lng ? EFER_LME | EFER_LMA : 0) | (fuzz_u64() & (EFER_SCE | EFER_NXE));
    v->cr3 = kind == PAGED32 ? PD : kind == PAE32 ? PDPT : PML4;
    for (u32 i = 0; i < 4; i++) v->pdpte[i] = PD | (fuzz_one_in(8) ? 0 : 1);
    v->xcr0 = XCR0_X87 | (fuzz_one_in(3) ? 0 : v->model->xcr0);
    v->rflags = RFLAGS_FIXED |
                (fuzz_u64() & (RFLAGS_ARITH | RFLAGS_IF | RFLAGS_IOPL | RFLAGS_AC | RFLAGS_DF));
    if (fuzz_one_in(6)) v->rflags |= fuzz_u64() & (RFLAGS_TF | RFLAGS_NT | RFLAGS_RF);
    if (kind == VM86) v->rflags |= RFLAGS_VM;
    if (fuzz_one_in(6)) v->dr7 = DR7_FIXED | (fuzz_u64() & 0xFFFF03FF);
    for (u32 i = 0; i < 4; i++) v->dr[i] = CODE + fuzz_below(RAM - CODE);
}

static void make_processor(struct vcpu *v, enum kind kind)
{
    v->cpl = kind == VM86 ? 3 : kind == REAL ? 0 : fuzz_one_in(2) ? 0 : (u8)fuzz_below(4);
    v->run_state = VCPU_RUNNING;
    make_control(v, kind);
    make_segments(v, kind);
    for (u32 i = 0; i < GPRS; i++)
        v->gpr[i] = fuzz_one_in(2) ? fuzz_value() : DATA + fuzz_below(RAM - DATA);
    if (fuzz_one_in(2)) v->gpr[RCX] = fuzz_below(64);
    if (!fuzz_one_in(8)) v->gpr[RSP] = DATA + 8 * fuzz_below(RAM / 16);
    v->rip = (kind <= PROT16 ? 0 : CODE) + fuzz_below(CODE_BYTES - 64);
    fuzz_fill(v->vec, sizeof v->vec);
    fuzz_fill(v->fx.st, sizeof v->fx.st);
    v->lstar = v->sysenter_eip = CODE + fuzz_below(CODE_BYTES);
    v->star = (u64)(8 * fuzz_below(8)) << 32 | (u64)(8 * fuzz_below(8)) << 48;
    v->sysenter_cs = 8 * fuzz_below(8);
    v->sysenter_esp = DATA + fuzz_below(RAM / 2);
    vcpu_mode_changed(v);
    v->mmu->flush_all(v);
    vcpu_update_step(v);
}

/* ---- rounds ---------------------------------------------------------------------------------- */

enum { BUDGET = 300, OVERRUN_MAX = 20000 };

/* One turn of @v, with the outside making itself felt. */
static void run_some(struct machine *m, struct vcpu *v)
{
    u64 before = v->stats.insns;
    if (fuzz_one_in(16)) atomic_fetch_or(&v->posted, POST_NMI), vcpu_attention(v, ATT_KICK);
    if (fuzz_one_in(4)) machine_pass(m, fuzz_below(1000000));
    if (m->reset_wanted) machine_reset(m);
    enum run_exit why = machine_run(m, v, BUDGET);
    FUZZ_CHECK(why <= RUN_SHUTDOWN);
    FUZZ_CHECK(v->stats.insns - before <= BUDGET + OVERRUN_MAX);
    atomic_fetch_and(&v->posted, ~(u32)(POST_INIT | POST_SIPI | POST_MASK_VECTOR));
}

static void check_saved(struct vcpu *v)
{
    struct ser_buf b;
    struct err e = {0};
    ser_buf_init(&b);
    machine_try(vcpu_save(v, &b, &e), &e);
    struct ser_view view = {b.data, b.bytes, 0};
    int rc = vcpu_load(v, &view, &e);
    if (rc < 0) {
        fprintf(stderr, "%s\n", e.text);
        vcpu_dump(v, 2);
    }
    FUZZ_CHECK(rc == 0);
    ser_buf_fini(&b);
}

int main(void)
{
    fuzz_start("fuzz_vcpu");
    while (fuzz_next()) {
        struct machine *m = machine_make(2, RAM);
        enum kind kind = (enum kind)fuzz_below(KINDS);
        machine_reset(m);
        make_tables(m, kind);
        if (kind >= PAGED32) make_paging(m, kind == PAGED32 ? 4 : 8);
        for (u32 n = 0; n < 8; n++) {
            make_code(m);
            mmu_protect_code(&m->cpu[0]->v, CODE, CODE_BYTES);
            for (u32 i = 0; i < m->cpus; i++) make_processor(&m->cpu[i]->v, kind);
            for (u32 turn = 0; turn < 8; turn++) {
                struct vcpu *v = &m->cpu[turn % m->cpus]->v;
                if (v->run_state != VCPU_RUNNING) make_processor(v, kind);
                run_some(m, v);
            }
            for (u32 i = 0; i < m->cpus; i++) check_saved(&m->cpu[i]->v);
        }
        ring3_destroy((struct ring3_vm *)m);
    }
    return 0;
}

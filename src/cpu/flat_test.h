/* cpu/flat_test.h - a processor over 1 MiB of flat memory for the unit tests of cpu/: no paging,
 * but one page can be made to fault, and upper addresses fold down, so that canonical kernel
 * addresses work too. */
#ifndef CPU_FLAT_TEST_H
#define CPU_FLAT_TEST_H
#include <stdlib.h>
#include <string.h>

#include "base/test.h"
#include "cpu/access.h"
#include "cpu/cpuid.h"
#include "cpu/env.h"
#include "cpu/exc.h"
#include "cpu/insn_exec.h"
#include "cpu/seg.h"
#include "cpu/vcpu_mode.h"

enum {
    FLAT_BYTES = 1 << 20,
    FLAT_GDT = 0x1000,
    FLAT_IDT = 0x2000,
    FLAT_TSS = 0x3000,
    FLAT_LDT = 0x3800
};
struct flat {
    struct vcpu v;
    struct cpu_model model;
    struct cpu_env env;
    u64 fault_page;    /* accesses to it raise #PF; ~0: none */
    bool fault_writes; /* only writes do                      */
    u8 last_cpl;       /* privilege of the last explicit write */
    u32 flushes, cr3_loads;
    int intr_vector;
    u8 cr8;
    u8 mem[FLAT_BYTES + 64];
};
/* Selectors of the tables flat_protected() and flat_long() build. */
enum {
    S_CODE32 = 0x08,
    S_DATA = 0x10,
    S_UCODE32 = 0x18 | 3,
    S_UDATA = 0x20 | 3,
    S_TSS = 0x28,
    S_CODE64 = 0x38,
    S_UCODE64 = 0x40 | 3,
    S_CONF = 0x48,
    S_DOWN = 0x50,
    S_ABSENT = 0x58,
    S_RODATA = 0x60,
    S_XCODE = 0x68,
    S_CODE16 = 0x70,
    S_DATA16 = 0x78,
    S_GATE = 0x80,
    S_TSS2 = 0x90,
    S_TASKGATE = 0xA0,
    S_LDT = 0xA8,
    S_SMALL = 0xB8,
    S_UDATA2 = 0xC0 | 3,
    S_DATA1 = 0xC8 | 1,
    S_ABSENT_CODE = 0xD0,
    S_END = 0xD8,
};

static inline struct flat *flat_of(struct vcpu *v) { return container_of(v, struct flat, v); }
static inline u8 *flat_at(struct flat *f, u64 gva) { return f->mem + (gva & (FLAT_BYTES - 1)); }
static inline int flat_check(struct vcpu *v, gva_t gva, u32 bytes, bool write, bool sys)
{
    struct flat *f = flat_of(v);
    u64 first = gva & PAGE_MASK, last = (gva + bytes - 1) & PAGE_MASK;
    if ((first != f->fault_page && last != f->fault_page) || (f->fault_writes && !write)) return 0;
    u32 error = (write ? PF_W : 0) | (v->cpl == 3 && !sys ? PF_U : 0);
    return vcpu_raise_pf(v, first == f->fault_page ? gva : last, error);
}
static inline int flat_read(struct vcpu *v, gva_t gva, void *buf, u32 bytes, bool sys)
{
    if (flat_check(v, gva, bytes, false, sys)) return X_FAULT;
    memcpy(buf, flat_at(flat_of(v), gva), bytes);
    return 0;
}
static inline int flat_write(struct vcpu *v, gva_t gva, const void *buf, u32 bytes, bool sys)
{
    if (flat_check(v, gva, bytes, true, sys)) return X_FAULT;
    if (!sys) flat_of(v)->last_cpl = v->cpl;
    memcpy(flat_at(flat_of(v), gva), buf, bytes);
    return 0;
}
static inline void flat_flush(struct vcpu *v) { flat_of(v)->flushes++; }
static inline void flat_cr3(struct vcpu *v, u64 op)
{
    (void)op;
    flat_of(v)->cr3_loads++;
}
static inline void flat_nothing(struct vcpu *v) { (void)v; }
static inline void flat_invlpg(struct vcpu *v, gva_t gva)
{
    (void)gva;
    flat_of(v)->flushes++;
}
static inline int flat_invpcid(struct vcpu *v, u64 type, u64 pcid, gva_t gva)
{
    (void)type;
    (void)pcid;
    (void)gva;
    flat_of(v)->flushes++;
    return 0;
}
static inline int flat_pdptes(struct vcpu *v, u64 cr3)
{
    return cr3 & 0x800 ? (int)vcpu_raise_err(v, EXC_GP, 0)
                       : 0; /* bit 11: "bad" ones, for the tests */
}
static const struct vcpu_mmu_ops flat_ops = {.read = flat_read,
                                             .write = flat_write,
                                             .invlpg = flat_invlpg,
                                             .invpcid = flat_invpcid,
                                             .cr3_loaded = flat_cr3,
                                             .flush_all = flat_flush,
                                             .mode_changed = flat_nothing,
                                             .load_pdptes = flat_pdptes};

static inline int flat_ack(void *ctx, struct vcpu *v)
{
    struct flat *f = ctx;
    atomic_store(&v->intr_line, false);
    return f->intr_vector;
}
static inline u8 flat_cr8_get(void *ctx, struct vcpu *v)
{
    (void)v;
    return ((struct flat *)ctx)->cr8;
}
static inline void flat_cr8_set(void *ctx, struct vcpu *v, u8 cr8)
{
    (void)v;
    ((struct flat *)ctx)->cr8 = cr8;
}

/* Power-on state: real mode. */
static inline struct flat *flat_create(void)
{
    struct flat *f = aligned_alloc(64, align_up(sizeof *f, 64));
    memset(f, 0, sizeof *f);
    f->fault_page = ~0ull;
    f->model.name = "flat";
    f->model.xcr0 = XCR0_X87 | XCR0_SSE | XCR0_AVX;
    f->model.signature = 0x663;
    memset(f->model.features, 0xFF, sizeof f->model.features);
    f->env = (struct cpu_env){
        .ctx = f, .intr_ack = flat_ack, .cr8_get = flat_cr8_get, .cr8_set = flat_cr8_set};
    struct vcpu_cfg cfg = {.id = 0, .tsc_khz = 1000000, .env = &f->env, .model = &f->model};
    vcpu_init(&f->v, &cfg);
    f->v.mmu = &flat_ops;
    return f;
}
static inline void flat_put(struct flat *f, u64 gva, u64 val, u32 bytes)
{
    memcpy(flat_at(f, gva), &val, bytes);
}
static inline u64 flat_get(struct flat *f, u64 gva, u32 bytes)
{
    u64 val = 0;
    memcpy(&val, flat_at(f, gva), bytes);
    return val;
}
/* Descriptor bytes; @attr as in struct seg. */
static inline u64 flat_desc(u32 base, u32 limit, u32 attr)
{
    return (u64)(limit & 0xFFFF) | (u64)(base & 0xFFFFFF) << 16 | (u64)(attr & 0xFF) << 40 |
           (u64)(limit >> 16 & 0xF) << 48 | (u64)(attr >> 12 & 0xF) << 52 | (u64)(base >> 24) << 56;
}
static inline void flat_gdt(struct flat *f, u16 sel, u64 desc)
{
    flat_put(f, FLAT_GDT + (sel & ~7u), desc, 8);
}
/* IDT gate of @type (0xE, 0xF, ...) with DPL @dpl. */
static inline void flat_gate(struct flat *f, u8 vector, u16 sel, u64 rip, u8 type, u8 dpl, u8 ist)
{
    u64 lo = (rip & 0xFFFF) | (u64)sel << 16 | (u64)ist << 32 |
             (u64)(0x80 | dpl << 5 | type) << 40 | (rip >> 16 & 0xFFFF) << 48;
    u32 at = FLAT_IDT + vector * (vcpu_is_long(&f->v) ? 16 : 8);
    flat_put(f, at, lo, 8);
    if (vcpu_is_long(&f->v)) flat_put(f, at + 8, rip >> 32, 8);
}
static inline void flat_set_seg(struct flat *f, enum seg_id s, u16 sel)
{
    seg_from_desc(&f->v.seg[s], sel, flat_get(f, FLAT_GDT + (sel & ~7u), 8));
    if (s == CS) f->v.cpl = sel & 3;
}
static inline void flat_tables(struct flat *f)
{
    flat_gdt(f, S_CODE32, flat_desc(0, 0xFFFFF, 0xC09B));
    flat_gdt(f, S_DATA, flat_desc(0, 0xFFFFF, 0xC093));
    flat_gdt(f, S_UCODE32, flat_desc(0, 0xFFFFF, 0xC0FB));
    flat_gdt(f, S_UDATA, flat_desc(0, 0xFFFFF, 0xC0F3));
    flat_gdt(f, S_TSS, flat_desc(FLAT_TSS, 0xFF, 0x8B));
    flat_gdt(f, S_CODE64, flat_desc(0, 0xFFFFF, 0xA09B));
    flat_gdt(f, S_UCODE64, flat_desc(0, 0xFFFFF, 0xA0FB));
    flat_gdt(f, S_CONF, flat_desc(0, 0xFFFFF, 0xC09F));
    flat_gdt(f, S_DOWN, flat_desc(0, 0xFFFF, 0x4097));
    flat_gdt(f, S_ABSENT, flat_desc(0, 0xFFFFF, 0xC013));
    flat_gdt(f, S_RODATA, flat_desc(0, 0xFFFFF, 0xC091));
    flat_gdt(f, S_XCODE, flat_desc(0, 0xFFFFF, 0xC099));
    flat_gdt(f, S_CODE16, flat_desc(0, 0xFFFF, 0x009B));
    flat_gdt(f, S_DATA16, flat_desc(0, 0xFFFF, 0x0093));
    flat_gdt(f, S_TSS2, flat_desc(FLAT_TSS + 0x200, 0x67, 0x89));
    flat_gdt(f, S_TASKGATE, (u64)S_TSS2 << 16 | 0xE5ull << 40);
    flat_gdt(f, S_LDT, flat_desc(FLAT_LDT, 0x3F, 0x82));
    flat_gdt(f, S_SMALL, flat_desc(0x10000, 0xFFF, 0x40F2)); /* not accessed yet */
    flat_gdt(f, S_UDATA2, flat_desc(0, 0xFFFFF, 0xC0F3));
    flat_gdt(f, S_DATA1, flat_desc(0, 0xFFFFF, 0xC0B3));
    flat_gdt(f, S_ABSENT_CODE, flat_desc(0, 0xFFFFF, 0xC01B));
    f->v.gdtr = (struct dtable){FLAT_GDT, S_END - 1};
    f->v.idtr = (struct dtable){FLAT_IDT, 0xFFF};
    f->v.ldtr = (struct seg){.attr = SEG_NULL};
    seg_from_desc(&f->v.tr, S_TSS, flat_get(f, FLAT_GDT + S_TSS, 8));
}
/* Flat 32-bit protected mode at @cpl (0 or 3), no paging. */
static inline struct flat *flat_protected(u8 cpl)
{
    struct flat *f = flat_create();
    f->v.cr0 = CR0_PE | CR0_ET | CR0_NE;
    flat_tables(f);
    flat_put(f, FLAT_TSS + 4, 0x9000, 4);
    flat_put(f, FLAT_TSS + 8, S_DATA, 2);
    flat_set_seg(f, CS, cpl ? S_UCODE32 : S_CODE32);
    for (int s = 0; s < SEGS; s++) {
        if (s != CS) flat_set_seg(f, s, cpl ? S_UDATA : S_DATA);
    }
    f->v.rip = 0x4000;
    f->v.gpr[RSP] = 0x8000;
    vcpu_mode_changed(&f->v);
    return f;
}
/* 64-bit mode at @cpl (0 or 3). */
static inline struct flat *flat_long(u8 cpl)
{
    struct flat *f = flat_protected(cpl);
    f->v.cr0 |= CR0_PG;
    f->v.cr4 = CR4_PAE | CR4_OSFXSR;
    f->v.efer = EFER_LME | EFER_LMA | EFER_SCE | EFER_NXE;
    flat_set_seg(f, CS, cpl ? S_UCODE64 : S_CODE64);
    flat_put(f, FLAT_TSS + 4, 0x9000, 8);
    flat_put(f, FLAT_TSS + 8, 0, 4);
    flat_put(f, FLAT_TSS + 0x24, 0xA008, 8);
    vcpu_mode_changed(&f->v);
    return f;
}
/* Decode, bind and execute the instruction in @code at v->rip; X_NEXT advances. */
static inline enum x_result flat_run(struct flat *f, const char *code, u32 bytes)
{
    struct insn i;
    f->v.exc.kind = EV_NONE;
    assert_int_equal(isa_decode(&i, (const u8 *)code, bytes, f->v.mode), bytes);
    insn_bind(&f->v, &i, x_ud);
    enum x_result r = i.exec(&f->v, &i);
    if (r == X_NEXT) f->v.rip = vcpu_next_rip(&f->v, &i);
    return r;
}
#define RUN(f, code) flat_run(f, code, sizeof(code) - 1)
#define assert_fault(f, vec, err)                                                                  \
    do {                                                                                           \
        assert_int_equal((f)->v.exc.vector, (vec));                                                \
        assert_int_equal((f)->v.exc.error, (err));                                                 \
    } while (0)
#endif

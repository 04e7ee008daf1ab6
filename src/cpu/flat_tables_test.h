/* cpu/flat_tables_test.h - descriptor tables for cpu/flat_test.h: processors that start in
 * protected or 64-bit mode with a GDT that has a segment of every kind. */
#ifndef CPU_FLAT_TABLES_TEST_H
#define CPU_FLAT_TABLES_TEST_H
#include "cpu/flat_test.h"

enum { FLAT_GDT = 0x1000, FLAT_IDT = 0x2000, FLAT_TSS = 0x3000, FLAT_LDT = 0x3800 };
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
/* IDT gate; @attr: type 3:0 (0xE, 0xF, ...), DPL 6:5, IST 10:8. */
static inline void flat_gate(struct flat *f, u8 vector, u16 sel, u64 rip, u32 attr)
{
    u64 lo = (rip & 0xFFFF) | (u64)sel << 16 | (u64)(attr >> 8) << 32 |
             (u64)(0x80 | (attr & 0x7F)) << 40 | (rip >> 16 & 0xFFFF) << 48;
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
#endif

/* acpi - lay the tables out in one buffer, each on a 64-byte boundary, then copy it into the guest.
 * Offsets in the builders below are the specification's; every field not written is 0. */
#include "boot/acpi.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "boot/acpi_internal.h"

enum { HEADER_BYTES = 36, FADT_BYTES = 276, FACS_BYTES = 64 };
enum { FADT_FACS = 36, FADT_DSDT = 40, FADT_X_DSDT = 140 };
enum { /* table header, ACPI 6.5 §5.2.6 */
       HDR_LENGTH = 4,
       HDR_REVISION = 8,
       HDR_OEM_ID = 10,
       HDR_OEM_TABLE_ID = 16,
       HDR_OEM_REVISION = 24,
       HDR_CREATOR_ID = 28,
       HDR_CREATOR_REVISION = 32,
};
enum { /* FADT flags and IA-PC boot architecture flags, §5.2.9 */
       FADT_WBINVD = 1 << 0,
       FADT_PROC_C1 = 1 << 2,
       FADT_NO_SLEEP_BUTTON = 1 << 5,
       FADT_NO_FIX_RTC = 1 << 6,
       FADT_TMR_VAL_EXT = 1 << 8,
       FADT_RESET_REG_SUP = 1 << 10,
       ARCH_LEGACY_DEVICES = 1 << 0,
       ARCH_8042 = 1 << 1,
       ARCH_NO_VGA = 1 << 2,
};
enum { MADT_LAPIC = 0, MADT_IOAPIC = 1, MADT_OVERRIDE = 2, MADT_LAPIC_NMI = 4 };
enum { MADT_PCAT_COMPAT = 1, INTI_HIGH_LEVEL = 0xd, IOAPIC_PINS = 24, PIT_PIN = 2 };

static void set16(u8 *p, u16 v) { memcpy(p, &v, 2); } /* x86 host: little-endian */
static void set32(u8 *p, u32 v) { memcpy(p, &v, 4); }
static void set64(u8 *p, u64 v) { memcpy(p, &v, 8); }

static u8 checksum(const u8 *p, u32 bytes)
{
    u8 sum = 0;
    for (u32 i = 0; i < bytes; i++) sum = (u8)(sum + p[i]);
    return (u8)-sum;
}

/* Next aligned place with room for @bytes; a place outside is never written to (full is set). */
static u8 *reserve(struct acpi_area *ar, u32 bytes)
{
    u32 start = (u32)align_up(ar->bytes, ACPI_TABLE_ALIGN);
    if (ar->full || start > ACPI_AREA_BYTES || bytes > ACPI_AREA_BYTES - start) {
        ar->full = true;
        return NULL;
    }
    ar->bytes = start + bytes;
    return ar->buf + start;
}

/* A pointer to @table of @bytes (4 or 8) at @at, which lies in the area. */
static void point(struct acpi_area *ar, u8 *at, const u8 *table, u8 bytes)
{
    ASSERT(ar->pointers < ACPI_POINTERS_MAX, "ACPI: %u pointers", ar->pointers);
    set32(at, (u32)(ar->base + (gpa_t)(table - ar->buf)));
    ar->pointer[ar->pointers].at = (u32)(at - ar->buf);
    ar->pointer[ar->pointers++].bytes = bytes;
}

static void seal(struct acpi_area *ar, u8 *table, const char *signature, u8 revision, u32 bytes)
{
    memcpy(table, signature, 4);
    set32(table + HDR_LENGTH, bytes);
    table[HDR_REVISION] = revision;
    memcpy(table + HDR_OEM_ID, "RING3 ", 6);
    memcpy(table + HDR_OEM_TABLE_ID, "RING3PC ", 8);
    set32(table + HDR_OEM_REVISION, 1);
    memcpy(table + HDR_CREATOR_ID, "RNG3", 4);
    set32(table + HDR_CREATOR_REVISION, 1);
    table[ACPI_HDR_CHECKSUM] = 0;
    table[ACPI_HDR_CHECKSUM] = checksum(table, bytes);
    ASSERT(ar->tables < ACPI_TABLES_MAX, "ACPI: %u tables", ar->tables);
    ar->table[ar->tables].at = (u32)(table - ar->buf);
    ar->table[ar->tables++].bytes = bytes;
}

static u8 *build_dsdt(struct acpi_area *ar, const struct acpi_config *cfg)
{
    struct aml aml;
    u32 start = (u32)align_up(ar->bytes, ACPI_TABLE_ALIGN);
    u8 *t = reserve(ar, HEADER_BYTES);
    if (!t) return NULL;
    aml_init(&aml, t + HEADER_BYTES, ACPI_AREA_BYTES - start - HEADER_BYTES);
    dsdt_write(&aml, cfg);
    if (aml.failed) {
        ar->full = true;
        return NULL;
    }
    ar->bytes += (u32)aml.bytes;
    seal(ar, t, "DSDT", 2, HEADER_BYTES + (u32)aml.bytes);
    return t;
}

/* §5.2.10: not a standard header, no checksum. */
static u8 *build_facs(struct acpi_area *ar)
{
    u8 *t = reserve(ar, FACS_BYTES);
    if (!t) return NULL;
    memcpy(t, "FACS", 4);
    set32(t + HDR_LENGTH, FACS_BYTES);
    t[32] = 2; /* version */
    return t;
}

/* A fixed-hardware block in both of its forms: 32-bit port at @old, generic address at @gas
 * (§5.2.3.2). */
struct block {
    u16 old, len_at, gas;
    u16 port;
    u8 bytes;
    u8 access; /* 1 byte, 2 word, 3 dword */
};

static void fadt_block(u8 *t, const struct block *b)
{
    set32(t + b->old, b->port);
    t[b->len_at] = b->bytes;
    t[b->gas] = 1; /* system I/O space */
    t[b->gas + 1] = (u8)(b->bytes * 8);
    t[b->gas + 3] = b->access;
    set64(t + b->gas + 4, b->port);
}

static void fadt_fixed(u8 *t, const struct acpi_config *cfg)
{
    const struct block blocks[] = {
        {56, 88, 148, cfg->pm1_evt, 4, 2},
        {64, 89, 172, cfg->pm1_cnt, 2, 2},
        {76, 91, 208, cfg->pm_tmr, 4, 3},
        {80, 92, 220, cfg->gpe0, cfg->gpe0_bytes, 1},
    };
    for (u32 i = 0; i < ARRAY_LEN(blocks); i++) fadt_block(t, &blocks[i]);
    t[116] = 1; /* RESET_REG: one byte of I/O space */
    t[117] = 8;
    t[119] = 1;
    set64(t + 120, cfg->reset_port);
    t[128] = cfg->reset_value;
}

/* §5.2.9, revision 6.3 */
static u8 *build_fadt(struct acpi_area *ar, const struct acpi_config *cfg, const u8 *facs,
                      const u8 *dsdt)
{
    u8 *t = reserve(ar, FADT_BYTES);
    if (!t) return NULL;
    point(ar, t + FADT_FACS, facs, 4);
    point(ar, t + FADT_DSDT, dsdt, 4);
    set16(t + 46, cfg->sci_irq);
    set32(t + 48, cfg->smi_cmd);
    t[52] = cfg->acpi_enable;
    t[53] = cfg->acpi_disable;
    set16(t + 96, 0xffff); /* worst C2 and C3 latency: not supported */
    set16(t + 98, 0xffff);
    t[108] = cfg->century_index;
    set16(t + 109, (u16)(ARCH_LEGACY_DEVICES | (cfg->has_i8042 ? ARCH_8042 : 0) |
                         (cfg->has_vga ? 0 : ARCH_NO_VGA)));
    set32(t + 112, FADT_WBINVD | FADT_PROC_C1 | FADT_NO_SLEEP_BUTTON | FADT_NO_FIX_RTC |
                       FADT_TMR_VAL_EXT | FADT_RESET_REG_SUP);
    t[131] = 3; /* minor version */
    point(ar, t + FADT_X_DSDT, dsdt, 8);
    fadt_fixed(t, cfg);
    seal(ar, t, "FACP", 6, FADT_BYTES);
    return t;
}

static u8 *override_irq(u8 *p, u8 irq, u32 gsi, u16 flags)
{
    p[0] = MADT_OVERRIDE;
    p[1] = 10;
    p[3] = irq;
    set32(p + 4, gsi);
    set16(p + 8, flags);
    return p + 10;
}

/* ISA interrupts that do not go straight through: the timer's pin, and the level-triggered ones. */
static u8 *overrides(u8 *p, const struct acpi_config *cfg)
{
    u32 level = BIT(cfg->sci_irq);
    for (u32 i = 0; i < ARRAY_LEN(cfg->pirq_irq); i++) level |= BIT(cfg->pirq_irq[i]);
    p = override_irq(p, 0, PIT_PIN, 0);
    for (u8 irq = 1; irq < 16; irq++) {
        if (level & BIT(irq)) p = override_irq(p, irq, irq, INTI_HIGH_LEVEL);
    }
    return p;
}

/* §5.2.12, revision 4 */
static u8 *build_madt(struct acpi_area *ar, const struct acpi_config *cfg)
{
    enum { FIXED = HEADER_BYTES + 8, OVERRIDES_MAX = 6 };
    u8 *t = reserve(ar, FIXED + 8 * cfg->cpus + 12 + 10 * OVERRIDES_MAX + 6);
    if (!t) return NULL;
    set32(t + 36, (u32)LAPIC_GPA);
    set32(t + 40, MADT_PCAT_COMPAT);
    u8 *p = t + FIXED;
    for (u32 i = 0; i < cfg->cpus; i++, p += 8) {
        p[0] = MADT_LAPIC;
        p[1] = 8;
        p[2] = p[3] = (u8)i; /* processor UID, APIC id */
        set32(p + 4, 1);     /* enabled */
    }
    p[0] = MADT_IOAPIC;
    p[1] = 12;
    p[2] = cfg->ioapic_id;
    set32(p + 4, (u32)IOAPIC_GPA);
    p = overrides(p + 12, cfg);
    p[0] = MADT_LAPIC_NMI;
    p[1] = 6;
    p[2] = 0xff; /* every processor */
    p[5] = 1;    /* LINT1 */
    p += 6;
    ar->bytes -= (u32)(ar->buf + ar->bytes - p);
    seal(ar, t, "APIC", 4, (u32)(p - t));
    return t;
}

/* IA-PC HPET 1.0a 3.2.4 */
static u8 *build_hpet(struct acpi_area *ar, const struct acpi_config *cfg)
{
    enum { HPET_TABLE_BYTES = 56 };
    u8 *t = reserve(ar, HPET_TABLE_BYTES);
    if (!t) return NULL;
    set32(t + 36, cfg->hpet_id);
    t[41] = 64; /* bits; address space 0: memory */
    set64(t + 44, cfg->hpet_gpa);
    set16(t + 53, cfg->hpet_min_tick);
    seal(ar, t, "HPET", 1, HPET_TABLE_BYTES);
    return t;
}

/* RSDT (4-byte entries) or XSDT (8-byte entries), §5.2.7-5.2.8. */
static u8 *build_sdt(struct acpi_area *ar, u8 entry_bytes, u8 *const *tables, u32 count)
{
    u32 bytes = HEADER_BYTES + entry_bytes * count;
    u8 *t = reserve(ar, bytes);
    if (!t) return NULL;
    for (u32 i = 0; i < count; i++)
        point(ar, t + HEADER_BYTES + i * entry_bytes, tables[i], entry_bytes);
    seal(ar, t, entry_bytes == 4 ? "RSDT" : "XSDT", 1, bytes);
    return t;
}

/* §5.2.5.3 */
static void build_rsdp(u8 *t, const struct acpi_area *ar)
{
    memcpy(t, "RSD PTR ", 8);
    memcpy(t + 9, "RING3 ", 6);
    t[15] = 2; /* revision */
    set32(t + ACPI_RSDP_RSDT, (u32)ar->base + ar->rsdt);
    t[ACPI_RSDP_CHECKSUM] = checksum(t, ACPI_RSDP_V1_BYTES);
    set32(t + 20, ACPI_RSDP_BYTES);
    set64(t + ACPI_RSDP_XSDT, ar->base + ar->xsdt);
    t[ACPI_RSDP_CHECKSUM2] = checksum(t, ACPI_RSDP_BYTES);
}

static void build_all(struct acpi_area *ar, const struct acpi_config *cfg)
{
    u8 *facs = build_facs(ar), *dsdt = build_dsdt(ar, cfg);
    u8 *madt = build_madt(ar, cfg);
    if (ar->full) return;
    u8 *fadt = build_fadt(ar, cfg, facs, dsdt);
    if (!fadt) return;
    u8 *hpet = cfg->hpet_gpa ? build_hpet(ar, cfg) : NULL;
    u8 *const tables[] = {fadt, madt, hpet};
    u32 count = hpet ? 3 : 2;
    u8 *rsdt = build_sdt(ar, 4, tables, count);
    u8 *xsdt = build_sdt(ar, 8, tables, count);
    if (ar->full) return;
    ar->rsdt = (u32)(rsdt - ar->buf);
    ar->xsdt = (u32)(xsdt - ar->buf);
}

static int check(const struct acpi_config *cfg, struct err *e)
{
    if (cfg->cpus < 1 || cfg->cpus > VCPUS_MAX) {
        return err_set(e, E_INVAL, "ACPI: %u processors, not 1 to %d", cfg->cpus, VCPUS_MAX);
    }
    for (u32 i = 0; i < ARRAY_LEN(cfg->pirq_irq); i++) {
        if (cfg->pirq_irq[i] < 3 || cfg->pirq_irq[i] > 15) {
            return err_set(e, E_INVAL, "ACPI: PCI link %u at IRQ %u", i, cfg->pirq_irq[i]);
        }
    }
    if (cfg->sci_irq < 1 || cfg->sci_irq > 15) {
        return err_set(e, E_INVAL, "ACPI: SCI at IRQ %u", cfg->sci_irq);
    }
    return 0;
}

int acpi_area_build(struct acpi_area *ar, const struct acpi_config *cfg, u8 rsdp[ACPI_RSDP_BYTES],
                    struct err *e)
{
    int rc = check(cfg, e);
    if (rc < 0) return rc;
    build_all(ar, cfg);
    if (ar->full)
        return err_set(e, E_RANGE, "ACPI tables need more than %d bytes", ACPI_AREA_BYTES);
    memset(rsdp, 0, ACPI_RSDP_BYTES);
    build_rsdp(rsdp, ar);
    return 0;
}

/* The RSDP comes first, so it is where the operating system looks for it. */
int acpi_build(struct mem *mem, const struct acpi_config *cfg, gpa_t *rsdp_gpa, struct err *e)
{
    struct acpi_area ar = {
        .buf = calloc(1, ACPI_AREA_BYTES), .base = ACPI_START, .bytes = ACPI_RSDP_BYTES};
    u8 rsdp[ACPI_RSDP_BYTES];
    if (!ar.buf) return err_set(e, E_NOMEM, "ACPI tables");
    int rc = acpi_area_build(&ar, cfg, rsdp, e);
    if (rc == 0) {
        memcpy(ar.buf, rsdp, sizeof rsdp);
        if (mem_load(mem, ACPI_START, ar.buf, ACPI_AREA_BYTES) < 0)
            rc = err_set(e, E_RANGE, "no memory at %#x for the ACPI tables", ACPI_START);
        else *rsdp_gpa = ACPI_START;
    }
    free(ar.buf);
    return rc;
}

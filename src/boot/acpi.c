/* acpi - lay the tables out in one buffer, each on a 64-byte boundary, then copy it into the guest.
 * Offsets in the builders below are the specification's; every field not written is 0. */
#include "boot/acpi.h"

#include <stdlib.h>
#include <string.h>

#include "boot/acpi_internal.h"
#include "boot/layout.h"

enum { AREA_BYTES = ACPI_END - ACPI_START, TABLE_ALIGN = 64 };
enum { HEADER_BYTES = 36, RSDP_BYTES = 36, RSDP_V1_BYTES = 20, FADT_BYTES = 276, FACS_BYTES = 64 };
enum { /* table header, ACPI 6.5 §5.2.6 */
       HDR_LENGTH = 4,
       HDR_REVISION = 8,
       HDR_CHECKSUM = 9,
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

/* The area being filled: tables at `base` of guest memory. */
struct area {
    u8 *buf;
    u32 bytes; /* used */
    bool full;
};

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
static u8 *reserve(struct area *ar, u32 bytes)
{
    u32 start = (u32)align_up(ar->bytes, TABLE_ALIGN);
    if (ar->full || start > AREA_BYTES || bytes > AREA_BYTES - start) {
        ar->full = true;
        return NULL;
    }
    ar->bytes = start + bytes;
    return ar->buf + start;
}

static u32 gpa_of(const struct area *ar, const u8 *table)
{
    return (u32)(ACPI_START + (table - ar->buf));
}

static void seal(u8 *table, const char *signature, u8 revision, u32 bytes)
{
    memcpy(table, signature, 4);
    set32(table + HDR_LENGTH, bytes);
    table[HDR_REVISION] = revision;
    memcpy(table + HDR_OEM_ID, "RING3 ", 6);
    memcpy(table + HDR_OEM_TABLE_ID, "RING3PC ", 8);
    set32(table + HDR_OEM_REVISION, 1);
    memcpy(table + HDR_CREATOR_ID, "RNG3", 4);
    set32(table + HDR_CREATOR_REVISION, 1);
    table[HDR_CHECKSUM] = 0;
    table[HDR_CHECKSUM] = checksum(table, bytes);
}

static u8 *build_dsdt(struct area *ar, const struct acpi_config *cfg)
{
    struct aml aml;
    u32 start = (u32)align_up(ar->bytes, TABLE_ALIGN);
    u8 *t = reserve(ar, HEADER_BYTES);
    if (!t) return NULL;
    aml_init(&aml, t + HEADER_BYTES, AREA_BYTES - start - HEADER_BYTES);
    dsdt_write(&aml, cfg);
    if (aml.failed) {
        ar->full = true;
        return NULL;
    }
    ar->bytes += (u32)aml.bytes;
    seal(t, "DSDT", 2, HEADER_BYTES + (u32)aml.bytes);
    return t;
}

/* §5.2.10: not a standard header, no checksum. */
static u8 *build_facs(struct area *ar)
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
static u8 *build_fadt(struct area *ar, const struct acpi_config *cfg, u32 facs_gpa, u32 dsdt_gpa)
{
    u8 *t = reserve(ar, FADT_BYTES);
    if (!t) return NULL;
    set32(t + 36, facs_gpa);
    set32(t + 40, dsdt_gpa);
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
    set64(t + 140, dsdt_gpa);
    fadt_fixed(t, cfg);
    seal(t, "FACP", 6, FADT_BYTES);
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
static u8 *build_madt(struct area *ar, const struct acpi_config *cfg)
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
    seal(t, "APIC", 4, (u32)(p - t));
    return t;
}

/* RSDT (4-byte entries) or XSDT (8-byte entries), §5.2.7-5.2.8. */
static u8 *build_sdt(struct area *ar, u32 entry_bytes, const u32 *gpas, u32 count)
{
    u32 bytes = HEADER_BYTES + entry_bytes * count;
    u8 *t = reserve(ar, bytes);
    if (!t) return NULL;
    for (u32 i = 0; i < count; i++) set32(t + HEADER_BYTES + i * entry_bytes, gpas[i]);
    seal(t, entry_bytes == 4 ? "RSDT" : "XSDT", 1, bytes);
    return t;
}

/* §5.2.5.3 */
static void build_rsdp(u8 *t, u32 rsdt_gpa, u32 xsdt_gpa)
{
    memcpy(t, "RSD PTR ", 8);
    memcpy(t + 9, "RING3 ", 6);
    t[15] = 2; /* revision */
    set32(t + 16, rsdt_gpa);
    t[8] = checksum(t, RSDP_V1_BYTES);
    set32(t + 20, RSDP_BYTES);
    set64(t + 24, xsdt_gpa);
    t[32] = checksum(t, RSDP_BYTES);
}

static void build_all(struct area *ar, const struct acpi_config *cfg)
{
    u8 *rsdp = reserve(ar, RSDP_BYTES);
    u8 *facs = build_facs(ar), *dsdt = build_dsdt(ar, cfg);
    u8 *madt = build_madt(ar, cfg);
    if (ar->full) return;
    u8 *fadt = build_fadt(ar, cfg, gpa_of(ar, facs), gpa_of(ar, dsdt));
    if (!fadt) return;
    u32 gpas[] = {gpa_of(ar, fadt), gpa_of(ar, madt)};
    u8 *rsdt = build_sdt(ar, 4, gpas, ARRAY_LEN(gpas));
    u8 *xsdt = build_sdt(ar, 8, gpas, ARRAY_LEN(gpas));
    if (!ar->full) build_rsdp(rsdp, gpa_of(ar, rsdt), gpa_of(ar, xsdt));
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

int acpi_build(struct mem *mem, const struct acpi_config *cfg, gpa_t *rsdp_gpa, struct err *e)
{
    int rc = check(cfg, e);
    if (rc < 0) return rc;
    struct area ar = {.buf = calloc(1, AREA_BYTES)};
    if (!ar.buf) return err_set(e, E_NOMEM, "ACPI tables");
    build_all(&ar, cfg);
    if (ar.full) {
        rc = err_set(e, E_RANGE, "ACPI tables need more than %d bytes", AREA_BYTES);
    } else if (mem_load(mem, ACPI_START, ar.buf, AREA_BYTES) < 0) {
        rc = err_set(e, E_RANGE, "no memory at %#x for the ACPI tables", ACPI_START);
    } else {
        *rsdp_gpa = ACPI_START;
    }
    free(ar.buf);
    return rc;
}

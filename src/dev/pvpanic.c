/* dev/pvpanic.c - panic notification: the guest's kernel writes an event here when it panics, and
 * reads which events are understood. Linux finds the port through ACPI device QEMU0001.
 * Spec: QEMU docs/specs/pvpanic.  Threads: under the bus lock. */
#include "dev/misc.h"

/* Bits of the one register. CRASH_LOADED: a crash kernel takes over, the guest helps itself. */
enum { PVPANIC_PANICKED = 1 << 0, PVPANIC_CRASH_LOADED = 1 << 1 };

static u64 pvpanic_read(struct dev *d, u64 off, u32 bytes)
{
    (void)d, (void)off, (void)bytes;
    return PVPANIC_PANICKED | PVPANIC_CRASH_LOADED;
}

static void pvpanic_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)off, (void)bytes;
    if (val & PVPANIC_PANICKED) dev_report_panic(d);
}

static const struct dev_region pvpanic_regions[] = {
    {"pvpanic", BUS_PORT, true, PVPANIC_PORT, 1, 1, 1, pvpanic_read, pvpanic_write},
    {0},
};

const struct dev_class pvpanic_class = {
    .name = "pvpanic",
    .version = 1,
    .inst_bytes = sizeof(struct dev),
    .regions = pvpanic_regions,
};

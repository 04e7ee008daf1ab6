/* boot/e820.h - the memory map of machine `pc`: RAM slots, and the list of ranges the guest
 * is told about.
 * Spec: ACPI 6.5 §15 (address range types). */
#ifndef BOOT_E820_H
#define BOOT_E820_H
#include "base/err.h"
#include "base/types.h"
#include "mem/mem.h"

enum e820_type { E820_RAM = 1, E820_RESERVED = 2, E820_ACPI = 3, E820_NVS = 4 };
enum { E820_ENTRIES_MAX = 56 };

#define E820_SHADOW "shadow RAM"

struct e820_entry {
    gpa_t base;
    u64 bytes;
    enum e820_type type;
};
struct e820 {
    u32 count;
    struct e820_entry entry[E820_ENTRIES_MAX]; /* sorted by base, disjoint */
};

/**
 * e820_add_ram - add the RAM of a `pc` with @ram_bytes: [0, 640 KiB), [768 KiB, 1 MiB), [1 MiB, 3
 * GiB) and [4 GiB, ...). The VGA window is left out and not made up for: it is lost, as on a real
 * PC. The second piece is the shadow RAM, backing E820_SHADOW: mapped here, the host bridge may
 * change that.
 * @ram_bytes  whole pages, at least MEM_BYTES_MIN
 * Errors: E_RANGE, and those of mem_add.
 */
int e820_add_ram(struct mem *mem, u64 ram_bytes, struct err *e) MUST_USE;

/** e820_build - the map for the slots of @mem: RAM below EBDA_START and from HIGH_RAM_START on;
 * EBDA and [ACPI_START, ACPI_END) reserved, ROM slots too; memory of devices is not mentioned.
 * Never more than E820_ENTRIES_MAX entries. */
void e820_build(struct e820 *map, const struct mem *mem);
/** e820_is_ram - whether all of [base, base + bytes) is usable RAM in one entry; false on overflow
 * and for 0 bytes. */
bool e820_is_ram(const struct e820 *map, gpa_t base, u64 bytes);
/** e820_find_high - highest multiple of @align (a power of two) in [floor, end) from which on
 * @bytes of RAM lie below @end; 0 when there is none. */
gpa_t e820_find_high(const struct e820 *map, gpa_t floor, gpa_t end, u64 bytes, u64 align);
/** e820_ram_end - end of the highest RAM range below @limit. */
gpa_t e820_ram_end(const struct e820 *map, gpa_t limit);
#endif

/* acpi_files - the ACPI tables as files for firmware, and the script that tells it where to put
 * them and which pointers and checksums to mend. A command is 128 bytes: u32 number, then 1
 * allocate       file[56], u32 align, u8 zone (1 high memory, 2 [F0000, 100000)) 2 add pointer file
 * to change[56], file pointed into[56], u32 offset, u8 bytes 3 add checksum   file[56], u32 offset
 * of the checksum, u32 start, u32 length */
#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "boot/acpi_internal.h"

enum { COMMAND_BYTES = 128, NAME_BYTES = 56, COMMANDS_MAX = 64 };
enum { ALLOCATE = 1, ADD_POINTER = 2, ADD_CHECKSUM = 3, ZONE_HIGH = 1, ZONE_FSEG = 2 };
enum { RSDP_ALIGN = 16 };

static u8 *command(struct acpi_files *f, u32 number, const char *file)
{
    ASSERT(f->loader_bytes < COMMANDS_MAX * COMMAND_BYTES, "ACPI loader: too many commands");
    u8 *c = f->loader + f->loader_bytes;
    f->loader_bytes += COMMAND_BYTES;
    memset(c, 0, COMMAND_BYTES);
    memcpy(c, &number, 4);
    memcpy(c + 4, file, strlen(file));
    return c + 4 + NAME_BYTES;
}

static void allocate(struct acpi_files *f, const char *file, u32 align, u8 zone)
{
    u8 *c = command(f, ALLOCATE, file);
    memcpy(c, &align, 4);
    c[4] = zone;
}

static void add_pointer(struct acpi_files *f, const char *file, u32 offset, u8 bytes)
{
    u8 *c = command(f, ADD_POINTER, file);
    memcpy(c, ACPI_FILE_TABLES, sizeof ACPI_FILE_TABLES);
    memcpy(c + NAME_BYTES, &offset, 4);
    c[NAME_BYTES + 4] = bytes;
}

static void add_checksum(struct acpi_files *f, const char *file, u32 offset, const u32 range[2])
{
    u8 *c = command(f, ADD_CHECKSUM, file);
    memcpy(c, &offset, 4);
    memcpy(c + 4, range, 8);
}

static void write_loader(struct acpi_files *f, const struct acpi_area *ar)
{
    static const u32 v1[2] = {0, ACPI_RSDP_V1_BYTES}, v2[2] = {0, ACPI_RSDP_BYTES};
    f->loader_bytes = 0;
    allocate(f, ACPI_FILE_TABLES, ACPI_TABLE_ALIGN, ZONE_HIGH);
    allocate(f, ACPI_FILE_RSDP, RSDP_ALIGN, ZONE_FSEG);
    for (u32 i = 0; i < ar->pointers; i++)
        add_pointer(f, ACPI_FILE_TABLES, ar->pointer[i].at, ar->pointer[i].bytes);
    for (u32 i = 0; i < ar->tables; i++) {
        const u32 range[2] = {ar->table[i].at, ar->table[i].bytes};
        add_checksum(f, ACPI_FILE_TABLES, range[0] + ACPI_HDR_CHECKSUM, range);
    }
    add_pointer(f, ACPI_FILE_RSDP, ACPI_RSDP_RSDT, 4);
    add_pointer(f, ACPI_FILE_RSDP, ACPI_RSDP_XSDT, 8);
    add_checksum(f, ACPI_FILE_RSDP, ACPI_RSDP_CHECKSUM, v1);
    add_checksum(f, ACPI_FILE_RSDP, ACPI_RSDP_CHECKSUM2, v2);
}

/* Firmware adds to a pointer what is there, an offset; a checksum has to be 0 before. */
static int build(struct acpi_files *f, const struct acpi_config *cfg, struct err *e)
{
    struct acpi_area ar = {.buf = f->tables};
    memset(f->tables, 0, ACPI_AREA_BYTES);
    int rc = acpi_area_build(&ar, cfg, f->rsdp, e);
    if (rc < 0) return rc;
    for (u32 i = 0; i < ar.tables; i++) f->tables[ar.table[i].at + ACPI_HDR_CHECKSUM] = 0;
    f->rsdp[ACPI_RSDP_CHECKSUM] = f->rsdp[ACPI_RSDP_CHECKSUM2] = 0;
    f->tables_bytes = (u32)align_up(ar.bytes, PAGE_BYTES);
    f->rsdp_bytes = ACPI_RSDP_BYTES;
    write_loader(f, &ar);
    return 0;
}

int acpi_files_build(struct acpi_files *f, const struct acpi_config *cfg, struct err *e)
{
    if (!f->tables) f->tables = malloc(ACPI_AREA_BYTES);
    if (!f->rsdp) f->rsdp = malloc(ACPI_RSDP_BYTES);
    if (!f->loader) f->loader = malloc(COMMANDS_MAX * COMMAND_BYTES);
    if (!f->tables || !f->rsdp || !f->loader) return err_set(e, E_NOMEM, "ACPI tables");
    return build(f, cfg, e);
}

void acpi_files_fini(struct acpi_files *f)
{
    free(f->tables);
    free(f->rsdp);
    free(f->loader);
    *f = (struct acpi_files){0};
}

/* pc_firmware.c - a machine that starts at the reset vector: the firmware's image, and everything
 * firmware asks the machine for through fw_cfg and CMOS.
 *
 * An image that begins with a firmware volume (UEFI) lies in flash; any other is a BIOS in ROM. */
#include "machine/pc_firmware.h"

#include <stdlib.h>
#include <string.h>

#include "boot/e820.h"
#include "dev/acpi_pm.h"
#include "dev/fw_cfg.h"
#include "dev/misc.h"
#include "dev/rtc.h"
#include "host/file.h"
#include "machine/bootorder.h"
#include "machine/machine.h"
#include "machine/pc_disks.h"
#include "machine/pc_flash.h"

#define SEABIOS "/usr/share/seabios/bios-256k.bin" /* Debian package seabios */
#define IMAGE_BYTES_MIN KIB(64)
#define IMAGE_BYTES_MAX MIB(8)
enum { E820_ROW_BYTES = 20, E820_ROWS_MAX = 4 };
enum { CMOS_BOOT_1 = 0x38, CMOS_BOOT_2 = 0x3D };
#define KERNEL_ROM "genroms/ring3-linux.bin"
enum { SYSTEM_STATES = 6, STATE_ON = 1 << 7 };

struct pc_firmware {
    struct pc_flash *flash; /* NULL: a BIOS in ROM */
    u32 rom_id;
    struct acpi_files acpi;
    struct dev *fw_cfg;
    u16 acpi_key[3];
    u8 e820[E820_ROWS_MAX * E820_ROW_BYTES];
    u32 e820_bytes;
    u8 *setup, *rom; /* owned: of a kernel through fw_cfg */
    char bootorder[BOOTORDER_BYTES];
    struct smbios smbios;
};

/* ---- the image ------------------------------------------------------------------------------- */

static int read_image(struct file_data *f, const char *path, struct err *e)
{
    int rc = file_read_all(f, "firmware", path, IMAGE_BYTES_MAX, e);
    if (rc < 0) return rc;
    if (f->bytes >= IMAGE_BYTES_MIN && f->bytes % PAGE_BYTES == 0) return 0;
    return err_set(e, E_FORMAT,
                   "firmware '%s': %llu bytes: not a firmware image (64 KiB to 8 MiB, whole pages)",
                   path, (unsigned long long)f->bytes);
}

/* In flash, the variable store may be the image's first part, and the code begins after it. */
static int load_image(struct machine *m, const struct file_data *f, const char *path, struct err *e)
{
    struct pc_firmware *w = m->fw;
    u64 skip = 0;
    if (pc_flash_is(f)) {
        int rc = pc_flash_open(&w->flash, m, f, path, e);
        if (rc < 0) return rc;
        skip = pc_flash_skip(w->flash);
    } else if (m->cfg.vars) {
        return err_set(e, E_INVAL, "vars '%s': the firmware '%s' is no UEFI image", m->cfg.vars,
                       path);
    }
    int id = mem_add_device(&m->mem, f->bytes - skip, "firmware", e);
    if (id < 0) return id;
    memcpy(m->mem.backing[id].hva, f->data + skip, f->bytes - skip);
    w->rom_id = (u32)id;
    return 0;
}

int firmware_open(struct machine *m, struct err *e)
{
    struct file_data f = {0};
    const char *path = m->cfg.firmware ? m->cfg.firmware : SEABIOS;
    if (m->cfg.kernel && !m->cfg.firmware) return 0;
    m->fw = calloc(1, sizeof *m->fw);
    if (!m->fw) return err_set(e, E_NOMEM, "firmware");
    int rc = read_image(&f, path, e);
    if (rc == 0) rc = load_image(m, &f, path, e);
    file_data_fini(&f);
    return rc;
}

void firmware_close(struct machine *m)
{
    if (!m->fw) return;
    acpi_files_fini(&m->fw->acpi);
    pc_flash_close(m->fw->flash);
    free(m->fw->setup);
    free(m->fw->rom);
    free(m->fw);
    m->fw = NULL;
}

void firmware_host_bridge(const struct machine *m, struct i440fx_cfg *cfg)
{
    cfg->pam_open = !m->fw;
    if (!m->fw) return;
    cfg->rom = true;
    cfg->rom_id = m->fw->rom_id;
}

const u8 *firmware_pirq_irq(const struct machine *m)
{
    /* ISA IRQ of PCI interrupt links A..D: as SeaBIOS, and as OVMF programs them */
    static const u8 bios[PCI_PIRQS] = {10, 10, 11, 11}, uefi[PCI_PIRQS] = {11, 11, 10, 10};
    return m->fw && m->fw->flash ? uefi : bios;
}

/* ---- fw_cfg ---------------------------------------------------------------------------------- */

static void add_e820_row(struct pc_firmware *w, u64 base, u64 bytes, u32 type)
{
    u8 *row = w->e820 + w->e820_bytes;
    if (!bytes) return;
    memcpy(row, &base, 8);
    memcpy(row + 8, &bytes, 8);
    memcpy(row + 16, &type, 4);
    w->e820_bytes += E820_ROW_BYTES;
}

static void add_memory(struct machine *m)
{
    struct pc_firmware *w = m->fw;
    const u64 low = min_u64(m->cfg.memory_bytes, PCI_HOLE_START);
    add_e820_row(w, 0, low, E820_RAM);
    add_e820_row(w, RAM_ABOVE_4G, m->cfg.memory_bytes - low, E820_RAM);
    fw_cfg_add_file(w->fw_cfg, "etc/e820", w->e820, w->e820_bytes);
    fw_cfg_set_int(w->fw_cfg, FW_CFG_RAM_SIZE, m->cfg.memory_bytes, 8);
}

static void add_smbios(struct machine *m)
{
    struct pc_firmware *w = m->fw;
    struct smbios_config cfg;
    pc_describe_smbios(m, &cfg);
    smbios_make(&w->smbios, &cfg, 0);
    fw_cfg_add_file(w->fw_cfg, SMBIOS_FILE_ANCHOR, w->smbios.anchor, SMBIOS_ANCHOR_BYTES);
    fw_cfg_add_file(w->fw_cfg, SMBIOS_FILE_TABLES, w->smbios.tables, w->smbios.bytes);
}

static void add_processors(struct machine *m)
{
    struct dev *d = m->fw->fw_cfg;
    fw_cfg_set_int(d, FW_CFG_NB_CPUS, m->cfg.cpus, 2);
    fw_cfg_set_int(d, FW_CFG_MAX_CPUS, m->cfg.cpus, 2);
    fw_cfg_set_int(d, FW_CFG_NOGRAPHIC, 0, 2);
}

static int add_acpi(struct machine *m, struct err *e)
{
    struct pc_firmware *w = m->fw;
    int rc = acpi_files_build(&w->acpi, &m->acpi, e);
    if (rc < 0) return rc;
    const struct acpi_files *a = &w->acpi;
    w->acpi_key[0] = fw_cfg_add_file(w->fw_cfg, ACPI_FILE_TABLES, a->tables, a->tables_bytes);
    w->acpi_key[1] = fw_cfg_add_file(w->fw_cfg, ACPI_FILE_RSDP, a->rsdp, a->rsdp_bytes);
    w->acpi_key[2] = fw_cfg_add_file(w->fw_cfg, ACPI_FILE_LOADER, a->loader, a->loader_bytes);
    return 0;
}

/* The tables name the ports of the power management block, which firmware has chosen by the time it
 * asks for them. */
static void prepare(void *ctx, u16 key)
{
    struct machine *m = ctx;
    struct pc_firmware *w = m->fw;
    struct err e;
    bool tables = false;
    for (u32 i = 0; i < ARRAY_LEN(w->acpi_key); i++) tables |= key && key == w->acpi_key[i];
    if (!tables) return;
    pc_describe(m);
    if (acpi_files_build(&w->acpi, &m->acpi, &e) < 0) log_warn(&m->log, "%s", e.text);
}

/* ---- what to boot ---------------------------------------------------------------------------- */

/* SeaBIOS starts a kernel through an option ROM, which then comes before every drive. */
static bool has_kernel_rom(const struct machine *m) { return m->image && !m->fw->flash; }

static int add_boot_order(struct machine *m, struct err *e)
{
    struct pc_firmware *w = m->fw;
    struct dev *rtc = dev_find(&m->devs, "rtc");
    struct boot_order boot;
    int rc = boot_order_parse(&boot, m->cfg.boot, e);
    if (rc < 0) return rc;
    const u16 cmos = bootorder_cmos(boot.order);
    rtc_cmos_set(rtc, CMOS_BOOT_2, (u8)cmos);
    rtc_cmos_set(rtc, CMOS_BOOT_1, (u8)(cmos >> 8));
    fw_cfg_set_int(w->fw_cfg, FW_CFG_BOOT_MENU, boot.menu, 2);
    const char *first = has_kernel_rom(m) ? "/rom@" KERNEL_ROM : NULL;
    const u32 bytes = bootorder_text(pc_disks_set(m), boot.order, first, w->bootorder);
    if (bytes) fw_cfg_add_file(w->fw_cfg, "bootorder", w->bootorder, bytes);
    return 0;
}

/* The kernel of --kernel, for firmware to start: a bzImage in two parts, what runs in real mode and
 * the rest, with the header as a boot loader leaves it (Linux Documentation/arch/x86/boot.rst). */
static int add_kernel(struct machine *m, struct err *e)
{
    enum { SETUP_GPA = 0x10000, CMDLINE_GPA = 0x20000, KERNEL_GPA = 0x100000 };
    enum { LOADER = 0x210, FLAGS = 0x211, RAMDISK = 0x218, HEAP_END = 0x224, CMDLINE = 0x228 };
    enum { LOADER_QEMU = 0xB0, CAN_USE_HEAP = 0x80 };
    struct dev *d = m->fw->fw_cfg;
    struct boot_raw raw;
    if (!m->image) return 0;
    int rc = boot_image_raw(m->image, &raw, e);
    if (rc < 0) return rc;
    const u64 low = min_u64(m->cfg.memory_bytes, PCI_HOLE_START);
    const u64 end = min_u64(raw.initrd_end, low - MIB(1));
    if (raw.initrd_bytes + MIB(32) > end)
        return err_set(e, E_RANGE, "initrd '%s' does not fit in memory", m->cfg.initrd);
    const u32 initrd_gpa = (u32)((end - raw.initrd_bytes) & PAGE_MASK);
    const u32 ramdisk[2] = {initrd_gpa, (u32)raw.initrd_bytes}, cmdline = CMDLINE_GPA;
    const u16 heap_end = CMDLINE_GPA - SETUP_GPA - 0x200;
    u8 *setup = m->fw->setup = malloc(raw.setup_bytes);
    if (!setup) return err_set(e, E_NOMEM, "kernel '%s'", m->cfg.kernel);
    memcpy(setup, raw.kernel, raw.setup_bytes);
    setup[LOADER] = LOADER_QEMU;
    setup[FLAGS] |= CAN_USE_HEAP;
    memcpy(setup + RAMDISK, ramdisk, sizeof ramdisk);
    memcpy(setup + HEAP_END, &heap_end, 2);
    memcpy(setup + CMDLINE, &cmdline, 4);
    fw_cfg_set_int(d, FW_CFG_SETUP_ADDR, SETUP_GPA, 4);
    fw_cfg_set_int(d, FW_CFG_SETUP_SIZE, raw.setup_bytes, 4);
    fw_cfg_set(d, FW_CFG_SETUP_DATA, setup, raw.setup_bytes);
    fw_cfg_set_int(d, FW_CFG_KERNEL_ADDR, KERNEL_GPA, 4);
    fw_cfg_set_int(d, FW_CFG_KERNEL_SIZE, raw.kernel_bytes - raw.setup_bytes, 4);
    fw_cfg_set(d, FW_CFG_KERNEL_DATA, raw.kernel + raw.setup_bytes,
               (u32)(raw.kernel_bytes - raw.setup_bytes));
    fw_cfg_set_int(d, FW_CFG_INITRD_ADDR, initrd_gpa, 4);
    fw_cfg_set_int(d, FW_CFG_INITRD_SIZE, raw.initrd_bytes, 4);
    fw_cfg_set(d, FW_CFG_INITRD_DATA, raw.initrd, (u32)raw.initrd_bytes);
    fw_cfg_set_int(d, FW_CFG_CMDLINE_ADDR, CMDLINE_GPA, 4);
    fw_cfg_set_int(d, FW_CFG_CMDLINE_SIZE, strlen(m->cfg.cmdline) + 1, 4);
    fw_cfg_set(d, FW_CFG_CMDLINE_DATA, m->cfg.cmdline, (u32)strlen(m->cfg.cmdline) + 1);
    return 0;
}

static u8 sum(const u8 *p, u32 bytes)
{
    u8 s = 0;
    for (u32 i = 0; i < bytes; i++) s = (u8)(s + p[i]);
    return s;
}

static int add_kernel_rom(struct machine *m, struct err *e)
{
    enum { PNP = 0x20, PNP_BYTES = 32, PNP_SUM = PNP + 9, ROM_SUM = 0x1E };
    const u32 bytes = (u32)(linux_rom_end - linux_rom);
    if (!has_kernel_rom(m)) return 0;
    u8 *rom = m->fw->rom = malloc(bytes);
    if (!rom) return err_set(e, E_NOMEM, "option ROM");
    memcpy(rom, linux_rom, bytes);
    rom[PNP_SUM] = (u8)-sum(rom + PNP, PNP_BYTES);
    rom[ROM_SUM] = (u8)-sum(rom, bytes);
    fw_cfg_add_file(m->fw->fw_cfg, KERNEL_ROM, rom, bytes);
    return 0;
}

/* S5 only: neither S3 (index 3) nor S4; the low bits are the sleep types. */
static const u8 system_states[SYSTEM_STATES] = {STATE_ON, 0, 0, 1, 2, STATE_ON | ACPI_S5_TYPE};

int firmware_add_devices(struct machine *m, struct err *e)
{
    if (!m->fw) return 0;
    struct debug_con_cfg con = {.chardev = &m->debugcon.chardev, .port = FIRMWARE_CON_PORT};
    if (m->cfg.debugcon && !dev_create(&m->devs, &debug_con_class, "firmware_con", &con, e))
        return e->code;
    struct fw_cfg_cfg cfg = {.mem = &m->mem, .prepare = prepare, .ctx = m};
    struct dev *d = m->fw->fw_cfg = dev_create(&m->devs, &fw_cfg_class, "fw_cfg", &cfg, e);
    if (!d) return e->code;
    add_memory(m);
    add_processors(m);
    add_smbios(m);
    fw_cfg_add_file(d, "etc/system-states", system_states, sizeof system_states);
    int rc = add_boot_order(m, e);
    if (rc == 0) rc = add_kernel(m, e);
    if (rc == 0) rc = add_kernel_rom(m, e);
    if (rc == 0 && m->fw->flash) rc = pc_flash_add_device(m->fw->flash, m, e);
    return rc < 0 ? rc : add_acpi(m, e);
}

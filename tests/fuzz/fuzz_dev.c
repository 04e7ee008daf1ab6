/* fuzz_dev - storms of port, MMIO, APIC and interrupt-pin accesses of every size over all devices
 * of machine `pc`, while virtual time jumps and the memory map follows what they ask for; and what
 * the devices then save must load. Some machines have everything there is: firmware in flash,
 * drives of every kind, all ports. Every row of dev/classes.def is in one of them. */
#include "dev/classes.h"
#include "dev/pci_host.h"
#include "fuzz_machine.h"
#include "machine/pc_disks.h"

enum { FIRMWARE_BYTES = 128 << 10, STORE_BYTES = 64 << 10, DISK_BYTES = 1440 << 10 };
enum { MEMORY = 4 << 20 };

/* ---- machines -------------------------------------------------------------------------------- */

static char firmware_path[48], disk_path[48];

static void make_file(char path[48], const void *data, size_t bytes, off_t whole)
{
    snprintf(path, 48, "/tmp/ring3-fuzz-XXXXXX");
    int fd = mkstemp(path);
    FUZZ_CHECK(fd >= 0 && write(fd, data, bytes) == (ssize_t)bytes && ftruncate(fd, whole) == 0);
    close(fd);
}

/* An image of UEFI firmware: a volume of variables, and nothing behind it. */
static void make_files(void)
{
    static const u8 volume[56] = {
        [16] = 0x8D, 0x2B, 0xF1, 0xFF, 0x96, 0x76, 0x8B, 0x4C,     0xA9,
        0x85,        0x27, 0x47, 0x07, 0x5B, 0x4F, 0x50, [34] = 1, /* 64 KiB */
        [40] = '_',  'F',  'V',  'H'};
    make_file(firmware_path, volume, sizeof volume, FIRMWARE_BYTES);
    make_file(disk_path, "", 0, DISK_BYTES);
}

static struct machine *make_full(void)
{
    static char drive[3][96];
    static const char *const kind[] = {"ide", "floppy", "virtio"};
    struct ring3_config cfg = machine_config(1 + fuzz_below(4), MEMORY);
    cfg.kernel = NULL;
    cfg.firmware = firmware_path;
    cfg.serial2 = "none";
    cfg.debugcon = "none";
    cfg.parallel = "file:/dev/null";
    for (u32 i = 0; i < ARRAY_LEN(kind); i++) {
        snprintf(drive[i], sizeof drive[i], "file=%s,readonly,snapshot,if=%s", disk_path, kind[i]);
        cfg.drive[cfg.drives++] = drive[i];
    }
    cfg.drive[cfg.drives++] = "if=ide,media=cdrom";
    return machine_make_of(&cfg);
}

static void check_classes(void)
{
    struct machine *m = make_full();
    u32 count;
    const struct dev_class_row *row = dev_classes(&count);
    for (u32 i = 0; i < count; i++) {
        const struct dev *d = m->devs.first;
        while (d && d->cls != row[i].cls) d = d->next;
        if (!d) fprintf(stderr, "no device of class %s\n", row[i].cls->name);
        FUZZ_CHECK(d != NULL);
    }
    ring3_destroy((struct ring3_vm *)m);
}

/* ---- storms with a purpose ------------------------------------------------------------------- */

/* DMA of fw_cfg to anywhere, its own descriptor included. */
static void fw_cfg_dma(struct machine *m, struct vcpu *v)
{
    const gpa_t at = fuzz_one_in(8) ? fuzz_value() : fuzz_below(MEMORY);
    const u64 to = fuzz_one_in(2) ? at + fuzz_below(64) - 32 : fuzz_value();
    const u32 words[4] = {__builtin_bswap32(fuzz_below(64) << 16 | fuzz_below(32)),
                          __builtin_bswap32((u32)fuzz_value()), __builtin_bswap32((u32)(to >> 32)),
                          __builtin_bswap32((u32)to)};
    (void)mem_write(&m->mem, at, words, sizeof words);
    m->env.port_out(m, v, 0x514, __builtin_bswap32((u32)(at >> 32)), 4);
    m->env.port_out(m, v, 0x518, __builtin_bswap32((u32)at), 4);
}

/* Commands of the flash, whole and cut short. */
static void flash(struct machine *m, struct vcpu *v)
{
    static const u8 cmd[] = {0x10, 0x20, 0x40, 0x50, 0x60, 0x70,
                             0x90, 0x98, 0xD0, 0xE8, 0xFF, 0x01};
    const gpa_t store = RAM_ABOVE_4G - FIRMWARE_BYTES;
    const gpa_t block = store + (fuzz_below(STORE_BYTES) & ~4095u);
    for (u32 i = fuzz_below(40); i > 0; i--) {
        gpa_t at = fuzz_one_in(8) ? store + fuzz_below(STORE_BYTES) : block + fuzz_below(300);
        u32 bytes = 1u << fuzz_below(4);
        u64 val = fuzz_one_in(3) ? fuzz_value() : cmd[fuzz_below(sizeof cmd)];
        if (fuzz_one_in(4)) (void)m->env.mmio_read(m, v, at, bytes);
        else m->env.mmio_write(m, v, at, val, bytes);
    }
}

/* Configuration space by purpose: PAM registers, BARs (over RAM and ROM, too) and decoding of every
 * function, A20. What the memory map should be then, it is. */
static void remap(struct machine *m, struct vcpu *v)
{
    static const u8 slot[] = {0, 1, 2, 16},
                    reg[] = {0x04, 0x10, 0x14, 0x18, 0x20, 0x30, 0x58, 0x5C};
    const u32 fn = slot[fuzz_below(sizeof slot)] << 3 | (fuzz_one_in(2) ? fuzz_below(4) : 0);
    m->env.port_out(m, v, 0xCF8, 0x80000000u | fn << 8 | reg[fuzz_below(sizeof reg)], 4);
    m->env.port_out(m, v, 0xCFC, (u32)(fuzz_one_in(2) ? fuzz_below(16) << 20 : fuzz_value()), 4);
    if (fuzz_one_in(4)) m->env.port_out(m, v, 0x92, fuzz_below(2) << 1, 1);
    memmap_serve(m);
}

static void storm(struct machine *m)
{
    struct vcpu *v = &m->cpu[0]->v;
    for (u32 i = 0; i < 40; i++) {
        machine_storm(m, 50);
        if (m->fw) fw_cfg_dma(m, v), flash(m, v);
        remap(m, v);
        pc_disks_pump(m);
    }
}

/* ---- saving and loading ---------------------------------------------------------------------- */

/* Where two streams differ, with the names before it. */
static void tell_difference(const struct ser_buf *a, const struct ser_buf *b)
{
    size_t at = 0;
    while (at < a->bytes && at < b->bytes && a->data[at] == b->data[at]) at++;
    if (at == a->bytes && at == b->bytes) return;
    fprintf(stderr, "streams of %zu and %zu bytes differ at %zu, behind ", a->bytes, b->bytes, at);
    for (size_t i = at > 200 ? at - 200 : 0; i < at; i++)
        fputc(a->data[i] > ' ' && a->data[i] < 127 ? a->data[i] : '.', stderr);
    fputc('\n', stderr);
}

/* Save, load the same, save again: the same bytes. */
static void save_and_load(struct machine *m)
{
    struct ser_buf a, b;
    struct err e = {0};
    ser_buf_init(&a);
    ser_buf_init(&b);
    bus_lock(&m->bus);
    machine_try(dev_save_all(&m->devs, &a, &e), &e);
    struct ser_view view = {a.data, a.bytes, 0};
    if (dev_load_all(&m->devs, &view, &e) < 0) fprintf(stderr, "%s\n", e.text);
    FUZZ_CHECK(view.pos == view.bytes);
    machine_try(dev_save_all(&m->devs, &b, &e), &e);
    tell_difference(&a, &b);
    FUZZ_CHECK(a.bytes == b.bytes && memcmp(a.data, b.data, a.bytes) == 0);
    bus_unlock(&m->bus);
    memmap_serve(m);
    ser_buf_fini(&a);
    ser_buf_fini(&b);
}

static void round_of(struct machine *m)
{
    if (fuzz_one_in(2)) machine_pass(m, fuzz_value() >> 3);
    for (u32 i = 0; i < 8; i++) {
        storm(m);
        save_and_load(m);
        if (fuzz_one_in(2)) machine_reset(m);
    }
    ring3_destroy((struct ring3_vm *)m);
}

int main(void)
{
    fuzz_start("fuzz_dev");
    make_files();
    check_classes();
    while (fuzz_next())
        round_of(fuzz_one_in(2) ? make_full() : machine_make(1 + fuzz_below(4), MEMORY));
    unlink(firmware_path);
    unlink(disk_path);
    return 0;
}

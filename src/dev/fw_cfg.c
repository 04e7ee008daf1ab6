/* dev/fw_cfg.c - see fw_cfg.h. The file directory is made when it is read: u32 count, then for each
 * file u32 size, u16 key, u16 0, name[56], numbers big-endian. */
#include "dev/fw_cfg.h"

#include <string.h>

#include "base/check.h"

enum { PORT_SELECTOR = 0, PORT_DATA = 1, DMA_HIGH = 0, DMA_LOW = 4 };
enum { ID_TRADITIONAL = 1 << 0, ID_DMA = 1 << 1 };
enum { /* FWCfgDmaAccess.control */
       DMA_ERROR = 1 << 0,
       DMA_READ = 1 << 1,
       DMA_SKIP = 1 << 2,
       DMA_SELECT = 1 << 3,
       DMA_WRITE = 1 << 4,
};
enum { DMA_DESC_BYTES = 16, DIR_ENTRY_BYTES = 64, DIR_BYTES_MAX = 4 + 64 * FW_CFG_FILES_MAX };
enum { KEYS = FW_CFG_FILES + FW_CFG_FILES_MAX };
#define DMA_SIGNATURE 0x51454D5520434647ull /* "QEMU CFG" */
#define PADDING_MAX MIB(1)                  /* zeroes one DMA may ask for past an item's end */

struct item {
    const u8 *data; /* borrowed, or own[] */
    u32 bytes;
    u8 own[8];
    const char *name;
};
struct fw_cfg {
    struct dev dev;
    struct fw_cfg_cfg wiring;
    u32 files;
    struct item item[KEYS];
    u8 dir[DIR_BYTES_MAX];
    /* saved */
    u64 dma_gpa;
    u32 offset;
    u16 key;
};

static struct fw_cfg *self(struct dev *d) { return container_of(d, struct fw_cfg, dev); }

static u64 swap(u64 v, u32 bytes) { return __builtin_bswap64(v) >> (64 - 8 * bytes); }
static void put_be(u8 *p, u64 v, u32 bytes)
{
    v = swap(v, bytes);
    memcpy(p, &v, bytes);
}

/* ---- items ----------------------------------------------------------------------------------- */

void fw_cfg_set(struct dev *d, u16 key, const void *data, u32 bytes)
{
    ASSERT(key < KEYS, "fw_cfg item %u", key);
    self(d)->item[key].data = data;
    self(d)->item[key].bytes = bytes;
}

void fw_cfg_set_int(struct dev *d, u16 key, u64 val, u32 bytes)
{
    ASSERT(key < KEYS && bytes <= 8, "fw_cfg item %u", key);
    struct item *i = &self(d)->item[key];
    memcpy(i->own, &val, bytes);
    i->data = i->own;
    i->bytes = bytes;
}

static void add_to_dir(struct fw_cfg *f, u32 n)
{
    const struct item *i = &f->item[FW_CFG_FILES + n];
    u8 *e = f->dir + 4 + n * DIR_ENTRY_BYTES;
    put_be(f->dir, n + 1, 4);
    put_be(e, i->bytes, 4);
    put_be(e + 4, FW_CFG_FILES + n, 2);
    memcpy(e + 8, i->name, strlen(i->name) + 1);
}

u16 fw_cfg_add_file(struct dev *d, const char *name, const void *data, u32 bytes)
{
    struct fw_cfg *f = self(d);
    ASSERT(f->files < FW_CFG_FILES_MAX && strlen(name) < FW_CFG_NAME_BYTES, "fw_cfg file %s", name);
    const u32 n = f->files++;
    const u16 key = (u16)(FW_CFG_FILES + n);
    f->item[key].name = name;
    fw_cfg_set(d, key, data, bytes);
    add_to_dir(f, n);
    fw_cfg_set(d, FW_CFG_FILE_DIR, f->dir, 4 + f->files * DIR_ENTRY_BYTES);
    return key;
}

static void select_item(struct fw_cfg *f, u16 key)
{
    f->key = key;
    f->offset = 0;
    if (f->wiring.prepare && key < KEYS) f->wiring.prepare(f->wiring.ctx, key);
}

/* Bytes of the selected item not read yet. */
static u32 left(const struct fw_cfg *f)
{
    u32 bytes = f->key < KEYS ? f->item[f->key].bytes : 0;
    return f->offset < bytes ? bytes - f->offset : 0;
}

/* ---- ports ----------------------------------------------------------------------------------- */

static u64 port_read(struct dev *d, u64 off, u32 bytes)
{
    struct fw_cfg *f = self(d);
    (void)bytes;
    if (off != PORT_DATA || !left(f)) return 0;
    return f->item[f->key].data[f->offset++];
}

static void port_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    if (off == PORT_SELECTOR && bytes == 2) select_item(self(d), (u16)val);
}

static u64 dma_read(struct dev *d, u64 off, u32 bytes)
{
    (void)d;
    return swap(DMA_SIGNATURE, 8) >> 8 * off & mask_bytes(bytes);
}

/* Copy, or only pass over, @bytes of the item. False: not possible. */
static bool transfer(struct fw_cfg *f, gpa_t to, u32 bytes, bool copy)
{
    const u32 have = (u32)min_u64(bytes, left(f));
    if (copy && bytes - have > PADDING_MAX) return false;
    int rc = 0;
    if (copy && have) rc = mem_write(f->wiring.mem, to, f->item[f->key].data + f->offset, have);
    for (u32 done = have; copy && done < bytes && rc == 0;) {
        static const u8 zeroes[PAGE_BYTES];
        u32 n = (u32)min_u64(bytes - done, sizeof zeroes);
        rc = mem_write(f->wiring.mem, to + done, zeroes, n);
        done += n;
    }
    f->offset += have;
    return rc == 0;
}

/* The structure at dma_gpa: { u32 control, u32 length, u64 address }, big-endian. The device
 * answers by clearing control, or leaving the error bit there. */
static void dma_run(struct fw_cfg *f)
{
    u8 desc[DMA_DESC_BYTES], answer[4] = {0};
    const gpa_t at = f->dma_gpa;
    f->dma_gpa = 0;
    if (mem_read(f->wiring.mem, at, desc, sizeof desc) < 0) return;
    u64 control, length, address;
    memcpy(&address, desc + 8, 8);
    memcpy(&control, desc, 8);
    length = swap(control >> 32, 4);
    control = swap((u32)control, 4);
    address = swap(address, 8);
    bool ok = !(control & DMA_WRITE);
    if (control & DMA_SELECT) select_item(f, (u16)(control >> 16));
    if (ok && control & (DMA_READ | DMA_SKIP))
        ok = transfer(f, address, (u32)length, control & DMA_READ);
    if (!ok) put_be(answer, DMA_ERROR, 4);
    mem_write(f->wiring.mem, at, answer, sizeof answer);
}

static void dma_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct fw_cfg *f = self(d);
    if (bytes == 8) {
        f->dma_gpa = swap(val, 8);
    } else if (bytes == 4 && off == DMA_HIGH) {
        f->dma_gpa = swap(val, 4) << 32;
        return;
    } else if (bytes == 4 && off == DMA_LOW) {
        f->dma_gpa = (f->dma_gpa & ~(u64)UINT32_MAX) | swap(val, 4);
    } else {
        return;
    }
    dma_run(f);
}

/* ---- class ----------------------------------------------------------------------------------- */

static int fw_cfg_init(struct dev *d, const void *cfg, struct err *e)
{
    struct fw_cfg *f = self(d);
    f->wiring = *(const struct fw_cfg_cfg *)cfg;
    if (!f->wiring.mem) return err_set(e, E_INVAL, "needs memory");
    fw_cfg_set(d, FW_CFG_SIGNATURE, "QEMU", 4);
    fw_cfg_set_int(d, FW_CFG_ID, ID_TRADITIONAL | ID_DMA, 4);
    fw_cfg_set(d, FW_CFG_FILE_DIR, f->dir, 4);
    return 0;
}

static void fw_cfg_reset(struct dev *d)
{
    self(d)->key = 0;
    self(d)->offset = 0;
    self(d)->dma_gpa = 0;
}

static const struct ser_field fw_cfg_fields[] = {SER(struct fw_cfg, dma_gpa, 1),
                                                 SER(struct fw_cfg, offset, 1),
                                                 SER(struct fw_cfg, key, 1), SER_END};
static const struct dev_region fw_cfg_regions[] = {
    {"fw-cfg", BUS_PORT, true, FW_CFG_PORT, 2, 1, 2, port_read, port_write},
    {"fw-cfg-dma", BUS_PORT, true, FW_CFG_PORT + 4, 8, 1, 8, dma_read, dma_write},
    {0},
};

const struct dev_class fw_cfg_class = {
    .name = "fw_cfg",
    .version = 1,
    .inst_bytes = sizeof(struct fw_cfg),
    .regions = fw_cfg_regions,
    .fields = fw_cfg_fields,
    .init = fw_cfg_init,
    .reset = fw_cfg_reset,
};

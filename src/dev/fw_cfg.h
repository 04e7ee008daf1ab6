/* dev/fw_cfg.h - the firmware configuration device: named blobs that firmware asks the machine for.
 *
 * Ports: 0x510 selector (u16), 0x511 data (bytes), 0x514 DMA address (u64, big-endian; writing the
 * low half starts it). A selected item is read from its start; past its end there are zeroes.
 * Numbers in items are little-endian, except in the file directory and the DMA structure.
 * Nothing can be written by the guest. The items belong to the machine and are no saved state.
 * Spec: QEMU docs/specs/fw_cfg.  Threads: under the bus lock. */
#ifndef DEV_FW_CFG_H
#define DEV_FW_CFG_H
#include "bus/dev.h"
#include "mem/mem.h"

enum fw_cfg_key { /* items without a name */
                  FW_CFG_SIGNATURE = 0x00,
                  FW_CFG_ID = 0x01,
                  FW_CFG_UUID = 0x02,
                  FW_CFG_RAM_SIZE = 0x03,
                  FW_CFG_NOGRAPHIC = 0x04,
                  FW_CFG_NB_CPUS = 0x05,
                  FW_CFG_KERNEL_ADDR = 0x07,
                  FW_CFG_KERNEL_SIZE = 0x08,
                  FW_CFG_INITRD_ADDR = 0x0A,
                  FW_CFG_INITRD_SIZE = 0x0B,
                  FW_CFG_NUMA = 0x0D,
                  FW_CFG_BOOT_MENU = 0x0E,
                  FW_CFG_MAX_CPUS = 0x0F,
                  FW_CFG_KERNEL_DATA = 0x11,
                  FW_CFG_INITRD_DATA = 0x12,
                  FW_CFG_CMDLINE_ADDR = 0x13,
                  FW_CFG_CMDLINE_SIZE = 0x14,
                  FW_CFG_CMDLINE_DATA = 0x15,
                  FW_CFG_SETUP_ADDR = 0x16,
                  FW_CFG_SETUP_SIZE = 0x17,
                  FW_CFG_SETUP_DATA = 0x18,
                  FW_CFG_FILE_DIR = 0x19,
                  FW_CFG_FILES = 0x20, /* first of the named ones */
};
enum { FW_CFG_FILES_MAX = 32, FW_CFG_NAME_BYTES = 56, FW_CFG_PORT = 0x510 };

extern const struct dev_class fw_cfg_class;
struct fw_cfg_cfg {
    struct mem *mem; /* for DMA */
    /* The guest selected @key and will read it: its bytes may change now, its length not. May be
     * NULL. */
    void (*prepare)(void *ctx, u16 key);
    void *ctx;
};

/** fw_cfg_set - item @key is @bytes at @data, borrowed as long as the device lives. Set-up only. */
void fw_cfg_set(struct dev *d, u16 key, const void *data, u32 bytes);
/** fw_cfg_set_int - item @key is the little-endian number @val of @bytes (2, 4 or 8). */
void fw_cfg_set_int(struct dev *d, u16 key, u64 val, u32 bytes);
/** fw_cfg_add_file - as fw_cfg_set for the next named item. Returns its key. At most
 * FW_CFG_FILES_MAX, names shorter than FW_CFG_NAME_BYTES. */
u16 fw_cfg_add_file(struct dev *d, const char *name, const void *data, u32 bytes);
#endif

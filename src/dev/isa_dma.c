/* dev/isa_dma.c - the 8237 controllers' and page registers' ports: bytes that remember and do
 * nothing. Kernels clear and claim them and write POST codes to 0x80; no device here uses ISA DMA.
 * Status reads as idle.
 * Spec: PIIX3 data sheet (290550) 2.5.1.  Threads: under the bus lock. */
#include "dev/misc.h"

#include <string.h>

enum { DMA1_BYTES = 16, DMA2_BYTES = 32, PAGE_PORTS = 16 };
enum { DMA1_STATUS = 0x08, DMA2_STATUS = 0x10 };

struct isa_dma {
    struct dev dev;
    u8 dma1[DMA1_BYTES], dma2[DMA2_BYTES], page[PAGE_PORTS];
};

static struct isa_dma *self(struct dev *d) { return container_of(d, struct isa_dma, dev); }

static u64 dma1_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    return off == DMA1_STATUS ? 0 : self(d)->dma1[off];
}
static void dma1_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)bytes;
    self(d)->dma1[off] = (u8)val;
}
static u64 dma2_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    return off == DMA2_STATUS ? 0 : self(d)->dma2[off];
}
static void dma2_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)bytes;
    self(d)->dma2[off] = (u8)val;
}
static u64 page_read(struct dev *d, u64 off, u32 bytes)
{
    (void)bytes;
    return self(d)->page[off];
}
static void page_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    (void)bytes;
    self(d)->page[off] = (u8)val;
}

static void isa_dma_reset(struct dev *d)
{
    struct isa_dma *s = self(d);
    memset(s->dma1, 0, sizeof s->dma1);
    memset(s->dma2, 0, sizeof s->dma2);
    memset(s->page, 0, sizeof s->page);
}

static const struct ser_field isa_dma_fields[] = {SER_ARRAY(struct isa_dma, dma1, 1),
                                                  SER_ARRAY(struct isa_dma, dma2, 1),
                                                  SER_ARRAY(struct isa_dma, page, 1), SER_END};
static const struct dev_region isa_dma_regions[] = {
    {"dma1", BUS_PORT, true, 0x00, DMA1_BYTES, 1, 1, dma1_read, dma1_write},
    {"dma2", BUS_PORT, true, 0xC0, DMA2_BYTES, 1, 1, dma2_read, dma2_write},
    {"dma-page", BUS_PORT, true, 0x80, PAGE_PORTS, 1, 1, page_read, page_write},
    {0},
};

const struct dev_class isa_dma_class = {
    .name = "isa_dma",
    .version = 1,
    .inst_bytes = sizeof(struct isa_dma),
    .regions = isa_dma_regions,
    .fields = isa_dma_fields,
    .reset = isa_dma_reset,
};

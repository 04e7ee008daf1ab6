/* dev/isa_dma.h - the two 8237A DMA controllers of a PC, for the devices on the ISA bus.
 * Channels 0-3 move bytes, 5-7 words; channel 4 cascades. A device offers or wants data; the
 * controller says where it goes and when the count is up (TC).
 * Spec: Intel 231466 (8237A); PIIX3 data sheet (290550) 2.5.1.  Threads: under the bus lock. */
#ifndef DEV_ISA_DMA_H
#define DEV_ISA_DMA_H
#include "bus/dev.h"
#include "mem/mem.h"

extern const struct dev_class isa_dma_class;
struct isa_dma_cfg {
    struct mem *mem; /* borrowed */
};
struct isa_dma_xfer {
    u8 *buf; /* the device's */
    u32 bytes;
    bool to_memory; /* its direction: the channel must be programmed for the same, or for verify */
    bool tc;        /* out: the count ran out with the last byte moved */
};
/**
 * isa_dma_move - a device on @chan (0-3, 5-7) moves up to x->bytes between x->buf and memory.
 * Returns how many bytes moved: 0 when the channel is masked, disabled or set up otherwise. What is
 * not memory takes nothing and gives all-ones.
 */
u32 isa_dma_move(struct dev *dma, u32 chan, struct isa_dma_xfer *x);
#endif

/* dev/ide_internal.h - shared by the parts of the IDE controller; nobody else includes it.
 *   ide.c      ports, reset, PCI, saved state    ide_bm.c    bus master: registers, PRD tables
 *   ide_ata.c  commands of disks                 ide_identify.c  what they tell about themselves
 *   ide_atapi.c  packet commands                 ide_mmc.c   the data these return
 *   ide_xfer.c moving data: data port, disk requests, ends of commands */
#ifndef DEV_IDE_INTERNAL_H
#define DEV_IDE_INTERNAL_H
#include "dev/ide.h"

enum { IDE_PIO_BYTES = 1 << 15, IDE_DMA_BYTES = 1 << 17, PACKET_BYTES = 12 };
enum { CD_BYTES = 2048, CD_RAW_BYTES = 2352, MULTIPLE_MAX = 16 };

enum { /* status */
       ST_ERR = 1 << 0,
       ST_DRQ = 1 << 3,
       ST_DSC = 1 << 4,
       ST_DF = 1 << 5,
       ST_DRDY = 1 << 6,
       ST_BSY = 1 << 7,
};
enum { ST_OK = ST_DRDY | ST_DSC };
enum { ER_ABRT = 1 << 2, ER_IDNF = 1 << 4, ER_UNC = 1 << 6 };
enum { SEL_DEV = 1 << 4, SEL_LBA = 1 << 6, SEL_ONES = 0xA0, SEL_HEAD = 15 };
enum { CTL_NIEN = 1 << 1, CTL_SRST = 1 << 2, CTL_HOB = 1 << 7 };
enum { IREASON_COD = 1 << 0, IREASON_IO = 1 << 1 }; /* ATAPI: the count register */
enum { BM_START = 1 << 0, BM_TO_MEMORY = 1 << 3 };
enum { BM_ACTIVE = 1 << 0, BM_ERROR = 1 << 1, BM_INT = 1 << 2, BM_CAPABLE = 3 << 5 };

enum ide_phase {
    PH_IDLE,
    PH_PIO_IN,  /* the guest reads pio[pos, drq_end)                           */
    PH_PIO_OUT, /* the guest writes them                                       */
    PH_PACKET,  /* the guest writes a command packet                           */
    PH_DISK,    /* a request of a PIO command, or a flush, is under way        */
    PH_DMA,     /* data moves when the bus master is on and the disk has it    */
    PHASES,
};

/* Task file registers as written; [0] now, [1] before: the high bytes of 48-bit commands. */
struct ide_regs {
    u8 feature, count, lba_l, lba_m, lba_h;
};
struct ide_unit {
    struct block *block; /* as set up, like the next four; NULL: no disc */
    bool present, cdrom;
    u32 sector_bytes;
    u64 sectors;
    struct ide_regs reg, hob; /* guest state from here on */
    u8 status, error;
    bool intrq; /* asks for an interrupt */
    u8 multiple, mode;
    u8 heads, spt; /* of the translation the guest chose */
    bool write_cache, look_ahead, smart;
    u8 key, asc, ascq; /* sense                                            */
    bool attention;    /* a unit attention waits to be reported            */
    bool locked, open; /* PREVENT; the tray                                */
};
struct ide_bm {
    u8 cmd, status;
    u32 table;      /* as the guest set it                          */
    u32 next;       /* address of the next entry                    */
    u32 addr, left; /* of the current entry                         */
    bool last;      /* ... which is the last                        */
};
struct ide_chan {
    struct ide *ide;
    struct irq_line line;
    struct ide_unit unit[IDE_UNITS];
    struct ide_bm bm;
    u8 select, control;
    /* the command being executed */
    u8 phase, active; /* enum ide_phase; unit */
    bool to_disk, dma;
    u64 lba;               /* next sector                                              */
    u32 left;              /* sectors still to move between disk and buffer            */
    u32 guest_bytes;       /* per sector: 512, 2048, or 2352 of a raw CD read          */
    u32 drq_bytes;         /* between two interrupts of a PIO command                  */
    u32 pos, end, drq_end; /* in pio[]                                                 */
    u8 pio[IDE_PIO_BYTES];
    /* never saved: nothing is under way then */
    struct block_req req;
    struct iovec iov;
    u8 *dma_buf; /* IDE_DMA_BYTES; owned                                      */
    u32 chunk;   /* sectors of the request under way                          */
    bool in_flight;
    u8 abandoned; /* units that were reset while a request was under way       */
    bool careful; /* a large read failed: small ones find out where            */
};
struct ide {
    struct dev dev;
    struct pci_fn pci;
    struct ide_chan chan[IDE_CHANNELS];
};

static inline struct ide_unit *ide_active(struct ide_chan *c) { return &c->unit[c->active & 1]; }

/* ide.c */
/** ide_raise - @u wants an interrupt. */
void ide_raise(struct ide_chan *c, struct ide_unit *u);
void ide_irq_update(struct ide_chan *c);
/** ide_reset_units - power-on values and signature of the units in @mask; at once, or when the
 * request under way has ended. */
void ide_reset_units(struct ide_chan *c, u8 mask);

/* ide_xfer.c */
void ide_idle(struct ide_chan *c);           /* no command           */
void ide_complete(struct ide_chan *c);       /* the command ended well  */
void ide_fail(struct ide_chan *c, u8 error); /* ER_x                    */
/** ide_read_disk, ide_write_disk - move c->left sectors from c->lba on, by DMA when c->dma. */
void ide_read_disk(struct ide_chan *c);
void ide_write_disk(struct ide_chan *c);
/** ide_reply - give the guest pio[0, bytes). */
void ide_reply(struct ide_chan *c, u32 bytes);
void ide_flush_disk(struct ide_chan *c);
u32 ide_data_read(struct ide_chan *c, u32 bytes);
void ide_data_write(struct ide_chan *c, u32 val, u32 bytes);
/** ide_dma_kick - the bus master was turned on, or the drive is ready: move what can be moved. */
void ide_dma_kick(struct ide_chan *c);
/** ide_drain - until no request is under way. */
void ide_drain(struct ide_chan *c);

/* ide_bm.c */
u64 ide_bm_read(struct dev *d, u64 off, u32 bytes);
void ide_bm_write(struct dev *d, u64 off, u64 val, u32 bytes);
/** ide_bm_move - through the PRD table: @buf to guest memory, or the other way. Returns the bytes
 * moved; fewer when the table ends or leads nowhere: the bus master is off then. */
u32 ide_bm_move(struct ide_chan *c, u8 *buf, u32 bytes, bool to_guest);

/* ide_ata.c */
void ide_command(struct ide_chan *c, u8 op);
/** ide_signature - what the registers hold after a reset. */
void ide_signature(struct ide_unit *u);

/* ide_identify.c: 512 bytes each */
void ide_identify(const struct ide_unit *u, u32 serial, u8 *out);
void ide_identify_packet(const struct ide_unit *u, u32 serial, u8 *out);
void ide_smart_data(u8 *out);

/* ide_atapi.c */
void ide_packet(struct ide_chan *c);
/* ide_mmc.c: each fills @out, which has room for 2 KiB, and returns the length */
u32 mmc_inquiry(u8 *out);
u32 mmc_toc(const struct ide_unit *u, const u8 *packet, u8 *out);
u32 mmc_configuration(const struct ide_unit *u, const u8 *packet, u8 *out);
u32 mmc_mode_page(const struct ide_unit *u, u8 page, u8 *out);
u32 mmc_disc_info(u8 *out);
u32 mmc_track_info(const struct ide_unit *u, u8 *out);
/** mmc_raw - make a raw sector of 2352 bytes of the 2048 at its start. */
void mmc_raw(u8 *sector, u32 lba);
#endif

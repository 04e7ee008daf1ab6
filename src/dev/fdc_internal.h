/* dev/fdc_internal.h - shared by fdc.c (ports, commands) and fdc_data.c (reading and writing);
 * nobody else includes it. */
#ifndef DEV_FDC_INTERNAL_H
#define DEV_FDC_INTERNAL_H
#include "dev/fdc.h"

enum { FDC_SECTORS_MAX = 36, FDC_BUF_BYTES = FDC_SECTORS_MAX * SECTOR_BYTES };
enum { FDC_CMD_BYTES = 9, FDC_RESULT_BYTES = 10, FDC_DMA = 2 };

enum {
    ST0_ABNORMAL = 0x40,
    ST0_INVALID = 0x80,
    ST0_POLL = 0xC0,
    ST0_SE = 0x20,
    ST0_EC = 0x10,
    ST0_NR = 0x08
};
enum { ST1_EN = 0x80, ST1_DE = 0x20, ST1_ND = 0x04, ST1_NW = 0x02, ST1_MA = 0x01 };
enum { ST2_DD = 0x20 };
enum { DOR_DRIVE = 3, DOR_RUN = 4, DOR_DMA = 8, DOR_MOTOR = 0x10 };

enum fdc_phase {
    FDC_COMMAND, /* bytes of a command come in           */
    FDC_DISK,    /* the host reads or writes             */
    FDC_IN,      /* buf[pos, end) goes to the guest       */
    FDC_OUT,     /* buf[pos, end) comes from it           */
    FDC_RESULT,
    FDC_PHASES,
};

struct fdc_drive {
    struct block *block; /* NULL: no drive */
    u8 cyls, heads, spt; /* of the disk    */
    u8 rates;            /* bit n: readable at data rate n */
    u8 track;
    bool changed; /* the disk change line */
};
struct fdc {
    struct dev dev;
    struct irq_line irq;
    struct dev *dma;
    struct fdc_drive drive[FDC_DRIVES];
    u8 dor, tdr, rate, precomp[3], config, perpendicular, specify[2];
    bool locked;
    u8 phase;
    u8 cmd[FDC_CMD_BYTES], cmd_len;
    u8 result[FDC_RESULT_BYTES], result_pos, result_len;
    u8 sense[4];     /* ST0 to report, per drive           */
    u8 sense_wanted; /* bit per drive                      */
    u8 polls;        /* of these, left of a reset          */
    bool irq_on;
    /* the transfer: of @unit, at cylinder, head, sector; up to @eot */
    u8 unit, cyl, head, sector, eot, multi, last_head;
    bool writes, formats, verifies, tc;
    u32 pos, end;
    u8 buf[FDC_BUF_BYTES];
    /* never saved */
    struct block_req req;
    struct iovec iov;
    bool in_flight, abandoned;
};

/* fdc.c */
void fdc_irq(struct fdc *f, bool level);
/** fdc_result - the command ends with @n bytes of f->result. */
void fdc_result(struct fdc *f, u32 n);
/* fdc_data.c */
/** fdc_begin - READ, WRITE, VERIFY: the command is in f->cmd. */
void fdc_begin(struct fdc *f);
void fdc_begin_format(struct fdc *f);
void fdc_read_id(struct fdc *f);
/** fdc_end - with ST0..ST2 and the address, an interrupt. */
void fdc_end(struct fdc *f, u8 st0, u8 st1, u8 st2);
u8 fdc_fifo_read(struct fdc *f);
void fdc_fifo_write(struct fdc *f, u8 val);
void fdc_drain(struct fdc *f);
#endif

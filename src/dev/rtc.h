/* dev/rtc.h - MC146818 clock and CMOS memory at 0x70/0x71.
 * Spec: Motorola MC146818A data sheet; CMOS bytes as the PC/AT BIOS uses them. */
#ifndef DEV_RTC_H
#define DEV_RTC_H
#include "base/clk.h"
#include "bus/dev.h"
#include "bus/irq.h"

extern const struct dev_class rtc_class;
struct rtc_cfg {
    struct clk *clk;
    struct irq_pin *irq; /* GSI 8 */
    u64 ram_below_4g;    /* bytes: the BIOS memory-size bytes 0x15-0x18, 0x30-0x31, 0x34-0x35 */
    u64 ram_above_4g;    /* bytes: 0x5B-0x5D */
    u32 cpus;            /* 0x5F: CPUs minus one (firmware reads it) */
};
/** rtc_cmos_set - firmware-visible CMOS byte 0x0E..0x7F (boot order, disk types). */
void rtc_cmos_set(struct dev *d, u8 index, u8 val);
#endif

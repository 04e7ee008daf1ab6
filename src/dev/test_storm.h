/* dev/test_storm.h - hostile guests and hostile state files, for every device test. */
#ifndef DEV_TEST_STORM_H
#define DEV_TEST_STORM_H
#include <stdlib.h>

#include "dev/test_rig.h"

/* Random accesses of every size over the device's ports; nothing may crash (sanitizers watch). */
static inline void rig_storm(struct rig *r, const struct dev *d, u32 accesses)
{
    u64 x = 0x9E3779B97F4A7C15ull;
    for (u32 i = 0; i < accesses && d->regions; i++) {
        x ^= x << 13, x ^= x >> 7, x ^= x << 17;
        const struct bus_region *g = &d->region[x % d->regions];
        u64 at = g->base + (x >> 8) % g->row->bytes;
        u32 bytes = 1u << (x >> 20 & 1 ? 0 : x >> 21 & 1 ? 1 : 2);
        bool port = g->row->space == BUS_PORT;
        if (!g->mapped) continue;
        if (port && (x >> 24 & 1)) bus_port_write(&r->bus, (u16)at, x >> 32, bytes);
        if (port && !(x >> 24 & 1)) bus_port_read(&r->bus, (u16)at, bytes);
        if (!port && (x >> 24 & 1)) bus_mmio_write(&r->bus, at, x >> 32, bytes);
        if (!port && !(x >> 24 & 1)) bus_mmio_read(&r->bus, at, bytes);
        if ((x >> 40 & 63) == 0) clk_advance(&r->clk, x >> 30);
        if ((x >> 40 & 31) == 0) clk_run(&r->clk);
    }
}

/* Hostile state: damaged streams load or are refused, and whatever loaded is used afterwards. */
static inline void rig_damaged_loads(struct rig *r, struct dev *d, u32 rounds)
{
    struct ser_buf a;
    struct err e = {0};
    u64 x = 0xD1B54A32D192ED03ull;
    ser_buf_init(&a);
    assert_int_equal(dev_save(d, &a, &e), 0);
    u8 *bad = malloc(a.bytes + 1);
    assert_non_null(bad);
    for (u32 i = 0; i < rounds && a.bytes; i++) {
        memcpy(bad, a.data, a.bytes);
        for (u32 n = 0; n <= (x >> 60 & 7); n++) {
            x ^= x << 13, x ^= x >> 7, x ^= x << 17;
            bad[(x >> 8) % a.bytes] = (u8)(x & 1 ? x >> 40 : 0xFF);
        }
        struct ser_view v = {bad, a.bytes, 0};
        (void)!dev_load(d, &v, &e);
        rig_storm(r, d, 20);
        clk_run(&r->clk);
    }
    free(bad);
    ser_buf_fini(&a);
}
#endif

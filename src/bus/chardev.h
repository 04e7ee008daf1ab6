/* bus/chardev.h - a byte stream between a device (UART, virtio-console) and a host back end (tty,
 * file, socket).
 *
 * The device is the front, the back end the back; the machine embeds the struct and introduces
 * them to each other.
 * Flow control: the back end pushes at most what rx_room() says and waits for rx_ready; the device
 * keeps what write() did not take and waits for tx_ready.
 * Threads: every call in either direction is made under the bus lock; none may block. */
#ifndef BUS_CHARDEV_H
#define BUS_CHARDEV_H
#include "base/types.h"

struct chardev_back_ops {
    /* Guest output. Returns how many bytes it took, 0..bytes. */
    u32 (*write)(void *ctx, const u8 *buf, u32 bytes);
    /* The device has room for input again. May be NULL. */
    void (*rx_ready)(void *ctx);
};
struct chardev_front_ops {
    u32 (*rx_room)(void *ctx);                       /* bytes the device can take now */
    void (*rx)(void *ctx, const u8 *buf, u32 bytes); /* @bytes <= rx_room()           */
    void (*tx_ready)(void *ctx);                     /* write() would take more now   */
    void (*rx_break)(void *ctx);                     /* may be NULL                   */
};
struct chardev {
    const struct chardev_back_ops *back; /* NULL: output vanishes */
    void *back_ctx;
    const struct chardev_front_ops *front; /* NULL: input vanishes */
    void *front_ctx;
};

/* For the device. @c may be NULL. */
static inline u32 chardev_write(struct chardev *c, const u8 *buf, u32 bytes)
{
    return c && c->back ? c->back->write(c->back_ctx, buf, bytes) : bytes;
}
static inline void chardev_rx_ready(struct chardev *c)
{
    if (c && c->back && c->back->rx_ready) c->back->rx_ready(c->back_ctx);
}
/* For the back end. */
static inline u32 chardev_rx_room(struct chardev *c)
{
    return c->front ? c->front->rx_room(c->front_ctx) : 0;
}
static inline void chardev_rx(struct chardev *c, const u8 *buf, u32 bytes)
{
    if (c->front) c->front->rx(c->front_ctx, buf, bytes);
}
static inline void chardev_tx_ready(struct chardev *c)
{
    if (c->front) c->front->tx_ready(c->front_ctx);
}
#endif

/* dev/uart.c - 16550A.
 *
 * Output goes to the chardev at once; what it does not take waits in the transmit FIFO, and then
 * the guest sees a full transmitter until the back end calls tx_ready. Input is taken only as far
 * as the receive FIFO has room, so a slow guest slows the back end instead of losing bytes;
 * overruns can only happen in loopback. The interrupt reaches the bus through MCR.OUT2, as on
 * every PC.
 * Spec: PC16550D data sheet (SNLS378).  Threads: under the bus lock. */
#include "dev/uart.h"

#include <string.h>

enum { UART_RBR, UART_IER, UART_IIR, UART_LCR, UART_MCR, UART_LSR, UART_MSR, UART_SCR, UART_PORTS };
enum { UART_THR = UART_RBR, UART_FCR = UART_IIR }; /* same offsets, when written */
enum { IER_RDA = 1, IER_THRE = 2, IER_RLS = 4, IER_MS = 8, IER_WRITABLE = 15 };
enum {
    IIR_NONE = 0x01,
    IIR_MS = 0x00,
    IIR_THRE = 0x02,
    IIR_RDA = 0x04,
    IIR_RLS = 0x06,
    IIR_TIMEOUT = 0x0C,
    IIR_FIFO = 0xC0
};
enum { FCR_ENABLE = 1, FCR_CLEAR_RX = 2, FCR_CLEAR_TX = 4, FCR_KEPT = 0xC9 };
enum { LCR_DLAB = 0x80 };
enum { MCR_DTR = 1, MCR_RTS = 2, MCR_OUT1 = 4, MCR_OUT2 = 8, MCR_LOOP = 16, MCR_WRITABLE = 31 };
enum { LSR_DR = 1, LSR_OE = 2, LSR_ERRORS = 0x1E, LSR_BI = 0x10, LSR_THRE = 0x20, LSR_TEMT = 0x40 };
enum {
    MSR_DELTAS = 0x0F,
    MSR_TERI = 4,
    MSR_CTS = 0x10,
    MSR_DSR = 0x20,
    MSR_RI = 0x40,
    MSR_DCD = 0x80
};
enum { FIFO_BYTES = 16 };
static const u8 trigger_bytes[4] = {1, 4, 8, 14};

struct fifo {
    u8 data[FIFO_BYTES];
    u8 head, count;
};
struct uart {
    struct dev dev;
    struct timer timeout; /* character time-out: derived from timeout_ns */
    struct irq_line irq;
    struct chardev *chr;
    struct fifo rx, tx;
    u64 timeout_ns; /* when the time-out interrupt comes; 0: not waiting */
    u16 divisor;
    u8 ier, fcr, lcr, mcr, msr, scr;
    u8 lsr; /* error bits only; the others are computed */
    bool thre_pending, timed_out;
};

static struct uart *self(struct dev *d) { return container_of(d, struct uart, dev); }

static u32 fifo_bytes(const struct uart *u) { return u->fcr & FCR_ENABLE ? FIFO_BYTES : 1; }
static void push(struct fifo *f, u8 v) { f->data[(f->head + f->count++) % FIFO_BYTES] = v; }
static u8 pop(struct fifo *f)
{
    u8 v = f->data[f->head];
    f->head = (f->head + 1) % FIFO_BYTES;
    f->count--;
    return v;
}

/* ---- interrupts ------------------------------------------------------------------------------ */

/* The most urgent cause (data sheet table V). */
static u8 cause(const struct uart *u)
{
    u32 trigger = u->fcr & FCR_ENABLE ? trigger_bytes[u->fcr >> 6] : 1;
    if ((u->ier & IER_RLS) && (u->lsr & LSR_ERRORS)) return IIR_RLS;
    if ((u->ier & IER_RDA) && u->rx.count >= trigger) return IIR_RDA;
    if ((u->ier & IER_RDA) && u->timed_out) return IIR_TIMEOUT;
    if ((u->ier & IER_THRE) && u->thre_pending) return IIR_THRE;
    if ((u->ier & IER_MS) && (u->msr & MSR_DELTAS)) return IIR_MS;
    return IIR_NONE;
}

static void update(struct uart *u)
{
    irq_set(&u->irq, cause(u) != IIR_NONE && (u->mcr & MCR_OUT2));
}

/* Four character times of ten bits, at 115200 / divisor baud. */
static u64 timeout_after_ns(const struct uart *u)
{
    return 40 * NS_PER_S * (u->divisor ? u->divisor : 1) / 115200;
}

static void restart_timeout(struct uart *u)
{
    u->timed_out = false;
    u->timeout_ns = 0;
    if ((u->fcr & FCR_ENABLE) && u->rx.count)
        u->timeout_ns = timer_now_ns(&u->timeout) + timeout_after_ns(u);
    if (u->timeout_ns) timer_arm(&u->timeout, u->timeout_ns);
    else timer_cancel(&u->timeout);
}

static void timeout_fire(struct timer *t)
{
    struct uart *u = container_of(t, struct uart, timeout);
    u->timeout_ns = 0;
    u->timed_out = u->rx.count > 0;
    update(u);
}

/* ---- data ------------------------------------------------------------------------------------ */

static void receive(struct uart *u, u8 v)
{
    if (u->rx.count >= fifo_bytes(u)) u->lsr |= LSR_OE;
    else push(&u->rx, v);
    restart_timeout(u);
}

/* Give the back end what waits. */
static void drain(struct uart *u)
{
    while (u->tx.count) {
        u32 run = (u32)min_u64(u->tx.count, FIFO_BYTES - u->tx.head);
        u32 took = (u32)min_u64(chardev_write(u->chr, &u->tx.data[u->tx.head], run), run);
        u->tx.head = (u8)((u->tx.head + took) % FIFO_BYTES);
        u->tx.count = (u8)(u->tx.count - took);
        if (took < run) break;
    }
    if (!u->tx.count) u->thre_pending = true;
}

static void transmit(struct uart *u, u8 v)
{
    u->thre_pending = false;
    update(u); /* the line must drop, or an edge-triggered controller sees nothing */
    if (u->mcr & MCR_LOOP) {
        receive(u, v);
        u->thre_pending = true;
    } else {
        if (u->tx.count < fifo_bytes(u)) push(&u->tx, v);
        drain(u);
    }
    update(u);
}

static u8 read_rbr(struct uart *u)
{
    if (!u->rx.count) return 0;
    u8 v = pop(&u->rx);
    restart_timeout(u);
    update(u);
    if (!u->rx.count && !(u->mcr & MCR_LOOP)) chardev_rx_ready(u->chr);
    return v;
}

/* ---- modem ----------------------------------------------------------------------------------- */

/* A connected line shows CTS, DSR and DCD; in loopback the outputs come back. */
static u8 modem_inputs(const struct uart *u)
{
    u8 m = u->mcr;
    if (!(m & MCR_LOOP)) return MSR_CTS | MSR_DSR | MSR_DCD;
    return (u8)((m & MCR_RTS ? MSR_CTS : 0) | (m & MCR_DTR ? MSR_DSR : 0) |
                (m & MCR_OUT1 ? MSR_RI : 0) | (m & MCR_OUT2 ? MSR_DCD : 0));
}

static void update_modem(struct uart *u)
{
    u8 in = modem_inputs(u), old = u->msr & 0xF0, changed = in ^ old;
    u8 delta = changed >> 4 & (u8)~MSR_TERI;
    if ((old & MSR_RI) && !(in & MSR_RI)) delta |= MSR_TERI;
    u->msr = (u8)(in | (u->msr & MSR_DELTAS) | delta);
}

/* ---- registers ------------------------------------------------------------------------------- */

static u8 read_lsr(struct uart *u)
{
    u8 v = u->lsr | (u->rx.count ? LSR_DR : 0) | (u->tx.count ? 0 : LSR_THRE | LSR_TEMT);
    u->lsr = 0;
    update(u);
    return v;
}

static u8 read_iir(struct uart *u)
{
    u8 c = cause(u);
    if (c == IIR_THRE) {
        u->thre_pending = false;
        update(u);
    }
    return c | (u->fcr & FCR_ENABLE ? IIR_FIFO : 0);
}

static u8 read_msr(struct uart *u)
{
    u8 v = u->msr;
    u->msr &= (u8)~MSR_DELTAS;
    update(u);
    return v;
}

static u64 uart_read(struct dev *d, u64 off, u32 bytes)
{
    struct uart *u = self(d);
    bool dlab = u->lcr & LCR_DLAB;
    (void)bytes;
    switch (off) {
    case UART_RBR: return dlab ? (u8)u->divisor : read_rbr(u);
    case UART_IER: return dlab ? (u8)(u->divisor >> 8) : u->ier;
    case UART_IIR: return read_iir(u);
    case UART_LCR: return u->lcr;
    case UART_MCR: return u->mcr;
    case UART_LSR: return read_lsr(u);
    case UART_MSR: return read_msr(u);
    default: return u->scr;
    }
}

static void write_fcr(struct uart *u, u8 val)
{
    bool toggled = (val ^ u->fcr) & FCR_ENABLE;
    if (toggled || (val & FCR_CLEAR_RX)) u->rx.head = u->rx.count = 0;
    if (toggled || (val & FCR_CLEAR_TX)) {
        u->thre_pending |= u->tx.count != 0;
        u->tx.head = u->tx.count = 0;
    }
    u->fcr = val & FCR_ENABLE ? val & FCR_KEPT : 0;
    restart_timeout(u);
    if (!u->rx.count) chardev_rx_ready(u->chr);
}

static void write_ier(struct uart *u, u8 val)
{
    if (!(u->ier & IER_THRE) && (val & IER_THRE) && !u->tx.count) u->thre_pending = true;
    u->ier = val & IER_WRITABLE;
}

static void write_mcr(struct uart *u, u8 val)
{
    bool left_loop = (u->mcr & MCR_LOOP) && !(val & MCR_LOOP);
    u->mcr = val & MCR_WRITABLE;
    update_modem(u);
    if (left_loop) chardev_rx_ready(u->chr);
}

static void uart_write(struct dev *d, u64 off, u64 val, u32 bytes)
{
    struct uart *u = self(d);
    bool dlab = u->lcr & LCR_DLAB;
    u8 v = (u8)val;
    (void)bytes;
    switch (off) {
    case UART_THR:
        if (dlab) u->divisor = (u16)((u->divisor & 0xFF00) | v);
        else transmit(u, v);
        break;
    case UART_IER:
        if (dlab) u->divisor = (u16)((u->divisor & 0x00FF) | v << 8);
        else write_ier(u, v);
        break;
    case UART_FCR: write_fcr(u, v); break;
    case UART_LCR: u->lcr = v; break;
    case UART_MCR: write_mcr(u, v); break;
    case UART_SCR: u->scr = v; break;
    default: break; /* LSR and MSR: factory test only */
    }
    update(u);
}

/* ---- back end -------------------------------------------------------------------------------- */

static u32 rx_room(void *ctx)
{
    const struct uart *u = ctx;
    if ((u->mcr & MCR_LOOP) || u->rx.count >= fifo_bytes(u)) return 0;
    return fifo_bytes(u) - u->rx.count;
}

static void rx(void *ctx, const u8 *buf, u32 bytes)
{
    struct uart *u = ctx;
    for (u32 i = 0; i < bytes && rx_room(u); i++) receive(u, buf[i]);
    update(u);
}

static void rx_break(void *ctx)
{
    struct uart *u = ctx;
    u->lsr |= LSR_BI;
    receive(u, 0);
    update(u);
}

static void tx_ready(void *ctx)
{
    struct uart *u = ctx;
    if (!u->tx.count) return;
    drain(u);
    update(u);
}

static const struct chardev_front_ops front_ops = {rx_room, rx, tx_ready, rx_break};

/* ---- class ----------------------------------------------------------------------------------- */

static int uart_init(struct dev *d, const void *cfg, struct err *e)
{
    const struct uart_cfg *c = cfg;
    struct uart *u = self(d);
    if (!c->clk) return err_set(e, E_INVAL, "needs a clock");
    timer_init(&u->timeout, c->clk, timeout_fire);
    irq_line_init(&u->irq, c->irq);
    u->chr = c->chardev;
    if (u->chr) {
        u->chr->front = &front_ops;
        u->chr->front_ctx = u;
    }
    return 0;
}

static void uart_fini(struct dev *d)
{
    struct uart *u = self(d);
    if (u->chr) u->chr->front = NULL;
    irq_set(&u->irq, false);
    timer_fini(&u->timeout);
}

static void uart_reset(struct dev *d)
{
    struct uart *u = self(d);
    memset(&u->rx, 0, sizeof u->rx);
    memset(&u->tx, 0, sizeof u->tx);
    u->ier = u->fcr = u->lcr = u->mcr = u->lsr = u->scr = 0;
    u->divisor = 1;
    u->thre_pending = false;
    u->msr = MSR_CTS | MSR_DSR | MSR_DCD;
    restart_timeout(u);
    update(u);
    chardev_rx_ready(u->chr); /* the back end may have been waiting for room */
}

static int uart_validate(const struct dev *d, struct err *e)
{
    const struct uart *u = container_of(d, const struct uart, dev);
    if (u->rx.head >= FIFO_BYTES || u->rx.count > FIFO_BYTES || u->tx.head >= FIFO_BYTES ||
        u->tx.count > FIFO_BYTES)
        return err_set(e, E_FORMAT, "FIFO out of range");
    return 0;
}

static void uart_post_load(struct dev *d)
{
    struct uart *u = self(d);
    if (u->timeout_ns) timer_arm(&u->timeout, u->timeout_ns);
    else timer_cancel(&u->timeout);
    if (u->tx.count) drain(u);
    update(u);
    if (rx_room(u)) chardev_rx_ready(u->chr);
}

static const struct ser_field uart_fields[] = {
    SER_ARRAY(struct uart, rx.data, 1), SER(struct uart, rx.head, 1),
    SER(struct uart, rx.count, 1),      SER_ARRAY(struct uart, tx.data, 1),
    SER(struct uart, tx.head, 1),       SER(struct uart, tx.count, 1),
    SER(struct uart, timeout_ns, 1),    SER(struct uart, divisor, 1),
    SER(struct uart, ier, 1),           SER(struct uart, fcr, 1),
    SER(struct uart, lcr, 1),           SER(struct uart, mcr, 1),
    SER(struct uart, msr, 1),           SER(struct uart, scr, 1),
    SER(struct uart, lsr, 1),           SER(struct uart, thre_pending, 1),
    SER(struct uart, timed_out, 1),     SER_END,
};
static const struct dev_region uart_regions[] = {
    {"uart", BUS_PORT, false, 0, UART_PORTS, 1, 1, uart_read, uart_write},
    {0},
};

const struct dev_class uart_class = {
    .name = "uart",
    .version = 1,
    .inst_bytes = sizeof(struct uart),
    .regions = uart_regions,
    .fields = uart_fields,
    .init = uart_init,
    .fini = uart_fini,
    .reset = uart_reset,
    .validate = uart_validate,
    .post_load = uart_post_load,
};

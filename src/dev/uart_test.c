/* dev/uart_test.c - 16550A: data both ways, flow control, interrupts, loopback. */
#include "dev/test_storm.h"
#include "dev/uart.h"

enum { RBR = 0x3F8, IER, IIR, LCR, MCR, LSR, MSR, SCR };

static struct rig r;
static struct dev *d;
static struct chardev chr;
static u8 sent[256];
static u32 nsent, accept_bytes, readies;

static u32 back_write(void *ctx, const u8 *buf, u32 bytes)
{
    u32 n = bytes < accept_bytes ? bytes : accept_bytes;
    (void)ctx;
    if (n > sizeof sent - nsent) n = (u32)sizeof sent - nsent;
    memcpy(sent + nsent, buf, n);
    nsent += n;
    accept_bytes -= n;
    return n;
}
static void back_ready(void *ctx)
{
    (void)ctx;
    readies++;
}
static const struct chardev_back_ops back = {back_write, back_ready};

static int setup(void **state)
{
    (void)state;
    rig_init(&r);
    chr = (struct chardev){.back = &back};
    nsent = readies = 0;
    accept_bytes = UINT32_MAX;
    d = rig_create(&r, &uart_class, &(struct uart_cfg){&r.clk, &r.pin, &chr});
    assert_int_equal(dev_attach(d, 0, 0x3F8, NULL), 0);
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    rig_save_load_compare(&r, d);
    rig_storm(&r, d, 20000);
    accept_bytes = 0;
    rig_save_load_compare(&r, d);
    rig_damaged_loads(&r, d, 1000);
    rig_fini(&r);
    assert_null(chr.front);
    return 0;
}

static void test_output(void **state)
{
    (void)state;
    assert_int_equal(in8(&r, LSR), 0x60);
    out8(&r, MCR, 0x0B);
    out8(&r, IER, 0x02);
    assert_true(r.level);
    assert_int_equal(in8(&r, IIR), 0x02);
    assert_false(r.level); /* reading IIR takes it back */
    assert_int_equal(in8(&r, IIR), 0x01);
    out8(&r, RBR, 'A');
    assert_int_equal(r.rises, 2);
    out8(&r, RBR, 'B');
    assert_int_equal(r.rises, 3); /* a new edge for each */
    assert_int_equal(nsent, 2);
    out8(&r, MCR, 0x03); /* OUT2 off: gated */
    assert_false(r.level);
}

static void test_slow_back_end(void **state)
{
    (void)state;
    out8(&r, IIR, 0x01);
    out8(&r, MCR, 0x08);
    out8(&r, IER, 0x02);
    (void)in8(&r, IIR);
    accept_bytes = 1;
    for (u8 i = 0; i < 20; i++) out8(&r, RBR, i); /* 1 taken, 16 kept, 3 too many */
    assert_int_equal(nsent, 1);
    assert_int_equal(in8(&r, LSR) & 0x60, 0);
    assert_int_equal(in8(&r, IIR), 0xC1);
    rig_save_load_compare(&r, d);
    accept_bytes = 5;
    chardev_tx_ready(&chr);
    assert_int_equal(in8(&r, LSR) & 0x60, 0);
    accept_bytes = 100;
    chardev_tx_ready(&chr);
    assert_int_equal(nsent, 17);
    assert_int_equal(sent[16], 16);
    assert_int_equal(in8(&r, LSR) & 0x60, 0x60);
    assert_true(r.level);
}

static void test_input(void **state)
{
    const u8 text[] = "0123456789abcdef";
    (void)state;
    assert_int_equal(chardev_rx_room(&chr), 1);
    out8(&r, IIR, 0x81); /* FIFO, trigger 8 */
    out8(&r, MCR, 0x08);
    out8(&r, IER, 0x05);
    assert_int_equal(chardev_rx_room(&chr), 16);
    chardev_rx(&chr, text, 7);
    assert_false(r.level);
    rig_run(&r, 1000000); /* four characters at 115200 pass */
    assert_true(r.level);
    assert_int_equal(in8(&r, IIR), 0xCC);
    assert_int_equal(in8(&r, RBR), '0');
    assert_false(r.level);
    chardev_rx(&chr, text + 7, 9);
    assert_int_equal(in8(&r, IIR), 0xC4);
    assert_int_equal(chardev_rx_room(&chr), 1);
    readies = 0;
    for (u32 i = 1; i < 16; i++) assert_int_equal(in8(&r, RBR), text[i]);
    assert_int_equal(readies, 1);
    assert_int_equal(in8(&r, LSR), 0x60);
    assert_false(r.level);
    chardev_rx(&chr, text, 16);
    d->cls->reset(d); /* a reboot with a full FIFO must not leave the back end waiting for ever */
    assert_int_equal(readies, 2);
    assert_int_equal(chardev_rx_room(&chr), 1);
    chardev_rx(&chr, text, 1);
    assert_int_equal(chardev_rx_room(&chr), 0);
    assert_int_equal(in8(&r, LSR), 0x61);
}

/* What drivers probe with. */
static void test_loopback_and_registers(void **state)
{
    (void)state;
    assert_int_equal(in8(&r, MSR), 0xB0);
    out8(&r, MCR, 0x1A);
    assert_int_equal(in8(&r, MSR) & 0xF0, 0x90);
    out8(&r, RBR, 0x5A);
    assert_int_equal(nsent, 0);
    assert_int_equal(in8(&r, RBR), 0x5A);
    out8(&r, RBR, 1);
    out8(&r, RBR, 2);
    assert_int_equal(in8(&r, LSR) & 0x03, 0x03); /* overrun */
    assert_int_equal(in8(&r, LSR) & 0x02, 0);
    assert_int_equal(chardev_rx_room(&chr), 0);
    out8(&r, LCR, 0x80);
    out8(&r, RBR, 0x0C);
    out8(&r, IER, 0x01);
    assert_int_equal(in8(&r, RBR) | in8(&r, IER) << 8, 0x10C);
    out8(&r, LCR, 0x03);
    out8(&r, SCR, 0xA5);
    assert_int_equal(in8(&r, SCR), 0xA5);
    out8(&r, IIR, 0x01);
    assert_int_equal(in8(&r, IIR), 0xC1);
    out8(&r, IIR, 0x00);
    assert_int_equal(in8(&r, IIR), 0x01);
    out8(&r, IER, 0xFF);
    assert_int_equal(in8(&r, IER), 0x0F);
}

static void test_line_and_modem_interrupts(void **state)
{
    (void)state;
    out8(&r, MCR, 0x08);
    out8(&r, IER, 0x0C);
    chr.front->rx_break(chr.front_ctx);
    assert_int_equal(in8(&r, IIR), 0x06);
    assert_int_equal(in8(&r, LSR) & 0x10, 0x10);
    assert_false(r.level);
    (void)in8(&r, RBR);
    (void)in8(&r, MSR);
    out8(&r, MCR, 0x18);
    assert_int_equal(in8(&r, IIR), 0x00);
    (void)in8(&r, MSR);
    assert_int_equal(in8(&r, IIR), 0x01);
}

int main(void)
{
#define UNIT(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {UNIT(test_output), UNIT(test_slow_back_end),
                                       UNIT(test_input), UNIT(test_loopback_and_registers),
                                       UNIT(test_line_and_modem_interrupts)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}

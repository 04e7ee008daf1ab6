/* fw_cfg_test.c - items through both ports, the directory, and what a hostile guest may ask of
 * DMA. */
#include "dev/fw_cfg.h"
#include "dev/test_storm.h"

enum { SELECT = 0x510, DATA = 0x511, DMA_HI = 0x514, DMA_LO = 0x518, DESC = 0x1000, BUF = 0x2000 };
enum { ERR = 1, READ = 2, SKIP = 4, SEL = 8, WRITE = 16 };

static struct rig r;
static struct mem mem;
static struct dev *fw;
static u32 prepared;
static u16 key;

static void prepare(void *ctx, u16 k)
{
    (void)ctx;
    prepared += k == key;
}

static int setup(void **state)
{
    (void)state;
    rig_init(&r);
    assert_int_equal(mem_init(&mem, NULL), 0);
    assert_int_equal(mem_add(&mem, 0, MIB(2), false, NULL), 0);
    fw = rig_create(&r, &fw_cfg_class, &(struct fw_cfg_cfg){.mem = &mem, .prepare = prepare});
    fw_cfg_set_int(fw, FW_CFG_NB_CPUS, 3, 2);
    key = fw_cfg_add_file(fw, "etc/one", "first", 5);
    fw_cfg_add_file(fw, "etc/two", "second file", 11);
    prepared = 0;
    return 0;
}
static int teardown(void **state)
{
    (void)state;
    rig_fini(&r);
    mem_fini(&mem);
    return 0;
}

static void pick(u16 k) { bus_port_write(&r.bus, SELECT, k, 2); }
static void read_bytes(u8 *to, u32 n)
{
    for (u32 i = 0; i < n; i++) to[i] = in8(&r, DATA);
}

static u32 dma_at(u64 at, u32 control, u32 length, u64 address)
{
    u32 be[4] = {__builtin_bswap32(control), __builtin_bswap32(length),
                 __builtin_bswap32((u32)(address >> 32)), __builtin_bswap32((u32)address)};
    mem_write(&mem, at, be, sizeof be);
    bus_port_write(&r.bus, DMA_HI, __builtin_bswap32((u32)(at >> 32)), 4);
    bus_port_write(&r.bus, DMA_LO, __builtin_bswap32((u32)at), 4);
    mem_read(&mem, at, be, 4);
    return __builtin_bswap32(be[0]);
}
static u32 dma(u32 control, u32 length, u64 address)
{
    return dma_at(DESC, control, length, address);
}

static void test_ports(void **state)
{
    (void)state;
    u8 b[16];
    pick(FW_CFG_SIGNATURE);
    read_bytes(b, 6);
    assert_memory_equal(b, "QEMU\0\0", 6);
    pick(FW_CFG_ID);
    assert_int_equal(in8(&r, DATA), 3);
    pick(FW_CFG_NB_CPUS);
    read_bytes(b, 3);
    assert_memory_equal(b, "\3\0\0", 3);
    pick(0xFFFF);
    assert_int_equal(in8(&r, DATA), 0);
    pick(key);
    assert_int_equal(prepared, 1);
    read_bytes(b, 5);
    assert_memory_equal(b, "first", 5);
    out8(&r, DATA, 'x'); /* nothing is written */
    pick(key);
    assert_int_equal(in8(&r, DATA), 'f');
    assert_int_equal(bus_port_read(&r.bus, DMA_HI, 4), 0x554D4551); /* "QEMU" */
}

static void test_directory(void **state)
{
    (void)state;
    u8 b[4 + 128];
    pick(FW_CFG_FILE_DIR);
    read_bytes(b, sizeof b);
    assert_memory_equal(b, "\0\0\0\2\0\0\0\5\0\x20\0\0etc/one", 20);
    assert_memory_equal(b + 4 + 64, "\0\0\0\13\0\x21\0\0etc/two", 16);
    assert_int_equal(in8(&r, DATA), 0);
}

static void test_dma(void **state)
{
    (void)state;
    char b[16];
    assert_int_equal(dma(SEL | READ | (u32)(key + 1) << 16, 6, BUF), 0);
    mem_read(&mem, BUF, b, 6);
    assert_memory_equal(b, "second", 6);
    assert_int_equal(dma(SKIP, 1, 0), 0);
    mem_fill(&mem, BUF, 0xEE, 16);
    assert_int_equal(dma(READ, 8, BUF), 0); /* four bytes, then zeroes */
    mem_read(&mem, BUF, b, 9);
    assert_memory_equal(b, "file\0\0\0\0\xEE", 9);
    assert_int_equal(dma(SEL | (u32)key << 16, 0, 0), 0);
    assert_int_equal(in8(&r, DATA), 'f');
}

static void test_hostile_dma(void **state)
{
    (void)state;
    u8 b;
    assert_int_equal(dma(SEL | WRITE | (u32)key << 16, 5, BUF), ERR);
    assert_int_equal(dma(SEL | READ | (u32)key << 16, 0xFFFFFFFF, BUF), ERR);
    assert_int_equal(dma(SEL | READ | 0xFFFFu << 16, 16, BUF), 0);
    assert_int_equal(dma(SEL | READ | (u32)key << 16, 5, MIB(2) - 2), ERR);
    assert_int_equal(dma(READ, 64, ~0ull), ERR);
    assert_int_equal(dma(SKIP, 0xFFFFFFFF, 0), 0);
    assert_int_equal(dma(SKIP, 0xFFFFFFFF, 0), 0);
    assert_int_equal(in8(&r, DATA), 0);
    dma_at(MIB(2) - 8, SEL | READ, 4, BUF); /* half a descriptor */
    dma_at(~7ull, SEL | READ, 4, BUF);
    assert_int_equal(dma(SEL | READ | (u32)key << 16, 5, DESC), 0); /* over itself */
    mem_read(&mem, DESC + 4, &b, 1);
    assert_int_equal(b, 't');
    rig_storm(&r, fw, 20000);
    rig_damaged_loads(&r, fw, 200);
}

static void test_save(void **state)
{
    (void)state;
    pick(key);
    in8(&r, DATA);
    rig_save_load_compare(&r, fw);
    assert_int_equal(in8(&r, DATA), 'i');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_ports, setup, teardown),
        cmocka_unit_test_setup_teardown(test_directory, setup, teardown),
        cmocka_unit_test_setup_teardown(test_dma, setup, teardown),
        cmocka_unit_test_setup_teardown(test_hostile_dma, setup, teardown),
        cmocka_unit_test_setup_teardown(test_save, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

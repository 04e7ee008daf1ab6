/* dma - what a driver must never do to devices that move memory: IDE bus master tables that lead
 * into themselves, virtio rings that loop, overlap and lie in devices, frame buffers laid over RAM
 * and over the local APIC, shadow RAM that changes under the code in it. The machine has an IDE
 * disk, a CD-ROM, a virtio disk and a VGA; devices may end in any state. */
#include "guest/hostile/rnd.h"

enum { IDE_FN = 9, VGA_FN = 2 << 3, VIRTIO_FN = 16 << 3, HOST_FN = 0 };
enum { BM = 0xC000, ROUNDS = 400, REMAPS = 600, POLLS = 2000 };
#define VIRTIO_BAR 0xE0000000ull
#define RAM_END 0x8000000ull /* 128 MiB */

static u32 pci_read(u32 fn, u32 reg)
{
    outl(0xCF8, 0x80000000u | fn << 8 | (reg & 0xFC));
    return inl(0xCFC);
}
static void pci_write(u32 fn, u32 reg, u32 val)
{
    outl(0xCF8, 0x80000000u | fn << 8 | (reg & 0xFC));
    outl(0xCFC, val);
}

/* Somewhere a device should not go, or should. */
static u64 bad_address(const void *own)
{
    static const u64 places[] = {0,          0xA0000,     0xC0000,           0xFEE00000,
                                 0xFEC00000, 0xFFFFF000,  RAM_END,           RAM_END - 8,
                                 VIRTIO_BAR, 0x100000000, 0xFFFFFFFFFFFFF000};
    u64 r = rnd();
    if (r & 1) return (u64)own + (r >> 8 & 0xFF0);
    if (r & 2) return places[(r >> 8) % (sizeof places / sizeof places[0])];
    return 0x4000000 + (r >> 8 & 0x3FFFFFF); /* RAM nobody needs */
}

/* ---- IDE ---- */

static void ide_command(u16 base, u8 command)
{
    outb((u16)(base + 6), 0xE0);
    outb((u16)(base + 2), (u8)(rnd() & 0x1F));
    outb((u16)(base + 3), (u8)(rnd() & 0xF));
    outb((u16)(base + 4), command == 0xA0 ? 0xFE : 0);
    outb((u16)(base + 5), command == 0xA0 ? 0xFF : 0);
    outb((u16)(base + 7), command);
}

static void ide_round(u32 *table)
{
    static const u8 commands[] = {0xC8, 0xCA, 0x25, 0x35, 0xA0, 0xC8, 0xE7, 0xEC};
    u64 r = rnd();
    bool second = r & 1;
    u16 base = second ? 0x170 : 0x1F0, bm = (u16)(BM + (second ? 8 : 0));
    u32 entries = r & 2 ? 8192 : (u32)(r >> 8 & 15); /* 8192: 64 KiB full, no end anywhere */
    for (u32 i = 0; i < entries; i++) {
        table[2 * i] = (u32)bad_address(table);
        table[2 * i + 1] = (u32)(rnd() & (r & 4 ? 0xFFFF : 0x1FE));
    }
    if (r & 8) table[2 * (entries / 2) + 1] |= 0x80000000u;
    outl((u16)(bm + 4), r & 16 ? (u32)bad_address(table) : (u32)(u64)table);
    outb(bm, r & 32 ? 8 : 0);
    ide_command(base, commands[(r >> 40) % sizeof commands]);
    if ((r >> 40) % sizeof commands == 4)
        for (int i = 0; i < 6; i++) outw(base, (u16)(i == 0 ? 0x28 : rnd() & 0x100)); /* READ(10) */
    outb(bm, (u8)((r & 32 ? 8 : 0) | 1));
    for (int i = 0; i < POLLS && (inb((u16)(base + 7)) & 0x80); i++) table[rnd() & 15] = (u32)rnd();
    if (r & 64) outb(bm, 0);
    if (r & 128) outb((u16)(base + 0x206), 4), outb((u16)(base + 0x206), 2);
}

static void ide_storm(void)
{
    u32 *table = pages_alloc(16);
    pci_write(IDE_FN, 4, 5);
    for (int i = 0; i < ROUNDS; i++) ide_round(table);
    check("survived bus master tables that lead into themselves", true);
}

/* ---- virtio ---- */

static u64 common, notify;

/* Where the capabilities of type 1 (common) and 2 (notification) point. */
static bool virtio_find(void)
{
    if ((pci_read(VIRTIO_FN, 0) & 0xFFFF) != 0x1AF4) return false;
    for (u32 bar = 0; bar < 6; bar++) {
        u32 old = pci_read(VIRTIO_FN, 0x10 + 4 * bar);
        pci_write(VIRTIO_FN, 0x10 + 4 * bar, (u32)VIRTIO_BAR + bar * 0x100000);
        if ((old & 7) == 4) pci_write(VIRTIO_FN, 0x14 + 4 * bar++, 0);
    }
    pci_write(VIRTIO_FN, 4, 6);
    for (u32 at = pci_read(VIRTIO_FN, 0x34) & 0xFC, n = 0; at && n < 16; n++) {
        u32 head = pci_read(VIRTIO_FN, at), bar = pci_read(VIRTIO_FN, at + 4) & 0xFF;
        u64 where = VIRTIO_BAR + bar * 0x100000 + pci_read(VIRTIO_FN, at + 8);
        if ((head & 0xFF) == 9 && head >> 24 == 1) common = where;
        if ((head & 0xFF) == 9 && head >> 24 == 2) notify = where;
        at = head >> 8 & 0xFC;
    }
    return common && notify;
}

static void virtio_round(u8 *ring)
{
    u64 r = rnd();
    RD(u8, common + 0x14) = 0;
    RD(u8, common + 0x14) = 3;
    RD(u32, common + 8) = 1;
    RD(u32, common + 0xC) = 1; /* VERSION_1 */
    RD(u8, common + 0x14) = 0xB;
    RD(u16, common + 0x16) = (u16)(r & 1 ? 0 : r >> 8 & 3);
    RD(u16, common + 0x18) = (u16)(r & 2 ? 16 : rnd());
    RD(u64, common + 0x20) = r & 4 ? (u64)ring : bad_address(ring);
    RD(u64, common + 0x28) = r & 8 ? (u64)ring + 0x1000 : bad_address(ring);
    RD(u64, common + 0x30) = r & 16 ? (u64)ring + 0x2000 : bad_address(ring);
    for (int i = 0; i < 16; i++) { /* descriptors: a chain, loops, tables within tables */
        u64 *d = (u64 *)(ring + 16 * i), x = rnd();
        d[0] = bad_address(ring);
        d[1] = (x & 0xFFFF) | (x >> 16 & 7) << 32 |
               (u64)(x & 1 << 20 ? i + 1 : (int)(x >> 24 & 31)) << 48;
        if (x & 1 << 21) d[1] |= 0xFFFF0000;
    }
    for (int i = 0; i < 16; i++) RD(u16, (u64)ring + 0x1004 + 2 * (u64)i) = (u16)(rnd() & 31);
    RD(u16, (u64)ring + 0x1002) = (u16)(r & 32 ? 16 : rnd());
    RD(u16, common + 0x1C) = 1;
    RD(u8, common + 0x14) = 0xF;
    for (int i = 0; i < 4; i++) {
        RD(u16, notify) = 0;
        ring[rnd() & 0xFF] = (u8)rnd();
        RD(u16, (u64)ring + 0x1002) += (u16)(rnd() & 3);
    }
}

static void virtio_storm(void)
{
    u8 *ring = pages_alloc(4);
    if (!virtio_find()) {
        skip("survived virtio rings that loop and overlap", "no virtio disk");
        return;
    }
    for (int i = 0; i < ROUNDS; i++) virtio_round(ring);
    RD(u8, common + 0x14) = 0;
    check("survived virtio rings that loop and overlap", true);
}

/* ---- the memory map ---- */

static void touch(u64 at)
{
    for (int i = 0; i < 8; i++) {
        u64 a = at + (rnd() & 0xFFFFF8);
        ATTEMPT("mov (%0), %%rax\n mov %%rax, (%0)", ::"r"(a) : "rax", "memory");
    }
}

static void vga_storm(void)
{
    static const u32 bases[] = {0x4000000,  0x5000000,  0x7000000,  0x8000000, 0xC0000000,
                                0xE0000000, 0xF0000000, 0xFD000000, 0xFE000000};
    for (int i = 0; i < REMAPS; i++) {
        u32 base = bases[rnd() % (sizeof bases / sizeof bases[0])];
        u64 r = rnd();
        if ((base & 0xFE000000) == 0xFE000000 && r & 1) base = 0xFD000000;
        pci_write(VGA_FN, r & 2 ? 0x10 : r & 4 ? 0x18 : 0x30, base | (r & 8 ? 1 : 0));
        pci_write(VGA_FN, 4, (u32)(r >> 8 & 7));
        if (base < 0xFE000000) touch(base);
    }
    pci_write(VGA_FN, 4, 0);
    check("survived a frame buffer over everything", true);
}

/* Code in the shadow RAM, "mov $1, %eax; ret", is run while its segment comes and goes. All else
 * there is RET, so that a write that was dropped does no harm; where nothing is read, FF FF is #UD.
 */
static void pam_storm(void)
{
    static const u8 code[] = {0xB8, 1, 0, 0, 0, 0xC3};
    u64 ran = 0, faults = 0;
    for (u32 reg = 0x58; reg <= 0x5C; reg += 4) pci_write(HOST_FN, reg, 0x33333333);
    memset((void *)0xC0000, 0xC3, 0x20000);
    for (int i = 0; i < REMAPS; i++) {
        u64 r = rnd(), at = 0xC0000 + (r >> 32 & 0x1FFF0);
        for (u32 reg = 0x58; reg <= 0x5C; reg += 4)
            pci_write(HOST_FN, reg, r & 1 ? 0x33333333 : (u32)rnd() & 0x33333333);
        memcpy((void *)at, code, sizeof code);
        ATTEMPT("xor %%eax, %%eax\n call *%0", ::"r"(at) : "rax", "rcx", "rdx", "memory", "cc");
        if (last.f.vec == NO_TRAP) ran++;
        else faults++;
        RD(u8, at) = 0xC3;
    }
    say("# %u calls came back, %u faulted\n", ran, faults);
    check("code in shadow RAM ran at times", ran > 0);
}

int main(void)
{
    for (int v = 32; v < 256; v++) hooks[v] = ignore_trap;
    hooks[NMI] = ignore_trap;
    ide_storm();
    virtio_storm();
    vga_storm();
    pam_storm();
    finish();
}

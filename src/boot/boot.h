/* boot/boot.h - put a kernel into guest memory without firmware, and say how vCPU 0 must start.
 *
 * A boot image is the kernel and initrd files, read and validated once; it can be loaded any number
 * of times (a guest reset loads it again). What the kernel file is follows from its content: a
 * Linux bzImage, an ELF executable with a PVH note, a multiboot kernel, or any other ELF executable
 * (entered as Linux's vmlinux is). Loading plans every placement first and touches guest memory
 * only when all of it fits. Placement: boot/layout.h.
 * Order for the machine: e820_add_ram, acpi_build (gives rsdp_gpa), boot_image_load, copy
 * boot_entry to vCPU 0; the other vCPUs wait for INIT-SIPI.
 * Spec: Linux Documentation/arch/x86/boot.rst; Xen docs/misc/pvh.pandoc; System V ABI ch. 5;
 * Multiboot 0.6.96;
 * Multiboot2 2.0. */
#ifndef BOOT_BOOT_H
#define BOOT_BOOT_H
#include "base/err.h"
#include "base/types.h"
#include "boot/layout.h"
#include "mem/mem.h"

enum boot_protocol {
    BOOT_AUTO,    /* bzImage: 64-, else 32-bit; ELF: PVH, multiboot2, multiboot, 64-, 32-bit */
    BOOT_LINUX32, /* bzImage or ELF through the 32-bit Linux boot protocol */
    BOOT_LINUX64, /* the same through the 64-bit protocol                  */
    BOOT_PVH,
    BOOT_MULTIBOOT,
    BOOT_MULTIBOOT2,
};
/* "auto", "linux32", ...; parse returns a protocol, or E_INVAL with the list of names in @e. */
const char *boot_protocol_name(enum boot_protocol p);
int boot_protocol_parse(const char *name, struct err *e) MUST_USE;

struct boot_config {
    const char *cmdline; /* borrowed; NULL is ""                      */
    gpa_t rsdp_gpa;      /* from acpi_build; 0 when there is no ACPI  */
    enum boot_protocol protocol;
    bool vga_text; /* the VGA shows 80x25 characters, as a BIOS leaves it: tell the kernel */
};

enum boot_mode { BOOT_MODE_PROT32, BOOT_MODE_LONG64 };

/* Access rights: descriptor bits 55:40 with 51:48 clear, so type 3:0, S 4, DPL 6:5, P 7, AVL 12, L
 * 13, D/B 14, G 15. */
enum boot_access {
    BOOT_ACCESS_CODE64 = 0xa09b,
    BOOT_ACCESS_CODE32 = 0xc09b,
    BOOT_ACCESS_DATA = 0xc093,
    BOOT_ACCESS_TSS_BUSY = 0x008b,
};
/* One segment register with its hidden part. */
struct boot_seg {
    u16 sel;
    u16 access; /* enum boot_access */
    u32 limit;  /* bytes - 1, granularity applied */
    u64 base;
};

/* State of vCPU 0 at the kernel's entry. cr0, cr4 and efer are whole values. General registers not
 * named are 0, everything else is what RESET gives. IDT: base 0, limit 0. LDTR: null, unusable. */
struct boot_entry {
    enum boot_mode mode;
    enum boot_protocol protocol; /* the one chosen; never BOOT_AUTO */
    u64 rip, rsp, rflags;
    u64 rax, rbx, rsi;
    u64 cr0, cr3, cr4, efer;
    gpa_t gdt_base;
    u16 gdt_limit;
    struct boot_seg cs, data, tr; /* data: DS, ES, FS, GS and SS alike */
};

struct boot_image; /* opaque: file contents and what was learnt from them */

/**
 * boot_image_open - read and validate the files.
 * @out     owned by the caller on success: boot_image_close
 * @kernel  path, may be packed by gzip; @initrd  path, list of modules (boot/files.c) or NULL
 * Errors (one line naming the file and the fault): E_NOENT, E_PERM, E_SYS, E_NOMEM, E_FORMAT
 * (empty, truncated, not a kernel), E_RANGE (larger than BOOT_FILE_BYTES_MAX).   Cost: reads both
 * files.
 */
int boot_image_open(struct boot_image **out, const char *kernel, const char *initrd,
                    struct err *e) MUST_USE;
void boot_image_close(struct boot_image *img); /* NULL is fine */

/**
 * boot_image_load - place everything in @mem and describe the entry state in @out. The files leave
 * the process's memory then and are read anew by the next call.
 * @mem  RAM laid out by e820_add_ram (or alike); not running
 * Errors: E_RANGE (kernel, initrd or command line does not fit), E_INVAL (@cfg asks for a protocol
 * the image does not offer), E_FORMAT (also: a file has changed since the first call), E_SYS,
 * E_NOMEM. On error guest memory is unchanged.
 */
int boot_image_load(struct boot_image *img, struct mem *mem, const struct boot_config *cfg,
                    struct boot_entry *out, struct err *e) MUST_USE;

/* The files themselves, for firmware to start; borrowed from the image. */
struct boot_raw {
    const u8 *kernel, *initrd; /* initrd NULL: none */
    u64 kernel_bytes, initrd_bytes;
    u32 setup_bytes; /* of the kernel: its real-mode part comes first */
    u64 initrd_end;  /* last acceptable address + 1 */
};
/** boot_image_raw - E_UNSUPPORTED when the kernel is no bzImage of at most 4 GiB. */
int boot_image_raw(const struct boot_image *img, struct boot_raw *out, struct err *e) MUST_USE;
enum { BOOT_CMDLINE_BYTES_MAX = BOOT_CMDLINE_END - BOOT_CMDLINE }; /* with the final NUL */
#define BOOT_FILE_BYTES_MAX GIB(4)
#endif

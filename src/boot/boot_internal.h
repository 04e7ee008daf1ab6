/* boot/boot_internal.h - shared by the loaders: the parsed image, and the plan of what goes where.
 *
 * Each loader has two halves. parse: file -> facts in struct boot_image, checking every field, at
 * open. plan: facts and memory map -> chunks in struct boot_plan, at load. A chunk is checked when
 * it is added (RAM, and no overlap with another chunk), so a complete plan can be carried out
 * without failing half-way. */
#ifndef BOOT_INTERNAL_H
#define BOOT_INTERNAL_H
#include "boot/boot.h"
#include "boot/e820.h"
#include "host/file.h"

enum { ELF_SEGMENTS_MAX = 32, BOOT_MODULES_MAX = 16 };
enum { PLAN_CHUNKS_MAX = ELF_SEGMENTS_MAX + 8 + BOOT_MODULES_MAX };

struct elf_segment {
    u64 file_offset, file_bytes; /* within the file                 */
    gpa_t gpa;                   /* p_paddr                         */
    gva_t gva;                   /* p_vaddr                         */
    u64 mem_bytes;               /* > 0, >= file_bytes, no overflow */
};
struct elf_info {
    bool is_64;
    u64 entry; /* physical; inside a segment  */
    bool has_pvh;
    u32 pvh_entry; /* physical; inside a segment  */
    u32 count;     /* at least 1                  */
    struct elf_segment segment[ELF_SEGMENTS_MAX];
};
struct bzimage_info {
    u32 setup_bytes;   /* boot sector and real-mode code: what precedes the payload  */
    u64 payload_bytes; /* protected-mode code, > 0                                   */
    u32 header_end;    /* offset in the zero page after the header's last byte       */
    u16 version;       /* 0x2xx                                                      */
    u64 load_gpa;      /* where the payload goes                                     */
    u64 run_gpa;       /* where it will work after moving itself                     */
    u64 run_bytes;     /* RAM needed there                                           */
    u64 initrd_end;    /* last acceptable byte + 1                                   */
    u32 cmdline_max;   /* characters without the NUL                                 */
    bool has_entry64, initrd_above_4g;
};
struct multiboot_info {
    bool present, is_flat; /* flat: the header gives the addresses, not the ELF headers */
    u32 flags;
    u32 entry;
    struct elf_segment segment; /* when flat */
};

/* data is NULL while asleep; its size stays. */
struct boot_file {
    char *path; /* owned */
    char *args; /* owned: of a module, its name and arguments; else NULL */
    struct file_data data;
    struct file_again again; /* the file as it is; data may be what was packed in it */
};

enum image_kind { IMAGE_BZIMAGE, IMAGE_ELF, IMAGE_FLAT };
struct boot_image {
    enum image_kind kind;
    struct boot_file file;                     /* the kernel's */
    struct boot_file module[BOOT_MODULES_MAX]; /* the initrd, or modules of a multiboot kernel */
    u32 modules;
    /* borrowed from the above, for the loaders; initrd_path NULL when there is none */
    const char *kernel_path, *initrd_path;
    struct file_data kernel, initrd;
    bool asleep;            /* loaded: the files are read again when needed again */
    struct bzimage_info bz; /* IMAGE_BZIMAGE */
    struct elf_info elf;    /* IMAGE_ELF     */
    struct multiboot_info multiboot, multiboot2; /* IMAGE_ELF, IMAGE_FLAT */
};

struct boot_chunk {
    const char *what; /* for messages */
    gpa_t gpa;
    const u8 *data; /* borrowed from the image or the plan */
    u64 data_bytes;
    u64 bytes; /* data, then zeroes */
};
enum { PLAN_LOW_BYTES = BOOT_INFO_END - BOOT_INFO, ZERO_PAGE_BYTES = PAGE_BYTES };
struct boot_plan {
    const struct boot_image *img;
    const struct boot_config *cfg;
    struct e820 map;
    u32 count;
    struct boot_chunk chunk[PLAN_CHUNKS_MAX];
    gpa_t initrd_gpa; /* 0 when there is none */
    gpa_t module_gpa[BOOT_MODULES_MAX];
    struct boot_entry entry;
    /* contents made here */
    u8 zero_page[ZERO_PAGE_BYTES];
    u8 info[PLAN_LOW_BYTES];
    u8 gdt[64];
    u8 pgtables[BOOT_PGTABLES_END - BOOT_PGTABLES];
    char cmdline[BOOT_CMDLINE_BYTES_MAX];
    bool name_first; /* multiboot: the kernel's path is the first word of it */
};

/* parse: return 1 when the file is of that kind, 0 when it is not, or a negative code when it is
 * but is broken. */
int bzimage_parse(struct boot_image *img, struct err *e) MUST_USE;
int elf_parse(struct boot_image *img, struct err *e) MUST_USE;
int multiboot_parse(struct boot_image *img, struct err *e) MUST_USE;
int multiboot2_parse(struct boot_image *img, struct err *e) MUST_USE;
/* files.c: reading, giving back, reading again. */
int boot_files_open(struct boot_image *img, const char *kernel, struct err *e) MUST_USE;
int boot_files_add_initrd(struct boot_image *img, const char *initrd, struct err *e) MUST_USE;
int boot_files_wake(struct boot_image *img, struct err *e) MUST_USE;
/* Several modules, or one with arguments: multiboot passes those, PVH does not. */
bool boot_files_is_list(const struct boot_image *img);
void boot_files_sleep(struct boot_image *img);
void boot_files_close(struct boot_image *img);

/* plan: fill @p for one protocol. */
int bzimage_plan(struct boot_plan *p, bool long_mode, struct err *e) MUST_USE;
int vmlinux_plan(struct boot_plan *p,
                 struct err *e) MUST_USE; /* an ELF as Linux expects to start */
int pvh_plan(struct boot_plan *p, struct err *e) MUST_USE;
int multiboot_plan(struct boot_plan *p, struct err *e) MUST_USE;
int multiboot2_plan(struct boot_plan *p, struct err *e) MUST_USE;

/* Steps the plans share. */
int plan_add(struct boot_plan *p, const struct boot_chunk *c, struct err *e) MUST_USE;
int plan_add_elf(struct boot_plan *p, struct err *e) MUST_USE;
/* The highest place in [floor, end) (and above 4 GiB if @above_4g, when there is none). */
int plan_add_initrd(struct boot_plan *p, gpa_t floor, gpa_t end, bool above_4g,
                    struct err *e) MUST_USE;
int plan_add_cmdline(struct boot_plan *p, u64 chars_max, struct err *e) MUST_USE;
/* What the multiboot versions share: image, modules as high as they fit below 4 GiB, entry. */
int plan_add_multiboot(struct boot_plan *p, const struct multiboot_info *m, struct err *e) MUST_USE;
/* The string of module @i: its name and arguments. */
const char *plan_module_args(const struct boot_plan *p, u32 i);
gpa_t plan_kernel_end(const struct boot_plan *p); /* end of the highest chunk so far */
/* Entry states: GDT (and page tables) as chunks, registers in p->entry. */
int plan_entry32(struct boot_plan *p, u32 rip, struct err *e) MUST_USE;
int plan_entry64(struct boot_plan *p, u64 rip, struct err *e) MUST_USE;
/* The zero page without the setup header, which the caller has put in place already. */
int plan_add_zero_page(struct boot_plan *p, struct err *e) MUST_USE;

/* Unaligned little-endian fields (the host is x86). */
static inline u64 load_le(const u8 *p, u32 bytes)
{
    u64 v = 0;
    __builtin_memcpy(&v, p, bytes);
    return v;
}
static inline void store_le(u8 *p, u64 v, u32 bytes) { __builtin_memcpy(p, &v, bytes); }
#endif

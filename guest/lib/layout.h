/* layout.h - selectors, addresses and boot constants shared by assembler and C. */
#ifndef GUEST_LAYOUT_H
#define GUEST_LAYOUT_H

#define KCS 0x08 /* 64-bit code, DPL 0 */
#define KDS 0x10
#define KCS32 0x18
#define KCS16 0x20
#define KDS16 0x28
#define UCS32 0x33 /* user selectors carry RPL 3; order as SYSRET wants it */
#define UDS 0x3B
#define UCS 0x43
#define SEL_FREE 0x48 /* [SEL_FREE, SEL_TSS): free for tests */
#define SEL_TSS 0x100 /* 16 bytes per CPU */
#define CPUS_MAX 16
#define GDT_BYTES (SEL_TSS + 16 * CPUS_MAX)

#define AP_PAGE 0x8000 /* start-up page of the application processors */

#define MSR_EFER 0xC0000080
#define EFER_SCE 0x1
#define EFER_LME 0x100
#define EFER_NXE 0x800
#define CR0_BOOT 0x80010033 /* PG WP NE ET MP PE */
#define CR4_BOOT 0x620      /* OSXMMEXCPT OSFXSR PAE */

#endif

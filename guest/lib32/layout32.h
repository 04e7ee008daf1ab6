/* layout32.h - selectors and addresses of the 32-bit test guests, for assembler and C. */
#ifndef GUEST_LAYOUT32_H
#define GUEST_LAYOUT32_H

#define KCS 0x08 /* flat 32-bit code, DPL 0 */
#define KDS 0x10
#define C16 0x18 /* base LOW_TRAMP, 64 KiB, DPL 0 */
#define D16 0x20 /* base 0, 64 KiB */
#define CS1 0x29 /* flat, rings 1 to 3 with their RPL */
#define DS1 0x31
#define CS2 0x3A
#define DS2 0x42
#define UCS 0x4B
#define UDS 0x53
#define SEL_TSS 0x58    /* the main task */
#define SEL_RESCUE 0x60 /* the task that serves what no handler on the current stack can */
#define SEL_LDT 0x68
#define SEL_FREE 0x70 /* [SEL_FREE, GDT_BYTES): free for tests */
#define GDT_BYTES 0x200

/* memory below 1 MiB, for 16-bit code */
#define LOW_CODE 0x20000  /* snippets are copied here: 2000:0000 */
#define LOW_TRAMP 0x30000 /* way in and out of real mode */
#define LOW_STACK 0x40000 /* 4000:0000, SP starts at FFF0 unless a test says otherwise */
#define LOW_DATA 0x50000  /* 5000:0000 */
#define SP16 0xFFF0

#endif

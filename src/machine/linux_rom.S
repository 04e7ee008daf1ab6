/* linux_rom.S - an option ROM, 16-bit code for the guest: boots the kernel that fw_cfg has, as a
 * boot entry of a BIOS (BIOS Boot Specification 1.01, section 3.3: Bootstrap Entry Vector). The
 * parts go where their items say, by fw_cfg's DMA; then the kernel's setup code is entered (Linux
 * Documentation/arch/x86/boot.rst, "Running the kernel"). Checksums are made in pc_firmware.c. */
    .set DESC, 0x6000           /* a DMA descriptor */
    .set WORD, 0x6010           /* a number read    */
    .set DMA_HIGH, 0x514
    .set DMA_LOW, 0x518
    .set SELECT_READ, 0x0A
    .set SETUP_SEG, 0x1000
    .set SETUP_SP, 0xFFF0

    .section .rodata.linux_rom, "a"
    .code16
    .global linux_rom, linux_rom_end
    .hidden linux_rom, linux_rom_end
linux_rom:
    .byte 0x55, 0xAA, (linux_rom_end - linux_rom) / 512
    mov $0x20, %ax              /* initialised: there is something to boot from */
    lret
    .org 0x18
    .word 0, pnp - linux_rom
    .org 0x1C
    .balign 16
pnp:
    .ascii "$PnP"
    .byte 1, 2
    .word 0
    .byte 0, 0                  /* reserved, checksum */
    .long 0
    .word maker - linux_rom, product - linux_rom
    .byte 0x80, 0, 0            /* other device */
    .byte 0xE4                  /* may boot */
    .word 0, 0, boot - linux_rom, 0, 0
maker:   .asciz "ring3"
product: .asciz "kernel of --kernel"

/* Item EAX, ECX bytes, to linear EDI. */
fetch:
    shl $16, %eax
    or $SELECT_READ, %eax
    bswap %eax
    mov %eax, DESC
    mov %ecx, %eax
    bswap %eax
    mov %eax, DESC + 4
    movl $0, DESC + 8
    mov %edi, %eax
    bswap %eax
    mov %eax, DESC + 12
    xor %eax, %eax
    mov $DMA_HIGH, %dx
    out %eax, %dx
    mov $DESC, %eax
    bswap %eax
    mov $DMA_LOW, %dx
    out %eax, %dx
1:  mov DESC, %eax
    bswap %eax
    and $~1, %eax               /* done, or an error there is no help for */
    jnz 1b
    ret

/* The number that item EAX is, into EAX. */
number:
    mov $4, %ecx
    mov $WORD, %edi
    call fetch
    mov WORD, %eax
    ret

boot:
    cli
    cld
    xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7C00, %sp
    mov $(parts - linux_rom), %si
2:  movzbl %cs:(%si), %eax      /* size */
    test %al, %al
    jz 3f
    call number
    mov %eax, %ebx
    movzbl %cs:1(%si), %eax     /* address */
    call number
    mov %eax, %edi
    mov %ebx, %ecx
    movzbl %cs:2(%si), %eax     /* contents */
    test %ecx, %ecx
    jz 4f
    call fetch
4:  add $3, %si
    jmp 2b
3:  mov $SETUP_SEG, %ax
    mov %ax, %ds
    mov %ax, %es
    mov %ax, %fs
    mov %ax, %gs
    mov %ax, %ss
    mov $SETUP_SP, %sp
    ljmp $SETUP_SEG + 0x20, $0

/* items: size, address, contents */
parts:
    .byte 0x17, 0x16, 0x18
    .byte 0x14, 0x13, 0x15
    .byte 0x08, 0x07, 0x11
    .byte 0x0B, 0x0A, 0x12
    .byte 0
    .org 1024
linux_rom_end:
    .section .note.GNU-stack, "", @progbits

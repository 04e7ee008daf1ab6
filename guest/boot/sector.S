/* sector.S - a disk's first sectors, started by a BIOS: what a boot loader relies on. Lines go to
 * the firmware's debug port; the machine is switched off at the end.
 * The A20 gate (port 92h), a read of the second sector with INT 13h function 42h, the memory map
 * (INT 15h, E820h), and the way to protected mode and back. */
    .code16
    .set PORT, 0x402
    .global _start
_start:
    ljmp $0, $1f
1:  xor %ax, %ax
    mov %ax, %ds
    mov %ax, %ss
    mov $0x7C00, %sp
    sti
    mov %dl, drive
    mov $hello, %si
    call print

    /* A20 masked: FFFF:0610 is 0000:0600 */
    mov $0xFFFF, %ax
    mov %ax, %es
    in $0x92, %al
    and $0xFC, %al
    out %al, $0x92
    movb $1, 0x600
    movb $2, %es:0x610
    mov $a20_off, %si
    cmpb $2, 0x600
    call verdict
    or $2, %al
    out %al, $0x92
    movb $3, 0x600
    movb $4, %es:0x610
    mov $a20_on, %si
    cmpb $3, 0x600
    call verdict
    xor %ax, %ax
    mov %ax, %es

    mov $packet, %si
    mov drive, %dl
    mov $0x42, %ah
    int $0x13
    mov $second, %si
    jnc 2f
    mov $unread, %si
2:  call print

    mov $0xE820, %eax
    mov $0x534D4150, %edx
    mov $20, %ecx
    xor %ebx, %ebx
    mov $0x700, %di
    int $0x15
    cmp $0x534D4150, %eax
    mov $map, %si
    call verdict

    /* protected mode, a write above 1 MiB, and back */
    cli
    lgdt gdtr
    mov %cr0, %eax
    or $1, %al
    mov %eax, %cr0
    ljmp $8, $protected
    .code32
protected:
    mov $16, %ax
    mov %ax, %ds
    movl $0x12345678, 0x200000
    mov 0x200000, %ebx
    ljmp $24, $back
    .code16
back:
    mov $32, %ax
    mov %ax, %ds
    mov %cr0, %eax
    and $0xFE, %al
    mov %eax, %cr0
    ljmp $0, $real
real:
    xor %ax, %ax
    mov %ax, %ds
    sti
    cmp $0x12345678, %ebx
    mov $modes, %si
    call verdict

    mov $0x604, %dx
    mov $0x2000, %ax
    out %ax, %dx
3:  hlt
    jmp 3b

/* print "ok - " or "not ok - " by ZF, then the line at SI; AX kept */
verdict:
    push %ax
    push %si
    mov $good, %si
    je 4f
    mov $bad, %si
4:  call print
    pop %si
    call print
    pop %ax
    ret
print:
    push %ax
    mov $PORT, %dx
5:  lodsb
    test %al, %al
    jz 6f
    out %al, %dx
    jmp 5b
6:  pop %ax
    ret

drive:   .byte 0
packet:  .byte 16, 0
    .word 1, 0x7E00, 0
    .quad 1
gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF
    .quad 0x00CF93000000FFFF
    .quad 0x00009B000000FFFF
    .quad 0x000093000000FFFF
gdtr:
    .word gdtr - gdt - 1
    .long gdt
hello:   .asciz "boot sector\n"
good:    .asciz "ok - "
bad:     .asciz "not ok - "
a20_off: .asciz "A20 off\n"
a20_on:  .asciz "A20 on\n"
unread:  .asciz "not ok - sector\n"
map:     .asciz "E820\n"
modes:   .asciz "modes\n"
    .org 510
    .word 0xAA55
second:  .asciz "ok - sector\n"
    .org 1024

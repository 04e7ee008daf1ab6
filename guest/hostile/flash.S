/* flash.S - hostile firmware: an image of flash whose variable store is programmed, erased and
 * executed at random, whose own code is a target of flash commands while it runs, and which has
 * fw_cfg copy its items over their own descriptors, over shadow RAM and over ROM, with the shadow
 * RAM coming and going. Ends with the debug exit.
 *   [0, 64 KiB)    a firmware volume: the variable store, at FFFE0000; code for nobody at 0x1000
 *   [64, 128 KiB)  the code, at FFFF0000; the reset vector is its last 16 bytes */
    .set STORE, 0xFFFE0000
    .set CODE, 0xFFFF0000
    .set HERE, _code
    .set DESC, 0x2000                /* of fw_cfg's DMA */
    .set STACK, 0x1000
    .set ROUNDS, 20000

    .section .text
_start:
    .fill 16, 1, 0
    .byte 0x8D, 0x2B, 0xF1, 0xFF, 0x96, 0x76, 0x8B, 0x4C, 0xA9, 0x85, 0x27, 0x47, 0x07, 0x5B, 0x4F, 0x50
    .quad 0x10000
    .ascii "_FVH"
    .org 0x1000, 0xFF
    .code32
    movl $1, %eax
    ret
    .org 0x10000, 0xFF

_code:
    /* ---- 32-bit code; ebx the random number ---- */
main32:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movl $STACK, %esp
    lidtl CODE + (idtr - HERE)
    movl $0x12345678, %ebx
    movl $ROUNDS, %ebp

round:
    call flash
    call own_code
    call run_store
back:
    movl $STACK, %esp
    call dma
    call pam
    decl %ebp
    jnz round
    movl $CODE + (verdict - HERE), %esi
    movw $0x3F8, %dx
1:  lodsb
    testb %al, %al
    jz 2f
    outb %al, %dx
    jmp 1b
2:  xorl %eax, %eax
    outb %al, $0xF4
3:  cli
    hlt
    jmp 3b

/* ebx = eax = the next random number */
random:
    imull $1664525, %ebx, %ebx
    addl $1013904223, %ebx
    movl %ebx, %eax
    rorl $13, %eax
    ret

/* commands in the store, or any byte */
flash:
    movl $6, %ecx
1:  call random
    movl %eax, %edi
    andl $0xFFFF, %edi
    call random
    andl $15, %eax
    movb CODE + (commands - HERE)(%eax), %dl
    testl $0x10000, %ebx
    jz 2f
    movl %ebx, %edx
    shrl $8, %edx
2:  movb %dl, STORE(%edi)
    testl $0x20000, %ebx
    jz 3f
    movl %edx, STORE(%edi)
    movl STORE(%edi), %edx
3:  loop 1b
    ret

/* the same at the code that runs: a ROM drops it */
own_code:
    call random
    andl $0xFFF0, %eax
    movb $0x20, CODE(%eax)
    movb $0xD0, CODE(%eax)
    movb $0x20, CODE + (own_code - HERE)
    movb $0xD0, CODE + (own_code - HERE)
    ret

/* code in the store, in whatever mode that is: ring3 fetches FF FF from a device, a trap; a PC runs
 * what is there. The flash is put into array mode half of the time. */
run_store:
    call random
    testl $0x40000, %eax
    jz 1f
    movb $0xFF, STORE
1:  movl $STORE + 0x1000, %eax
    call *%eax
    ret

/* fw_cfg: control (select, and read or skip), length, address: big-endian */
dma:
    call random
    andl $0x3F0000, %eax
    orl $0x0A, %eax
    testl $0x80000, %ebx
    jz 1f
    xorl $0x06, %eax
1:  bswapl %eax
    movl %eax, DESC
    call random
    andl $0xFFF, %eax
    bswapl %eax
    movl %eax, DESC + 4
    movl $0, DESC + 8
    call random
    andl $0xFFFFF, %eax
    testl $0x100000, %ebx
    jz 2f
    movl $DESC - 16, %eax            /* over itself */
2:  testl $0x600000, %ebx
    jnz 3f
    orl $CODE, %eax                  /* over ROM */
3:  cmpl $STACK, %eax
    ja 4f
    movl $DESC, %eax
4:  bswapl %eax
    movl %eax, DESC + 12
    movw $0x514, %dx
    xorl %eax, %eax
    outl %eax, %dx
    movw $0x518, %dx
    movl $DESC, %eax
    bswapl %eax
    outl %eax, %dx
    ret

/* PAM registers of the host bridge, 58h to 5Fh; what is there is read and written */
pam:
    call random
    andl $4, %eax
    orl $0x80000058, %eax
    movw $0xCF8, %dx
    outl %eax, %dx
    call random
    andl $0x33333333, %eax
    movw $0xCFC, %dx
    testl $0x700000, %ebx            /* each change stops the machine: one in eight */
    jnz 1f
    outl %eax, %dx
1:  call random
    andl $0x3FFFC, %eax
    movl 0xC0000(%eax), %edx
    movl %ebx, 0xC0000(%eax)
    ret

/* any exception */
trap:
    movl $STACK, %esp
    jmp back

    .balign 8
gdt:
    .quad 0
    .quad 0x00CF9B000000FFFF
    .quad 0x00CF93000000FFFF
gdtr:
    .word 23
    .long CODE + (gdt - HERE)
idt:
    .rept 32
    .word trap - HERE, 8, 0x8E00, CODE >> 16
    .endr
idtr:
    .word 32 * 8 - 1
    .long CODE + (idt - HERE)
commands:
    .byte 0x10, 0x20, 0x40, 0x50, 0x60, 0x70, 0x90, 0x98, 0xD0, 0xE8, 0xFF, 0xFF, 0x20, 0x40, 0xE8, 0
verdict:
    .asciz "ok - hostile firmware came to its end\n"

    .code16
real:
    cli
    data32 lgdt %cs:gdtr - HERE
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $8, $CODE + (main32 - HERE)
    .org 0x1FFF0, 0xFF
    jmp real
    .org 0x20000, 0xFF

/* bootsect.S - hard-disk boot sector for emulators without -kernel (Bochs): loads FLAT_SECTORS
 * sectors that follow it to 0x10000 by INT 13h extensions, copies them to 1 MiB in protected mode
 * and jumps to ENTRY as a multiboot loader would. */
        .code16
        .global _start
_start:
        ljmp    $0, $1f
1:      xor     %ax, %ax
        mov     %ax, %ds
        mov     %ax, %ss
        mov     $0x7C00, %sp
        mov     $FLAT_SECTORS, %cx
2:      push    %cx
        mov     $0x42, %ah
        mov     $dap, %si
        int     $0x13
        jc      fail
        addw    $0x20, dap_seg
        incl    dap_lba
        pop     %cx
        loop    2b
        in      $0x92, %al              /* A20 */
        or      $2, %al
        and     $0xFE, %al
        out     %al, $0x92
        cli
        lgdtl   gdtr
        mov     %cr0, %eax
        or      $1, %al
        mov     %eax, %cr0
        ljmp    $8, $pm
fail:   mov     $0x0E46, %ax            /* 'F' */
        int     $0x10
        cli
        hlt
        .code32
pm:     mov     $16, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     $0x10000, %esi
        mov     $0x100000, %edi
        mov     $(FLAT_SECTORS * 128), %ecx
        cld
        rep     movsl
        mov     $0x2BADB002, %eax
        xor     %ebx, %ebx
        mov     $ENTRY, %edx
        jmp     *%edx
        .align  4
dap:    .word   0x10, 1, 0
dap_seg: .word  0x1000
dap_lba: .long  1, 0
        .align  8
gdt:    .quad   0, 0x00CF9B000000FFFF, 0x00CF93000000FFFF
gdtr:   .word   23
        .long   gdt
        .org    510
        .word   0xAA55
        .section .note.GNU-stack, "", @progbits

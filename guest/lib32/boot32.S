/* boot32.S - start of the 32-bit guests, interrupt entry, ctx_run() and the way into real mode.
 * Entered by PVH or multiboot 1 in flat 32-bit protected mode; paging stays off. */
#include "guest/lib32/layout32.h"

        .section .head, "ax"
        .align 4
mb_header:
        .long 0x1BADB002, 0x00010003, -(0x1BADB002 + 0x00010003)
        .long mb_header, __image_start, __load_end, __bss_end, entry32

        .section .note.pvh, "a", @note
        .align 4
        .long 4, 4, 18                  /* XEN_ELFNOTE_PHYS32_ENTRY */
        .asciz "Xen"
        .long entry32

        .text
        .code32
        .global entry32
entry32:
        cli
        cld
        mov     $__bss_start, %edi
        mov     $__bss_end, %ecx
        sub     %edi, %ecx
        xor     %eax, %eax
        rep     stosb
        lgdt    boot_gdtr
        ljmp    $KCS, $1f
1:      mov     $KDS, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %fs
        mov     %eax, %gs
        mov     %eax, %ss
        mov     $boot_stack_top, %esp
        call    rt_init
        call    main
        call    finish

/* ---- interrupt entry: one stub per vector, in 32-bit and in 16-bit form ---- */
        .global isr_stubs
        .align 16
isr_stubs:
        .set    vec, 0
        .rept   256
        .align  16
        .if     (vec == 8) || (vec >= 10 && vec <= 14) || vec == 17 || vec == 21
        .else
        push    $0
        .endif
        push    $vec
        jmp     isr_common
        .set    vec, vec + 1
        .endr

isr_common:
        pusha
        push    %ds
        push    %es
        push    %fs
        push    %gs
        mov     $KDS, %eax
        mov     %eax, %ds
        mov     %eax, %es
        cld
        mov     %esp, %eax
        mov     %ss, %edx
        lar     %edx, %ecx
        test    $0x400000, %ecx         /* a 16-bit stack: the upper half of ESP means nothing */
        jnz     1f
        movzwl  %ax, %eax
1:      mov     $KDS, %ecx              /* C runs on a flat stack of its own */
        mov     %edx, trap_ss
        mov     %eax, trap_frame
        mov     %ecx, %ss
        mov     $trap_stack_top, %esp
        call    trap_dispatch
        test    %eax, %eax
        jz      trap_resume
        mov     trap_ss, %ecx
        mov     %ecx, %ss
        mov     trap_frame, %esp
        pop     %gs
        pop     %fs
        pop     %es
        pop     %ds
        popa
        add     $8, %esp
        iretl

/* Continue behind the attempt: registers as the trap left them, flat segments, no flags. */
        .global trap_resume
trap_resume:
        mov     $KDS, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %fs
        mov     %eax, %gs
        mov     %eax, %ss
        mov     trap_esp, %esp
        push    $2
        popf
        push    trap_fixup
        push    trap_regs + 28
        push    trap_regs + 24
        push    trap_regs + 20
        push    trap_regs + 16
        push    $0
        push    trap_regs + 8
        push    trap_regs + 4
        push    trap_regs
        movl    $0, trap_fixup
        popa
        ret

/* The rescue task: entered through a task gate with an error code or without one. */
        .global rescue_entry
rescue_entry:
        cli
        clts
        mov     %esp, %eax
        call    rescue_dispatch
        mov     $rescue_stack_top, %esp
        iretl                           /* NT: back to the main task, patched to trap_resume */
        jmp     rescue_entry

/* void ctx_run(struct ctx *c): IRET into @c; returns when anything traps that no hook handles.
 * layout: eip cs eflags esp ss es ds fs gs, eax ecx edx ebx ebp esi edi */
        .global ctx_run
ctx_run:
        push    %ebx
        push    %ebp
        push    %esi
        push    %edi
        mov     %eax, %ecx
        movl    $9f, trap_fixup
        mov     %esp, trap_esp
        testl   $0x20000, 8(%ecx)
        jnz     1f
        testl   $3, 4(%ecx)
        jnz     2f
        mov     16(%ecx), %ss           /* same privilege: on the stack it asks for */
        mov     12(%ecx), %esp
        jmp     3f
1:      push    32(%ecx)
        push    28(%ecx)
        push    24(%ecx)
        push    20(%ecx)
2:      push    16(%ecx)
        push    12(%ecx)
3:      push    8(%ecx)
        push    4(%ecx)
        push    (%ecx)
        testl   $0x20000, 8(%ecx)
        jnz     4f
        mov     20(%ecx), %es
        mov     28(%ecx), %fs
        mov     32(%ecx), %gs
4:      mov     36(%ecx), %eax
        mov     44(%ecx), %edx
        mov     48(%ecx), %ebx
        mov     52(%ecx), %ebp
        mov     56(%ecx), %esi
        mov     60(%ecx), %edi
        push    40(%ecx)
        testl   $0x20000, 8(%ecx)
        jnz     5f
        mov     24(%ecx), %ecx
        mov     %ecx, %ds
5:      pop     %ecx
        .global ctx_iret
ctx_iret:
        iretl
9:      pop     %edi
        pop     %esi
        pop     %ebp
        pop     %ebx
        ret

/* void real_enter(void): run LOW_CODE in real mode with the registers of struct real at
 * real_regs in the copied page; returns after the first interrupt or exception there. */
        .global real_enter
real_enter:
        pusha
        mov     %esp, real_esp
        lidt    real_idtr
        ljmp    $C16, $0
        .global real_back
real_back:
        mov     $KDS, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %fs
        mov     %eax, %gs
        mov     %eax, %ss
        mov     real_esp, %esp
        push    $2
        popf
        lidt    boot_idtr
        popa
        ret

/* ---- copied to LOW_TRAMP ---- */
        .code16
        .global low_begin, low_end, low_regs, low_in, low_stubs
#define L(x) (x - low_begin)
        .align  16
low_begin:
low_in:
        mov     %cs:L(low_seg), %ax     /* 64 KiB data segments, or 4 GiB ones for big real mode */
        mov     %ax, %ds
        mov     %ax, %es
        mov     %ax, %fs
        mov     %ax, %gs
        mov     $D16, %ax
        mov     %ax, %ss
        mov     %cr0, %eax
        and     $0xFE, %al
        mov     %eax, %cr0
        ljmp    $LOW_TRAMP / 16, $L(1f)
1:      mov     %cs:L(low_regs) + 44, %ss
        mov     %cs:L(low_regs) + 28, %esp
        mov     %cs:L(low_regs) + 32, %ds
        mov     %cs:L(low_regs) + 36, %es
        mov     %cs:L(low_regs) + 40, %fs
        mov     %cs:L(low_regs) + 48, %gs
        pushl   %cs:L(low_regs) + 52
        popfl
        mov     %cs:L(low_regs) + 0, %eax
        mov     %cs:L(low_regs) + 4, %ecx
        mov     %cs:L(low_regs) + 8, %edx
        mov     %cs:L(low_regs) + 12, %ebx
        mov     %cs:L(low_regs) + 16, %ebp
        mov     %cs:L(low_regs) + 20, %esi
        mov     %cs:L(low_regs) + 24, %edi
        ljmp    $LOW_CODE / 16, $0
        .align  16
low_stubs:
        .set    vec, 0
        .rept   256
        .align  16
        movw    $vec, %cs:L(low_regs) + 56
        jmp     low_out
        .set    vec, vec + 1
        .endr
        .align  8
low_out:
        mov     %eax, %cs:L(low_regs) + 0
        mov     %ecx, %cs:L(low_regs) + 4
        mov     %edx, %cs:L(low_regs) + 8
        mov     %ebx, %cs:L(low_regs) + 12
        mov     %ebp, %cs:L(low_regs) + 16
        mov     %esi, %cs:L(low_regs) + 20
        mov     %edi, %cs:L(low_regs) + 24
        popw    %cs:L(low_regs) + 60    /* IP, CS, FLAGS of the interrupt */
        popw    %cs:L(low_regs) + 64
        popw    %cs:L(low_regs) + 68
        mov     %esp, %cs:L(low_regs) + 28
        mov     %ds, %cs:L(low_regs) + 32
        mov     %es, %cs:L(low_regs) + 36
        mov     %fs, %cs:L(low_regs) + 40
        mov     %ss, %cs:L(low_regs) + 44
        mov     %gs, %cs:L(low_regs) + 48
        lgdtl   %cs:L(low_gdtr)
        mov     %cr0, %eax
        or      $1, %al
        mov     %eax, %cr0
        ljmpl   $KCS, $real_back
        .align  4
low_gdtr:
        .word   GDT_BYTES - 1
        .long   gdt
        .align  4
        .global low_seg
low_seg:
        .long   D16
low_regs:
        .skip   80
low_end:
        .code32

        .data
        .align  8
boot_gdtr:
        .word   GDT_BYTES - 1
        .long   gdt
        .align  8
        .global boot_idtr
boot_idtr:
        .word   256 * 8 - 1
        .long   idt
        .align  8
        .global real_idtr
real_idtr:
        .word   0x3FF
        .long   0
        .align  16
        .global gdt
gdt:
        .quad   0
        .quad   0x00CF9B000000FFFF      /* KCS */
        .quad   0x00CF93000000FFFF      /* KDS */
        .quad   0x00009B030000FFFF      /* C16 */
        .quad   0x000093000000FFFF      /* D16 */
        .quad   0x00CFBB000000FFFF      /* CS1 */
        .quad   0x00CFB3000000FFFF      /* DS1 */
        .quad   0x00CFDB000000FFFF      /* CS2 */
        .quad   0x00CFD3000000FFFF      /* DS2 */
        .quad   0x00CFFB000000FFFF      /* UCS */
        .quad   0x00CFF3000000FFFF      /* UDS */
        .fill   (GDT_BYTES / 8) - 11, 8, 0

        .bss
        .align  16
        .global boot_stack_top, trap_stack_top, rescue_stack_top, trap_frame, trap_ss, real_esp
boot_stack: .skip 16384
boot_stack_top:
trap_stack: .skip 16384
trap_stack_top:
rescue_stack: .skip 8192
rescue_stack_top: .skip 64
trap_frame: .skip 4
trap_ss: .skip 4
real_esp: .skip 4

        .section .note.GNU-stack, "", @progbits

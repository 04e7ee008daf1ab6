/* boot.S - from a loader's 32-bit flat protected mode to main() in long mode, and application
 * processors from their start-up IPI to ap_entry().  Entered by PVH (EBX = start info) or by
 * multiboot 1 (EAX = 0x2BADB002, EBX = info): neither block is used.
 * Linear map afterwards: [0, 1 GiB) and [3, 4 GiB) identity, 2 MiB supervisor pages; rest absent. */
#include "guest/lib/layout.h"

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
        mov     %eax, %ebp
        mov     $__bss_start, %edi
        mov     $__bss_end, %ecx
        sub     %edi, %ecx
        xor     %eax, %eax
        rep     stosb
        mov     %ebp, boot_magic
        mov     %ebx, boot_info

        mov     $boot_pdpt + 7, %eax
        mov     %eax, boot_pml4
        movl    $boot_pd0 + 3, boot_pdpt
        movl    $boot_pd3 + 3, boot_pdpt + 24
        xor     %ecx, %ecx
1:      mov     %ecx, %eax
        shl     $21, %eax
        or      $0x83, %eax
        mov     %eax, boot_pd0(, %ecx, 8)
        or      $0xC0000010, %eax       /* [3, 4 GiB): device space, PCD */
        mov     %eax, boot_pd3(, %ecx, 8)
        inc     %ecx
        cmp     $512, %ecx
        jb      1b
        lgdt    boot_gdtr
        mov     $boot_stack_top, %esp
        call    enter_long
        .code64
        mov     $boot_stack_top, %rsp
        call    rt_init
        call    main
        call    finish

        .code32
/* enter_long - paging and 64-bit code segment on; clobbers EAX, ECX, EDX; returns in 64-bit mode */
        .global enter_long
enter_long:
        mov     $CR4_BOOT, %eax
        mov     %eax, %cr4
        mov     $boot_pml4, %eax
        mov     %eax, %cr3
        mov     $MSR_EFER, %ecx
        rdmsr
        or      $(EFER_LME | EFER_NXE), %eax
        wrmsr
        mov     $CR0_BOOT, %eax
        mov     %eax, %cr0
        pop     %edx
        ljmp    $KCS, $1f
        .code64
1:      mov     $KDS, %eax
        mov     %eax, %ds
        mov     %eax, %es
        mov     %eax, %ss
        mov     %eax, %fs
        mov     %eax, %gs
        mov     %edx, %edx
        jmp     *%rdx

/* ---- application processors: this page is copied to AP_PAGE ---- */
        .code16
        .global ap_tramp, ap_tramp_end
ap_tramp:
        cli
        xor     %ax, %ax
        mov     %ax, %ds
        lgdtl   AP_PAGE + (ap_gdtr - ap_tramp)
        mov     $0x11, %eax
        mov     %eax, %cr0
        ljmpl   $KCS32, $ap32
ap_gdtr:
        .word   GDT_BYTES - 1
        .long   gdt
ap_tramp_end:
        .code32
ap32:
        mov     $KDS, %eax
        mov     %eax, %ds
        mov     %eax, %ss
        mov     $1, %ebx
        lock xadd %ebx, ap_next
        cmp     $CPUS_MAX, %ebx
        jae     ap_park
        mov     %ebx, %esp
        shl     $14, %esp
        add     $ap_stacks + 16384, %esp
        call    enter_long
        .code64
        mov     %ebx, %edi
        mov     %esp, %esp
        call    ap_entry
        .code32
ap_park:
        cli
        hlt
        jmp     ap_park

/* ---- interrupt entry ---- */
        .code64
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
        push    %rax
        push    %rcx
        push    %rdx
        push    %rbx
        push    %rbp
        push    %rsi
        push    %rdi
        push    %r8
        push    %r9
        push    %r10
        push    %r11
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        mov     %rsp, %rdi
        mov     %rsp, %rbx
        and     $-16, %rsp
        cld
        call    trap_dispatch
        mov     %rbx, %rsp
        pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %r11
        pop     %r10
        pop     %r9
        pop     %r8
        pop     %rdi
        pop     %rsi
        pop     %rbp
        pop     %rbx
        pop     %rdx
        pop     %rcx
        pop     %rax
        add     $16, %rsp
        .global isr_iret
isr_iret:
        iretq

/* void user_enter(struct user_state *s): IRETQ into @s; returns when anything traps back.
 * layout of *s: rip, cs, rflags, rsp, ss, rax, rbx, rcx, rdx, rsi, rbp, r8..r15 , rdi */
        .global user_enter
user_enter:
        push    %rbx
        push    %rbp
        push    %r12
        push    %r13
        push    %r14
        push    %r15
        lea     1f(%rip), %rax
        mov     %rax, trap_fixup
        mov     %rsp, trap_rsp
        push    32(%rdi)
        push    24(%rdi)
        push    16(%rdi)
        push    8(%rdi)
        push    0(%rdi)
        mov     40(%rdi), %rax
        mov     48(%rdi), %rbx
        mov     56(%rdi), %rcx
        mov     64(%rdi), %rdx
        mov     72(%rdi), %rsi
        mov     80(%rdi), %rbp
        mov     88(%rdi), %r8
        mov     96(%rdi), %r9
        mov     104(%rdi), %r10
        mov     112(%rdi), %r11
        mov     120(%rdi), %r12
        mov     128(%rdi), %rdi
        .global user_iret
user_iret:
        iretq
1:      pop     %r15
        pop     %r14
        pop     %r13
        pop     %r12
        pop     %rbp
        pop     %rbx
        ret

        .data
        .align  8
boot_gdtr:
        .word   GDT_BYTES - 1
        .quad   gdt
        .align  16
        .global gdt
gdt:
        .quad   0
        .quad   0x00AF9B000000FFFF      /* KCS   */
        .quad   0x00CF93000000FFFF      /* KDS   */
        .quad   0x00CF9B000000FFFF      /* KCS32 */
        .quad   0x00009B000000FFFF      /* KCS16 */
        .quad   0x000093000000FFFF      /* KDS16 */
        .quad   0x00CFFB000000FFFF      /* UCS32 */
        .quad   0x00CFF3000000FFFF      /* UDS   */
        .quad   0x00AFFB000000FFFF      /* UCS   */
        .fill   (GDT_BYTES / 8) - 9, 8, 0
        .global ap_next, boot_magic, boot_info
ap_next: .long  1
boot_magic: .long 0
boot_info: .long 0

        .bss
        .align  4096
        .global boot_pml4, boot_pdpt, boot_pd0, boot_pd3, ap_stacks, boot_stack_top
boot_pml4: .skip 4096
boot_pdpt: .skip 4096
boot_pd0: .skip 4096
boot_pd3: .skip 4096
boot_stack: .skip 32768
boot_stack_top:
ap_stacks: .skip 16384 * CPUS_MAX

        .section .note.GNU-stack, "", @progbits

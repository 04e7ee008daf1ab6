/* fill.S - from a test in translated code that found an entry missing to bt_fill_inside (fill.c) and back, without
 * leaving translated code for good. Guest registers are live but for T1, T2 and TB; C may use all of the host's, so vector
 * registers are saved around it. Offsets: asm_offsets.h. */
#include "engine/bt/asm_offsets.h"

#define FLAGS_C 0x202

.macro back
    popfq
    pop %r11
    pop %r10
    pop %r9
    pop %r8
    pop %rdi
    pop %rsi
    pop %rdx
    pop %rcx
    pop %rax
    mov %gs:V_RSP, %rsp
.endm

    .text
    .globl bt_exit_fill_read
    .globl bt_exit_fill_write
    .type bt_exit_fill_read, @function
    .type bt_exit_fill_write, @function
bt_exit_fill_write:
    mov $1, %r15d
    jmp 1f
bt_exit_fill_read:
    mov $0, %r15d /* flags stay */
1:  mov %rsp, %gs:V_RSP
    mov %gs:V_HOST_RSP, %rsp
    push %rax
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    push %r11
    pushfq
    pushq $FLAGS_C
    popfq
    mov 16+10*8(%rsp), %rdi
    call *V_VEC_SAVE(%rdi)
    mov 16+10*8(%rsp), %rdi
    mov 2*8(%rsp), %rsi
    mov %r15d, %edx
    mov 8(%rsp), %rcx
    call bt_fill_inside
    mov 16+10*8(%rsp), %rdi
    call *V_VEC_LOAD(%rdi) /* changes no general register */
    mov %gs:V_TABLE, %r15
    test %rax, %rax
    jns 2f
    back
    jmp *%r11
2:  mov %rax, 2*8(%rsp) /* T1 = offset of the instruction */
    back
    jmp bt_exit_step

    .section .note.GNU-stack,"",@progbits

/* enter.S - in and out of translated code. Conventions: bt_internal.h. Offsets come from asm_offsets.h, checked in bt.c. */
#include "engine/bt/asm_offsets.h"

#define FLAGS_RUN 0x40202 /* AC, IF, bit 1 */
#define FLAGS_C 0x202
#define ARITH 0x8D5

    .text

/* void bt_vec_load{128,256,512}(struct vcpu *v) / bt_vec_save...: guest vector state to and from host registers. */

    .globl bt_vec_keep
    .type bt_vec_keep, @function
bt_vec_keep:
    ret

#define LOW_16 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15
#define HIGH_16 16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31

.macro routine name
    .globl \name
    .type \name, @function
\name:
.endm
.macro load insn, file, regs:vararg
    .irp n, \regs
    \insn V_VEC + 64*\n(%rdi), %\file\n
    .endr
.endm
.macro save insn, file, regs:vararg
    .irp n, \regs
    \insn %\file\n, V_VEC + 64*\n(%rdi)
    .endr
.endm

routine bt_vec_load128
    load movaps, xmm, LOW_16
    ldmxcsr V_MXCSR(%rdi)
    ret
routine bt_vec_save128
    save movaps, xmm, LOW_16
    stmxcsr V_MXCSR(%rdi)
    ret
routine bt_vec_load256
    load vmovaps, ymm, LOW_16
    vldmxcsr V_MXCSR(%rdi)
    ret
routine bt_vec_save256
    save vmovaps, ymm, LOW_16
    vstmxcsr V_MXCSR(%rdi)
    vzeroupper
    ret
routine bt_vec_load512
    load vmovaps, zmm, LOW_16
    load vmovaps, zmm, HIGH_16
    .irp n, 0,1,2,3,4,5,6,7
    kmovq V_K + 8*\n(%rdi), %k\n
    .endr
    vldmxcsr V_MXCSR(%rdi)
    ret
routine bt_vec_save512
    save vmovaps, zmm, LOW_16
    save vmovaps, zmm, HIGH_16
    .irp n, 0,1,2,3,4,5,6,7
    kmovq %k\n, V_K + 8*\n(%rdi)
    .endr
    vstmxcsr V_MXCSR(%rdi)
    vzeroupper
    ret

/* u32 bt_enter(struct vcpu *v, const void *host_pc): run translated code at @host_pc (a far entry: T1 = v->rip) until it exits;
 * returns enum bt_exit with exit_arg and exit_site in v->eng. Vector state is loaded before and saved after by v->eng's routines. */
    .globl bt_enter
    .type bt_enter, @function
bt_enter:
    push %rbx
    push %rbp
    push %r12
    push %r13
    push %r14
    push %r15
    sub $24, %rsp
    stmxcsr 8(%rsp)
    mov %rdi, 16(%rsp)
    mov %rsi, V_SAVE(%rdi)
    mov %rsp, V_HOST_RSP(%rdi)
    call *V_VEC_LOAD(%rdi)
    mov V_RFLAGS(%rdi), %rax
    and $ARITH, %eax
    or $FLAGS_RUN, %eax
    mov V_TABLE(%rdi), %r15
    mov V_RIP(%rdi), %r10
    mov V_GPR+8*1(%rdi), %rcx
    mov V_GPR+8*2(%rdi), %rdx
    mov V_GPR+8*3(%rdi), %rbx
    mov V_GPR+8*5(%rdi), %rbp
    mov V_GPR+8*6(%rdi), %rsi
    mov V_GPR+8*8(%rdi), %r8
    mov V_GPR+8*9(%rdi), %r9
    mov V_GPR+8*12(%rdi), %r12
    mov V_GPR+8*13(%rdi), %r13
    mov V_GPR+8*14(%rdi), %r14
    push %rax
    popfq /* from here on AC is set: aligned accesses only */
    mov V_GPR+8*0(%rdi), %rax
    mov V_RSP(%rdi), %rsp
    mov V_GPR+8*7(%rdi), %rdi
    jmp *%gs:V_SAVE

/* Back from C in the middle of translated code: what bt_exit_lookup pushed. */
.macro leave_host_stack
    popfq
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

/* Exits. The reason goes to T2 (r11), after what T2 carried is stored. */
    .globl bt_exit_step
    .globl bt_exit_link
    .globl bt_exit_lookup
    .globl bt_exit_jump
    .globl bt_exit_dropped
    .globl bt_exit_poll
bt_exit_link:
    mov %r11, %gs:V_EXIT_SITE
    mov $EXIT_LINK, %r11d
    jmp leave
bt_exit_dropped:
    mov $SITE_NONE, %r11d
    jmp bt_exit_lookup
bt_exit_jump:
    mov %gs:V_SAVE, %rcx
bt_exit_lookup:
    mov %r11, %gs:V_EXIT_SITE
    mov %rsp, %gs:V_RSP
    mov %gs:V_HOST_RSP, %rsp
    push %rax
    push %rcx
    push %rdx
    push %rsi
    push %rdi
    push %r8
    push %r9
    push %r10
    pushfq
    mov 16+9*8(%rsp), %rdi
    mov %r10, %rsi
    call bt_quick_jump
    mov %rax, %r11
    test %rax, %rax
    jz 2f
    leave_host_stack
    jmp *%r11
2:
    leave_host_stack
    mov $EXIT_LOOKUP, %r11d
    jmp leave

/* bt_light() (light.h): T1d = place, T2d = kind and code offset behind. What comes back is where to go, with T1 =
 * exit_arg; general registers and arithmetic flags are those of *v. */
    .globl bt_exit_light
    .globl bt_exit_leave
bt_exit_light:
    mov %rax, %gs:V_GPR+8*0
    lahf
    seto %al
    mov %rcx, %gs:V_GPR+8*1
    mov %gs:V_STACK_GUEST, %rcx
    lea (%rsp,%rcx), %rcx
    mov %rdx, %gs:V_GPR+8*2
    mov %rbx, %gs:V_GPR+8*3
    mov %rcx, %gs:V_GPR+8*4
    mov %rbp, %gs:V_GPR+8*5
    mov %rsi, %gs:V_GPR+8*6
    mov %rdi, %gs:V_GPR+8*7
    mov %r8, %gs:V_GPR+8*8
    mov %r9, %gs:V_GPR+8*9
    mov %r12, %gs:V_GPR+8*12
    mov %r13, %gs:V_GPR+8*13
    mov %r14, %gs:V_GPR+8*14
    mov %gs:V_HOST_RSP, %rsp
    mov 16(%rsp), %rdi
    mov %r10d, %esi
    mov %r11d, %edx
    movzwl %ax, %ecx
    call bt_light
    mov %rax, %r11
    mov %gs:V_RFLAGS, %rcx
    mov %cl, %ah
    shr $11, %ecx
    mov %ecx, %edx
    and $1, %edx
    mov %dl, %al
    add $0x7F, %al /* OF */
    sahf
    mov %gs:V_GPR+8*1, %rcx
    mov %gs:V_GPR+8*2, %rdx
    mov %gs:V_GPR+8*3, %rbx
    mov %gs:V_GPR+8*5, %rbp
    mov %gs:V_GPR+8*6, %rsi
    mov %gs:V_GPR+8*7, %rdi
    mov %gs:V_GPR+8*8, %r8
    mov %gs:V_GPR+8*9, %r9
    mov %gs:V_EXIT_ARG, %r10
    mov %gs:V_GPR+8*12, %r12
    mov %gs:V_GPR+8*13, %r13
    mov %gs:V_GPR+8*14, %r14
    mov %gs:V_TABLE, %r15
    mov %gs:V_GPR+8*0, %rax
    mov %gs:V_RSP, %rsp
    jmp *%r11
bt_exit_leave:
    mov $EXIT_LOOKUP, %r11d
    jmp leave
bt_exit_poll:
    mov $EXIT_POLL, %r11d
    jmp leave
bt_exit_step:
    mov $EXIT_STEP, %r11d
leave:
    mov %r10, %gs:V_EXIT_ARG
    mov %gs:V_STACK_GUEST, %r10
    lea (%rsp,%r10), %r10
    mov %rax, %gs:V_GPR+8*0
    mov %rcx, %gs:V_GPR+8*1
    mov %rdx, %gs:V_GPR+8*2
    mov %rbx, %gs:V_GPR+8*3
    mov %r10, %gs:V_GPR+8*4
    mov %rbp, %gs:V_GPR+8*5
    mov %rsi, %gs:V_GPR+8*6
    mov %rdi, %gs:V_GPR+8*7
    mov %r8, %gs:V_GPR+8*8
    mov %r9, %gs:V_GPR+8*9
    mov %r12, %gs:V_GPR+8*12
    mov %r13, %gs:V_GPR+8*13
    mov %r14, %gs:V_GPR+8*14
    mov %gs:V_HOST_RSP, %rsp
    pushfq
    pop %rax
    pushq $FLAGS_C
    popfq
    mov 16(%rsp), %rbx
    mov %r11d, %ebp
    and $ARITH, %eax
    mov V_RFLAGS(%rbx), %rcx
    and $~ARITH, %rcx
    or %rax, %rcx
    mov %rcx, V_RFLAGS(%rbx)
    mov %rbx, %rdi
    call *V_VEC_SAVE(%rbx)
    ldmxcsr 8(%rsp)
    mov %ebp, %eax
    add $24, %rsp
    pop %r15
    pop %r14
    pop %r13
    pop %r12
    pop %rbp
    pop %rbx
    ret

    .section .note.GNU-stack,"",@progbits

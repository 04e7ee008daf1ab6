/* modes - 16- and 32-bit code: compatibility mode, and a round trip out of long mode: 32-bit
 * protected mode without paging, with 4 MiB pages, with PAE, real mode, and back.
 * SDM volume 3A chapters 10.8, 10.9, 4.3 and 4.4, volume 3B chapter 21. */
#include "guest/lib/rt.h"

enum { RM = 0x7000, RM_OUT = 0x6000, S0 = SEL_FREE };
u32 m32[32]; /* results of the 32-bit code, by index */
u32 pm_vec, pm_err, pm_eip, pm_fix;
u64 pm_idt[48] __attribute__((aligned(16)));
u32 pd32[1024] __attribute__((aligned(4096))), pt32[1024] __attribute__((aligned(4096)));
u64 pdpt32[4] __attribute__((aligned(4096))), pdpae[512] __attribute__((aligned(4096)));
u64 trip_rsp;
u8 buf[64] __attribute__((aligned(64)));
u8 trip_stack[4096] __attribute__((aligned(16)));
struct dtr pm_idtr = {sizeof pm_idt - 1, 0};
extern const char pm_ud[], pm_gp[], pm_ss[], pm_pf[], pm_int[], rm_start[], rm_end[];
void mode_trip(void);
void compat32(void);
void cpu_tables_load(int cpu);

/* ---- compatibility mode ---- */
asm(".text\n.code64\n.global compat32\ncompat32:\n push %rbx\n push %rbp\n mov %rsp, trip_rsp\n"
    "ljmp *1f\n .section .rodata\n 1: .long c32\n .word 0x18\n .text\n"
    ".code32\nc32: mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %ss\n"
    "mov $trip_stack + 4096, %esp\n"
    "mov $5, %eax\n .byte 0x40\n .byte 0x48\n .byte 0x40\n mov %eax, m32\n" /* INC, DEC, INC */
    "mov $0x0F, %eax\n aaa\n mov %eax, m32+4\n"
    "mov $0x27, %al\n mov $0x35, %bl\n add %bl, %al\n daa\n movzx %al, %eax\n mov %eax, m32+8\n"
    "mov $0x1234, %eax\n mov $77, %al\n aam\n mov %eax, m32+12\n"
    "mov %esp, %ecx\n pusha\n sub %esp, %ecx\n mov %ecx, m32+16\n popa\n"
    "push $0x12345678\n mov (%esp), %eax\n mov %eax, m32+20\n pop %eax\n"
    "call 2f\n 3: .long 0x90909090\n 2: pop %eax\n sub $3b, %eax\n mov %eax, m32+24\n"
    "mov $0x7fffffff, %eax\n mov $buf, %ebx\n movl $0x11223344, (%ebx)\n"
    "lea 4(%ebx, %eax, 2), %ecx\n sub %ebx, %ecx\n mov %ecx, m32+28\n" /* wraps at 32 bits */
    "mov $0xfffffff0, %ecx\n mov 0x10(%ebx, %ecx), %eax\n sub %ecx, %ebx\n mov -0x10(%ebx), %eax\n"
    "mov %eax, m32+32\n"
    "pushw $0x55aa\n popw %ax\n movzwl %ax, %eax\n mov %eax, m32+36\n"
    "mov $0x0003, %eax\n mov $0x10, %ecx\n arpl %ax, %cx\n mov %ecx, m32+40\n"
    "push %ds\n pop %eax\n movzwl %ax, %eax\n mov %eax, m32+44\n"
    "mov $3, %ecx\n xor %eax, %eax\n 4: inc %eax\n loop 4b\n mov %eax, m32+48\n"
    "xor %ecx, %ecx\n jcxz 5f\n movl $1, m32+52\n 5:\n"
    "mov %cs, %eax\n mov %eax, m32+56\n"
    "movl $0xAABB, buf+8\n movl $0x10, buf+12\n les buf+8, %edi\n mov %edi, m32+60\n"
    "lcall $0x48, $0\n movzwl %bp, %ebp\n mov %ebp, m32+64\n" /* 16-bit segment */
    "ljmp $8, $6f\n.code64\n6: mov trip_rsp, %rsp\n pop %rbp\n pop %rbx\n ret\n"
    ".code16\n.global c16\nc16: mov $0xFFFF, %ax\n inc %ax\n mov %ax, %bp\n push $0x1234\n pop "
    "%ax\n"
    "mov $c16_data - c16, %bx\n mov $2, %si\n mov %cs:(%bx,%si), %bp\n"
    ".byte 0x66\n lret\n c16_data: .word 1, 0x4321\n .code64\n");
extern const char c16[];

static void compat(void)
{
    static const struct {
        u32 want;
        const char *name;
    } rows[] = {{6, "compat: one-byte INC and DEC"},
                {0x105, "compat: AAA"},
                {0x62, "compat: DAA"},
                {0x0707, "compat: AAM"},
                {32, "compat: PUSHA moves ESP by 32"},
                {0x12345678, "compat: PUSH imm32 is 4 bytes"},
                {0, "compat: near CALL pushes 4 bytes"},
                {2, "compat: LEA wraps at 32 bits"},
                {0x11223344, "compat: effective address wraps"},
                {0x55AA, "compat: 16-bit PUSH and POP"},
                {0x13, "compat: ARPL"},
                {KDS, "compat: PUSH DS"},
                {3, "compat: LOOP uses ECX"},
                {0, "compat: JCXZ"},
                {KCS32, "compat: CS"},
                {0xAABB, "compat: LES"},
                {0x4321, "compat: 16-bit code, [BX+SI]"}};
    gdt_set(S0, seg_desc((u32)(u64)c16, 0xFFFF, 0x9B, 0));
    compat32();
    for (int i = 0; i < 17; i++) check_eq(rows[i].name, m32[i], rows[i].want);
}

/* ---- out of long mode and back ---- */
#define EXPECT(slot) /* a fault is recorded, execution goes on at 9: */                            \
    "mov pm_vec, %eax\n mov %eax, m32+4*" #slot "\n mov pm_err, %eax\n"                            \
    "mov %eax, m32+4*(" #slot "+1)\n"
#define TRY(insn) "movl $9f, pm_fix\n movl $0xff, pm_vec\n" insn "\n 9:\n"
asm(".text\n.code64\n.global mode_trip\nmode_trip: push %rbx\n push %rbp\n push %r12\n push %r13\n"
    "push %r14\n push %r15\n mov %rsp, trip_rsp\n ljmp *1f\n .section .rodata\n 1: .long trip32\n"
    ".word 0x18\n .text\n.code32\n"
    "trip32: mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %es\n mov %eax, %ss\n mov %eax, %fs\n"
    "mov %eax, %gs\n mov $trip_stack + 4096, %esp\n"
    "mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n"
    "mov $0xC0000080, %ecx\n rdmsr\n mov %eax, m32\n and $~0x100, %eax\n wrmsr\n"
    "mov %cr4, %eax\n and $~0x20, %eax\n mov %eax, %cr4\n lidt pm_idtr\n" TRY("ud2")
        EXPECT(1) "mov $0x48, %eax\n mov %eax, %es\n movl $0x01020304, %es:12\n mov buf+12, %eax\n "
                  "mov %eax, m32+12\n" TRY("movl %es:13, %eax") EXPECT(4)
                      TRY("mov $0x50, %eax\n mov %eax, %es\n mov %es:15, %al")
                          EXPECT(6) /* expand-down */
    TRY("mov %es:16, %al") EXPECT(8) TRY("int $0x20") EXPECT(10) TRY("mov $0x1000, %eax\n mov "
                                                                     "%eax, %es")
        EXPECT(
            12) "mov $0x10, %eax\n mov %eax, %es\n"
                "mov %cr4, %eax\n or $0x10, %eax\n mov %eax, %cr4\n mov $pd32, %eax\n mov %eax, "
                "%cr3\n"
                "mov %cr0, %eax\n or $0x80000000, %eax\n mov %eax, %cr0\n jmp 2f\n 2:\n"
                "mov 0x4000000, %eax\n mov %eax, m32+4*14\n" TRY("mov 0x4001234, %eax") EXPECT(
                    15) "mov %cr2, %eax\n mov %eax, m32+4*17\n"
                        "mov pd32, %eax\n mov %eax, m32+4*18\n mov pt32, %eax\n mov %eax, "
                        "m32+4*19\n"
                        "mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n"
                        "mov %cr4, %eax\n and $~0x10, %eax\n or $0x20, %eax\n mov %eax, %cr4\n mov "
                        "$pdpt32, %eax\n"
                        "mov %eax, %cr3\n mov %cr0, %eax\n or $0x80000000, %eax\n mov %eax, %cr0\n "
                        "jmp "
                        "3f\n 3:\n"
                        "mov 0x600000, %eax\n mov %eax, m32+4*20\n" TRY("movl $1, 0x40000000")
                            EXPECT(
                                21) "mov %cr0, %eax\n and $0x7fffffff, %eax\n mov %eax, %cr0\n"
                                    "ljmp $0x20, $0x7000 + rm_pm16 - rm_start\n"
                                    "pm_ud: movl $6, pm_vec\n movl $0, pm_err\n jmp pm_ret\n"
                                    "pm_int: movl $0x20, pm_vec\n movl $0, pm_err\n jmp pm_ret\n"
                                    "pm_gp: movl $13, pm_vec\n popl pm_err\n jmp pm_ret\n"
                                    "pm_ss: movl $12, pm_vec\n popl pm_err\n jmp pm_ret\n"
                                    "pm_pf: movl $14, pm_vec\n popl pm_err\n"
                                    "pm_ret: mov (%esp), %eax\n mov %eax, pm_eip\n mov pm_fix, "
                                    "%eax\n mov "
                                    "%eax, (%esp)\n iret\n"
                                    "trip_back: mov $0x10, %eax\n mov %eax, %ds\n mov %eax, %es\n "
                                    "mov "
                                    "%eax, %ss\n"
                                    "mov $trip_stack + 4096, %esp\n call enter_long\n.code64\n mov "
                                    "trip_rsp, %rsp\n pop %r15\n"
                                    "pop %r14\n pop %r13\n pop %r12\n pop %rbp\n pop %rbx\n ret\n"
                                    /* ---- copied to 0x7000: 16-bit protected, then real mode ----
                                     */
                                    ".global rm_start, rm_end\nrm_start:\n.code16\n"
                                    "rm_pm16: mov $0x28, %ax\n mov %ax, %ds\n mov %ax, %es\n mov "
                                    "%ax, "
                                    "%ss\n mov %ax, %gs\n"
                                    "mov $0x10, %ax\n mov %ax, %fs\n mov %cr0, %eax\n and $0xfe, "
                                    "%al\n mov "
                                    "%eax, %cr0\n"
                                    "ljmp $0, $0x7000 + rm_real - rm_start\n"
                                    "rm_real: xor %ax, %ax\n mov %ax, %ds\n mov %ax, %es\n mov "
                                    "%ax, %ss\n "
                                    "mov $0x6f00, %sp\n"
                                    "lidtl 0x7000 + rm_idtr - rm_start\n"
                                    "int $0x40\n"
                                    "mov $0x600, %ax\n mov %ax, %es\n movw $0x1234, %es:0x10\n"
                                    "mov $0x100000, %ebx\n mov %fs:(%ebx), %eax\n mov %eax, "
                                    "0x6004\n"
                                    "xor %ax, %ax\n mov %ax, %es\n mov $0x7000, %si\n mov $0x6020, "
                                    "%di\n "
                                    "mov $8, %cx\n rep movsb\n"
                                    "mov $0x10, %ax\n mov $0, %cl\n div %cl\n mov $0x7001, %bx\n"
                                    "lcall $0x700, $rm_far - rm_start\n"
                                    "mov 0xFFFF, %ax\n nop\n" /* 3 bytes: A1 FF FF */
                                    "mov $0x0001, %sp\n mov $0x6f00, %sp\n"
                                    "mov $0x12340000, %eax\n pushl %eax\n popw %cx\n popw %dx\n "
                                    "mov %dx, "
                                    "0x600c\n"
                                    "smsw %ax\n mov %ax, 0x600e\n"
                                    "pushf\n pop %ax\n mov %ax, 0x6012\n"
                                    "lgdtl 0x7000 + rm_gdtr - rm_start\n mov %cr0, %eax\n or $1, "
                                    "%al\n mov "
                                    "%eax, %cr0\n"
                                    "ljmpl $0x18, $trip_back\n"
                                    "rm_int: incw 0x6000\n iret\n"
                                    "rm_div: incw 0x6002\n push %bp\n mov %sp, %bp\n addw $2, "
                                    "2(%bp)\n pop "
                                    "%bp\n iret\n"
                                    "rm_gp: incw 0x6008\n push %bp\n mov %sp, %bp\n addw $3, "
                                    "2(%bp)\n pop "
                                    "%bp\n iret\n"
                                    "rm_far: incw 0x600a\n lret\n"
                                    ".align 4\nrm_idtr: .word 0x3ff\n .long 0\n"
                                    "rm_gdtr: .word 0x1ff\n .long gdt\n"
                                    ".global rm_int, rm_div, rm_gp\nrm_end:\n.code64\n");
extern const char rm_int[], rm_div[], rm_gp[];

static void gate32(int v, const char *fn)
{
    u64 a = (u64)fn;
    pm_idt[v] = (a & 0xFFFF) | (u64)KCS32 << 16 | 0x8E0000000000ull | (a >> 16 & 0xFFFF) << 48;
}

static void ivt(int v, const char *fn)
{
    volatile u16 *e;
    u64 at = (u64)v * 4;
    asm("" : "+r"(at)); /* the compiler must not see a null pointer */
    e = (volatile u16 *)at;
    e[0] = (u16)(RM + (fn - rm_start));
    e[1] = 0;
}

static void prepare(void)
{
    memcpy((void *)RM, rm_start, (size_t)(rm_end - rm_start));
    memset((void *)RM_OUT, 0, 64);
    memset(m32, 0xEE, sizeof m32);
    gate32(UD, pm_ud), gate32(GP, pm_gp), gate32(SS, pm_ss), gate32(PF, pm_pf),
        gate32(0x20, pm_int);
    pm_idtr.base = (u64)pm_idt;
    gdt_set(S0, seg_desc((u32)(u64)buf, 15, 0x92, 0x40));
    gdt_set(S0 + 8, seg_desc((u32)(u64)buf, 15, 0x96, 0x40)); /* expand-down: 16.. is valid */
    pd32[0] = 0x83, pd32[16] = (u32)(u64)pt32 | 3;
    pt32[0] = 0x100000 | 3;
    pdpt32[0] = (u64)pdpae | 1;
    for (u64 i = 0; i < 512; i++) pdpae[i] = i << 21 | 0x83;
    pdpae[3] = 0x83; /* 6 MiB -> 0 */
    ivt(0x40, rm_int), ivt(0, rm_div), ivt(13, rm_gp);
}

static void trip(void)
{
    static u64 ivt_keep[32];
    u64 zero = 0;
    asm("" : "+r"(zero));
    memcpy(ivt_keep, (void *)zero, sizeof ivt_keep);
    prepare();
    mode_trip();
    cpu_tables_load(0);
    check_eq("leaving paging clears EFER.LMA, keeps LME", m32[0] & 0x500, 0x100);
    check("32-bit: #UD", m32[1] == UD && m32[2] == 0);
    check_eq("32-bit: store through a based segment", m32[3], 0x01020304);
    check("32-bit: #GP(0) at the segment limit", m32[4] == GP && m32[5] == 0);
    check("32-bit: expand-down segment, offset 15 is outside", m32[6] == GP && m32[7] == 0);
    check_eq("32-bit: expand-down segment, offset 16 is inside", m32[8], 0xFF);
    check_eq("32-bit: INT n", m32[10], 0x20);
    check("32-bit: #GP(selector)", m32[12] == GP && m32[13] == 0x1000);
    check_eq("4 MiB and 4 KiB pages: translated load", m32[14], RD(u32, 0x100000));
    check("32-bit paging: #PF", m32[15] == PF && m32[16] == 0);
    check_eq("32-bit paging: CR2", m32[17], 0x4001234);
    check_eq("32-bit paging: A and D in the 4 MiB entry", m32[18], 0x83 | 0x60);
    check_eq("32-bit paging: A in the PTE", m32[19], 0x100000 | 3 | 0x20);
    check_eq("PAE paging: translated load", m32[20], RD(u32, zero));
    check("PAE paging: #PF on a write, absent PDPTE", m32[21] == PF && m32[22] == 2);
    check_eq("real mode: INT and IRET", RD(u16, RM_OUT), 1);
    check_eq("real mode: segment base is selector * 16", RD(u16, RM_OUT + 0x10), 0x1234);
    check_eq("real mode keeps a 4 GiB limit loaded before", RD(u32, RM_OUT + 4), RD(u32, 0x100000));
    check("real mode: REP MOVSB", !memcmp((void *)(RM_OUT + 0x20), (void *)RM, 8));
    check_eq("real mode: #DE through vector 0, as a fault", RD(u16, RM_OUT + 2), 1);
    check_eq("real mode: far CALL and RET", RD(u16, RM_OUT + 0xA), 1);
    check_eq("real mode: word at FFFF is #GP", RD(u16, RM_OUT + 8), 1);
    check_eq("real mode: 32-bit PUSH, 16-bit POPs", RD(u16, RM_OUT + 0xC), 0x1234);
    check_eq("real mode: SMSW shows PE clear", RD(u16, RM_OUT + 0xE) & 1, 0);
    check_eq("real mode: PUSHF bit 1", RD(u16, RM_OUT + 0x12) & 2, 2);
    check("back in long mode", rdmsr(MSR_EFER) >> 10 & 1);
    memcpy((void *)zero, ivt_keep, sizeof ivt_keep);
    ATTEMPT("ud2", ::: "memory");
    check_trap("exceptions work again", UD, 0);
}

int main(void)
{
    compat();
    trip();
    trip();
    finish();
}

/* real - real mode: what is not there, limits, stack and address wrap, prefixes, interrupts, and
 * big real mode. Also the same snippets in virtual-8086 and 16-bit protected mode where they mean
 * the same. SDM volume 3B chapter 21 (8086 emulation), volume 2. */
#include "guest/lib32/rt32.h"

static const char *const where_name[] = {"real", "v86", "pm16"};

/* ---- one snippet, three modes: the register that tells, and what it must hold ---- */
enum { REG_A, REG_B, REG_C, REG_D, REG_SI, REG_DI, REG_BP, REG_SP };
static u32 reg_of(int r)
{
    const u32 *const at[] = {&r16.eax, &r16.ebx, &r16.ecx, &r16.edx,
                             &r16.esi, &r16.edi, &r16.ebp, &r16.esp};
    return r == REG_SP ? r16.esp & 0xFFFF : *at[r];
}

/* clang-format off */
#define BOTH(x) \
    x(s_wrap_ea, \
      "mov $0xFFFF, %bx\n mov $2, %si\n movb $0x5A, 1\n xor %ax, %ax\n" \
      "mov (%bx,%si), %al", \
      REG_A, 0x5A, "16-bit effective address wraps at 64 KiB") x(s_bp_ss, \
        "mov %sp, %bp\n pushw $0x1234\n " \
        "mov -2(%bp), %ax\n add $2, %sp", \
        REG_A, 0x1234, \
        "BP addresses the stack segment") \
        x(s_push_sp, "push %sp\n pop %ax", REG_A, SP16, "PUSH SP stores the old value") x( \
        s_pusha, "mov %sp, %bp\n pusha\n sub %sp, %bp\n popa\n mov %bp, %ax", REG_SP, SP16, \
        "PUSHA and POPA balance") x(s_pushad, \
        "mov $0x12345678, %ebx\n pushal\n xor %ebx, %ebx\n popal", \
        REG_B, 0x12345678, "32-bit PUSHA in 16-bit code") \
        x(s_push32, "pushl $0x11223344\n pop %ax\n pop %bx", REG_B, 0x1122, "32-bit PUSH") x( \
        s_enter, "mov $0x7777, %bp\n enter $8, $0\n leave", REG_BP, 0x7777, \
        "ENTER and LEAVE") x(s_enter3, \
        "mov %sp, %bp\n pushw $0xA1\n pushw $0xA2\n mov %sp, %di\n " \
        "mov %sp, %bp\n" \
        "add $4, %bp\n enter $2, $3\n mov %di, %ax\n sub %sp, %ax\n " \
        "leave\n add $4, %sp", \
        REG_A, 10, "ENTER level 3 pushes two links and the frame") \
        x(s_lea, "mov $0x9000, %bx\n mov $0x8001, %si\n lea 2(%bx,%si), %ax", REG_A, \
        0x1003, \
        "LEA wraps at 16 bits") x(s_lea32, \
        "mov $0x10000, %ebx\n lea 4(%ebx,%ebx,2), %eax", \
        REG_A, 0x30004, "32-bit address size") \
        x(s_xlat, "mov $0x100, %bx\n movb $0x42, 0x105\n mov $5, %al\n xlat\n cbw", \
        REG_A, 0x42, "XLAT") x(s_xlat_es, \
        "mov $0x200, %bx\n movb $0x43, %es:0x207\n mov $7, " \
        "%al\n es xlat\n cbw", \
        REG_A, 0x43, "XLAT with a segment override") \
        x(s_salc1, "stc\n .byte 0xD6\n cbw", REG_A, 0xFFFF, "SALC, CF set") x( \
        s_salc0, "mov $0x55, %ax\n clc\n .byte 0xD6", REG_A, 0, \
        "SALC, CF clear") x(s_aam, "mov $77, %ax\n aam", REG_A, 0x0707, \
        "AAM") x(s_aam16, \
        "mov $0x77, %ax\n .byte 0xD4, 0x10", \
        REG_A, 0x0707, \
        "AAM 16") x(s_aad, \
        "mov $0x0709, %ax\n aad", \
        REG_A, 79, "AAD") \
        x(s_aad7, "mov $0x0102, %ax\n .byte 0xD5, 0x07", REG_A, 9, "AAD 7") x( \
        s_aaa, "mov $0x0F, %ax\n aaa", REG_A, 0x0105, \
        "AAA") x(s_aas, "mov $0x020F, %ax\n aas", REG_A, 0x0109, \
        "AAS") x(s_daa, \
        "mov $0x99, %al\n add $0x01, %al\n daa\n mov " \
        "$0, %ah\n adc $0, %ah", \
        REG_A, 0x0100, "DAA carries") \
        x(s_das, "mov $0x10, %al\n sub $0x01, %al\n das\n mov $0, %ah", \
        REG_A, 0x09, \
        "DAS") x(s_lds, \
        "movw $0x1111, 0x10\n mov %ds, %ax\n mov %ax, " \
        "0x12\n push %ds\n lds 0x10, %si\n" \
        "pop %ds", \
        REG_SI, 0x1111, \
        "LDS") x(s_les, \
        "movl $0x22223333, 0x10\n mov %es, %ax\n " \
        "mov %ax, 0x14\n push %es\n" \
        "les 0x10, %edi\n pop %es", \
        REG_DI, 0x22223333, \
        "LES with a 32-bit offset") \
        x(s_loop, "mov $3, %cx\n xor %ax, %ax\n 1: inc %ax\n loop 1b", \
        REG_A, 3, "LOOP") x(s_loop32, \
        "mov $0x10002, %ecx\n mov $1, " \
        "%cx\n xor %ax, %ax\n 1: inc %ax\n" \
        "cmp $5, %ax\n je 2f\n addr32 loop " \
        "1b\n 2:", \
        REG_A, 5, "LOOP with ECX") \
        x(s_jcxz, \
        "mov $0x10000, %ecx\n mov $1, %ax\n jcxz 1f\n " \
        "mov $2, %ax\n 1:", \
        REG_A, 1, \
        "JCXZ") x(s_jecxz, \
        "mov $0x10000, %ecx\n mov $1, %ax\n " \
        "jecxz 1f\n mov $2, %ax\n 1:", \
        REG_A, 2, "JECXZ") \
        x(s_movsb, \
        "mov $0x77, %al\n mov $0x300, %di\n mov $16, " \
        "%cx\n rep stosb\n mov $0x300, %si\n" \
        "mov $0x400, %di\n mov $16, %cx\n rep movsb\n " \
        "mov %si, %ax", \
        REG_DI, 0x410, \
        "REP MOVSB") x(s_stos_wrap, \
        "mov $0xFFFE, %di\n mov $4, " \
        "%cx\n " \
        "mov " \
        "$0x66, %al\n rep stosb", \
        REG_DI, 2, "REP STOSB wraps DI") \
        x(s_std, \
        "s" \
        "t" \
        "d" \
        "\n " \
        "m" \
        "o" \
        "v" \
        " " \
        "$" \
        "0" \
        "x" \
        "5" \
        "0" \
        "0" \
        "," \
        " " \
        "%" \
        "s" \
        "i" \
        "\n " \
        "m" \
        "o" \
        "v" \
        " " \
        "$" \
        "0" \
        "x" \
        "6" \
        "0" \
        "0" \
        "," \
        " " \
        "%" \
        "d" \
        "i" \
        "\n " \
        "m" \
        "o" \
        "v" \
        " " \
        "$" \
        "2" \
        "," \
        " " \
        "%" \
        "c" \
        "x" \
        "\n " \
        "r" \
        "e" \
        "p" \
        " " \
        "m" \
        "o" \
        "v" \
        "s" \
        "w" \
        "\n " \
        "c" \
        "l" \
        "d", \
        REG_SI, \
        0x4FC, \
        "R" \
        "E" \
        "P" \
        " " \
        "M" \
        "O" \
        "V" \
        "S" \
        "W" \
        "," \
        " " \
        "D" \
        "F" \
        " " \
        "s" \
        "e" \
        "t") x(s_scas, \
        "mov $0, %al\n mov $0x700, %di\n mov " \
        "$9, %cx\n rep stosb\n movb $7, 0x704\n" \
        "mov $7, %al\n mov $0x700, %di\n mov " \
        "$9, %cx\n repne scasb", \
        REG_C, 4, "REPNE SCASB stops") \
        x(s_cmps, \
        "movl $0x01020304, " \
        "0x800\n movl " \
        "$0x01ff0304, " \
        "0x810\n mov " \
        "$0x800, %si\n" \
        "mov $0x810, %di\n " \
        "mov $4, %cx\n " \
        "repe cmpsb", \
        REG_C, 1, "REPE CMPSB stops") x(s_movs32, \
        "movl " \
        "$0xCAFE" \
        "1234, " \
        "0x900\n" \
        " mov " \
        "$0x900," \
        " %" \
        "esi\n " \
        "mov " \
        "$0x910," \
        " %" \
        "edi\n " \
        "mov " \
        "$1, " \
        "%ecx\n" \
        "addr32 " \
        "rep " \
        "movsl\n" \
        " mov " \
        "0x910, " \
        "%eax", \
        REG_A, \
        0xCAFE1234, \
        "MOVSD " \
        "with " \
        "32-bit " \
        "address" \
        "es") \
        x(s_lods_cs, \
        "xor %si, %si\n cs lodsb\n cbw", REG_SI, \
        1, "LODSB with CS override") \
        x(s_rep0, \
        "mov " \
        "$0x90" \
        "0, " \
        "%si\n" \
        " mov " \
        "$0x91" \
        "0, " \
        "%di\n" \
        " xor " \
        "%cx, " \
        "%cx\n" \
        " rep " \
        "movs" \
        "w", \
        REG_SI, 0x900, \
        "REP " \
        "with " \
        "CX = " \
        "0 " \
        "does " \
        "nothi" \
        "ng") x(s_shift, \
        "mo" \
        "v " \
        "$1" \
        ", " \
        "%a" \
        "x" \
        "\n" \
        " m" \
        "ov" \
        " $" \
        "33" \
        ", " \
        "%c" \
        "l" \
        "\n" \
        " s" \
        "hl" \
        " " \
        "%c" \
        "l," \
        " %" \
        "a" \
        "x", \
        REG_A, 2, \
        "sh" \
        "if" \
        "t " \
        "co" \
        "un" \
        "ts" \
        " a" \
        "re" \
        " m" \
        "od" \
        "ul" \
        "o " \
        "3" \
        "2") \
        x(s_shl17, \
        "mov $1, %eax\n " \
        "mov $17, %cl\n " \
        "shl %cl, %ax", \
        REG_A, 0, \
        "16-bit SHL by " \
        "17 gives " \
        "0") x(s_rcl, \
        "mov " \
        "$0x8000, " \
        "%ax\n " \
        "clc\n " \
        "mov " \
        "$17, " \
        "%cl\n " \
        "rcl " \
        "%cl, %ax", \
        REG_A, 0x8000, \
        "RCL " \
        "counts " \
        "are " \
        "modulo " \
        "17") x(s_shld, \
        "m" \
        "o" \
        "v" \
        " " \
        "$" \
        "0" \
        "x" \
        "1" \
        "2" \
        "3" \
        "4" \
        "," \
        " " \
        "%" \
        "a" \
        "x" \
        "\n mov " \
        "$" \
        "0" \
        "x" \
        "A" \
        "B" \
        "C" \
        "D" \
        "," \
        " " \
        "%" \
        "b" \
        "x" \
        "\n shld $4, " \
        "%" \
        "b" \
        "x" \
        "," \
        " " \
        "%" \
        "a" \
        "x", \
        REG_A, 0x234A, \
        "S" \
        "H" \
        "L" \
        "D") \
        x(s_bt, \
        "m" \
        "o" \
        "v" \
        "l" \
        " " \
        "$" \
        "0" \
        "," \
        " " \
        "0" \
        "x" \
        "A" \
        "0" \
        "0" \
        "\n " \
        "m" \
        "o" \
        "v" \
        " " \
        "$" \
        "9" \
        "," \
        " " \
        "%" \
        "a" \
        "x" \
        "\n bts " \
        "%" \
        "a" \
        "x" \
        "," \
        " " \
        "0" \
        "x" \
        "A" \
        "0" \
        "0" \
        "\n mov " \
        "0" \
        "x" \
        "A" \
        "0" \
        "1" \
        "," \
        " " \
        "%" \
        "a" \
        "l" \
        "\n cbw", \
        REG_A, 2, \
        "B" \
        "T" \
        "S" \
        " " \
        "r" \
        "e" \
        "a" \
        "c" \
        "h" \
        "e" \
        "s" \
        " " \
        "b" \
        "e" \
        "y" \
        "o" \
        "n" \
        "d" \
        " " \
        "t" \
        "h" \
        "e" \
        " " \
        "w" \
        "o" \
        "r" \
        "d") x(s_bswap, \
        "mov " \
        "$0x11223344, " \
        "%eax\n bswap " \
        "%eax", \
        REG_A, 0x44332211, \
        "BSWAP") \
        x(s_cx8, \
        "movl " \
        "$1, " \
        "0xB00\n " \
        "movl " \
        "$2, " \
        "0xB04\n " \
        "mov $1, " \
        "%eax\n " \
        "mov $2, " \
        "%edx\n " \
        "mov $7, " \
        "%ebx\n" \
        "mov $8, " \
        "%ecx\n " \
        "cmpxchg8" \
        "b " \
        "0xB00\n " \
        "mov " \
        "0xB04, " \
        "%eax", \
        REG_A, 8, \
        "CMPXCHG8" \
        "B") x(s_imul, \
        "m" \
        "o" \
        "v" \
        " " \
        "$" \
        "3" \
        "0" \
        "0" \
        "," \
        " " \
        "%" \
        "a" \
        "x" \
        "\n imul $-300, " \
        "%ax, %bx", \
        REG_B, 0xA070, \
        "I" \
        "M" \
        "U" \
        "L" \
        " " \
        "w" \
        "i" \
        "t" \
        "h" \
        " " \
        "t" \
        "h" \
        "r" \
        "e" \
        "e" \
        " " \
        "o" \
        "p" \
        "e" \
        "r" \
        "a" \
        "n" \
        "d" \
        "s") x(s_cwd, \
        "mov " \
        "$0x800" \
        "0, " \
        "%ax\n " \
        "cwd", \
        REG_D, \
        0xFFFF, \
        "CWD") \
        x(s_cdq, \
        "mov " \
        "$0x800000" \
        "00, " \
        "%eax\n " \
        "cltd", \
        REG_D, 0xFFFFFFFF, \
        "CDQ") x(s_lahf, \
        "st" \
        "c" \
        "\n" \
        " l" \
        "ah" \
        "f" \
        "\n" \
        " m" \
        "ov" \
        " %" \
        "ah" \
        ", " \
        "%a" \
        "l" \
        "\n" \
        " a" \
        "nd" \
        " $" \
        "1," \
        " %" \
        "a" \
        "x", \
        REG_A, 1, \
        "LA" \
        "H" \
        "F") \
        x(s_callr, \
        "call " \
        "1f\n 1: " \
        "pop " \
        "%ax\n " \
        "sub $(1b " \
        "- " \
        "s_callr)," \
        " %ax", \
        REG_A, 0, \
        "near " \
        "CALL") \
        x(s_call32, \
        "c" \
        "a" \
        "l" \
        "l" \
        "l" \
        " " \
        "1" \
        "f" \
        "\n 1: pop " \
        "%ax\n pop " \
        "%ax", \
        REG_SP, \
        SP16, \
        "3" \
        "2" \
        "-" \
        "b" \
        "i" \
        "t" \
        " " \
        "n" \
        "e" \
        "a" \
        "r" \
        " " \
        "C" \
        "A" \
        "L" \
        "L" \
        " " \
        "p" \
        "u" \
        "s" \
        "h" \
        "e" \
        "s" \
        " " \
        "f" \
        "o" \
        "u" \
        "r") x(s_retn, \
        "pus" \
        "hw " \
        "$0x" \
        "99" \
        "\n " \
        "cal" \
        "l " \
        "1f" \
        "\n " \
        "jmp" \
        " " \
        "2f" \
        "\n " \
        "1: " \
        "ret" \
        " " \
        "$2" \
        "\n " \
        "2:", \
        REG_SP, \
        SP16, \
        "RET" \
        " " \
        "im" \
        "m") \
        x(s_jmpw, \
        "mov " \
        "$0xFF" \
        "FF000" \
        "0 + " \
        "(1f " \
        "- " \
        "s_" \
        "jmpw)" \
        ", " \
        "%ebx" \
        "\n " \
        "jmp " \
        "*%" \
        "bx\n " \
        "1: " \
        "mov " \
        "$3, " \
        "%ax", \
        REG_A, \
        3, \
        "JMP " \
        "r16 " \
        "drops" \
        " the " \
        "upper" \
        " hal" \
        "f") x(s_popm, \
        "pu" \
        "sh" \
        "w " \
        "$0" \
        "x4" \
        "32" \
        "1" \
        "\n" \
        " p" \
        "op" \
        "w " \
        "0x" \
        "C0" \
        "0" \
        "\n" \
        " m" \
        "ov" \
        " 0" \
        "xC" \
        "00" \
        ", " \
        "%a" \
        "x", \
        REG_A, \
        0x4321, \
        "PO" \
        "P " \
        "to" \
        " m" \
        "em" \
        "or" \
        "y") \
        x(s_popsp, \
        "m" \
        "o" \
        "v" \
        " " \
        "%" \
        "s" \
        "p" \
        "," \
        " " \
        "%" \
        "b" \
        "x" \
        "\n" \
        " " \
        "pu" \
        "sh" \
        "w " \
        "$0" \
        "xE" \
        "00" \
        "0" \
        "\n" \
        " " \
        "po" \
        "p " \
        "%s" \
        "p" \
        "\n" \
        " " \
        "mo" \
        "v " \
        "%s" \
        "p," \
        " " \
        "%a" \
        "x" \
        "\n" \
        " " \
        "mo" \
        "v " \
        "%b" \
        "x," \
        " " \
        "%s" \
        "p", \
        REG_A, \
        0xE000, \
        "P" \
        "O" \
        "P" \
        " " \
        "S" \
        "P") x(s_smsw, \
        "smsw " \
        "%ax\n " \
        "and " \
        "$0x10," \
        " %ax", \
        REG_A, \
        0x10, \
        "SMSW " \
        "shows " \
        "ET") \
        x(s_setcc, \
        "xo" \
        "r " \
        "%e" \
        "ax" \
        ", " \
        "%e" \
        "ax" \
        "\n" \
        " c" \
        "mp" \
        " $" \
        "1," \
        " %" \
        "ea" \
        "x" \
        "\n" \
        " s" \
        "et" \
        "b " \
        "%a" \
        "l" \
        "\n" \
        " s" \
        "et" \
        "a " \
        "%a" \
        "h", \
        REG_A, \
        1, \
        "SE" \
        "Tc" \
        "c") \
        x(s_bound, \
        "movw $1, 0xD00\n movw $5, 0xD02\n mov $5, %ax\n bound %ax, 0xD00", \
        REG_A, \
        5, \
        "BOUND inside")
/* clang-format on */
#define DEFINE(n, text, reg, want, name) SNIP16(n, text)
BOTH(DEFINE)
#define ROW(n, text, reg, want, name) {n, n##_end, reg, want, name},
static const struct same {
    const char *code, *end;
    int reg;
    u32 want;
    const char *name;
} same[] = {BOTH(ROW)};

static void check_where(enum where w, const char *name, u32 got, u32 want, u32 vec)
{
    bool ok = got == want && r16.vec == vec;
    trap_begin();
    if (!ok)
        say("# %s: value 0x%x want 0x%x vector 0x%x want 0x%x\n", name, got, want, r16.vec, vec);
    say("%s", "");
    char line[96], *p = line;
    for (const char *s = where_name[w]; *s; s++) *p++ = *s;
    *p++ = ':', *p++ = ' ';
    for (const char *s = name; *s && p < line + sizeof line - 1; s++) *p++ = *s;
    *p = 0;
    check(line, ok);
}

static void same_everywhere(void)
{
    for (u32 k = 0; k < sizeof same / sizeof *same; k++) {
        for (int w = 0; w < WHERES; w++) {
            r16_default();
            run16((enum where)w, same[k].code, same[k].end);
            check_where((enum where)w, same[k].name, reg_of(same[k].reg), same[k].want, 0xFF);
        }
    }
}

/* ---- exceptions: vector, and that IP is the instruction's or the next one's ---- */
/* clang-format off */
#define FAULTS(x) \
    x(f_word, "mov 0xFFFF, %ax", GP, 0, "word at FFFF") x( \
        f_dword, "mov %eax, 0xFFFD", GP, 0, \
        "dword store at FFFD") x(f_big, "mov $0x10000, %ebx\n f_big_at: mov (%ebx), %al", GP, 6, \
        "32-bit offset beyond 64 KiB") \
        x(f_ss, "mov $0xFFFF, %bp\n mov (%bp), %ax", SS, 3, "word at SS:FFFF") x( \
        f_div, "xor %cx, %cx\n div %cx", DE, 2, \
        "DIV by zero") x(f_idiv, "mov $0x8000, %ax\n mov $0xFF, %cl\n idiv %cl", DE, 5, \
        "IDIV overflow") x(f_aam, ".byte 0xD4, 0", DE, 0, "AAM 0") \
        x(f_bound, "movw $1, 0xD00\n movw $5, 0xD02\n mov $6, %ax\n bound %ax, 0xD00", BR, 15, \
        "BOUND outside") x(f_ud2, "ud2", UD, 0, \
        "UD2") x(f_lock, ".byte 0xF0\n mov %al, 0", UD, 0, \
        "LOCK MOV") x(f_lockreg, ".byte 0xF0, 0x01, 0xD8", UD, \
        0, "LOCK with a register destination") \
        x(f_movcs, ".byte 0x8E, 0xC8", UD, 0, "MOV CS") x( \
        f_len, \
        ".byte " \
        "0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66\n" \
        "nop", \
        GP, 0, "instruction of 16 bytes") \
        x(f_jmp, "mov $0x1FF00, %eax\n jmp *%eax", GP, 6, "JMP beyond the limit")
/* clang-format on */
#define DEFINE_F(n, text, vec, ip, name) SNIP16(n, text)
FAULTS(DEFINE_F)
#define ROW_F(n, text, vec, ip, name) {n, n##_end, vec, ip, name},
static const struct fault {
    const char *code, *end;
    u32 vec, ip;
    const char *name;
} faults[] = {FAULTS(ROW_F)};

static void faults_everywhere(void)
{
    RD(u16, LOW_CODE + 0x1FF00) = 0xFFCD; /* INT FFh, should the processor arrive there */
    for (u32 k = 0; k < sizeof faults / sizeof *faults; k++) {
        for (int w = 0; w < WHERES; w++) {
            r16_default();
            run16((enum where)w, faults[k].code, faults[k].end);
            check_where((enum where)w, faults[k].name, r16.ip & 0xFFFF, faults[k].ip,
                        faults[k].vec);
        }
    }
}

/* ---- only the modes with 8086 addressing ---- */
SNIP16(e_lldt, "lldt %ax")
SNIP16(e_ltr, "ltr %ax")
SNIP16(e_str, "str %ax")
SNIP16(e_sldt, "sldt %ax")
SNIP16(e_verr, "verr %ax")
SNIP16(e_lar, "lar %ax, %bx")
SNIP16(e_lsl, "lsl %ax, %bx")
SNIP16(e_arpl, ".byte 0x63, 0xD8")
SNIP16(e_far, "push %cs\n call 1f\n jmp 2f\n 1: lret\n 2: mov %sp, %ax")
SNIP16(e_lcall, "lcall $0x1FFF, $0x10 + (1f - e_lcall)\n jmp 2f\n 1: mov %cs, %bx\n lret\n 2:")
SNIP16(e_segs, "mov $0xFFF0, %ax\n mov %ax, %ds\n mov %ds, %bx\n mov $0x1234, %ax\n mov %ax, %es\n"
               "movb $0x66, %es:3\n mov %es:3, %cl\n ")
SNIP16(e_hma, "mov $0xFFFF, %ax\n mov %ax, %ds\n mov 0x10, %al\n")
SNIP16(e_popss, "mov %ss, %ax\n push %ax\n pop %ss\n mov %sp, %bx")
SNIP16(e_lss, "movl $0x40001234, 0x20\n movl $0x4000, 0x24\n lss 0x20, %sp\n mov %sp, %ax\n"
              "mov $0xFFF0, %sp")

static void segments_8086(void)
{
    static const struct {
        const char *code, *end, *name;
    } ud[] = {{e_lldt, e_lldt_end, "#UD LLDT"}, {e_ltr, e_ltr_end, "#UD LTR"},
              {e_str, e_str_end, "#UD STR"},    {e_sldt, e_sldt_end, "#UD SLDT"},
              {e_verr, e_verr_end, "#UD VERR"}, {e_lar, e_lar_end, "#UD LAR"},
              {e_lsl, e_lsl_end, "#UD LSL"},    {e_arpl, e_arpl_end, "#UD ARPL"}};
    for (int w = IN_REAL; w <= IN_V86; w++) {
        enum where at = (enum where)w;
        for (u32 k = 0; k < sizeof ud / sizeof *ud; k++) {
            r16_default();
            run16(at, ud[k].code, ud[k].end);
            check_where(at, ud[k].name, r16.ip & 0xFFFF, 0, UD);
        }
        r16_default();
        run16(at, e_far, e_far_end);
        check_where(at, "PUSH CS, near CALL, far RET", r16.eax & 0xFFFF, SP16, 0xFF);
        r16_default();
        run16(at, e_lcall, e_lcall_end);
        check_where(at, "far CALL loads CS, far RET returns", r16.ebx, 0x1FFF, 0xFF);
        check_where(at, "and CS is the old one again", r16.cs, LOW_CODE / 16, 0xFF);
        r16_default();
        run16(at, e_segs, e_segs_end);
        check_where(at, "segment registers keep any value", r16.ebx << 16 | (r16.ecx & 0xFF),
                    0xFFF00066, 0xFF);
        r16_default();
        RD(u8, 0x100000) = 0x02; /* first byte of the image: the multiboot magic */
        run16(at, e_hma, e_hma_end);
        check_where(at, "FFFF:0010 is 1 MiB", r16.eax & 0xFF, 0x02, 0xFF);
        r16_default();
        run16(at, e_lss, e_lss_end);
        check_where(at, "LSS", r16.eax & 0xFFFF, 0x1234, 0xFF);
    }
}

/* ---- real mode alone ---- */
SNIP16(b_load, "mov $0x100000, %ebx\n mov (%ebx), %eax\n")
SNIP16(b_store, "mov $0x200000, %ebx\n movl $0xABCD4321, %es:(%ebx)\n mov %ds, %ax\n mov %ax, %ds\n"
                "mov (%ebx), %eax")
SNIP16(b_stack, "mov $0x2FFF0, %esp\n push $1\n mov %esp, %eax")
SNIP16(b_into, "mov $0x7F, %al\n inc %al\n into\n nop")
SNIP16(b_into_no, "xor %ax, %ax\n into\n nop")
SNIP16(b_int3, "int3\n nop")
SNIP16(b_int1, ".byte 0xF1\n nop")
SNIP16(b_flags,
       "mov $0x7ED5, %ax\n push %ax\n popf\n pushf\n pop %ax\n mov %ax, %bx\n push $2\n popf")
SNIP16(b_flags32, "pushl $0x247FD5\n popfl\n pushfl\n pop %eax\n pushl $2\n popfl")
SNIP16(b_iret32, "pushl $0x40002\n pushl $0x2000\n pushl $(1f - b_iret32)\n iretl\n 1: pushfl\n"
                 "pop %eax\n pushl $2\n popfl")
SNIP16(b_iret, "pushw $0x0ED7\n push %cs\n push $(1f - b_iret)\n iret\n 1: pushf\n pop %ax\n"
               "push $2\n popf")
SNIP16(b_lmsw, "smsw %ax\n or $8, %al\n lmsw %ax\n smsw %bx\n clts\n smsw %cx")
SNIP16(b_cr, "mov %cr0, %eax\n and $1, %eax")
SNIP16(b_sp1, "mov $1, %sp\n push %ax")
SNIP16(b_idt, "movw $0xFF, %cs:b_idt_tab - b_idt\n lidt %cs:b_idt_tab - b_idt\n int $0x40\n"
              "b_idt_tab: .word 0xFF\n .long 0\n .word 0")
SNIP16(b_shadow, "cli\n mov %ss, %ax\n mov %ax, %ss\n mov %sp, %bx")
SNIP16(b_popfs, "pushl $0x12345678\n pop %fs\n mov %fs, %ax\n pop %bx")
SNIP16(b_jmpf,
       "ljmp $0x2000, $(1f - b_jmpf)\n 1: ljmpl $0x1FFF, $(2f - b_jmpf + 16)\n 2: mov %cs, %ax")
SNIP16(b_tss, "mov $0x1234, %eax\n cpuid\n mov $0x77, %ax")

static void run_r(const char *code, const char *end) { run16(IN_REAL, code, end); }
#define RUN(s) (r16_default(), run_r(s, s##_end))
static void one(const char *name, u32 got, u32 want, u32 vec)
{
    check_where(IN_REAL, name, got, want, vec);
}

static void real_only(void)
{
    RUN(b_load);
    one("64 KiB limit", r16.ip, 6, GP);
    r16_default(), big_real = true, r16.ds = 0, run_r(b_load, b_load_end);
    one("big real mode reads above 1 MiB", r16.eax, RD(u32, 0x100000), 0xFF);
    RD(u32, 0x200000) = 0;
    r16_default(), big_real = true, r16.es = r16.ds = 0, run_r(b_store, b_store_end);
    one("big real mode: store; limits outlive segment loads", r16.eax, 0xABCD4321, 0xFF);
    RUN(b_stack);
    one("PUSH uses SP, the upper half of ESP stays", r16.eax, 0x2FFEE, 0xFF);
    RUN(b_into);
    one("INTO, OF set: vector 4, IP behind it", r16.ip, 5, OF);
    RUN(b_into_no);
    one("INTO, OF clear", r16.eax, 0, 0xFF);
    RUN(b_int3);
    one("INT3: IP behind it", r16.ip, 1, BP);
    RUN(b_int1);
    one("INT1: IP behind it", r16.ip, 1, DB);
    RUN(b_flags);
    one("POPF loads all of IOPL, NT, DF, OF, TF excluded", r16.eax & 0x7ED5, 0x7ED5, 0xFF);
    r16_default();
    run_r(b_iret32, b_iret32_end);
    one("32-bit IRET loads AC", r16.eax & 0x40000, 0x40000, 0xFF);
    RUN(b_iret);
    one("IRET loads IF, DF, OF", r16.eax & 0xED7, 0xED7, 0xFF);
    RUN(b_lmsw);
    one("LMSW sets TS, CLTS clears it", (r16.ebx & 8) << 4 | (r16.ecx & 8), 0x80, 0xFF);
    RUN(b_cr);
    one("MOV from CR0 shows PE clear", r16.eax, 0, 0xFF);
    RUN(b_idt);
    one("#GP: INT n beyond the IVT's limit", r16.vec, GP, GP);
    RUN(b_popfs);
    one("16-bit POP FS takes two bytes", (r16.eax & 0xFFFF) << 16 | (r16.ebx & 0xFFFF), 0x56781234,
        0xFF);
    RUN(b_jmpf);
    one("far JMP with 16- and 32-bit offsets", r16.eax & 0xFFFF, 0x1FFF, 0xFF);
    RUN(b_tss);
    one("CPUID in real mode", r16.eax & 0xFFFF, 0x77, 0xFF);
}

int main(void)
{
    idt_dpl(0xFF, 3);
    same_everywhere();
    faults_everywhere();
    segments_8086();
    real_only();
    finish();
}

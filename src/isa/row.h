/* isa/row.h - the rows of isa/insn.def as data. Included by isa/insn.h; the functions are bound by
 * cpu/insn_exec.c. */
#ifndef ISA_ROW_H
#define ISA_ROW_H
#include "base/types.h"

enum insn_class {
    C_COMPUTE,
    C_BRANCH, /* near control flow           */
    C_STACK,
    C_STRING,
    C_FLAGS,   /* flags of privilege and DF   */
    C_SEGMENT, /* segment loads and far flow  */
    C_SYSTEM,
    C_IO,
    C_XSTATE, /* FXSAVE, XSAVE family        */
    C_HINT,   /* no effect on registers and memory: NOP, prefetches, fences, cache write-back */
    C_LEGACY, /* BCD, BOUND, ARPL, XLAT      */
};
enum insn_attr {
    A_ENDBLOCK = 1 << 0,    /* nothing after it may be decoded ahead             */
    A_CPL0 = 1 << 1,        /* #GP(0) unless CPL is 0                            */
    A_SENSITIVE = 1 << 2,   /* tells or touches privileged state outside ring 0  */
    A_NO64 = 1 << 3,        /* #UD in 64-bit mode                                */
    A_ONLY64 = 1 << 4,      /* #UD outside 64-bit mode                           */
    A_PROT = 1 << 5,        /* #UD in real and virtual-8086 mode                 */
    A_LOCK = 1 << 6,        /* LOCK allowed (memory destination)                 */
    A_JUMP = 1 << 7,        /* may set RIP                                       */
    A_CONDITIONAL = 1 << 8, /* or goes on with the next instruction                */
};
/* Which operands of a mnemonic a row is for; a decoded instruction has exactly one bit. */
enum insn_form {
    FORM_NONE = 1 << 0, /* kind of the first operand */
    FORM_REG = 1 << 1,
    FORM_MEM = 1 << 2,
    FORM_IMM = 1 << 3,
    FORM_REL = 1 << 4,
    FORM_FAR = 1 << 5,    /* far control transfer                    */
    FORM_STRING = 1 << 6, /* MOVS, CMPS, SCAS, LODS, STOS, INS, OUTS */
    FORM_SEG_R = 1 << 7,  /* a segment register is an operand: read, written */
    FORM_SEG_W = 1 << 8,
    FORM_CR_R = 1 << 9, /* a control register */
    FORM_CR_W = 1 << 10,
    FORM_DR_R = 1 << 11, /* a debug register */
    FORM_DR_W = 1 << 12,
    FORM_RM = FORM_REG | FORM_MEM,
    FORM_ANY = 0xFFFF,
};
struct insn_row {
    u16 mnemonic; /* ZydisMnemonic */
    u16 form;     /* enum insn_form */
    u8 class;     /* enum insn_class */
    u16 attr;     /* enum insn_attr  */
    const char *name, *spec;
};
enum { INSN_COMPUTE = 0, INSN_UD = 0xFFFF };
/* insn_rows[0] is the pseudo-row of class COMPUTE. */
extern const struct insn_row insn_rows[];
extern const u32 insn_rows_count;
#endif

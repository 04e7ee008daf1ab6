/* isa/insn.h - a decoded x86 instruction as data, and the decoder (Zydis underneath).
 * Pure: no guest state, no I/O. Every instruction the product knows is either a row of insn.def
 * (control flow, stack, string, segment, flags of privilege, system, I/O) or of class COMPUTE: it
 * means the same at every privilege level, so the host CPU itself executes it with registers and
 * memory operand replaced (DESIGN section 3). */
#ifndef ISA_INSN_H
#define ISA_INSN_H
#include "base/limits.h"
#include "base/types.h"

struct vcpu;
struct insn;

/* What executing one instruction came to. */
enum x_result {
    X_NEXT = 0, /* done; the caller advances RIP by insn->len (wrapped to the code size) */
    X_JUMP,     /* done; RIP was set */
    X_AGAIN,    /* REP: some iterations done, more to come; RIP stays, interrupts may be taken */
    X_FAULT,    /* vcpu->exc holds the exception; state is as before the instruction */
    X_HALT,     /* HLT retired: RIP already advanced */
    X_SHUTDOWN, /* triple fault */
    X_BREAK,    /* a debugger's breakpoint: nothing was executed */
};
typedef enum x_result insn_exec_fn(struct vcpu *v, const struct insn *i);

enum isa_mode { ISA_16, ISA_32, ISA_64 }; /* code size: CS.D=0, CS.D=1 (or compatibility), CS.L=1 */

/* Register files. */
enum reg_file {
    RF_NONE,
    RF_GPR,      /* 0..15: RAX RCX RDX RBX RSP RBP RSI RDI R8..R15 */
    RF_GPR_HIGH, /* 0..3: AH CH DH BH */
    RF_SEG,      /* enum seg_id */
    RF_CR,
    RF_DR,
    RF_ST,
    RF_MMX,
    RF_VEC,  /* XMM, YMM, ZMM 0..31; width in opnd.bytes */
    RF_MASK, /* K0..K7 */
    RF_BND,
    RF_OTHER,
};
enum gpr { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9, R10, R11, R12, R13, R14, R15, GPRS };
enum seg_id { ES, CS, SS, DS, FS, GS, SEGS };
enum { REG_NONE = 0xFF, BASE_RIP = 0x10 }; /* for insn.base and insn.index */

enum opnd_kind { OPND_NONE, OPND_REG, OPND_MEM, OPND_IMM, OPND_REL, OPND_FAR };
enum { OPND_R = 1, OPND_W = 2 };
struct insn_opnd {
    u8 kind;  /* enum opnd_kind */
    u8 file;  /* enum reg_file when kind is OPND_REG */
    u8 reg;   /* number in its file */
    u8 rw;    /* OPND_R | OPND_W */
    u8 bytes; /* size; 0 when above 255 or meaningless (see mem_bytes) */
};

enum insn_prefix {
    PFX_LOCK = 1 << 0,
    PFX_REP = 1 << 1,   /* F3 acting as REP/REPE */
    PFX_REPNE = 1 << 2, /* F2 acting as REPNE */
    PFX_66 = 1 << 3,
    PFX_67 = 1 << 4,
    PFX_SEG = 1 << 5,
};

/* Which enabling rules apply before the instruction may run (CR0.EM/TS/MP, CR4.OSFXSR/OSXSAVE,
 * XCR0). FPU_VEX: VEX-encoded integer instructions (BMI), which only real and virtual-8086 mode
 * refuse (#UD). */
enum fpu_class {
    FPU_NONE,
    FPU_X87,
    FPU_WAIT,
    FPU_MMX,
    FPU_SSE,
    FPU_AVX,
    FPU_AVX512,
    FPU_VEX,
    FPU_CLASSES
};

enum { INSN_OPNDS = 4 };
struct insn {
    insn_exec_fn *exec; /* set by insn_bind: the row's function, or the host runner for COMPUTE */
    const void *thunk; /* COMPUTE: host code, owned by engine/common/native; NULL until first use */
    u64 imm;        /* first immediate, sign-extended; far pointer: offset; REL: signed distance */
    s64 disp;       /* displacement of the memory operand, or moffs */
    u16 row;        /* row of insn.def; INSN_COMPUTE; or INSN_UD (not an instruction we offer) */
    u16 mnemonic;   /* ZydisMnemonic */
    u16 mem_bytes;  /* size of the memory operand, 0 when there is none */
    u16 imm2;       /* second immediate (ENTER) or the far pointer's selector */
    u8 len;         /* bytes, 1..15 */
    u8 mode;        /* enum isa_mode it was decoded for */
    u8 opsize;      /* effective operand size in bytes: 1, 2, 4, 8 */
    u8 addrsize;    /* effective address size in bytes: 2, 4, 8 */
    u8 stack_bytes; /* PUSH/POP/CALL/RET element size in bytes */
    u8 prefixes;    /* enum insn_prefix */
    u8 base, index; /* enum gpr, BASE_RIP, REG_NONE (VSIB: vector number in index) */
    u8 scale;       /* shift: 0..3 */
    u8 seg;         /* effective segment of the memory operand, enum seg_id */
    u8 mem_rw;      /* OPND_R | OPND_W of the memory operand; 0 for LEA-like */
    u8 fpu;         /* enum fpu_class */
    /* Arithmetic flags (enum insn_flag). w: written or left undefined. r: whose old value can
     * matter, so also those left undefined and those written only sometimes (shifts by a count that
     * may be 0). */
    u8 flags_r, flags_w;
    u8 opnds;      /* visible operands in op[], without EVEX opmasks */
    u8 cc;         /* condition code of Jcc/SETcc/CMOVcc: opcode bits 3:0 */
    u8 opcode;     /* last opcode byte */
    u8 modrm;      /* ModRM byte, 0 when there is none */
    u8 feature[2]; /* enum cpu_feature (isa/feature.h): the guest's CPU model must have both */
    struct insn_opnd op[INSN_OPNDS];
    u64 head;                 /* key of its head (isa/head.h), 0 where that was not asked for */
    u8 bytes[INSN_BYTES_MAX]; /* as fetched */
};
/* arithmetic flags squeezed into a byte: the LAHF image with OF in bit 1 */
enum insn_flag {
    IF_CF = 1,
    IF_OF = 2,
    IF_PF = 4,
    IF_AF = 0x10,
    IF_ZF = 0x40,
    IF_SF = 0x80,
    IF_ALL = 0xD7
};

#include "isa/row.h"

/**
 * isa_decode - decode one instruction.
 * @out   filled completely on success except exec and thunk, which become 0
 * @code  @avail bytes starting at the instruction (more than 15 are ignored)
 * Returns the length; 0 when @avail bytes are too few to tell; -1 when no x86 instruction starts so
 * (out->row = INSN_UD, out->len = 0, #UD is due), -2 when it would be longer than 15 bytes (#GP(0)
 * is due). Spec: SDM vol. 2A chapter 2.
 */
int isa_decode(struct insn *out, const u8 *code, u32 avail, enum isa_mode mode);
/** isa_format - Intel-syntax text of an instruction at @rip, for dumps. Returns @buf. */
const char *isa_format(const struct insn *i, u64 rip, char *buf, u32 bytes);
#endif

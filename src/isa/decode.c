/* decode - bytes to struct insn, by Zydis. Zydis knows more than we offer and reports some things
 * its own way; what is corrected here:
 *  - only instruction sets of isaset.def exist (and nothing privileged without a row of insn.def);
 *  - 64-bit mode has FS and GS as the only effective overrides;
 *  - the stack element size is the operand size of near transfers, which 66 does not shrink there;
 *  - F2 and F3 count as repeat prefixes of every string instruction, the last one given. */
#include <string.h>

#include <Zydis/Zydis.h>

#include "isa/feature.h"
#include "isa/insn.h"

const struct insn_row insn_rows[] = {
    {ZYDIS_MNEMONIC_INVALID, FORM_ANY, C_COMPUTE, 0, "COMPUTE", "DESIGN section 3"},
#define INSN(mnemonic, form, class, attr, exec, spec)                                              \
    {ZYDIS_MNEMONIC_##mnemonic, FORM_##form, C_##class, attr, #mnemonic, spec},
#include "isa/insn.def"
#undef INSN
};
const u32 insn_rows_count = ARRAY_LEN(insn_rows);

/* Row numbers, named ROW_<mnemonic>_<form>. */
enum {
    ROW_COMPUTE,
#define INSN(mnemonic, form, class, attr, exec, spec) ROW_##mnemonic##_##form,
#include "isa/insn.def"
#undef INSN
};

/* The first row of each mnemonic; 0 for none. Its further forms follow it. */
static const u16 first_row[ZYDIS_MNEMONIC_MAX_VALUE + 1] = {
#define INSN(mnemonic, form, class, attr, exec, spec)                                              \
    [ZYDIS_MNEMONIC_##mnemonic] = ROW_##mnemonic##_##form,
#define INSN_ALSO(mnemonic, form, class, attr, exec, spec)
#include "isa/insn.def"
#undef INSN
};

/* Offered instruction sets and the features they need. */
static const struct isaset {
    u8 offered;
    u8 feature[2];
} isasets[ZYDIS_ISA_SET_MAX_VALUE + 1] = {
#define ISASET(set, feat, also) [ZYDIS_ISA_SET_##set] = {1, {FEAT_##feat, FEAT_##also}},
#include "isa/isaset.def"
#undef ISASET
};

/* One decoder per code size. MPX and CET are off, so that their opcodes are the NOPs they are on
 * processors without them; LZCNT and TZCNT are on, and insn_bind() takes them back where the CPU
 * model lacks them. */
#define MODES                                                                                      \
    {                                                                                              \
        [ZYDIS_DECODER_MODE_LZCNT] = ZYAN_TRUE, [ZYDIS_DECODER_MODE_TZCNT] = ZYAN_TRUE             \
    }
static const ZydisDecoder decoders[] = {
    [ISA_16] = {ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_STACK_WIDTH_16, MODES},
    [ISA_32] = {ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_STACK_WIDTH_32, MODES},
    [ISA_64] = {ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64, MODES},
};
#undef MODES

/* What Zydis says, handed around while struct insn is filled. */
struct zinsn {
    ZydisDecodedInstruction d;
    ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
};

static u8 rw_of(const ZydisDecodedOperand *o)
{
    return (o->actions & ZYDIS_OPERAND_ACTION_MASK_READ ? OPND_R : 0) |
           (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE ? OPND_W : 0);
}

static enum seg_id seg_of(ZydisRegister r)
{
    switch (r) {
    case ZYDIS_REGISTER_ES: return ES;
    case ZYDIS_REGISTER_CS: return CS;
    case ZYDIS_REGISTER_SS: return SS;
    case ZYDIS_REGISTER_FS: return FS;
    case ZYDIS_REGISTER_GS: return GS;
    default: return DS;
    }
}

/* Byte registers: Zydis numbers AL CL DL BL AH CH DH BH SPL BPL SIL DIL R8B... */
static void set_gpr8(struct insn_opnd *out, u8 id)
{
    out->file = id >= 4 && id < 8 ? RF_GPR_HIGH : RF_GPR;
    out->reg = id < 4 ? id : id - 4;
}

static void set_reg(struct insn_opnd *out, ZydisRegister r)
{
    static const u8 file[ZYDIS_REGCLASS_MAX_VALUE + 1] = {
        [ZYDIS_REGCLASS_GPR8] = RF_GPR,   [ZYDIS_REGCLASS_GPR16] = RF_GPR,
        [ZYDIS_REGCLASS_GPR32] = RF_GPR,  [ZYDIS_REGCLASS_GPR64] = RF_GPR,
        [ZYDIS_REGCLASS_X87] = RF_ST,     [ZYDIS_REGCLASS_MMX] = RF_MMX,
        [ZYDIS_REGCLASS_XMM] = RF_VEC,    [ZYDIS_REGCLASS_YMM] = RF_VEC,
        [ZYDIS_REGCLASS_ZMM] = RF_VEC,    [ZYDIS_REGCLASS_SEGMENT] = RF_SEG,
        [ZYDIS_REGCLASS_CONTROL] = RF_CR, [ZYDIS_REGCLASS_DEBUG] = RF_DR,
        [ZYDIS_REGCLASS_MASK] = RF_MASK,  [ZYDIS_REGCLASS_BOUND] = RF_BND,
    };
    ZydisRegisterClass class = ZydisRegisterGetClass(r);
    u8 id = (u8)ZydisRegisterGetId(r);
    out->kind = OPND_REG;
    out->file = file[class] ? file[class] : RF_OTHER;
    out->reg = id;
    if (class == ZYDIS_REGCLASS_GPR8) set_gpr8(out, id);
    else if (class == ZYDIS_REGCLASS_SEGMENT) out->reg = (u8)seg_of(r);
}

/* Base or index register number; vector registers for VSIB. */
static u8 address_reg(ZydisRegister r)
{
    if (r == ZYDIS_REGISTER_NONE) return REG_NONE;
    if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP) return BASE_RIP;
    return (u8)ZydisRegisterGetId(r);
}

static void set_mem(struct insn *out, const ZydisDecodedOperand *o)
{
    static const u8 shift[9] = {[2] = 1, [4] = 2, [8] = 3};
    out->base = address_reg(o->mem.base);
    out->index = address_reg(o->mem.index);
    out->scale = shift[o->mem.scale <= 8 ? o->mem.scale : 0];
    out->disp = o->mem.disp.value;
    out->seg = (u8)seg_of(o->mem.segment);
    if (out->mode == ISA_64 && out->seg < FS) {
        out->seg = out->base == RSP || out->base == RBP ? SS : DS;
    }
    if (o->mem.type == ZYDIS_MEMOP_TYPE_AGEN) return; /* LEA: an address, no access */
    out->mem_bytes = o->size / 8;
    out->mem_rw = rw_of(o);
}

/* Immediates in order: the first into imm, the second into imm2; a far pointer is both. */
static void set_imm(struct insn *out, const ZydisDecodedOperand *o, unsigned nth)
{
    if (nth) out->imm2 = (u16)o->imm.value.u;
    else out->imm = o->imm.value.u;
}

static void set_operands(struct insn *out, const struct zinsn *z)
{
    unsigned imms = 0;
    for (unsigned k = 0; k < z->d.operand_count_visible && out->opnds < INSN_OPNDS; k++) {
        const ZydisDecodedOperand *o = &z->op[k];
        struct insn_opnd *p = &out->op[out->opnds];
        if (o->encoding == ZYDIS_OPERAND_ENCODING_MASK) continue;
        out->opnds++;
        p->rw = rw_of(o);
        p->bytes = o->size / 8 <= 255 ? (u8)(o->size / 8) : 0;
        switch (o->type) {
        case ZYDIS_OPERAND_TYPE_REGISTER: set_reg(p, o->reg.value); break;
        case ZYDIS_OPERAND_TYPE_MEMORY:
            p->kind = OPND_MEM;
            set_mem(out, o);
            break;
        case ZYDIS_OPERAND_TYPE_POINTER:
            p->kind = OPND_FAR;
            out->imm = o->ptr.offset;
            out->imm2 = o->ptr.segment;
            break;
        default: p->kind = o->imm.is_relative ? OPND_REL : OPND_IMM; set_imm(out, o, imms++);
        }
    }
}

/* A SIB byte with base 5 and mod 0 means no base and 32 bits of displacement, whatever REX.B says.
 * Zydis 4.0.0 reports R13D and no displacement when REX.B and the address-size prefix meet. */
static void set_absolute(struct insn *out, const ZydisDecodedInstruction *d)
{
    if (!d->raw.sib.offset || d->raw.modrm.mod || d->raw.sib.base != 5) return;
    out->base = REG_NONE;
    out->disp = d->raw.disp.value;
}

/* Memory operands nobody writes down: the DS:rDI of MASKMOV, the DS:rBX of XLAT; of string
 * instructions only the segment of the source. The stack is no memory operand. */
static void set_hidden_mem(struct insn *out, const struct zinsn *z)
{
    ZydisInstructionCategory cat = z->d.meta.category;
    bool string = cat == ZYDIS_CATEGORY_STRINGOP || cat == ZYDIS_CATEGORY_IOSTRINGOP;
    if (out->base != REG_NONE || out->mem_bytes) return;
    for (unsigned k = z->d.operand_count_visible; k < z->d.operand_count; k++) {
        const ZydisDecodedOperand *o = &z->op[k];
        if (o->type != ZYDIS_OPERAND_TYPE_MEMORY) continue;
        u8 base = address_reg(o->mem.base);
        if (string && base == RSI) out->seg = (u8)seg_of(o->mem.segment);
        else if (!string && (base == RDI || base == RBX)) set_mem(out, o);
    }
}

static u8 squeeze_flags(u32 f) { return (u8)((f & 0xD5) | (f & ZYDIS_CPUFLAG_OF ? IF_OF : 0)); }

static void set_flags(struct insn *out, const ZydisDecodedInstruction *d)
{
    const ZydisAccessedFlags *f = d->cpu_flags;
    bool sometimes = d->meta.category == ZYDIS_CATEGORY_SHIFT ||
                     d->meta.category == ZYDIS_CATEGORY_ROTATE ||
                     (out->prefixes & (PFX_REP | PFX_REPNE));
    if (!f) return;
    out->flags_w = squeeze_flags(f->modified | f->set_0 | f->set_1 | f->undefined);
    out->flags_r = squeeze_flags(f->tested | f->undefined);
    if (sometimes) out->flags_r |= out->flags_w;
}

static void set_prefixes(struct insn *out, const ZydisDecodedInstruction *d)
{
    bool string = d->meta.category == ZYDIS_CATEGORY_STRINGOP ||
                  d->meta.category == ZYDIS_CATEGORY_IOSTRINGOP;
    u8 p = 0;
    for (unsigned k = 0; k < d->raw.prefix_count; k++) {
        switch (d->raw.prefixes[k].value) {
        case 0xF0: p |= PFX_LOCK; break;
        case 0xF2: p = (u8)((p & ~PFX_REP) | (string ? PFX_REPNE : 0)); break;
        case 0xF3: p = (u8)((p & ~PFX_REPNE) | (string ? PFX_REP : 0)); break;
        case 0x66: p |= PFX_66; break;
        case 0x67: p |= PFX_67; break;
        case 0x26:
        case 0x2E:
        case 0x36:
        case 0x3E:
        case 0x64:
        case 0x65: p |= PFX_SEG; break;
        default: break; /* REX */
        }
    }
    out->prefixes = p;
}

/* Which enabling rules apply (enum fpu_class). */
static enum fpu_class fpu_of(const struct zinsn *z)
{
    const ZydisDecodedInstruction *d = &z->d;
    bool vec = false, mmx = d->meta.isa_ext == ZYDIS_ISA_EXT_MMX, mask = false, x87 = false;
    for (unsigned k = 0; k < d->operand_count; k++) {
        if (z->op[k].type != ZYDIS_OPERAND_TYPE_REGISTER) continue;
        ZydisRegisterClass c = ZydisRegisterGetClass(z->op[k].reg.value);
        vec |= c == ZYDIS_REGCLASS_XMM || c == ZYDIS_REGCLASS_YMM || c == ZYDIS_REGCLASS_ZMM;
        mmx |= c == ZYDIS_REGCLASS_MMX;
        mask |= c == ZYDIS_REGCLASS_MASK;
        x87 |= c == ZYDIS_REGCLASS_X87;
    }
    if (d->mnemonic == ZYDIS_MNEMONIC_FWAIT) return FPU_WAIT;
    if (x87 || d->meta.isa_ext == ZYDIS_ISA_EXT_X87) return FPU_X87;
    if (d->meta.isa_set == ZYDIS_ISA_SET_FXSAVE || d->meta.isa_set == ZYDIS_ISA_SET_FXSAVE64) {
        return FPU_X87; /* CR0.EM and CR0.TS raise #NM */
    }
    if (d->encoding == ZYDIS_INSTRUCTION_ENCODING_EVEX || mask) return FPU_AVX512;
    if (d->encoding == ZYDIS_INSTRUCTION_ENCODING_VEX) {
        bool integer =
            d->meta.isa_ext == ZYDIS_ISA_EXT_BMI1 || d->meta.isa_ext == ZYDIS_ISA_EXT_BMI2;
        return integer ? FPU_VEX : FPU_AVX;
    }
    bool to_gpr = d->meta.category == ZYDIS_CATEGORY_CONVERT && /* CVTSD2SI r, m names no vector */
                  (d->meta.isa_ext == ZYDIS_ISA_EXT_SSE || d->meta.isa_ext == ZYDIS_ISA_EXT_SSE2);
    if (vec || to_gpr || d->meta.isa_set == ZYDIS_ISA_SET_SSEMXCSR) return FPU_SSE;
    return mmx ? FPU_MMX : FPU_NONE;
}

/* The form of a register operand that no general instruction has. */
static u16 form_of_reg(const struct insn_opnd *o)
{
    bool w = o->rw & OPND_W;
    if (o->file == RF_SEG) return w ? FORM_SEG_W : FORM_SEG_R;
    if (o->file == RF_CR) return w ? FORM_CR_W : FORM_CR_R;
    if (o->file == RF_DR) return w ? FORM_DR_W : FORM_DR_R;
    return FORM_REG;
}

static u16 form_of(const struct insn *i, const ZydisDecodedInstruction *d)
{
    static const u16 form[] = {[OPND_NONE] = FORM_NONE,
                               [OPND_MEM] = FORM_MEM,
                               [OPND_IMM] = FORM_IMM,
                               [OPND_REL] = FORM_REL,
                               [OPND_FAR] = FORM_FAR};
    if (d->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR) return FORM_FAR;
    if (d->meta.category == ZYDIS_CATEGORY_STRINGOP) return FORM_STRING;
    if (d->meta.category == ZYDIS_CATEGORY_IOSTRINGOP) return FORM_STRING;
    for (unsigned k = 0; k < i->opnds; k++) {
        if (i->op[k].kind == OPND_REG && form_of_reg(&i->op[k]) != FORM_REG)
            return form_of_reg(&i->op[k]);
    }
    return i->op[0].kind == OPND_REG ? FORM_REG : form[i->op[0].kind];
}

/* A net under the allow-list: what transfers control or has to do with privilege is never COMPUTE.
 */
static bool is_compute(const ZydisDecodedInstruction *d)
{
    if (d->attributes & ZYDIS_ATTRIB_IS_PRIVILEGED || d->meta.branch_type) return false;
    if (d->meta.isa_set == ZYDIS_ISA_SET_SVM || d->meta.isa_set == ZYDIS_ISA_SET_VTX) return false;
    switch (d->meta.category) {
    case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_IOSTRINGOP:
    case ZYDIS_CATEGORY_STRINGOP:
    case ZYDIS_CATEGORY_SEGOP:
    case ZYDIS_CATEGORY_PUSH:
    case ZYDIS_CATEGORY_POP:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_XSAVE:
    case ZYDIS_CATEGORY_XSAVEOPT: return false;
    default: return true;
    }
}

static u16 row_of(const struct insn *i, const ZydisDecodedInstruction *d)
{
    u16 form = form_of(i, d);
    if (!isasets[d->meta.isa_set].offered) return INSN_UD;
    for (u32 r = first_row[d->mnemonic]; r && r < insn_rows_count; r++) {
        if (insn_rows[r].mnemonic != d->mnemonic) break;
        if (insn_rows[r].form & form) return (u16)r;
    }
    return is_compute(d) ? INSN_COMPUTE : INSN_UD;
}

static void set_features(struct insn *i, const ZydisDecodedInstruction *d)
{
    memcpy(i->feature, isasets[d->meta.isa_set].feature, sizeof i->feature);
    if (i->mode == ISA_64 && d->meta.isa_set == ZYDIS_ISA_SET_LAHF) i->feature[0] = FEAT_LAHF_LM;
}

/* Element size of PUSH, POP, CALL, RET and their kind. */
static u8 stack_bytes_of(const struct insn *i, const ZydisDecodedInstruction *d)
{
    bool rex_w = d->encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && d->raw.rex.W;
    if (d->meta.branch_type == ZYDIS_BRANCH_TYPE_FAR || d->mnemonic == ZYDIS_MNEMONIC_IRET ||
        d->mnemonic == ZYDIS_MNEMONIC_IRETD || d->mnemonic == ZYDIS_MNEMONIC_IRETQ) {
        return i->opsize;
    }
    if (i->mode == ISA_64) {
        return i->prefixes & PFX_66 && !rex_w && !d->meta.branch_type ? 2 : 8;
    }
    return (i->mode == ISA_32) == !(i->prefixes & PFX_66) ? 4 : 2;
}

static void fill(struct insn *out, const struct zinsn *z, const u8 *code)
{
    const ZydisDecodedInstruction *d = &z->d;
    out->len = d->length;
    memcpy(out->bytes, code, out->len);
    out->mnemonic = (u16)d->mnemonic;
    out->opsize = d->operand_width / 8;
    out->addrsize = d->address_width / 8;
    out->opcode = d->opcode;
    if (d->attributes & ZYDIS_ATTRIB_HAS_MODRM) out->modrm = code[d->raw.modrm.offset];
    set_prefixes(out, d);
    set_operands(out, z);
    set_absolute(out, d);
    if (out->mnemonic == ZYDIS_MNEMONIC_MOVSXD && out->opsize == 2) { /* Zydis 4.0.0: 4 */
        out->op[1].bytes = 2;
        if (out->mem_bytes) out->mem_bytes = 2;
    }
    set_hidden_mem(out, z);
    set_flags(out, d);
    out->stack_bytes = stack_bytes_of(out, d);
    out->fpu = (u8)fpu_of(z);
    if (d->meta.category == ZYDIS_CATEGORY_COND_BR || d->meta.category == ZYDIS_CATEGORY_SETCC ||
        d->meta.category == ZYDIS_CATEGORY_CMOV) {
        out->cc = d->opcode & 0xF;
    }
    out->row = row_of(out, d);
    set_features(out, d);
}

int isa_decode(struct insn *out, const u8 *code, u32 avail, enum isa_mode mode)
{
    struct zinsn z;
    u32 bytes = avail < INSN_BYTES_MAX ? avail : INSN_BYTES_MAX;
    memset(out, 0, sizeof *out);
    out->mode = (u8)mode;
    out->row = INSN_UD;
    out->base = out->index = REG_NONE;
    out->seg = DS;
    if (!bytes) return 0;
    ZyanStatus s = ZydisDecoderDecodeFull(&decoders[mode], code, bytes, &z.d, z.op);
    if (ZYAN_SUCCESS(s)) {
        fill(out, &z, code);
        return out->len;
    }
    if (s == ZYDIS_STATUS_INSTRUCTION_TOO_LONG) return -2;
    if (s == ZYDIS_STATUS_NO_MORE_DATA) return bytes == INSN_BYTES_MAX ? -2 : 0;
    return -1;
}

const char *isa_format(const struct insn *i, u64 rip, char *buf, u32 bytes)
{
    struct zinsn z;
    ZydisFormatter f;
    if (!bytes) return buf;
    buf[0] = 0;
    if (!i->len ||
        !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoders[i->mode], i->bytes, i->len, &z.d, z.op)) ||
        !ZYAN_SUCCESS(ZydisFormatterInit(&f, ZYDIS_FORMATTER_STYLE_INTEL)) ||
        !ZYAN_SUCCESS(ZydisFormatterFormatInstruction(&f, &z.d, z.op, z.d.operand_count_visible,
                                                      buf, bytes, rip, NULL))) {
        const char *bad = "(bad)";
        for (u32 k = 0; k < bytes && (k == 0 || bad[k - 1]); k++) buf[k] = bad[k];
        buf[bytes - 1] = 0;
    }
    return buf;
}

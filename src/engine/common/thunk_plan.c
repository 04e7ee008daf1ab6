/* engine/common/thunk_plan.c - see thunk_plan.h. Nothing here trusts the class COMPUTE alone: an
 * operand or instruction set that is not known to be harmless makes the instruction #UD rather than
 * run it in the monitor's address space. */
#include "engine/common/thunk_plan.h"

#include <string.h>

/* ---- what may run ---------------------------------------------------------------------------- */

static bool extension_allowed(ZydisISAExt e)
{
    switch (e) {
    case ZYDIS_ISA_EXT_BASE:
    case ZYDIS_ISA_EXT_LONGMODE:
    case ZYDIS_ISA_EXT_X87:
    case ZYDIS_ISA_EXT_MMX:
    case ZYDIS_ISA_EXT_SSE:
    case ZYDIS_ISA_EXT_SSE2:
    case ZYDIS_ISA_EXT_SSE3:
    case ZYDIS_ISA_EXT_SSSE3:
    case ZYDIS_ISA_EXT_SSE4:
    case ZYDIS_ISA_EXT_SSE4A:
    case ZYDIS_ISA_EXT_AVX:
    case ZYDIS_ISA_EXT_AVX2:
    case ZYDIS_ISA_EXT_AVX512EVEX:
    case ZYDIS_ISA_EXT_AVX512VEX:
    case ZYDIS_ISA_EXT_AVXAES:
    case ZYDIS_ISA_EXT_AVX_VNNI:
    case ZYDIS_ISA_EXT_ADOX_ADCX:
    case ZYDIS_ISA_EXT_AES:
    case ZYDIS_ISA_EXT_AMD3DNOW:
    case ZYDIS_ISA_EXT_BMI1:
    case ZYDIS_ISA_EXT_BMI2:
    case ZYDIS_ISA_EXT_F16C:
    case ZYDIS_ISA_EXT_FMA:
    case ZYDIS_ISA_EXT_FMA4:
    case ZYDIS_ISA_EXT_GFNI:
    case ZYDIS_ISA_EXT_LZCNT:
    case ZYDIS_ISA_EXT_MOVBE:
    case ZYDIS_ISA_EXT_MOVDIR:
    case ZYDIS_ISA_EXT_PCLMULQDQ:
    case ZYDIS_ISA_EXT_RDRAND:
    case ZYDIS_ISA_EXT_RDSEED:
    case ZYDIS_ISA_EXT_SHA:
    case ZYDIS_ISA_EXT_TBM:
    case ZYDIS_ISA_EXT_VAES:
    case ZYDIS_ISA_EXT_VPCLMULQDQ:
    case ZYDIS_ISA_EXT_XOP:
    case ZYDIS_ISA_EXT_AVX2GATHER: return true;
    default: return false;
    }
}

static bool category_allowed(ZydisInstructionCategory c)
{
    switch (c) {
    case ZYDIS_CATEGORY_CALL:
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
    case ZYDIS_CATEGORY_RET:
    case ZYDIS_CATEGORY_INTERRUPT:
    case ZYDIS_CATEGORY_IO:
    case ZYDIS_CATEGORY_IOSTRINGOP:
    case ZYDIS_CATEGORY_STRINGOP:
    case ZYDIS_CATEGORY_PUSH:
    case ZYDIS_CATEGORY_POP:
    case ZYDIS_CATEGORY_SEGOP:
    case ZYDIS_CATEGORY_SYSTEM:
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_AVX512_4FMAPS:
    case ZYDIS_CATEGORY_AVX512_4VNNIW: return false;
    default: return true;
    }
}

static bool may_run(const ZydisDecodedInstruction *zi)
{
    switch (zi->mnemonic) {
    case ZYDIS_MNEMONIC_CPUID:
    case ZYDIS_MNEMONIC_ENTER:
    case ZYDIS_MNEMONIC_LEAVE:
    case ZYDIS_MNEMONIC_XLAT:
    case ZYDIS_MNEMONIC_MOVDIR64B:
    case ZYDIS_MNEMONIC_HLT:
    case ZYDIS_MNEMONIC_UD0:
    case ZYDIS_MNEMONIC_UD1:
    case ZYDIS_MNEMONIC_UD2: return false;
    default: break;
    }
    const ZydisAccessedFlags *f = zi->cpu_flags;
    if (f && ((f->modified | f->set_0 | f->set_1) & ~(ZydisAccessedFlagsMask)RFLAGS_ARITH))
        return false;
    return extension_allowed(zi->meta.isa_ext) && category_allowed(zi->meta.category);
}

/* ---- which state it uses --------------------------------------------------------------------- */

static u8 gpr_number(ZydisRegister r)
{
    r = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, r);
    return (u8)ZydisRegisterGetId(r) & 15;
}

static bool plan_register(struct thunk_plan *p, const ZydisDecodedOperand *o)
{
    ZydisRegister r = o->reg.value;
    bool written = (o->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != 0;
    u32 id = (u32)(u8)ZydisRegisterGetId(r);
    switch (ZydisRegisterGetClass(r)) {
    case ZYDIS_REGCLASS_GPR8:
    case ZYDIS_REGCLASS_GPR16:
    case ZYDIS_REGCLASS_GPR32:
    case ZYDIS_REGCLASS_GPR64:
        id = gpr_number(r);
        p->gpr_used |= 1u << id;
        if (written) p->gpr_written |= 1u << id;
        if (r >= ZYDIS_REGISTER_AH && r <= ZYDIS_REGISTER_BH) p->high = true;
        if (o->encoding != ZYDIS_OPERAND_ENCODING_NONE) return true;
        p->implicit |= 1u << id;
        if (written) p->implicit_written |= 1u << id;
        return true;
    case ZYDIS_REGCLASS_XMM:
    case ZYDIS_REGCLASS_YMM:
    case ZYDIS_REGCLASS_ZMM:
        p->vec_used |= 1u << (id & 31);
        if (written) p->vec_written |= 1u << (id & 31);
        return true;
    case ZYDIS_REGCLASS_MASK:
        p->k_used |= (u8)(1u << (id & 7));
        if (written) p->k_written |= (u8)(1u << (id & 7));
        return true;
    case ZYDIS_REGCLASS_X87:
    case ZYDIS_REGCLASS_MMX: p->x87 = true; return true;
    case ZYDIS_REGCLASS_FLAGS: return true;
    default: break;
    }
    if (r == ZYDIS_REGISTER_X87CONTROL || r == ZYDIS_REGISTER_X87STATUS ||
        r == ZYDIS_REGISTER_X87TAG) {
        p->x87 = true;
        return true;
    }
    return r == ZYDIS_REGISTER_MXCSR;
}

static bool plan_operands(struct thunk_plan *p)
{
    for (u32 n = 0; n < p->zi.operand_count; n++) {
        const ZydisDecodedOperand *o = &p->op[n];
        if (o->type == ZYDIS_OPERAND_TYPE_MEMORY) {
            if (p->mem || o->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN) return false;
            if (o->mem.type == ZYDIS_MEMOP_TYPE_VSIB) return false;
            p->mem = o;
        } else if (o->type == ZYDIS_OPERAND_TYPE_REGISTER) {
            if (!plan_register(p, o)) return false;
        } else if (o->type != ZYDIS_OPERAND_TYPE_IMMEDIATE) {
            return false;
        }
    }
    return true;
}

/* Give every explicit general register a host register; see the head of this file. */
static bool plan_map(struct thunk_plan *p)
{
    enum { FIXED = 1 << RAX | 1 << RCX | 1 << RDX };
    u32 taken = p->gpr_used & FIXED;
    bool rbx =
        p->zi.mnemonic == ZYDIS_MNEMONIC_CMPXCHG8B || p->zi.mnemonic == ZYDIS_MNEMONIC_CMPXCHG16B;
    if (p->implicit & ~(u32)(FIXED | (rbx ? 1 << RBX : 0))) return false;
    for (u8 n = 0; n < GPRS; n++) p->map.gpr[n] = n;
    for (u8 n = 0; n < GPRS; n++) {
        if (!(p->gpr_used & 1u << n) || (1u << n & FIXED) || (rbx && n == RBX)) continue;
        u8 first = p->high ? RAX : R8, last = p->high ? RDX : R11;
        while (first <= last && taken & 1u << first) first++;
        if (first > last) return false;
        taken |= 1u << first;
        p->map.gpr[n] = first;
    }
    if (p->bt_mem) { /* the bit offset is reduced before the flags are loaded through RAX and RCX */
        p->bt_reg = gpr_number(p->op[1].reg.value);
        p->map.gpr[p->bt_reg] = R11;
    }
    p->map.base = R_MEM;
    p->map.index = REG_NONE;
    return true;
}

static bool writes_conditionally(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_SHL:
    case ZYDIS_MNEMONIC_SHR:
    case ZYDIS_MNEMONIC_SAR:
    case ZYDIS_MNEMONIC_ROL:
    case ZYDIS_MNEMONIC_ROR:
    case ZYDIS_MNEMONIC_RCL:
    case ZYDIS_MNEMONIC_RCR:
    case ZYDIS_MNEMONIC_SHLD:
    case ZYDIS_MNEMONIC_SHRD:
    case ZYDIS_MNEMONIC_BSF:
    case ZYDIS_MNEMONIC_BSR:
    case ZYDIS_MNEMONIC_SALC: return true;
    default: return false;
    }
}
/* AF is undefined after these in the manuals, but no processor leaves it as it was. */
static bool is_logic(ZydisMnemonic m)
{
    return m == ZYDIS_MNEMONIC_AND || m == ZYDIS_MNEMONIC_OR || m == ZYDIS_MNEMONIC_XOR ||
           m == ZYDIS_MNEMONIC_TEST;
}

static void plan_flags(struct thunk_plan *p)
{
    const ZydisAccessedFlags *f = p->zi.cpu_flags;
    if (!f) return;
    u32 sure = (f->modified | f->set_0 | f->set_1) & RFLAGS_ARITH & ~f->undefined;
    u32 write = sure | (f->undefined & RFLAGS_ARITH), read = f->tested & RFLAGS_ARITH;
    if (writes_conditionally(p->zi.mnemonic)) sure = 0;
    else if (is_logic(p->zi.mnemonic)) sure = RFLAGS_ARITH;
    p->flags_out = write != 0;
    p->flags_in = write ? read | (RFLAGS_ARITH & ~sure) : read;
}

static bool is_vector(const struct thunk_plan *p)
{
    switch (p->zi.meta.isa_ext) {
    case ZYDIS_ISA_EXT_BASE:
    case ZYDIS_ISA_EXT_LONGMODE:
    case ZYDIS_ISA_EXT_X87:
    case ZYDIS_ISA_EXT_MMX:
    case ZYDIS_ISA_EXT_BMI1:
    case ZYDIS_ISA_EXT_BMI2:
    case ZYDIS_ISA_EXT_ADOX_ADCX:
    case ZYDIS_ISA_EXT_LZCNT:
    case ZYDIS_ISA_EXT_MOVBE:
    case ZYDIS_ISA_EXT_MOVDIR:
    case ZYDIS_ISA_EXT_RDRAND:
    case ZYDIS_ISA_EXT_RDSEED:
    case ZYDIS_ISA_EXT_TBM: return false;
    default:
        return p->zi.mnemonic != ZYDIS_MNEMONIC_CRC32 && p->zi.mnemonic != ZYDIS_MNEMONIC_POPCNT;
    }
}
/* The x87 opcodes, FISTTP included, which came with SSE3. */
static bool is_x87(const struct thunk_plan *p)
{
    return p->zi.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY &&
           p->zi.opcode_map == ZYDIS_OPCODE_MAP_DEFAULT && p->zi.opcode >= 0xD8 &&
           p->zi.opcode <= 0xDF;
}

/* Integer and data-movement vector instructions neither read nor write MXCSR. When in doubt it is
 * loaded. */
static bool uses_mxcsr(const struct thunk_plan *p)
{
    static const char *const not_fp[] = {"p",       "mov",       "aes",      "sha",    "and",
                                         "or",      "xor",       "unpck",    "blend",  "insert",
                                         "extract", "broadcast", "lddqu",    "gf2p8",  "shuf",
                                         "zero",    "align",     "compress", "expand", "mask"};
    const char *name = ZydisMnemonicGetString(p->zi.mnemonic);
    if (p->zi.mnemonic == ZYDIS_MNEMONIC_LDMXCSR || p->zi.mnemonic == ZYDIS_MNEMONIC_STMXCSR ||
        p->zi.mnemonic == ZYDIS_MNEMONIC_VLDMXCSR || p->zi.mnemonic == ZYDIS_MNEMONIC_VSTMXCSR)
        return true;
    if (p->x87 || !name || !is_vector(p)) return false;
    if (*name == 'v') name++;
    for (u32 n = 0; n < ARRAY_LEN(not_fp); n++)
        if (!strncmp(name, not_fp[n], strlen(not_fp[n]))) return false;
    return true;
}

static void plan_units(struct thunk_plan *p)
{
    if (is_x87(p) || p->zi.meta.isa_ext == ZYDIS_ISA_EXT_X87 ||
        p->zi.meta.isa_ext == ZYDIS_ISA_EXT_MMX || p->zi.meta.isa_ext == ZYDIS_ISA_EXT_AMD3DNOW)
        p->x87 = true;
    p->mxcsr = uses_mxcsr(p);
    if (!p->vec_used && !p->k_used) return;
    switch (p->zi.encoding) {
    case ZYDIS_INSTRUCTION_ENCODING_EVEX: p->vec = VEC_EVEX; break;
    case ZYDIS_INSTRUCTION_ENCODING_VEX:
    case ZYDIS_INSTRUCTION_ENCODING_XOP: p->vec = VEC_VEX; break;
    default: p->vec = VEC_SSE;
    }
}

bool thunk_plan_make(struct thunk_plan *p, const struct insn *i)
{
    static const ZydisMachineMode machine[] = {
        ZYDIS_MACHINE_MODE_LEGACY_16, ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64};
    static const ZydisStackWidth stack[] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32,
                                            ZYDIS_STACK_WIDTH_64};
    ZydisDecoder d;
    memset(p, 0, sizeof *p);
    if (i->mode > ISA_64 || !ZYAN_SUCCESS(ZydisDecoderInit(&d, machine[i->mode], stack[i->mode])) ||
        !ZYAN_SUCCESS(ZydisDecoderDecodeFull(&d, i->bytes, i->len, &p->zi, p->op)))
        return false;
    if (!may_run(&p->zi) || !plan_operands(p)) return false;
    u8 cat = (u8)p->zi.meta.category;
    p->bt_mem = p->mem && cat == ZYDIS_CATEGORY_BITBYTE && p->zi.operand_count_visible == 2 &&
                p->op[1].type == ZYDIS_OPERAND_TYPE_REGISTER &&
                p->op[0].type == ZYDIS_OPERAND_TYPE_MEMORY;
    plan_flags(p);
    plan_units(p);
    return plan_map(p);
}

/* ---- facts the caller needs ------------------------------------------------------------------ */

/* Alignment that a legacy SSE operand or an aligned move must have (SDM vol. 2A 2.4, exception
 * types 1, 2 and 4). */
static u8 required_alignment(const struct thunk_plan *p)
{
    u32 bytes = p->mem->size / 8u;
    switch (p->zi.mnemonic) {
    case ZYDIS_MNEMONIC_CMPXCHG16B: return 16;
    case ZYDIS_MNEMONIC_MOVUPS:
    case ZYDIS_MNEMONIC_MOVUPD:
    case ZYDIS_MNEMONIC_MOVDQU:
    case ZYDIS_MNEMONIC_LDDQU:
    case ZYDIS_MNEMONIC_PCMPESTRI:
    case ZYDIS_MNEMONIC_PCMPESTRM:
    case ZYDIS_MNEMONIC_PCMPISTRI:
    case ZYDIS_MNEMONIC_PCMPISTRM: return 0;
    case ZYDIS_MNEMONIC_VMOVAPS:
    case ZYDIS_MNEMONIC_VMOVAPD:
    case ZYDIS_MNEMONIC_VMOVDQA:
    case ZYDIS_MNEMONIC_VMOVDQA32:
    case ZYDIS_MNEMONIC_VMOVDQA64:
    case ZYDIS_MNEMONIC_VMOVNTPS:
    case ZYDIS_MNEMONIC_VMOVNTPD:
    case ZYDIS_MNEMONIC_VMOVNTDQ:
    case ZYDIS_MNEMONIC_VMOVNTDQA: return (u8)bytes;
    default: break;
    }
    return p->zi.encoding == ZYDIS_INSTRUCTION_ENCODING_LEGACY && bytes == 16 && is_vector(p) ? 16
                                                                                              : 0;
}

static bool has_fault_suppression(const ZydisDecodedInstruction *zi)
{
    switch (zi->mnemonic) { /* E4NF in the manual, E4 in Zydis 4.0.0 */
    case ZYDIS_MNEMONIC_VDBPSADBW:
    case ZYDIS_MNEMONIC_VGF2P8AFFINEQB:
    case ZYDIS_MNEMONIC_VGF2P8AFFINEINVQB:
    case ZYDIS_MNEMONIC_VCVTNE2PS2BF16: return false;
    default: break;
    }
    switch (zi->meta.exception_class) {
    case ZYDIS_EXCEPTION_CLASS_E1:
    case ZYDIS_EXCEPTION_CLASS_E2:
    case ZYDIS_EXCEPTION_CLASS_E3:
    case ZYDIS_EXCEPTION_CLASS_E4:
    case ZYDIS_EXCEPTION_CLASS_E5:
    case ZYDIS_EXCEPTION_CLASS_E6:
    case ZYDIS_EXCEPTION_CLASS_E10:
    case ZYDIS_EXCEPTION_CLASS_E11: return true;
    default: return false;
    }
}

/* How many elements the operation has: more than the memory operand when that is broadcast. */
static u8 broadcast_elements(const struct thunk_plan *p, u8 elems)
{
    switch (p->zi.avx.broadcast.mode) {
    case ZYDIS_BROADCAST_MODE_INVALID: return elems;
    case ZYDIS_BROADCAST_MODE_1_TO_2: return 2;
    case ZYDIS_BROADCAST_MODE_1_TO_4: return 4;
    case ZYDIS_BROADCAST_MODE_1_TO_8: return 8;
    case ZYDIS_BROADCAST_MODE_1_TO_16: return 16;
    case ZYDIS_BROADCAST_MODE_1_TO_32: return 32;
    case ZYDIS_BROADCAST_MODE_1_TO_64: return 64;
    default: return (u8)p->op[0].element_count;
    }
}

static void describe_touch(struct native_thunk *m, const struct thunk_plan *p)
{
    const ZydisDecodedInstruction *zi = &p->zi;
    ZydisMnemonic mn = zi->mnemonic;
    m->elem_bytes = (u8)(p->mem->element_size / 8);
    m->elems = (u8)p->mem->element_count;
    if (mn == ZYDIS_MNEMONIC_VMASKMOVPS || mn == ZYDIS_MNEMONIC_VMASKMOVPD ||
        mn == ZYDIS_MNEMONIC_VPMASKMOVD || mn == ZYDIS_MNEMONIC_VPMASKMOVQ) {
        bool d = mn == ZYDIS_MNEMONIC_VMASKMOVPS || mn == ZYDIS_MNEMONIC_VPMASKMOVD;
        m->touch = TOUCH_SIGN;
        m->mask = (u8)ZydisRegisterGetId(p->op[1].reg.value) & 31;
        m->elem_bytes = d ? 4 : 8;
        m->elems = (u8)(p->mem->size / 8u / m->elem_bytes);
        return;
    }
    if (zi->encoding != ZYDIS_INSTRUCTION_ENCODING_EVEX || zi->avx.mask.reg == ZYDIS_REGISTER_K0 ||
        zi->avx.mask.reg == ZYDIS_REGISTER_NONE)
        return;
    m->mask = (u8)ZydisRegisterGetId(zi->avx.mask.reg) & 7;
    if (zi->meta.category == ZYDIS_CATEGORY_COMPRESS ||
        zi->meta.category == ZYDIS_CATEGORY_EXPAND) {
        m->touch = TOUCH_PACKED;
        m->mask_bits = m->elems;
    } else if (has_fault_suppression(zi)) {
        m->touch = TOUCH_OPMASK;
        m->mask_bits = broadcast_elements(p, m->elems);
    } else if (p->mem->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) {
        m->flags |= THUNK_MERGES;
    }
}

static bool sets_x87_pointers(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_FNCLEX:
    case ZYDIS_MNEMONIC_FNINIT:
    case ZYDIS_MNEMONIC_FLDCW:
    case ZYDIS_MNEMONIC_FNSTCW:
    case ZYDIS_MNEMONIC_FNSTSW:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FLDENV:
    case ZYDIS_MNEMONIC_FNSAVE:
    case ZYDIS_MNEMONIC_FRSTOR:
    case ZYDIS_MNEMONIC_FDISI8087_NOP:
    case ZYDIS_MNEMONIC_FENI8087_NOP:
    case ZYDIS_MNEMONIC_FSETPM287_NOP:
    case ZYDIS_MNEMONIC_FWAIT:
    case ZYDIS_MNEMONIC_EMMS: return false;
    default: return true;
    }
}

/* Whether a pending unmasked exception (FSW.ES) is taken first. */
static bool waits(ZydisMnemonic m)
{
    switch (m) {
    case ZYDIS_MNEMONIC_FNCLEX:
    case ZYDIS_MNEMONIC_FNINIT:
    case ZYDIS_MNEMONIC_FNSTCW:
    case ZYDIS_MNEMONIC_FDISI8087_NOP:
    case ZYDIS_MNEMONIC_FENI8087_NOP:
    case ZYDIS_MNEMONIC_FSETPM287_NOP:
    case ZYDIS_MNEMONIC_FNSTSW:
    case ZYDIS_MNEMONIC_FNSTENV:
    case ZYDIS_MNEMONIC_FNSAVE: return false;
    default: return true;
    }
}

void thunk_plan_describe(struct native_thunk *m, const struct thunk_plan *p, const u8 *insn,
                         u32 len)
{
    if (p->mem) {
        m->align = required_alignment(p);
        describe_touch(m, p);
        if (p->zi.mnemonic == ZYDIS_MNEMONIC_VCVTPS2PH) m->flags |= THUNK_STORES_LATE;
    }
    if (!p->x87) return;
    m->flags |= waits(p->zi.mnemonic) ? THUNK_WAITS : 0;
    if (!is_x87(p) || !sets_x87_pointers(p->zi.mnemonic)) return;
    m->flags |= THUNK_X87_PTR;
    m->guest_fop = (u16)((p->zi.opcode & 7) << 8 | p->zi.raw.modrm.mod << 6 |
                         p->zi.raw.modrm.reg << 3 | p->zi.raw.modrm.rm);
    m->fop = p->mem && len >= 2 ? (u16)((p->zi.opcode & 7) << 8 | insn[len - 1]) : m->guest_fop;
}

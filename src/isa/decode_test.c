/* decode_test - hand-picked encodings in the three code sizes with the fields they must give, the
 * row table, and random bytes against Zydis itself. */
#include "base/test.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <Zydis/Zydis.h>

#include "isa/cond.h"
#include "isa/feature.h"
#include "isa/insn.h"

static struct insn decode(enum isa_mode mode, const char *hex)
{
    struct insn i;
    u8 code[16] = {0};
    u32 n = 0;
    for (; hex[2 * n]; n++) {
        unsigned val;
        assert_int_equal(sscanf(hex + 2 * n, "%2x", &val), 1);
        code[n] = (u8)val;
    }
    int len = isa_decode(&i, code, n, mode);
    if (len != (int)n) print_error("%s: length %d\n", hex, len);
    assert_int_equal(len, n);
    assert_int_equal(i.len, n);
    assert_memory_equal(i.bytes, code, n);
    assert_null(i.exec);
    return i;
}

static void check_row(enum isa_mode mode, const char *hex, const char *name, u16 form)
{
    struct insn i = decode(mode, hex);
    if (!name) {
        assert_int_equal(i.row, INSN_COMPUTE);
        return;
    }
    if (i.row == INSN_COMPUTE || i.row == INSN_UD)
        print_error("%s: row %d, wanted %s\n", hex, i.row, name);
    assert_in_range(i.row, 1, insn_rows_count - 1);
    assert_string_equal(insn_rows[i.row].name, name);
    assert_int_equal(insn_rows[i.row].form, form);
}

/* ---- rows ------------------------------------------------------------------------------------ */

static void rows_by_form(void **state)
{
    static const struct {
        u8 mode;
        const char *hex, *name;
        u16 form;
    } t[] = {
        {ISA_64, "4889c8", NULL, 0},
        {ISA_64, "8ed8", "MOV", FORM_SEG_W},
        {ISA_64, "668cd8", "MOV", FORM_SEG_R},
        {ISA_64, "0f20d8", "MOV", FORM_CR_R},
        {ISA_64, "0f22d8", "MOV", FORM_CR_W},
        {ISA_64, "440f22c0", "MOV", FORM_CR_W},
        {ISA_64, "0f21f8", "MOV", FORM_DR_R},
        {ISA_64, "0f23f8", "MOV", FORM_DR_W},
        {ISA_64, "48a10000000000000000", NULL, 0},
        {ISA_64, "a5", "MOVSD", FORM_STRING},
        {ISA_64, "f20f10c1", NULL, 0},
        {ISA_64, "a7", "CMPSD", FORM_STRING},
        {ISA_64, "f20fc2c100", NULL, 0},
        {ISA_64, "e800000000", "CALL", FORM_REL},
        {ISA_64, "ffd0", "CALL", FORM_RM},
        {ISA_64, "ff1424", "CALL", FORM_RM},
        {ISA_64, "ff1c24", "CALL", FORM_FAR},
        {ISA_32, "9a000000001000", "CALL", FORM_FAR},
        {ISA_64, "eb00", "JMP", FORM_REL},
        {ISA_64, "ffe0", "JMP", FORM_RM},
        {ISA_64, "ff28", "JMP", FORM_FAR},
        {ISA_16, "ea00001000", "JMP", FORM_FAR},
        {ISA_64, "c3", "RET", FORM_ANY},
        {ISA_64, "c21000", "RET", FORM_ANY},
        {ISA_64, "cb", "RET", FORM_FAR},
        {ISA_64, "50", "PUSH", FORM_REG},
        {ISA_64, "6a7f", "PUSH", FORM_IMM},
        {ISA_64, "ff30", "PUSH", FORM_MEM},
        {ISA_64, "fff0", "PUSH", FORM_REG},
        {ISA_64, "0fa0", "PUSH", FORM_SEG_R},
        {ISA_32, "0e", "PUSH", FORM_SEG_R},
        {ISA_32, "1f", "POP", FORM_SEG_W},
        {ISA_64, "8f00", "POP", FORM_MEM},
        {ISA_64, "48cf", "IRETQ", FORM_ANY},
        {ISA_64, "ec", "IN", FORM_ANY},
        {ISA_64, "6c", "INSB", FORM_STRING},
        {ISA_64, "f30f1efa", "NOP", FORM_ANY},
        {ISA_64, "f3480f1ec8", "NOP", FORM_ANY},
        {ISA_64, "0f0d08", "PREFETCHW", FORM_ANY},
        {ISA_64, "0f01c1", "VMCALL", FORM_ANY},
        {ISA_64, "0f05", "SYSCALL", FORM_ANY},
        {ISA_64, "0fae00", "FXSAVE", FORM_ANY},
        {ISA_64, "480fc720", "XSAVEC64", FORM_ANY},
        {ISA_64, "d7", "XLAT", FORM_ANY},
        {ISA_64, "90", "NOP", FORM_ANY},
        {ISA_64, "4190", NULL, 0}, /* XCHG R8D, EAX */
        {ISA_64, "f390", "PAUSE", FORM_ANY},
        {ISA_64, "0fc70f", NULL, 0},
        {ISA_64, "f00fb10f", NULL, 0},
        {ISA_64, "0fa308", NULL, 0},
        {ISA_64, "9c", "PUSHFQ", FORM_ANY},
        {ISA_64, "c4e2f8f2c0", NULL, 0},
        {ISA_32, "6200", "BOUND", FORM_ANY},
        {ISA_32, "63c0", "ARPL", FORM_ANY},
        {ISA_64, "4863c0", NULL, 0}, /* MOVSXD */
        {ISA_32, "c500", "LDS", FORM_ANY},
        {ISA_64, "f30f09", "WBINVD", FORM_ANY},
    };
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(t); k++) check_row(t[k].mode, t[k].hex, t[k].name, t[k].form);
}

/* Decodable, but nothing we offer. */
static void sets_not_offered(void **state)
{
    static const char *const hex[] = {
        "0f01c2",       /* VMLAUNCH */ "0f01d8",  /* VMRUN */ "0f01dd",  /* CLGI */
        "c7f800000000", /* XBEGIN */ "0f01d5",    /* XEND */ "0f01cf",   /* ENCLS */
        "0f0fc10d",     /* PI2FD */ "8fe97801c8", /* XOP/TBM */ "0faa",  /* RSM */
        "0fc730",       /* VMPTRLD */ "f30fc7f0", /* SENDUIPI */ "0f37", /* GETSEC */
        "660faef0",     /* TPAUSE */ "0f78c0",                           /* VMREAD */
    };
    struct insn i;
    u8 code[8];
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(hex); k++) {
        u32 n = 0;
        for (unsigned val; hex[k][2 * n] && sscanf(hex[k] + 2 * n, "%2x", &val) == 1; n++)
            code[n] = (u8)val;
        int len = isa_decode(&i, code, n, ISA_64);
        if (i.row != INSN_UD) print_error("%s: offered, row %d\n", hex[k], i.row);
        assert_int_equal(i.row, INSN_UD);
        assert_true(len == -1 || len == (int)n);
    }
}

static void table_is_consistent(void **state)
{
    (void)state;
    assert_int_equal(insn_rows[0].class, C_COMPUTE);
    for (u32 a = 1; a < insn_rows_count; a++) {
        const struct insn_row *r = &insn_rows[a];
        assert_int_not_equal(r->class, C_COMPUTE);
        assert_true(strlen(r->spec) > 4);
        assert_false(r->attr & A_NO64 && r->attr & A_ONLY64);
        const char *zydis = ZydisMnemonicGetString((ZydisMnemonic)r->mnemonic);
        assert_int_equal(strcasecmp(zydis, r->name), 0);
        for (u32 b = a + 1; b < insn_rows_count; b++) {
            const struct insn_row *o = &insn_rows[b];
            if (o->mnemonic != r->mnemonic) continue;
            assert_int_equal(insn_rows[b - 1].mnemonic, r->mnemonic); /* forms stand together */
            if (r->form == FORM_ANY) fail_msg("%s: a form after ANY is never reached", r->name);
            if (o->form != FORM_ANY) assert_false(o->form & r->form);
        }
    }
}

/* ---- fields ---------------------------------------------------------------------------------- */

static void memory_operands(void **state)
{
    (void)state;
    struct insn i = decode(ISA_64, "488b44cb10"); /* MOV RAX, [RBX+RCX*8+10h] */
    assert_int_equal(i.opsize, 8);
    assert_int_equal(i.addrsize, 8);
    assert_int_equal(i.base, RBX);
    assert_int_equal(i.index, RCX);
    assert_int_equal(i.scale, 3);
    assert_int_equal(i.disp, 0x10);
    assert_int_equal(i.seg, DS);
    assert_int_equal(i.mem_bytes, 8);
    assert_int_equal(i.mem_rw, OPND_R);
    assert_int_equal(i.opnds, 2);
    assert_int_equal(i.op[0].kind, OPND_REG);
    assert_int_equal(i.op[0].file, RF_GPR);
    assert_int_equal(i.op[0].reg, RAX);
    assert_int_equal(i.op[0].rw, OPND_W);
    assert_int_equal(i.op[1].kind, OPND_MEM);
    assert_int_equal(i.modrm, 0x44);
    assert_int_equal(i.opcode, 0x8B);

    i = decode(ISA_64, "8b0d00010000"); /* MOV ECX, [RIP+100h] */
    assert_int_equal(i.base, BASE_RIP);
    assert_int_equal(i.index, REG_NONE);
    assert_int_equal(i.disp, 0x100);
    i = decode(ISA_64, "678b45fc"); /* [EBP-4] */
    assert_int_equal(i.addrsize, 4);
    assert_int_equal(i.disp, -4);
    assert_int_equal(i.seg, SS);
    i = decode(ISA_16, "8b42fe"); /* [BP+SI-2] */
    assert_int_equal(i.base, RBP);
    assert_int_equal(i.index, RSI);
    assert_int_equal(i.seg, SS);
    assert_int_equal(i.opsize, 2);
    assert_int_equal(i.addrsize, 2);
    i = decode(ISA_16, "66678b0485efbeadde"); /* MOV EAX, [EAX*4+0DEADBEEFh] */
    assert_int_equal(i.opsize, 4);
    assert_int_equal(i.addrsize, 4);
    assert_int_equal(i.base, REG_NONE);
    assert_int_equal((u32)i.disp, 0xDEADBEEF);
    i = decode(ISA_64, "488d442408"); /* LEA */
    assert_int_equal(i.mem_rw, 0);
    assert_int_equal(i.mem_bytes, 0);
    assert_int_equal(i.base, RSP);
    i = decode(ISA_64, "f0480fc10f"); /* LOCK XADD [RDI], RCX */
    assert_int_equal(i.mem_rw, OPND_R | OPND_W);
    assert_int_equal(i.prefixes, PFX_LOCK);
    i = decode(ISA_64, "0ff7c1"); /* MASKMOVQ: hidden [RDI] */
    assert_int_equal(i.base, RDI);
    assert_int_equal(i.mem_bytes, 8);
    assert_int_equal(i.mem_rw, OPND_W);
    i = decode(ISA_64, "50"); /* the stack is no memory operand */
    assert_int_equal(i.mem_bytes, 0);
    assert_int_equal(i.base, REG_NONE);
}

static void segments(void **state)
{
    (void)state;
    assert_int_equal(decode(ISA_64, "2e8b00").seg, DS);
    assert_int_equal(decode(ISA_64, "268b4500").seg, SS);
    assert_int_equal(decode(ISA_64, "65488b042528000000").seg, GS);
    assert_int_equal(decode(ISA_64, "648b00").seg, FS);
    assert_int_equal(decode(ISA_32, "2e8b00").seg, CS);
    assert_int_equal(decode(ISA_32, "3e8b4500").seg, DS);
    assert_int_equal(decode(ISA_32, "26a4").seg, ES);
    assert_int_equal(decode(ISA_64, "65a4").seg, GS);
    assert_int_equal(decode(ISA_32, "36d7").seg, SS);
    assert_int_equal(decode(ISA_32, "aa").seg, DS);
}

static void registers(void **state)
{
    (void)state;
    struct insn i = decode(ISA_64, "88e1"); /* MOV CL, AH */
    assert_int_equal(i.op[1].file, RF_GPR_HIGH);
    assert_int_equal(i.op[1].reg, 0);
    i = decode(ISA_64, "4088e1"); /* MOV CL, SPL */
    assert_int_equal(i.op[1].file, RF_GPR);
    assert_int_equal(i.op[1].reg, RSP);
    i = decode(ISA_64, "4588f7"); /* MOV R15B, R14B */
    assert_int_equal(i.op[0].reg, R15);
    assert_int_equal(i.op[1].reg, R14);
    i = decode(ISA_64, "62017c4058c0"); /* VADDPS ZMM24, ZMM16, ZMM24 */
    assert_int_equal(i.op[0].file, RF_VEC);
    assert_int_equal(i.op[0].reg, 24);
    assert_int_equal(i.op[0].bytes, 64);
    assert_int_equal(i.opnds, 3); /* the opmask is not counted */
    i = decode(ISA_64, "440f22c0");
    assert_int_equal(i.op[0].file, RF_CR);
    assert_int_equal(i.op[0].reg, 8);
}

static void immediates(void **state)
{
    (void)state;
    assert_int_equal(decode(ISA_64, "4883c0ff").imm, ~0ull);
    assert_int_equal(decode(ISA_64, "48b88877665544332211").imm, 0x1122334455667788);
    assert_int_equal(decode(ISA_64, "7efe").imm, ~0ull - 1);
    assert_int_equal(decode(ISA_64, "c21000").imm, 0x10);
    struct insn i = decode(ISA_64, "c8100003");
    assert_int_equal(i.imm, 0x10);
    assert_int_equal(i.imm2, 3);
    i = decode(ISA_32, "ea785634121000");
    assert_int_equal(i.imm, 0x12345678);
    assert_int_equal(i.imm2, 0x10);
    assert_int_equal(i.op[0].kind, OPND_FAR);
}

static void stack_sizes(void **state)
{
    static const struct {
        u8 mode;
        const char *hex;
        u8 bytes;
    } t[] = {
        {ISA_64, "50", 8},         {ISA_64, "6650", 2}, {ISA_64, "664850", 8}, {ISA_64, "66c3", 8},
        {ISA_64, "cb", 4},         {ISA_64, "48cb", 8}, {ISA_64, "66cb", 2},   {ISA_64, "48cf", 8},
        {ISA_32, "50", 4},         {ISA_32, "6650", 2}, {ISA_32, "c3", 4},     {ISA_32, "66c3", 2},
        {ISA_16, "50", 2},         {ISA_16, "6650", 4}, {ISA_16, "60", 2},     {ISA_16, "66cf", 4},
        {ISA_64, "6aff", 8},       {ISA_64, "9c", 8},   {ISA_64, "669d", 2},   {ISA_64, "c9", 8},
        {ISA_16, "66c8100001", 4},
    };
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(t); k++) {
        assert_int_equal(decode(t[k].mode, t[k].hex).stack_bytes, t[k].bytes);
    }
}

static void fpu_classes(void **state)
{
    static const struct {
        const char *hex;
        u8 fpu;
    } t[] = {
        {"d9e8", FPU_X87},        {"df08", FPU_X87},
        {"9b", FPU_WAIT},         {"0f77", FPU_MMX},
        {"0f6ec0", FPU_MMX},      {"660f6ec0", FPU_SSE},
        {"0f2ac0", FPU_SSE},      {"f20f2d00", FPU_SSE},
        {"f3480f2c00", FPU_SSE},  {"98", FPU_NONE},
        {"0fae18", FPU_SSE},      {"0fae00", FPU_X87},
        {"0fae20", FPU_NONE},     {"c5f877", FPU_AVX},
        {"c5fc58c0", FPU_AVX},    {"62f17c4858c0", FPU_AVX512},
        {"c5f892c0", FPU_AVX512}, {"c4e2f8f2c0", FPU_VEX},
        {"f20f38f1c0", FPU_NONE}, {"f30fb8c0", FPU_NONE},
        {"0faef0", FPU_NONE},     {"0fc300", FPU_NONE},
        {"0f38c8c1", FPU_SSE},

        {"0fe700", FPU_MMX},      {"01c0", FPU_NONE},
    };
    struct insn i;
    (void)state;
    for (size_t k = 0; k < ARRAY_LEN(t); k++) {
        i = decode(ISA_64, t[k].hex);
        if (i.fpu != t[k].fpu) print_error("%s: class %d\n", t[k].hex, i.fpu);
        assert_int_equal(i.fpu, t[k].fpu);
    }
}

static void features(void **state)
{
    (void)state;
    assert_int_equal(decode(ISA_64, "c5fc58c0").feature[0], FEAT_AVX);
    struct insn i = decode(ISA_64, "62f17c2858c0"); /* VADDPS YMM, EVEX */
    assert_int_equal(i.feature[0], FEAT_AVX512F);
    assert_int_equal(i.feature[1], FEAT_AVX512VL);
    assert_int_equal(decode(ISA_64, "01c0").feature[0], FEAT_BASE);
    assert_int_equal(decode(ISA_64, "9f").feature[0], FEAT_LAHF_LM);
    assert_int_equal(decode(ISA_32, "9f").feature[0], FEAT_BASE);
    assert_int_equal(decode(ISA_64, "f30fbcc0").feature[0], FEAT_BMI1);
}

static void flags_and_prefixes(void **state)
{
    (void)state;
    struct insn i = decode(ISA_64, "11c0"); /* ADC */
    assert_int_equal(i.flags_r, IF_CF);
    assert_int_equal(i.flags_w, IF_ALL);
    assert_int_equal(decode(ISA_64, "ffc0").flags_w, IF_ALL & ~IF_CF);
    assert_int_equal(decode(ISA_64, "d3e0").flags_r & IF_ALL,
                     IF_ALL); /* SHL by CL keeps them for 0 */
    assert_int_equal(decode(ISA_64, "7c00").flags_r, IF_SF | IF_OF);
    assert_int_equal(decode(ISA_64, "7c00").cc, 12);
    assert_int_equal(decode(ISA_64, "0f4fc0").cc, 15);
    assert_int_equal(decode(ISA_64, "f2a4").prefixes, PFX_REPNE);
    assert_int_equal(decode(ISA_64, "f2f3a4").prefixes, PFX_REP);
    assert_int_equal(decode(ISA_64, "660f58c0").prefixes & (PFX_REP | PFX_REPNE), 0);
    assert_int_equal(decode(ISA_64, "f30f58c0").prefixes, 0);
}

static void lengths_and_errors(void **state)
{
    static const u8 many[16] = {0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
                                0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x90};
    struct insn i;
    (void)state;
    assert_int_equal(isa_decode(&i, many, 16, ISA_64), -2);
    assert_int_equal(isa_decode(&i, many, 15, ISA_64), -2);
    assert_int_equal(isa_decode(&i, many, 14, ISA_64), 0);
    assert_int_equal(isa_decode(&i, many + 1, 15, ISA_64), 15);
    assert_int_equal(isa_decode(&i, (const u8 *)"\xe8\0\0", 3, ISA_64), 0);
    assert_int_equal(isa_decode(&i, (const u8 *)"", 0, ISA_64), 0);
    assert_int_equal(isa_decode(&i, (const u8 *)"\x06\0\0", 3, ISA_64), -1);
    assert_int_equal(i.row, INSN_UD);
    assert_int_equal(i.len, 0);
    assert_int_equal(isa_decode(&i, (const u8 *)"\xf0\x01\xc0", 3, ISA_64),
                     -1); /* LOCK, register */
    assert_int_equal(isa_decode(&i, (const u8 *)"\xf0\x01\x00", 3, ISA_64), 3);
}

static void formats(void **state)
{
    char buf[64], tiny[4];
    (void)state;
    struct insn i = decode(ISA_64, "488b442408");
    assert_string_equal(isa_format(&i, 0, buf, sizeof buf), "mov rax, [rsp+0x08]");
    assert_true(strlen(isa_format(&i, 0, tiny, sizeof tiny)) < sizeof tiny);
    i.len = 0;
    assert_string_equal(isa_format(&i, 0, buf, sizeof buf), "(bad)");
}

/* ---- random bytes ---------------------------------------------------------------------------- */

static u64 next_random(u64 *s)
{
    *s ^= *s << 13;
    *s ^= *s >> 7;
    *s ^= *s << 17;
    return *s;
}

static void random_bytes(void **state)
{
    static const ZydisMachineMode mm[] = {ZYDIS_MACHINE_MODE_LEGACY_16,
                                          ZYDIS_MACHINE_MODE_LEGACY_32, ZYDIS_MACHINE_MODE_LONG_64};
    static const ZydisStackWidth sw[] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32,
                                         ZYDIS_STACK_WIDTH_64};
    ZydisDecoder d[3];
    ZydisDecodedInstruction zi;
    u64 seed = 0x9E3779B97F4A7C15ull;
    (void)state;
    for (int m = 0; m < 3; m++) {
        ZydisDecoderInit(&d[m], mm[m], sw[m]);
        ZydisDecoderEnableMode(&d[m], ZYDIS_DECODER_MODE_MPX, ZYAN_FALSE);
        ZydisDecoderEnableMode(&d[m], ZYDIS_DECODER_MODE_CET, ZYAN_FALSE);
        ZydisDecoderEnableMode(&d[m], ZYDIS_DECODER_MODE_CLDEMOTE, ZYAN_FALSE);
    }
    for (u32 n = 0; n < 1000000; n++) {
        struct insn i;
        u64 code[2] = {next_random(&seed), next_random(&seed)};
        if (n & 1)
            ((u8 *)code)[0] = (u8[]){0x0F, 0x62, 0xC5, 0xC4, 0x66, 0xF3, 0x48, 0xF0}[n >> 1 & 7];
        u32 avail = 1 + n % 16;
        enum isa_mode m = n % 3;
        int len = isa_decode(&i, (const u8 *)code, avail, m);
        ZyanStatus s =
            ZydisDecoderDecodeInstruction(&d[m], NULL, code, avail > 15 ? 15 : avail, &zi);
        assert_in_range(len + 2, 0, 17);
        assert_int_equal(len > 0, ZYAN_SUCCESS(s));
        if (len <= 0) continue;
        assert_int_equal(len, zi.length);
        assert_true(i.row < insn_rows_count || i.row == INSN_UD);
        assert_true(i.base < GPRS || i.base == BASE_RIP || i.base == REG_NONE);
        assert_in_range(i.seg, 0, SEGS - 1);
        assert_in_range(i.fpu, 0, FPU_CLASSES - 1);
        assert_true(i.opnds <= INSN_OPNDS && i.scale < 4);
        for (u32 k = 0; k < i.opnds; k++) {
            if (i.op[k].kind == OPND_REG && i.op[k].file == RF_GPR)
                assert_in_range(i.op[k].reg, 0, GPRS - 1);
            if (i.op[k].kind == OPND_REG && i.op[k].file == RF_SEG)
                assert_in_range(i.op[k].reg, 0, SEGS - 1);
        }
        if (i.row == INSN_COMPUTE) assert_false(zi.attributes & ZYDIS_ATTRIB_IS_PRIVILEGED);
    }
}

static void conditions(void **state)
{
    (void)state;
    for (u32 n = 0; n < 32; n++) {
        bool cf = n & 1, pf = n & 2, zf = n & 4, sf = n & 8, of = n & 16;
        u64 f = 0x202 | (u64)cf | (u64)pf << 2 | (u64)zf << 6 | (u64)sf << 7 | (u64)of << 11;
        bool want[8] = {of, cf, zf, cf || zf, sf, pf, sf != of, zf || sf != of};
        for (u8 cc = 0; cc < 16; cc++) assert_int_equal(cond_holds(cc, f), want[cc / 2] ^ (cc & 1));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_by_form),
        cmocka_unit_test(sets_not_offered),
        cmocka_unit_test(table_is_consistent),
        cmocka_unit_test(memory_operands),
        cmocka_unit_test(segments),
        cmocka_unit_test(registers),
        cmocka_unit_test(immediates),
        cmocka_unit_test(stack_sizes),
        cmocka_unit_test(fpu_classes),
        cmocka_unit_test(features),
        cmocka_unit_test(flags_and_prefixes),
        cmocka_unit_test(lengths_and_errors),
        cmocka_unit_test(formats),
        cmocka_unit_test(random_bytes),
        cmocka_unit_test(conditions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* engine/common/native.c - see native.h. native_exec() is only the first visit: it builds or finds
 * the thunk and puts a narrower function into the decoded instruction. That is why exec functions
 * here write to an instruction they are given as const: no instruction object is ever in read-only
 * memory, and exec and thunk are caches by their declaration. A register-only integer instruction
 * then runs its thunk directly; the thunk has the signature of an exec function. */
#include "engine/common/native.h"

#include <stdlib.h>
#include <string.h>

#include "cpu/x87.h"
#include "engine/common/native_internal.h"
#include "isa/head.h"

/* The thunk of instructions with the same head (isa/head.h), numbers of registers included: they
 * differ in displacement, which is none of its business, and immediate. */
struct known_thunk {
    u64 head; /* its bytes, length and mode in the top byte; 0: unused */
    u64 imm;
    const struct native_thunk *thunk;
    bool any_imm;
};
enum { KNOWN_BITS = 11 };
struct native_state {
    struct native_cache cache;
    struct known_thunk known[1 << KNOWN_BITS];
};

int native_init(struct vcpu *v, struct err *e)
{
    struct native_state *s = calloc(1, sizeof *s);
    if (!s) return err_set(e, E_NOMEM, "native: state");
    int r = native_cache_init(&s->cache, e);
    if (r < 0) goto free_state;
    r = native_fault_register(&s->cache, e);
    if (r < 0) goto fini_cache;
    v->native_state = s;
    return 0;
fini_cache:
    native_cache_fini(&s->cache);
free_state:
    free(s);
    return r;
}

void native_fini(struct vcpu *v)
{
    struct native_state *s = v->native_state;
    if (!s) return;
    native_fault_unregister(&s->cache);
    native_cache_fini(&s->cache);
    free(s);
    v->native_state = NULL;
}

bool native_misaligned(const struct vcpu *v, const struct insn *i, gva_t lin)
{
    u32 size = i->mem_bytes == 10 ? 8 : i->mem_bytes;
    if (i->mem_bytes > ACCESS_BYTES_MAX || i->mem_bytes == 28) size = 4; /* x87 environments */
    if (i->mem_bytes == 14 || i->mem_bytes == 94) size = 2;
    if (!(v->cr0 & CR0_AM) || v->cpl != 3 || size > 8 || (size & (size - 1))) return false;
    return (lin & (size - 1)) != 0;
}

/* Operands wider than an access_map: FNSAVE and FRSTOR. Copied in and out whole, checked for
 * writing before anything runs. */
static enum x_result run_wide(struct vcpu *v, const struct insn *i, const struct native_thunk *t,
                              gva_t lin)
{
    u8 buf[128] __attribute__((aligned(64))) = {0};
    if (i->mem_bytes > sizeof buf) return vcpu_raise(v, EXC_UD);
    if (i->mem_rw & OPND_R && vcpu_read(v, lin, buf, i->mem_bytes)) return X_FAULT;
    if (i->mem_rw & OPND_W && v->mmu->probe(v, lin, i->mem_bytes, ACC_WRITE, false)) return X_FAULT;
    if (t->code(v, buf, i)) return X_FAULT;
    if (i->mem_rw & OPND_W && vcpu_write(v, lin, buf, i->mem_bytes)) return X_FAULT;
    return X_NEXT;
}

enum x_result native_run(struct vcpu *v, const struct insn *i, const struct native_thunk *t,
                         gva_t lin)
{
    struct access_map m;
    if (t->flags & THUNK_STORES_LATE) {
        u8 buf[ACCESS_BOUNCE_BYTES] __attribute__((aligned(64)));
        return t->code(v, buf, i) || vcpu_write(v, lin, buf, i->mem_bytes) ? X_FAULT : X_NEXT;
    }
    if (native_alignment_fault(v, i, lin)) return vcpu_raise_err(v, EXC_AC, 0);
    if (unlikely(i->mem_bytes > ACCESS_BYTES_MAX)) return run_wide(v, i, t, lin);
    u8 rw = i->mem_rw | (t->flags & THUNK_MERGES ? OPND_R : 0);
    if (vcpu_map(v, lin, i->mem_bytes, rw, &m)) return X_FAULT;
    if (t->code(v, m.ptr, i)) return X_FAULT;
    vcpu_unmap(v, &m);
    return X_NEXT;
}

static enum x_result exec_mem(struct vcpu *v, const struct insn *i)
{
    const struct native_thunk *t = i->thunk;
    gva_t lin;
    if (insn_linear(v, i, &lin)) return X_FAULT;
    hva_t p = tlb_find(v, lin, i->mem_bytes, i->mem_rw & OPND_W ? ACC_WRITE : ACC_READ);
    if (likely(p != NULL) && likely(!(v->rflags & RFLAGS_AC))) return t->code(v, p, i);
    return native_run(v, i, t, lin);
}

/* Anything with a memory operand that exec_mem is too simple for. */
static enum x_result exec_mem_checked(struct vcpu *v, const struct insn *i)
{
    const struct native_thunk *t = i->thunk;
    gva_t lin;
    if (unlikely(v->fpu_fault[i->fpu])) return vcpu_raise(v, v->fpu_fault[i->fpu]);
    if (t->flags & THUNK_WAITS && v->fx.fsw & FSW_ERROR) return vcpu_raise(v, EXC_MF);
    if (t->touch != TOUCH_ALL) return native_run_partial(v, i, t);
    if (is_misaligned(v, i, t->align)) return vcpu_raise_err(v, EXC_GP, 0);
    if (insn_linear(v, i, &lin)) return X_FAULT;
    return native_run(v, i, t, lin);
}

/* SSE and AVX with an ordinary memory operand. */
static enum x_result exec_mem_vec(struct vcpu *v, const struct insn *i)
{
    const struct native_thunk *t = i->thunk;
    if (unlikely(v->fpu_fault[i->fpu])) return vcpu_raise(v, v->fpu_fault[i->fpu]);
    if (unlikely(is_misaligned(v, i, t->align))) return vcpu_raise_err(v, EXC_GP, 0);
    return exec_mem(v, i);
}

static enum x_result exec_reg_fpu(struct vcpu *v, const struct insn *i)
{
    const struct native_thunk *t = i->thunk;
    if (unlikely(v->fpu_fault[i->fpu])) return vcpu_raise(v, v->fpu_fault[i->fpu]);
    return t->code(v, (void *)(uintptr_t)i, i);
}

/* FST, FIST, FBSTP: an unmasked invalid operation, overflow or underflow leaves memory untouched,
 * and unaccessed. So the result goes to a buffer first; when it then cannot be stored, the
 * registers are put back. */
static enum x_result store_x87(struct vcpu *v, const struct insn *i, const struct native_thunk *t)
{
    enum {
        REGISTERS_BYTES = offsetof(struct fxsave, xmm_unused),
        NOT_STORED = 0x19 /* IE, OE, UE */
    };
    u8 saved[REGISTERS_BYTES], buf[16] __attribute__((aligned(16)));
    gva_t lin;
    memcpy(saved, &v->fx, sizeof saved);
    if (t->code(v, buf, i)) return X_FAULT;
    if (v->fx.fsw & ~v->fx.fcw & NOT_STORED) return X_NEXT;
    if (!insn_linear(v, i, &lin)) {
        if (!native_alignment_fault(v, i, lin)) {
            if (!vcpu_write(v, lin, buf, i->mem_bytes)) return X_NEXT;
        } else {
            vcpu_raise_err(v, EXC_AC, 0);
        }
    }
    memcpy(&v->fx, saved, sizeof saved);
    return X_FAULT;
}

/* x87: the processor recorded the thunk's address, operand and opcode word where the guest's
 * belong. Whether it records the last two depends on the processor, so they are replaced only when
 * they changed. */
static enum x_result exec_x87(struct vcpu *v, const struct insn *i)
{
    const struct native_thunk *t = i->thunk;
    const u16 fop = v->fx.fop, unlikely_fop = t->fop ^ 0x7FF;
    const u64 fdp = v->fx.fdp, no_fdp = 0x00005EAD0000DEADull;
    if (unlikely(v->fpu_fault[i->fpu])) return vcpu_raise(v, v->fpu_fault[i->fpu]);
    if (t->flags & THUNK_WAITS && v->fx.fsw & FSW_ERROR) return vcpu_raise(v, EXC_MF);
    v->fx.fop = unlikely_fop;
    v->fx.fdp = no_fdp;
    enum x_result r = !i->mem_bytes ? t->code(v, (void *)(uintptr_t)i, i)
                      : i->mem_rw == OPND_W && i->mem_bytes <= 10 ? store_x87(v, i, t)
                                                                  : exec_mem_checked(v, i);
    bool ran = v->fx.fip == (u64)(uintptr_t)t->code + t->insn_off;
    if (ran) v->fx.fip = v->rip;
    v->fx.fop = v->fx.fop == t->fop ? t->guest_fop : fop;
    if (v->fx.fdp == no_fdp) v->fx.fdp = fdp;
    else if (i->mem_bytes && v->fx.fdp) v->fx.fdp = insn_ea(v, i);
    x87_changed(v);
    return r;
}

/* x87 control: FNINIT, FNCLEX, FLDCW, FLDENV, FRSTOR, FNSAVE and the like. */
static enum x_result exec_x87_control(struct vcpu *v, const struct insn *i)
{
    enum x_result r = i->mem_bytes ? exec_mem_checked(v, i) : exec_reg_fpu(v, i);
    x87_changed(v);
    return r;
}

static enum x_result exec_ud(struct vcpu *v, const struct insn *i)
{
    (void)i;
    return vcpu_raise(v, EXC_UD);
}

/* When the cache is full: build in the scratch page, run once. */
static enum x_result exec_once(struct vcpu *v, const struct insn *i, const struct native_thunk *t,
                               insn_exec_fn *exec)
{
    struct insn copy = *i;
    copy.thunk = t;
    return exec(v, &copy);
}

static insn_exec_fn *choose(const struct insn *i, const struct native_thunk *t, bool kept)
{
    if (t->flags & THUNK_X87_PTR) return exec_x87;
    if (i->fpu == FPU_X87) return exec_x87_control;
    if (!i->mem_bytes) {
        if (i->fpu != FPU_NONE || !kept) return exec_reg_fpu;
        return (insn_exec_fn *)(uintptr_t)t->code;
    }
    if (t->flags || t->touch != TOUCH_ALL || i->mem_bytes > ACCESS_BYTES_MAX)
        return exec_mem_checked;
    if (i->fpu != FPU_NONE || t->align) return exec_mem_vec;
    return exec_mem;
}

/* The head of @i with its registers; 0 where its key is not known, or does not tell all. */
static u64 head_of(const struct insn *i)
{
    u64 head;
    if (!i->head || i->imm2) return 0;
    const u32 top = (u32)(i->head >> 56), len = top & 0x7F;
    static_assert(HEAD_BYTES_MAX < sizeof head && INSN_BYTES_MAX >= sizeof head, "one load");
    memcpy(&head, i->bytes, sizeof head);
    return (head & ~0ull >> (64 - 8 * len)) | (u64)top << 56;
}
/* Where the thunk of such instructions is kept: with any immediate, or with @imm. */
static struct known_thunk *known_at(struct native_state *s, u64 head, u64 imm)
{
    const u64 mixed = (head ^ (imm << 32 | imm >> 32)) * 0x9E3779B97F4A7C15ull;
    return &s->known[mixed >> (64 - KNOWN_BITS)];
}

static const struct native_thunk *find_thunk(struct vcpu *v, const struct insn *i)
{
    struct native_state *s = v->native_state;
    struct thunk_draft d;
    const u64 head = head_of(i);
    const struct known_thunk *any = known_at(s, head, 0), *one = known_at(s, head, i->imm);
    if (head && any->head == head && any->any_imm) return any->thunk;
    if (head && one->head == head && one->imm == i->imm) return one->thunk;
    if (!thunk_build(&d, i, &s->cache.host)) return NULL;
    const struct native_thunk *t = native_cache_add(&s->cache, &d);
    if (head && t != &s->cache.scratch)
        *known_at(s, head, d.any_imm ? 0 : i->imm) =
            (struct known_thunk){head, i->imm, t, d.any_imm};
    return t;
}

const struct native_thunk *native_thunk_of(struct vcpu *v, const struct insn *i)
{
    if (i->thunk) return i->thunk;
    const struct native_thunk *t = find_thunk(v, i);
    struct native_state *s = v->native_state;
    if (t && t != &s->cache.scratch) ((struct insn *)(uintptr_t)i)->thunk = t;
    return t;
}

enum x_result native_exec(struct vcpu *v, const struct insn *i)
{
    struct insn *w = (struct insn *)(uintptr_t)i;
    struct native_state *s = v->native_state;
    insn_exec_fn *special = native_special(i);
    if (special) {
        w->exec = special;
        return special(v, i);
    }
    const struct native_thunk *t = find_thunk(v, i);
    if (!t) {
        w->exec = exec_ud;
        return exec_ud(v, i);
    }
    bool kept = t != &s->cache.scratch;
    insn_exec_fn *exec = choose(i, t, kept);
    if (!kept) return exec_once(v, i, t, exec);
    w->thunk = t;
    w->exec = exec;
    return exec(v, i);
}

bool native_supported(const struct insn *i)
{
    struct thunk_draft d;
    struct host_caps any = {.avx = true, .avx512 = true};
    return native_special(i) || thunk_build(&d, i, &any);
}

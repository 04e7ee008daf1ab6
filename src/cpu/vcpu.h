/* cpu/vcpu.h - the architectural state of one virtual processor, shared by every engine.
 * Owner: the vCPU's thread. Other threads touch only `attention`, `intr_line` and `posted`, then
 * call the engine's kick. Everything an engine keeps elsewhere while running (host registers,
 * caches) is back here when its run() returns. */
#ifndef CPU_VCPU_H
#define CPU_VCPU_H
#include <stdatomic.h>

#include "base/stats.h"
#include "base/trace.h"
#include "base/types.h"
#include "cpu/state.h"
#include "cpu/tlb.h"
#include "cpu/x86.h"
#include "isa/insn.h"

struct mem;
struct cpu_env;
struct cpu_model;
struct vcpu_mmu_ops;

enum vcpu_dump {
    DUMP_GUEST = 1 << 0,
    DUMP_HOST = 1 << 1,
    DUMP_EXITS = 1 << 2,
    DUMP_ALL = 7,
};

struct vcpu {
    /* general registers */
    u64 gpr[GPRS];
    u64 rip; /* of the instruction being executed or the next one */
    u64 rflags;
    _Atomic u32 attention;
    _Atomic u32 posted;
    _Atomic bool intr_line; /* a controller has a deliverable vector; set under the bus lock */
    u8 cpl;
    u8 mode;   /* enum isa_mode of CS: kept by vcpu_mode_changed() */
    u8 shadow; /* enum shadow: set by STI and MOV SS for one instruction */
    u8 run_state;
    bool nmi_masked;
    bool x87_ferr; /* FERR# is up: an x87 error was reported with CR0.NE clear (cpu/x87.h) */
    /* every data segment has base 0 and no limit worth checking (64-bit mode: all but FS and GS) */
    bool flat;
    u8 fpu_fault[FPU_CLASSES]; /* 0 may run; 6 #UD; 7 #NM: kept by vcpu_mode_changed() */

    struct engine_words eng;

    /* segments and tables */
    struct seg seg[SEGS];
    struct seg ldtr, tr;
    struct dtable gdtr, idtr;

    /* control */
    u64 cr0, cr2, cr3, cr4, xcr0, xss, efer;
    u64 dr[4], dr6, dr7;
    u64 pdpte[4]; /* PAE: loaded at MOV CR3 */
    /* model-specific registers that are plain state (the table is cpu/msr.def) */
    u64 star, lstar, cstar, fmask, kernel_gs_base, tsc_aux;
    u64 sysenter_cs, sysenter_esp, sysenter_eip;
    u64 pat, misc_enable, spec_ctrl, mtrr_def_type, mtrr_phys[16], mtrr_fixed[11];
    u64 tsc_offset; /* guest TSC = clock in ticks + this */
    u64 kvm_wall_clock, kvm_system_time, kvm_poll_control, kvm_async_pf;
    u32 kvm_clock_version;

    /* vector and floating-point state */
    struct fxsave fx;
    _Alignas(64) u8 vec[32][64]; /* XMM/YMM/ZMM, low bytes first */
    u64 k[8];
    u32 pkru;
    struct engine_x87 eng_x87;

    struct event exc;      /* the fault an exec function reports with X_FAULT       */
    struct event injected; /* being delivered: for exceptions during delivery       */
    u64 pending_dbg;       /* DR6 bits of traps due after the current instruction   */

    struct tlb tlb;
    struct breakpoints breaks;

    /* identity and surroundings, constant while running */
    u32 id;           /* initial APIC id */
    bool count_insns; /* stats.bt_insns is wanted */
    bool bt_late;     /* supervisor code is translated when executed again (engine/bt/late.h) */
    u8 dump;          /* enum vcpu_dump: what to show of translated blocks */
    u64 tsc_khz;
    struct mem *mem;
    const struct cpu_env *env;
    const struct cpu_model *model;  /* CPUID table      */
    const struct vcpu_mmu_ops *mmu; /* slow paths of access.h */
    void *mmu_state;                /* owned by mmu/    */
    void *native_state;             /* owned by engine/common/native */
    void *engine_state;             /* owned by the engine */
    void (*kick)(struct vcpu *v);   /* the engine's; NULL: attention is enough */
    struct stats stats;             /* v->stats.insns++                          */
    struct trace_ring trace;        /* TRACE(&v->trace, EXC, ...); mask 0 is off */
};

/** vcpu_init - power-on state and surroundings; @v is zeroed first. */
struct vcpu_cfg {
    u32 id;
    u64 tsc_khz;
    struct mem *mem;
    const struct cpu_env *env;
    const struct cpu_model *model;
};
void vcpu_init(struct vcpu *v, const struct vcpu_cfg *cfg);
/** vcpu_reset - RESET (SDM vol. 3A table 10-1): real mode at F000:FFF0. @init: INIT keeps x87/SSE,
 * MSRs and CR0.CD/NW. */
void vcpu_reset(struct vcpu *v, bool init);
/** vcpu_start_sipi - leave wait-for-SIPI at @vector << 12 in real mode. */
void vcpu_start_sipi(struct vcpu *v, u8 vector);
/** vcpu_mode_changed - recompute cpl-, segment- and control-register-derived fields (mode, flat,
 * fpu_fault, tlb.ctx). Call after any change of CS, SS, CPL, CR0, CR3, CR4, EFER, XCR0,
 * RFLAGS.AC/VM. */
void vcpu_mode_changed(struct vcpu *v);
/** vcpu_raise - record a fault with an error code / without one; returns X_FAULT. */
enum x_result vcpu_raise(struct vcpu *v, u8 vector);
enum x_result vcpu_raise_err(struct vcpu *v, u8 vector, u32 error);
enum x_result vcpu_raise_pf(struct vcpu *v, gva_t cr2, u32 error);

static inline void vcpu_attention(struct vcpu *v, u32 bits)
{
    atomic_fetch_or_explicit(&v->attention, bits, memory_order_seq_cst);
}
static inline bool vcpu_is_long(const struct vcpu *v) { return (v->efer & EFER_LMA) != 0; }
static inline bool vcpu_is_protected(const struct vcpu *v)
{
    return (v->cr0 & CR0_PE) && !(v->rflags & RFLAGS_VM);
}
/* RIP after @i: 64 bits, or EIP. (IP in 16-bit code is not wrapped by sequential execution; the
 * limit check faults.) */
static inline u64 vcpu_next_rip(const struct vcpu *v, const struct insn *i)
{
    u64 rip = v->rip + i->len;
    return v->mode == ISA_64 ? rip : (u32)rip;
}
/** vcpu_linear_rip - linear address of the instruction at CS:RIP. */
static inline gva_t vcpu_linear_rip(const struct vcpu *v)
{
    return v->mode == ISA_64 ? v->rip : (u32)(v->seg[CS].base + v->rip);
}
/** vcpu_dump - registers as text, for assertion failures, emulation failures and the monitor. */
void vcpu_dump(const struct vcpu *v, int fd);
/* Saved state (base/ser). */
struct ser_buf;
struct ser_view;
struct err;
int vcpu_save(const struct vcpu *v, struct ser_buf *b, struct err *e) MUST_USE;
int vcpu_load(struct vcpu *v, struct ser_view *s, struct err *e) MUST_USE;
#endif

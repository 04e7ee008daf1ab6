/* cpu/state.h - the types struct vcpu is made of: segments, the FXSAVE image, events, and the words
 * other threads reach it through. Included by cpu/vcpu.h. */
#ifndef CPU_STATE_H
#define CPU_STATE_H
#include "base/types.h"

/* Segment register with its hidden part. attr: descriptor bits as in the VMCS access rights: type
 * 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15; SEG_NULL 16 = unusable (a null selector was
 * loaded). limit in bytes, already scaled. */
struct seg {
    u64 base;
    u32 limit;
    u32 attr;
    u16 sel;
};
struct dtable { /* GDTR, IDTR */
    u64 base;
    u16 limit;
};

/* x87, MMX and SSE control state in the 64-bit FXSAVE image (SDM vol. 1 table 10-2); its XMM part
 * is unused. */
struct fxsave {
    u16 fcw, fsw;
    u8 ftw, rsvd; /* abridged tag word: bit = 1 valid */
    u16 fop;
    u64 fip, fdp;
    u32 mxcsr, mxcsr_mask;
    u8 st[8][16];
    u8 xmm_unused[256];
    u8 pad[96];
} __attribute__((aligned(16)));
static_assert(sizeof(struct fxsave) == 512, "FXSAVE image");

/* An exception or interrupt on its way. */
enum event_kind { EV_NONE, EV_FAULT, EV_TRAP, EV_SOFT_INT, EV_SOFT_EXC, EV_EXTINT, EV_NMI };
struct event {
    u8 kind; /* enum event_kind */
    u8 vector;
    bool has_error;
    u32 error;
    u64 payload; /* CR2 for #PF, DR6 bits for #DB: committed at delivery */
};

/* Bits other threads (or the vCPU itself) set to have the engine leave its inner loop at the next
 * instruction boundary. */
enum attention {
    ATT_KICK = 1 << 0,  /* look at intr_line and posted       */
    ATT_FLUSH = 1 << 1, /* another vCPU asks for a TLB flush  */
    ATT_CODE = 1 << 2,  /* code this vCPU decoded has changed */
    ATT_STOP = 1 << 3,  /* run() must return                  */
    ATT_STEP = 1 << 4,  /* TF, debug registers, breakpoints or an interrupt shadow: one
                           instruction at a time */
};
/* Requests from other threads, kept until the machine's vCPU loop or the engine takes them. */
enum posted {
    POST_NMI = 1 << 0,
    POST_INIT = 1 << 1,
    POST_SIPI = 1 << 2,
    POST_MASK_VECTOR = 0xFF00
};
enum shadow { SHADOW_STI = 1 << 0, SHADOW_MOVSS = 1 << 1 };
enum run_state { VCPU_RUNNING, VCPU_HALTED, VCPU_WAIT_SIPI, VCPU_SHUTDOWN };

/* A debugger's breakpoints (cpu/breakpoint.h): linear addresses. */
enum { BREAKPOINTS_MAX = 16 };
struct breakpoints {
    u32 count;
    bool resuming; /* still at the instruction run() started with, which is: */
    gva_t resumed;
    gva_t at[BREAKPOINTS_MAX];
};

enum { VCPU_GROUPS = 8 };
/* Words an engine's generated code reaches through its pointer to struct vcpu; meaningless between
 * runs. */
struct engine_words {
    u64 code_base; /* linear address of the page being executed: after an exit, or if it wanders */
    u64 table;     /* translation table in use                  */
    u64 host_rsp;
    u64 exit_arg, exit_site;
    u64 save[4];               /* for registers borrowed inside one sequence */
    void *vec_load, *vec_save; /* routines for the host's vector width */
    u64 seg_guard[2]; /* FS, GS in 32-bit code: added to addresses, so that bad ones fault */
    u64 rsp;          /* host RSP, where it is not the guest's (engine/bt/window.h): */
    u64 stack_host, stack_guest; /* added to one they give the other */
    u64 stack_low;               /* minus the host address of the window's first byte */
    u64 group[VCPU_GROUPS];      /* host addresses that accesses of a block share */
    u64 mask[PAGE_SHIFT + 1];    /* constants (engine/bt/host.h) */
};
/* The same for x87 and MMX instructions. */
struct engine_x87 {
    u64 absent;  /* 0: the guest's x87 registers are in the host's */
    u64 base;    /* linear address of the page whose code executed the last instruction */
    u64 copy[2]; /* of a memory operand */
};
#endif

/* bt_internal.h - how the parts of the translator fit together.
 *
 * Guest and host speak the same instruction set, so most instructions are copied; only memory
 * operands, control flow and sensitive instructions change.
 *
 * Registers while translated code runs
 *   guest RAX RCX RDX RBX RSP    in the same host register; RSP is a value, or the host address of
 *     RBP RSI RDI R8 R9 R12-R14  the guest's stack (64-bit code of CPL 3: window.h)
 *   guest R10 R11 R15            in v->gpr[], reached through GS
 *   host R10 (T1), R11 (T2)      temporaries, dead where an instruction may fault or jump
 *   host R15 (TB)                base of the current translation table + TABLE_SHIFT
 *   host RFLAGS                  the guest's six arithmetic flags, always exact; AC = 1; DF = 0
 *   vector registers, MXCSR      the guest's where the variant has them
 *   x87 registers                the guest's when v->eng_x87.absent is 0 (x87.h)
 *   host GS base                 struct vcpu *v
 *   everything else              in struct vcpu (other bits of RFLAGS: v->rflags; RIP: below)
 *
 * Memory. One linear table per address space and privilege (table.h) gives host-minus-guest of each
 * page:
 *     lea  T1, [guest address]     plus FS or GS base where used
 *     mov  T2, 0000FFFFFFFFF000    index = address bits 47:12, whatever the upper bits
 *     pext T2, T1, T2              (or rorx T2, T1, 48; shrx T2, T2, TB, whose low six bits = 28)
 *     mov  T2, [TB + T2*8 - 28]
 *     op   [T1 + T2]
 * No flag is touched and nothing is tested: where an access is not plain RAM with the right
 * permission, T1 + T2 is an address that faults, and the signal handler sees to it (fault.c).
 * Non-canonical guest addresses land on non-canonical host addresses. Scalar accesses that are
 * misaligned trap through AC once; the instruction is then translated again with an explicit
 * page-crossing test ("checked").
 *
 * Precision. Every fault happens before the instruction changed anything but T1 and T2, so after
 * mapping host PC to guest PC the handler can have the interpreter do the whole instruction: page
 * fault, MMIO, crossing, traced page, #DE, whatever.
 *
 * RIP. Code is translated by guest-physical page, position independent: RIP-relative operands
 * and return addresses are made from jump_table.base of the page. Blocks have a far entry, which
 * needs T1 = their linear address, and a near entry for jumps within the page and slots (far.h).
 *
 * Interrupts. Every near entry loads from a poll page which bt_kick() makes unreadable: the fault
 * is at an instruction boundary. Jumps forward within the page go behind the poll: a loop has
 * another jump. */
#ifndef ENGINE_BT_BT_INTERNAL_H
#define ENGINE_BT_BT_INTERNAL_H
#include "base/err.h"
#include "cpu/vcpu.h"
#include "engine/bt/hints.h"
#include "engine/common/cache.h"

enum { T1 = R10, T2 = R11, TB = R15, TABLE_SHIFT = 28 };

/* Why translated code came back to C. */
enum bt_exit {
    BT_EXIT_STEP,   /* execute the instruction at place arg the precise way                     */
    BT_EXIT_LINK,   /* direct jump within the page to place arg; site = patchable jump          */
    BT_EXIT_LOOKUP, /* target linear address in arg, not in the jump cache                      */
    BT_EXIT_POLL,   /* kicked at a block's near entry: place arg                                */
};

/* ---- translation of one block (translate.c) ---- */
enum { BT_BLOCK_INSNS = 64, BT_BLOCK_AHEADS = 96 /* of kind COLD_AHEAD */ };
enum { BT_BLOCK_MARKS = 2 * BT_BLOCK_INSNS + VCPU_GROUPS + BT_BLOCK_AHEADS };
enum { BT_BLOCK_CODE_BYTES = 16384, BT_POLL_BYTES = 7 };
enum { BT_FAR_BYTES = 5, BT_FAR_NOP = 0x0F }; /* far entry, unless the page wanders; its first */
enum { BT_BLOCK_SLOTS = BT_BLOCK_INSNS + 1 };
struct bt_mark {   /* where a guest instruction's host code starts */
    u16 host_off;  /* from the block's code start */
    u16 guest_off; /* from the page's start       */
    u16 again;     /* where it starts again after a fault: host_off, or its second form */
};
struct bt_block {
    u32 code_off; /* of the far entry, in the code cache        */
    u32 code_bytes;
    u16 near_off;  /* near entry, from code_off: the poll, BT_POLL_BYTES, and the rest */
    u16 guest_off; /* first byte, from the page's start          */
    u16 guest_end;
    u16 insns; /* guest instructions */
    u16 marks;
    u32 copy_off; /* in the code cache, behind the block: the guest code it was made of */
    const struct bt_mark *mark; /* [marks], ascending in host_off; the first [insns] in both */
};
/* Emission target: @rw is written, @off is its place in the code cache (for rel32 to the stubs
 * below). */
struct bt_out {
    u8 *rw;
    u32 off;
    u32 room; /* bytes, at least BT_BLOCK_CODE_BYTES */
    struct bt_mark mark[BT_BLOCK_MARKS];
    /* slots for direct jumps to other pages: the first free one and how many there are; how many
     * were taken, and where (from @off) the code is that such a jump goes to at first */
    u32 page;     /* which of bt_code.pages the block is in */
    bool wanders; /* it is entered at many linear addresses (far.h) */
    u32 slot, slot_room, slots;
    struct bt_far {
        u16 miss, off; /* that code; the jump, from the page's start */
    } far[BT_BLOCK_SLOTS];
};
/* Offsets in the code cache of the fixed pieces the blocks jump to (enter.S, copied there once).
 * All take what they say and may be jumped to with flags and every guest register live. */
struct bt_stubs {
    u32 step;    /* T1d = place of the instruction (bt_place)                     */
    u32 link;    /* T1d = place of the target, T2d = code offset of the jump's rel32 field to
                  * patch, with SITE_FORWARD when it jumps forward */
    u32 lookup;  /* T1 = linear address of the target, T2 = place of the jump, or SITE_SLOT with
                  * its slot */
    u32 jump;    /* the same; RCX is in SAVE_JUMP */
    u32 dropped; /* T1 as above, T2 = anything: an entry of a block that was dropped */
    u32 light;   /* T1d, T2d: see light.h                                         */
    u32 poll;    /* offset of the 8-byte-aligned poll word, relative like code      */
    u32 fill[2]; /* T1 = linear address whose entry is missing (read, write), T2 = host address to
                    go on at; TB is loaded (fill.S)               */
};
/* How exits tell where they are: page of the code cache, and offset in the guest's page. */
static inline u32 bt_place(u32 page, u32 off) { return page << PAGE_SHIFT | off; }
#define SITE_FORWARD (1u << 31)
#define SITE_SLOT (1u << 31) /* slot 0 is of no jump */
struct bt;
/**
 * bt_translate - emit the block whose decoded instructions are @b (64- or 32-bit code, first byte
 * at @guest_off of its page) at @out. Fills @block (mark points into @out->mark). Returns the bytes
 * emitted, > 0. Every instruction can be translated: what has no inline form becomes an exit to
 * stubs.step and ends the block. Where @b has more instructions than its bytes are, those of its
 * bytes are repeated: turns of a loop, whose last instruction is a Jcc to its first. */
u32 bt_translate(const struct bt *bt, const struct block *b, u16 guest_off, struct bt_out *out,
                 struct bt_block *block);

/** bt_translate_jump - a jump, by jump table, to offset @off from the page. Returns the bytes. */
u32 bt_translate_jump(const struct bt *bt, u16 off, struct bt_out *out);

/* ---- the engine's state ---- */
struct bt {
    struct vcpu *v;
    const struct bt_hints *hints; /* of the page being translated */
    struct plan_cache *plans;     /* NULL: none are kept */
    struct bt_stubs stubs;
    bool has_avx, has_avx512;
    bool plain, slow_pext;     /* code without BMI2, without PEXT where there is another way */
    bool eager;                /* every block is hot (hot.c) */
    bool has_x87;              /* x87 and MMX instructions may be copied (x87.h) */
    bool user, smap, fsgsbase; /* CPL 3; CR4 bits: blocks assume them */
    u64 table[2];              /* TB of the supervisor's tables: RFLAGS.AC clear, set */
    bool vec_loaded;           /* translate for: guest vector registers are in the host's */
    bool windows;              /* 64-bit user code has its stack in a window (window.h) */
    bool write_bit;            /* a test can tell that an entry is for reading only (view.h) */
};
/* After translated code: let C use x87 again. */
static inline void bt_mmx_done(const struct bt *bt)
{
    if (unlikely(bt->plain)) __asm__ volatile("emms");
}
#endif

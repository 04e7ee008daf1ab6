/* shadow - memory that changes its place or its rights while the guest runs: the programmable
 * attribute registers of the i440FX (82441FX data sheet 3.2.17).  A change is in force at the next
 * instruction, also for code. */
#include "guest/lib/rt.h"

enum { CONFADD = 0xCF8, CONFDATA = 0xCFC };
enum { PAM_NONE = 0, PAM_READ = 1, PAM_OPEN = 3 };
enum { SEGMENT = 0xD0000, NEXT = 0xD4000, PAM_REG = 0x5C, MOV_EAX = 0xB8, RET = 0xC3 };
enum { ROUNDS = 50 };

/* Bits of the segment at D0000 (low nibble) and of that at D4000. */
static void pam(u8 low, u8 high)
{
    outl(CONFADD, 0x80000000u | (PAM_REG & ~3u));
    outb(CONFDATA + (PAM_REG & 3), (u8)(high << 4 | low));
}

static volatile u32 *word(u64 at) { return (volatile u32 *)at; }

static void put_fn(u64 at, u32 value)
{
    u8 *p = (u8 *)at;
    p[0] = MOV_EAX;
    memcpy(p + 1, &value, 4);
    p[5] = RET;
}

static u32 call(u64 at)
{
    u64 r = 0;
    asm volatile("call *%1" : "+a"(r) : "r"(at) : "memory", "rcx", "rdx", "cc");
    return (u32)r;
}

static void data(void)
{
    pam(PAM_OPEN, PAM_OPEN);
    *word(SEGMENT) = 0x11111111;
    *word(NEXT) = 0x22222222;
    check_eq("open: written and read", *word(SEGMENT), 0x11111111);
    pam(PAM_READ, PAM_OPEN);
    *word(SEGMENT) = 0x33333333;
    *word(NEXT) = 0x44444444;
    check_eq("read-only: a write is dropped", *word(SEGMENT), 0x11111111);
    check_eq("the next segment is not concerned", *word(NEXT), 0x44444444);
    u32 old = 1;
    asm volatile("xchgl %0, %1" : "+r"(old), "+m"(*word(SEGMENT)));
    check_eq("read-only: XCHG reads", old, 0x11111111);
    check_eq("read-only: and does not write", *word(SEGMENT), 0x11111111);
    pam(PAM_NONE, PAM_OPEN);
    check_eq("nobody there: all-ones", *word(SEGMENT), 0xFFFFFFFF);
    *word(SEGMENT) = 0x55555555;
    check_eq("nobody there: nothing is kept", *word(SEGMENT), 0xFFFFFFFF);
    pam(PAM_OPEN, PAM_OPEN);
    check_eq("open again: as it was", *word(SEGMENT), 0x11111111);
    *word(NEXT - 2) = 0xAABBCCDD;
    check_eq("an access across two segments", *word(NEXT - 2), 0xAABBCCDD);
}

static void rounds(void)
{
    bool good = true;
    for (u32 i = 0; i < ROUNDS; i++) {
        pam(PAM_OPEN, PAM_OPEN);
        *word(SEGMENT + 64) = i;
        pam(i & 1 ? PAM_READ : PAM_NONE, PAM_OPEN);
        *word(SEGMENT + 64) = ~i;
        good &= *word(SEGMENT + 64) == (i & 1 ? i : 0xFFFFFFFF);
    }
    check("each change is in force at once", good);
}

static void code(void)
{
    pam(PAM_OPEN, PAM_OPEN);
    put_fn(SEGMENT, 1);
    put_fn(NEXT - 3, 2); /* across the border */
    bool good = call(SEGMENT) == 1 && call(NEXT - 3) == 2;
    pam(PAM_READ, PAM_READ);
    put_fn(SEGMENT, 3);
    good &= call(SEGMENT) == 1 && call(NEXT - 3) == 2;
    check("code in shadow RAM that is read-only now", good);
    pam(PAM_OPEN, PAM_READ);
    put_fn(SEGMENT, 4);
    good = call(SEGMENT) == 4;
    pam(PAM_NONE, PAM_READ);
    pam(PAM_OPEN, PAM_OPEN);
    good &= call(SEGMENT) == 4;
    put_fn(SEGMENT, 5);
    good &= call(SEGMENT) == 5;
    put_fn(NEXT - 3, 6);
    good &= call(NEXT - 3) == 6;
    check("code in shadow RAM changes when it is open", good);
}

int main(void)
{
    data();
    rounds();
    code();
    finish();
}

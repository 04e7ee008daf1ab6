/* smc - self-modifying and cross-modifying code.  SDM volume 3A 9.1.3: after the store, a jump
 * (same processor) or a serialising instruction (another processor's store) is enough to see new
 * code. */
#include "guest/lib/apic.h"
#include "guest/lib/rt.h"

enum { MOV_EAX = 0xB8, RET = 0xC3, ROUNDS = 200 };
static u8 *code; /* four pages, identity mapped */
static volatile u64 go, done;

static u32 call(u64 at)
{
    u64 r = 0;
    asm volatile("call *%1" : "+a"(r) : "r"(at) : "memory", "rcx", "rdx", "cc");
    return (u32)r;
}

static void put_fn(u8 *at, u32 value) /* mov $value, %eax; ret */
{
    at[0] = MOV_EAX;
    memcpy(at + 1, &value, 4);
    at[5] = RET;
}

static bool rewrite(u8 *at, int write_bytes)
{
    for (u32 i = 1; i <= ROUNDS; i++) {
        u32 v = i * 0x01010101;
        if (write_bytes == 1)
            for (int k = 0; k < 4; k++) *(volatile u8 *)(at + 1 + k) = (u8)i;
        else *(volatile u32 *)(at + 1) = v;
        if (call((u64)at) != (write_bytes == 1 ? (u32)((u8)i * 0x01010101u) : v)) return false;
    }
    return true;
}

static void same_page(void)
{
    put_fn(code, 0);
    check("rewritten function, 32-bit stores", rewrite(code, 4));
    check("rewritten function, byte stores", rewrite(code, 1));
    put_fn(code + 4096 - 3, 0);
    check("rewritten instruction across two pages", rewrite(code + 4096 - 3, 4));
    bool good = true;
    for (u32 i = 0; i < 5; i++) { /* change one byte at each offset: first page, then second */
        put_fn(code + 4096 - 1 - i, 0x11111111);
        good &= call((u64)code + 4096 - 1 - i) == 0x11111111;
        code[4096 - 1] = i ? (i == 1 ? 0x22 : 0x33) : MOV_EAX;
        u32 want = 0x11111111;
        if (i) ((u8 *)&want)[i - 1] = code[4096 - 1];
        good &= call((u64)code + 4096 - 1 - i) == want;
        code[4096] = 0x44;
        if (i < 4) ((u8 *)&want)[i] = 0x44;
        if (i == 4) code[4096] = RET;
        good &= call((u64)code + 4096 - 1 - i) == want;
    }
    check("either page of a crossing instruction changes", good);
    put_fn(code + 64, 5);
    memset(code + 64, 0x90, 5);
    u64 r;
    asm volatile("mov $7, %%eax\n call *%1" : "=&a"(r) : "r"(code + 64) : "memory");
    check_eq("instruction replaced by NOPs", (u32)r, 7);
    put_fn(code + 64, 9);
    memcpy(code + 2048, code + 64, 6); /* REP MOVS as the writer */
    check_eq("code copied by REP MOVS", call((u64)code + 2048), 9);
    code[2049] = 10;
    asm volatile("lock incb (%0)" ::"r"(code + 2049) : "memory", "cc");
    check_eq("locked read-modify-write of code", call((u64)code + 2048), 11);
    u32 old = 11;
    asm volatile("cmpxchgl %2, (%1)" : "+a"(old) : "r"(code + 2049), "r"(77) : "memory", "cc");
    check_eq("CMPXCHG of code", call((u64)code + 2048), 77);
    asm volatile("movd %0, %%xmm0\n movd %%xmm0, (%1)" ::"r"(0x4321), "r"(code + 2049) : "memory");
    check_eq("SSE store to code", call((u64)code + 2048), 0x4321);
    asm volatile("push %0\n popq (%1)" ::"r"(0xC300000055ull), "r"(code + 2049) : "memory");
    check_eq("POP to code", call((u64)code + 2048), 0x55);
}

extern u8 own_imm[], own_near[], own_loop[];
static void own_code(void)
{
    u32 r, sum = 0;
    asm volatile("movl $0x1234, own_imm + 1\n jmp 1f\n 1: .global own_imm\n own_imm: mov $1, %%eax"
                 : "=a"(r)::"memory");
    check_eq("next instruction, after a jump", r, 0x1234);
    asm volatile("xor %%eax, %%eax\n movl $0x777, own_near + 1\n cpuid\n .global own_near\n"
                 "own_near: mov $1, %%eax"
                 : "=a"(r)::"rbx", "rcx", "rdx", "memory");
    check_eq("next instruction, after CPUID", r, 0x777);
    asm volatile("movl $0x778, own_near + 1\n movl own_near + 1, %%eax" : "=a"(r)::"memory");
    check_eq("code reads back as data", r, 0x778);
    asm volatile("mov $100, %%ecx\n xor %%edx, %%edx\n movl $0, own_loop + 1\n jmp own_loop\n"
                 ".global own_loop\n own_loop: mov $1, %%eax\n add %%eax, %%edx\n"
                 "incl own_loop + 1\n dec %%ecx\n jnz own_loop"
                 : "=d"(sum)::"rax", "rcx", "memory", "cc");
    check_eq("a loop that changes its own first instruction", sum, 4950);
}

static void by_mapping(void)
{
    u8 *other = pages_alloc(2);
    put_fn(code + 128, 1), put_fn(other + 128, 2);
    map(TEST_VA, (u64)code, PTE_P | PTE_W);
    bool good = true;
    for (int i = 0; i < ROUNDS; i++) {
        map(TEST_VA, (u64)(i & 1 ? other : code), PTE_P | PTE_W);
        good &= call(TEST_VA + 128) == (i & 1 ? 2u : 1u);
    }
    check("code page remapped with INVLPG", good);
    for (int i = 0; i < ROUNDS; i++) {
        *pte_of(TEST_VA, 1) = (u64)(i & 1 ? other : code) | PTE_P | PTE_W;
        flush_tlb();
        good &= call(TEST_VA + 128) == (i & 1 ? 2u : 1u);
    }
    check("code page remapped with CR3", good);
    map(TEST_VA + 0x10000, (u64)code, PTE_P | PTE_W);
    map(TEST_VA, (u64)code, PTE_P);
    for (u32 i = 0; i < ROUNDS; i++) {
        RD(u32, TEST_VA + 0x10000 + 129) = i;
        good &= call(TEST_VA + 128) == i;
    }
    check("store through an alias", good);
    map(TEST_VA, (u64)code, PTE_P), map(TEST_VA + 0x1000, (u64)code + 4096, PTE_P);
    put_fn(code + 4096 - 2, 0x0A0B0C0D);
    check_eq("crossing instruction, mapped", call(TEST_VA + 4096 - 2), 0x0A0B0C0D);
    memset(other, 0x5A, 16);
    other[3] = RET;
    map(TEST_VA + 0x1000, (u64)other, PTE_P);
    check_eq("second page of a crossing instruction remapped", call(TEST_VA + 4096 - 2),
             0x5A5A5A0D);
    unmap(TEST_VA + 0x1000);
    ATTEMPT("call *%0", ::"r"(TEST_VA + 4096 - 2) : "rax", "memory");
    check("second page unmapped: #PF there", last.f.vec == PF && last.cr2 == TEST_VA + 4096);
    map(TEST_VA + 128 * 4096, (u64)code, PTE_P | PTE_NX);
    ATTEMPT("call *%0", ::"r"(TEST_VA + 128 * 4096 + 128) : "rax", "memory");
    check("same frame through an NX alias does not execute",
          last.f.vec == PF && last.f.err == 0x11);
}

/* ---- two processors ---- */
static void ap(int cpu)
{
    if (cpu != 1) return;
    for (u32 i = 1; i <= ROUNDS; i++) {
        while (go != i) pause();
        *(volatile u32 *)(code + 3001) = i * 7;
        done = i;
    }
}

static void cross_modify(void)
{
    put_fn(code + 3000, 0);
    if (ap_start_all(ap) < 2) {
        skip("cross-modifying code", "one CPU");
        return;
    }
    bool good = true;
    for (u32 i = 1; i <= ROUNDS; i++) {
        call((u64)code + 3000);
        go = i;
        while (done != i) pause();
        cpuid(0, 0);
        good &= call((u64)code + 3000) == i * 7;
    }
    check("code modified by the other CPU, after CPUID", good);
}

int main(void)
{
    code = pages_alloc(4);
    same_page();
    own_code();
    by_mapping();
    cross_modify();
    finish();
}

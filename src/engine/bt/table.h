/* table.h - linear translation tables: host minus guest address of every page of the 48-bit space.
 *
 * A table is 2^36 entries of 8 bytes, one per page, indexed by bits 47:12 of the linear address, so
 * the upper canonical half is the table's upper half. Translated code adds the entry to the address
 * and accesses the sum, whatever it is (bt_internal.h); nothing is tested. So an entry must make
 * the sum right or make it fault, for every 64-bit address T1 whose bits 47:12 select it. No
 * mapping of a Linux process lies at or above 2^47 (unless asked for by address, which we never
 * do), except that some hosts keep a readable page at VSYSCALL. Hence:
 *   empty, T1 bit 47 clear   entry 2^47: adding it sets bit 47 and carries nowhere. Sum >= 2^47.
 *   empty, T1 bit 47 set     entry 0: the sum is T1, >= 2^47; is it VSYSCALL's page, then the entry
 *                            is that page's, which holds -4096: bit 47 is still set, and the page
 *                            before VSYSCALL is the kernel's.
 *   full                     host page H < 2^47 for canonical page G: T1 = G + offset + k * 2^48
 *                            gives H + offset + k * 2^48. k = 0 (mod 2^16) is the access itself;
 *                            else bits 63:48 are k, bit 47 is clear: not canonical, and >= 2^47.
 * The access's first byte faults already, so its length does not matter. Parts of a table never
 * used are not accessible: there the load of the entry faults (bt_table_is_table_fault).
 *
 * One vCPU has a table for its supervisor, one for its supervisor with RFLAGS.AC set under SMAP,
 * and some for the users of the address spaces used last. v->eng.table follows v->tlb.ctx.
 * Supervisor tables keep global translations when the address space changes.
 *
 * Everything here is called on the vCPU's thread. fill and populate may be called from the handler
 * of a fault of translated code (not from one that interrupted C): no allocation, no lock. */
#ifndef ENGINE_BT_TABLE_H
#define ENGINE_BT_TABLE_H
#include "cpu/vcpu.h"
#include "engine/bt/view.h"

#define BT_TABLE_BYTES (BIT(36) * sizeof(u64))
#define BT_VSYSCALL 0xFFFFFFFFFF600000ull
#define BT_POISON_LOW BIT(47)
enum { BT_TABLES_MAX = 18 };
#define BT_TABLES_TOTAL 192 /* of 512 GiB: 3/4 of a process's address space */

struct bt_tables; /* opaque */
/** bt_tables_users - how many user tables each of @cpus vCPUs may have: 4 (32 vCPUs) to 16. */
static inline u32 bt_tables_users(u32 cpus)
{
    u32 each = BT_TABLES_TOTAL / (cpus ? cpus : 1);
    return each < 3 ? 1 : (u32)min_u64(each - 2, 16);
}
/** bt_tables_create - reserve the tables of @v and follow its MMU (mmu_observe), until destroy.
 * @views is borrowed. @users from bt_tables_users(). Errors: E_NOMEM. */
int bt_tables_create(struct bt_tables **out, struct vcpu *v, const struct bt_views *views,
                     u32 users, struct err *e) MUST_USE;
void bt_tables_destroy(struct bt_tables *t);

/** bt_table_supervisor - TB of the supervisor's table, without and with RFLAGS.AC. Constant. */
u64 bt_table_supervisor(const struct bt_tables *t, bool ac);

enum bt_fill {
    FILL_DONE, /* do the access again */
    FILL_SLOW, /* the interpreter has to do it: MMIO, ROM, traced, watched, or a guest fault */
};
/** bt_table_fill - make the entry for @gva right for @kind (read or write) at the vCPU's present
 * privilege. Sets A and D as that access would. May install neighbouring pages whose translations
 * the processor might hold as well. Cost: a walk, or 16; 512 entries for a large page. */
enum bt_fill bt_table_fill(struct bt_tables *t, struct vcpu *v, gva_t gva, enum access kind);
/** bt_table_populate - make the present table's entries around @gva loadable (they are empty at
 * first). False: the host has no more room, even after everything else was dropped. */
bool bt_table_populate(struct bt_tables *t, gva_t gva);
/** bt_table_is_table_fault - is @host_addr inside a table? *gva_page is then the page whose entry
 * was to be loaded, canonical. */
bool bt_table_is_table_fault(const struct bt_tables *t, u64 host_addr, gva_t *gva_page);

/** bt_table_entry - what the present table holds for @gva, whose part of the table is populated. */
static inline u64 bt_table_entry(const struct vcpu *v, gva_t gva)
{
    return ((const u64 *)(uintptr_t)(v->eng.table - 28))[bits(gva, 47, PAGE_SHIFT)];
}
/** bt_table_poison - what the entry for @gva holds when empty. */
static inline u64 bt_table_poison(gva_t gva)
{
    if (!(gva & BIT(47))) return BT_POISON_LOW;
    return bits(gva ^ BT_VSYSCALL, 47, PAGE_SHIFT) ? 0 : 0 - (u64)PAGE_BYTES;
}
#endif

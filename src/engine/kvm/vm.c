/* vm - KVM's side of one machine: the VM, its memory, what the host can do. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/check.h"
#include "engine/kvm/kvm_internal.h"

/* Pages Intel processors without "unrestricted guest" need for real mode; nothing of ours is there
 * (boot/layout.h ends below the local APIC, firmware starts above). */
#define IDENTITY_MAP_GPA 0xFEFFC000ull
#define TSS_GPA 0xFEFFD000ull

int kvm_call(int fd, unsigned long request, void *arg, const char *what, struct err *e)
{
    int rc;
    do rc = ioctl(fd, request, arg);
    while (rc < 0 && errno == EINTR);
    return rc < 0 ? err_errno(e, "KVM: %s", what) : rc;
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* What KVM shall know. */
struct regions {
    u32 count;
    struct kvm_region row[KVM_REGIONS_MAX];
};

static void add_region(struct regions *r, struct kvm_region k)
{
    if (!k.bytes) return;
    ASSERT(r->count < KVM_REGIONS_MAX, "%u pieces of memory", r->count);
    r->row[r->count++] = k;
}

/* The part of @k in [start, end), moved by @up. */
static void add_part(struct regions *r, const struct kvm_region *k, const gpa_t window[2], u64 up)
{
    const gpa_t start = max_u64(k->base, window[0]), end = min_u64(k->base + k->bytes, window[1]);
    if (start >= end) return;
    add_region(r, (struct kvm_region){start + up, end - start, k->hva + (start - k->base), k->rom});
}

/* While A20 is masked, the second MiB is the first. KVM's guest has an A20 line that is always on,
 * so this is done by mapping, and for these addresses only: real-mode code reaches no others. */
static void collect(const struct mem *mem, struct regions *r)
{
    static const gpa_t first[2] = {0, MIB(1)}, rest[2] = {MIB(2), BIT(GPA_BITS)};
    r->count = 0;
    for (u32 i = 0; i < mem->slots; i++) {
        const struct mem_slot *s = &mem->slot[i];
        const struct kvm_region k = {s->base, s->bytes, s->hva, s->rom};
        if (!mem->a20_clear) {
            add_region(r, k);
            continue;
        }
        add_part(r, &k, first, 0);
        add_part(r, &k, first, MIB(1));
        add_part(r, &k, rest, 0);
    }
}

static bool same_region(const struct kvm_region *a, const struct kvm_region *b)
{
    return a->base == b->base && a->bytes == b->bytes && a->hva == b->hva && a->rom == b->rom;
}

static int set_region(const struct kvm_vm *vm, u32 id, const struct kvm_region *k, struct err *e)
{
    struct kvm_userspace_memory_region r = {
        .slot = id,
        .flags = (k->rom ? KVM_MEM_READONLY : 0) | (vm->dirty_log ? KVM_MEM_LOG_DIRTY_PAGES : 0),
        .guest_phys_addr = k->base,
        .memory_size = k->bytes,
        .userspace_addr = (u64)(uintptr_t)k->hva,
    };
    int rc = kvm_call(vm->fd, KVM_SET_USER_MEMORY_REGION, &r, "KVM_SET_USER_MEMORY_REGION", e);
    return rc < 0 ? rc : 0;
}

/* The guest wrote the page at @at: tell of it wherever it is mapped now, which need not be where it
 * was written - slots move, and A20 comes and goes. */
static void page_written(const struct kvm_vm *vm, hva_t at)
{
    for (u32 i = 0; i < vm->mem->slots; i++) {
        const struct mem_slot *s = &vm->mem->slot[i];
        const u64 offset = (u64)((uintptr_t)at - (uintptr_t)s->hva);
        if (offset < s->bytes) mem_wrote(vm->mem, s->base + offset, PAGE_BYTES);
    }
}

/* Pages of one region written since the last call. */
static int take_region(struct kvm_vm *vm, u32 id, struct err *e)
{
    const struct kvm_region *k = &vm->region[id];
    u64 pages = k->bytes >> PAGE_SHIFT, words = (pages + 63) / 64;
    int count = 0;
    u64 *map = calloc(words, sizeof *map);
    if (!map) return err_set(e, E_NOMEM, "KVM: dirty log");
    struct kvm_dirty_log log = {.slot = id, .dirty_bitmap = map};
    int rc = kvm_call(vm->fd, KVM_GET_DIRTY_LOG, &log, "KVM_GET_DIRTY_LOG", e);
    for (u64 w = 0; w < words && rc >= 0; w++) {
        for (u64 left = map[w]; left; left &= left - 1, count++)
            page_written(vm, k->hva + ((w * 64 + (u64)__builtin_ctzll(left)) << PAGE_SHIFT));
    }
    free(map);
    return rc < 0 ? rc : count;
}

/* A region KVM forgets; what it had noted of it first. */
static int remove_region(struct kvm_vm *vm, u32 id, struct err *e)
{
    int rc = vm->dirty_log ? take_region(vm, id, e) : 0;
    if (rc < 0) return rc;
    vm->dirty_removed += rc;
    vm->region[id].bytes = 0;
    return set_region(vm, id, &vm->region[id], e);
}

/* Take away what is not in @r any more; what stays is taken out of @r. */
static int remove_stale(struct kvm_vm *vm, struct regions *r, struct err *e)
{
    for (u32 id = 0; id < KVM_REGIONS_MAX; id++) {
        const struct kvm_region *k = &vm->region[id];
        bool stays = false;
        for (u32 i = 0; i < r->count && k->bytes && !stays; i++) {
            stays = same_region(&r->row[i], k);
            if (stays) r->row[i].bytes = 0;
        }
        if (!k->bytes || stays) continue;
        int rc = remove_region(vm, id, e);
        if (rc < 0) return rc;
    }
    return 0;
}

static int add_new(struct kvm_vm *vm, const struct regions *r, struct err *e)
{
    u32 id = 0;
    for (u32 i = 0; i < r->count; i++) {
        if (!r->row[i].bytes) continue;
        while (vm->region[id].bytes) id++;
        int rc = set_region(vm, id, &r->row[i], e);
        if (rc < 0) return rc;
        vm->region[id] = r->row[i];
    }
    return 0;
}

static int map_all(struct kvm_vm *vm, struct err *e)
{
    struct regions r;
    collect(vm->mem, &r);
    int rc = remove_stale(vm, &r, e);
    if (rc == 0) rc = add_new(vm, &r, e);
    if (rc < 0) return rc;
    vm->mapped = true;
    vm->generation = vm->mem->generation;
    vm->a20_clear = vm->mem->a20_clear;
    return 0;
}

int kvm_vm_map(struct kvm_vm *vm, struct err *e)
{
    pthread_mutex_lock(&vm->lock);
    bool current =
        vm->mapped && vm->generation == vm->mem->generation && vm->a20_clear == vm->mem->a20_clear;
    int rc = current ? 0 : map_all(vm, e);
    pthread_mutex_unlock(&vm->lock);
    return rc;
}

int kvm_dirty_log(struct kvm_vm *vm, bool on, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&vm->lock);
    vm->dirty_log = on;
    for (u32 i = 0; i < KVM_REGIONS_MAX && rc == 0; i++) {
        if (vm->region[i].bytes) rc = set_region(vm, i, &vm->region[i], e);
    }
    pthread_mutex_unlock(&vm->lock);
    return rc;
}

int kvm_dirty_take(struct kvm_vm *vm, struct err *e)
{
    int rc = 0;
    pthread_mutex_lock(&vm->lock);
    int total = vm->dirty_removed;
    vm->dirty_removed = 0;
    for (u32 i = 0; i < KVM_REGIONS_MAX && rc >= 0; i++) {
        if (!vm->region[i].bytes) continue;
        rc = take_region(vm, i, e);
        total += rc;
    }
    pthread_mutex_unlock(&vm->lock);
    return rc < 0 ? rc : total;
}

/* ---- what the host can do -------------------------------------------------------------------- */

static void find_xstate(struct kvm_vm *vm)
{
    vm->xcr0 = XCR0_X87 | XCR0_SSE;
    for (u32 i = 0; i < vm->supported->nent; i++) {
        const struct kvm_cpuid_entry2 *row = &vm->supported->row[i];
        if (row->function != 0xD) continue;
        if (row->index == 0) vm->xcr0 |= row->eax | (u64)row->edx << 32;
        if (row->index >= 2 && row->index < XSTATE_BITS) vm->xoffset[row->index] = (u16)row->ebx;
    }
    for (u32 b = 2; b < XSTATE_BITS; b++) { /* only whole components we know, inside the area */
        u32 end = (u32)vm->xoffset[b] + xstate_comps[b].bytes;
        if (!vm->xoffset[b] || !xstate_comps[b].bytes || end > vm->xsave_bytes) vm->xcr0 &= ~BIT(b);
    }
    vm->xcr0 &= BIT(XSTATE_BITS) - 1;
}

static int find_sizes(struct kvm_vm *vm, struct err *e)
{
    int bytes = kvm_call(vm->dev, KVM_GET_VCPU_MMAP_SIZE, NULL, "KVM_GET_VCPU_MMAP_SIZE", e);
    if (bytes < 0) return bytes;
    vm->run_bytes = (u32)bytes;
    int xsave = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);
    vm->xsave_bytes = xsave > (int)sizeof(struct kvm_xsave) ? (u32)xsave : sizeof(struct kvm_xsave);
    vm->sregs2 = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SREGS2) > 0;
    int shared = ioctl(vm->fd, KVM_CHECK_EXTENSION, KVM_CAP_SYNC_REGS);
    vm->shared = shared > 0 ? (u32)shared : 0;
    vm->supported = kvm_cpuid_supported(vm->dev, e);
    if (!vm->supported) return e->code;
    find_xstate(vm);
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int place_real_mode_pages(const struct kvm_vm *vm, struct err *e)
{
    u64 identity = IDENTITY_MAP_GPA;
    int rc = kvm_call(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity, "KVM_SET_IDENTITY_MAP_ADDR", e);
    if (rc < 0) return rc;
    return kvm_call(vm->fd, KVM_SET_TSS_ADDR, (void *)TSS_GPA, "KVM_SET_TSS_ADDR", e);
}

/* Without this capability (Linux 5.14) KVM answers an instruction of user code it cannot emulate
 * with #UD, as it did for ever; with it such an instruction comes to step.c like a supervisor's. */
static void ask_for_failures(const struct kvm_vm *vm)
{
    struct kvm_enable_cap cap = {.cap = KVM_CAP_EXIT_ON_EMULATION_FAILURE, .args[0] = 1};
    (void)ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
}

static void destroy(struct kvm_vm *vm)
{
    for (u32 i = 0; i < VCPUS_MAX; i++) {
        if (vm->cpu_fd[i] >= 0) close(vm->cpu_fd[i]);
    }
    if (vm->fd >= 0) close(vm->fd);
    if (vm->dev >= 0) close(vm->dev);
    pthread_mutex_destroy(&vm->lock);
    free(vm->supported);
    free(vm);
}

static int set_up(struct kvm_vm *vm, struct err *e)
{
    vm->dev = kvm_open(e);
    if (vm->dev < 0) return vm->dev;
    vm->fd = kvm_call(vm->dev, KVM_CREATE_VM, NULL, "KVM_CREATE_VM", e);
    if (vm->fd < 0) return vm->fd;
    int rc = find_sizes(vm, e);
    if (rc < 0) return rc;
    ask_for_failures(vm);
    rc = place_real_mode_pages(vm, e);
    return rc < 0 ? rc : kvm_msr_setup(vm, e);
}

static int create(struct kvm_vm **out, struct mem *mem, struct err *e)
{
    struct kvm_vm *vm = calloc(1, sizeof *vm);
    if (!vm) return err_set(e, E_NOMEM, "KVM");
    *vm = (struct kvm_vm){.mem = mem, .dev = -1, .fd = -1};
    for (u32 i = 0; i < VCPUS_MAX; i++) vm->cpu_fd[i] = -1;
    pthread_mutex_init(&vm->lock, NULL);
    int rc = set_up(vm, e);
    if (rc < 0) {
        destroy(vm);
        return rc;
    }
    *out = vm;
    return 0;
}

int kvm_vm_get(struct kvm_vm **out, struct mem *mem, struct err *e)
{
    struct kvm_vm *vm = mem->shared;
    if (!vm) {
        int rc = create(&vm, mem, e);
        if (rc < 0) return rc;
        mem->shared = vm;
    }
    vm->users++;
    *out = vm;
    return 0;
}

void kvm_vm_put(struct kvm_vm *vm)
{
    if (--vm->users) return;
    vm->mem->shared = NULL;
    destroy(vm);
}

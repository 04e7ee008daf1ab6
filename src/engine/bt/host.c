/* host.c - see host.h. */
#include "engine/bt/host.h"

#include <cpuid.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/vcpu.h"
#include "engine/bt/window.h"

enum { CPUID_EXT_1 = 0x80000001, ECX_LAHF = 1 << 0, FAMILY_ZEN3 = 0x19 };

static bool has_lahf(void)
{
    u32 a, b, c, d;
    return __get_cpuid(CPUID_EXT_1, &a, &b, &c, &d) && c & ECX_LAHF;
}

/* Spec: AMD APM vol. 3 section E.3, CPUID Fn0000_0001_EAX. */
static u32 family(void)
{
    u32 a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d)) return 0;
    const u32 base = bits(a, 11, 8);
    return base == 0xF ? base + bits(a, 27, 20) : base;
}

struct bt_host bt_host_find(void)
{
    const char *without = getenv("RING3_BT_WITHOUT");
    struct bt_host h = {.lahf = has_lahf()};
    if (!without) without = "";
    __builtin_cpu_init();
    h.bmi2 = __builtin_cpu_supports("bmi2") && !strstr(without, "bmi2");
    h.slow_pext = (__builtin_cpu_is("amd") && family() < FAMILY_ZEN3) || strstr(without, "pext");
    h.eager = strstr(without, "patience");
    h.windows = !strstr(without, "windows");
    h.avx = __builtin_cpu_supports("avx");
    h.avx2 = __builtin_cpu_supports("avx2");
    h.avx512 = h.avx2 && __builtin_cpu_supports("avx512bw");
    return h;
}

void bt_host_masks(struct vcpu *v)
{
    v->eng.mask[MASK_READ] = BIT(55) - BIT(47);
    v->eng.mask[MASK_WRITE] = BIT(54) - BIT(46);
    v->eng.mask[MASK_WINDOW] = 0 - (u64)WINDOW_BYTES;
    for (u32 n = MASK_LOW_MIN; n < PAGE_SHIFT; n++) v->eng.mask[n] = BIT(PAGE_SHIFT) - BIT(n);
}

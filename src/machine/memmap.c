/* memmap.c - what lies where in guest memory follows the devices' registers (PAM, BARs, flash), and
 * so does the A20 gate.
 *
 * A device's callback only notes that something changed. The vCPU that wrote the register stops
 * after this instruction (ATT_STOP), all vCPUs park, the loop thread has every device put its
 * memory into a new map, and tells the MMUs which ranges are different; then the vCPUs go on. */
#include "machine/machine.h"
#include "mem/map.h"

/* A request for the loop thread; the asking vCPU does not execute another instruction before. */
static void ask(struct machine *m, bool *what)
{
    pthread_mutex_lock(&m->run_lock);
    *what = true;
    pthread_mutex_unlock(&m->run_lock);
    cpus_ask(m, WANT_PARK);
    loop_wake_send(m->request);
}

void memmap_ask_remap(void *machine, struct dev *d)
{
    struct machine *m = machine;
    (void)d;
    ask(m, &m->remap_wanted);
}

void memmap_ask_a20(void *machine, struct dev *d, bool enabled)
{
    struct machine *m = machine;
    (void)d;
    pthread_mutex_lock(&m->run_lock);
    bool same = m->a20 == enabled;
    m->a20 = enabled;
    pthread_mutex_unlock(&m->run_lock);
    if (!same) ask(m, &m->a20_wanted);
}

static void remap(struct machine *m)
{
    struct mem_map map;
    mem_map_fixed(&m->mem, &map);
    bus_lock(&m->bus);
    dev_map_all(&m->devs, &map);
    bus_unlock(&m->bus);
    mem_map_apply(&m->mem, &map, mmu_map_changed, m->domain);
}

void memmap_serve(struct machine *m)
{
    pthread_mutex_lock(&m->run_lock);
    bool want_remap = m->remap_wanted, want_a20 = m->a20_wanted;
    const u64 clear = m->a20 ? 0 : BIT(20);
    m->remap_wanted = m->a20_wanted = false;
    pthread_mutex_unlock(&m->run_lock);
    if (want_remap) remap(m);
    if (!want_a20 || m->mem.a20_clear == clear) return;
    m->mem.a20_clear = clear;
    mmu_map_changed(m->domain, 0, 0);
}

/* machine/machine.h - one virtual machine: everything wired together (DESIGN section 1). Private to
 * machine/.
 *
 * Threads: the loop thread (the caller of ring3_run) runs timers, streams and life-cycle changes;
 * each vCPU has its own. Locks, outermost first: the screen's (screen.h), the bus lock (devices),
 * run_lock (life cycle and sleeping vCPUs), deadline_lock. */
#ifndef MACHINE_MACHINE_H
#define MACHINE_MACHINE_H
#include <pthread.h>

#include "base/clk.h"
#include "base/input.h"
#include "base/log.h"
#include "boot/acpi.h"
#include "boot/boot.h"
#include "boot/smbios.h"
#include "bus/bus.h"
#include "bus/chardev.h"
#include "bus/dev.h"
#include "bus/irq.h"
#include "bus/pci.h"
#include "cpu/cpuid.h"
#include "cpu/engine.h"
#include "cpu/env.h"
#include "dev/lapic.h"
#include "host/loop.h"
#include "host/spool.h"
#include "host/stream.h"
#include "machine/screen.h"
#include "mem/mem.h"
#include "mmu/mmu.h"
#include "ring3.h"

struct machine;
struct pc_firmware;

struct cpu_slot {
    struct vcpu v; /* first: env callbacks get &v back */
    struct machine *m;
    struct lapic *lapic; /* borrowed from the device set */
    pthread_t thread;
    bool started;
    pthread_cond_t wake;
    _Atomic bool sleeping; /* waits on @wake; set under run_lock */
    bool parked;           /* under run_lock */
};
enum machine_want { WANT_PARK, WANT_RUN, WANT_QUIT };

struct serial { /* the glue between a UART and a stream */
    struct chardev chardev;
    struct stream *stream;
    struct bus *bus;
    struct machine *m;
    const char *spec; /* borrowed */
};

struct machine {
    struct ring3_config cfg; /* strings owned */
    struct log log;
    struct clk clk;
    struct mem mem;
    struct bus bus;
    struct dev_set devs;
    struct irq_pin gsi[GSI_COUNT];
    struct irq_pin pic_intr;
    struct irq_pin legacy_timer[2]; /* the 8254 and the RTC on their way to IRQ 0 and 8 */
    struct lapic_set lapics;
    struct pci_bus pci;
    struct pc_disks *disks; /* owned */
    struct serial serial, serial2, debugcon, parallel;
    struct spool *spool;     /* NULL: the parallel port has none */
    struct input_sink input; /* the keyboard controller */
    struct screen screen;
    struct boot_image *image; /* NULL: the firmware boots      */
    struct pc_firmware *fw;   /* NULL: a kernel starts without */
    struct acpi_config acpi;
    struct cpu_model model;
    const struct engine *engine;
    struct mmu_domain *domain;
    struct cpu_env env;
    struct cpu_slot *cpu[VCPUS_MAX];
    u32 cpus;

    struct loop *loop;
    struct loop_wake *request; /* reset_wanted, ended or stop_wanted changed */
    struct loop_timer *deadline, *timeout;
    pthread_mutex_t deadline_lock; /* orders reads of clk_next_ns with arming */
    u64 deadline_after_ns;         /* timers rest until then; under deadline_lock */

    pthread_mutex_t run_lock;
    pthread_cond_t parked_cond;
    enum machine_want want;             /* under run_lock */
    bool reset_wanted, ended, panicked; /* under run_lock */
    struct ring3_result result;         /* first end wins; under run_lock */
    _Atomic bool stop_wanted;           /* ring3_stop: may come from a signal handler */
    bool remap_wanted, a20_wanted, a20; /* under run_lock: @a20 is what was asked for last */
};

/* config.c */
int config_copy(struct ring3_config *to, const struct ring3_config *from, struct err *e) MUST_USE;
void config_free(struct ring3_config *cfg);
/* engines.c */
int engine_choose(const struct engine **out, const char *name, struct err *e) MUST_USE;
/* pc.c */
int pc_create(struct machine *m, struct err *e) MUST_USE;
void pc_destroy(struct machine *m);
void pc_describe(struct machine *m); /* m->acpi as the devices' registers are now */
void pc_describe_smbios(const struct machine *m, struct smbios_config *out);
/* pc_boot.c: power-on contents of memory and the state of the processors */
int pc_boot(struct machine *m, struct err *e) MUST_USE;
/* env.c */
void env_init(struct machine *m);
/* memmap.c: requests of devices about memory; served while every vCPU is parked */
void memmap_ask_remap(void *machine, struct dev *d);
void memmap_ask_a20(void *machine, struct dev *d, bool enabled);
void memmap_serve(struct machine *m);
extern const struct intr_cpu_ops cpus_intr_ops;
/* cpus.c */
int cpus_create(struct machine *m, struct err *e) MUST_USE;
void cpus_destroy(struct machine *m);
int cpus_start(struct machine *m, struct err *e) MUST_USE;
void cpus_join(struct machine *m);
void cpus_park(struct machine *m); /* ask all to stop at a boundary and wait for it; loop thread */
void cpus_resume(struct machine *m);                      /* loop thread */
void cpus_ask(struct machine *m, enum machine_want want); /* from any thread, without waiting */
void cpu_kick(struct cpu_slot *c);
/* serial.c */
int serial_open(struct serial *s, struct machine *m, const char *spec, struct err *e) MUST_USE;
void serial_close(struct serial *s);
/* run.c */
extern const struct dev_host_ops machine_host_ops;
int machine_loop_setup(struct machine *m, struct err *e) MUST_USE;
void machine_end(struct machine *m, enum ring3_end end, int status, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void machine_deadline_moved(void *machine); /* clk_wake_fn */
#endif

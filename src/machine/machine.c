/* machine.c - build and tear down a machine. */
#include <stdlib.h>
#include <string.h>

#include "boot/e820.h"
#include "machine/machine.h"
#include "machine/pc_firmware.h"
#include "machine/pc_ports.h"

/* What RDTSC counts wherever the engine can: a round figure every clock source divides well. */
enum { TSC_KHZ = 2000000 };

static int create_parts(struct machine *m, struct err *e)
{
    int rc = engine_choose(&m->engine, m->cfg.engine, e);
    if (rc < 0) return rc;
    struct cpu_model_cfg model = {.vcpus = m->cfg.cpus, .tsc_khz = TSC_KHZ};
    rc = cpu_model_init(&m->model, m->cfg.cpu, &model, e);
    if (rc == 0 && m->engine->fit) rc = m->engine->fit(&m->model, e);
    if (rc < 0) return rc;
    if (m->cfg.kernel) rc = boot_image_open(&m->image, m->cfg.kernel, m->cfg.initrd, e);
    if (rc < 0) return rc;
    rc = mem_init(&m->mem, e);
    if (rc < 0) return rc;
    rc = e820_add_ram(&m->mem, m->cfg.memory_bytes, e);
    if (rc < 0) return rc;
    rc = firmware_open(m, e);
    if (rc < 0) return rc;
    rc = mmu_domain_create(&m->domain, &m->mem, e);
    if (rc < 0) return rc;
    rc = machine_loop_setup(m, e);
    if (rc < 0) return rc;
    clk_set_wake(&m->clk, machine_deadline_moved, m);
    env_init(m);
    rc = cpus_create(m, e);
    if (rc < 0) return rc;
    rc = pc_create(m, e);
    if (rc < 0) return rc;
    memmap_serve(m);
    rc = pc_boot(m, e);
    if (rc < 0) return rc;
    if (m->cfg.debugcon) rc = serial_open(&m->debugcon, m, m->cfg.debugcon, e);
    if (rc < 0) return rc;
    rc = serial_open(&m->serial, m, m->cfg.serial, e);
    if (rc == 0) rc = pc_ports_open(m, e);
    return rc < 0 ? rc : screen_open(m, e);
}

static void destroy(struct machine *m)
{
    if (!m) return;
    screen_close(m);
    serial_close(&m->serial);
    serial_close(&m->debugcon);
    pc_ports_close(m);
    pc_destroy(m);
    cpus_destroy(m);
    loop_destroy(m->loop);
    mmu_domain_destroy(m->domain);
    mem_fini(&m->mem);
    boot_image_close(m->image);
    firmware_close(m);
    clk_fini(&m->clk);
    pthread_mutex_destroy(&m->run_lock);
    pthread_mutex_destroy(&m->deadline_lock);
    pthread_cond_destroy(&m->parked_cond);
    config_free(&m->cfg);
    free(m);
}

int ring3_create(struct ring3_vm **out, const struct ring3_config *cfg, struct ring3_error *error)
{
    struct err e = {0};
    struct machine *m = calloc(1, sizeof *m);
    int rc = m ? 0 : err_set(&e, E_NOMEM, "machine");
    if (m) {
        m->mem.fd = -1;
        m->a20 = true;
        clk_init(&m->clk, false);
        pthread_mutex_init(&m->run_lock, NULL);
        pthread_mutex_init(&m->deadline_lock, NULL);
        pthread_cond_init(&m->parked_cond, NULL);
        rc = config_copy(&m->cfg, cfg, &e);
        if (rc == 0) {
            log_init(&m->log, m->cfg.quiet ? -1 : 2, LOG_WARN, m->cfg.name);
            rc = create_parts(m, &e);
        }
    }
    if (rc < 0) {
        destroy(m);
        error->code = e.code;
        memcpy(error->text, e.text, sizeof error->text);
        return rc;
    }
    *out = (struct ring3_vm *)m;
    return 0;
}

void ring3_destroy(struct ring3_vm *vm) { destroy((struct machine *)vm); }

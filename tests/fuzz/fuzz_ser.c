/* fuzz_ser - damaged state files: devices and processors refuse them or take them, and what was
 * taken runs without harm. */
#include "fuzz_machine.h"

static void cut_and_damage(struct ser_buf *b)
{
    if (fuzz_one_in(4)) b->bytes = fuzz_u64() % (b->bytes + 1);
    fuzz_damage(b->data, b->bytes, 1 + fuzz_below(6));
}

static void devices(struct machine *m)
{
    struct ser_buf b;
    struct err e = {0};
    ser_buf_init(&b);
    machine_storm(m, 100);
    bus_lock(&m->bus);
    machine_try(dev_save_all(&m->devs, &b, &e), &e);
    cut_and_damage(&b);
    struct ser_view view = {b.data, b.bytes, 0};
    (void)!dev_load_all(&m->devs, &view, &e);
    bus_unlock(&m->bus);
    machine_storm(m, 300);
    ser_buf_fini(&b);
}

/* Damage of one device's section only: the others do not hide it. */
static void one_device(struct machine *m)
{
    struct ser_buf b;
    struct err e = {0};
    struct dev *d = m->devs.first;
    for (u32 n = fuzz_below(20); n > 0 && d->next; n--) d = d->next;
    ser_buf_init(&b);
    bus_lock(&m->bus);
    machine_try(dev_save(d, &b, &e), &e);
    cut_and_damage(&b);
    struct ser_view view = {b.data, b.bytes, 0};
    (void)!dev_load(d, &view, &e);
    bus_unlock(&m->bus);
    machine_storm(m, 100);
    ser_buf_fini(&b);
}

static void processor(struct machine *m)
{
    struct ser_buf b, after;
    struct err e = {0};
    struct vcpu *v = &m->cpu[0]->v;
    ser_buf_init(&b);
    ser_buf_init(&after);
    machine_try(vcpu_save(v, &b, &e), &e);
    cut_and_damage(&b);
    struct ser_view view = {b.data, b.bytes, 0};
    if (vcpu_load(v, &view, &e) == 0) {
        (void)machine_run(m, v, 200);
        machine_try(vcpu_save(v, &after, &e), &e);
        view = (struct ser_view){after.data, after.bytes, 0};
        int rc = vcpu_load(v, &view, &e);
        if (rc < 0) fprintf(stderr, "%s\n", e.text);
        FUZZ_CHECK(rc == 0); /* a processor that ran can be saved and restored */
    }
    ser_buf_fini(&b);
    ser_buf_fini(&after);
}

int main(void)
{
    fuzz_start("fuzz_ser");
    while (fuzz_next()) {
        struct machine *m = machine_make(2, MIB(4));
        machine_reset(m);
        u8 code[256];
        fuzz_fill(code, sizeof code);
        (void)mem_load(&m->mem, fuzz_below(MIB(1)), code, sizeof code);
        for (u32 i = 0; i < 4; i++) {
            devices(m);
            one_device(m);
            machine_reset(m);
            processor(m);
            processor(m);
        }
        ring3_destroy((struct ring3_vm *)m);
    }
    return 0;
}

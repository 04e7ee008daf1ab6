/* fuzz_dev - storms of port, MMIO, APIC and interrupt-pin accesses of every size over all devices
 * of machine `pc`, while virtual time jumps; and what the devices then save must load. */
#include "fuzz_machine.h"

/* Where two streams differ, with the names before it. */
static void tell_difference(const struct ser_buf *a, const struct ser_buf *b)
{
    size_t at = 0;
    while (at < a->bytes && at < b->bytes && a->data[at] == b->data[at]) at++;
    if (at == a->bytes && at == b->bytes) return;
    fprintf(stderr, "streams of %zu and %zu bytes differ at %zu, behind ", a->bytes, b->bytes, at);
    for (size_t i = at > 200 ? at - 200 : 0; i < at; i++)
        fputc(a->data[i] > ' ' && a->data[i] < 127 ? a->data[i] : '.', stderr);
    fputc('\n', stderr);
}

/* Save, load the same, save again: the same bytes. */
static void save_and_load(struct machine *m)
{
    struct ser_buf a, b;
    struct err e = {0};
    ser_buf_init(&a);
    ser_buf_init(&b);
    bus_lock(&m->bus);
    machine_try(dev_save_all(&m->devs, &a, &e), &e);
    struct ser_view view = {a.data, a.bytes, 0};
    if (dev_load_all(&m->devs, &view, &e) < 0) fprintf(stderr, "%s\n", e.text);
    FUZZ_CHECK(view.pos == view.bytes);
    machine_try(dev_save_all(&m->devs, &b, &e), &e);
    tell_difference(&a, &b);
    FUZZ_CHECK(a.bytes == b.bytes && memcmp(a.data, b.data, a.bytes) == 0);
    bus_unlock(&m->bus);
    ser_buf_fini(&a);
    ser_buf_fini(&b);
}

int main(void)
{
    fuzz_start("fuzz_dev");
    while (fuzz_next()) {
        struct machine *m = machine_make(1 + fuzz_below(4), MIB(4));
        if (fuzz_one_in(2)) machine_pass(m, fuzz_value() >> 3);
        for (u32 i = 0; i < 8; i++) {
            machine_storm(m, 2000);
            save_and_load(m);
            if (fuzz_one_in(2)) machine_reset(m);
        }
        ring3_destroy((struct ring3_vm *)m);
    }
    return 0;
}

/* signals - see signals.h. */
#include "cli/signals.h"

#include <signal.h>
#include <stdatomic.h>

#include "base/types.h"
#include "host/tty.h"

static _Atomic(struct ring3_vm *) target;
static _Atomic int caught;

static void on_signal(int sig)
{
    int none = 0;
    struct ring3_vm *vm = atomic_load(&target);
    if (!atomic_compare_exchange_strong(&caught, &none, sig)) {
        tty_restore();
        signal(sig, SIG_DFL);
        raise(sig); /* strikes when this handler returns */
    } else if (vm) {
        ring3_stop(vm);
    }
}

void signals_install(void)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    struct sigaction sa = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&sa.sa_mask);
    for (u32 i = 0; i < ARRAY_LEN(ends); i++) {
        struct sigaction old;
        sigaction(ends[i], NULL, &old);
        if (old.sa_handler != SIG_IGN) sigaction(ends[i], &sa, NULL); /* nohup stays in force */
    }
}

void signals_stop(struct ring3_vm *vm)
{
    atomic_store(&target, vm);
    if (vm && atomic_load(&caught)) ring3_stop(vm);
}

int signals_caught(void) { return atomic_load(&caught); }

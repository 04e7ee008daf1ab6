/* kick - getting a thread out of KVM_RUN.
 *
 * immediate_exit makes the next KVM_RUN return at once; a signal ends the one under way. No kick is
 * lost: the thread clears immediate_exit first and looks at vcpu->attention afterwards, the kicker
 * sets attention first and immediate_exit afterwards. The signal is one that does nothing where
 * nobody waits for it. */
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "engine/kvm/kvm_internal.h"

enum { KICK_SIGNAL = SIGURG };

static void on_kick(int sig) { (void)sig; } /* that it arrives is all */

int kvm_kick_setup(struct err *e)
{
    struct sigaction sa = {.sa_handler = on_kick}; /* no SA_RESTART: KVM_RUN has to return */
    return sigaction(KICK_SIGNAL, &sa, NULL) < 0 ? err_errno(e, "KVM: sigaction") : 0;
}

void kvm_kick_thread(struct kvm_run *run, pid_t tid)
{
    __atomic_store_n(&run->immediate_exit, 1, __ATOMIC_SEQ_CST);
    if (tid > 0) tgkill(getpid(), tid, KICK_SIGNAL);
}

void kvm_kick_allow(sigset_t *old)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, KICK_SIGNAL);
    pthread_sigmask(SIG_UNBLOCK, &set, old);
}

void kvm_kick_forbid(const sigset_t *old) { pthread_sigmask(SIG_SETMASK, old, NULL); }

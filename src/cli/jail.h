/* cli/jail.h - confinement of the monitor: when a guest breaks out of it, it finds a process that
 * can do next to nothing.
 *
 * Entered once, after everything is open and before the first guest instruction; threads made later
 * inherit it:
 *   1. root becomes SUDO_UID, or nobody (where the user namespace has no such user: root without
 * capabilities);
 *   2. no_new_privs: nothing it might execute gains privileges;
 *   3. Landlock, where the kernel has it (its rules are made first, as long as folders of root can
 * be entered): no file may be opened, made or removed, except removing from the folders of its
 * sockets and making documents in the printer's; no TCP; no signals or abstract sockets to
 * processes outside;
 *   4. seccomp: the system calls of jail.def and no others; a violation is reported and ends the
 * monitor with status 1. */
#ifndef CLI_JAIL_H
#define CLI_JAIL_H
#include "base/err.h"
#include "base/types.h"

struct jail_needs {
    /* Paths of the Unix sockets the process listens at, NULL at the end: clients may come, and the
     * sockets must be removable at the end. */
    const char *const *sockets;
    int spool_fd; /* folder in which the printer's documents are made; -1: none */
};

/**
 * jail_enter - confine this process for good.
 * Errors: E_SYS or E_PERM, naming the step; the process may be partly confined then and should end.
 */
int jail_enter(const struct jail_needs *needs, struct err *e) MUST_USE;
/** jail_landlock_abi - version of Landlock this kernel offers, 0 for none. */
int jail_landlock_abi(void);
#endif

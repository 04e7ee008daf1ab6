/* host/local.h - Unix sockets between a machine and the commands of its owner: nobody else may
 * connect, a socket whose owner is gone is replaced. */
#ifndef HOST_LOCAL_H
#define HOST_LOCAL_H
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

enum { LOCAL_PATH_BYTES = 108 }; /* sockaddr_un.sun_path */

/**
 * local_folder - the folder of this user's control sockets: $XDG_RUNTIME_DIR/ring3, or
 * /tmp/ring3-UID where that is not a folder of this user. Made (mode 0700) when missing.
 * Errors: E_RANGE (the path does not fit @bytes), E_PERM (it is not ours alone: owner, mode, or a
 * symbolic link), E_SYS and its kin.
 */
int local_folder(char *path, size_t bytes, struct err *e) MUST_USE;
/** local_lock - nobody else claims a name in @folder until the descriptor it returns is closed. */
int local_lock(const char *folder, struct err *e) MUST_USE;

/**
 * local_listen - a listening, non-blocking socket at @path, mode 0600.
 * Returns the descriptor; E_BUSY when something listens there or it is no socket, E_RANGE when the
 * path is too long, E_SYS and its kin.
 */
int local_listen(const char *path, struct err *e) MUST_USE;
/** local_connect - a connected, blocking socket; E_NOENT when nobody listens at @path (@stale, may
 * be NULL: a socket is there all the same), E_SYS and its kin. */
int local_connect(const char *path, bool *stale, struct err *e) MUST_USE;
/** local_accept - the next client, non-blocking; -1 when there is none, or errno says why not. */
int local_accept(int fd);
/** local_peer - who is on the other side; false when the kernel does not say. */
bool local_peer(int fd, uid_t *uid, pid_t *pid);
#endif

/* local - see local.h. */
#include "host/local.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 16 };

/* Ours alone? Others could put a socket of theirs into a folder that is not. */
static int check_folder(const char *path, struct err *e)
{
    struct stat st;
    if (lstat(path, &st) < 0) return err_errno(e, "'%s'", path);
    if (!S_ISDIR(st.st_mode)) return err_set(e, E_PERM, "'%s' is no folder", path);
    if (st.st_uid != geteuid()) return err_set(e, E_PERM, "'%s' belongs to somebody else", path);
    if (st.st_mode & 077)
        return err_set(e, E_PERM, "'%s' is open to others (mode %03o)", path, st.st_mode & 0777);
    return 0;
}

int local_folder(char *path, size_t bytes, struct err *e)
{
    struct stat st;
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    /* sudo and su may leave somebody else's */
    bool ours = runtime && *runtime == '/' && stat(runtime, &st) == 0 && S_ISDIR(st.st_mode) &&
                st.st_uid == geteuid();
    int n = ours ? snprintf(path, bytes, "%s/ring3", runtime)
                 : snprintf(path, bytes, "/tmp/ring3-%u", geteuid());
    if (n < 0 || (size_t)n >= bytes)
        return err_set(e, E_RANGE, "XDG_RUNTIME_DIR is too long for a socket's path");
    if (mkdir(path, 0700) < 0 && errno != EEXIST) return err_errno(e, "'%s'", path);
    return check_folder(path, e);
}

int local_lock(const char *folder, struct err *e)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return err_errno(e, "'%s'", folder);
    while (flock(fd, LOCK_EX) < 0) {
        if (errno == EINTR) continue;
        int rc = err_errno(e, "lock '%s'", folder);
        close(fd);
        return rc;
    }
    return fd;
}

static int address(struct sockaddr_un *sa, const char *path, struct err *e)
{
    *sa = (struct sockaddr_un){.sun_family = AF_UNIX};
    static_assert(sizeof sa->sun_path == LOCAL_PATH_BYTES, "sockaddr_un");
    if (strlen(path) >= sizeof sa->sun_path)
        return err_set(e, E_RANGE, "'%s': a socket's path has at most %zu bytes", path,
                       sizeof sa->sun_path - 1);
    memcpy(sa->sun_path, path, strlen(path));
    return 0;
}

/* bind() found the path taken: remove it if it is the socket of a process that is gone. */
static int remove_stale(const char *path, struct err *e)
{
    struct stat st;
    bool stale = false;
    if (lstat(path, &st) < 0) return errno == ENOENT ? 0 : err_errno(e, "'%s'", path);
    if (!S_ISSOCK(st.st_mode)) return err_set(e, E_BUSY, "'%s': exists and is no socket", path);
    int fd = local_connect(path, &stale, e);
    if (fd >= 0) close(fd);
    if (!stale) return err_set(e, E_BUSY, "'%s': already in use", path);
    if (unlink(path) < 0 && errno != ENOENT) return err_errno(e, "'%s': remove", path);
    return 0;
}

int local_listen(const char *path, struct err *e)
{
    struct sockaddr_un sa;
    int rc = address(&sa, path, e);
    if (rc < 0) return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return err_errno(e, "'%s'", path);
    /* the mode of the descriptor becomes that of the path */
    bool bound = fchmod(fd, 0600) == 0 && bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
    if (!bound && errno == EADDRINUSE) {
        rc = remove_stale(path, e);
        if (rc < 0) goto close_fd;
        bound = bind(fd, (struct sockaddr *)&sa, sizeof sa) == 0;
    }
    if (bound && listen(fd, BACKLOG) == 0) return fd;
    rc = err_errno(e, "'%s'", path);
    if (bound) unlink(path);
close_fd:
    close(fd);
    return rc;
}

int local_connect(const char *path, bool *stale, struct err *e)
{
    struct sockaddr_un sa;
    int rc = address(&sa, path, e);
    if (stale) *stale = false;
    if (rc < 0) return rc;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return err_errno(e, "'%s'", path);
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0) return fd;
    bool refused = errno == ECONNREFUSED;
    if (stale) *stale = refused;
    rc = refused ? err_set(e, E_NOENT, "'%s': nobody listens there any more", path)
                 : err_errno(e, "'%s'", path);
    close(fd);
    return rc;
}

int local_accept(int fd) { return accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC); }

bool local_peer(int fd, uid_t *uid, pid_t *pid)
{
    struct ucred cred;
    socklen_t bytes = sizeof cred;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &bytes) < 0) return false;
    *uid = cred.uid;
    *pid = cred.pid;
    return true;
}

/* jail - see jail.h. */
#include "cli/jail.h"

#include <asm/prctl.h>
#include <asm/termbits.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cli/number.h"
#include "cli/options.h"
#include "host/tty.h"

/* ---- 1. root --------------------------------------------------------------------------------- */

static u32 id_from(const char *variable)
{
    struct err ignored;
    enum { NOBODY = 65534 };
    u64 id;
    const char *text = getenv(variable);
    return text && number_u64(variable, text, (struct number_range){1, INT32_MAX}, &id, &ignored) ==
                       0
               ? (u32)id
               : NOBODY;
}

static int drop_capabilities(struct err *e)
{
    struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capset, &head, none) == 0) return 0;
    return err_errno(e, "jail: cannot drop capabilities");
}

static int drop_root(struct err *e)
{
    if (geteuid() != 0) return 0;
    u32 uid = id_from("SUDO_UID"), gid = id_from("SUDO_GID");
    bool groups = setgroups(0, NULL) == 0;
    if (groups && setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0) return 0;
    return drop_capabilities(e);
}

/* ---- 3. Landlock (Documentation/userspace-api/landlock.rst) ---------------------------------- */

/* The kernel's structures, as far as we use them: the headers of older distributions lack the newer
 * fields. */
struct ruleset {
    u64 fs, net, scoped;
};
struct path_beneath {
    u64 allowed;
    s32 parent_fd;
} __attribute__((packed));
enum { RULE_PATH_BENEATH = 1, CREATE_RULESET_VERSION = 1, FS_REMOVE_FILE = 1 << 5 };
enum { FS_WRITE_FILE = 1 << 1, FS_MAKE_REG = 1 << 8 };

int jail_landlock_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, CREATE_RULESET_VERSION);
    return abi < 0 ? 0 : (int)abi;
}

/* Everything a kernel of version @abi can deny; returns how much of the structure it knows. */
static size_t deny_all(struct ruleset *r, int abi)
{
    unsigned fs_rights = abi >= 5 ? 16 : abi >= 3 ? 15 : abi == 2 ? 14 : 13;
    *r = (struct ruleset){
        .fs = BIT(fs_rights) - 1, .net = abi >= 4 ? 3 : 0, .scoped = abi >= 6 ? 3 : 0};
    return abi >= 6   ? sizeof *r
           : abi >= 4 ? offsetof(struct ruleset, scoped)
                      : offsetof(struct ruleset, net);
}

static long allow_beneath(int ruleset, int folder_fd, u64 rights)
{
    struct path_beneath rule = {.allowed = rights, .parent_fd = folder_fd};
    return syscall(SYS_landlock_add_rule, ruleset, RULE_PATH_BENEATH, &rule, 0);
}

/* Allow removing files from the folder of @path. */
static int allow_remove(int ruleset, const char *path, struct err *e)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
    if (!folder) return err_set(e, E_NOMEM, "jail");
    int fd = open(folder, O_PATH | O_CLOEXEC | O_DIRECTORY);
    int rc = 0;
    if (fd < 0 || allow_beneath(ruleset, fd, FS_REMOVE_FILE) < 0)
        rc = err_errno(e, "jail: Landlock '%s'", folder);
    if (fd >= 0) close(fd);
    free(folder);
    return rc;
}

static int add_landlock_rules(int ruleset, const struct jail_needs *needs, struct err *e)
{
    int rc = 0;
    for (u32 i = 0; needs->sockets[i] && rc == 0; i++)
        rc = allow_remove(ruleset, needs->sockets[i], e);
    if (rc == 0 && needs->spool_fd >= 0 &&
        allow_beneath(ruleset, needs->spool_fd, FS_WRITE_FILE | FS_MAKE_REG) < 0)
        rc = err_errno(e, "jail: Landlock, the spool's folder");
    return rc;
}

/* Made while folders that only root may enter can still be opened. *out: the descriptor, owned by
 * the caller; -1 where the kernel has no Landlock. */
static int make_ruleset(int *out, const struct jail_needs *needs, struct err *e)
{
    struct ruleset all;
    int abi = jail_landlock_abi();
    *out = -1;
    if (abi < 1) return 0;
    size_t bytes = deny_all(&all, abi);
    int fd = (int)syscall(SYS_landlock_create_ruleset, &all, bytes, 0);
    if (fd < 0) return err_errno(e, "jail: Landlock");
    int rc = add_landlock_rules(fd, needs, e);
    if (rc < 0) close(fd);
    else *out = fd;
    return rc;
}

/* ---- 4. seccomp ------------------------------------------------------------------------------ */

static char *put_number(char *end, unsigned n)
{
    do *--end = (char)('0' + n % 10);
    while (n /= 10);
    return end;
}

/* A system call jail.def does not have. Only async-signal-safe functions here. */
static void on_violation(int sig, siginfo_t *info, void *context)
{
    static const char head[] = "ring3: jail: system call ", tail[] = " refused\n";
    char digits[12];
    (void)sig, (void)context;
    char *at = put_number(digits + sizeof digits, (unsigned)info->si_syscall);
    tty_restore();
    (void)!write(STDERR_FILENO, head, sizeof head - 1);
    (void)!write(STDERR_FILENO, at, (size_t)(digits + sizeof digits - at));
    (void)!write(STDERR_FILENO, tail, sizeof tail - 1);
    /* not _exit(): hooks there (of a sanitizer) make system calls of their own */
    syscall(SYS_exit_group, STATUS_MONITOR);
}

struct rule {
    int call;
    u32 action;
    int arg; /* -1: whatever the arguments */
    u64 mask, value;
    bool socket_only;
    bool but_spool; /* not relative to the spool's folder */
};

static int add_rule(scmp_filter_ctx f, const struct rule *r)
{
    struct scmp_arg_cmp cmp = {
        .arg = (unsigned)r->arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = r->mask, .datum_b = r->value};
    return seccomp_rule_add_array(f, r->action, r->call, r->arg >= 0, r->arg >= 0 ? &cmp : NULL);
}

/* A refusal of everything that is not relative to @spool_fd. */
static int add_refusal(scmp_filter_ctx f, const struct rule *r, int spool_fd)
{
    struct rule here = {
        .call = r->call, .action = SCMP_ACT_ALLOW, .mask = UINT32_MAX, .value = (u64)spool_fd};
    struct scmp_arg_cmp elsewhere = {.arg = 0, .op = SCMP_CMP_NE, .datum_a = (u64)spool_fd};
    int rc = add_rule(f, &here);
    return rc < 0 ? rc : seccomp_rule_add_array(f, r->action, r->call, 1, &elsewhere);
}

static int add_rules(scmp_filter_ctx f, const struct jail_needs *needs)
{
    const struct rule rules[] = {
#define ALLOW(call, why) {SCMP_SYS(call), SCMP_ACT_ALLOW, -1, 0, 0, false, false},
#define ALLOW_SOCKET(call, why) {SCMP_SYS(call), SCMP_ACT_ALLOW, -1, 0, 0, true, false},
#define ALLOW_IF(call, arg, mask, value, why)                                                      \
    {SCMP_SYS(call), SCMP_ACT_ALLOW, arg, mask, (u64)(value), false, false},
#define REFUSE(call, error, why) {SCMP_SYS(call), SCMP_ACT_ERRNO(error), -1, 0, 0, false, false},
#define REFUSE_BUT_SPOOL(call, error, why)                                                         \
    {SCMP_SYS(call), SCMP_ACT_ERRNO(error), -1, 0, 0, false, true},
#include "cli/jail.def"
#undef ALLOW
#undef ALLOW_SOCKET
#undef ALLOW_IF
#undef REFUSE
#undef REFUSE_BUT_SPOOL
    };
    int rc = 0;
    for (u32 i = 0; i < ARRAY_LEN(rules) && rc == 0; i++) {
        if (rules[i].socket_only && !needs->sockets[0]) continue;
        if (rules[i].but_spool && needs->spool_fd >= 0)
            rc = add_refusal(f, &rules[i], needs->spool_fd);
        else rc = add_rule(f, &rules[i]);
    }
    return rc;
}

static int enter_seccomp(const struct jail_needs *needs, struct err *e)
{
    struct sigaction sa = {.sa_sigaction = on_violation, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigfillset(&sa.sa_mask);
    sigaction(SIGSYS, &sa, NULL);
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_TRAP);
    if (!f) return err_set(e, E_NOMEM, "jail: seccomp");
    int rc = seccomp_attr_set(f, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    if (rc == 0) rc = add_rules(f, needs);
    if (rc == 0) rc = seccomp_load(f);
    seccomp_release(f);
    if (rc == 0) return 0;
    errno = -rc;
    return err_errno(e, "jail: seccomp");
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int restrict_self(int ruleset, struct err *e)
{
    int rc = drop_root(e);
    if (rc == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        rc = err_errno(e, "jail: no_new_privs");
    if (rc == 0 && ruleset >= 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
        rc = err_errno(e, "jail: Landlock");
    return rc;
}

int jail_enter(const struct jail_needs *needs, struct err *e)
{
    int ruleset;
    int rc = make_ruleset(&ruleset, needs, e);
    if (rc < 0) return rc;
    rc = restrict_self(ruleset, e);
    if (ruleset >= 0) close(ruleset);
    return rc < 0 ? rc : enter_seccomp(needs, e);
}

/* drive - runs the workloads of bench/guest.sh, one at a time, as the host asks for them.
 *
 * The same static program is init of the guest (process 1, console on the serial port) and, as
 * `drive ROOT`, the native side: it then enters ROOT in a mount namespace of its own, so that both
 * run the same files. Commands, one line each on standard input: run ARGV...    start the program,
 * output to /tmp/out, the folder /tmp/new empty;   live ARGV...  output to the console instead
 * show           print what the last run left in /tmp/out;   quit  leave, in the guest by powering
 * off Answers: "@READY", then per run "@B" before the start, "@D" at the end and then "@E STATUS NS
 * CPU_NS HASH BYTES": wait status as a shell gives it (128 + signal), nanoseconds by the monotonic
 * clock seen here and of processor time of the program, FNV-1a 64 and size of /tmp/out. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LINE = 512, MAX_ARGS = 64, SHOWN_BYTES = 4096 };

static const char out_path[] = "/tmp/out";
static const char new_path[] = "/tmp/new"; /* a folder that is empty before each run */

static void die(const char *what)
{
    printf("@FAIL %s: %s\n", what, strerror(errno));
    fflush(stdout);
    if (getpid() == 1) reboot(RB_POWER_OFF);
    exit(1);
}

static void write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0) die(path);
    close(fd);
}

/* The namespaces of the native side; without root a user namespace in which we are root. */
static void enter_root(const char *root)
{
    char map[64], path[MAX_LINE];
    uid_t uid = geteuid();
    gid_t gid = getegid();
    if (unshare(uid == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) != 0) die("unshare");
    if (uid != 0) {
        snprintf(map, sizeof map, "0 %u 1", (unsigned)uid);
        write_file("/proc/self/uid_map", map);
        write_file("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "0 %u 1", (unsigned)gid);
        write_file("/proc/self/gid_map", map);
    }
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) die("making mounts private");
    static const char *const shared[] = {"/proc", "/dev"};
    for (size_t i = 0; i < sizeof shared / sizeof *shared; i++) {
        snprintf(path, sizeof path, "%s%s", root, shared[i]);
        if (mount(shared[i], path, NULL, MS_BIND | MS_REC, NULL) != 0) die(path);
    }
    if (chroot(root) != 0 || chdir("/") != 0) die(root);
}

static void guest_mounts(void)
{
    if (mount("proc", "/proc", "proc", 0, NULL) != 0 ||
        mount("sysfs", "/sys", "sysfs", 0, NULL) != 0)
        die("mount");
    if (mount("dev", "/dev", "devtmpfs", 0, NULL) != 0 && errno != EBUSY) die("/dev");
    int fd = open("/dev/console", O_RDWR);
    if (fd < 0) die("/dev/console");
    for (int i = 0; i <= 2; i++) dup2(fd, i);
    if (fd > 2) close(fd);
}

static void plain_console(void)
{
    struct termios t;
    if (tcgetattr(0, &t) != 0) return;
    t.c_lflag &= ~(tcflag_t)(ECHO | ICANON | ISIG);
    t.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
    tcsetattr(0, TCSANOW, &t);
}

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t children_ns(void)
{
    struct rusage u;
    getrusage(RUSAGE_CHILDREN, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000000u +
           (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) * 1000u;
}

/* One processor for native programs as well: guests have one. */
static void child(char **argv, bool live)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    int null = open("/dev/null", O_RDONLY);
    dup2(null, 0);
    if (!live) {
        int out = open(out_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
        dup2(out, 1);
        dup2(out, 2);
        close(out);
    }
    close(null);
    if (chdir("/bench") == 0) execvp(argv[0], argv);
    printf("%s: %s\n", argv[0], strerror(errno));
    fflush(stdout);
    _exit(127);
}

static uint64_t hash_output(uint64_t *bytes)
{
    static unsigned char block[65536];
    uint64_t hash = 0xcbf29ce484222325u;
    *bytes = 0;
    int fd = open(out_path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return 0;
    for (ssize_t got; (got = read(fd, block, sizeof block)) > 0; *bytes += (uint64_t)got)
        for (ssize_t i = 0; i < got; i++) hash = (hash ^ block[i]) * 0x100000001b3u;
    close(fd);
    return hash;
}

/* What a run left there would have the next one do something else. */
static void empty_new(void)
{
    DIR *dir = opendir(new_path);
    if (!dir && mkdir(new_path, 0755) != 0) die(new_path);
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;)
        if (e->d_type != DT_DIR && unlinkat(dirfd(dir), e->d_name, 0) != 0) die(e->d_name);
    if (dir) closedir(dir);
}

static void run(char **argv, bool live)
{
    if (live) unlink(out_path);
    empty_new();
    puts("@B");
    fflush(stdout);
    tcdrain(1);
    uint64_t start = now_ns(), cpu = children_ns(), bytes;
    pid_t pid = fork();
    if (pid == 0) child(argv, live);
    int status = 0;
    if (pid < 0) die("fork");
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    uint64_t ns = now_ns() - start;
    cpu = children_ns() - cpu;
    puts("@D"); /* before the hash, so that the host can time the end */
    fflush(stdout);
    uint64_t hash = hash_output(&bytes);
    printf("@E %d %" PRIu64 " %" PRIu64 " %016" PRIx64 " %" PRIu64 "\n",
           WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status), ns, cpu, hash,
           bytes);
}

static void show(void)
{
    char text[SHOWN_BYTES + 1];
    int fd = open(out_path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? 0 : read(fd, text, SHOWN_BYTES);
    text[got > 0 ? got : 0] = 0;
    char *save = NULL;
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        printf("@> %s\n", line);
    puts("@.");
    if (fd >= 0) close(fd);
}

static bool obey(char *line)
{
    char *argv[MAX_ARGS + 1], *save = NULL;
    size_t n = 0;
    for (char *w = strtok_r(line, " \r\n", &save); w && n < MAX_ARGS;
         w = strtok_r(NULL, " \r\n", &save))
        argv[n++] = w;
    argv[n] = NULL;
    if (n == 0) return true;
    if (strcmp(argv[0], "quit") == 0) return false;
    if (strcmp(argv[0], "show") == 0) show();
    else if (n > 1 && (strcmp(argv[0], "run") == 0 || strcmp(argv[0], "live") == 0))
        run(argv + 1, argv[0][0] == 'l');
    fflush(stdout);
    return true;
}

int main(int argc, char **argv)
{
    bool guest = getpid() == 1;
    if (guest) guest_mounts();
    else if (argc == 2) enter_root(argv[1]);
    else return fprintf(stderr, "usage: drive ROOT\n"), 2;
    if (mount("tmpfs", "/tmp", "tmpfs", 0, "mode=1777,size=700m") != 0) die("/tmp");
    plain_console();
    clearenv();
    setenv("PATH", "/bench:/usr/bin:/bin:/usr/sbin:/sbin", 1);
    setenv("HOME", "/tmp", 1);
    setenv("LC_ALL", "C", 1);
    setenv("PYTHONHASHSEED", "0", 1);
    setenv("PYTHONDONTWRITEBYTECODE", "1", 1);
    puts("@READY");
    fflush(stdout);
    char line[MAX_LINE];
    while (fgets(line, sizeof line, stdin) && obey(line))
        ;
    if (guest) reboot(RB_POWER_OFF);
    return 0;
}

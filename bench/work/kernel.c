/* kernel TEST COUNT - one kind of kernel work, COUNT times; prints what it checked on the way, and
 * on standard error nothing: the host times the run.  Tests are rows of the table at the end. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PAGE = 4096, MAP_PAGES = 1024, FILE_BYTES = 1024 };

static void must(int ok, const char *what)
{
    if (!ok) {
        perror(what);
        exit(1);
    }
}

static unsigned long getpid_loop(unsigned long n)
{
    unsigned long good = 0;
    for (long pid = getpid(); n > 0; n--) good += syscall(SYS_getpid) == pid;
    return good;
}

static unsigned long read_zero(unsigned long n)
{
    char block[PAGE];
    unsigned long sum = 0;
    int fd = open("/dev/zero", O_RDONLY);
    must(fd >= 0, "/dev/zero");
    for (; n > 0; n--) {
        must(read(fd, block, sizeof block) == sizeof block, "read");
        sum += (unsigned char)block[n % PAGE] + 1u;
    }
    return sum;
}

static unsigned long wait_for(pid_t pid)
{
    int status;
    must(pid > 0, "fork");
    must(waitpid(pid, &status, 0) == pid, "waitpid");
    return status == 0;
}

static unsigned long fork_exec(unsigned long n)
{
    unsigned long good = 0;
    for (; n > 0; n--) {
        pid_t pid = fork();
        if (pid == 0) {
            execl("/bench/true", "true", (char *)NULL);
            _exit(1);
        }
        good += wait_for(pid);
    }
    return good;
}

static unsigned long fork_exit(unsigned long n)
{
    unsigned long good = 0;
    for (; n > 0; n--) {
        pid_t pid = fork();
        if (pid == 0) _exit(0);
        good += wait_for(pid);
    }
    return good;
}

/* One byte through a pipe and back out in the same process: no switch. */
static unsigned long pipe_self(unsigned long n)
{
    int p[2];
    unsigned long sum = 0;
    must(pipe(p) == 0, "pipe");
    for (; n > 0; n--) {
        unsigned char c = (unsigned char)n, d = 0;
        must(write(p[1], &c, 1) == 1 && read(p[0], &d, 1) == 1, "pipe");
        sum += d;
    }
    return sum;
}

/* A byte to another process and its successor back: two switches. */
static unsigned long ping_pong(unsigned long n)
{
    int to[2], from[2];
    unsigned char c = 0;
    must(pipe(to) == 0 && pipe(from) == 0, "pipe");
    pid_t pid = fork();
    if (pid == 0) {
        close(to[1]);
        while (read(to[0], &c, 1) == 1) {
            c++;
            must(write(from[1], &c, 1) == 1, "write");
        }
        _exit(0);
    }
    for (unsigned long i = 0; i < n; i++)
        must(write(to[1], &c, 1) == 1 && read(from[0], &c, 1) == 1, "pipe");
    close(to[1]);
    must(wait_for(pid) == 1, "child");
    return c;
}

static unsigned long page_faults(unsigned long n)
{
    unsigned long sum = 0;
    for (; n > 0; n--) {
        unsigned char *p = mmap(NULL, (size_t)MAP_PAGES * PAGE, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        must(p != MAP_FAILED, "mmap");
        for (size_t i = 0; i < MAP_PAGES; i++) sum += ++p[i * PAGE];
        must(munmap(p, (size_t)MAP_PAGES * PAGE) == 0, "munmap");
    }
    return sum;
}

static volatile sig_atomic_t caught;
static void on_signal(int number) { caught += number == SIGUSR1; }

static unsigned long signals(unsigned long n)
{
    struct sigaction act = {.sa_handler = on_signal};
    unsigned long sum = 0;
    pid_t self = getpid();
    for (; n > 0; n--) {
        must(sigaction(SIGUSR1, &act, NULL) == 0, "sigaction");
        caught = 0;
        must(kill(self, SIGUSR1) == 0, "kill");
        sum += (unsigned long)caught;
    }
    return sum;
}

static unsigned long small_files(unsigned long n)
{
    char data[FILE_BYTES], back[FILE_BYTES], path[64];
    unsigned long good = 0;
    for (; n > 0; n--) {
        snprintf(path, sizeof path, "/tmp/small-%lu", n % 100);
        memset(data, (int)(n % 251), sizeof data);
        int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        must(fd >= 0 && write(fd, data, sizeof data) == sizeof data && close(fd) == 0, path);
        fd = open(path, O_RDONLY);
        must(fd >= 0 && read(fd, back, sizeof back) == sizeof back && close(fd) == 0, path);
        good += memcmp(data, back, sizeof data) == 0;
        must(unlink(path) == 0, path);
    }
    return good;
}

static const struct test {
    const char *name;
    unsigned long (*run)(unsigned long n); /* returns a figure that every machine must agree on */
} tests[] = {
    {"getpid", getpid_loop}, {"read", read_zero}, {"forkexec", fork_exec},
    {"fork", fork_exit},     {"pipe", pipe_self}, {"pingpong", ping_pong},
    {"fault", page_faults},  {"signal", signals}, {"files", small_files},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; argc == 3 && i < sizeof tests / sizeof *tests; i++)
        if (strcmp(tests[i].name, argv[1]) == 0)
            return printf("%s %lu\n", argv[1], tests[i].run(strtoul(argv[2], NULL, 10))) < 0;
    fprintf(stderr, "usage: kernel TEST COUNT\n");
    return 2;
}

/* http_raw - a client without manners, for tests of the control socket.
 *
 *     http_raw SOCKET          send standard input, print what comes until the other side closes
 *     http_raw SOCKET -s       the same, a byte at a time
 *     http_raw SOCKET -d       the same, but read nothing for half a second first
 *     http_raw SOCKET -i N     open N connections that say nothing, print "open", wait for the end
 *                              of standard input
 *
 * Gives up after 20 s without a byte: exit status 3. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { INPUT_MAX = 1 << 22, IDLE_MAX = 256 };

static int open_socket(const char *path)
{
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    const struct timeval patience = {.tv_sec = 20};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", path);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    if (connect(fd, (struct sockaddr *)&sa, sizeof sa) == 0) return fd;
    perror(path);
    exit(2);
}

static int idle(const char *path, int n)
{
    char c;
    for (int i = 0; i < n && i < IDLE_MAX; i++) open_socket(path);
    puts("open");
    fflush(stdout);
    while (read(0, &c, 1) > 0) continue;
    return 0;
}

/* The other side may close before it has read everything. */
static void send_input(int fd, const char *in, size_t n, size_t step)
{
    for (size_t at = 0; at < n; at += step) {
        size_t len = n - at < step ? n - at : step;
        if (send(fd, in + at, len, MSG_NOSIGNAL) < 0) return;
        if (step == 1) usleep(1000);
    }
}

static int print_output(int fd)
{
    char buf[65536];
    for (;;) {
        ssize_t n = recv(fd, buf, sizeof buf, 0);
        if (n == 0 || (n < 0 && errno == ECONNRESET)) return 0;
        if (n < 0) return 3;
        fwrite(buf, 1, (size_t)n, stdout);
    }
}

int main(int argc, char **argv)
{
    const char *how = argc > 2 ? argv[2] : "";
    if (argc < 2) return 2;
    if (!strcmp(how, "-i")) return idle(argv[1], argc > 3 ? atoi(argv[3]) : 1);
    char *in = malloc(INPUT_MAX);
    if (!in) return 2;
    size_t n = fread(in, 1, INPUT_MAX, stdin);
    int fd = open_socket(argv[1]);
    send_input(fd, in, n, strcmp(how, "-s") ? n : 1);
    if (!strcmp(how, "-d")) usleep(500000);
    shutdown(fd, SHUT_WR);
    int rc = print_output(fd);
    free(in);
    return rc;
}

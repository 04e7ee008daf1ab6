/* display_vnc_addr - where a VNC server listens: parsing, and making the socket. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "host/display_internal.h"
#include "host/local.h"

enum { VNC_PORT = 5900, BACKLOG = 4 };

/* "host" and "port", both borrowed from @text's copy. */
static bool copy(char *to, size_t room, const char *from, size_t n)
{
    if (n >= room) return false;
    memcpy(to, from, n);
    to[n] = 0;
    return true;
}

static bool is_number(const char *s, u32 max, u32 *out)
{
    char *end;
    unsigned long n = strtoul(s, &end, 10);
    *out = (u32)n;
    return *s >= '0' && *s <= '9' && !*end && n <= max;
}

static bool parse_tcp(const char *text, size_t n, struct vnc_addr *a)
{
    char spec[sizeof a->host + sizeof a->port];
    u32 number;
    if (!copy(spec, sizeof spec, text, n)) return false;
    char *colon = strrchr(spec, ':');
    if (!colon || !is_number(colon + 1, UINT16_MAX, &number)) return false;
    if (colon == spec) number += VNC_PORT; /* :N is the N-th screen of this host */
    if (number > UINT16_MAX || number == 0) return false;
    snprintf(a->port, sizeof a->port, "%u", number);
    *colon = 0;
    size_t len = strlen(spec);
    if (spec[0] != '[') return copy(a->host, sizeof a->host, spec, len);
    return len > 2 && spec[len - 1] == ']' && copy(a->host, sizeof a->host, spec + 1, len - 2);
}

int vnc_addr_parse(const char *text, struct vnc_addr *a, struct err *e)
{
    static const char option[] = ",password=", local[] = "unix:";
    const char *comma = strstr(text, option);
    size_t n = comma ? (size_t)(comma - text) : strlen(text);
    *a = (struct vnc_addr){0};
    bool good = true;
    if (comma) {
        const char *file = comma + sizeof option - 1;
        good = *file && copy(a->password, sizeof a->password, file, strlen(file));
    }
    if (strncmp(text, local, sizeof local - 1) == 0) {
        text += sizeof local - 1;
        n -= sizeof local - 1;
        good = good && n > 0 && copy(a->path, sizeof a->path, text, n);
    } else {
        good = good && parse_tcp(text, n, a);
    }
    if (good) return 0;
    return err_set(e, E_INVAL,
                   "display 'vnc=%s': not :N, HOST:PORT or unix:PATH, perhaps with ,password=FILE",
                   text);
}

static int listen_on(const struct addrinfo *ai, const char *text, struct err *e)
{
    const int on = 1;
    int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return err_errno(e, "display 'vnc=%s'", text);
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, ai->ai_addr, ai->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0) return fd;
    int rc = errno == EADDRINUSE ? err_set(e, E_BUSY, "display 'vnc=%s': the port is in use", text)
                                 : err_errno(e, "display 'vnc=%s'", text);
    close(fd);
    return rc;
}

int vnc_addr_listen(const struct vnc_addr *a, const char *text, struct err *e)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *list = NULL;
    if (a->path[0]) {
        int fd = local_listen(a->path, e);
        return fd < 0 ? err_wrap(e, "display 'vnc=%s'", text) : fd;
    }
    int rc = getaddrinfo(a->host[0] ? a->host : "127.0.0.1", a->port, &hints, &list);
    if (rc) return err_set(e, E_INVAL, "display 'vnc=%s': %s", text, gai_strerror(rc));
    int fd = listen_on(list, text, e);
    freeaddrinfo(list);
    return fd;
}

/* client - see client.h. */
#include "cli/client.h"

#include <dirent.h>
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/types.h"
#include "host/local.h"

enum { PATIENCE_S = 10, HEAD_MAX = 16384, BODY_MAX = 64 << 20 };

void client_reply_fini(struct client_reply *r)
{
    free(r->body);
    *r = (struct client_reply){0};
}

/* ---- machines -------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b) { return strcmp(a, b); }

/* Is somebody listening at @path? A socket nobody listens at goes. */
static bool living(const char *path)
{
    struct stat st;
    struct err ignored;
    bool stale;
    if (lstat(path, &st) < 0 || !S_ISSOCK(st.st_mode)) return false;
    int fd = local_connect(path, &stale, &ignored);
    if (fd >= 0) close(fd);
    else if (stale) (void)!unlink(path);
    return fd >= 0;
}

static u32 list_folder(DIR *dir, const char *folder, struct client_machine *to)
{
    char path[LOCAL_PATH_BYTES + CLIENT_NAME_BYTES];
    u32 n = 0;
    for (struct dirent *d; n < CLIENT_MACHINES_MAX && (d = readdir(dir));) {
        size_t length = strlen(d->d_name);
        if (*d->d_name == '.' || length >= CLIENT_NAME_BYTES) continue;
        snprintf(path, sizeof path, "%s/%.*s", folder, CLIENT_NAME_BYTES - 1, d->d_name);
        if (living(path)) memcpy(to[n++].name, d->d_name, length + 1);
    }
    qsort(to, n, sizeof *to, compare);
    return n;
}

int client_machines(struct client_machine **out, struct err *e)
{
    char folder[LOCAL_PATH_BYTES];
    *out = NULL;
    int rc = local_folder(folder, sizeof folder, e);
    if (rc < 0) return rc;
    struct client_machine *list = calloc(CLIENT_MACHINES_MAX, sizeof *list);
    if (!list) return err_set(e, E_NOMEM, "list of machines");
    int lock = local_lock(folder, e); /* nobody may be between a stale socket and its own */
    DIR *dir = lock >= 0 ? opendir(folder) : NULL;
    if (lock >= 0 && !dir) err_errno(e, "'%s'", folder);
    if (!dir) {
        if (lock >= 0) close(lock);
        free(list);
        return e->code;
    }
    rc = (int)list_folder(dir, folder, list);
    closedir(dir);
    close(lock);
    *out = list;
    return rc;
}

static int no_such(const char *name, struct err *e)
{
    struct client_machine *list;
    struct err ignored;
    char names[ERR_TEXT_BYTES / 2] = "";
    int n = client_machines(&list, &ignored);
    for (int i = 0, used = 0; i < n && used < (int)sizeof names; i++)
        used += snprintf(names + used, sizeof names - (size_t)used, "%s%s", i ? ", " : "",
                         list[i].name);
    if (n > 0) free(list);
    return err_set(e, E_NOENT, "no machine called '%s' is running (%s%s)", name,
                   *names ? "running: " : "none is", names);
}

int client_open(const char *name, struct err *e)
{
    char path[LOCAL_PATH_BYTES + CLIENT_NAME_BYTES], folder[LOCAL_PATH_BYTES];
    const struct timeval patience = {.tv_sec = PATIENCE_S};
    bool is_path = strchr(name, '/');
    int rc = is_path ? 0 : local_folder(folder, sizeof folder, e);
    if (rc < 0) return rc;
    if (!*name || strlen(name) >= (is_path ? LOCAL_PATH_BYTES : CLIENT_NAME_BYTES))
        return no_such(name, e);
    if (is_path) snprintf(path, sizeof path, "%s", name);
    else snprintf(path, sizeof path, "%s/%s", folder, name);
    int fd = local_connect(path, NULL, e);
    if (fd == E_NOENT && !is_path) return no_such(name, e);
    if (fd < 0) return fd;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return fd;
}

/* ---- a request ------------------------------------------------------------------------------- */

static int send_all(int fd, const char *at, size_t n, struct err *e)
{
    while (n > 0) {
        ssize_t took = send(fd, at, n, MSG_NOSIGNAL);
        if (took < 0 && errno == EINTR) continue;
        if (took < 0 && errno == EPIPE) return 0; /* refused before its end: the reply says why */
        if (took < 0) return err_errno(e, "request");
        at += took, n -= (size_t)took;
    }
    return 0;
}

/* One read of up to @n bytes; the end is an error. */
static int receive(int fd, char *to, size_t n, size_t *got, struct err *e)
{
    for (;;) {
        ssize_t rc = recv(fd, to, n, 0);
        if (rc < 0 && errno == EINTR) continue;
        if (rc < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return err_set(e, E_SYS, "the machine does not answer");
        if (rc < 0) return err_errno(e, "reply");
        if (rc == 0) return err_set(e, E_NOENT, "the machine ended before it answered");
        *got = (size_t)rc;
        return 0;
    }
}

/* The head of a reply into @head (HEAD_MAX bytes and a 0); *@used of @head_bytes are the head. */
static int receive_head(int fd, char *head, size_t *head_bytes, size_t *used, struct err *e)
{
    for (*head_bytes = 0; *head_bytes < HEAD_MAX;) {
        size_t got;
        int rc = receive(fd, head + *head_bytes, HEAD_MAX - *head_bytes, &got, e);
        if (rc < 0) return rc;
        *head_bytes += got;
        head[*head_bytes] = 0;
        const char *end = strstr(head, "\r\n\r\n");
        if (!end) continue;
        *used = (size_t)(end - head) + 4;
        return 0;
    }
    return err_set(e, E_FORMAT, "the reply's head does not end");
}

static int receive_body(int fd, struct client_reply *out, const char *first, size_t have,
                        struct err *e)
{
    out->body = malloc(out->bytes + 1);
    if (!out->body) return err_set(e, E_NOMEM, "reply of %zu bytes", out->bytes);
    if (have > out->bytes) have = out->bytes;
    memcpy(out->body, first, have);
    while (have < out->bytes) {
        size_t got;
        int rc = receive(fd, out->body + have, out->bytes - have, &got, e);
        if (rc < 0) return rc;
        have += got;
    }
    out->body[have] = 0;
    return 0;
}

static int receive_reply(int fd, int *status, struct client_reply *out, struct err *e)
{
    static const char field[] = "\r\ncontent-length:";
    size_t head_bytes = 0, used = 0;
    char *head = malloc(HEAD_MAX + 1);
    if (!head) return err_set(e, E_NOMEM, "reply");
    int rc = receive_head(fd, head, &head_bytes, &used, e);
    if (rc < 0) goto free_head;
    if (sscanf(head, "HTTP/1.1 %3d ", status) != 1) {
        rc = err_set(e, E_FORMAT, "what answers there speaks no HTTP");
        goto free_head;
    }
    const char *length = strcasestr(head, field);
    bool in_head = length && (size_t)(length - head) < used;
    out->bytes = in_head ? strtoull(length + sizeof field - 1, NULL, 10) : 0;
    if (out->bytes > BODY_MAX) rc = err_set(e, E_FORMAT, "the reply is too long");
    else rc = receive_body(fd, out, head + used, head_bytes - used, e);
free_head:
    free(head);
    return rc;
}

/* What the machine says is wrong. */
static int fault(int status, const struct client_reply *r, struct err *e)
{
    json_t *object = json_loadb(r->body, r->bytes, 0, NULL);
    const char *text = json_string_value(json_object_get(object, "fault_message"));
    int code = status == 404 ? E_NOENT : status == 409 ? E_BUSY : status < 500 ? E_INVAL : E_SYS;
    err_set(e, code, "%s", text ? text : "the machine refused");
    json_decref(object);
    return code;
}

int client_do(int fd, const char *request, const char *body, struct client_reply *out,
              struct err *e)
{
    char head[512];
    int status = 0;
    *out = (struct client_reply){0};
    int n = snprintf(head, sizeof head,
                     "%s HTTP/1.1\r\nHost: ring3\r\nContent-Type: application/json\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     request, body ? strlen(body) : 0);
    int rc = send_all(fd, head, (size_t)n, e);
    if (rc == 0 && body) rc = send_all(fd, body, strlen(body), e);
    if (rc == 0) rc = receive_reply(fd, &status, out, e);
    if (rc == 0 && status >= 400) rc = fault(status, out, e);
    if (rc < 0) client_reply_fini(out);
    return rc;
}

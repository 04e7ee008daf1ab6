/* pc_flash.c - see pc_flash.h. What the guest programs is written to the file at once, from the
 * vCPU's thread: variables are few and small. */
#include "machine/pc_flash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "dev/pflash.h"

enum { FV_GUID = 16, FV_LENGTH = 32, FV_SIGNATURE = 40, FV_HEADER_BYTES = 56 };
#define VARS_BYTES_MAX MIB(2)
#define CODE_BYTES_MIN KIB(64)

struct pc_flash {
    struct log *log; /* borrowed */
    u32 vars_id;
    u64 code_bytes, skip;
    int fd;     /* of the store; -1: in memory only */
    char *path; /* owned: of the store; NULL: none  */
    bool complained;
};

bool pc_flash_is(const struct file_data *image)
{
    return image->bytes >= FV_HEADER_BYTES && !memcmp(image->data + FV_SIGNATURE, "_FVH", 4);
}

/* Length of the variable store @data begins with, or 0 (PI 1.7 vol. 3, 3.2.1; the volume of
 * variables has a file system GUID of its own). */
static u64 store_bytes(const u8 *data, u64 bytes)
{
    static const u8 guid[16] = {0x8D, 0x2B, 0xF1, 0xFF, 0x96, 0x76, 0x8B, 0x4C,
                                0xA9, 0x85, 0x27, 0x47, 0x07, 0x5B, 0x4F, 0x50};
    u64 length;
    if (bytes < FV_HEADER_BYTES || memcmp(data + FV_GUID, guid, sizeof guid) != 0) return 0;
    memcpy(&length, data + FV_LENGTH, sizeof length);
    return length && length % PFLASH_BLOCK_BYTES == 0 && length <= bytes ? length : 0;
}

/* ---- the template ---------------------------------------------------------------------------- */

/* ".../OVMF_CODE_4M.secboot.fd" -> ".../OVMF_VARS_4M.secboot.fd", or with @plain the same without
 * ".secboot". NULL when there is no CODE in the name. Owned by the caller. */
static char *template_path(const char *path, bool plain)
{
    char *name = strdup(path);
    if (!name) return NULL;
    char *base = strrchr(name, '/') ? strrchr(name, '/') : name, *code = strstr(base, "CODE");
    if (!code) {
        free(name);
        return NULL;
    }
    memcpy(code, "VARS", 4);
    char *first = strchr(code, '.'), *last = strrchr(code, '.');
    if (plain && first && first != last) memmove(first, last, strlen(last) + 1);
    return name;
}

static int find_template(struct file_data *t, const struct file_data *image, const char *path,
                         struct err *e)
{
    u64 own = store_bytes(image->data, image->bytes);
    if (own) {
        t->data = malloc(own);
        if (!t->data) return err_set(e, E_NOMEM, "firmware");
        memcpy(t->data, image->data, own);
        t->bytes = own;
        return 0;
    }
    int rc = E_NOENT;
    for (u32 plain = 0; plain < 2 && rc < 0; plain++) {
        struct err quiet;
        char *name = template_path(path, plain);
        if (name) rc = file_read_all(t, "variable store", name, VARS_BYTES_MAX, &quiet);
        free(name);
    }
    if (rc == 0 && t->bytes % PFLASH_BLOCK_BYTES == 0) return 0;
    file_data_fini(t);
    return err_set(e, E_NOENT, "firmware '%s': there is no variable store in it or beside it",
                   path);
}

/* ---- the file -------------------------------------------------------------------------------- */

static int write_all(int fd, const u8 *data, u64 bytes, u64 at)
{
    while (bytes) {
        ssize_t n = pwrite(fd, data, bytes, (off_t)at);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return -1;
        data += n;
        bytes -= (u64)n;
        at += (u64)n;
    }
    return 0;
}

static int create_store(struct pc_flash *f, const struct file_data *t, struct err *e)
{
    f->fd = open(f->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (f->fd < 0) return err_errno(e, "variable store '%s'", f->path);
    if (flock(f->fd, LOCK_EX | LOCK_NB) == 0 && write_all(f->fd, t->data, t->bytes, 0) == 0)
        return 0;
    err_errno(e, "variable store '%s'", f->path);
    unlink(f->path);
    return e->code;
}

/* The store's contents replace the template's. */
static int open_store(struct pc_flash *f, struct file_data *t, struct err *e)
{
    struct file_data have = {0};
    f->fd = open(f->path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    if (f->fd < 0 && errno == ENOENT) return create_store(f, t, e);
    if (f->fd < 0) return err_errno(e, "variable store '%s'", f->path);
    int rc = file_read_all(&have, "variable store", f->path, VARS_BYTES_MAX, e);
    if (rc < 0) return rc;
    if (flock(f->fd, LOCK_EX | LOCK_NB) < 0)
        rc = err_set(e, E_BUSY, "variable store '%s': another machine uses it", f->path);
    else if (have.bytes != t->bytes)
        rc = err_set(e, E_FORMAT, "variable store '%s': %llu bytes; this firmware wants %llu",
                     f->path, (unsigned long long)have.bytes, (unsigned long long)t->bytes);
    else memcpy(t->data, have.data, t->bytes);
    file_data_fini(&have);
    return rc;
}

static bool on_written(void *ctx, u64 off, const void *data, u32 bytes)
{
    struct pc_flash *f = ctx;
    if (f->fd < 0 || write_all(f->fd, data, bytes, off) == 0) return true;
    if (!f->complained) log_error(f->log, "variable store '%s': %s", f->path, strerror(errno));
    f->complained = true;
    return false;
}

/* ---- life ------------------------------------------------------------------------------------ */

static int load_store(struct pc_flash *f, struct machine *m, struct file_data *t, struct err *e)
{
    if (m->cfg.vars) {
        f->path = strdup(m->cfg.vars);
        if (!f->path) return err_set(e, E_NOMEM, "variable store");
        int rc = open_store(f, t, e);
        if (rc < 0) return rc;
    }
    int id = mem_add_device(&m->mem, t->bytes, "variable store", e);
    if (id < 0) return id;
    memcpy(m->mem.backing[id].hva, t->data, t->bytes);
    f->vars_id = (u32)id;
    return 0;
}

int pc_flash_open(struct pc_flash **out, struct machine *m, const struct file_data *image,
                  const char *path, struct err *e)
{
    struct file_data t = {0};
    struct pc_flash *f = calloc(1, sizeof *f);
    if (!f) return err_set(e, E_NOMEM, "firmware");
    f->fd = -1;
    f->log = &m->log;
    f->skip = store_bytes(image->data, image->bytes);
    f->code_bytes = image->bytes - f->skip;
    int rc = find_template(&t, image, path, e);
    if (rc == 0 && f->code_bytes < CODE_BYTES_MIN)
        rc = err_set(e, E_FORMAT, "firmware '%s': a variable store without code", path);
    if (rc == 0) rc = load_store(f, m, &t, e);
    file_data_fini(&t);
    if (rc < 0) pc_flash_close(f);
    else *out = f;
    return rc;
}

void pc_flash_close(struct pc_flash *f)
{
    if (!f) return;
    if (f->fd >= 0) {
        if (fdatasync(f->fd) < 0)
            log_error(f->log, "variable store '%s': %s", f->path, strerror(errno));
        close(f->fd);
    }
    free(f->path);
    free(f);
}

u64 pc_flash_skip(const struct pc_flash *f) { return f->skip; }

int pc_flash_add_device(struct pc_flash *f, struct machine *m, struct err *e)
{
    struct pflash_cfg cfg = {
        .mem = &m->mem, .backing = f->vars_id, .written = on_written, .ctx = f};
    cfg.base = RAM_ABOVE_4G - f->code_bytes - m->mem.backing[f->vars_id].bytes;
    return dev_create(&m->devs, &pflash_class, "vars", &cfg, e) ? 0 : e->code;
}

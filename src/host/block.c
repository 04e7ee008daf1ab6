/* block - the queue of a disk's requests and the threads that execute them; see block.h. */
#include "host/block.h"

#include <stdlib.h>
#include <string.h>

#include "base/check.h"
#include "host/block_internal.h"

/* ---- lists ----------------------------------------------------------------------------------- */

static void list_init(struct block_list *l)
{
    l->first = NULL;
    l->end = &l->first;
}

static void list_push(struct block_list *l, struct block_req *r)
{
    r->next = NULL;
    *l->end = r;
    l->end = &r->next;
}

static struct block_req *list_pop(struct block_list *l)
{
    struct block_req *r = l->first;
    if (!r) return NULL;
    l->first = r->next;
    if (!l->first) l->end = &l->first;
    return r;
}

/* ---- life ------------------------------------------------------------------------------------ */

int block_open(struct block **out, const struct block_spec *spec, struct err *e)
{
    struct block *b = calloc(1, sizeof *b);
    if (!b) return err_set(e, E_NOMEM, "disk '%s'", spec->path);
    int rc = block_open_files(b, spec, e);
    if (rc < 0) {
        block_close_files(b);
        free(b);
        return rc;
    }
    list_init(&b->queue);
    list_init(&b->done);
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->work, NULL);
    pthread_cond_init(&b->idle, NULL);
    *out = b;
    return 0;
}

void block_close(struct block *b)
{
    if (!b) return;
    block_stop(b);
    block_close_files(b);
    pthread_cond_destroy(&b->idle);
    pthread_cond_destroy(&b->work);
    pthread_mutex_destroy(&b->lock);
    free(b);
}

void block_set_notify(struct block *b, block_notify_fn *fn, void *ctx)
{
    b->notify = fn;
    b->notify_ctx = ctx;
}

u64 block_bytes(const struct block *b) { return b->bytes; }
bool block_is_readonly(const struct block *b) { return b->readonly; }
const char *block_path(const struct block *b) { return b->path; }

/* ---- execution ------------------------------------------------------------------------------- */

/* Take one request and execute it; the lock is held at the start and at the end. False: none. */
static bool execute_one(struct block *b)
{
    struct block_req *r = list_pop(&b->queue);
    if (!r) return false;
    b->running++;
    pthread_mutex_unlock(&b->lock);
    block_execute(b, r);
    pthread_mutex_lock(&b->lock);
    b->running--;
    bool first = !b->done.first;
    list_push(&b->done, r);
    if (!b->running && !b->queue.first) pthread_cond_broadcast(&b->idle);
    if (first && b->workers && b->notify) b->notify(b->notify_ctx);
    return true;
}

static void *worker_thread(void *block)
{
    struct block *b = block;
    pthread_mutex_lock(&b->lock);
    for (;;) {
        if (execute_one(b)) continue;
        if (b->stop) break;
        pthread_cond_wait(&b->work, &b->lock);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

int block_start(struct block *b, u32 workers, struct err *e)
{
    ASSERT(workers >= 1 && workers <= BLOCK_WORKERS_MAX && !b->workers, "%u workers", workers);
    pthread_mutex_lock(&b->lock);
    b->stop = false;
    for (u32 i = 0; i < workers; i++) {
        if (pthread_create(&b->worker[i], NULL, worker_thread, b) != 0) break;
        b->workers++;
    }
    u32 started = b->workers;
    pthread_mutex_unlock(&b->lock);
    return started ? 0 : err_set(e, E_SYS, "disk '%s': cannot start a thread", b->path);
}

void block_stop(struct block *b)
{
    pthread_mutex_lock(&b->lock);
    u32 workers = b->workers;
    b->stop = true;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    for (u32 i = 0; i < workers; i++) pthread_join(b->worker[i], NULL);
    b->workers = 0;
    block_wait(b);
    (void)block_sync(b); /* told in the log */
}

void block_submit(struct block *b, struct block_req *r)
{
    pthread_mutex_lock(&b->lock);
    list_push(&b->queue, r);
    if (b->workers) pthread_cond_signal(&b->work);
    pthread_mutex_unlock(&b->lock);
}

u32 block_complete(struct block *b)
{
    u32 count = 0;
    pthread_mutex_lock(&b->lock);
    struct block_req *r = b->done.first, *next;
    list_init(&b->done);
    pthread_mutex_unlock(&b->lock);
    for (; r; r = next, count++) {
        next = r->next;
        r->done(r);
    }
    return count;
}

void block_wait(struct block *b)
{
    pthread_mutex_lock(&b->lock);
    if (!b->workers)
        while (execute_one(b)) continue;
    while (b->queue.first || b->running) pthread_cond_wait(&b->idle, &b->lock);
    pthread_mutex_unlock(&b->lock);
}

void block_drain(struct block *b)
{
    do block_wait(b);
    while (block_complete(b));
}

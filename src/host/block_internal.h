/* host/block_internal.h - shared by block.c (queue, workers), block_open.c and block_io.c (the
 * host's files); nobody else includes it. */
#ifndef HOST_BLOCK_INTERNAL_H
#define HOST_BLOCK_INTERNAL_H
#include <pthread.h>
#include <stdatomic.h>

#include "host/block.h"

struct block_list {
    struct block_req *first, **end; /* @end: where the next one is hung up */
};

struct block {
    /* constant after block_open() */
    char *path; /* owned */
    int fd;
    u64 base, bytes; /* the slice of the file that is the disk */
    bool readonly;
    bool device;          /* a block device: its size cannot change under us       */
    int overlay;          /* snapshot: where writes go; -1: none                   */
    _Atomic u64 *written; /* snapshot: one bit per sector that @overlay holds      */
    u64 written_bytes;    /* of the mapping                                        */
    const struct log *log;
    block_notify_fn *notify;
    void *notify_ctx;
    pthread_t worker[BLOCK_WORKERS_MAX];
    u32 workers;

    _Atomic bool unsynced; /* written since the last fdatasync */

    pthread_mutex_t lock; /* guards the rest */
    pthread_cond_t work, idle;
    struct block_list queue, done;
    u32 running; /* requests workers are executing */
    bool stop;
    struct log_limit complaints;
    bool told_removed;
};

/* block_open.c */
int block_open_files(struct block *b, const struct block_spec *spec, struct err *e) MUST_USE;
void block_close_files(struct block *b);
/* block_io.c; any thread */
/** block_execute - do what @r asks for, blocking; sets its result. */
void block_execute(struct block *b, struct block_req *r);
/** block_sync - fdatasync when something was written. 0 or E_SYS, E_NOSPC; told in the log. */
int block_sync(struct block *b);
#endif

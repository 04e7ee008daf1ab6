/* host/stream_internal.h - shared by stream.c (moving bytes) and stream_open.c (the kinds); nobody
 * else includes it. */
#ifndef HOST_STREAM_INTERNAL_H
#define HOST_STREAM_INTERNAL_H
#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "host/stream.h"

enum { FIFO_BYTES = 1 << 16 };
struct fifo {
    u32 head, used;
    u8 data[FIFO_BYTES];
};

/* How a write is kept from blocking. */
enum stream_out {
    OUT_NONE,     /* output vanishes                                                      */
    OUT_NONBLOCK, /* a descriptor of our own with O_NONBLOCK                              */
    OUT_SOCKET,   /* send(2) with MSG_DONTWAIT                                            */
    OUT_POLLED,   /* an inherited descriptor others share: ask poll(2), write a little    */
    OUT_FILE,     /* a regular file: never waits for anybody                              */
};

struct stream {
    struct loop *loop;
    struct stream_events ev;
    struct loop_wake *wake;
    /* loop thread */
    struct loop_fd *in_watch, *out_watch, *listen_watch; /* a socket's client has in == out */
    int in_fd;     /* -1: no input (any more)                                            */
    bool in_plain; /* the descriptor cannot be polled: a regular file                    */
    bool in_tty;   /* raw terminal with the escape key                                   */
    bool escaped;
    bool started;
    bool quit;      /* told the machine once                                              */
    struct fifo in; /* read, not yet taken by the device                                  */
    int listen_fd;
    char *socket_path; /* owned; removed on close while it is still the one we made         */
    dev_t socket_dev;
    ino_t socket_ino;
    int own_fd; /* closed on close; -1: none */

    pthread_mutex_t lock; /* guards the fields below */
    enum stream_out out_how;
    int out_fd;
    bool out_dead; /* the other end is gone: output vanishes                              */
    int out_errno; /* why, until ev.lost() was told */
    bool blocked;  /* stream_write() refused bytes; tell when there is room               */
    struct fifo out;
};

u32 fifo_push(struct fifo *f, const u8 *buf, u32 bytes);
/* The longest run that is contiguous; returns its length. */
u32 fifo_peek(const struct fifo *f, const u8 **at);
void fifo_drop(struct fifo *f, u32 bytes);

/* stream.c */
/* Watch what the state of the queues asks for. Loop thread. */
void stream_watch(struct stream *s);
void stream_on_ready(void *stream, int revents); /* loop_fd_fn */
void stream_on_wake(void *stream);               /* loop_fn    */
/* stream_open.c */
void stream_client_gone(struct stream *s); /* input ended or output broke; loop thread */
void stream_release(struct stream *s);     /* close, remove, free                        */
#endif

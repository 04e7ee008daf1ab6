/* host/stream.h - where a serial port's bytes go and come from: the terminal, a file, a Unix
 * socket.
 *
 *   stdio      standard input and output; raw with an escape key when they are a terminal
 *   file:PATH  output only; the file is created or truncated
 *   unix:PATH  a listening socket, one client at a time; output without a client is dropped
 *   none       nothing
 * Threads: stream_write and stream_input_ready from any thread, never blocking; events come on the
 * loop's thread. */
#ifndef HOST_STREAM_H
#define HOST_STREAM_H
#include "base/err.h"
#include "host/loop.h"

struct stream;
struct stream_events {
    void *ctx;
    u32 (*room)(void *ctx); /* how many bytes input() may bring now          */
    void (*input)(void *ctx, const u8 *buf, u32 bytes);
    void (*writable)(void *ctx);              /* stream_write() would take more now            */
    void (*quit)(void *ctx);                  /* the user asked to leave (Ctrl-A x)            */
    void (*lost)(void *ctx, const char *why); /* once: a file refuses output, from here on it is
                                                 lost; may be NULL */
};
/** stream_open - open @spec. Errors name the path: E_INVAL (unknown kind), E_BUSY (socket in use),
 * E_PERM, E_NOENT, E_SYS. */
int stream_open(struct stream **out, const char *spec, struct loop *l,
                const struct stream_events *ev, struct err *e) MUST_USE;
/** stream_close - restores the terminal, removes the socket; NULL is fine. */
void stream_close(struct stream *s);
/** stream_write - take up to @bytes of output; returns how many were taken. Never blocks. */
u32 stream_write(struct stream *s, const u8 *buf, u32 bytes);
/** stream_input_ready - room() has grown: deliver input that was held back. */
void stream_input_ready(struct stream *s);
/** stream_start - begin to deliver input (raw mode on a terminal starts here). Loop thread. */
void stream_start(struct stream *s);
/** stream_spec_check - is @spec well-formed? 0 or E_INVAL. */
int stream_spec_check(const char *spec, struct err *e) MUST_USE;
#endif

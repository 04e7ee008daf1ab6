/* host/spool.h - a printer's output as documents: files job-000001.prn, job-000002.prn ... in a
 * folder, the next number that is free; nothing that exists is ever written to.
 *
 * A document begins with its first byte and ends two seconds after a form feed that nothing
 * follows, after thirty seconds of silence, at spool_end(), or when the spool is closed.
 * When a file cannot be made or written (disk full), what came stays in memory, no more is taken,
 * and it is tried again every few seconds.
 * Threads: spool_write, spool_end, spool_stuck from any thread, never blocking; files are written
 * and events come on the loop's thread. */
#ifndef HOST_SPOOL_H
#define HOST_SPOOL_H
#include "base/err.h"
#include "host/loop.h"

struct spool;
struct spool_events {
    void *ctx;
    void (*writable)(void *ctx);               /* spool_write() would take more now */
    void (*stuck)(void *ctx, const char *why); /* once per trouble                  */
};
/** spool_open - print to @folder, which exists. Errors name it. */
int spool_open(struct spool **out, const char *folder, struct loop *l,
               const struct spool_events *ev, struct err *e) MUST_USE;
/** spool_close - write what is left as far as possible; NULL is fine. */
void spool_close(struct spool *s);
/** spool_folder_fd - the descriptor documents are made relative to. */
int spool_folder_fd(const struct spool *s);
/** spool_write - take up to @bytes; returns how many were taken. */
u32 spool_write(struct spool *s, const u8 *buf, u32 bytes);
/** spool_end - the document is complete; the next byte begins another. */
void spool_end(struct spool *s);
/** spool_stuck - documents cannot be written at the moment. */
bool spool_stuck(const struct spool *s);
#endif

/* cli/client.h - the other side of the control socket: what `ps`, `stop`, `screenshot` and `keys`
 * ask a running machine. One request at a time, blocking, with a time limit. */
#ifndef CLI_CLIENT_H
#define CLI_CLIENT_H
#include <stddef.h>

#include "base/err.h"

enum { CLIENT_NAME_BYTES = 64, CLIENT_MACHINES_MAX = 1024 };
struct client_reply {
    char *body; /* owned: client_reply_fini; ends with 0 */
    size_t bytes;
};
struct client_machine {
    char name[CLIENT_NAME_BYTES];
};

/**
 * client_open - connect to the machine called @name, or whose socket is at @name when that has a
 * slash. Returns a descriptor; E_NOENT: no such machine (the text names the running ones).
 */
int client_open(const char *name, struct err *e) MUST_USE;
/** client_do - send @request ("PUT /keys"; @body may be NULL) and wait for its reply. Errors: what
 * the machine answered (E_INVAL, E_NOENT, E_BUSY, with its own text), E_FORMAT (no HTTP), E_SYS and
 * its kin. */
int client_do(int fd, const char *request, const char *body, struct client_reply *out,
              struct err *e) MUST_USE;
void client_reply_fini(struct client_reply *r);
/** client_machines - names of running machines in order; sockets nobody listens at are removed.
 * *@out is an array (free). Returns how many. */
int client_machines(struct client_machine **out, struct err *e) MUST_USE;
#endif

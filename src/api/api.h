/* api/api.h - the control socket of a machine: HTTP/1.1 with JSON on a Unix socket, for its owner
 * only. The paths shared with Firecracker's API mean the same; routes.def lists all.
 *
 * A socket is claimed before the machine is built, so that its name is known to be free, and served
 * from the machine's event loop; requests that arrive earlier wait.
 * Threads: the loop's, except control_claim and control_release, while nothing runs. */
#ifndef API_API_H
#define API_API_H
#include "base/err.h"
#include "ring3.h"

struct control;
struct control_cfg {
    const char *where; /* --control: a path, "none", or NULL: by name in local_folder()     */
    const char *name;  /* of the machine                                                    */
    bool name_chosen;  /* by a person: a machine of that name is an error; else name-2, ... */
};

/**
 * control_claim - make the socket. *@out is NULL for "none".
 * Errors: E_BUSY (a machine of that name is running, or the path is in use), E_PERM, E_SYS and
 * their kin. The caller owns *@out: control_release.
 */
int control_claim(struct control **out, const struct control_cfg *cfg, struct err *e) MUST_USE;
/** control_name - what the machine is called now; control_path - of the socket. Borrowed. */
const char *control_name(const struct control *c);
const char *control_path(const struct control *c);
/** control_serve - answer requests about @vm from its loop, until control_release. */
int control_serve(struct control *c, struct ring3_vm *vm, struct err *e) MUST_USE;
/** control_release - end connections and remove the socket; before ring3_destroy. NULL is fine. */
void control_release(struct control *c);
#endif

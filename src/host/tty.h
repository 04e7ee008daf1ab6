/* host/tty.h - the terminal the monitor was started from: raw mode, its escape key, and the promise
 * that it is always put back.
 *
 * A process has one controlling terminal and signal dispositions belong to the process, so what
 * must be restored is process-wide state, the only such state in host/. It is written by tty_raw()
 * and tty_restore(), and read by signal handlers. */
#ifndef HOST_TTY_H
#define HOST_TTY_H
#include "base/err.h"

/**
 * tty_guard_install - from now on a crash (SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS,
 * SIGTRAP) puts the terminal back before it ends the process as it would have. Call it before
 * anybody installs fault handlers of their own: those then run first and pass on what is not
 * theirs. Also ignores SIGPIPE and SIGXFSZ: a closed pipe and a file that may not grow are
 * errors of write(2).
 */
void tty_guard_install(void);
/**
 * tty_raw - put terminal @fd into raw mode (output processing stays as it was), remembering how it
 * was. After SIGCONT it is raw again. Returns 0; E_BUSY when a terminal is raw already; E_SYS.
 */
int tty_raw(int fd, struct err *e) MUST_USE;
/** tty_restore - undo tty_raw(), if it is in force. Async-signal-safe; any number of times. */
void tty_restore(void);

/* The escape key. Ctrl-A Ctrl-A sends one Ctrl-A; Ctrl-A and any other key sends nothing. */
enum { TTY_ESCAPE = 0x01 };
enum tty_key {
    TTY_KEY_SEND, /* pass the byte on            */
    TTY_KEY_NONE, /* nothing to do               */
    TTY_KEY_QUIT, /* Ctrl-A x                    */
    TTY_KEY_HELP, /* Ctrl-A h: show tty_help()   */
};
/** tty_key - what @byte means; @escaped is the state between bytes, false at first. */
enum tty_key tty_key(bool *escaped, u8 byte);
/** tty_help - lines to show on the terminal. */
const char *tty_help(void);
#endif

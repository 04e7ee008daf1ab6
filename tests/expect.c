/* expect - drive the console of a guest by a script and check what comes back.
 *
 *     expect [-l LOG] [-t SECONDS] [-s SECONDS-FILE] SCRIPT COMMAND ARGUMENT...
 *
 * Starts COMMAND on a pseudo-terminal of its own and obeys SCRIPT, one instruction a line ('#':
 * comment):
 *
 *     until TEXT      wait until the console shows TEXT, after everything matched so far
 *     type TEXT       type TEXT; \r \n \t \\ and \xHH are escapes
 *     check NAME      name what follows, up to the next `=`, `!` or `until`; these print the
 * verdict > COMMAND       run COMMAND in the guest's shell and keep its output and exit status =
 * ERE           the output is ERE as a whole; lines are joined by one space each ! ERE the output
 * holds nothing that matches ERE ? STATUS        the exit status of the last COMMAND; only a
 * difference gives a verdict save FILE       write the output to FILE clock           note the
 * guest's clock beside the host's in SECONDS-FILE: "guest host", in seconds after SECONDS   let
 * time pass end STATUS      wait for COMMAND to end so; the last instruction
 *
 * A `>` may be given up to its first `=` over several lines; they are joined by "; ".
 * Verdicts are lines `ok - NAME` and `not ok - NAME`. A wait that takes longer than -t (120 s) ends
 * everything: without a prompt there is nothing left to test. LOG gets all the console showed.
 * Exit: 0, 1 a verdict failed, 2 cannot run. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

enum { SEEN_BYTES_MAX = 16 << 20, TEXT_BYTES_MAX = 1 << 12 };

struct session {
    int fd; /* of the pseudo-terminal */
    pid_t pid;
    FILE *log, *clocks;
    int limit_s;
    char *seen; /* all the console showed, NUL-terminated */
    size_t seen_bytes, matched;
    char *output; /* of the last command, owned */
    int status;
    bool ended;     /* the terminal is gone */
    double first_s; /* host time of the last read's arrival */
    unsigned commands;
    char name[TEXT_BYTES_MAX];
    char command[TEXT_BYTES_MAX];
    bool failed;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- verdicts -------------------------------------------------------------------------------- */

static void verdict(struct session *s, bool good, const char *fmt, ...)
{
    va_list ap;
    printf("%sok - %s\n", good ? "" : "not ", s->name);
    if (!good) {
        s->failed = true;
        printf("# ");
        va_start(ap, fmt);
        vprintf(fmt, ap);
        va_end(ap);
        printf("\n");
    }
    fflush(stdout);
}

/* The last lines of the console as comments, and out. */
static _Noreturn void give_up(struct session *s, const char *why, const char *what)
{
    verdict(s, false, "%s: %s; the console's last lines:", why, what);
    size_t at = s->seen_bytes > 3000 ? s->seen_bytes - 3000 : 0;
    printf("#   ");
    for (; at < s->seen_bytes; at++) {
        char c = s->seen[at];
        if (c == '\n') printf("\n#   ");
        else if (c >= ' ') putchar(c);
    }
    printf("\n");
    kill(s->pid, SIGTERM);
    exit(1);
}

/* ---- the console ----------------------------------------------------------------------------- */

/* Read what is there, waiting for it until @deadline_s. False: nothing came. */
static bool listen_until(struct session *s, double deadline_s)
{
    struct pollfd p = {.fd = s->fd, .events = POLLIN};
    double left = deadline_s - now_s();
    if (s->ended || left <= 0 || poll(&p, 1, (int)(left * 1000) + 1) <= 0) return false;
    s->first_s = now_s();
    char in[4096];
    if (s->seen_bytes + sizeof in > SEEN_BYTES_MAX) give_up(s, "too much output", s->name);
    ssize_t n = read(s->fd, in, sizeof in);
    if (n <= 0) { /* EIO: nobody has the terminal any more */
        s->ended = n == 0 || errno == EIO;
        return false;
    }
    if (s->log) fwrite(in, 1, (size_t)n, s->log);
    for (ssize_t i = 0; i < n;
         i++) { /* how many carriage returns end a line is the terminal's business */
        if (in[i] != '\r') s->seen[s->seen_bytes++] = in[i] ? in[i] : '?';
    }
    s->seen[s->seen_bytes] = 0;
    return true;
}

/* Wait for @text after what was matched so far; returns its start. The match ends behind it. */
static char *await(struct session *s, const char *text)
{
    double deadline = now_s() + s->limit_s;
    for (;;) {
        char *hit = strstr(s->seen + s->matched, text);
        if (hit) {
            s->matched = (size_t)(hit - s->seen) + strlen(text);
            return hit;
        }
        if (!listen_until(s, deadline) && (s->ended || now_s() >= deadline))
            give_up(s, s->ended ? "the program ended before" : "waited in vain for", text);
    }
}

static void type(struct session *s, const char *text, size_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(s->fd, text, bytes);
        if (n < 0 && errno != EINTR) give_up(s, "cannot type", strerror(errno));
        if (n > 0) text += n, bytes -= (size_t)n;
    }
}

/* ---- instructions ---------------------------------------------------------------------------- */

static void do_until(struct session *s, const char *text)
{
    await(s, text);
    verdict(s, true, "");
}

static void do_type(struct session *s, const char *text)
{
    char out[TEXT_BYTES_MAX];
    size_t n = 0;
    for (const char *p = text; *p; p++) {
        unsigned hex;
        if (*p != '\\') out[n++] = *p;
        else if (*++p == 'r') out[n++] = '\r';
        else if (*p == 'n') out[n++] = '\n';
        else if (*p == 't') out[n++] = '\t';
        else if (*p == 'x' && sscanf(p + 1, "%2x", &hex) == 1) out[n++] = (char)hex, p += 2;
        else out[n++] = *p;
    }
    type(s, out, n);
}

/* Markers around the output carry a number, and are typed with quotes inside, so that neither the
 * echo nor an earlier command can pass for them. */
static void run_command(struct session *s, const char *command)
{
    char line[2 * TEXT_BYTES_MAX], begin[32], end[32];
    unsigned n = ++s->commands;
    int bytes =
        snprintf(line, sizeof line, "echo '<'%u:; %s; echo \"[\"\"%u:$?]\"\r", n, command, n);
    snprintf(begin, sizeof begin, "<%u:\n", n);
    snprintf(end, sizeof end, "[%u:", n);
    type(s, line, (size_t)bytes);
    await(s, begin);
    size_t start = s->matched;
    size_t stop = (size_t)(await(s, end) - s->seen);
    await(s, "]");
    s->status = atoi(s->seen + stop + strlen(end));
    free(s->output);
    s->output = calloc(1, stop - start + 1);
    memcpy(s->output, s->seen + start, stop - start);
}

/* The output as one line. */
static char *flat_output(const struct session *s)
{
    char *flat = strdup(s->output ? s->output : "");
    size_t n = strlen(flat);
    while (n > 0 && flat[n - 1] == '\n') flat[--n] = 0;
    for (char *p = flat; *p; p++)
        if (*p == '\n') *p = ' ';
    return flat;
}

static void do_match(struct session *s, const char *ere, bool wanted)
{
    char whole[TEXT_BYTES_MAX + 8];
    regex_t re;
    snprintf(whole, sizeof whole, wanted ? "^(%s)$" : "%s", ere);
    if (regcomp(&re, whole, REG_EXTENDED | REG_NOSUB) != 0) give_up(s, "bad pattern", ere);
    char *flat = flat_output(s);
    bool hit = regexec(&re, flat, 0, NULL, 0) == 0;
    verdict(s, hit == wanted, "%s: %s\n# got: %s", wanted ? "wanted" : "unwanted", ere, flat);
    free(flat);
    regfree(&re);
}

static void do_save(struct session *s, const char *path)
{
    FILE *f = fopen(path, "w");
    if (!f || fputs(s->output ? s->output : "", f) < 0 || fclose(f) != 0)
        give_up(s, "cannot write", path);
}

/* The guest's clock when the kernel formatted the line, and the host's when it arrived: later by
 * the way through the console, so the least of several differences is the best. */
static void do_clock(struct session *s)
{
    char begin[32], line[96];
    unsigned n = ++s->commands;
    int bytes = snprintf(line, sizeof line, "echo '<'%u: $(cat /proc/uptime)\r", n);
    snprintf(begin, sizeof begin, "<%u: ", n);
    type(s, line, (size_t)bytes);
    await(s, begin);
    double host = s->first_s;
    char *at = s->seen + s->matched;
    await(s, "\n");
    at = s->seen + (at - s->seen);
    if (s->clocks) fprintf(s->clocks, "%.2f %.6f\n", strtod(at, NULL), host);
    await(s, "# ");
}

static void do_end(struct session *s, const char *text)
{
    double deadline = now_s() + s->limit_s;
    while (!s->ended && now_s() < deadline) (void)listen_until(s, deadline);
    if (!s->ended) give_up(s, "did not end", text);
    int status = 0;
    waitpid(s->pid, &status, 0);
    status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    verdict(s, status == atoi(text), "exit status %d, wanted %s", status, text);
}

/* ---- the script ------------------------------------------------------------------------------ */

static void flush_command(struct session *s)
{
    if (!s->command[0]) return;
    run_command(s, s->command);
    s->command[0] = 0;
}

static void obey(struct session *s, char *line)
{
    char *rest = line + strcspn(line, " ");
    if (*rest) *rest++ = 0;
    if (strcmp(line, ">") == 0) {
        size_t n = strlen(s->command);
        snprintf(s->command + n, sizeof s->command - n, "%s%s", n ? "; " : "", rest);
        return;
    }
    flush_command(s);
    if (strcmp(line, "check") == 0) snprintf(s->name, sizeof s->name, "%s", rest);
    else if (strcmp(line, "=") == 0) do_match(s, rest, true);
    else if (strcmp(line, "!") == 0) do_match(s, rest, false);
    else if (strcmp(line, "until") == 0) do_until(s, rest);
    else if (strcmp(line, "type") == 0) do_type(s, rest);
    else if (strcmp(line, "save") == 0) do_save(s, rest);
    else if (strcmp(line, "clock") == 0) do_clock(s);
    else if (strcmp(line, "after") == 0) usleep((useconds_t)(atof(rest) * 1e6));
    else if (strcmp(line, "end") == 0) do_end(s, rest);
    else if (strcmp(line, "?") == 0 && s->status != atoi(rest))
        verdict(s, false, "exit status %d, wanted %s", s->status, rest);
    else if (strcmp(line, "?") != 0) give_up(s, "unknown instruction", line);
}

static int start(struct session *s, char **command)
{
    s->fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (s->fd < 0 || grantpt(s->fd) < 0 || unlockpt(s->fd) < 0) return -1;
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    ioctl(s->fd, TIOCSWINSZ, &size);
    s->pid = fork();
    if (s->pid != 0) return s->pid < 0 ? -1 : 0;
    setsid();
    int slave = open(ptsname(s->fd), O_RDWR); /* becomes the controlling terminal */
    for (int n = 0; n < 3; n++) dup2(slave, n);
    if (slave > 2) close(slave);
    execvp(command[0], command);
    perror(command[0]);
    _exit(127);
}

static void run_script(struct session *s, FILE *script)
{
    char line[TEXT_BYTES_MAX];
    while (fgets(line, sizeof line, script)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] && line[0] != '#') obey(s, line);
    }
    flush_command(s);
}

int main(int argc, char **argv)
{
    struct session s = {.limit_s = 120, .name = "start"};
    int opt;
    while ((opt = getopt(argc, argv, "+l:t:s:")) != -1) {
        if (opt == 'l') s.log = fopen(optarg, "w");
        else if (opt == 's') s.clocks = fopen(optarg, "w");
        else if (opt == 't') s.limit_s = atoi(optarg);
        else return 2;
    }
    if (s.log) setvbuf(s.log, NULL, _IONBF, 0); /* tests look while it grows */
    FILE *script = argc - optind >= 2 ? fopen(argv[optind], "r") : NULL;
    s.seen = calloc(1, SEEN_BYTES_MAX + 1);
    if (!script || !s.seen || start(&s, argv + optind + 1) < 0) {
        fprintf(stderr, "expect: needs a script and a command: %s\n", strerror(errno));
        return 2;
    }
    run_script(&s, script);
    if (!s.ended) kill(s.pid, SIGTERM);
    if (s.log) fclose(s.log);
    if (s.clocks) fclose(s.clocks);
    free(s.output);
    free(s.seen);
    fclose(script);
    return s.failed;
}

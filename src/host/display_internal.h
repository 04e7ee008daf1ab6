/* host/display_internal.h - what a back end of display.c is; nobody else includes it. */
#ifndef HOST_DISPLAY_INTERNAL_H
#define HOST_DISPLAY_INTERNAL_H
#include "host/display.h"

struct display_class {
    const char *name;                             /* as the option spells it          */
    char separator;                               /* before the argument; 0: no argument */
    u32 wants;                                    /* DISPLAY_x                        */
    bool keeps;                                   /* see display_keeps()              */
    int (*check)(const char *arg, struct err *e); /* may be NULL */
    int (*open)(struct display *d, const char *arg, struct err *e);
    void (*close)(struct display *d);
    void (*start)(struct display *d); /* may be NULL */
    bool (*looks)(const struct display *d);
    void (*update)(struct display *d, const struct pixmap *p, const struct text_screen *t);
};
struct display {
    const struct display_class *cls;
    struct loop *loop;
    struct display_events ev;
    void *back; /* the back end's own */
};

extern const struct display_class display_text_class, display_vnc_class, display_png_class;

/* display_keys.c: bytes of a terminal as keys. */
struct key_parser {
    u8 seq[8]; /* an escape sequence so far */
    u32 used;
};
/** key_parser_byte - the next byte of input; events go to @ev. */
void key_parser_byte(struct key_parser *k, u8 byte, const struct display_events *ev);
/** key_parser_pause - nothing came for a while: a lone escape was the key. */
void key_parser_pause(struct key_parser *k, const struct display_events *ev);

/* display_vnc_addr.c */
struct vnc_addr {
    char host[256], port[16]; /* TCP; host "" for the loopback */
    char path[108];           /* Unix socket, or ""  */
    char password[512];       /* path of the file with the password, or "" */
};
/** vnc_addr_parse - ":1", "HOST:PORT", "[::1]:5901", "unix:PATH", each perhaps with
 * ",password=FILE". E_INVAL. */
int vnc_addr_parse(const char *text, struct vnc_addr *a, struct err *e) MUST_USE;
/** vnc_addr_listen - a listening, non-blocking descriptor. E_BUSY, E_SYS ... naming @text. */
int vnc_addr_listen(const struct vnc_addr *a, const char *text, struct err *e) MUST_USE;
#endif

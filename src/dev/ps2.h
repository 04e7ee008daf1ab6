/* dev/ps2.h - the two devices behind dev/i8042.c. Private to it.
 * A device answers commands through @reply and reports events through @data; replies go first.
 * Every new command withdraws what is left of the last reply. Under the bus lock. */
#ifndef DEV_PS2_H
#define DEV_PS2_H
#include "base/clk.h"
#include "base/err.h"
#include "base/input.h"
#include "base/types.h"

enum { PS2_QUEUE_BYTES = 64 };
enum { PS2_ACK = 0xFA, PS2_RESEND = 0xFE, PS2_BAT_OK = 0xAA };

struct ps2_queue {
    u8 byte[PS2_QUEUE_BYTES];
    u8 head, count;
};
static inline u32 ps2_room(const struct ps2_queue *q) { return PS2_QUEUE_BYTES - q->count; }
static inline void ps2_push(struct ps2_queue *q, u8 v)
{
    if (q->count < PS2_QUEUE_BYTES) q->byte[(q->head + q->count++) % PS2_QUEUE_BYTES] = v;
}
static inline u8 ps2_pop(struct ps2_queue *q) /* not empty */
{
    u8 v = q->byte[q->head % PS2_QUEUE_BYTES];
    q->head = (u8)((q->head + 1) % PS2_QUEUE_BYTES);
    q->count--;
    return v;
}
static inline void ps2_clear(struct ps2_queue *q) { q->head = q->count = 0; }
static inline bool ps2_queue_valid(const struct ps2_queue *q)
{
    return q->head < PS2_QUEUE_BYTES && q->count <= PS2_QUEUE_BYTES;
}

typedef void ps2_notify_fn(void *ctx); /* there are new bytes to send */

struct ps2_kbd {
    struct timer repeat;
    ps2_notify_fn *notify;
    void *ctx;
    struct ps2_queue reply, data;
    u64 held[4];                     /* bit per enum key_code: keys that are down         */
    u64 no_repeat[4], with_break[4]; /* bit per set-3 code: what FB, FC, FD choose       */
    u64 repeat_ns;                   /* when the key is sent again; 0: not                */
    u8 repeat_key;                   /* enum key_code; 0: none                            */
    u8 set, leds, typematic;         /* scan code set 1..3; as ED and F3 set them         */
    u8 command;                      /* waits for its argument; 0: none                   */
    u8 last;                         /* byte sent last, for FE                            */
    bool scanning;
};
void ps2_kbd_init(struct ps2_kbd *k, struct clk *clk, ps2_notify_fn *notify, void *ctx);
void ps2_kbd_fini(struct ps2_kbd *k);
void ps2_kbd_reset(struct ps2_kbd *k);
void ps2_kbd_write(struct ps2_kbd *k, u8 v);
bool ps2_kbd_pending(const struct ps2_kbd *k);
u8 ps2_kbd_read(struct ps2_kbd *k); /* only when pending */
void ps2_kbd_key(struct ps2_kbd *k, u32 key, bool down);
bool ps2_kbd_valid(const struct ps2_kbd *k);
void ps2_kbd_post_load(struct ps2_kbd *k);

struct ps2_mouse {
    ps2_notify_fn *notify;
    void *ctx;
    struct ps2_queue reply, data;
    s32 dx, dy, dz;   /* not reported yet; right, down, towards the user   */
    u8 buttons;       /* bits 0 left, 1 right, 2 middle, 3 and 4 the others */
    u8 id;            /* 0 PS/2, 3 with wheel, 4 with wheel and five buttons */
    u8 rates[3];      /* the last sample rates asked for, newest last      */
    u8 resolution;    /* 0..3: 1, 2, 4, 8 counts per mm; stored only       */
    u8 command, last; /* as the keyboard's                                 */
    bool reporting, remote, wrap, double_scale;
};
void ps2_mouse_init(struct ps2_mouse *m, ps2_notify_fn *notify, void *ctx);
void ps2_mouse_reset(struct ps2_mouse *m);
void ps2_mouse_write(struct ps2_mouse *m, u8 v);
bool ps2_mouse_pending(const struct ps2_mouse *m);
u8 ps2_mouse_read(struct ps2_mouse *m); /* only when pending */
void ps2_mouse_event(struct ps2_mouse *m, const struct input_event *ev);
bool ps2_mouse_valid(const struct ps2_mouse *m);
#endif

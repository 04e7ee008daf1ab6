/* marks.c - see marks.h. */
#include "engine/bt/marks.h"

#include "base/check.h"

static_assert(BT_BLOCK_MARKS <= 0xFF && BT_BLOCK_INSNS <= 0xFF, "counts are bytes");
static_assert(INSN_BYTES_MAX < 1 << 4, "lengths have four bits");

u32 marks_second(const struct bt_block *b)
{
    u32 n = 0;
    while (n < b->insns && b->mark[n].again == b->mark[n].host_off) n++;
    return n;
}

static u32 put_host(u8 *at, u32 delta)
{
    at[0] = (u8)delta;
    if (delta < MARK_WIDE) return 1;
    at[0] = MARK_WIDE;
    at[1] = (u8)delta;
    at[2] = (u8)(delta >> 8);
    return 3;
}

/* The instruction of @b that @mark, one of the rest, belongs to. */
static u32 insn_of(const struct bt_block *b, const struct bt_mark *mark)
{
    u32 n = 0;
    while (n + 1 < b->insns &&
           (b->mark[n].guest_off != mark->guest_off || b->mark[n].again != mark->again))
        n++;
    return n;
}

/* Of instruction number @k of @b: 0 when none follows, or the first one. */
static u32 length_of(const struct bt_block *b, u32 k)
{
    const u32 next = k + 1u < b->insns ? b->mark[k + 1].guest_off : b->guest_off;
    if (next == b->guest_off) return 0;
    const u32 len = next - b->mark[k].guest_off;
    ASSERT(len <= INSN_BYTES_MAX, "an instruction of %u bytes", len);
    return len;
}

u32 marks_put(u8 *at, const struct bt_block *b)
{
    const u32 rest_at = 2u * b->insns - marks_second(b);
    u32 n = 0, host = 0;
    for (u32 k = 0; k < b->marks; k++) {
        n += put_host(at + n, b->mark[k].host_off - host);
        host = b->mark[k].host_off;
    }
    for (u32 k = 0; k < b->insns; k++) {
        const u32 len = length_of(b, k);
        if (k % 2) at[n++] |= (u8)(len << 4);
        else at[n] = (u8)len;
    }
    n += b->insns % 2;
    for (u32 k = rest_at; k < b->marks; k++) at[n++] = (u8)insn_of(b, &b->mark[k]);
    return n;
}

/* Reading the host offsets in order. */
struct hosts {
    const u8 *at;
    u32 off; /* of the mark read last */
};
static void next_host(struct hosts *h)
{
    const u8 *at = h->at;
    const bool wide = at[0] == MARK_WIDE;
    h->off += wide ? (u32)at[1] | (u32)at[2] << 8 : at[0];
    h->at += wide ? 3 : 1;
}
static u32 host_off_of(const struct bt_marks *m, u32 n)
{
    struct hosts h = {m->bytes, 0};
    for (u32 k = 0; k <= n; k++) next_host(&h);
    return h.off;
}

struct bt_mark marks_at(const struct bt_marks *m, u32 n)
{
    const u32 seconds = (u32)m->insns - m->second;
    struct hosts h = {m->bytes, 0};
    u32 insn = n, guest = m->guest_off;
    for (u32 k = 0; k < m->marks; k++) next_host(&h);
    const u8 *lengths = h.at, *rest = lengths + (m->insns + 1u) / 2;
    if (n >= m->insns + seconds) insn = rest[n - m->insns - seconds];
    else if (n >= m->insns) insn = n - seconds;
    for (u32 k = 0; k < insn; k++) {
        const u32 len = lengths[k / 2] >> k % 2 * 4 & 0xF;
        guest = len ? guest + len : m->guest_off;
    }
    const u32 again = insn < m->second ? insn : insn + seconds;
    return (struct bt_mark){(u16)host_off_of(m, n), (u16)guest, (u16)host_off_of(m, again)};
}

struct bt_mark marks_find(const struct bt_marks *m, u32 off)
{
    struct hosts h = {m->bytes, 0};
    u32 n = 0;
    next_host(&h);
    for (u32 k = 1; k < m->marks; k++) {
        next_host(&h);
        if (h.off > off) break;
        n = k;
    }
    return marks_at(m, n);
}

/* base/ser.h - saved state: versioned field tables, little-endian, every length checked (STYLE
 * section 7). An object declares its saved fields once; saving, loading and comparing are built
 * from that table.
 *
 * Stream:  section := name_len u8, name, version u16, body_len u32, body
 *          body    := { field_name_len u8, field_name, elem_bytes u8, count u32, elements }*
 * Fields are found by name, so order may change; a field newer than the stream keeps its reset
 * value; a field the table no longer has is skipped in streams of an older version and is an error
 * in one of the same version. */
#ifndef BASE_SER_H
#define BASE_SER_H
#include "base/err.h"
#include "base/types.h"

struct ser_field {
    const char *name;
    u32 offset;     /* bytes from the start of the object           */
    u32 elem_bytes; /* 1, 2, 4, 8 (one integer each) or SER_BOOL    */
    u32 count;      /* elements; 1 for scalars                      */
    u16 since;      /* first version of the section that has it     */
};
enum { SER_BOOL = 0x101 }; /* one byte that must load as 0 or 1 */
/* clang-format off */
#define SER_ELEM(ptr)                                                                              \
    _Generic((ptr), bool *: SER_BOOL, char *: 1, u8 *: 1, s8 *: 1, u16 *: 2, s16 *: 2,             \
             u32 *: 4, s32 *: 4, u64 *: 8, s64 *: 8)
/* a scalar field */
#define SER(type, field, since)                                                                    \
    {#field, offsetof(type, field), SER_ELEM(&((type *)0)->field), 1, since}
/* an array field (one dimension; flatten more by naming the innermost element count yourself) */
#define SER_ARRAY(type, field, since)                                                              \
    {#field, offsetof(type, field), SER_ELEM(&((type *)0)->field[0]),                              \
     ARRAY_LEN(((type *)0)->field), since}
#define SER_END {NULL, 0, 0, 0, 0}
/* clang-format on */

/* A growing byte buffer (writer) and a bounded view (reader). */
struct ser_buf {
    u8 *data; /* owned; free with ser_buf_fini */
    size_t bytes, cap;
    bool failed; /* an allocation failed; checked once at the end */
};
void ser_buf_init(struct ser_buf *b);
void ser_buf_fini(struct ser_buf *b);
void ser_put(struct ser_buf *b, const void *data, size_t bytes);

/** ser_save - append one section holding the fields of @obj. Returns 0, E_NOMEM. */
int ser_save(struct ser_buf *b, const char *section, u16 version, const struct ser_field *fields,
             const void *obj, struct err *e) MUST_USE;

struct ser_view {
    const u8 *data;
    size_t bytes, pos;
};
/**
 * ser_load - read the next section into @obj. Everything is validated before anything in @obj
 * changes. Returns 0; E_FORMAT for a truncated or inconsistent stream or a wrong section name;
 * E_VERSION when the stream's version is newer than @version.
 */
int ser_load(struct ser_view *v, const char *section, u16 version, const struct ser_field *fields,
             void *obj, struct err *e) MUST_USE;
#endif

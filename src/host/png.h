/* host/png.h - pictures as PNG files. */
#ifndef HOST_PNG_H
#define HOST_PNG_H
#include "base/err.h"
#include "base/pixmap.h"

/**
 * png_encode - @p as a PNG file in memory, 8 bits per colour.
 * @out  owned by the caller (free); @bytes its length. Errors: E_NOMEM, E_INVAL (an empty picture).
 */
int png_encode(const struct pixmap *p, u8 **out, size_t *bytes, struct err *e) MUST_USE;
#endif

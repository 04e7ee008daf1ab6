/* machine/pc_flash.h - the flash of a machine with UEFI firmware: code, read-only, ends at 4 GiB;
 * the variable store lies below it and is kept in the file of --vars. Private to machine/. */
#ifndef MACHINE_PC_FLASH_H
#define MACHINE_PC_FLASH_H
#include "host/file.h"
#include "machine/machine.h"

struct pc_flash; /* opaque */
/** pc_flash_is - does the image begin with a firmware volume? */
bool pc_flash_is(const struct file_data *image);
/**
 * pc_flash_open - find the variable store of @image, read from @path: its own first part, else the
 * file beside it with VARS for CODE in its name; that is the template of a new store. Opens, locks
 * and reads cfg.vars, or creates it. Errors name the file: E_FORMAT (sizes), E_NOENT (nothing to
 * make a store from), E_BUSY (another machine has it), those of opening.
 */
int pc_flash_open(struct pc_flash **out, struct machine *m, const struct file_data *image,
                  const char *path, struct err *e) MUST_USE;
void pc_flash_close(struct pc_flash *f);
/** pc_flash_skip - bytes of the image before its code. */
u64 pc_flash_skip(const struct pc_flash *f);
int pc_flash_add_device(struct pc_flash *f, struct machine *m, struct err *e) MUST_USE;
#endif

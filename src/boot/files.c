/* files - the files of a boot image: read once at open, given back when guest memory has them, read
 * again at a reset. For a multiboot kernel the initrd is a list of modules:
 *     FILE[ ARGUMENTS][,FILE[ ARGUMENTS]]...      ",," is a comma */
#include <stdlib.h>
#include <string.h>

#include "boot/boot_internal.h"
#include "host/gunzip.h"

#define UNPACKED_BYTES_MAX GIB(1)

/* File @i of the image: 0 the kernel, then the modules. False past the last. */
static bool file_at(struct boot_image *img, u32 i, struct boot_file **f)
{
    *f = i ? &img->module[i - 1] : &img->file;
    return i <= img->modules;
}

static const char *what(u32 i) { return i == 0 ? "kernel" : i == 1 ? "initrd" : "module"; }

/* The loaders look at the kernel and the first module under names of their own. */
static void publish(struct boot_image *img)
{
    img->kernel = img->file.data;
    img->kernel_path = img->file.path;
    img->initrd = img->module[0].data;
    img->initrd_path = img->modules ? img->module[0].path : NULL;
}

static int read_file(struct boot_image *img, u32 i, struct err *e)
{
    struct boot_file *f;
    file_at(img, i, &f);
    const struct file_name name = {what(i), f->path};
    int rc = file_read_first(&f->data, &f->again, &name, BOOT_FILE_BYTES_MAX, e);
    if (rc < 0) return rc;
    if (i == 0) rc = gunzip(&f->data, UNPACKED_BYTES_MAX, "kernel", f->path, e);
    publish(img);
    return rc;
}

int boot_files_open(struct boot_image *img, const char *kernel, struct err *e)
{
    img->file.path = strdup(kernel);
    if (!img->file.path) return err_set(e, E_NOMEM, "kernel '%s'", kernel);
    return read_file(img, 0, e);
}

/* The next element of the list at *@at into @f; false when out of memory. */
static bool take_module(const char **at, struct boot_file *f)
{
    char *text = malloc(strlen(*at) + 1), *to = text;
    if (!text) return false;
    for (; **at && (**at != ',' || (*at)[1] == ','); (*at)++) {
        *to++ = **at;
        if (**at == ',') (*at)++;
    }
    *to = '\0';
    if (**at == ',') (*at)++;
    f->args = text;
    f->path = strndup(text, strcspn(text, " "));
    return f->path;
}

static int add_modules(struct boot_image *img, const char *list, struct err *e)
{
    while (*list) {
        if (img->modules == BOOT_MODULES_MAX)
            return err_set(e, E_RANGE, "initrd '%s': more than %d modules", list, BOOT_MODULES_MAX);
        if (!take_module(&list, &img->module[img->modules++])) return err_set(e, E_NOMEM, "initrd");
        int rc = read_file(img, img->modules, e);
        if (rc < 0) return rc;
    }
    return 0;
}

int boot_files_add_initrd(struct boot_image *img, const char *initrd, struct err *e)
{
    if (img->multiboot.present || img->multiboot2.present) return add_modules(img, initrd, e);
    struct boot_file *f = &img->module[img->modules++];
    f->path = strdup(initrd);
    return f->path ? read_file(img, 1, e) : err_set(e, E_NOMEM, "initrd '%s'", initrd);
}

bool boot_files_is_list(const struct boot_image *img)
{
    const char *args = img->module[0].args;
    return img->modules > 1 || (args && strchr(args, ' '));
}

void boot_files_close(struct boot_image *img)
{
    struct boot_file *f;
    for (u32 i = 0; file_at(img, i, &f); i++) {
        file_data_fini(&f->data);
        file_again_fini(&f->again);
        free(f->path);
        free(f->args);
    }
}

void boot_files_sleep(struct boot_image *img)
{
    struct boot_file *f;
    for (u32 i = 0; file_at(img, i, &f); i++) {
        const u64 bytes = f->data.bytes;
        file_data_fini(&f->data);
        f->data.bytes = bytes;
    }
    publish(img);
    img->asleep = true;
}

int boot_files_wake(struct boot_image *img, struct err *e)
{
    struct boot_file *f;
    if (!img->asleep) return 0;
    for (u32 i = 0; file_at(img, i, &f); i++) {
        struct file_data data = {0};
        if (f->data.data) continue; /* an attempt before this one got so far */
        int rc = file_read_again(&data, &f->again, e);
        if (rc == 0 && i == 0) rc = gunzip(&data, UNPACKED_BYTES_MAX, "kernel", f->path, e);
        if (rc < 0) {
            file_data_fini(&data);
            return rc;
        }
        f->data = data;
    }
    publish(img);
    img->asleep = false;
    return 0;
}

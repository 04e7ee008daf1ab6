/* dev/classes.c - the table of device classes. */
#include "dev/classes.h"

#include <string.h>

static const struct dev_class_row rows[] = {
#define DEV_CLASS(id, text, spec) {&id##_class, text, spec},
#include "dev/classes.def"
#undef DEV_CLASS
};

const struct dev_class_row *dev_classes(u32 *count)
{
    *count = ARRAY_LEN(rows);
    return rows;
}

const struct dev_class *dev_class_find(const char *name)
{
    for (u32 i = 0; i < ARRAY_LEN(rows); i++)
        if (!strcmp(rows[i].cls->name, name)) return rows[i].cls;
    return NULL;
}

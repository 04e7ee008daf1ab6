/* dev/classes.h - the table of device classes (classes.def). */
#ifndef DEV_CLASSES_H
#define DEV_CLASSES_H
#include "bus/dev.h"

#define DEV_CLASS(id, text, spec) extern const struct dev_class id##_class;
#include "dev/classes.def"
#undef DEV_CLASS

struct dev_class_row {
    const struct dev_class *cls;
    const char *text, *spec;
};
/** dev_classes - all rows, sorted by name; *@count of them. */
const struct dev_class_row *dev_classes(u32 *count);
/** dev_class_find - the class called @name, or NULL. */
const struct dev_class *dev_class_find(const char *name);
#endif

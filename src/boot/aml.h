/* boot/aml.h - write ACPI machine language into a bounded buffer.
 *
 * Calls mirror ASL: aml_open() starts a term that has a package length (Scope, Device, Method,
 * Package), aml_close() ends it and fixes the length. Names are ASL paths ("\\_SB", "PCI0",
 * "\\_SB.LNKA"). Resource descriptors go between aml_res_open() and aml_res_close(). A buffer that
 * is too small sets `failed`, checked once at the end.
 * Spec: ACPI 6.5 §20.2 (encoding), §6.4 (resource descriptors). */
#ifndef BOOT_AML_H
#define BOOT_AML_H
#include "base/types.h"

enum { AML_DEPTH_MAX = 8 };
struct aml {
    u8 *buf; /* borrowed */
    size_t cap, bytes;
    u32 depth;
    size_t open[AML_DEPTH_MAX]; /* offset of the contents of each open term */
    bool failed;
};
void aml_init(struct aml *a, void *buf, size_t cap);

void aml_open_scope(struct aml *a, const char *name);
void aml_open_device(struct aml *a, const char *name);
void aml_open_method(struct aml *a, const char *name, u8 args);
void aml_open_package(struct aml *a, u8 elements);
void aml_close(struct aml *a);

void aml_name(struct aml *a, const char *name); /* Name(name, ...): an object must follow */
void aml_int(struct aml *a, u64 val);
void aml_string(struct aml *a, const char *s);
void aml_path(struct aml *a, const char *path); /* a reference, as in a package element */
void aml_eisaid(struct aml *a, const char *id); /* "PNP0A03" */
/* Name(name, val) in one call. */
void aml_name_int(struct aml *a, const char *name, u64 val);
void aml_name_eisaid(struct aml *a, const char *name, const char *id);

/* ResourceTemplate() {...}: a Buffer whose length is known at the end. */
void aml_res_open(struct aml *a);
void aml_res_close(struct aml *a);
void aml_res_io(struct aml *a, u16 port, u8 bytes);
void aml_res_irq(struct aml *a, u8 irq);        /* ISA: edge, active high, exclusive */
void aml_res_dma(struct aml *a, u8 channel);    /* ISA: compatible, 8 bits, no bus master */
void aml_res_interrupt(struct aml *a, u32 gsi); /* level, active high, shared        */
void aml_res_bus(struct aml *a, u16 first, u16 last);
void aml_res_window_io(struct aml *a, u16 first, u16 last);
void aml_res_window_mem32(struct aml *a, u32 first, u32 last);
void aml_res_window_mem64(struct aml *a, u64 first, u64 last);
#endif

/* ring3.h - run virtual machines from a program: the only public header of libring3.
 *
 *     struct ring3_config cfg;
 *     ring3_config_init(&cfg);
 *     cfg.kernel = "vmlinuz"; cfg.initrd = "initrd.gz"; cfg.cmdline = "console=ttyS0";
 *     if (ring3_create(&vm, &cfg, &error) < 0) ...
 *     ring3_run(vm, &result);
 *     ring3_destroy(vm);
 *
 * One struct ring3_vm is one virtual machine; any number may exist in a process. Strings in the
 * configuration are copied by ring3_create. Functions that can fail return 0 or a negative code and
 * fill the caller's struct ring3_error. */
#ifndef RING3_H
#define RING3_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ring3_vm;
struct ring3_error {
    int code;       /* negative; see base/err.def */
    char text[512]; /* one line                   */
};

enum { RING3_DRIVES_MAX = 16 };

struct ring3_config {
    const char *name;     /* of the machine, for messages; default "vm"                    */
    const char *kernel;   /* path; NULL: the firmware boots                                */
    const char *initrd;   /* path or NULL                                                  */
    const char *cmdline;  /* kernel command line, default ""                               */
    const char *engine;   /* "auto" or a name ring3_engine_name() gives                    */
    const char *cpu;      /* CPU model: "max", "x86-64-v2", ...                            */
    const char *firmware; /* path of a BIOS or UEFI image; NULL: SeaBIOS without a kernel  */
    const char *vars;     /* path of the UEFI variable store; NULL: kept in memory only    */
    const char *boot;     /* "order=cdn[,menu=on]"; NULL: disk, CD-ROM, network            */
    const char *cdrom;    /* path: shorthand for a drive with media=cdrom                  */
    const char *drive[RING3_DRIVES_MAX]; /* "file=PATH,if=ide|floppy|virtio,..."            */
    const char *display;   /* "none", "vnc=ADDR", "text", "png:FILE"; NULL: none            */
    const char *serial;    /* "stdio", "file:PATH", "unix:PATH", "none"; NULL: stdio, or none where
                              the display has the terminal                                      */
    const char *serial2;   /* the same for COM2; NULL: there is no second port              */
    const char *debugcon;  /* what firmware writes to port 0x402: as serial; NULL: nowhere  */
    const char *parallel;  /* "file:PATH", "spool:DIR"; NULL: there is no parallel port     */
    const char *control;   /* path of the control socket, "none"; NULL: by the name         */
    const char *protocol;  /* boot protocol: "auto", "linux32", "pvh", "multiboot2", ...      */
    uint64_t memory_bytes; /* default 512 MiB                                               */
    uint32_t cpus;         /* 1..32, default 1                                              */
    uint32_t drives;       /* entries of drive[]                                            */
    uint32_t timeout_s;    /* 0: none                                                       */
    uint32_t trace_mask;   /* events of base/trace.def, 0: none; written to standard error  */
    bool debug_exit;       /* port 0xF4 ends the machine                                    */
    uint8_t dump;          /* of translated blocks: 1 guest code, 2 host code, 4 exits      */
    bool count_insns;      /* count instructions of translated code, which slows it down     */
    bool no_reboot;        /* a guest reset ends the machine                                */
    bool quiet;            /* no log lines on standard error                                */
};
void ring3_config_init(struct ring3_config *cfg);

/* Why a machine ended. */
enum ring3_end {
    RING3_POWEROFF,     /* the guest powered off                                   */
    RING3_DEBUG_EXIT,   /* the guest wrote the debug-exit port; result.status      */
    RING3_RESET,        /* the guest reset and no_reboot is set                    */
    RING3_TRIPLE_FAULT, /* the processor shut down                                 */
    RING3_PANIC,        /* the guest's kernel reported a panic and then reset      */
    RING3_TIMEOUT,      /* timeout_s passed                                        */
    RING3_STOPPED,      /* ring3_stop(), or the user left the console              */
    RING3_FAILED,       /* the monitor could not go on                             */
    RING3_ENGINE,       /* the engine could not execute the guest any further      */
};
struct ring3_result {
    enum ring3_end end;
    int status;       /* RING3_DEBUG_EXIT: as the guest wrote it, (value << 1) | 1 */
    char reason[256]; /* one line for a person                                     */
};

/** ring3_create - build the machine: files are read, memory is reserved, devices wired; nothing
 * runs yet. */
int ring3_create(struct ring3_vm **out, const struct ring3_config *cfg, struct ring3_error *e);
/** ring3_run - run until the guest or somebody ends it. The calling thread becomes the machine's
 * event loop. */
int ring3_run(struct ring3_vm *vm, struct ring3_result *result);
/** ring3_stop - end ring3_run() soon. From any thread; async-signal-safe. */
void ring3_stop(struct ring3_vm *vm);
/** ring3_power_button - ask the guest to shut down (ACPI). From any thread. */
void ring3_power_button(struct ring3_vm *vm);
void ring3_destroy(struct ring3_vm *vm);

/**
 * ring3_stats - counters so far as text lines, or as one JSON object. Returns the length without
 * the terminator, as snprintf.
 */
size_t ring3_stats(struct ring3_vm *vm, bool json, char *buf, size_t bytes);

/** ring3_engine_name - name of engine @i in order of preference, NULL past the last. */
const char *ring3_engine_name(uint32_t i);
/** ring3_engine_probe - 0 when this host can run it, and then @e->text is empty, or why "auto" does
 * not choose it; else a negative code and why not, with the remedy, in @e. May take 0.1 s. */
int ring3_engine_probe(const char *name, struct ring3_error *e);
/** ring3_cpu_model_name - name of CPU model @i, NULL past the last. */
const char *ring3_cpu_model_name(uint32_t i);
const char *ring3_version(void);
#endif

# guest.mk - bare-metal test guests; included by the root Makefile, which sets B (build folder).
# Only the host's gcc and binutils are needed.  Images: $(B)/guest-tests/*.elf, hostile ones in
# $(B)/guest-tests/hostile/, the benchmark's flat disk in $(B)/guest-tests/bench.img.
GT_DIR  := $(B)/guest-tests
GT_CC   ?= gcc
GT_CFLAGS := -std=gnu17 -O2 -g0 -ffreestanding -fno-pic -fno-pie -mno-red-zone -fno-stack-protector \
  -fcf-protection=none -fno-asynchronous-unwind-tables -fno-strict-aliasing -mcmodel=small \
  -fno-tree-loop-distribute-patterns -Wall -Wextra -Werror -Wno-array-bounds -I.
GT_LDFLAGS := -nostdlib -static -z max-page-size=4096 --no-warn-rwx-segments -T guest/lib/guest.ld
GT_SUITES  := $(patsubst guest/suites/%.c,%,$(wildcard guest/suites/*.c))
GT_HOSTILE := $(patsubst guest/hostile/%.c,%,$(wildcard guest/hostile/*.c))
GT_LIB := $(patsubst guest/lib/%,$(GT_DIR)/obj/lib/%.o,$(wildcard guest/lib/*.c guest/lib/*.S))
GT_HDRS := $(wildcard guest/lib/*.h) guest/lib/guest.ld guest/guest.mk
GT_SUITES32 := $(patsubst guest/suites32/%.c,%,$(wildcard guest/suites32/*.c))
GT_LIB32 := $(patsubst guest/lib32/%,$(GT_DIR)/obj/lib32/%.o,$(wildcard guest/lib32/*.c guest/lib32/*.S))
GT_HDRS32 := $(wildcard guest/lib32/*.h) guest/lib32/guest32.ld guest/guest.mk
# 32-bit objects: no library of the host's is needed, so plain gcc -m32 does
GT_CFLAGS32 := -m32 -march=pentium -mregparm=3 -fomit-frame-pointer -Os \
  -mmemcpy-strategy=libcall:-1:noalign -mmemset-strategy=libcall:-1:noalign \
  $(filter-out -mno-red-zone -mcmodel=small -O2,$(GT_CFLAGS))
GT_IMAGES := $(GT_SUITES:%=$(GT_DIR)/%.elf) $(GT_HOSTILE:%=$(GT_DIR)/hostile/%.elf) \
  $(GT_SUITES32:%=$(GT_DIR)/%.elf)

.PHONY: guest-tests
guest-tests: $(GT_IMAGES) $(GT_DIR)/sector.img $(GT_DIR)/hostile/flash.fd

# firmware that is hostile
$(GT_DIR)/hostile/flash.fd: guest/hostile/flash.S
	@mkdir -p $(@D)
	$(GT_CC) -m32 -c $< -o $@.o
	ld -m elf_i386 -Ttext 0 -e 0 --oformat binary $@.o -o $@

# a disk that a BIOS starts
$(GT_DIR)/sector.img: guest/boot/sector.S
	@mkdir -p $(@D)
	$(GT_CC) -m32 -c $< -o $@.o
	ld -m elf_i386 -Ttext 0x7C00 --oformat binary $@.o -o $@
	truncate -s 1M $@

$(GT_DIR)/obj/lib32/%.c.o: guest/lib32/%.c $(GT_HDRS32)
	@mkdir -p $(@D)
	$(GT_CC) $(GT_CFLAGS32) -mgeneral-regs-only -c $< -o $@
$(GT_DIR)/obj/lib32/%.S.o: guest/lib32/%.S $(GT_HDRS32)
	@mkdir -p $(@D)
	$(GT_CC) -m32 -I. -c $< -o $@
$(GT_DIR)/obj/suites32/%.c.o: guest/suites32/%.c $(GT_HDRS32)
	@mkdir -p $(@D)
	$(GT_CC) $(GT_CFLAGS32) -mgeneral-regs-only -c $< -o $@
$(GT_SUITES32:%=$(GT_DIR)/%.elf): $(GT_DIR)/%.elf: $(GT_DIR)/obj/suites32/%.c.o $(GT_LIB32)
	ld -m elf_i386 -nostdlib -static -z max-page-size=4096 --no-warn-rwx-segments \
	  -T guest/lib32/guest32.ld $^ -o $@
$(GT_DIR)/obj/%.c.o: guest/%.c $(GT_HDRS)
	@mkdir -p $(@D)
	$(GT_CC) $(GT_CFLAGS) -mgeneral-regs-only -c $< -o $@
$(GT_DIR)/obj/%.S.o: guest/%.S $(GT_HDRS)
	@mkdir -p $(@D)
	$(GT_CC) -I. -c $< -o $@
$(GT_DIR)/%.elf: $(GT_DIR)/obj/suites/%.c.o $(GT_LIB)
	ld $(GT_LDFLAGS) $^ -o $@
$(GT_DIR)/hostile/%.elf: $(GT_DIR)/obj/hostile/%.c.o $(GT_LIB)
	@mkdir -p $(@D)
	ld $(GT_LDFLAGS) $^ -o $@

# ---- benchmark: bare-metal image, the same object natively, and a bootable disk for Bochs ----
GT_BENCH := $(GT_DIR)/bench.elf $(GT_DIR)/bench-native $(GT_DIR)/bench.img
$(GT_DIR)/obj/bench/%.c.o: guest/bench/%.c guest/bench/work.h $(GT_HDRS)
	@mkdir -p $(@D)
	$(GT_CC) $(GT_CFLAGS) -c $< -o $@
$(GT_DIR)/bench.elf: $(GT_DIR)/obj/bench/main.c.o $(GT_DIR)/obj/bench/work.c.o $(GT_LIB)
	ld $(GT_LDFLAGS) $^ -o $@
$(GT_DIR)/bench-native: guest/bench/native.c $(GT_DIR)/obj/bench/work.c.o
	$(GT_CC) -std=gnu17 -O2 -Wall -Wextra -Werror -I. -no-pie $^ -o $@
$(GT_DIR)/bench.img: guest/bench/bootsect.S $(GT_DIR)/bench.elf
	objcopy -O binary $(GT_DIR)/bench.elf $@.flat
	$(GT_CC) -c -I. $< -o $@.o -DENTRY=0x$$(nm $(GT_DIR)/bench.elf | awk '/ entry32$$/ {print $$1}') \
	  -DFLAT_SECTORS=$$(( ($$(stat -c %s $@.flat) + 511) / 512 ))
	ld -Ttext 0x7C00 --oformat binary $@.o -o $@
	cat $@.flat >> $@
	truncate -s 10321920 $@
.PHONY: guest-bench
guest-bench: $(GT_BENCH)

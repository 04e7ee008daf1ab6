# ring3 - GNU make, no configure step.  `make help` lists the targets.
# Output goes to $(B); sources are found, never listed.  *.mk files in guest/, bench/ and tests/ add their own rules.

B ?= build
ifneq ($(filter default undefined,$(origin CC)),)
CC := gcc
endif
CLANG ?= clang
PREFIX ?= /usr/local
FUZZ_SECONDS ?= 10
RUN_FLAGS ?=
RUN_CMDLINE ?= console=ttyS0
BENCH_FLAGS ?=
# Jobs of the builds that `make run` and `make test` start; a -j on the command line goes before it.
JOBS ?= $(shell nproc)
PARALLEL = $(if $(findstring -j,$(MAKEFLAGS)),,-j$(JOBS))
# Work on a part of the tree only: make DIRS="base mem" unit
DIRS ?=

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += -rR --no-print-directory
SHELL := /bin/bash

.PHONY: all run test unit check bench lint fmt asan ubsan fuzz clean help deps install
QUIET_GOALS := clean help deps run
ifneq ($(filter-out $(QUIET_GOALS),$(or $(MAKECMDGOALS),all)),)
BUILDING := yes
endif

# ---- flags ---------------------------------------------------------------------------------------
SAN ?=
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla
OPT := -O2 -g
ifneq ($(SAN),)
OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=$(SAN) -fno-sanitize-recover=all
endif
# _GNU_SOURCE is empty on purpose: a file that defines it itself then does not redefine it.
CPPFLAGS += -Isrc -Iinclude -D_GNU_SOURCE=
CFLAGS ?=
ALL_CFLAGS := -std=gnu17 $(OPT) $(WARN) -fno-strict-aliasing -pthread $(CPPFLAGS) $(CFLAGS)
PKGS := libuv libseccomp jansson libpng libvncserver zlib
ifdef BUILDING
PKG_LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null)
endif
LIBS := -lZydis $(or $(PKG_LIBS),-luv -lseccomp -ljansson -lpng -lvncserver -lz) -pthread
TEST_LIBS := -lcmocka -lvncclient

# ---- sources -------------------------------------------------------------------------------------
ifdef BUILDING
ROOTS := $(or $(wildcard $(addprefix src/,$(DIRS))),src)
FOUND := $(sort $(shell find $(ROOTS) -name '*.[cS]'))
TEST_SRC := $(filter %_test.c,$(FOUND)) $(if $(DIRS),,$(sort $(wildcard tests/*_test.c)))
CLI_SRC := $(filter src/cli/%,$(filter-out %_test.c,$(FOUND)))
LIB_SRC := $(filter-out src/cli/% %_test.c,$(FOUND))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/*.c))
endif

obj = $(patsubst %,$(B)/obj/%.o,$(1))
LIB_OBJ := $(call obj,$(LIB_SRC))
CLI_OBJ := $(call obj,$(CLI_SRC))
LIB := $(B)/libring3.a
PROG := $(if $(CLI_SRC),$(B)/ring3)
TESTS := $(TEST_SRC:%.c=$(B)/test/%)
FUZZERS := $(FUZZ_SRC:tests/fuzz/%.c=$(B)/fuzz/%)

# Objects depend on $(B)/flags, the archive on $(B)/objects; each is rewritten only when its text changes.
remember = $(if $(filter-out $(subst $() ,_,$(2)),$(subst $() ,_,$(file <$(1)))),$(file >$(1),$(2)),$(if \
	$(wildcard $(1)),,$(file >$(1),$(2))))
ifdef BUILDING
$(if $(wildcard $(B)),,$(shell mkdir -p $(B)))
$(call remember,$(B)/flags,$(CC) $(ALL_CFLAGS) $(LIBS))
$(call remember,$(B)/objects,$(LIB_OBJ))
endif

# ---- build ---------------------------------------------------------------------------------------
all: $(LIB) $(PROG)

$(B)/obj/%.c.o: %.c $(B)/flags
	@mkdir -p $(@D)
	@echo "  CC    $*.c"
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Run with the guest's vector registers live, and with alignment checking on (clang merges no stores into misaligned ones).
LIVE_SRC := src/engine/bt/quick.c src/engine/bt/light.c src/engine/bt/x87.c src/base/clk.c src/machine/env.c
$(LIVE_SRC:%=$(B)/obj/%.o): ALL_CFLAGS += -mgeneral-regs-only -fno-sanitize=all $(if $(findstring \
	clang,$(CC)),,-fno-store-merging)

$(B)/obj/%.S.o: %.S $(B)/flags
	@mkdir -p $(@D)
	@echo "  AS    $*.S"
	@$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

$(LIB): $(LIB_OBJ) $(B)/objects
	@echo "  AR    $@"
	@rm -f $@ && ar rcsD $@ $(LIB_OBJ)

$(B)/ring3: $(CLI_OBJ) $(LIB)
	@echo "  LINK  $@"
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(CLI_OBJ) $(LIB) $(LIBS)

$(TESTS): $(B)/test/%: $(B)/obj/%.c.o $(LIB)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $(filter %.o,$^) $(LIB) $(LIBS) $(TEST_LIBS)

# Tests of the program's own files need them; they are not in the library.
$(filter $(B)/test/src/cli/%,$(TESTS)): $(filter-out %/main.c.o,$(CLI_OBJ))

$(FUZZERS): $(B)/fuzz/%: $(B)/obj/tests/fuzz/%.c.o $(LIB)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $< $(LIB) $(LIBS) $(TEST_LIBS)

# Keep objects of tests and fuzzers between runs.
.SECONDARY:

# ---- run and test --------------------------------------------------------------------------------
run:
	@tools/deps.sh build guest
	@$(MAKE) $(PARALLEL) all
	@tools/guest/fetch.sh $(B)/guest
	@$(B)/ring3 run --kernel $(B)/guest/vmlinuz --initrd $(B)/guest/initrd.cpio.gz \
		--cmdline "$(RUN_CMDLINE)" $(RUN_FLAGS)

.PHONY: test-bins fuzz-bins guest-tests guest-bench deps-build
deps-build:
	@tools/deps.sh build
test-bins: all $(TESTS)
fuzz-bins: all $(FUZZERS)

test: deps-build
	@$(MAKE) -s $(PARALLEL) test-bins fuzz-bins guest-tests
	@B=$(B) tools/test.sh unit tests

unit: test-bins
	@B=$(B) DIRS="$(DIRS)" tools/test.sh unit

check: test
	@tools/deps.sh check
	@B=$(B) tools/test.sh check

bench: deps-build
	@$(MAKE) -s all guest-bench
	@B=$(B) bench/run.sh $(BENCH_FLAGS)
	@B=$(B) bench/guest.sh $(BENCH_FLAGS)

# Fuzzers run one after the other, FUZZ_SECONDS each; 0 runs for ever.
fuzz: fuzz-bins
	@B=$(B) FUZZ_SECONDS=$(FUZZ_SECONDS) tools/fuzz.sh

.PHONY: sanitized
sanitized: test-bins guest-tests
	@B=$(B) TEST_SECONDS=$${TEST_SECONDS:-300} tools/test.sh unit hostile

asan:
	@ASAN_OPTIONS=$${ASAN_OPTIONS:-allow_user_segv_handler=1:detect_stack_use_after_return=0} \
		$(MAKE) B=$(B)-asan SAN=address sanitized

ubsan:
	@UBSAN_OPTIONS=$${UBSAN_OPTIONS:-print_stacktrace=1} $(MAKE) B=$(B)-ubsan SAN=undefined sanitized

# Line coverage of the unit tests. The programs are built apart; what fails there, for instance because the jail forbids
# writing coverage files, fails in `make test` or not at all.
.PHONY: cov
cov:
	-@$(MAKE) B=$(B)-cov CFLAGS="$(CFLAGS) --coverage" unit
	@B=$(B)-cov tools/cov.sh

# ---- form ----------------------------------------------------------------------------------------
lint:
	@tools/deps.sh build lint
	@B=$(B) CC=$(CC) CLANG=$(CLANG) tools/lint.sh

fmt:
	@find src include tests tools bench guest -name '*.[ch]' -print0 | xargs -0r clang-format -i

# ---- the rest ------------------------------------------------------------------------------------
deps:
	@tools/deps.sh

install: all
	install -D -m 755 $(B)/ring3 $(DESTDIR)$(PREFIX)/bin/ring3
	install -D -m 644 $(LIB) $(DESTDIR)$(PREFIX)/lib/libring3.a
	@for f in include/*.h; do [ ! -e $$f ] || install -D -m 644 $$f $(DESTDIR)$(PREFIX)/$$f; done
	@for f in docs/man/*.1; do [ ! -e $$f ] || \
		install -D -m 644 $$f $(DESTDIR)$(PREFIX)/share/man/man1/$$(basename $$f); done

# Removes only what a build made: B might name any folder.
clean:
	@for d in $(B) $(B)-asan $(B)-ubsan $(B)-cov $(B)-sanitized; do \
		[ ! -e $$d/flags ] || { echo "  RM    $$d"; rm -rf $$d; }; done

help:
	@echo 'make            build $(B)/ring3 and $(B)/libring3.a'
	@echo 'make run        install what is missing, build, fetch the Debian guest and boot it (RUN_FLAGS, RUN_CMDLINE)'
	@echo 'make test       unit tests and tests/*.sh;  make unit DIRS="base mem": the unit tests of some folders'
	@echo 'make check      make test, then the long suites in tests/check/'
	@echo 'make bench      bench/run.sh and bench/guest.sh: speed as ratios (BENCH_FLAGS=--quick --markdown)'
	@echo 'make lint fmt   style rules, and clang-format in place'
	@echo 'make asan ubsan unit and hostile tests under a sanitizer'
	@echo 'make cov        line coverage of the unit tests, per folder'
	@echo 'make fuzz       every fuzzer for FUZZ_SECONDS (0: for ever)'
	@echo 'make deps       install the Debian packages of every kind of work'
	@echo 'make install    into $$(DESTDIR)$$(PREFIX);  make clean: remove the output'
	@echo 'Variables: B=folder CC=compiler CFLAGS=extra SAN=address,undefined DIRS=folders'

-include $(wildcard guest/*.mk bench/*.mk tests/*.mk)
-include $(wildcard $(patsubst %.o,%.d,$(LIB_OBJ) $(CLI_OBJ) $(call obj,$(TEST_SRC) $(FUZZ_SRC))))

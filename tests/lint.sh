#!/usr/bin/env bash
# One violation of every style rule, each in a tree of its own, must be reported; a clean tree must not.
set -u
B=${B:-build}
work=${TEST_TMP:?}
lint=$PWD/tools/lint.sh
repeat() { local i; for ((i = 0; i < $1; i++)); do printf '%b' "$2"; done; }

# run STEP: lint the tree in $work/tree with an empty list of exceptions.
run() {
    [ -e "$work/allow" ] || : >"$work/allow"
    B=$B LINT_ROOT=$work/tree LINT_ALLOW=$work/allow "$lint" "$1" 2>&1
}

# verdict NAME: what `ok` or `not ok` is said of, after output in $out and the exit code in $rc.
verdict() {
    if [ "$2" = yes ]; then echo "ok - $1"; else echo "not ok - $1"; printf '%s\n' "$out" | sed 's/^/    /'; fi
}

# expect NAME STEP FILE TEXT PATTERN: TEXT as FILE must make STEP fail with a line matching PATTERN.
expect() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/$(dirname "$3")"
    printf '%b' "$4" >"$work/tree/$3"
    out=$(run "$2")
    rc=$?
    local good=no
    [ $rc -ne 0 ] && grep -qE "^$3:[0-9]+(:[0-9]+)?: $5" <<<"$out" && good=yes
    verdict "$1" $good
}

# allow NAME FILE TEXT: TEXT as FILE must pass the rules.
allow() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/$(dirname "$2")"
    printf '%b' "$3" >"$work/tree/$2"
    out=$(run rules)
    rc=$?
    local good=no
    [ $rc -eq 0 ] && good=yes
    verdict "$1" $good
}

body() { printf 'int f(int a)\n{\n%s\n    return a;\n}\n' "$1"; }
call() { body "    $1;"; }

# ---- include layers
expect 'base includes nothing above it' rules src/base/x.c '#include "mem/mem.h"\n' 'include: base/ may not'
expect 'dev does not know cpu' rules src/dev/x.c '#include "cpu/vcpu.h"\n' 'include: dev/ may not'
expect 'engines do not know bus' rules src/engine/bt/x.c '#include "bus/bus.h"\n' 'include: engine/ may not'
expect 'siblings do not include each other' rules src/isa/x.c '#include "mem/mem.h"\n' 'include: isa/ may not'
expect 'engines are siblings' rules src/engine/bt/x.c '#include "engine/interp/interp.h"\n' 'include: engines never'
expect 'cli sees the machine only' rules src/cli/x.c '#include "cpu/vcpu.h"\n' 'include: cli/ may not'
expect 'machine does not know cli' rules src/machine/x.c '#include "cli/opt.h"\n' 'include: machine/ may not'
expect 'includes name the folder' rules src/dev/x.c '#include "uart.h"\n' 'include: "uart.h"'
expect 'an unknown folder' rules src/misc/x.c 'int f(void);\n' 'include: a folder'
expect 'only engine/kvm names KVM' rules src/machine/x.c '#include <linux/kvm.h>\n' 'include: only engine/kvm'
allow 'includes that the layers permit' src/engine/bt/x.c \
    '#include "engine/common/step.h"\n#include "mmu/mmu.h"\n#include "base/types.h"\n#include <stdio.h>\n'
allow 'tests include what they test against' src/dev/x_test.c '#include "cpu/vcpu.h"\n'

# ---- sizes
expect 'a long function' rules src/mem/x.c "$(body "$(repeat 58 '    a++;\\n')")" 'function-lines: f\(\)'
expect 'many parameters' rules src/mem/x.c 'int f(int a, int b, int c, int d, int e, int g)\n{\n    return a;\n}\n' 'params: f\(\): 6'
expect 'deep nesting' rules src/mem/x.c "$(body '    if (a) for (;;) while (a) { do { a--; } while (a); }')" 'nesting: f\(\): nested 4'
expect 'a long file' rules src/mem/x.c "$(repeat 601 '/* */\\n')" 'file-lines: 601'
expect 'a long header' rules src/mem/x.h "$(repeat 151 '/* */\\n')" 'file-lines: 151'
expect 'a wide line' rules src/mem/x.c "/*$(repeat 100 x)*/\n" 'columns: 104'
allow 'a reason for a longer file' src/mem/x.c "/* x\n * Longer than 600 lines because of this. */\n$(repeat 800 '/* */\\n')"
expect 'a reason is not for ever' rules src/mem/x.c "/* Longer than 600 lines because. */\n$(repeat 900 '/* */\\n')" 'file-lines: 901'
allow 'columns are characters' src/mem/x.c "/* $(repeat 90 '§') */\n"
allow 'an else-if chain is not nesting' src/mem/x.c "$(body '    if (a) a = 1; else if (a > 1) a = 2; else if (a > 2) a = 3; else if (a > 3) a = 4;')"

# ---- calls
for c in 'strcpy(x, y)' 'strcat(x, y)' 'sprintf(x, y)' 'gets(x)' 'alloca(9)' 'time(0)' 'gettimeofday(x, 0)' \
    'clock_gettime(1, x)' 'exit(1)' 'printf("x")' 'puts("x")' 'fprintf(stderr, "x")'; do
    name=${c%%(*}
    expect "$name is banned" rules src/dev/x.c "$(call "$c")" 'call: '
done
allow 'exit and printf in cli' src/cli/x.c "$(call 'printf("x"); exit(1)')"
allow 'clock_gettime in base/clk' src/base/clk.c "$(call 'clock_gettime(1, 0)')"
allow 'members and comments are not calls' src/dev/x.c "$(call '/* exit(1) */ a->time(1); d.exit(2); s = "gets(x)"')"

# ---- declarations
expect 'a mutable global' rules src/dev/x.c 'static int count;\n' 'global: .count'
expect 'a mutable array' rules src/dev/x.c 'static const char *names[] = {"a"};\n' 'global: .names'
expect 'a mutable static in a function' rules src/dev/x.c "$(body '    static int calls;')" 'global: .calls'
expect 'a mutable struct' rules src/dev/x.c 'static struct { int a; } state;\n' 'global: .state'
expect 'a thread-local' rules src/dev/x.c 'static _Thread_local int me = 1;\n' 'global: .me'
expect 'extern in a .c file' rules src/dev/x.c 'extern const int far_away;\n' 'extern: '
expect 'a single-letter macro' rules src/dev/x.c '#define P 1\n' 'macro: '
expect 'ifdef inside a function' rules src/base/x.c 'int f(void)\n{\n#ifdef X\n    return 1;\n#endif\n}\n' 'ifdef: .*inside'
expect 'ifdef outside base' rules src/dev/x.c '#ifdef X\nint f(void);\n#endif\n' 'ifdef: .*outside'
expect 'a TODO without an issue' rules src/dev/x.c 'int f(void); /* TODO: later */\n' 'todo: '
allow 'a TODO with an issue' src/dev/x.c 'int f(void); /* TODO #12: later */\n'
allow 'constants, prototypes, types and tables' src/dev/x.c 'struct s { int a; };\nenum { A = 1, B };
typedef void some_fn(int);\nstatic const int t[] = {1, 2};\nstatic const char *const n[] = {"a"};
int f(int (*g)(void)) __attribute__((unused));\nstatic_assert(sizeof(int) == 4, "x");
const struct s it = {.a = 1};\nsome_fn handler;\n'

# ---- exceptions
printf 'global src/dev/x.c:count  a test\n' >"$work/allow"
allow 'a listed exception with its reason' src/dev/x.c 'static int count;\n'
out=$(rm -rf "$work/tree"; mkdir -p "$work/tree/src/dev"; echo 'int f(void);' >"$work/tree/src/dev/x.c"; run rules)
verdict 'an exception nothing needs' "$(grep -q 'matches nothing' <<<"$out" && echo yes || echo no)"
printf 'global src/dev/x.c:count\n' >"$work/allow"
out=$(run rules)
verdict 'an exception without a reason' "$(grep -q 'allow: want' <<<"$out" && echo yes || echo no)"
rm "$work/allow"

# ---- the other steps
if command -v clang-format >/dev/null || command -v clang-format-14 >/dev/null; then
    cp .clang-format "$work/" # found by clang-format from the tree upwards
    expect 'formatting' format src/dev/x.c 'int   f( void );\n' 'format: '
else
    echo 'ok - formatting # SKIP clang-format is not installed'
fi
if command -v clang >/dev/null; then
    expect 'a variable-length array' clang src/dev/x.c \
        'int f(int n);\nint f(int n)\n{\n    int a[n];\n    return sizeof a > 4;\n}\n' 'error: variable length array'
    expect 'an unused variable' clang src/dev/x.c 'int f(void);\nint f(void)\n{\n    int a;\n    return 1;\n}\n' 'error: unused'
else
    echo 'ok - clang # SKIP clang is not installed'
fi
if command -v shellcheck >/dev/null; then
    expect 'a careless shell script' shell tools/x.sh '#!/bin/bash\nfor f in $(ls *.c); do rm $f; done; cd x\n' 'warning: '
else
    echo 'ok - a careless shell script # SKIP shellcheck is not installed'
fi
slash=/
expect 'a path of one machine' text docs/x.md "see ${slash}work/main/x\n" 'text: '
host='crates'
expect 'a registry host' text docs/x.md "from $host.io\n" 'text: '

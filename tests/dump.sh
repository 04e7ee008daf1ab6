#!/usr/bin/env bash
# dump.sh - --dump shows what the translator makes, of a confined monitor too.
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
failed=0

if ! "$RING3" doctor 2>/dev/null | grep -q '^engine bt *works'; then
    skip '--dump' "$("$RING3" doctor 2>/dev/null | sed -n 's/^engine bt *//p')"
    exit 0
fi
make -s B="$B" guest-tests >&2 || { not_ok 'guest suites: build failed'; exit 1; }

# dump OPTION...: standard error of a suite in $TEST_TMP/err
dump() {
    timeout 60 "$RING3" run --kernel "$B/guest-tests/basic.elf" --serial none --debug-exit --memory 128M --timeout 50 \
        --engine bt --no-reboot --quiet "$@" >/dev/null 2>"$TEST_TMP/err" </dev/null
    is "the guest runs with $*" 1 $?
}
# there NAME PATTERN, absent NAME PATTERN: of the lines in $TEST_TMP/err
there() { if grep -qE -- "$2" "$TEST_TMP/err"; then ok "$1"; else not_ok "$1"; failed=1; fi; }
absent() { if grep -qE -- "$2" "$TEST_TMP/err"; then not_ok "$1"; failed=1; else ok "$1"; fi; }

dump --dump
there 'a block has an address' '^block at 0x[0-9a-f]+, physical 0x[0-9a-f]+: supervisor code'
there 'guest instructions' '^  0x[0-9a-f]+: c3  ret$'
there 'host instructions' '^  0x7[0-9a-f]{11}: .* mov gs:\['
there 'guest offsets of host code' '^ guest offset 0x[0-9a-f]+:$'
there 'exits' '^  \+0x[0-9a-f]+ lookup: '
dump --dump=b
there 'only guest code' '^ guest code, [0-9]+ instructions'
absent 'no host code' '^ host code'
absent 'no exits' '^ exits:'
dump --stats
absent 'nothing without the option' '^block at '
exit $failed

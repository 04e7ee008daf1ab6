#!/usr/bin/env bash
# lockstep.sh - every block the translator makes of the bare-metal suites and of the default guest's boot, to a shell and off,
# does what the interpreter does.
# timeout: 1500
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
# shellcheck source=tests/lib/boot.sh
. tests/lib/boot.sh

if ! "$RING3" doctor 2>/dev/null | grep -q '^engine lockstep *works'; then
    skip 'lockstep' "$("$RING3" doctor 2>/dev/null | sed -n 's/^engine lockstep *//p')"
    exit 0
fi
failed=0

# suite NAME: exit status 1 is the suites' own success
suite() {
    local out rc
    out=$(timeout -k 5 310 "$RING3" run --kernel "$B/guest-tests/$1.elf" --serial stdio --debug-exit --memory 128M \
        --timeout 300 --engine lockstep --no-reboot --quiet 2>&1 </dev/null | tr -d '\r'; exit "${PIPESTATUS[0]}")
    rc=$?
    if [ $rc -eq 1 ] && grep -q '^# [0-9]* passed, 0 failed' <<<"$out"; then ok "$1"; return; fi
    not_ok "$1: exit status $rc"
    grep -v '^ok ' <<<"$out" | head -n 150 | sed 's/^/# /'
    failed=1
}

make -s B="$B" guest-tests >&2 || { not_ok 'guest suites: build failed'; exit 1; }
for image in guest/suites/*.c guest/suites32/*.c; do
    name=$(basename "$image" .c)
    [ "$name" = smp ] || suite "$name"
done

guest_there || exit $failed
cd "$TEST_TMP" || exit 1
EXPECT_SECONDS=900
session 'Debian' quick --engine lockstep --memory 256M
exit $failed

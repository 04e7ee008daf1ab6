#!/usr/bin/env bash
# guest.sh - run every bare-metal suite of guest/suites under ring3 and forward its verdict lines.
# B: build folder (build); RING3: the program ($B/ring3); ENGINES: engines to run (interp, and bt where it works).
# timeout: 600
set -u
cd "$(dirname "$0")/.." || exit 2
B=${B:-build}
RING3=${RING3:-$B/ring3}
works() { "$RING3" doctor 2>/dev/null | grep -q "^engine $1 *works"; }
SECONDS_EACH=60
STATUS_PASS=1 # the guest writes 0 to the debug-exit port: status 0 * 2 + 1

[ -x "$RING3" ] || { echo "not ok - guest suites: $RING3 is not built"; exit 1; }
make -s B="$B" guest-tests >&2 || { echo "not ok - guest suites: build failed"; exit 1; }

cpus_of() { # processors a suite wants
    case $1 in smp) echo 4 ;; smc) echo 2 ;; *) echo 1 ;; esac
}

run_suite() { # image engine
    local name out rc
    name=$(basename "$1" .elf)
    out=$(timeout -k 5 $((SECONDS_EACH + 10)) "$RING3" run --kernel "$1" --serial stdio --debug-exit --memory 128M \
        --cpus "$(cpus_of "$name")" --timeout "$SECONDS_EACH" --engine "$2" --no-reboot --quiet 2>&1 </dev/null)
    rc=$?
    tr -d '\r' <<<"$out" | sed -n "s|^\(not \)\?ok - |&$name/$2: |p"
    if [ $rc -eq $STATUS_PASS ] && grep -q '^# [0-9]* passed, 0 failed' <<<"$out"; then
        echo "ok - $name/$2: ended by itself, nothing failed"
    else
        echo "not ok - $name/$2: exit status $rc"
        tr -d '\r' <<<"$out" | grep -v '^ok ' | tail -n 20 | sed 's/^/# /'
        return 1
    fi
}

failed=0
[ -n "${ENGINES:-}" ] || { ENGINES=interp; ! works bt || ENGINES+=" bt"; }
for engine in $ENGINES; do
    for image in guest/suites/*.c guest/suites32/*.c; do
        run_suite "$B/guest-tests/$(basename "$image" .c).elf" "$engine" || failed=1
    done
done
exit $failed

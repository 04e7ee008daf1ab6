#!/usr/bin/env bash
# qemu.sh - the same suites under QEMU TCG, beside ring3: where the two differ, the manuals decide; guest/README.md lists
# the known differences of TCG.  A suite line fails here only when ring3 fails what TCG passes.
# timeout: 900
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${B:-build}
RING3=${RING3:-$B/ring3}
QEMU=${QEMU:-qemu-system-x86_64}
LIMIT=60

command -v "$QEMU" >/dev/null || { echo "ok - qemu comparison # SKIP $QEMU is not installed"; exit 0; }
make -s B="$B" guest-tests >&2 || { echo "not ok - qemu comparison: build failed"; exit 1; }
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT

cpus_of() { case $1 in smp | smc) echo 2 ;; *) echo 1 ;; esac; }

under_qemu() { # image cpus
    timeout -k 2 $LIMIT "$QEMU" -accel tcg -cpu max,vendor=GenuineIntel -m 128M -smp "$2" -kernel "$1" -serial stdio \
        -device isa-debug-exit,iobase=0xf4,iosize=1 -display none -monitor none -no-reboot 2>&1 </dev/null
}

under_ring3() { # image cpus
    timeout -k 2 $((LIMIT + 10)) "$RING3" run --kernel "$1" --serial stdio --debug-exit --memory 128M --cpus "$2" \
        --timeout $LIMIT --engine "${ENGINE:-interp}" --no-reboot --quiet 2>&1 </dev/null
}

verdicts() { # numbered, so that repeated names stay apart; skipped lines are no verdicts
    tr -d '\r' | grep -av '# skip' | sed -n 's/: got .*//; s/^\(not ok\|ok\) - \(.*\)/\1|\2/p' |
        awk -F'|' '{ print $2 " #" ++n[$2] "|" $1 }' | LC_ALL=C sort -t '|' -k 1,1
}

failed=0
for source in guest/suites/*.c guest/suites32/*.c; do
    name=$(basename "$source" .c)
    image=$B/guest-tests/$name.elf
    under_qemu "$image" "$(cpus_of "$name")" | verdicts >"$tmp/qemu"
    under_ring3 "$image" "$(cpus_of "$name")" >"$tmp/out"
    verdicts <"$tmp/out" >"$tmp/ring3"
    LC_ALL=C join -t '|' -a 1 -a 2 -e '-' -o 0,1.2,2.2 "$tmp/qemu" "$tmp/ring3" >"$tmp/both"
    echo "# $name: $(awk -F'|' '$2 == "ok" { q++ } $3 == "ok" { r++ } END { printf "TCG %d ok, ring3 %d ok", q, r }' "$tmp/both")"
    awk -F'|' '$2 != $3 { printf "#   %-60s TCG %-7s ring3 %s\n", $1, $2, $3 }' "$tmp/both"
    # a line ring3 lacks belongs to a feature only one of them has, as long as the suite came to its end
    if awk -F'|' '$2 == "ok" && $3 == "not ok" { bad = 1 } END { exit !bad }' "$tmp/both" ||
        ! grep -qa '^# [0-9]* passed' "$tmp/out"; then
        echo "not ok - $name: ring3 fails a line TCG passes"
        failed=1
    else echo "ok - $name: ring3 passes every line TCG passes"; fi
done
exit $failed

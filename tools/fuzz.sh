#!/usr/bin/env bash
# fuzz.sh - run every fuzzer under $B/fuzz for FUZZ_SECONDS each; 0 runs all of them at once until one fails.
# A fuzzer loops for ever, prints what it needs to repeat a failure, and exits non-zero on one; FUZZ_SEED is in its
# environment. Being stopped by the time limit is success.
set -u
B=$(realpath -m "${B:-build}")
: "${FUZZ_SECONDS:=10}" "${FUZZ_SEED:=$((RANDOM * 32768 + RANDOM))}"
export FUZZ_SECONDS FUZZ_SEED

shopt -s nullglob
fuzzers=()
for f in "$B"/fuzz/*; do
    [ -f "$f" ] && [ -x "$f" ] && [ -e "tests/fuzz/${f##*/}.c" ] && fuzzers+=("$f")
done
[ ${#fuzzers[@]} -gt 0 ] || { echo "fuzz: no fuzzers built"; exit 1; }
echo "fuzz: seed $FUZZ_SEED"

if [ "$FUZZ_SECONDS" -eq 0 ]; then
    for f in "${fuzzers[@]}"; do "$f" & done
    wait -n
    rc=$?
    jobs -p | xargs -r kill
    exit "$rc"
fi

failed=0
for f in "${fuzzers[@]}"; do
    timeout -k 5 "$FUZZ_SECONDS" "$f"
    rc=$?
    if [ $rc -eq 0 ] || [ $rc -eq 124 ]; then echo "ok   ${f##*/}"
    else echo "FAIL ${f##*/}: exit $rc, seed $FUZZ_SEED"; failed=1
    fi
done
exit $failed

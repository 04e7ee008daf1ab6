#!/usr/bin/env bash
# tools/test.sh counts what it should: per line, per function, and whatever dies without a word.
set -u
work=${TEST_TMP:?}
runner=$PWD/tools/test.sh

# script NAME BODY: an executable test in the tree.
script() { mkdir -p "$work/tree/tests"; printf '#!/bin/bash\n%b\n' "$2" >"$work/tree/tests/$1.sh"; chmod +x "$work/tree/tests/$1.sh"; }

run() { B=$work/tree/build TEST_ROOT=$work/tree TEST_SECONDS=1 "$runner" "$@" 2>&1; }

# expect NAME SUMMARY EXIT [PATTERN]: the tree's tests end with SUMMARY and EXIT, and say PATTERN somewhere.
expect() {
    local out rc
    out=$(run tests)
    rc=$?
    if [ "$(tail -n 1 <<<"$out")" = "$2" ] && [ $rc -eq "$3" ] && grep -qE "${4:-.}" <<<"$out"; then
        echo "ok - $1"
    else
        echo "not ok - $1"
        printf '    exit %s\n' "$rc"
        # shellcheck disable=SC2001
        sed 's/^/    /' <<<"$out"
    fi
    rm -rf "$work/tree"
}

script a 'echo "ok - one"; echo "ok 2 - two"; echo noise'
expect 'passing lines are counted' '2 passed, 0 failed' 0 '^ok   tests/a.sh: two$'
script a 'echo "ok - one"; echo "not ok - two"; echo "because of this"'
expect 'a failing line, with the output' '1 passed, 1 failed' 1 'because of this'
script a 'echo "ok - one"; echo "ok - two # SKIP no net"; echo "not ok 3 # SKIP three"'
expect 'skips are told apart' '1 passed, 0 failed, 2 skipped' 0 '^skip tests/a.sh: two: no net$'
script a 'echo nothing'
expect 'no test line is a failure' '0 passed, 1 failed' 1 'no test line'
script a 'echo "ok - one"; exit 3'
expect 'a bad exit code is a failure' '1 passed, 1 failed' 1 'exit 3'
script a 'echo "ok - one"; kill -SEGV $$'
expect 'a crash is a failure' '1 passed, 1 failed' 1 'signal 11'
script a 'echo "ok - one"; sleep 30'
expect 'an endless test is stopped' '1 passed, 1 failed' 1 'longer than 1 s'
script a '# timeout: 20\nsleep 1.2; echo "ok - slow"'
expect 'a script may ask for more time' '1 passed, 0 failed' 0
script a '# serial\ncd $TEST_TMP && touch x && [ -n "$B" ] && [ "$RING3" = "$B/ring3" ] && echo "ok - env"'
script b 'echo "ok - other"'
expect 'scripts get their environment; serial ones run too' '2 passed, 0 failed' 0
mkdir -p "$work/tree"
expect 'no tests at all is a failure' '0 passed, 0 failed' 1

#!/usr/bin/env bash
# test.sh group... - run tests and count them, one line per test, failing ones with their output.
#
# Groups: unit     every unit-test binary under $B/test (with DIRS="base mem": only those folders of src/)
#         tests    every executable tests/*.sh
#         hostile  every executable tests/hostile*.sh
#         check    every executable tests/check/*.sh
# A binary prints cmocka's TAP; a script prints lines `ok - name`, `not ok - name`, `ok - name # SKIP why`. One that dies,
# overruns its time or prints no test line counts as one failure. Scripts start in the repository's root with
#   B          the build folder (absolute)          RING3      $B/ring3
#   TEST_TMP   an empty folder, removed afterwards
# and may carry, in a comment of their own, `# serial` (never beside another test) and `# timeout: SECONDS`.
# $B/test-times.txt says afterwards what each file took, the slowest first.
# TEST_JOBS (2) tests run at once; TEST_SECONDS (120) is the time limit of each; TEST_ROOT is the tree (this one).
set -u
self=$(realpath "$0")
cd "${TEST_ROOT:-$(dirname "$0")/..}" || exit 2
B=$(realpath -m "${B:-build}")
export B RING3=$B/ring3
: "${TEST_JOBS:=2}" "${TEST_SECONDS:=120}"

# ---- one test file ---------------------------------------------------------------------------------------------

# Turns TAP on stdin into lines `ok|FAIL|skip name`. cmocka marks a skipped test "not ok N # SKIP name".
tap_lines() {
    awk '
        function clean(s) { sub(/^(not )?ok *[0-9]* *-? */, "", s); return s }
        /^(not )?ok[ \t].*# *SKIP/ { s = clean($0); sub(/^# *SKIP */, "", s); sub(/ *# *SKIP */, ": ", s)
                                     print "skip " s; next }
        /^ok[ \t]/     { print "ok   " clean($0) }
        /^not ok[ \t]/ { print "FAIL " clean($0) }'
}

time_limit() { # of a script, or the default
    local own
    own=$(sed -n 's/^# timeout: *\([0-9]\+\).*/\1/p' "$1" 2>/dev/null | head -n 1)
    echo "${own:-$TEST_SECONDS}"
}

# Why a test file failed as a whole, from its exit code and its result lines; empty when it did not.
whole_failure() {
    local rc=$1 lines=$2 limit=$3
    if [ "$rc" -eq 124 ] || [ "$rc" -eq 137 ]; then echo "ran longer than $limit s"
    elif [ "$rc" -gt 128 ] && [ "$rc" -lt 160 ]; then echo "killed by signal $((rc - 128))"
    elif [ -z "$lines" ]; then echo "printed no test line (exit $rc)"
    elif [ "$rc" -ne 0 ] && ! grep -q '^FAIL' <<<"$lines"; then echo "exit $rc"
    fi
}

run_one() {
    local path=$1 name out lines limit why rc text TIMEFORMAT='%U %S %R'
    name=${path#"$B/test/"}
    name=${name#./}
    export TEST_TMP=$WORK/tmp.$BASHPID
    out=$WORK/out.$BASHPID
    mkdir -p "$TEST_TMP"
    limit=$TEST_SECONDS
    case $path in *.sh) limit=$(time_limit "$path") ;; esac
    { time CMOCKA_MESSAGE_OUTPUT=TAP timeout -k 5 "$limit" "$path" >"$out" 2>&1 </dev/null; } 2>"$WORK/took.$BASHPID"
    rc=$?
    awk -v name="$name" '{ printf "%8.2f %8.2f  %s\n", $1 + $2, $3, name }' "$WORK/took.$BASHPID" >"$WORK/time.$BASHPID"
    rm -rf "$TEST_TMP"
    lines=$(tap_lines <"$out")
    why=$(whole_failure "$rc" "$lines" "$limit")
    [ -z "$why" ] || lines+=${lines:+$'\n'}"FAIL $why"
    text=$(sed -E "s|^(.{4} ?)|\1$name: |" <<<"$lines")
    if grep -q '^FAIL' <<<"$lines"; then
        text+=$'\n'$(tail -n 200 "$out" | sed 's/^/    | /')
    fi
    printf '%s\n' "$text"
    printf '%s\n' "$lines" >"$WORK/result.$BASHPID"
    rm -f "$out"
}

if [ "${1:-}" = --one ]; then
    run_one "$2"
    exit 0
fi

# ---- all of them -----------------------------------------------------------------------------------------------

# Unit tests whose source still exists, of the wanted folders.
list_unit() {
    local bin src dir
    [ -d "$B/test" ] || return 0
    find "$B/test" -type f -name '*_test' -perm -u+x | sort | while read -r bin; do
        src=${bin#"$B/test/"}.c
        [ -e "$src" ] || continue
        [ -n "${DIRS:-}" ] || { echo "$bin"; continue; }
        for dir in $DIRS; do
            case $src in "src/$dir/"*) echo "$bin" ;; esac
        done
    done
}

list_scripts() {
    local f
    for f in "$@"; do [ -x "$f" ] && [ -f "$f" ] && echo "./$f"; done
    return 0
}

list_group() {
    case $1 in
    unit) list_unit ;;
    tests) list_scripts tests/*.sh ;;
    hostile) list_scripts tests/hostile*.sh ;;
    check) list_scripts tests/check/*.sh ;;
    *) echo "test.sh: unknown group '$1'" >&2; exit 2 ;;
    esac
}

is_serial() { case $1 in *.sh) grep -q '^# serial' "$1" ;; *) false ;; esac; }

WORK=$(mktemp -d)
export WORK TEST_SECONDS
trap 'rm -rf "$WORK"' EXIT
parallel=() serial=()
for group in "$@"; do
    while read -r path; do
        if is_serial "$path"; then serial+=("$path"); else parallel+=("$path"); fi
    done < <(list_group "$group")
done
[ ${#parallel[@]} -eq 0 ] || printf '%s\0' "${parallel[@]}" | xargs -0 -n 1 -P "$TEST_JOBS" "$self" --one
for path in "${serial[@]}"; do "$self" --one "$path"; done

{
    echo '# processor seconds, seconds, test file'
    cat "$WORK"/time.* 2>/dev/null | sort -rn
} >"$B/test-times.txt"
cat "$WORK"/result.* 2>/dev/null | awk '
    /^ok/ { ok++ } /^FAIL/ { bad++ } /^skip/ { skip++ }
    END { printf "%d passed, %d failed%s\n", ok, bad, skip ? ", " skip " skipped" : ""
          exit bad > 0 || ok + bad + skip == 0 }'

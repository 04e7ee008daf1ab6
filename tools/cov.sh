#!/usr/bin/env bash
# cov.sh - line coverage per folder of src/, and the least covered files, from what the programs built in B with
# --coverage have left there. Tests and files of other folders do not count.
set -eu
B=$(realpath "${B:?}")
command -v gcov >/dev/null || { echo "cov.sh: needs gcov (package gcc)" >&2; exit 1; }
cd "$(dirname "$0")/.."

# One line "FILE LINES COVERED" per source file that was built.
find "$B/obj/src" -name '*.gcno' ! -name '*_test.c.gcno' -print0 | xargs -0r gcov -n 2>/dev/null | awk -F"'" '
    /^File/ { file = $2; sub(/^.*\/src\//, "src/", file); next }
    /^Lines executed:/ && file ~ /^src\/.*\.c$/ {
        split($0, w, /[:% ]+/)               # Lines executed:85.71% of 35
        print file, w[5], int(w[3] * w[5] / 100 + 0.5)
    }
    /^Lines executed:|^No executable/ { file = "" }' | sort -u >"$B/cov.txt"

awk '
    { dir = $1; sub(/\/[^\/]*$/, "", dir); lines[dir] += $2; hit[dir] += $3; all += $2; got += $3 }
    END {
        for (d in lines) printf "%5.1f %% of %6d lines  %s\n", 100 * hit[d] / lines[d], lines[d], d | "sort -k6"
        close("sort -k6")
        if (all) printf "%5.1f %% of %6d lines  all\n", 100 * got / all, all
    }' "$B/cov.txt"
echo 'least covered:'
awk '$2 { printf "%5.1f %% of %6d lines  %s\n", 100 * $3 / $2, $2, $1 }' "$B/cov.txt" | sort -n | head -n 12

#!/usr/bin/env bash
# lint.sh [step...] - the style rules. Prints findings as path:line: rule: text and exits 1 when there are any.
#
# Steps: rules    tools/lint: include layers, size limits, banned calls, mutable globals, open ends
#        format   clang-format, dry run
#        clang    the whole of src/ and tests/ through clang with warnings as errors
#        shell    shellcheck over every shell script
#        text     no path or package-registry host of some machine in the project's text
# None named means all. LINT_ROOT is the tree to look at (this one); B the build folder for the tool.
set -u
shopt -s globstar nullglob
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "${LINT_ROOT:-$here/..}" && pwd)
B=$(realpath -m "${B:-$root/build}")
: "${CC:=gcc}" "${CLANG:=clang}"
cd "$root" || exit 2

JOBS=$(nproc)
sources=({src,include,tests,tools,guest,bench}/**/*.[ch])

# Run a command over NUL-separated arguments on stdin, several at a time.
spread() { xargs -0r -P "$JOBS" -n 16 "$@"; }

build_tool() {
    local tool=$B/lint/ring3-lint from=("$here"/lint/*)
    for f in "${from[@]}"; do
        [ "$tool" -nt "$f" ] && continue
        mkdir -p "$B/lint"
        "$CC" -std=gnu17 -O1 -g -Wall -Wextra -Werror -Wshadow -o "$tool" "$here"/lint/*.c || return 1
        return 0
    done
}

step_rules() {
    build_tool && "$B/lint/ring3-lint" "${LINT_ALLOW:-tools/lint/allow.txt}" "${sources[@]}"
}

step_format() {
    local format=clang-format
    command -v clang-format-14 >/dev/null && format=clang-format-14
    # shellcheck disable=SC2016  # expanded by the inner shell
    printf '%s\0' "${sources[@]}" | FORMAT=$format spread bash -c '
        for f; do "$FORMAT" "$f" | cmp -s - "$f" || echo "$f:1: format: not as clang-format writes it (make fmt)"; done
        ' format | sort | grep . && return 1
    return 0
}

step_clang() {
    local flags=(-std=gnu17 -O2 -fsyntax-only -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes
        -Wvla -fno-strict-aliasing -Isrc -Iinclude -D_GNU_SOURCE=)
    local c=(src/**/*.c tests/*.c tests/fuzz/*.c)
    printf '%s\0' "${c[@]}" | spread "$CLANG" "${flags[@]}"
}

step_shell() {
    local scripts=() f
    for f in .ci/* {tools,tests,guest,bench}/**/*; do
        [ -f "$f" ] && head -c 64 "$f" | grep -aqE '^#!.*\b(ba|da)?sh\b' && scripts+=("$f")
    done
    [ ${#scripts[@]} -gt 0 ] || return 0
    command -v shellcheck >/dev/null || { echo "lint: shellcheck is not installed: scripts not checked"; return 0; }
    # -x: follows what a script sources; SC2317: functions called by name; SC2187: busybox ash
    shellcheck -x -f gcc -S warning -e SC2317,SC2187 "${scripts[@]}"
}

# Written with bracket expressions so that this file does not match itself.
step_text() {
    local machine='(^|[^A-Za-z0-9_.$}])/(wor[k]|hom[e])/[A-Za-z.]'
    local hosts='deb[.]debia[n][.]org|security[.]debia[n][.]org|snapshot[.]debia[n][.]org|pyp[i][.]org|pythonhoste[d]'
    hosts+='|npmj[s][.]|crate[s][.]io|prox[y][.]golang|rubygem[s][.]org|artifactor[y]|docke[r][.]io|ghc[r][.]io'
    local files=()
    mapfile -d '' files < <(find . \( -name .git -o -path ./build -o -name 'build-*' -o -path "$B" \) -prune -o \
        -type f -print0)
    printf '%s\0' "${files[@]#./}" | xargs -0r grep -IHnE -- "$machine|$hosts" |
        sed 's/^\([^:]*:[0-9]*\):\(.*\)/\1: text: names a machine or a registry: \2/' | grep . && return 1
    return 0
}

[ $# -gt 0 ] || set -- rules format clang shell text
status=0
for step in "$@"; do
    case $step in
    rules | format | clang | shell | text) "step_$step" || status=1 ;;
    *) echo "lint.sh: unknown step '$step'" >&2; exit 2 ;;
    esac
done
[ $status -eq 0 ] && echo "lint: clean"
exit $status

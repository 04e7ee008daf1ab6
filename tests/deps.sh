#!/usr/bin/env bash
# tools/deps.sh: silent when all is there, exact instructions when it may not install.
set -u
work=${TEST_TMP:?}
deps=$PWD/tools/deps.sh
bin=$work/bin
mkdir -p "$bin"
for tool in bash env awk cat mktemp rm tail; do ln -s "$(command -v $tool)" "$bin/$tool"; done
# A machine without sudo where nobody is root, and dpkg-query knows what $work/installed lists.
printf '#!/bin/bash\n[ "$1" = -u ] && echo 1000\n' >"$bin/id"
printf '#!/bin/bash\ncat %q\n' "$work/installed" >"$bin/dpkg-query"
chmod +x "$bin/id" "$bin/dpkg-query"
have() { printf 'installed %s \n' "$@" >"$work/installed"; }
run() { PATH=$bin bash "$deps" "$@" 2>&1 </dev/null; }
check() { if [ "$2" = yes ]; then echo "ok - $1"; else echo "not ok - $1"; printf '    %s\n' "$out"; fi; }

mapfile -t all < <("$deps" --list guest)
first=${all[0]} second=${all[1]} rest=("${all[@]:2}")
have "${all[@]}"
out=$(run guest); rc=$?
check 'all there: silent success' "$([ ${#rest[@]} -gt 0 ] && [ $rc -eq 0 ] && [ -z "$out" ] && echo yes)"
have "${rest[@]}"
out=$(run guest); rc=$?
check 'missing: the exact command' "$([ $rc -eq 1 ] && grep -qx "  apt-get install $first $second" <<<"$out" && echo yes)"
have "$first" "${rest[@]}"
printf 'installed other %s, thing\n' "$second" >>"$work/installed"
out=$(run guest); rc=$?
check 'a provided package counts' "$([ $rc -eq 0 ] && echo yes)"
have "$first" "${rest[@]}"
printf 'config-files %s \n' "$second" >>"$work/installed"
out=$(run guest); rc=$?
check 'a removed package does not count' "$([ $rc -eq 1 ] && grep -q "install $second\$" <<<"$out" && echo yes)"
out=$(run nonsense); rc=$?
check 'an unknown set' "$([ $rc -eq 2 ] && grep -q "unknown set 'nonsense'" <<<"$out" && echo yes)"

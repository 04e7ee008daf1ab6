#!/usr/bin/env bash
# keys.sh - what `ring3 keys` types arrives in Debian, key by key, and `ring3 stop` shuts it down: tests/session/keys.exp.
# timeout: 300
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
# shellcheck source=tests/lib/boot.sh
. tests/lib/boot.sh
guest_there || exit 0
failed=0
cd "$TEST_TMP" || exit 1
chmod 755 .
export XDG_RUNTIME_DIR=$TEST_TMP

# at N: the session has come to READYN; and half a second later
at() {
    while [ ! -e over ]; do
        grep -aq "^READY$1" console.log 2>/dev/null && sleep 0.5 && return 0
        sleep 0.1
    done
    return 1
}
type_on() {
    local line lines=()
    # shellcheck disable=SC2016  # not to be expanded
    at 1 &&
        "$RING3" keys kbd 'text:The quick brown fox, 0123456789 ~!@#$%^&*()_+`-={}|[]\:";'\''<>?,./' ret
    at 2 && "$RING3" keys kbd left shift-f12 kp_enter
    for line in {1..20}; do lines+=("text:$(printf '%02d' "$line") All work and no play makes Jack a dull boy" ret); done
    at 3 && "$RING3" keys kbd "${lines[@]}"
    at 4 && "$RING3" stop kbd --timeout 60
}
type_on >typed 2>&1 &
session keys keys --memory 256M --name kbd
touch over
wait $!
is 'the verbs succeed, and say nothing' '0 ' "$? $(cat typed)"
exit $failed

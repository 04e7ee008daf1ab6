#!/usr/bin/env bash
# jail.sh - the monitor is confined while a guest runs: every thread filtered, no new privileges, not root, and nothing more
# to open.
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
failed=0
cd "$TEST_TMP" || exit 1
tiny hello "${HELLO[@]}" "${HALT[@]}"

# field NAME: its values over all threads of $pid, without repetition
field() { sed -n "s/^$1:[[:space:]]*//p" /proc/"$pid"/task/*/status | tr '\t' ' ' | sort -u; }

"$RING3" run --kernel hello --cpus 2 --serial file:out --timeout 60 2>err &
pid=$!
if wait_for grep -q hi out; then ok 'a guest runs in the jail'; else not_ok 'a guest runs in the jail'; cat err; fi
is 'threads' 3 "$(ls /proc/$pid/task | wc -l)"
is 'seccomp filters' 2 "$(field Seccomp)"
is 'no new privileges' 1 "$(field NoNewPrivs)"
is 'no capabilities' 0000000000000000 "$(field CapEff)"
if [ "$(id -u)" -ne 0 ]; then
    skip 'root is dropped' 'not root'
    skip 'groups are dropped' 'not root'
elif [ "$(field Uid)" = '0 0 0 0' ] && ! setpriv --reuid 65534 true 2>/dev/null; then
    skip 'root is dropped' 'this user namespace has no other user'
    skip 'groups are dropped' 'this user namespace has no other user'
else
    is 'root is dropped' "${SUDO_UID:-65534} ${SUDO_UID:-65534} ${SUDO_UID:-65534} ${SUDO_UID:-65534}" "$(field Uid)"
    is 'groups are dropped' '' "$(field Groups | tr -d ' ')"
fi
kill -TERM $pid
wait $pid
is 'it ends on SIGTERM' 143 $?

# A runtime folder nobody else may enter, as root's is, even after root is dropped.
mkdir -m 700 closed closed/run
chmod 700 closed
XDG_RUNTIME_DIR=$PWD/closed/run "$RING3" run --kernel hello --serial file:out3 --name closed --timeout 60 2>err &
pid=$!
wait_for grep -q hi out3
is 'a private runtime folder' hi "$(tr -d '\r' <out3 2>/dev/null; cat err)"
is 'its control socket' closed "$(ls closed/run/ring3)"
kill -TERM $pid
wait $pid

"$RING3" run --kernel hello --serial file:out2 --no-jail --timeout 60 2>err &
pid=$!
wait_for grep -q hi out2
is '--no-jail' 0 "$(field NoNewPrivs)"
kill -TERM $pid
wait $pid

exit $failed

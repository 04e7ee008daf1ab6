#!/usr/bin/env bash
# console.sh - what a person or a program reads from a running machine: serial output wherever it goes, statistics, traces.
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
failed=0
cd "$TEST_TMP" || exit 1
chmod 777 . # root becomes nobody, who has to remove the socket
tiny hello "${HELLO[@]}" "${POWEROFF[@]}"
tiny silent "${HALT[@]}"
run() { timeout 30 "$RING3" run --kernel hello "$@" </dev/null; }

# ---- serial port --------------------------------------------------------------------------------

run --serial none >out 2>err
is 'none: the status' 0 $?
is 'none: not a byte' 0 "$(cat out err | wc -c)"
printf 'old' >log
run --serial file:log >out 2>err
is 'file: the output' hi "$(tail -c 3 log)"
is 'file: nothing elsewhere' 0 "$(cat out err | wc -c)"
run --serial file:log
is 'file: another run' hi "$(tail -c 3 log)"
mkfifo fifo
cat fifo >piped &
run --serial file:fifo
wait
is 'file: a named pipe' hi "$(cat piped)"
run --serial unix:sock
is 'unix: no client is no harm' 0 $?
[ ! -e sock ] && ok 'unix: the socket is gone' || not_ok 'unix: the socket is gone'
run --serial stdio >/dev/null
is 'stdio: /dev/null' 0 $?
run --serial stdio | true
is 'stdio: a reader that leaves is no crash' 0 $((PIPESTATUS[0] >= 128))

# ---- statistics ---------------------------------------------------------------------------------

# One JSON object on standard error, whatever the end.
json() { # NAME, status, run's options...
    local name=$1 want=$2 got why
    shift 2
    timeout 30 "$RING3" run --serial none --stats=json --quiet "$@" 2>err </dev/null
    got=$?
    # the reason of the end is a line of its own
    why=$(grep -v '^ring3: ' err | "$B/tests/lib/json_is_valid" insns elapsed_s insns_per_s peak_memory_kib) &&
        [ $got -eq "$want" ] && ok "$name" && return
    not_ok "$name"
    echo "status $got; $why"
    cat err
}
json '--stats=json after power-off' 0 --kernel hello
json '--stats=json after the time limit' 6 --kernel silent --timeout 1
json '--stats=json of several CPUs' 6 --kernel silent --timeout 1 --cpus 4
tiny triple "${TRIPLE[@]}"
json '--stats=json after a triple fault' 4 --kernel triple
run --stats --serial none 2>err
is '--stats: every line is name, number, text' 0 "$(grep -cvE '^[a-z_0-9]+ +[0-9.]+  [a-zA-Z]' err)"

# ---- traces -------------------------------------------------------------------------------------

# traced MASK: names of the events a run prints, in order of the alphabet
traced() {
    run --serial none --trace "$1" 2>err
    grep -oE '\b(exc|irq|port|mmio|msr|cpuid|cr|hypercall|tlb|smc|reset)\b' err | sort -u | xargs
}
is '--trace none' '' "$(traced none)"
is '--trace port' port "$(traced port)"
is '--trace port: the greeting goes to 0x3f8' 3 "$(grep -c '0x3f8 ' err)"
is '--trace by number' port "$(traced 4)"
is '--trace of what does not happen' '' "$(traced hypercall,smc)"
case " $(traced all) " in *' port '*) ok '--trace all' ;; *) not_ok '--trace all'; cat err ;; esac
run --serial none --trace exc,port 2>err
is '--trace of two kinds' 0 $?

# ---- ends ---------------------------------------------------------------------------------------

tiny reset "${RESET[@]}"
timeout 30 "$RING3" run --kernel reset --serial none --no-reboot 2>err
is '--no-reboot: the status' 3 $?
is '--no-reboot: one line says why' 1 "$(wc -l <err)"
timeout 30 "$RING3" run --kernel triple --serial none 2>err
is 'triple fault: the status' 4 $?
is 'triple fault: says where' 1 "$(grep -c 'triple fault on CPU 0 at RIP 0x' err)"
timeout 30 "$RING3" run --kernel silent --serial none --timeout 1 2>err
is '--timeout: the status' 6 $?
is '--timeout: one line says why' 1 "$(grep -c 'time limit of 1 s' err)"
exit $failed

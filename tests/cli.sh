#!/usr/bin/env bash
# cli.sh - the command line: bad input gives status 2, one line that names the culprit, and leaves nothing behind; every end of a
# machine has its exit status.
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
failed=0
cd "$TEST_TMP" || exit 1
tiny good "${POWEROFF[@]}"
ulimit -c 0

# ---- bad input ----------------------------------------------------------------------------------

# refuses NAME PATTERN ARGUMENT...: `ring3 run ARGUMENT...` fails as described above; PATTERN is a grep -E of the line
refuses() {
    local name=$1 pattern=$2 before status lines
    shift 2
    before=$(ls -A)
    "${AS[@]}" timeout 20 "$RING3" run "$@" >/dev/null 2>"$ERR" </dev/null
    status=$?
    lines=$(wc -l <"$ERR")
    if [ "$status" -eq 2 ] && [ "$lines" -eq 1 ] && grep -qE -- "$pattern" "$ERR" && [ "$before" = "$(ls -A)" ]; then
        ok "$name"
    else
        not_ok "$name"
        echo "status $status, $lines lines; wanted /$pattern/; folder then: $(ls -A | tr '\n' ' ')"
        cat "$ERR"
    fi
}
ERR=$(mktemp)
AS=(env)

: >empty
head -c 300 /dev/urandom >noise
head -c 20 good >truncated
{ head -c 510 /dev/zero; printf '\x55\xaa'; printf '\xeb\x66HdrS\x0f\x02'; } >shortbz
printf '\x7fELF\x02\x01\x01' >shortelf
echo 'just text' >text
mkdir folder
mkfifo pipe
refuses 'initrd without kernel' "'empty': there is no kernel" --initrd empty
refuses 'missing firmware' "firmware 'nosuch'.*No such file" --firmware nosuch
refuses 'empty firmware' "firmware 'empty'.*empty" --firmware empty
refuses 'firmware of a wrong size' "firmware 'text': 10 bytes: not a firmware image" --firmware text
refuses 'missing kernel' "'nosuch'.*No such file" --kernel nosuch
refuses 'empty kernel' "'empty'.*empty" --kernel empty
refuses 'directory as kernel' "'folder'.*directory" --kernel folder
refuses 'pipe as kernel' "'pipe'.*not a regular file" --kernel pipe
refuses 'random bytes as kernel' "'noise'" --kernel noise
refuses 'text as kernel' "'text'" --kernel text
refuses 'truncated multiboot kernel' "'truncated'" --kernel truncated
refuses 'truncated bzImage' "'shortbz'" --kernel shortbz
refuses 'truncated ELF' "'shortelf'" --kernel shortelf
refuses 'missing initrd' "initrd 'nosuch'" --kernel good --initrd nosuch
refuses 'empty initrd' "initrd 'empty'" --kernel good --initrd empty
truncate -s 80M large
refuses 'initrd that does not fit' "initrd 'large'" --kernel good --initrd large --memory 64M
refuses 'unknown protocol' "'rocket'" --kernel good --protocol rocket

chmod 000 text
if [ "$(id -u)" -ne 0 ]; then
    refuses 'unreadable kernel' "'text'.*[Pp]ermission" --kernel text
elif chmod 755 . && setpriv --reuid 65534 --regid 65534 --clear-groups test -x "$RING3" -a -x . 2>/dev/null; then
    AS=(setpriv --reuid 65534 --regid 65534 --clear-groups)
    refuses 'unreadable kernel' "'text'.*[Pp]ermission" --kernel text
    mkdir closed && chmod 700 closed
    refuses 'unwritable console folder' "'file:closed/out'.*[Pp]ermission" --kernel good --serial file:closed/out
    AS=(env)
else
    skip 'unreadable kernel' 'root reads everything, and nobody cannot reach the program'
fi

for size in 0 -1 12Q 1.5G '' 512MM M 99999999999999999999G 18446744073709551615T ' 1M' 0x100M; do
    refuses "memory '$size'" '--memory' --kernel good --memory "$size"
done
refuses 'too little memory' 'memory' --kernel good --memory 64K
refuses 'memory that is no multiple of a page' 'memory' --kernel good --memory 65537K
refuses 'more memory than any machine has' 'memory' --kernel good --memory 600G
refuses 'more memory than this host can back' 'memory' --kernel good --memory 500G
for n in 0 33 -1 two '' 1x; do refuses "cpus '$n'" '--cpus' --kernel good --cpus "$n"; done
for n in 0 -5 1.5 soon; do refuses "timeout '$n'" '--timeout' --kernel good --timeout "$n"; done
refuses 'unknown option' '--frobnicate: unknown option' --frobnicate
refuses 'unknown option near a known one' 'did you mean --kernel' --kernle good
refuses 'an argument that is no option' "'good': not an option" good
refuses 'an option without its argument' '--kernel needs an argument' --kernel
refuses 'a flag with an argument' '--debug-exit takes no argument' --kernel good --debug-exit=1
refuses 'unknown engine' "'warp': unknown engine" --kernel good --engine warp
refuses 'unknown CPU model' "'6502': unknown model" --kernel good --cpu 6502
refuses 'unknown trace event' "unknown trace event 'x'" --kernel good --trace exc,x
refuses 'unknown statistics form' '--stats' --kernel good --stats=xml
for name in '' 'a b' '../x' $'x\ny' "$(printf 'a%.0s' {1..64})"; do
    refuses "name $(printf '%q' "${name:0:8}")" '--name' --kernel good --name "$name"
done
refuses 'unknown serial kind' "serial 'tape'" --kernel good --serial tape
refuses 'serial file without a path' "serial 'file:'" --kernel good --serial file:
refuses 'serial file in no folder' "'file:nosuch/x'" --kernel good --serial file:nosuch/x
refuses 'serial file that is a folder' "'file:folder'" --kernel good --serial file:folder
refuses 'serial socket on a file' "'unix:good'.*not a socket" --kernel good --serial unix:good
refuses 'serial socket in no folder' "'unix:nosuch/x'" --kernel good --serial unix:nosuch/x
refuses 'serial socket with an endless path' 'longer than' --kernel good --serial "unix:$(printf 'a%.0s' {1..200})"
refuses 'no socket without a kernel' "'nosuch'" --kernel nosuch --serial unix:sock
refuses 'no file without a kernel' "'nosuch'" --kernel nosuch --serial file:out

# ---- taken consoles -----------------------------------------------------------------------------

tiny halt "${HALT[@]}"
"$RING3" run --kernel halt --serial unix:taken --timeout 60 2>/dev/null &
holder=$!
wait_for test -S taken
is 'a socket is for its owner only' 600 "$(stat -c %a taken)"
refuses 'a socket that is in use' "'unix:taken'.*in use" --kernel good --serial unix:taken
kill -KILL "$holder"
wait "$holder" 2>/dev/null
[ -S taken ] || not_ok 'the killed machine left its socket'
timeout 20 "$RING3" run --kernel good --serial unix:taken --no-jail
is 'a stale socket is taken over' 0 $?
[ ! -e taken ] && ok 'the socket is removed at the end' || not_ok 'the socket is removed at the end'
"$RING3" run --kernel halt --serial file:log --timeout 60 2>/dev/null &
holder=$!
wait_for test -e log
sleep 0.2
refuses 'a file another machine writes' "'file:log'.*another machine" --kernel good --serial file:log
kill "$holder"
wait "$holder"
is 'SIGTERM gives 128 + 15' 143 $?

# ---- ends ---------------------------------------------------------------------------------------

# ends NAME STATUS LINE(-E) CODE-ARRAY OPTION...
ends() {
    local name=$1 want=$2 pattern=$3 status
    local -n code=$4
    shift 4
    tiny guest "${code[@]}"
    timeout 30 "$RING3" run --kernel guest --serial none "$@" 2>"$ERR" </dev/null
    status=$?
    if [ "$status" -ne "$want" ]; then not_ok "$name"; echo "status $status"; cat "$ERR"
    elif [ -z "$pattern" ] && [ -s "$ERR" ]; then not_ok "$name"; cat "$ERR"
    elif [ -n "$pattern" ] && ! { grep -qE "$pattern" "$ERR" && [ "$(wc -l <"$ERR")" -eq 1 ]; }; then
        not_ok "$name"; cat "$ERR"
    else ok "$name"; fi
}
# shellcheck disable=SC2034  # used by name
read -ra EXIT0 <<<"$(exit_with 00)"
# shellcheck disable=SC2034
read -ra EXIT21 <<<"$(exit_with 15)"
ends 'power-off' 0 '' POWEROFF
ends 'debug-exit of 0 gives 1' 1 '' EXIT0 --debug-exit
ends 'debug-exit of 21 gives 43' 43 '' EXIT21 --debug-exit
ends 'reset with --no-reboot' 3 'reset' RESET --no-reboot
ends 'triple fault' 4 'triple fault' TRIPLE
ends 'time limit of an idle guest' 6 'time limit' HALT --timeout 1
ends 'time limit of a busy guest' 6 'time limit' SPIN --timeout 1
ends 'a guest that resets for ever' 6 'time limit' RESET --timeout 1
ends 'several CPUs' 0 '' POWEROFF --cpus 4

# ---- the rest -----------------------------------------------------------------------------------

is 'version' "$("$RING3" version)" "$("$RING3" --version)"
"$RING3" run --help >help && ok 'run --help' || not_ok 'run --help'
"$RING3" help >help2 && grep -q doctor help2 && ok 'help' || not_ok 'help'
"$RING3" run --cpu help | grep -qx max && ok '--cpu help' || not_ok '--cpu help'
"$RING3" run --trace help | grep -q '^irq ' && ok '--trace help' || not_ok '--trace help'
"$RING3" 2>/dev/null
is 'no verb' 2 $?
"$RING3" fly 2>"$ERR"
is 'unknown verb' 2 $?
"$RING3" doctor >doctor && grep -q '^engine interp *works' doctor && ok 'doctor' || not_ok 'doctor'
tiny hello "${HELLO[@]}" "${POWEROFF[@]}"
is 'serial to a file' hi "$(timeout 20 "$RING3" run -kernel hello -m 32 -smp=1 --serial file:out && cat out)"
is 'serial to a pipe' hi "$(timeout 20 "$RING3" run --kernel hello </dev/null | cat)"
timeout 20 "$RING3" run --kernel hello >outfile </dev/null
is 'serial to a redirected file' hi "$(cat outfile)"
timeout 20 "$RING3" run --kernel hello --stats=json --serial none 2>"$ERR"
grep -qE '^\{"insns": [0-9]+, .*"insns_per_s": [0-9]+, "peak_memory_kib": [1-9][0-9]*\}$' "$ERR" && ok '--stats=json' ||
    { not_ok '--stats=json'; cat "$ERR"; }
timeout 20 "$RING3" run --kernel hello --stats --serial none 2>"$ERR"
grep -q '^insns_per_s' "$ERR" && ok '--stats' || not_ok '--stats'
tiny hello "${HELLO[@]}" f3 90 "${HELLO[@]}" "${RESET[@]}"
timeout 20 "$RING3" run --kernel hello --timeout 1 --serial file:/dev/full 2>"$ERR"
is 'a full disk does not end the machine' 6 $?
is 'a full disk is told once' 1 "$(grep -c "'file:/dev/full': No space left" "$ERR")"
tiny echo "${ECHO_CODE[@]}"
exec 3> >(timeout 20 "$RING3" run --kernel echo >echoed 2>/dev/null)
printf 'a\x01xb' >&3
wait_for grep -q b echoed
exec 3>&-
is 'bytes of a pipe pass unchanged' '61 01 78 62' "$(od -An -tx1 echoed | xargs)"

rm -f "$ERR"
exit $failed

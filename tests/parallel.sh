#!/usr/bin/env bash
# parallel.sh - what a guest prints: to a file, and as documents in a folder, whatever goes wrong there.
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
failed=0
cd "$TEST_TMP" || exit 1
chmod 777 . # root becomes nobody
# Code of tiny guests, which look whether the printer is busy before every byte as drivers do:
# mov dx,0x379; in al,dx; test al,0x80; jz back; mov dx,0x378; mov al,C; out; mov dx,0x37a; mov al,13; out; mov al,12; out
code=()
ready() { code+=(66 ba 79 03 ec a8 80 74 fb); }
print() { # TEXT
    local i
    for ((i = 0; i < ${#1}; i++)); do
        ready
        code+=(66 ba 78 03 b0 "$(printf %02x "'${1:i:1}")" ee 66 ba 7a 03 b0 0d ee b0 0c ee)
    done
}
feed() { ready; code+=(66 ba 78 03 b0 0c ee 66 ba 7a 03 b0 0d ee b0 0c ee); }
init() { code+=(66 ba 7a 03 b0 08 ee b0 0c ee); }
lots() { code+=(b9 00 00 04 00); print x; code+=(49 75 e3); } # 256 KiB of x: mov ecx,1<<18; ... dec ecx; jnz
wait_input() { code+=(66 ba fd 03 ec a8 01 74 fb); }         # until COM1 has a byte
run() { timeout 60 "$RING3" run --kernel guest --serial none --control none "$@" </dev/null; }
make_guest() { tiny guest "${code[@]}" "${POWEROFF[@]}"; code=(); }

print hello
make_guest
run --parallel file:out
is 'a file' '0 hello' "$? $(cat out)"
run
is 'without a port nobody minds' 0 $?
mkdir -m 777 spool
print one; init; print two; feed
make_guest
run --parallel spool:spool
is 'a document per job' '0 one two' "$? $(cat spool/job-000001.prn) $(tr -d '\f' <spool/job-000002.prn)"
run --parallel spool:spool
is 'documents that exist stay' 'one two one two' "$(cat spool/job-00000{1,2,3,4}.prn | tr '\f' ' ' | sed 's/two/ &/g' | xargs)"
is 'and no other file is made' 4 "$(find spool -type f | wc -l)"
print hi; feed
tiny guest "${code[@]}" "${HALT[@]}"
code=()
mkdir -m 777 pages
run --parallel spool:pages --timeout 20 2>/dev/null &
machine=$!
wait_for grep -q hi pages/job-000001.prn
is 'a document appears while the machine runs' 1 "$(grep -c hi pages/job-000001.prn)"
kill $machine
wait $machine 2>/dev/null

# documents cannot be made for a while
wait_input; lots; code+=("${HELLO[@]}")
make_guest
mkdir -m 777 closed
mkfifo go
"$RING3" run --kernel guest --control none --parallel spool:closed --timeout 60 2>err <go >said &
machine=$!
exec 9>go
sleep 0.5
chmod 500 closed
echo >&9
wait_for grep -q paper err
is 'a folder that closes: one line says so' '1 1' "$(wc -l <err | tr -d ' ') $(grep -c 'spool:closed.*paper' err)"
is 'a folder that closes: no document' 0 "$(find closed -type f | wc -l)"
chmod 777 closed
wait $machine
is 'it opens again: the guest goes on' '0 hi' "$? $(cat said)"
is 'it opens again: nothing is lost' '262144 1' "$(stat -c %s closed/job-000001.prn) $(find closed -type f | wc -l)"
exec 9>&-

# ---- bad input ----------------------------------------------------------------------------------

tiny guest "${POWEROFF[@]}"
bad() { # NAME PATTERN SPEC
    run --parallel "$3" 2>err
    is "$1" '2 1 1' "$? $(wc -l <err) $(grep -c -- "$2" err)"
}
bad 'an unknown kind' "'fax'" fax
bad 'no path' "'file:'" file:
bad 'no folder' "spool:nosuch" spool:nosuch
bad 'a folder that is a file' "spool:guest" spool:guest
bad 'a file in no folder' 'nosuch/x' file:nosuch/x
exit $failed

#!/usr/bin/env bash
# control.sh - the control socket and the verbs that use it: names, who may connect, requests good and bad, clients slow and many.
# timeout: 240
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
failed=0
RAW=$B/tests/lib/http_raw
MAN=$PWD/docs/man/ring3.1
cd "$TEST_TMP" || exit 1
chmod 755 .
export XDG_RUNTIME_DIR=$TEST_TMP
tiny halt "${HALT[@]}"
tiny off "${POWEROFF[@]}"

# vm NAME-OPTION...: an idle machine in the background; waits until it answers
vms=()
vm() {
    local before
    before=$("$RING3" ps | wc -l)
    "$RING3" run --kernel halt --serial none --timeout 200 "$@" 2>err.$BASHPID &
    vms+=($!)
    wait_for more_than "$before" || { echo "# a machine does not start"; cat err.*; }
}
more_than() { [ "$("$RING3" ps | grep -c Running)" -ge "$1" ]; }
names() { "$RING3" ps | awk 'NR > 1 { print $1 }' | xargs; }
raw() { timeout 60 "$RAW" "$XDG_RUNTIME_DIR/ring3/vm" "$@"; } # requests on stdin
statuses() { grep -aoE 'HTTP/1.1 [0-9]+' | cut -d' ' -f2 | xargs; }
req() { printf '%s HTTP/1.1\r\nHost: x\r\n%b\r\n%s' "$1" "${2-}" "${3-}"; } # REQUEST HEADERS BODY
put() { req "PUT $1" "Content-Length: ${#2}\r\n" "$2"; }                   # PATH BODY

# ---- names --------------------------------------------------------------------------------------

is 'ps without machines' 1 "$("$RING3" ps | wc -l)"
is 'ps --json without machines' '[]' "$("$RING3" ps --json)"
vm
vm
vm --name web
is 'default names are counted up' 'vm vm-2 web' "$(names)"
is 'the folder is for its owner only' 700 "$(stat -c %a ring3)"
is 'sockets are for their owner only' '600 600 600' "$(stat -c %a ring3/* | xargs)"
"$RING3" run --kernel halt --name web 2>err
is 'a name a machine has: status' 2 $?
is 'a name a machine has: one line says so' 1 "$(grep -c "called 'web' is running already" err)"
"$RING3" run --kernel off --serial none --control none 2>err
is '--control none' 0 $?
"$RING3" run --kernel off --serial none --control nosuch/x 2>err
is '--control in no folder: status' 2 $?
is '--control in no folder: named' 1 "$(grep -c "'nosuch/x'" err)"
"$RING3" run --kernel halt --serial none --control ./ctl --timeout 100 2>/dev/null &
wait_for test -S ctl
"$RING3" stop ./ctl --force
is 'a socket somewhere else, by its path' 0 $?
"$RING3" ps --json >json
is 'ps --json: three machines' 3 "$(grep -c '"uptime_ms"' json)"
XDG_RUNTIME_DIR=/dev/null "$RING3" run --kernel off --serial none 2>err
is 'no folder for sockets is no harm' 0 $?
mkdir open && mkdir -m 755 open/ring3
XDG_RUNTIME_DIR=$PWD/open "$RING3" run --kernel off --serial none --name a 2>err
is 'a folder open to others is not used' '0 0 1' "$? $(find open -type s | wc -l) $(grep -c 'open to others' err)"
kill -KILL "${vms[2]}"
wait "${vms[2]}" 2>/dev/null
is 'a killed machine is not listed' 'vm vm-2' "$(names)"
[ ! -e ring3/web ] && ok 'its socket is removed' || not_ok 'its socket is removed'

# ---- verbs --------------------------------------------------------------------------------------

"$RING3" stop nobody 2>err
is 'no such machine: status' 2 $?
is 'no such machine: who there is' 1 "$(grep -c "'nobody'.*running: vm, vm-2" err)"
for verb in 'stop' 'stop a b' 'stop --timeout 0 a' 'screenshot' 'screenshot a' 'keys' 'keys a' 'ps x' 'keys ../x a'; do
    # shellcheck disable=SC2086  # words
    "$RING3" $verb >/dev/null 2>err
    is "bad usage: $verb" '2 1' "$? $(wc -l <err)"
done
"$RING3" keys vm ret ctrl-alt-delete 'text:Hello, World!' && ok 'keys' || not_ok 'keys'
"$RING3" keys vm frobnicate 2>err
is 'a key that does not exist' '2 1' "$? $(grep -c "'frobnicate'" err)"
"$RING3" keys vm "text:$(head -c 3000 /dev/zero | tr '\0' a)" 2>err
is 'more keys than wait' '2 1' "$? $(wc -l <err)"
"$RING3" stop vm --timeout 1 2>err
is 'a guest that ignores its power button' '6 1' "$? $(grep -c 'has not shut down within 1 s' err)"
"$RING3" stop vm-2 --force
is 'stop --force' '0 vm' "$? $(names)"
wait "${vms[1]}"
is 'the stopped machine ends with 0' 0 $?

# ---- completion ---------------------------------------------------------------------------------

# complete_words WORD...: what the last one becomes
complete_words() {
    bash -c '. <("$0" completion); COMP_WORDS=("$0" "$@"); COMP_CWORD=$#; _ring3; echo "${COMPREPLY[*]}"' "$RING3" "$@"
}
is 'completion of verbs' 'screenshot stop' "$(complete_words s | xargs -n 1 | sort | xargs)"
is 'completion of options' '--kernel' "$(complete_words run --ker)"
is 'completion of machines' 'vm' "$(complete_words stop '')"

# ---- requests -----------------------------------------------------------------------------------

is 'every route answers' '' "$(sed -n 's/^ROUTE(\([A-Z]*\), *"\([^"]*\)".*B_NONE.*/\1 \2/p' "$OLDPWD/src/api/routes.def" |
    while read -r method path; do
        got=$(req "$method $path" | raw | statuses)
        case $path:$got in *:200 | /screen.*:404) ;; *) echo "$path: $got" ;; esac
    done)"
is 'every route is in the man page' '' "$(sed -n 's/^ROUTE([A-Z]*, *"\([^"]*\)".*/\1/p' "$OLDPWD/src/api/routes.def" |
    while read -r path; do grep -qF "$path" "$MAN" || echo "$path"; done)"
is 'requests sent ahead' '200 204 404 200' "$({ req 'GET /'; put /keys '{"keys":["a"]}'; req 'GET /x'; req 'GET /version'; } | raw | statuses)"
is 'a byte at a time' '200 204' "$({ req 'GET /'; put /keys '{"keys":["b"]}'; } | raw -s | statuses)"
is 'Connection: close' '200' "$({ req 'GET /' 'Connection: close\r\n'; req 'GET /'; } | raw | statuses)"
is 'HEAD has no body' 0 "$(req 'HEAD /' 'Connection: close\r\n' | raw | grep -c instance)"
is 'Ctrl-Alt-Delete' 204 "$(put /actions '{"action_type":"SendCtrlAltDel"}' | raw | statuses)"
is 'Expect: 100-continue' '100 204' "$({ printf 'PUT /keys HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 14\r\n\r\n'
    printf '{"keys":["a"]}'; } >two; raw -s <two | statuses)"
while read -r want name text; do
    is "bad request: $name" "$want" "$(printf '%b' "$text" | raw | statuses)"
done <<'END'
400 empty-line \r\n\r\n
400 garbage garbage\r\n\r\n
400 bare-lf GET / HTTP/1.1\nHost: x\n\n
400 no-host GET / HTTP/1.1\r\n\r\n
400 bytes \x80\xff\x00\x01\r\n\r\n
400 space-before-colon GET / HTTP/1.1\r\nHost : x\r\n\r\n
501 unknown-method BREW / HTTP/1.1\r\nHost: x\r\n\r\n
505 version-2 GET / HTTP/2.0\r\nHost: x\r\n\r\n
405 wrong-method PUT /version HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n
404 no-such-path GET /../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n
411 no-length PUT /keys HTTP/1.1\r\nHost: x\r\n\r\n
501 chunked PUT /keys HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n
413 endless-body PUT /keys HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n
400 two-lengths PUT /keys HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n
400 body-of-get GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}
400 no-json PUT /keys HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nnull
400 broken-json PUT /keys HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n{"a"
400 other-json PUT /keys HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"keys":1}
400 no-such-action PUT /actions HTTP/1.1\r\nHost: x\r\nContent-Length: 19\r\n\r\n{"action_type":"X"}
END
is 'an endless head' 431 "$({ printf 'GET / HTTP/1.1\r\nHost: x\r\n'; yes $'a: b\r' | head -c 100000; } | raw | statuses)"
is 'an endless target' 414 "$({ printf 'GET /'; head -c 5000 /dev/zero | tr '\0' a; printf ' HTTP/1.1\r\nHost: x\r\n\r\n'; } | raw | statuses)"
is 'an endless line' 431 "$(head -c 1000000 /dev/zero | tr '\0' a | raw | statuses)"
deep=$(printf '[%.0s' {1..5000})
is 'deep JSON' 400 "$(put /keys "$deep" | raw | statuses)"
is 'a client that stops in the middle' '' "$(printf 'PUT /keys HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{"a' | raw | statuses)"
is 'a client that does not read' 3000 "$(for _ in {1..3000}; do req 'GET /stats'; done | raw -d | grep -ao 'HTTP/1.1 200' | wc -l)"
is 'random bytes' 0 "$(for _ in {1..20}; do head -c 3000 /dev/urandom | raw; done >/dev/null; "$RING3" ps >/dev/null; echo $?)"

# ---- many clients -------------------------------------------------------------------------------

mkfifo hold
"$RAW" ring3/vm -i 100 <hold >held 2>/dev/null &
holder=$!
exec 9>hold
wait_for grep -q open held
is 'a hundred clients that say nothing keep nobody out' 200 "$(req 'GET /' 'Connection: close\r\n' | raw | statuses)"
exec 9>&-
wait "$holder"
many=$(for _ in {1..20}; do req 'GET /' | raw & done | statuses | wc -w)
is 'twenty clients at once' 20 "$many"
is 'the machine is alive' vm "$(names)"

# ---- the end ------------------------------------------------------------------------------------

is 'PUT /stop' 204 "$(put /stop '' | raw | statuses)"
wait "${vms[0]}"
is 'it ends with 0' 0 $?
is 'nobody is left' '' "$(names)"
exit $failed

#!/usr/bin/env bash
# screen.sh - SeaBIOS on every kind of display: characters, a picture in a file, a VNC viewer, this terminal.
# B: build folder (build); RING3: the program ($B/ring3).
# timeout: 300
set -u
cd "$(dirname "$0")/.." || exit 2
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
B=$(realpath "${B:-build}")
RING3=$(realpath "${RING3:-$B/ring3}")
probe=$B/tests/lib/vnc_probe expect=$B/tests/expect
name=screen-$$
failed=0
dir=$(mktemp -d)
chmod 777 "$dir" # a socket must be removable by whoever the monitor becomes
trap 'rm -rf "$dir"; [ -z "${pid:-}" ] || kill "$pid" 2>/dev/null' EXIT
cd "$dir" || exit 2
if [ ! -e /usr/share/seabios/bios-256k.bin ]; then
    skip 'the screen' 'no package seabios'
    exit 0
fi

# start OPTION...: a machine with SeaBIOS that has found nothing to boot from
start() {
    "$RING3" run --quiet --name "$name" --serial none --timeout 120 "$@" </dev/null >run.txt 2>&1 &
    pid=$!
    for _ in {1..300}; do
        "$RING3" screenshot "$name" --text text.txt 2>/dev/null && grep -q 'No bootable device' text.txt && return 0
        kill -0 $pid 2>/dev/null || break
        sleep 0.2
    done
    not_ok "SeaBIOS comes to its end ($*)"
    sed 's/^/# /' run.txt text.txt
    return 1
}
stop() {
    kill -TERM "$pid" 2>/dev/null
    wait "$pid"
    status=$?
    pid=''
}

# without a display, and as the last picture of a file
if start --display png:last.png; then
    is 'the text screen' 'SeaBIOS (version' "$(head -c 16 text.txt)"
    is 'lines of the text screen' 25 "$(wc -l <text.txt)"
    "$RING3" screenshot "$name" shot.png
    is 'a screenshot is a PNG of 720x400' '89504e470d0a1a0a0000000d49484452000002d000000190' "$(head -c 24 shot.png | od -An -tx1 | tr -d ' \n')"
    stop
    is 'the machine ends' 143 $status
    is 'the last picture, too' '000002d000000190' "$(head -c 24 last.png | tail -c 8 | od -An -tx1 | tr -d ' \n')"
fi

# VNC: Unix socket; TCP with a password
if start --display "vnc=unix:$dir/vnc"; then
    "$RING3" screenshot "$name" shot.png
    if "$probe" -t 30 -s shot.png "$dir/vnc" >out.txt; then ok 'a viewer sees what a screenshot shows'; else not_ok 'a viewer sees what a screenshot shows'; fi
    stop
    if [ -e vnc ]; then not_ok 'the socket is removed'; else ok 'the socket is removed'; fi
fi
echo geheim >password
port=
for try in {1..20}; do
    candidate=$((20000 + (RANDOM + try) % 20000))
    (exec 3<>/dev/tcp/127.0.0.1/$candidate) 2>/dev/null || { port=$candidate; break; }
done
if start --display "vnc=127.0.0.1:$port,password=password"; then
    "$RING3" screenshot "$name" shot.png
    "$probe" -p wrong "127.0.0.1:$port" >out.txt 2>&1
    is 'a wrong password' 3 $?
    "$probe" -t 30 -p geheim -s shot.png "127.0.0.1:$port" >out.txt
    is 'the right password' 0 $?
    "$RING3" run --control none --display "vnc=127.0.0.1:$port" >out.txt 2>&1
    is 'a busy port: exit status' 2 $?
    is 'a busy port: one line' "ring3: display 'vnc=127.0.0.1:$port': the port is in use" "$(cat out.txt)"
    stop
    is 'it ends as always' 143 $status
fi
"$RING3" run --control none --display vnc=192.0.2.1:5900 >out.txt 2>&1
is 'an address that is not ours: exit status' 2 $?
is 'an address that is not ours: one line' 1 "$(wc -l <out.txt)"
"$RING3" run --control none --display png:/nonexistent/x.png >out.txt 2>&1
is 'a file that cannot be: exit status' 2 $?
"$RING3" run --control none --display text --serial stdio >out.txt 2>&1
is 'two users of one terminal: exit status' 2 $?

# in the terminal: shown, and left like the console
cat >script <<'END'
until No bootable device.
type \x01x
end 0
END
if "$expect" -t 60 -l console.txt script "$RING3" run --quiet --control none --display text >out.txt 2>&1; then
    ok 'the screen in the terminal'
else
    not_ok 'the screen in the terminal'
    sed 's/^/# /' out.txt
fi
exit $failed

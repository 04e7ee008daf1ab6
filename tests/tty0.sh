#!/usr/bin/env bash
# tty0.sh - a Linux kernel started without firmware finds the VGA in text mode: its console is on the screen, from the first
# message on, also after a reset, and takes keys; in a picture its characters have shapes.
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

# shows TEXT: it is on the screen within 60 s
shows() {
    for _ in {1..300}; do
        "$RING3" screenshot vm --text text.txt 2>/dev/null && grep -qF -- "$1" text.txt && return 0
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.2
    done
    return 1
}
verdict() { # NAME STATUS
    if [ "$2" -eq 0 ]; then ok "$1"; else not_ok "$1"; sed 's/^/# /' text.txt run.txt; fi
}
KERNEL=(--kernel "$GUEST/vmlinuz" --initrd "$GUEST/initrd.cpio.gz" --memory 256M --serial none --timeout 200)

"$RING3" run --quiet --name vm "${KERNEL[@]}" --cmdline console=tty0 --display png:last.png </dev/null >run.txt 2>&1 &
pid=$!
shows 'ring3:/#'
verdict 'the console is on the screen' $?
"$RING3" keys vm "text:clear; echo \$((6 * 7)) done" ret
shows '42 done'
verdict 'it takes keys' $?
if [ -e /usr/share/seabios/vgabios-stdvga.bin ]; then
    "$RING3" screenshot vm shot.png
    is 'a picture of 720x400' '000002d000000190' "$(head -c 24 shot.png | tail -c 8 | od -An -tx1 | tr -d ' \n')"
    is 'with shapes in it' yes "$([ "$(stat -c %s shot.png)" -gt 1200 ] && echo yes)" # a black one takes less than half of that
else skip 'a picture' 'no package seabios'; fi
"$RING3" keys vm 'text:reboot -f' ret
sleep 1
shows "Enter 'help'"
verdict 'after a reset' $?
"$RING3" keys vm 'text:poweroff -f' ret
wait $pid
is 'power-off' 0 $?

# in the terminal, in which the serial port is off: left by Ctrl-A x
printf 'until ring3:/#\ntype \\x01x\nend 0\n' >leave
"$EXPECT" -t 90 -l console.log leave "$RING3" run --quiet --control none --kernel "$GUEST/vmlinuz" \
    --initrd "$GUEST/initrd.cpio.gz" --memory 256M --cmdline console=tty0 --display text >run.txt 2>&1
verdict '--display text' $?

# what is no terminal cannot show a screen
timeout 20 "$RING3" run --control none "${KERNEL[@]}" --display text </dev/null >run.txt 2>&1
is '--display text without a terminal: exit status' 2 $?
is '--display text without a terminal: one line' "ring3: display 'text': standard output is no terminal" "$(cat run.txt)"
exit $failed

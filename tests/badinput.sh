#!/usr/bin/env bash
# badinput.sh - what a user gets wrong about firmware, screens, drives, names and keys: status 2, and one line that names it.
# timeout: 200
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
failed=0
cd "$TEST_TMP" || exit 1
chmod 755 .
export XDG_RUNTIME_DIR=$TEST_TMP
tiny halt "${HALT[@]}"
head -c 1M /dev/zero >disk

# refused NAME TEXT OPTION...: status 2, one line of at most 600 characters, with TEXT
refused() {
    local name=$1 text=$2 got rc
    shift 2
    got=$(timeout 20 "$RING3" run --serial none --timeout 5 "$@" 2>&1 </dev/null)
    rc=$?
    if [ "$rc" = 2 ] && [ "$(wc -l <<<"$got")" = 1 ] && [ ${#got} -le 600 ] && grep -qF -- "$text" <<<"$got"; then ok "refused: $name"
    else not_ok "refused: $name"; echo "status $rc: ${got:0:500}"; fi
}

# ---- firmware -------------------------------------------------------------------------------------------------------

: >fw-empty
printf x >fw-byte
truncate -s 17M fw-17m
truncate -s 70000 fw-odd
mkfifo fw-pipe
refused 'empty firmware' "'fw-empty': is empty" --firmware fw-empty
refused 'firmware of a byte' "'fw-byte': 1 bytes: not a firmware image" --firmware fw-byte
refused 'firmware of 17 MiB' "'fw-17m': 17825792 bytes are more than" --firmware fw-17m
refused 'firmware of broken pages' "'fw-odd': 70000 bytes: not a firmware image" --firmware fw-odd
refused 'no firmware' "'fw-none': No such file" --firmware fw-none
refused 'a folder as firmware' 'is a directory' --firmware /tmp
refused 'a pipe as firmware' 'not a regular file' --firmware fw-pipe
refused 'a device as firmware' 'not a regular file' --firmware /dev/zero
if [ -e /usr/share/seabios/bios-256k.bin ]; then
    refused 'variables without UEFI' "vars 'x'" --firmware /usr/share/seabios/bios-256k.bin --vars x
    refused 'an initrd without a kernel' "initrd 'x'" --initrd x
fi
refused 'variables without firmware' "vars 'x'" --kernel halt --vars x

# ---- screens --------------------------------------------------------------------------------------------------------

for spec in pixels text,x png: vnc= vnc=:99999 vnc=:-1 vnc=unix: vnc=host vnc=999.1.1.1:5900 vnc=nosuchhost.invalid:5900 \
    vnc=192.0.2.1:5900 vnc=unix:/nonexistent/x vnc=:7,password= png:/nonexistent/x png:/tmp; do
    refused "--display $spec" display --kernel halt --display "$spec"
done
refused 'no password file' "password '/nonexistent': No such file" --kernel halt --display vnc=:7,password=/nonexistent
refused '--display text without a terminal' 'no terminal' --kernel halt --display text

# ---- drives ---------------------------------------------------------------------------------------------------------

long=$(head -c 100000 /dev/zero | tr '\0' a)
refused 'a drive of 100000 characters' 'File name too long' --kernel halt --drive "file=$long"
refused 'a part of 100000 characters' 'is no part of it' --kernel halt --drive "$long"
refused 'a value of 100000 characters' "' for if" --kernel halt --drive "file=disk,if=$long"
refused 'no drive' 'is no part' --kernel halt --drive ''
refused 'nothing but commas' 'is no part' --kernel halt --drive ,,,,
refused 'an index beyond numbers' 'bad value' --kernel halt --drive file=disk,index=99999999999999999999
refused 'an offset beyond numbers' 'bad value' --kernel halt --drive file=disk,offset=99999999999T
refused 'an offset behind the end' 'disk' --kernel halt --drive file=disk,offset=1T
refused 'nothing of a disk' 'bad value' --kernel halt --drive file=disk,size=0
many=()
for _ in {1..40}; do many+=(--drive 'file=disk,if=virtio,readonly'); done
refused 'too many drives' drive --kernel halt "${many[@]}"
refused 'one disk twice' 'in use by another drive' --kernel halt --drive file=disk --drive file=disk,if=virtio
for order in '' order= order=z order=C order=cc order=acdnc menu=maybe nonsense order=c,x ',' order; do
    refused "--boot '$order'" '--boot' --kernel halt --boot "$order"
    [ ! -e /usr/share/seabios/bios-256k.bin ] || refused "--boot '$order' with firmware" '--boot' --boot "$order"
done

# ---- machines beside each other -------------------------------------------------------------------------------------

"$RING3" run --kernel halt --serial none --name one --drive file=disk --display png:last.png --timeout 100 </dev/null 2>log &
pid=$!
wait_for "$RING3" screenshot one --text text || { not_ok 'a machine starts'; cat log; }
refused 'a disk of another machine' "disk 'disk': is in use by another" --kernel halt --drive file=disk,readonly
refused 'a name of another machine' "'one'" --kernel halt --name one
wrong() { # NAME WORD...
    local name=$1 got rc
    shift
    got=$("$RING3" "$@" 2>&1 </dev/null)
    rc=$?
    if [ "$rc" = 2 ] && [ "$(wc -l <<<"$got")" = 1 ] && [ ${#got} -le 600 ]; then ok "$name"
    else not_ok "$name"; echo "status $rc: ${got:0:500}"; fi
}
wrong 'a screenshot to a folder that is not there' screenshot one /nonexistent/x.png
wrong 'a screenshot to a folder' screenshot one /tmp
"$RING3" screenshot one /dev/full 2>err
is 'a screenshot to a full device' '1 1' "$? $(grep -c "'/dev/full': No space left" err)"
wrong 'a key without a name' keys one ''
wrong 'a key nobody knows' keys one frobnicate
wrong 'a chord with a key nobody knows' keys one ctrl-frobnicate
wrong 'a chord that does not end' keys one ctrl-
wrong 'a key of 100000 characters' keys one "$long"
wrong 'text no keyboard has' keys one 'text:日本'
kill "$pid"
wait "$pid"
is 'the machine was not harmed' 143 $?
exit $failed

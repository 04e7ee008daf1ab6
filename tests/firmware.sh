#!/usr/bin/env bash
# firmware.sh - machines that start at the reset vector: Debian's SeaBIOS and OVMF, as far as they come without an operating
# system, under every engine.
# B: build folder (build); RING3: the program ($B/ring3); ENGINES: engines to run (interp, and those of bt and kvm that work).
# timeout: 600
set -u
cd "$(dirname "$0")/.." || exit 2
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
B=${B:-build}
RING3=$(realpath "${RING3:-$B/ring3}")
SECONDS_EACH=90
SEABIOS=/usr/share/seabios/bios-256k.bin
OVMF=/usr/share/OVMF/OVMF_CODE_4M.fd
B=$(realpath "$B")
EXPECT=$B/tests/expect
SESSIONS=$PWD/tests/session
# shellcheck source=tests/lib/boot.sh
. tests/lib/boot.sh
EXPECT_SECONDS=$SECONDS_EACH
guest_there && have_guest=1 || have_guest=0
failed=0
make -s B="$B" guest-tests >&2 || { echo "not ok - firmware: guest build failed"; exit 1; }
SECTOR=$(realpath "$B/guest-tests/sector.img")
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 2

works() { "$RING3" doctor 2>/dev/null | grep -q "^engine $1 *works"; }
if [ -z "${ENGINES:-}" ]; then
    ENGINES=interp
    for engine in bt kvm; do works $engine && ENGINES+=" $engine"; done
fi

# run_until FILE TEXT OPTION...: run a machine until TEXT is in FILE, at most SECONDS_EACH. True when it came.
run_until() {
    local file=$1 text=$2 pid seen=1
    shift 2
    : >"$file"
    "$RING3" run --quiet --control none --timeout "$SECONDS_EACH" "$@" </dev/null >out.txt 2>&1 &
    pid=$!
    while kill -0 $pid 2>/dev/null; do
        grep -qaF -- "$text" "$file" && { seen=0; break; }
        sleep 0.1
    done
    grep -qaF -- "$text" "$file" && seen=0
    kill $pid 2>/dev/null
    wait $pid
    return $seen
}

# verdict NAME STATUS FILE
verdict() {
    if [ "$2" -eq 0 ]; then ok "$1"; else not_ok "$1"; tail -n 15 "$3" out.txt | sed 's/^/# /'; fi
}

seabios() { # engine
    local name="seabios/$1"
    run_until log.txt 'No bootable device.' --serial none --debugcon file:log.txt --memory 256M --cpus 2 --engine "$1"
    verdict "$name: finds nothing to boot from" $? log.txt
    is "$name: processors" 1 "$(grep -c '^Found 2 cpu(s)' log.txt)"
    is "$name: memory from fw_cfg" 1 "$(grep -c 'qemu/e820: addr 0x0000000000000000 len 0x0000000010000000' log.txt)"
    is "$name: power management" 1 "$(grep -c 'Moving pm_base to 0x600' log.txt)"
    is "$name: ACPI tables" 1 "$(grep -c '^table(50434146)=.*(via xsdt)' log.txt)"
}

# A boot sector's own checks: A20, disk reads, memory map, protected mode and back.
sector() { # engine
    local name="sector/$1"
    cp "$SECTOR" disk.img
    timeout "$SECONDS_EACH" "$RING3" run --quiet --control none --serial none --debugcon file:log.txt --memory 64M \
        --drive file=disk.img,if=ide --engine "$1" </dev/null >out.txt 2>&1
    verdict "$name: boots and switches off" $? log.txt
    sed -n "s|^\(not \)\?ok - |&$name: |p" log.txt
    is "$name: every check was made" 5 "$(grep -c '^ok - ' log.txt)"
}

# uefi_session NAME SCRIPT OPTION...: drive the UEFI shell by tests/session/SCRIPT.exp
uefi_session() {
    local name=$1 script=$2 rc
    shift 2
    "$EXPECT" -t "$SECONDS_EACH" -l console.log "$SESSIONS/$script.exp" "$RING3" run --control none --memory 256M \
        --firmware $OVMF "$@" | sed "s|^\(not \)\?ok - |&$name: |"
    rc=${PIPESTATUS[0]}
    [ "$rc" -eq 0 ] || { failed=1; tr -d '\r' <console.log | tail -n 15 | sed 's/^/# /'; }
}

ovmf() { # engine
    local name="ovmf/$1"
    rm -f vars.fd
    uefi_session "$name" uefi_set --engine "$1" --vars vars.fd
    uefi_session "$name" uefi_get --engine "$1" --vars vars.fd
    head -c 4096 vars.fd >short.fd
    "$RING3" run --firmware $OVMF --vars short.fd --engine "$1" >out.txt 2>&1 </dev/null
    is "$name: a variable store of a wrong size" 2 $?
    is "$name: and what it says" 1 "$(grep -c "variable store 'short.fd': 4096 bytes; this firmware wants 540672" out.txt)"
}

# kernel NAME OPTION...: the default guest's kernel, started by firmware, and its session
kernel() {
    local name=$1
    shift
    [ "$have_guest" = 1 ] || return 0
    session "$name" quick --control none --memory 512M --cpus 2 "$@"
}

for engine in $ENGINES; do
    if [ -e $SEABIOS ]; then
        seabios "$engine"
        sector "$engine"
        [ "$engine" != bt ] || kernel "seabios kernel/$engine" --engine "$engine" --firmware $SEABIOS
    else skip "seabios/$engine" 'no package seabios'; fi
    # OVMF takes the interpreter a minute, and a KVM that is an emulation more than ten
    [ "$engine" = bt ] || continue
    if [ -e $OVMF ]; then
        ovmf "$engine"
        kernel "ovmf kernel/$engine" --engine "$engine" --firmware $OVMF
    else skip "ovmf/$engine" 'no package ovmf'; fi
done
exit $failed

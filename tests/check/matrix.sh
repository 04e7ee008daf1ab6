#!/usr/bin/env bash
# matrix.sh - operating systems and boot programs of Debian's archive, each driven to a result that its own code computed or
# drew, under ring3 and beside it under QEMU TCG. Leaves a table in $B/os-matrix.md.
#
# ENGINE (bt) is the engine; ONLY is a pattern (grep -E) of names; BESIDE=no leaves QEMU out. A guest that QEMU does not bring
# to its result either is reported as such, and fails all the same.
# serial
# timeout: 3600
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
B=${B:-build}
RING3=${RING3:-$B/ring3}
ENGINE=${ENGINE:-bt}
: "${TEST_TMP:=$(mktemp -d)}"
QEMU=${QEMU:-qemu-system-x86_64}
QEMU_CPU=max
OS=$B/os
failed=0
table=$B/os-matrix.md
result='' seconds=''

now() { date +%s.%N; }

# What a terminal would show: no escape sequences, no control characters.
plain() { tr -d '\r\0\016\017' <"$1" | sed -E 's/\x1b\[[0-9;?]*[A-Za-z]/ /g; s/\x1b[()][A-Za-z0-9]//g; s/\x1b.//g'; }

# until_seen LIMIT ERE FILE PID: wait until FILE shows ERE. Sets result (seen, ended or timeout) and seconds.
until_seen() {
    local start end=$1 file=$3 pid=$4 gone=no
    start=$(now)
    result=timeout
    while awk "BEGIN { exit !($(now) - $start < $end) }"; do
        kill -0 "$pid" 2>/dev/null || gone=yes
        if plain "$file" | tr '\n' ' ' | grep -aqE -- "$2"; then result=seen; break; fi
        [ $gone = no ] || { result=ended; break; }
        sleep 0.2
    done
    seconds=$(awk "BEGIN { printf \"%.1f\", $(now) - $start }")
}

stop() { # pid
    kill -TERM "$1" 2>/dev/null
    for _ in {1..50}; do kill -0 "$1" 2>/dev/null || break; sleep 0.1; done
    kill -KILL "$1" 2>/dev/null
    wait "$1" 2>/dev/null
}

# run_serial LIMIT ERE COMMAND...: what its standard output comes to
run_serial() {
    local limit=$1 ere=$2
    shift 2
    "$@" >"$TEST_TMP/out" 2>&1 </dev/null &
    local pid=$!
    until_seen "$limit" "$ere" "$TEST_TMP/out" $pid
    stop $pid
}

note() { # name what ring3-result ring3-seconds tcg-result tcg-seconds
    printf '| %s | %s | %s | %s | %s | %s |\n' "$@" >>"$table"
}

wanted() { [ -z "${ONLY:-}" ] || grep -qE "$ONLY" <<<"$1"; }

fetched() { # test name, packages...
    local name=$1 why
    shift
    why=$(tools/guest/fetch-os.sh "$OS" "$@" 2>&1) && return 0
    skip "$name" "cannot be fetched: $(tail -n 1 <<<"$why" | tr -d '#')"
    return 1
}

# verdict NAME WHAT RESULT SECONDS: of ring3's run; then QEMU's result is in result and seconds
verdict() {
    local name=$1 what=$2 ours=$3 our_s=$4
    note "$name" "$what" "$ours" "$our_s" "$result" "$seconds"
    if [ "$ours" = seen ]; then ok "$name: $what"
    else
        not_ok "$name: $what ($ours after $our_s s; TCG: $result)"
        plain "$TEST_TMP/ring3" | tail -n 30 | sed 's/^/# /'
    fi
}

# kernel NAME LIMIT WHAT ERE MEMORY KERNEL [INITRD [CMDLINE]]: a kernel started without firmware, on the serial port
kernel() {
    local name=$1 limit=$2 what=$3 ere=$4 memory=$5 image=$6 initrd=${7:-} cmdline=${8:-console=ttyS0}
    local ours our_s options=()
    [ -z "$initrd" ] || options=(-initrd "$initrd")
    run_serial "$limit" "$ere" "$RING3" run --engine "$ENGINE" --memory "$memory" --kernel "$image" --cmdline "$cmdline" \
        "${options[@]}" --no-reboot --quiet --timeout $((limit + 5))
    ours=$result our_s=$seconds
    mv "$TEST_TMP/out" "$TEST_TMP/ring3"
    result=- seconds=-
    [ "${BESIDE:-yes}" = no ] || run_serial $((limit * 3)) "$ere" "$QEMU" -accel tcg -cpu "$QEMU_CPU" -m "$memory" -kernel "$image" \
        -append "$cmdline" "${options[@]}" -serial stdio -display none -monitor none -no-reboot
    verdict "$name" "$what" "$ours" "$our_s"
}

# qemu_screen SOCKET: the characters of a VGA text screen, from QEMU's monitor
# shellcheck disable=SC2317  # called through screen_until
qemu_screen() {
    local cells
    cells=$(echo 'xp /4000bx 0xb8000' | timeout 5 socat -t 2 - "UNIX-CONNECT:$1" 2>/dev/null | tr -d '\r' | grep '^0000' |
        sed -E 's/^[0-9a-f]+: //; s/0x(..) 0x.. ?/\\x\1/g' | tr -d '\n')
    printf '%b' "${cells//\\x00/ }" | fold -w 80
}

# screen_until LIMIT ERE PID COMMAND...: as until_seen, for a screen that COMMAND prints; types $keys when $keys_at is there
screen_until() {
    local limit=$1 ere=$2 pid=$3 start typed=no text
    shift 3
    start=$(now)
    result=timeout
    while awk "BEGIN { exit !($(now) - $start < $limit) }"; do
        sleep 0.5
        text=$("$@" 2>/dev/null | tr '\n' ' ')
        printf '%s\n' "$text" >"$TEST_TMP/out"
        if grep -qE -- "$ere" <<<"$text"; then result=seen; break; fi
        if [ $typed = no ] && [ -n "$keys" ] && grep -qE -- "$keys_at" <<<"$text"; then
            typed=yes
            type_keys
        fi
        kill -0 "$pid" 2>/dev/null || { result=ended; break; }
    done
    seconds=$(awk "BEGIN { printf \"%.1f\", $(now) - $start }")
}

# screen NAME LIMIT WHAT ERE OPTION... [-- QEMU-OPTION...]: a machine with firmware, by its text screen. $keys (a key's name) is
# typed once the screen shows $keys_at.
screen() {
    local name=$1 limit=$2 what=$3 ere=$4 pid ours our_s options=() dir=$TEST_TMP/run
    shift 4
    while [ $# -gt 0 ] && [ "$1" != -- ]; do options+=("$1"); shift; done
    [ $# -eq 0 ] || shift
    rm -rf "$dir" && mkdir "$dir" && chmod 700 "$dir"
    XDG_RUNTIME_DIR=$dir "$RING3" run --engine "$ENGINE" --name matrix --serial none --quiet --timeout $((limit + 5)) \
        "${options[@]}" >"$TEST_TMP/messages" 2>&1 </dev/null &
    pid=$!
    type_keys() { XDG_RUNTIME_DIR=$dir "$RING3" keys matrix "$keys"; }
    screen_until "$limit" "$ere" $pid env XDG_RUNTIME_DIR="$dir" "$RING3" screenshot matrix --text -
    stop $pid
    ours=$result our_s=$seconds
    cat "$TEST_TMP/out" "$TEST_TMP/messages" >"$TEST_TMP/ring3"
    result=- seconds=-
    if [ "${BESIDE:-yes}" != no ]; then
        "$QEMU" -accel tcg -cpu "$QEMU_CPU" -display none -monitor "unix:$dir/monitor,server,nowait" "$@" >/dev/null 2>&1 </dev/null &
        pid=$!
        type_keys() { echo "sendkey $keys" | timeout 5 socat - "UNIX-CONNECT:$dir/monitor" >/dev/null 2>&1; }
        screen_until $((limit * 2)) "$ere" $pid qemu_screen "$dir/monitor"
        stop $pid
    fi
    verdict "$name" "$what" "$ours" "$our_s"
}

# initramfs BUSYBOX OUT: one that computes something, says what it is running on and switches off
initramfs() {
    local root=$TEST_TMP/root
    rm -rf "$root"
    mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev"
    cp "$1" "$root/bin/busybox"
    ln -s busybox "$root/bin/sh"
    cat >"$root/init" <<'INIT'
#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
echo "on $(uname -m)"
echo "digest $(seq 1 20000 | gzip | gunzip | sha256sum | cut -c1-16)"
awk 'BEGIN { printf "float %.6f\n", 355 / 113 }'
sync; poweroff -f
INIT
    chmod +x "$root/init"
    (cd "$root" && find . | cpio -o -H newc --quiet | gzip) >"$2"
}

linux() { # name package busybox-package machine
    wanted "$1" && fetched "$1" "$2" "$3" || return 0
    local digest
    digest=$(seq 1 20000 | sha256sum | cut -c1-16)
    initramfs "$OS/$3/bin/busybox" "$TEST_TMP/$1.cpio.gz"
    kernel "$1" 180 'boots, computes, switches off' "on $4.*digest $digest.*float 3.141593.*reboot: Power down" 512M \
        "$(echo "$OS/$2"/boot/vmlinuz-*)" "$TEST_TMP/$1.cpio.gz" 'console=ttyS0 panic=-1'
}

installer() { # name package architecture
    wanted "$1" && fetched "$1" "$2" || return 0
    local dir=$OS/$2/usr/lib/debian-installer/images/12/$3/text/debian-installer/$3
    kernel "$1" 240 'shows its first dialog' 'Choose the language to be used' 1G "$dir/linux" "$dir/initrd.gz" 'console=ttyS0'
}

memtest() { # name image
    wanted "$1" && fetched "$1" memtest || return 0
    kernel "$1" 900 'a pass over 64 MiB without errors' 'Pass: +[1-9][0-9]* +Errors: 0 ' 64M "$OS/memtest/boot/$2" '' 'console=ttyS0,115200'
}

ipxe() {
    wanted iPXE && fetched iPXE ipxe || return 0
    local iso=$OS/ipxe/usr/lib/ipxe/ipxe.iso
    keys=ctrl-b keys_at='Press Ctrl-B'
    screen iPXE 90 'its prompt' 'iPXE>' --memory 256M --cdrom "$iso" -- -m 256M -cdrom "$iso" -boot d
    keys=
}

# grub_iso OUT CONFIGURATION FILE...: an ISO image that GRUB boots from a CD-ROM drive
grub_iso() {
    local out=$1 config=$2 root=$TEST_TMP/iso
    shift 2
    rm -rf "$root" && mkdir -p "$root/boot/grub"
    printf '%s\n' "$config" >"$root/boot/grub/grub.cfg"
    for file; do cp -L "$file" "$root/$(basename "$file" | sed 's/-[0-9].*//')"; done
    grub-mkrescue -o "$out" "$root" >"$TEST_TMP/mkrescue" 2>&1 || { not_ok "$out: $(tail -n 1 "$TEST_TMP/mkrescue")"; return 1; }
}

has_grub() { # test name
    command -v grub-mkrescue >/dev/null && command -v xorriso >/dev/null && command -v mformat >/dev/null && return 0
    skip "$1" 'no grub-mkrescue (grub-common, grub-pc-bin, xorriso, mtools)'
    return 1
}

grub_menu() {
    wanted 'GRUB' && has_grub GRUB || return 0
    local iso=$TEST_TMP/menu.iso
    grub_iso "$iso" $'set timeout=-1\nmenuentry "The first entry" { echo "GRUB chose $chosen" ; sleep 1000 }' || return 0
    keys=ret keys_at='The first entry'
    screen GRUB 60 'its menu from an ISO, an entry chosen' 'GRUB chose The first entry' --memory 256M --cdrom "$iso" -- \
        -m 256M -cdrom "$iso" -boot d
    keys=
}

# serial NAME LIMIT WHAT ERE OPTION... -- QEMU-OPTION...: a machine with firmware, by its serial port
serial() {
    local name=$1 limit=$2 what=$3 ere=$4 ours our_s options=()
    shift 4
    while [ "$1" != -- ]; do options+=("$1"); shift; done
    shift
    run_serial "$limit" "$ere" "$RING3" run --engine "$ENGINE" --no-reboot --quiet --timeout $((limit + 5)) "${options[@]}"
    ours=$result our_s=$seconds
    mv "$TEST_TMP/out" "$TEST_TMP/ring3"
    result=- seconds=-
    [ "${BESIDE:-yes}" = no ] || run_serial $((limit * 3)) "$ere" "$QEMU" -accel tcg -cpu "$QEMU_CPU" -serial stdio -display none \
        -monitor none -no-reboot "$@"
    verdict "$name" "$what" "$ours" "$our_s"
}

grub_linux() {
    wanted 'GRUB, Linux' && has_grub 'GRUB, Linux' && fetched 'GRUB, Linux' linux-amd64 busybox-amd64 || return 0
    local iso=$TEST_TMP/linux.iso digest
    digest=$(seq 1 20000 | sha256sum | cut -c1-16)
    initramfs "$OS/busybox-amd64/bin/busybox" "$TEST_TMP/initrd.gz"
    grub_iso "$iso" $'linux /vmlinuz console=ttyS0 panic=-1\ninitrd /initrd.gz\nboot' "$(echo "$OS"/linux-amd64/boot/vmlinuz-*)" \
        "$TEST_TMP/initrd.gz" || return 0
    serial 'GRUB, Linux' 120 'GRUB loads Linux from an ISO; it computes, switches off' \
        "on x86_64.*digest $digest.*reboot: Power down" --memory 512M --cdrom "$iso" -- -m 512M -cdrom "$iso" -boot d
}

grub_memtest() {
    wanted 'memtest86+ BIOS' && has_grub 'memtest86+ BIOS' && fetched 'memtest86+ BIOS' memtest || return 0
    local iso=$TEST_TMP/memtest.iso
    grub_iso "$iso" $'linux /memtest86+x64.bin console=ttyS0,115200\nboot' "$OS/memtest/boot/memtest86+x64.bin" || return 0
    serial 'memtest86+ BIOS' 900 'GRUB loads it from an ISO; a pass over 64 MiB without errors' \
        'Pass: +[1-9][0-9]* +Errors: 0 ' --memory 64M --cdrom "$iso" -- -m 64M -cdrom "$iso" -boot d
}

ovmf() {
    wanted OVMF && fetched OVMF ovmf || return 0
    local dir=$OS/ovmf/usr/share/OVMF
    cp "$dir/OVMF_VARS.fd" "$TEST_TMP/qemu-vars.fd"
    serial OVMF 120 'its shell' 'Shell>' --memory 512M --firmware "$dir/OVMF_CODE.fd" --vars "$TEST_TMP/vars.fd" -- \
        -m 512M -drive "if=pflash,format=raw,readonly=on,file=$dir/OVMF_CODE.fd" \
        -drive "if=pflash,format=raw,file=$TEST_TMP/qemu-vars.fd" -net none
}

xen() {
    wanted Xen && fetched Xen xen linux-amd64 busybox-amd64 || return 0
    local image=$TEST_TMP/xen kernel digest options
    kernel=$(echo "$OS"/linux-amd64/boot/vmlinuz-*)
    digest=$(seq 1 20000 | sha256sum | cut -c1-16)
    gunzip -c "$(echo "$OS"/xen/boot/xen-4*.gz)" >"$image"
    initramfs "$OS/busybox-amd64/bin/busybox" "$TEST_TMP/dom0.gz"
    options='com1=115200,8n1 console=com1 dom0_mem=512M noreboot'
    QEMU_CPU=qemu64 # with -cpu max, QEMU 7.2's dom0 does not get far
    serial Xen 180 'its banner; its dom0, a Debian kernel, computes and switches off' \
        "\(XEN\) Xen version 4.*digest $digest.*reboot: Power down" --memory 1G --kernel "$image" --cmdline "$options" \
        --initrd "$kernel console=hvc0 panic=-1,$TEST_TMP/dom0.gz" -- -m 1G -kernel "$image" -append "$options" \
        -initrd "$kernel console=hvc0 panic=-1,$TEST_TMP/dom0.gz"
    QEMU_CPU=max
}

keys='' keys_at=''
command -v "$QEMU" >/dev/null || BESIDE=no
{
    echo "| guest | result wanted | ring3 ($ENGINE) | s | QEMU TCG | s |"
    echo '|---|---|---|---|---|---|'
} >"$table"
linux 'Linux 6.1 amd64' linux-amd64 busybox-amd64 x86_64
linux 'Linux 6.1 686' linux-686 busybox-i386 i686
linux 'Linux 6.1 686-pae' linux-686-pae busybox-i386 i686
installer 'Debian installer amd64' installer-amd64 amd64
installer 'Debian installer i386' installer-i386 i386
memtest 'memtest86+ x64' memtest86+x64.bin
memtest 'memtest86+ ia32' memtest86+ia32.bin
grub_menu
grub_linux
grub_memtest
ipxe
ovmf
xen
sed 's/^/# /' "$table"
exit $failed

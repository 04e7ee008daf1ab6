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
    [ "${BESIDE:-yes}" = no ] || run_serial $((limit * 3)) "$ere" "$QEMU" -accel tcg -cpu max -m "$memory" -kernel "$image" \
        -append "$cmdline" "${options[@]}" -serial stdio -display none -monitor none -no-reboot
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
sed 's/^/# /' "$table"
exit $failed

#!/usr/bin/env bash
# selftests.sh - Linux's own x86 self-tests (tools/testing/selftests/x86 of Debian's linux-source-6.1), 64- and 32-bit, in
# Debian's kernels under ring3 and beside it under QEMU TCG. A test fails here where ring3's verdict is worse than TCG's and the
# table "Linux's x86 self-tests" of guest/README.md does not name it. Leaves $B/selftests.md and what the guests wrote,
# $B/selftests/*.log.
#
# ENGINES (bt) are the engines; KERNELS is any of amd64, 686-pae; ONLY is a pattern (grep -E) of test names, as fsgsbase_64.
# serial
# timeout: 2400
set -u
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
B=${B:-build}
RING3=${RING3:-$B/ring3}
QEMU=${QEMU:-qemu-system-x86_64}
DIR=$B/selftests
SOURCE=linux-source-6.1
TREE=$DIR/$SOURCE/tools/testing/selftests/x86
EACH=60  # seconds of one test in the guest
RUN=900  # of one guest
failed=0

give_up() { skip 'Linux self-tests' "$1"; exit 0; }

# The archive is the installed package's, or of one fetched.
unpack() {
    local archive=/usr/src/$SOURCE.tar.xz
    [ ! -d "$TREE" ] || return 0
    if [ ! -f "$archive" ]; then
        tools/guest/fetch-os.sh "$B/os" linux-source >"$DIR/fetch.log" 2>&1 || return 1
        archive=$B/os/linux-source/usr/src/$SOURCE.tar.xz
    fi
    rm -rf "$DIR/tmp" && mkdir -p "$DIR/tmp"
    tar -xf "$archive" -C "$DIR/tmp" "$SOURCE/tools/testing/selftests/x86" \
        "$SOURCE/tools/testing/selftests/kselftest.h" "$SOURCE/arch/x86/include/asm/desc_defs.h" &&
        mv "$DIR/tmp/$SOURCE" "$DIR/"
}

# Names of the tests of one width, as the source's Makefile has them.
tests_of() { # 32|64
    local lists="TARGETS_C_BOTHBITS TARGETS_C_$1BIT_ONLY TARGETS_C_32BIT_NEEDED" list
    for list in $lists; do
        sed -nE ":a; /\\\\\$/ { N; s/\\\\\n//; ba }; s/^$list := *//p" "$TREE/Makefile"
    done | tr -s ' \t' '\n' | grep .
}

# What some of them are linked with besides, as the Makefile says.
extra_of() { # name width
    case $1_$2 in
    check_initial_reg_state_*) echo -Wl,-ereal_start ;;
    sysret_ss_attrs_64) echo thunks.S ;;
    ptrace_syscall_32) echo raw_syscall_helper_32.S ;;
    test_syscall_vdso_32) echo thunks_32.S ;;
    esac
}

# build NAME WIDTH: static, but for those that look up the vDSO through the dynamic linker
build() {
    local out=$PWD/$DIR/bin/$1_$2 link=-static
    case $DIR in /*) out=$DIR/bin/$1_$2 ;; esac
    [ ! -x "$out" ] || return 0
    ! grep -q 'dlopen(' "$TREE/$1.c" || link=
    # shellcheck disable=SC2046,SC2086  # options
    (cd "$TREE" && gcc -m"$2" -O2 -g -std=gnu99 -pthread -w -no-pie $link -DCAN_BUILD_32 -DCAN_BUILD_64 -o "$out" "$1.c" \
        $(extra_of "$1" "$2") -lrt -ldl -lm) >>"$DIR/build.log" 2>&1
}

build_all() {
    local width name
    mkdir -p "$DIR/bin"
    : >"$DIR/build.log"
    for width in 64 32; do
        for name in $(tests_of $width); do
            build "$name" $width || not_ok "$name, $width-bit, does not build: $DIR/build.log"
        done
    done
}

# initramfs BUSYBOX OUT GLOB: busybox, the tests, the libraries of the dynamic ones, and the loop over them
initramfs() {
    local root=$DIR/root file library
    rm -rf "$root"
    mkdir -p "$root/bin" "$root/proc" "$root/sys" "$root/dev" "$root/tests" "$root/tmp"
    cp "$1" "$root/bin/busybox"
    ln -s busybox "$root/bin/sh"
    for file in "$DIR"/bin/$3; do
        grep -qE "${ONLY:-.}" <<<"$(basename "$file")" || continue
        strip -o "$root/tests/$(basename "$file")" "$file"
        for library in $(ldd "$file" 2>/dev/null | grep -oE '/[^ ]+'); do
            mkdir -p "$root/$(dirname "$library")" && cp -Ln "$library" "$root/$library"
        done
    done
    cat >"$root/init" <<INIT
#!/bin/sh
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
cd /tmp
after=\$(sed -n 's/.*after=\([^ ]*\).*/\1/p' /proc/cmdline)
for test in /tests/*; do
    name=\${test##*/}
    [ "\$after" = none ] || { [ "\$name" != "\$after" ] || after=none; continue; }
    echo "start \$name"
    timeout -s KILL $EACH \$test >/tmp/log 2>&1 </dev/null
    rc=\$?
    sed "s/^/\$name: /" /tmp/log
    echo "verdict \$name \$rc"
done
echo "verdicts end"
sync; poweroff -f
INIT
    chmod +x "$root/init"
    (cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$2"
}

# guest LOG COMMAND...: one run after the other, each going on behind the test that the one before did not survive.
# COMMAND gets the kernel's command line as its last argument. A guest that is silent for longer than a test may take is over.
guest() {
    local log=$1 after=none size last silent pid
    shift
    : >"$log"
    while :; do
        "$@" "console=ttyS0 quiet oops=panic panic=-1 after=$after" >>"$log" 2>&1 </dev/null &
        pid=$!
        size=-1 silent=0
        while kill -0 $pid 2>/dev/null && [ $silent -lt $((EACH + 60)) ]; do
            sleep 1
            if [ "$(stat -c %s "$log")" = "$size" ]; then silent=$((silent + 1)); else silent=0; fi
            size=$(stat -c %s "$log")
        done
        kill -KILL $pid 2>/dev/null
        wait $pid 2>/dev/null
        ! grep -qa '^verdicts end' "$log" || return 0
        last=$(tr -d '\r' <"$log" | sed -nE 's/^start ([a-z0-9A-Z_]+)$/\1/p' | tail -n 1)
        [ -n "$last" ] && [ "$last" != "$after" ] || return 0
        after=$last
    done
}

# shellcheck disable=SC2317  # guest calls both
under_ring3() { # engine kernel initrd cmdline
    exec "$RING3" run --engine "$1" --memory 1G --cpus 2 --kernel "$2" --initrd "$3" --serial stdio --no-reboot --quiet \
        --timeout "$RUN" --cmdline "$4"
}

# shellcheck disable=SC2317
under_tcg() { # kernel initrd cmdline
    exec "$QEMU" -accel tcg -cpu max -m 1G -smp 2 -kernel "$1" -initrd "$2" -serial stdio -display none -monitor none \
        -no-reboot -append "$3"
}

# Of a log: "test verdict" lines. What a test that was killed had to say does not count; one without verdict ended the guest.
verdicts() { # log
    tr -d '\r' <"$1" | awk '
        match($0, /verdict [a-zA-Z0-9_]+ [0-9]+$/) {
            split(substr($0, RSTART), w, " ")
            print w[2], w[3] == 0 ? (skipped[w[2]] && !passed[w[2]] ? "skip" : "ok") : w[3] == 4 ? "skip" : w[3] == 137 ? "hang" : "fail"
        }
        /: *\[(SKIP|NOTE)\]/ { sub(/:.*/, ""); skipped[$0] = 1; next }
        /: *\[OK\]/ { sub(/:.*/, ""); passed[$0] = 1 }'
}

verdict_of() { awk -v n="$2" '$1 == n { v = $2 } END { print v == "" ? "none" : v }' "$1"; }
rank() { case $1 in ok) echo 0 ;; skip) echo 1 ;; fail) echo 2 ;; hang) echo 3 ;; none | *) echo 4 ;; esac; }

# Why ring3 may be worse: rows "| KERNEL TEST | why |" of the README.
explained() { # kernel test
    sed -n "/^## Linux's x86 self-tests/,\$p" guest/README.md | grep -qF "| $1 $2 |"
}

# compare KERNEL ENGINE: a line for every test, into the table too
compare() {
    local kernel=$1 engine=$2 name ours tcg
    verdicts "$DIR/$kernel-$engine.log" >"$DIR/ours"
    : >"$DIR/tcg"
    [ ! -s "$DIR/$kernel-tcg.log" ] || verdicts "$DIR/$kernel-tcg.log" >"$DIR/tcg"
    for name in $(cd "$DIR/root/tests" && ls); do
        ours=$(verdict_of "$DIR/ours" "$name") tcg=$(verdict_of "$DIR/tcg" "$name")
        echo "| $kernel | $name | $engine | $ours | $tcg |" >>"$B/selftests.md"
        if [ "$(rank "$ours")" -le "$(rank "$tcg")" ] && [ "$ours" != none ]; then ok "$kernel $name $engine: $ours (TCG: $tcg)"
        elif explained "$kernel" "$name"; then ok "$kernel $name $engine: $ours (TCG: $tcg), explained"
        else
            not_ok "$kernel $name $engine: $ours (TCG: $tcg)"
            tr -d '\r' <"$DIR/$kernel-$engine.log" | grep -a "^$name: " | grep -av '\[OK\]' | tail -n 8 | sed 's/^/# /'
        fi
    done
}

suite() { # kernel package busybox glob
    local image engine
    grep -qw -- "$1" <<<"${KERNELS:-amd64 686-pae}" || return 0
    if ! tools/guest/fetch-os.sh "$B/os" "$2" "$3" >"$DIR/fetch.log" 2>&1; then
        skip "self-tests in $2" "cannot be fetched: $(tail -n 1 "$DIR/fetch.log")"
        return
    fi
    image=$(echo "$B/os/$2"/boot/vmlinuz-*)
    initramfs "$B/os/$3/bin/busybox" "$DIR/initrd.gz" "$4"
    rm -f "$DIR/$1-tcg.log"
    ! command -v "$QEMU" >/dev/null || guest "$DIR/$1-tcg.log" under_tcg "$image" "$DIR/initrd.gz"
    for engine in ${ENGINES:-bt}; do
        guest "$DIR/$1-$engine.log" under_ring3 "$engine" "$image" "$DIR/initrd.gz"
        compare "$1" "$engine"
    done
}

mkdir -p "$DIR"
echo 'int main(void) { return 0; }' | gcc -m32 -static -x c -o "$DIR/probe" - 2>/dev/null ||
    give_up 'no static 32-bit programs can be built (gcc-multilib)'
unpack || give_up "$SOURCE cannot be fetched"
build_all
{
    echo '| kernel | test | engine | ring3 | QEMU TCG |'
    echo '|---|---|---|---|---|'
} >"$B/selftests.md"
suite amd64 linux-amd64 busybox-amd64 '*'
suite 686-pae linux-686-pae busybox-i386 '*_32'
exit $failed

# shellcheck shell=bash
# tiny.sh - sourced by tests: guests of a few bytes, and counting what happened.
#
# A script that is started alone, in the root of the tree, finds the build in B (build) and makes a folder of its own.
#
# tiny FILE BYTE... writes a multiboot image whose 32-bit code is these bytes (hex), entered at 1 MiB + 0x20 with
# paging off and interrupts disabled.

B=$(realpath -m "${B:-build}")
export B RING3=${RING3:-$B/ring3}
if [ -z "${TEST_TMP:-}" ]; then
    TEST_TMP=$(mktemp -d)
    export TEST_TMP
    trap 'rm -rf "$TEST_TMP"' EXIT
fi
[ -x "$RING3" ] || { echo "not ok - $RING3 is not built (make)"; exit 1; }

tiny() {
    local file=$1 out='' n
    shift
    local words=(0x1badb002 0x00010000 0xe4514ffe 0x100000 0x100000 0 0 0x100020)
    for n in "${words[@]}"; do
        out+=$(printf '\\x%02x\\x%02x\\x%02x\\x%02x' $((n & 255)) $((n >> 8 & 255)) $((n >> 16 & 255)) $((n >> 24 & 255)))
    done
    for n in "$@"; do out+="\\x$n"; done
    printf '%b' "$out" >"$file"
}

# Code of tiny guests.
HALT=(f4 eb fd)                                        # hlt; jmp back: idle for ever
SPIN=(eb fe)                                           # jmp to itself
POWEROFF=(66 ba 04 06 66 b8 00 20 66 ef f4)            # out 0x604, S5 | SLP_EN
RESET=(66 ba f9 0c b0 06 ee f4)                        # out 0xcf9, 6
TRIPLE=(0f 01 1d 40 00 10 00 cc)                       # lidt of zeros; int3
exit_with() { echo b0 "$1" e6 f4 f4; }                 # out 0xf4, $1
HELLO=(66 ba f8 03 b0 68 ee b0 69 ee b0 0a ee)         # "hi\n" to COM1
ECHO_CODE=(66 ba fd 03 ec a8 01 74 fb 66 ba f8 03 ec ee eb ef) # what COM1 brings goes back

ok() { echo "ok - $1"; }
not_ok() { echo "not ok - $1"; failed=1; }
skip() { echo "ok - $1 # SKIP $2"; }

# is NAME WANT GOT
is() {
    if [ "$2" = "$3" ]; then ok "$1"; else not_ok "$1"; echo "wanted: $2"; echo "got:    $3"; fi
}

# wait_for COMMAND...: up to 10 s
wait_for() {
    local i
    for i in {1..200}; do
        "$@" >/dev/null 2>&1 && return 0
        sleep 0.05
    done
    return 1
}

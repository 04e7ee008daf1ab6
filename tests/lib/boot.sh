# shellcheck shell=bash
# boot.sh - sourced by tests that boot the default guest. Needs B and RING3; fetches the guest into $B/guest.

EXPECT=$B/tests/expect
SESSIONS=$PWD/tests/session
GUEST=$B/guest
CMDLINE=console=ttyS0
: "${EXPECT_SECONDS:=150}" # longest wait for anything a session asks for

# guest_there: the default guest is fetched; else one SKIP line, and false
guest_there() {
    [ -x "$EXPECT" ] || { echo "not ok - $EXPECT is not built"; exit 1; }
    local why
    why=$(tools/guest/fetch.sh "$GUEST" 2>&1) && return 0
    echo "ok - the default guest # SKIP cannot be fetched: $(tail -n 1 <<<"$why" | tr -d '#')"
    return 1
}

# session NAME SCRIPT OPTION...: boot and run tests/session/SCRIPT.exp; its verdicts, each after "NAME: ". What it saves lands
# in the current folder. CMDLINE, KERNEL and EXPECT_OPTIONS may be set before.
session() {
    local name=$1 script=$2 rc
    shift 2
    rm -f ./*.txt
    # shellcheck disable=SC2086  # options
    "$EXPECT" -t "$EXPECT_SECONDS" ${EXPECT_OPTIONS:-} -l console.log "$SESSIONS/$script.exp" "$RING3" run \
        --kernel "${KERNEL:-$GUEST/vmlinuz}" --initrd "$GUEST/initrd.cpio.gz" --cmdline "$CMDLINE" "$@" |
        sed "s|^\(not \)\?ok - |&$name: |"
    rc=${PIPESTATUS[0]}
    [ "$rc" -eq 0 ] || failed=1
    [ "$rc" -lt 2 ] || echo "not ok - $name: expect ended with $rc"
}

# What a log may say although it looks like trouble. One pattern (grep -E) a line, with the reason.
log_allowed() {
    sed -n 's/^ *\(.*[^ ]\)  *## .*/\1/p' <<'ALLOWED'
    fail to add MMCONFIG information        ## the machine has no ECAM (PCI configuration is by ports), as an i440FX
    if necessary, use "pci=nocrs" and report a bug  ## advice the kernel gives on every machine with ACPI
ALLOWED
}

# log_is_clean NAME: dmesg.txt and console.log hold nothing of the kernel that looks like trouble
log_is_clean() {
    local lines bad
    lines=$(wc -l <dmesg.txt 2>/dev/null || echo 0)
    bad=$({ cat dmesg.txt; grep -a '^\[ *[0-9]*\.[0-9]*\]' console.log; } 2>/dev/null | tr -d '\r' | sort -u |
        grep -aiE 'warning|\bbug\b|unchecked MSR access|call trace|error|fail|stall|lockup|unstable|oops|panic' |
        grep -avE -f <(log_allowed))
    if [ "$lines" -lt 200 ]; then not_ok "$1: the log is clean"; echo "# only $lines lines of dmesg"
    elif [ -n "$bad" ]; then not_ok "$1: the log is clean"; sed 's/^/# /' <<<"$bad"
    else ok "$1: the log is clean"; fi
}

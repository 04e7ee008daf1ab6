#!/usr/bin/env bash
# panic.sh - a guest's kernel that panics and then resets ends the machine with a status of its own.
# timeout: 300
set -u
: "${RING3:?}" "${TEST_TMP:?}" "${B:?}"
root=$PWD
. tests/lib/tiny.sh
cd "$TEST_TMP" || exit 2
failed=0
PANIC=(66 ba 05 05 b0 01 ee)       # out 0x505, panicked
CRASH_KERNEL=(66 ba 05 05 b0 02 ee) # out 0x505, a crash kernel takes over
WHY="the guest's kernel panicked and asked for a reset"

run() { timeout 60 "$RING3" run --serial none "$@" >out 2>err </dev/null; }

tiny panic "${PANIC[@]}" "${RESET[@]}"
run --kernel panic
is 'a panic, then a reset: status' 5 $?
is 'a panic, then a reset: one line' 1 "$(wc -l <err)"
grep -qF "$WHY" err && ok 'a panic, then a reset: reason' || not_ok 'a panic, then a reset: reason'
run --kernel panic --no-reboot
is 'the same with --no-reboot' 5 $?
tiny off "${PANIC[@]}" "${POWEROFF[@]}"
run --kernel off
is 'a panic, then power-off' 0 $?
tiny crash "${CRASH_KERNEL[@]}" "${RESET[@]}"
run --kernel crash --no-reboot
is 'a crash kernel takes over, then a reset' 3 $?

# Debian's kernel, told to crash.
if ! "$root/tools/guest/fetch.sh" "$B/guest" >fetch.log 2>&1; then
    skip 'Debian panics' "no guest: $(tail -n 1 fetch.log)"
    exit $failed
fi
: >console
: >err
{
    for _ in {1..900}; do grep -q '/# ' console && break; sleep 0.1; done
    echo 'echo c > /proc/sysrq-trigger'
    for _ in {1..900}; do [ -s err ] && break; sleep 0.1; done
} | timeout 150 "$RING3" run --kernel "$B/guest/vmlinuz" --initrd "$B/guest/initrd.cpio.gz" \
    --cmdline 'console=ttyS0 panic=1' >console 2>err
rc=${PIPESTATUS[1]}
is 'Debian panics: status' 5 "$rc"
is 'Debian panics: one line' 1 "$(wc -l <err)"
grep -qF "$WHY" err && ok 'Debian panics: reason' || { not_ok 'Debian panics: reason'; cat err; tail -n 20 console; }
exit $failed

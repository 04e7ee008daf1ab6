#!/usr/bin/env bash
# sanitized_boot.sh - Debian boots to its shell and powers off in a monitor that watches itself: address, leak and
# undefined-behaviour sanitizers, two processors.
# timeout: 1500
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
# shellcheck source=tests/lib/boot.sh
. tests/lib/boot.sh
guest_there || exit 0
failed=0
BUILT=$B-sanitized
make -s B="$BUILT" SAN=address,undefined all >&2 || { echo "not ok - sanitized build"; exit 1; }
RING3=$BUILT/ring3
EXPECT_SECONDS=600
cd "$TEST_TMP" || exit 1
export UBSAN_OPTIONS=print_stacktrace=1

# The leak checker needs system calls the jail forbids: once without it, once without the jail.
for jail in yes no; do
    ASAN_OPTIONS=allow_user_segv_handler=1:detect_stack_use_after_return=0
    options=(--cpus 2)
    if [ $jail = yes ]; then ASAN_OPTIONS+=:detect_leaks=0; else options+=(--no-jail); fi
    export ASAN_OPTIONS
    session "sanitized, jail: $jail" quick "${options[@]}"
    log_is_clean "sanitized, jail: $jail"
    if grep -aE 'Sanitizer|runtime error|ASSERT' console.log; then not_ok "sanitized, jail: $jail: no report"
    else ok "sanitized, jail: $jail: no report"; fi
done
exit $failed

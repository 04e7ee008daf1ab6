#!/usr/bin/env bash
# boot.sh - the default guest, Debian's own kernel, boots to a shell in which a person can work: tests/session/shell.exp with one
# processor and 256 MiB, tests/session/smp.exp with two and 5 GiB. Nothing the kernel logs looks like trouble.
# timeout: 560
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
# shellcheck source=tests/lib/boot.sh
. tests/lib/boot.sh
guest_there || exit 0
failed=0
cd "$TEST_TMP" || exit 1

session 'one CPU' shell --memory 256M
log_is_clean 'one CPU'
session 'two CPUs' smp --memory 5G --cpus 2
log_is_clean 'two CPUs'
exit $failed

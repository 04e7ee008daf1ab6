#!/usr/bin/env bash
# check/boot.sh - the default guest boots by every protocol, on lesser processors and with devices it is told not to use, to a
# shell and with a clean log.
# timeout: 1500
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
# shellcheck source=tests/lib/boot.sh
. tests/lib/boot.sh
guest_there || exit 0
vmlinux=$PWD/tests/lib/vmlinux.sh
failed=0
cd "$TEST_TMP" || exit 1

# nproc and clock source of the last boot
told() { is "$1: $2" "$3" "$(cat "$2.txt")"; }

# variant NAME CMDLINE CLOCKSOURCE OPTION...
variant() {
    local name=$1 clock=$3
    CMDLINE="console=ttyS0 $2"
    shift 3
    session "$name" "${SCRIPT:-quick}" "$@"
    told "$name" clocksource "$clock"
    log_is_clean "$name"
}

for p in linux32 linux64; do variant "bzImage, $p" '' tsc --protocol "$p"; done
if why=$("$vmlinux" "$GUEST/vmlinuz" vmlinux 2>&1); then
    KERNEL=$PWD/vmlinux
    for p in auto pvh linux64; do variant "vmlinux, $p" '' tsc --protocol "$p"; done
    KERNEL=
else
    skip 'vmlinux' "$why"
fi
for cpu in x86-64-v2 x86-64-v3; do variant "$cpu" '' tsc --cpu "$cpu"; done
variant 'nox2apic' nox2apic tsc --cpus 2
told 'nox2apic' nproc 2
variant 'noapic nolapic' 'noapic nolapic' tsc
variant 'no-kvmclock' no-kvmclock tsc
variant 'clocksource=tsc' clocksource=tsc tsc
variant 'clocksource=kvm-clock' clocksource=kvm-clock kvm-clock
variant 'clocksource=acpi_pm' clocksource=acpi_pm acpi_pm
SCRIPT=halt variant 'acpi=off' acpi=off tsc
variant 'nosmp' nosmp tsc --cpus 2
told 'nosmp' nproc 1
variant '8 CPUs' '' tsc --cpus 8 --memory 1G
told '8 CPUs' nproc 8
variant 'little memory' '' tsc --memory 128M
exit $failed

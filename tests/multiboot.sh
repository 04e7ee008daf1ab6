#!/usr/bin/env bash
# multiboot.sh - Debian's Xen hypervisor, a packed multiboot2 kernel with modules, as far as its first domain's kernel.
# B: build folder (build); RING3: the program ($B/ring3); ENGINES: engines to run (bt where it works, else interp).
# timeout: 300
set -u
cd "$(dirname "$0")/.." || exit 2
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
# shellcheck source=tests/lib/boot.sh
B=$(realpath "${B:-build}")
RING3=$(realpath "${RING3:-$B/ring3}")
. tests/lib/boot.sh
SECONDS_EACH=100
XEN=$(find /boot -maxdepth 1 -name 'xen-4*-amd64.gz' 2>/dev/null | sort | tail -n 1)
failed=0
[ -n "$XEN" ] || { skip 'xen' 'no package xen-hypervisor-4.17-amd64'; exit 0; }
guest_there || exit 0
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
[ -n "${ENGINES:-}" ] || { ENGINES=interp; ! "$RING3" doctor 2>/dev/null | grep -q '^engine bt *works' || ENGINES=bt; }

xen() { # engine
    local name="xen/$1" log=$dir/$1.log pid
    "$RING3" run --quiet --control none --memory 1G --engine "$1" --kernel "$XEN" --timeout "$SECONDS_EACH" \
        --initrd "$GUEST/vmlinuz console=hvc0 earlyprintk=xen,$GUEST/initrd.cpio.gz" \
        --cmdline 'com1=115200,8n1 console=com1 loglvl=all noreboot' --serial file:"$log" </dev/null &
    pid=$!
    while kill -0 $pid 2>/dev/null && ! grep -qa 'Run /init as init process' "$log" 2>/dev/null; do sleep 0.2; done
    kill $pid 2>/dev/null
    wait $pid 2>/dev/null
    is "$name: banner" 1 "$(grep -ac '(XEN) Xen version' "$log")"
    is "$name: command line" 1 "$(grep -ac '(XEN) Command line: com1=115200,8n1 console=com1 loglvl=all noreboot' "$log")"
    is "$name: the first domain's kernel gets its arguments" 1 \
        "$(grep -ac 'Kernel command line:.*console=hvc0 earlyprintk=xen' "$log")"
    is "$name: and comes to its init" 1 "$(grep -ac 'Run /init as init process' "$log")"
}

for engine in $ENGINES; do xen "$engine"; done
exit $failed

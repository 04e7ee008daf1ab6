#!/usr/bin/env bash
# hostile.sh - guests that attack the monitor (guest/hostile): each must end in one of the ways its row allows, and the
# monitor must never crash, report a bug of its own or outlive its time limit.
# B: build folder (build); RING3: the program ($B/ring3); ENGINES: engines to run (interp, and bt where it works).
# timeout: 600
set -u
cd "$(dirname "$0")/.." || exit 2
B=${B:-build}
RING3=${RING3:-$B/ring3}
works() { "$RING3" doctor 2>/dev/null | grep -q "^engine $1 *works"; }

# Statuses (src/cli/exit.def): 0 off, 3 reset, 4 triple fault, 5 panic, 6 time limit; debug exit of V: V * 2 + 1.
# image       seconds  statuses that are right ("any": every one of these, and every odd one)
ROWS='
triple        20       4
clispin       3        6
hltoff        3        6
irqstorm     120       1
ports         60       1
portsall      60       1 0 3 4 6
mmio          60       1
pagetables    60       1
badstack      60       1
garbage       90       1
kgarbage      10       any
dma           60       1
flash         60       1
'
# Sanitizers are slow, and their leak checker needs system calls the jail forbids.
JAIL=() SLOWER=1
[ -z "${ASAN_OPTIONS:-}" ] || JAIL=(--no-jail) SLOWER=5
[ -z "${UBSAN_OPTIONS:-}" ] || SLOWER=5
BUG='AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|assertion|ASSERT'

[ -x "$RING3" ] || { echo "not ok - hostile guests: $RING3 is not built"; exit 1; }
make -s B="$B" guest-tests >&2 || { echo "not ok - hostile guests: build failed"; exit 1; }

allowed() { # status list...
    local rc=$1
    shift
    if [ "$1" = any ]; then
        [ "$rc" -lt 124 ] && { [ $((rc % 2)) -eq 1 ] || [ "$rc" -eq 0 ] || [ "$rc" -eq 4 ] || [ "$rc" -eq 6 ]; }
        return
    fi
    local want
    for want; do [ "$rc" -eq "$want" ] && return 0; done
    return 1
}

# What an image is, and what its machine has.
options_of() { # name
    case $1 in
    flash) options=(--firmware "$B/guest-tests/hostile/flash.fd") ;;
    dma) options=(--kernel "$B/guest-tests/hostile/dma.elf" --drive "file=$disk,snapshot" --cdrom "$disk"
        --drive "file=$disk,snapshot,readonly,if=virtio" --display "png:$disk.png") ;;
    *) options=(--kernel "$B/guest-tests/hostile/$1.elf") ;;
    esac
}

run_image() { # engine name seconds statuses...
    local engine=$1 name=$2 limit=$3 out rc why="" options
    shift 3
    [ "$limit" -lt 60 ] || limit=$((limit * SLOWER)) # what must end by itself
    options_of "$name"
    out=$(timeout -k 5 $((limit + 30)) "$RING3" run "${options[@]}" --control none --serial stdio --debug-exit \
        --memory 128M --timeout "$limit" --engine "$engine" --no-reboot "${JAIL[@]}" 2>&1 </dev/null | tr -d '\0\r'; exit "${PIPESTATUS[0]}")
    rc=$?
    allowed $rc "$@" || why="exit status $rc, not $*"
    grep -qaE "$BUG" <<<"$out" && why="the monitor reports a bug of its own"
    [ "$1" != any ] && grep -qa '^not ok' <<<"$out" && why="$(grep -a '^not ok' <<<"$out" | head -n 1)"
    if [ -z "$why" ]; then echo "ok - hostile $name/$engine: status $rc"; return 0; fi
    echo "not ok - hostile $name/$engine: $why"
    tail -n 15 <<<"$out" | cut -c 1-160 | sed 's/^/# /'
    return 1
}

failed=0
dir=$(mktemp -d)
chmod 777 "$dir"
trap 'rm -rf "$dir"' EXIT
disk=$dir/disk
truncate -s 4M "$disk"
[ -n "${ENGINES:-}" ] || { ENGINES=interp; ! works bt || ENGINES+=" bt"; }
for engine in $ENGINES; do
    while read -r name limit statuses; do
        [ -n "$name" ] || continue
        # shellcheck disable=SC2086 # a list on purpose
        run_image "$engine" "$name" "$limit" $statuses || failed=1
    done <<<"$ROWS"
done
exit $failed

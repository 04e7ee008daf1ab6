#!/usr/bin/env bash
# run.sh [--markdown] [--quick] - what `make bench` prints: speed, boot time, memory and idle CPU of ring3, with Bochs,
# QEMU TCG and native beside it where they can run the same work.  Ratios come from this one run.
#   B       build folder (build)      RUNS   repetitions of each speed measurement, the best counts (3)
#   ENGINES engines of ring3 (interp bt) IDLE_SECONDS  length of the idle measurement (10)
# The compute work is guest/bench: one object file, linked bare-metal and as a Linux program; it prints a line when
# it starts and one when it is done, and the host times the span.  One instruction count serves all: ring3's own counter
# for the whole image (a repeated string instruction counts once; the code outside the span is a few thousand).
set -u
cd "$(dirname "$0")/.." || exit 2
B=$(realpath -m "${B:-build}")
RING3=${RING3:-$B/ring3}
GT=$B/guest-tests
RUNS=${RUNS:-3}
IDLE_SECONDS=${IDLE_SECONDS:-10}
BOCHS_CPU=${BOCHS_CPU:-corei7_haswell_4770}
BOOT_LIMIT=${BOOT_LIMIT:-120}
markdown=no quick=no
for arg; do
    case $arg in
    --markdown) markdown=yes ;;
    --quick) quick=yes RUNS=1 ;;
    *) echo "usage: bench/run.sh [--markdown] [--quick]" >&2; exit 2 ;;
    esac
done
tmp=$(mktemp -d)
child=
stop_child() { if [ -n "$child" ]; then kill "$child" 2>/dev/null; wait "$child" 2>/dev/null; child=; fi; }
trap 'stop_child; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM
note() { echo "bench: $*" >&2; }
have() { command -v "$1" >/dev/null; }

[ -x "$RING3" ] || { echo "bench: $RING3 is not built" >&2; exit 1; }
make -s B="$B" guest-bench >&2 || exit 1

# ---- the compute work ----------------------------------------------------------------------------
ring3_bench() { # engine
    timeout -k 5 300 "$RING3" run --kernel "$GT/bench.elf" --serial stdio --debug-exit --memory 128M --engine "$1" \
        --stats=json --quiet 2>"$tmp/stats" </dev/null
}

qemu_bench() {
    timeout -k 5 300 qemu-system-x86_64 -accel tcg -cpu max -m 128M -kernel "$GT/bench.elf" -serial stdio \
        -device isa-debug-exit,iobase=0xf4,iosize=1 -display none -monitor none -no-reboot </dev/null
}

bochs_config() {
    cat <<RC
plugin_ctrl: unmapped=1, biosdev=1, speaker=0, extfpuirq=0, parallel=0, serial=1, gameport=0, iodebug=0
config_interface: textconfig
display_library: rfb, options="timeout=0"
romimage: file=/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
memory: guest=128, host=128
cpu: model=$BOCHS_CPU, count=1, ips=100000000, reset_on_triple_fault=0
clock: sync=none
ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
ata0-master: type=disk, mode=flat, path="$tmp/bench.img", cylinders=20, heads=16, spt=63
boot: disk
log: $tmp/bochs.log
port_e9_hack: enabled=1
panic: action=fatal
error: action=report
info: action=ignore
debug: action=ignore
RC
}

bochs_bench() { # leaves by the shutdown port; the marker lines come through port E9
    cp "$GT/bench.img" "$tmp/bench.img"
    rm -f "$tmp/bench.img.lock"
    bochs_config >"$tmp/bochsrc"
    echo c >"$tmp/bochs.cmd"
    timeout -k 5 300 bochs -q -f "$tmp/bochsrc" -rc "$tmp/bochs.cmd" 2>&1 </dev/null
}

# Seconds between the two marker lines on stdin; nothing when one is missing.
span() {
    local line start='' end=''
    while IFS= read -r line; do
        case $line in
        *"bench start"*) [ -n "$start" ] || start=$EPOCHREALTIME ;;
        *"bench done"*) [ -n "$end" ] || end=$EPOCHREALTIME ;;
        esac
    done
    [ -n "$start" ] && [ -n "$end" ] && awk -v a="$start" -v b="$end" 'BEGIN { printf "%.4f\n", b - a }'
}

best() { # the smallest span of RUNS runs of a command
    local i
    for ((i = 0; i < RUNS; i++)); do "$@" | span; done | sort -n | head -n 1
}

native_seconds() {
    local i
    for ((i = 0; i < RUNS + 2; i++)); do "$GT/bench-native"; done |
        awk '{ s = $NF / 1e6; if (!best || s < best) best = s } END { printf "%.4f\n", best }'
}

json_number() { grep -o "\"$2\": *[0-9.]*" "$1" 2>/dev/null | head -n 1 | sed 's/.*: *//'; }

declare -A seconds=() peak=() boot=() idle=() boot_peak=()
order=()
speed() { # label command...
    local label=$1
    shift
    note "compute work under $label"
    seconds[$label]=$(best "$@")
    order+=("$label")
}

insns=
for engine in ${ENGINES:-interp bt}; do
    speed "ring3 $engine" ring3_bench "$engine"
    [ -n "$insns" ] || insns=$(json_number "$tmp/stats" insns)
    peak["ring3 $engine"]=$(json_number "$tmp/stats" peak_memory_kib)
done
if have bochs; then speed "Bochs" bochs_bench; else note "bochs is not installed"; fi
if have qemu-system-x86_64; then speed "QEMU TCG" qemu_bench; else note "qemu-system-x86_64 is not installed"; fi
note "compute work natively"
seconds[native]=$(native_seconds)
order+=(native)

# ---- the default guest ---------------------------------------------------------------------------
cpu_ticks() { awk '{ sub(/.*\) /, ""); print $12 + $13 }' "/proc/$1/stat" 2>/dev/null; }
hwm_kib() { awk '/^VmHWM/ { print $2 }' "/proc/$1/status" 2>/dev/null; }

# Boots, waits for the prompt, then watches it idle: fills boot[], boot_peak[] and idle[].
boot_guest() { # label command...
    local label=$1 t0 t1 a b deadline
    shift
    note "booting the default guest under $label"
    rm -f "$tmp/in" && mkfifo "$tmp/in"
    : >"$tmp/console"
    exec 9<>"$tmp/in" # keeps the guest's input open and empty
    t0=$EPOCHREALTIME
    deadline=$((SECONDS + BOOT_LIMIT))
    "$@" <"$tmp/in" >"$tmp/console" 2>"$tmp/console.err" 9>&- &
    child=$!
    until grep -qa 'ring3:/# ' "$tmp/console"; do
        if [ $SECONDS -gt $deadline ] || ! kill -0 "$child" 2>/dev/null; then
            note "$label: no prompt after $((SECONDS - deadline + BOOT_LIMIT)) s"
            tail -n 3 "$tmp/console" "$tmp/console.err" >&2
            stop_child
            exec 9>&-
            return 1
        fi
        sleep 0.02
    done
    t1=$EPOCHREALTIME
    boot[$label]=$(awk -v a="$t0" -v b="$t1" 'BEGIN { printf "%.2f", b - a }')
    sleep 2 # let the guest's own start-up settle
    a=$(cpu_ticks "$child")
    t0=$EPOCHREALTIME
    sleep "$IDLE_SECONDS"
    b=$(cpu_ticks "$child")
    t1=$EPOCHREALTIME
    idle[$label]=$(awk -v d="$((b - a))" -v hz="$(getconf CLK_TCK)" -v s="$t0" -v e="$t1" \
        'BEGIN { printf "%.2f", 100 * d / hz / (e - s) }')
    boot_peak[$label]=$(hwm_kib "$child")
    stop_child
    exec 9>&-
}

guest=$B/guest
if [ "$quick" = no ]; then
    [ -s "$guest/vmlinuz" ] || tools/guest/fetch.sh "$guest" >&2 || note "the default guest cannot be fetched"
fi
if [ "$quick" = no ] && [ -s "$guest/vmlinuz" ]; then
    cmdline="console=ttyS0 quiet"
    for engine in ${ENGINES:-interp bt}; do
        boot_guest "ring3 $engine" "$RING3" run --kernel "$guest/vmlinuz" --initrd "$guest/initrd.cpio.gz" \
            --cmdline "$cmdline" --memory 512M --engine "$engine" --serial stdio --quiet
    done
    if have qemu-system-x86_64; then
        boot_guest "QEMU TCG" qemu-system-x86_64 -accel tcg -cpu max -m 512M -kernel "$guest/vmlinuz" \
            -initrd "$guest/initrd.cpio.gz" -append "$cmdline" -serial stdio -display none -monitor none -no-reboot
    fi
fi

# ---- the table -----------------------------------------------------------------------------------
first=${order[0]}
bochs_s=${seconds[Bochs]:-}
row() { # cells...
    if [ $markdown = yes ]; then printf '| %s | %s | %s | %s | %s | %s | %s | %s |\n' "$@"
    else printf '%-14s %12s %12s %10s %10s %10s %12s %8s\n' "$@"; fi
}
rate() { awk -v n="${insns:-0}" -v s="${1:-0}" 'BEGIN { if (n && s) printf "%.1f", n / s / 1e6; else printf "-" }'; }
ratio() { awk -v a="${1:-0}" -v b="${2:-0}" 'BEGIN { if (a && b) printf "%.2f", b / a; else printf "-" }'; }
mib() { awk -v k="${1:-0}" 'BEGIN { if (k) printf "%.1f", k / 1024; else printf "-" }'; }

echo
echo "Host: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs, Linux $(uname -r)"
echo "Work: ${insns:-?} instructions, best of $RUNS; guests: 128 MiB (work), 512 MiB (boot)$(have bochs && echo "; Bochs CPU $BOCHS_CPU")"
echo
row "engine" "seconds" "Minsn/s" "x Bochs" "x native" "boot s" "boot MiB" "idle %"
[ $markdown = yes ] && echo "|---|---:|---:|---:|---:|---:|---:|---:|"
for label in "${order[@]}"; do
    s=${seconds[$label]:-}
    row "$label" "${s:--}" "$(rate "$s")" "$(ratio "$s" "$bochs_s")" "$(ratio "$s" "${seconds[native]}")" \
        "${boot[$label]:--}" "$(mib "${boot_peak[$label]:-0}")" "${idle[$label]:--}"
done
echo
echo "Peak memory of $first during the work: $(mib "${peak[$first]:-0}") MiB"
[ -n "${seconds[$first]:-}" ] || { echo "bench: $first did not finish the work" >&2; exit 1; }

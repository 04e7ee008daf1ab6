#!/usr/bin/env bash
# guest.sh [--quick] [--markdown] [--only REGEX] - real programs natively, in a guest under ring3 and in the same
# guest under QEMU TCG, as ratios from one run.  bench/programs/workloads lists them; bench/tree.sh builds the tree they
# come from. All machines stay up and run each workload in turn, RUNS times; the best counts.
#   B        build folder (build)        RUNS    repetitions (3; --quick 1)
#   ENGINES  engines of ring3 (bt)       MEMORY  of each guest (1536M)      LIMIT  seconds for one workload (120)
#   KEEP     file to keep every single measurement in
# Times are the host's: from the serial marker before a program to the one after it. The guest's own clock is
# compared with them. "cpu" columns use processor time (of the monitor's threads; natively of the program) instead,
# which other load on the host disturbs less. Outputs of all machines must be the same.
set -u
cd "$(dirname "$0")/.." || exit 2
B=$(realpath -m "${B:-build}")
RING3=${RING3:-$B/ring3}
LIMIT=${LIMIT:-120}
MEMORY=${MEMORY:-1536M}
BOOT_LIMIT=${BOOT_LIMIT:-120}
markdown=0 runs=3 only=
while [ $# -gt 0 ]; do
    case $1 in
    --markdown) markdown=1 ;;
    --quick) runs=1 ;;
    --only) only=${2-} && shift ;;
    *) echo "usage: bench/guest.sh [--quick] [--markdown] [--only REGEX]" >&2; exit 2 ;;
    esac
    shift
done
RUNS=${RUNS:-$runs}
tree=$B/bench guest=$B/guest
tmp=$(mktemp -d)
declare -A pid=() to=() from=() part=() seen=()
note() { echo "bench: $*" >&2; }
have() { command -v "$1" >/dev/null; }

[ -x "$RING3" ] || { note "$RING3 is not built"; exit 1; }
# One at a time in a build folder: another would measure with us, and replace the tree under our feet.
mkdir -p "$B"
exec 6>"$B/bench.lock"
flock -n 6 || { note "waiting for another benchmark in $B"; flock 6; }
tools/guest/fetch.sh "$guest" >&2 && bench/tree.sh "$tree" >&2 || exit 1

# ---- machines ------------------------------------------------------------------------------------
subjects=(native)
for engine in ${ENGINES-bt}; do subjects+=("$engine"); done
if have qemu-system-x86_64; then subjects+=(tcg); else note "qemu-system-x86_64 is not installed"; fi

declare -A broken=()
# exec, so that the shell's child is the machine itself. $1: subject, $2: initrd, $3: command line, $4: memory
become() {
    case $1 in
    native) exec "$tree/root/bench/drive" "$tree/root" 2>&1 ;;
    tcg) exec qemu-system-x86_64 -accel tcg,thread=single -cpu max -m "$4" -smp 1 -kernel "$guest/vmlinuz" \
        -initrd "$2" -append "$3" -serial stdio -display none -monitor none -nodefaults -no-reboot ;;
    *) exec "$RING3" run --kernel "$guest/vmlinuz" --initrd "$2" --cmdline "$3" --memory "$4" --engine "$1" \
        --serial stdio --quiet --stats --no-reboot ;;
    esac
}

halt() { # subject
    [ -n "${pid[$1]:-}" ] || return 0
    local i=${to[$1]:-} o=${from[$1]:-}
    kill "${pid[$1]}" 2>/dev/null
    wait "${pid[$1]}" 2>/dev/null
    pid[$1]=
    [ -z "$i" ] || exec {i}>&- {o}>&-
}
halt_all() { local s; for s in "${!pid[@]}"; do halt "$s"; done; }
trap 'halt_all; [ -z "${KEEP-}" ] || cp "$tmp/results" "$KEEP"; rm -rf "$tmp"' EXIT
trap 'exit 130' INT TERM

# One line of a machine's console, without its end, into $line and the time it came into $when; false when the
# machine is gone or after $2 seconds.
next_line() {
    local piece deadline=$((SECONDS + $2))
    while :; do
        piece=
        if IFS= read -r -t 1 -u "${from[$1]}" piece; then
            when=${EPOCHREALTIME/./}
            line=${part[$1]-}${piece%$'\r'}
            part[$1]=
            [ -z "${CONSOLE_LOG-}" ] || echo "$1: $line" >>"$CONSOLE_LOG"
            return 0
        fi
        part[$1]=${part[$1]-}$piece
        kill -0 "${pid[$1]}" 2>/dev/null || { why="ended"; return 1; }
        [ $SECONDS -lt $deadline ] || { why="hung"; return 1; }
    done
}

await() { # subject, pattern, seconds
    local end=$((SECONDS + $3))
    while next_line "$1" $((end - SECONDS + 1)); do
        [[ $line != *@FAIL* ]] || { why=$line; return 1; }
        # shellcheck disable=SC2053
        [[ $line == *$2* ]] && return 0
        [[ $line != *"Kernel panic"* ]] || { why="panicked"; return 1; }
        [ $SECONDS -le $end ] || { why="hung"; return 1; }
    done
    return 1
}

start() { # subject
    local s=$1 i o
    rm -f "$tmp/$s.in" "$tmp/$s.out"
    mkfifo "$tmp/$s.in" "$tmp/$s.out"
    exec {i}<>"$tmp/$s.in" {o}<>"$tmp/$s.out"
    to[$s]=$i from[$s]=$o part[$s]=
    (become "$s" "$tree/root.cpio" "console=ttyS0 quiet loglevel=3 panic=-1" "$MEMORY") \
        <&"$i" >&"$o" 2>"$tmp/$s.err" &
    pid[$s]=$!
    if ! await "$s" @READY "$BOOT_LIMIT"; then
        note "$s does not start: $why"
        tail -n 5 "$tmp/$s.err" >&2
        halt "$s"
        return 1
    fi
    local group label row
    while IFS="|" read -r group label row; do
        [ "$group" = setup ] || continue
        measure "$s" "$row" || { note "$s: $label: $why"; return 1; }
    done <"$tmp/list"
}

# Processor time of a machine so far, ns; 0 for native, where the driver reports it.
cpu_now() {
    cpu=0
    [ "$1" != native ] || return 0
    local f ns
    for f in /proc/"${pid[$1]}"/task/*/schedstat; do
        read -r ns _ <"$f" && cpu=$((cpu + ns))
    done 2>/dev/null
}

# Runs a command: wall, cpu and inside in us or, for "speed", in ps per operation; status and hash.
measure() { # subject, command
    local s=$1 cmd=$2 t0 c0 count answer
    hash=- status=0
    if [[ $cmd == speed\ * ]]; then
        echo "live ${cmd#speed }" >&"${to[$s]}"
        await "$s" "+DT" "$LIMIT" || return 1
        t0=$when && cpu_now "$s" && c0=$cpu
        await "$s" "+R" "$LIMIT" || return 1
        wall=$((when - t0)) && cpu_now "$s"
        cpu=$(((cpu - c0) / 1000))
        IFS=: read -r _ count _ inside <<<"$line" # seconds last
        inside=$(awk -v s="${inside##*:}" 'BEGIN { printf "%d", s * 1e6 }')
        [ "$s" != native ] || cpu=$inside
        inside=$wall # openssl counts processor time
        await "$s" "@E " "$LIMIT" || return 1
        wall=$((wall * 1000000 / count)) cpu=$((cpu * 1000000 / count)) inside=$wall
        return 0
    fi
    echo "run $cmd" >&"${to[$s]}"
    await "$s" "@B" "$LIMIT" || return 1
    t0=$when && cpu_now "$s" && c0=$cpu
    await "$s" "@D" "$LIMIT" || return 1
    wall=$((when - t0)) && cpu_now "$s"
    cpu=$(((cpu - c0) / 1000))
    await "$s" "@E " "$LIMIT" || return 1
    answer=${line#*@E }
    local guest_cpu bytes
    read -r status inside guest_cpu hash bytes <<<"$answer"
    inside=$((inside / 1000))
    [ "$s" != native ] || cpu=$((guest_cpu / 1000))
    hash=$hash/$bytes
}

shown() { # subject: what the last run printed, three lines of it
    echo show >&"${to[$1]}"
    while next_line "$1" 5 && [[ $line != *"@."* ]]; do note "  $1: ${line#*@> }"; done | head -n 3
}

# ---- the workloads -------------------------------------------------------------------------------
grep -v '^#' bench/programs/workloads >"$tmp/list"
results=$tmp/results
: >"$results"
try() { # subject
    local s=$1 key="$name|$1"
    if [ -z "${pid[$s]:-}" ]; then start "$s" || { broken[$s]=yes; return; }; fi
    if measure "$s" "$command"; then
        echo "$class|$name|$s|$wall|$cpu|$inside|$hash|$status" >>"$results"
        if [ "$s" = native ]; then expected=$hash; fi
        if [ "$status" != 0 ] || { [ "$hash" != "$expected" ] && [ -z "${seen[$key]:-}" ]; }; then
            seen[$key]=yes
            note "$s: $name: status $status, output $hash instead of $expected"
            shown "$s"
        fi
    else
        note "$s: $name: $why"
        tail -n 5 "$tmp/$s.err" >&2
        [ -z "${part[$s]-}" ] || note "  console: ${part[$s]}"
        echo "$class|$name|$s|0|0|0|$why|-1" >>"$results"
        cp "$tmp/$s.err" "$B/bench-failed-$s.err" 2>/dev/null
        halt "$s"
    fi
}
exec 8<"$tmp/list"
while IFS='|' read -r -u 8 class name command; do
    [ "$class" != setup ] || continue
    [ -z "$only" ] || [[ $class/$name =~ $only ]] || continue
    note "$class: $name"
    expected=-
    for ((r = 0; r < RUNS; r++)); do
        for subject in "${subjects[@]}"; do
            [ -n "${broken[$subject]:-}" ] || try "$subject"
        done
    done
done
halt_all

# ---- the default guest ---------------------------------------------------------------------------
# Start of the process to "Run /init" and to the prompt, us.
boot() { # subject
    local t0 console=$tmp/console at='' end=$((SECONDS + BOOT_LIMIT)) p
    rm -f "$tmp/boot.in" && mkfifo "$tmp/boot.in"
    exec 7<>"$tmp/boot.in"
    : >"$console"
    t0=${EPOCHREALTIME/./}
    (become "$1" "$guest/initrd.cpio.gz" "console=ttyS0" 512M) <&7 >"$console" 2>"$tmp/boot.err" &
    p=$!
    pid[boot]=$p
    while [ $SECONDS -lt $end ] && kill -0 $p 2>/dev/null; do
        if [ -z "$at" ] && grep -qa 'Run /init' "$console"; then
            at=$((${EPOCHREALTIME/./} - t0)) && cpu_now boot
            echo "boot|exec to /init|$1|$at|$((cpu / 1000))|$at|-|0" >>"$results"
        elif [ -n "$at" ] && grep -qa 'ring3:/# ' "$console"; then
            at=$((${EPOCHREALTIME/./} - t0)) && cpu_now boot
            echo "boot|exec to prompt|$1|$at|$((cpu / 1000))|$at|-|0" >>"$results"
            break
        fi
        sleep 0.01
    done
    kill $p 2>/dev/null
    wait $p 2>/dev/null
    unset 'pid[boot]'
    exec 7>&-
}
if [ -z "$only" ] || [[ boot =~ $only ]]; then
    note "booting the default guest"
    for ((r = 0; r < RUNS; r++)); do
        for subject in "${subjects[@]}"; do [ "$subject" = native ] || boot "$subject"; done
    done
fi

# ---- the table -----------------------------------------------------------------------------------
echo
echo "Host: $(sed -n 's/^model name.*: //p' /proc/cpuinfo | head -n 1), $(nproc) CPUs, Linux $(uname -r)," \
    "load $(cut -d' ' -f1 /proc/loadavg)"
echo "Guest: Debian kernel $(cat "$guest/kernel-release"), $MEMORY, one CPU; $("$RING3" --version | head -n 1);" \
    "$(have qemu-system-x86_64 && qemu-system-x86_64 --version | head -n 1)"
echo "Programs: $(paste -sd, "$tree/versions" | sed 's/,/, /g'); ours: $(gcc --version | head -n 1)"
echo "Best of $RUNS; seconds by the host's clock (openssl: ns per operation of 16 KiB, or signature)"
awk -F'|' -v markdown=$markdown -v subjects="${subjects[*]}" -f bench/table.awk "$results"

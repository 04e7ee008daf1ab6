#!/usr/bin/env bash
# kvm.sh - the bare-metal suites and small guests under --engine kvm, as far as this host's KVM can execute them. Instructions KVM
# cannot emulate are stepped, so what still fails is what KVM does wrong without saying so. Where a suite fails on a software
# emulation of KVM, the table below says how far it gets at least and why no further; anywhere else, and for suites without a row,
# QEMU's KVM has to fail the same way with the same image: stop at the same instruction, or fail (at least) the same lines.
# Then the limit is the host's, and the line is a skip that says so; docs/kvm-here.md explains those of software emulations.
# B: build folder (build); RING3: the program ($B/ring3).
# timeout: 600
set -u
cd "$(dirname "$0")/.." || exit 2
B=${B:-build}
RING3=${RING3:-$B/ring3}
work=${TEST_TMP:?}
failed=0
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
SECONDS_EACH=60
SECONDS_EMULATED=25 # where some suites never end
STATUS_TIME=6
STATUS_PASS=1 STATUS_ENGINE=8

[ -x "$RING3" ] || { echo "not ok - kvm: $RING3 is not built"; exit 1; }
verdict=$("$RING3" doctor | sed -n 's/^engine kvm *//p')
emulation=0
case $verdict in 'works, but'*) emulation=1 ;; esac
case $verdict in works*) ;; *) skip 'engine kvm' "${verdict:-not in this build}"; exit 0 ;; esac
make -s B="$B" guest-tests >&2 || { echo "not ok - kvm: guests do not build"; exit 1; }

# ---- why not -----------------------------------------------------------------------------------------------------

# says NAME PATTERN COMMAND...: what doctor says of the engine when COMMAND starts it
says() {
    local name=$1 want=$2 got
    shift 2
    got=$("$@" "$RING3" doctor 2>&1 | sed -n 's/^engine kvm *//p')
    # shellcheck disable=SC2053 # a pattern
    if [[ $got == $want ]]; then ok "$name"
    elif [ -z "$got" ]; then skip "$name" 'cannot be arranged here'
    else not_ok "$name"; echo "$got"; fi
}
# shellcheck disable=SC2317 # called by says
within() { unshare -m sh -c "$1"' && exec "$@"' sh "${@:2}" 2>/dev/null; } # a command, with other mounts
says 'a missing node is named, with the remedy' 'no: /dev/kvm is missing: enable *' within 'mount -t tmpfs none /dev'
says 'a node that is something else' 'no: /dev/kvm is not KVM: *' within 'mount --bind /dev/zero /dev/kvm'
if [ "$(stat -c %a /dev/kvm)" != 666 ]; then
    says 'a lack of permission' 'no: /dev/kvm may not be opened: join *' setpriv --reuid 65534 --regid 65534 --clear-groups
fi

# ---- small guests ------------------------------------------------------------------------------------------------

small() { # name status options... : $work/guest under kvm, its output in $out
    local name=$1 want=$2 rc
    shift 2
    out=$(timeout -k 5 30 "$RING3" run --kernel "$work/guest" --engine kvm --memory 64M --quiet "$@" 2>&1 </dev/null)
    rc=$?
    is "small guest: $name" "$want" $rc
}
tiny "$work/guest" "${HELLO[@]}" "${POWEROFF[@]}"
small 'console and power off, in the jail' 0
is 'small guest: what it printed' hi "${out//[$'\r\n']/}"
tiny "$work/guest" "${SPIN[@]}"
small 'an endless loop is stopped from outside' 6 --timeout 1
tiny "$work/guest" "${HALT[@]}"
small 'HLT is idle' 6 --timeout 1
tiny "$work/guest" 0f 01 1d 40 00 10 00 0f 0b # lidt of zeros; ud2
small 'triple fault' 4
tiny "$work/guest" "${RESET[@]}"
small 'reset' 3 --no-reboot
# shellcheck disable=SC2046 # a list on purpose
tiny "$work/guest" $(exit_with 15)
small 'debug exit' 43 --debug-exit
tiny "$work/guest" "${ECHO_CODE[@]}"
got=$( (sleep 1; printf 'abc'; sleep 1) | timeout 30 "$RING3" run --kernel "$work/guest" --engine kvm --memory 64M --quiet \
    --timeout 4 2>/dev/null | tr -d '\r\n')
is 'small guest: port echo' abc "$got"

# What KVM may lack is executed nevertheless: fninit; fld1; mov eax, 15; aaa; cmp eax, 105h
# shellcheck disable=SC2046 # a list on purpose
tiny "$work/guest" db e3 d9 e8 b8 0f 00 00 00 37 3d 05 01 00 00 75 05 $(exit_with 15) b0 16 e6 f4 f4
small 'FNINIT and AAA' 43 --debug-exit

# ---- suites ------------------------------------------------------------------------------------------------------

cpus_of() { # processors a suite wants
    case $1 in smp) echo 4 ;; smc) echo 2 ;; *) echo 1 ;; esac
}

# The same image under QEMU's KVM into $work/qemu; it does not end by itself when KVM gives up.
run_qemu() { # image cpus
    local pid i
    qemu-system-x86_64 -accel kvm -cpu host -smp "$2" -m 128 -kernel "$1" -serial stdio -display none -no-reboot \
        -device isa-debug-exit,iobase=0xf4,iosize=1 >"$work/qemu" 2>&1 </dev/null &
    pid=$!
    for ((i = 0; i < SECONDS_EACH * 5; i++)); do
        kill -0 $pid 2>/dev/null || break
        grep -qa '^Code=' "$work/qemu" && break
        sleep 0.2
    done
    kill -KILL $pid 2>/dev/null
    wait $pid 2>/dev/null
    tr -d '\r\0' <"$work/qemu" >"$work/qemu.txt"
}

# What software emulations of KVM get to: lines passed at least, lines failed at most, and the reason.
LIMITS='
exceptions 125 26 user code meets faults KVM makes up: INT n, INTO and BOUND are #UD, #AC comes without CR0.AM
interrupts  48 16 interrupts are taken between bursts of instructions only
paging      60 13 CPUID is the real one, so SMAP and INVPCID are tried; stores across pages are done in parts
modes       15  0 MOV to CR0 cannot start 32-bit paging without PAE: #GP
paging32     0  1 MOV to CR0 cannot start 32-bit paging without PAE: #GP
switches     5  1 MOV to CR0 cannot start 32-bit paging without PAE: #GP
debug       25 20 breakpoints of the guest, and single steps across emulated instructions, are not reported
gates       15 55 far calls of user code to gates are #UD, through task gates a triple fault
segments    10  0 a fault through a task gate is a triple fault
tasks       20  0 a task switch by a fault goes astray
v86         20 70 instructions of virtual-8086 mode are #UD
platform    40  9 interrupts are taken between bursts of instructions only
rows        20  0 VMCALL never ends
real         0  0 nothing is printed before the time limit
smp          1  0 a hundred thousand steps of CMPXCHG16B take minutes
'

# Why an emulation of KVM gets no further, or nothing. $1: suite $2: status $3: lines passed
known_limit() {
    local name least most why bad
    [ $emulation -eq 1 ] && [ "$2" -ne $STATUS_ENGINE ] || return
    bad=$(grep -c '^not ok' "$work/out")
    while read -r name least most why; do
        [[ $name = "$1" && $bad -le $most ]] || continue
        [[ $3 -ge $least || $2 -eq $STATUS_TIME ]] || continue
        echo "$why"
    done <<<"$LIMITS"
}

# Why our failure is the host's, or nothing. $1: status
same_as_qemu() {
    local rip=
    if [ "$1" -eq $STATUS_ENGINE ]; then
        rip=$(sed -nE 's/.*CS:RIP [0-9a-f]+:([0-9a-f]+), bytes.*/\1/p' "$work/out" | head -n 1)
        [ -n "$rip" ] && grep -qiE "^[RE]IP=0*$rip " "$work/qemu.txt" &&
            echo "this host's KVM cannot emulate the instruction at $rip, under QEMU neither:$(
                sed -nE 's/.*, bytes(( [0-9a-f]{2}){1,6}).*/\1/p' "$work/out" | head -n 1)"
        return
    fi
    grep '^not ok' "$work/out" | sort -u >"$work/ours"
    grep '^not ok' "$work/qemu.txt" | sort -u >"$work/theirs"
    [ -s "$work/ours" ] && [ -z "$(comm -23 "$work/ours" "$work/theirs")" ] &&
        echo "QEMU's KVM fails the same lines: $(sed 's/^not ok - //; s/:.*//' "$work/ours" | paste -sd, | sed 's/,/, /g')"
}

suite() { # name
    local image=$B/guest-tests/$1.elf cpus rc why passed limit=$SECONDS_EACH
    cpus=$(cpus_of "$1")
    [ $emulation -eq 0 ] || limit=$SECONDS_EMULATED
    timeout -k 5 $((limit + 10)) "$RING3" run --kernel "$image" --serial stdio --debug-exit --memory 128M --cpus "$cpus" \
        --timeout $limit --engine kvm --no-reboot 2>&1 </dev/null | tr -d '\r\0' >"$work/out"
    rc=${PIPESTATUS[0]}
    passed=$(grep -c '^ok - ' "$work/out")
    if [ "$rc" -eq $STATUS_PASS ] && grep -q '^# [0-9]* passed, 0 failed' "$work/out"; then
        ok "$1/kvm: all $passed lines"
        return
    fi
    if [ "$rc" -eq $STATUS_ENGINE ]; then
        if grep -q '^CR0 ' "$work/out" && grep -q 'CS:RIP .* bytes' "$work/out"; then
            ok "$1/kvm: KVM's failure comes with registers, the instruction and an exit status"
        else
            not_ok "$1/kvm: status $STATUS_ENGINE without registers or instruction"
        fi
    fi
    why=$(known_limit "$1" "$rc" "$passed")
    if [ -n "$why" ]; then
        skip "$1/kvm after $passed lines" "an emulation of KVM: $why"
        return
    fi
    if ! command -v qemu-system-x86_64 >/dev/null; then
        skip "$1/kvm: $passed lines passed, then status $rc" 'no qemu-system-x86_64 to compare with'
        return
    fi
    why=
    for _ in 1 2 3; do # a busy host may not let QEMU get there
        run_qemu "$image" "$cpus"
        why=$(same_as_qemu "$rc")
        [ -z "$why" ] || break
    done
    if [ -n "$why" ]; then
        skip "$1/kvm after $passed lines" "$why"
    else
        not_ok "$1/kvm: status $rc, and not what QEMU's KVM does"
        grep -v '^ok ' "$work/out" | tail -n 25 | sed 's/^/# /'
        grep -v '^ok ' "$work/qemu.txt" | tail -n 25 | sed 's/^/# QEMU: /'
    fi
}

for source in guest/suites/*.c guest/suites32/*.c; do suite "$(basename "$source" .c)"; done
exit $failed

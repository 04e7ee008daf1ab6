#!/usr/bin/env bash
# coverage.sh - which rows of isa/insn.def the bare-metal suites execute, per engine (trace event "insn"). Fails when a row
# that is not in the list of explained ones is never executed. For class COMPUTE two unit tests count the mnemonics of the guest's
# CPUID that ran: isa_random_test under the interpreter, against the host CPU; bt_opcodes_test under bt, against the interpreter.
# timeout: 1200
set -u
cd "$(dirname "$0")/../.." || exit 2
B=${B:-build}
RING3=${RING3:-$B/ring3}
tmp=$(mktemp -d) && trap 'rm -rf "$tmp"' EXIT
SECONDS_EACH=120

# Rows no suite can execute here, and why. Names are MNEMONIC/FORM.
cat >"$tmp/explained" <<'END'
PREFETCH/ANY       3DNow!'s, executed as a NOP by every 64-bit processor
PREFETCHWT1/ANY    never in a processor with our other features
RDPID/ANY          offered only where the host has it
RDPKRU/ANY         protection keys are not offered
SERIALIZE/ANY      offered only where the host has it
VMCALL/ANY         only where the guest sees KVM's signature
VMMCALL/ANY        only where the guest sees KVM's signature
WRPKRU/ANY         protection keys are not offered
XRSTORS/ANY        not offered to guests yet
XRSTORS64/ANY      not offered to guests yet
XSAVEC/ANY         offered only where the host has it
XSAVES/ANY         not offered to guests yet
XSAVES64/ANY       not offered to guests yet
END

make -s B="$B" guest-tests >&2 || { echo "not ok - coverage: guests do not build"; exit 1; }
# row number and name, in the order of the table
sed -nE 's/^INSN(_ALSO)?\(([A-Z0-9]+), ([A-Z_0-9]+),.*/\2\/\3/p' src/isa/insn.def | awk '{ print NR, $0 }' >"$tmp/rows"

cpus_of() { case $1 in smp | smc) echo 2 ;; *) echo 1 ;; esac; }

executed() { # engine: row numbers
    local image name
    for image in guest/suites/*.c guest/suites32/*.c; do
        name=$(basename "$image" .c)
        timeout -k 5 $((SECONDS_EACH + 10)) "$RING3" run --kernel "$B/guest-tests/$name.elf" --serial none --debug-exit \
            --memory 128M --cpus "$(cpus_of "$name")" --timeout $SECONDS_EACH --engine "$1" --no-reboot --quiet \
            --trace insn 2>&1 >/dev/null </dev/null | grep -aoE 'row [0-9]+' | sort -u
    done | awk '{ print $2 }' | sort -un
}

compute() { # engine test
    local line
    make -s B="$B" "$B/test/tests/$2" >&2
    line=$("$B/test/tests/$2" 2>/dev/null </dev/null | grep -aE '^[0-9]+ of [0-9]+ mnemonics executed')
    echo "# $1, COMPUTE: ${line:-not run}"
    if awk '{ exit !($1 > 0 && $1 == $3) }' <<<"$line"; then echo "ok - coverage/$1: every COMPUTE mnemonic is executed"
    else
        echo "not ok - coverage/$1: COMPUTE mnemonics never executed: ${line:-the test says nothing}"
        failed=1
    fi
}

failed=0
engines=interp
! "$RING3" doctor 2>/dev/null | grep -q '^engine bt *works' || engines+=' bt'
for engine in ${ENGINES:-$engines}; do
    executed "$engine" >"$tmp/executed"
    awk 'FILENAME == ARGV[1] { done[$1] = 1; next } !($1 in done) { print $2 }' "$tmp/executed" "$tmp/rows" >"$tmp/missing"
    total=$(wc -l <"$tmp/rows")
    echo "# $engine: $((total - $(wc -l <"$tmp/missing"))) of $total rows executed"
    awk 'FILENAME == ARGV[1] { why[$1] = substr($0, length($1) + 1); next } { print "#   never executed: " $1 why[$1] }' \
        "$tmp/explained" "$tmp/missing"
    new=$(awk 'FILENAME == ARGV[1] { known[$1] = 1; next } !($1 in known)' "$tmp/explained" "$tmp/missing")
    if [ ! -s "$tmp/executed" ]; then
        echo "not ok - coverage/$engine: nothing was traced"
        failed=1
    elif [ -n "$new" ]; then
        echo "not ok - coverage/$engine: rows no suite executes: ${new//$'\n'/ }"
        failed=1
    else echo "ok - coverage/$engine: every row is executed, or explained"; fi
    case $engine in
    interp) compute interp isa_random_test ;;
    bt) compute bt bt_opcodes_test ;;
    esac
done
exit $failed

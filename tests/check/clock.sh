#!/usr/bin/env bash
# clock.sh - the guest's clock keeps time with the host's: within 0.1 % over a minute, idle and busy, by each clock source, and
# never backwards. Each end of the minute is measured several times; what the console adds makes a reading late, never early, so
# the least difference counts.
# serial
# timeout: 900
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
# shellcheck source=tests/lib/boot.sh
. tests/lib/boot.sh
guest_there || exit 0
failed=0
cd "$TEST_TMP" || exit 1
: "${CLOCK_SECONDS:=60}"
READINGS=12

# script LOAD: a session that reads the clock, lets CLOCK_SECONDS pass under LOAD (a guest command), and reads again
script() {
    echo 'check a prompt'
    echo 'until ring3:/#'
    echo 'after 1'
    for ((i = 0; i < READINGS; i++)); do echo clock; done
    [ -z "$1" ] || printf '%s\n' "> $1" 'check under load' '= .*'
    echo "after $CLOCK_SECONDS"
    for ((i = 0; i < READINGS; i++)); do echo clock; done
    echo 'type poweroff -f\r'
    echo 'check power-off'
    echo 'end 0'
}

# judge NAME: seconds.txt holds "guest host" of READINGS readings at either end
judge() {
    local verdict
    verdict=$(awk -v n=$READINGS '
        { lag = $2 - $1; end = NR > n
          if (!(end in least) || lag < least[end]) { least[end] = lag; at[end] = $2 }
          if (NR > 1 && $1 < last) back = 1
          last = $1 }
        END { if (NR != 2 * n) { print "only", NR, "readings"; exit }
              drift = (least[1] - least[0]) / (at[1] - at[0])
              word = back ? "backwards" : drift * drift < 1e-6 ? "ok" : "off"
              printf "%s drift %.4f %% over %.1f s\n", word, -100 * drift, at[1] - at[0] }' seconds.txt)
    case $verdict in
    ok*) ok "$1: within 0.1 % of the host"; echo "# ${verdict#ok }" ;;
    *) not_ok "$1: within 0.1 % of the host"; echo "# $verdict" ;;
    esac
}

# timed NAME CMDLINE LOAD OPTION...
timed() {
    local name=$1 load=$3
    CMDLINE="console=ttyS0 $2"
    shift 3
    script "$load" >timed.exp
    SESSIONS=$PWD EXPECT_OPTIONS="-s seconds.txt" session "$name" timed "$@"
    judge "$name"
}

BUSY='for n in 1 2 3; do (while :; do :; done) & done; sleep 0.1'
timed 'idle' '' ''
timed 'busy' '' "$BUSY"
timed 'two busy CPUs' '' "$BUSY" --cpus 2
timed 'kvm-clock' clocksource=kvm-clock "$BUSY"
timed 'ACPI timer' clocksource=acpi_pm ''
exit $failed

#!/usr/bin/env bash
# tables.sh - the firmware tables as Debian's kernel reads them: SMBIOS and ISA devices, put into memory by ring3, by SeaBIOS and
# by OVMF.
# timeout: 300
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
# shellcheck source=tests/lib/boot.sh
. tests/lib/boot.sh
guest_there || exit 0
failed=0
cd "$TEST_TMP" || exit 1

# RTC, COM1, COM2, LPT1, floppy controller, keyboard, mouse
ALL='PNP0303 PNP0400 PNP0501 PNP0501 PNP0700 PNP0b00 PNP0f13'
FEW='PNP0303 PNP0501 PNP0b00 PNP0f13'

# tables NAME DEVICES OPTION...
tables() {
    local name=$1 devices=$2
    shift 2
    session "$name" tables --control none --memory 256M "$@"
    is "$name: SMBIOS" 'ring3 pc' "$(tr -d '\r' <dmi.txt | xargs)"
    is "$name: ISA devices" "$devices" "$(tr -d '\r' <pnp.txt | xargs)"
}
truncate -s 1440K floppy.img
MORE=(--serial2 none --parallel file:printed --drive 'file=floppy.img,if=floppy')
tables direct "$FEW"
tables 'direct, more devices' "$ALL" "${MORE[@]}"
for fw in seabios/bios-256k.bin OVMF/OVMF_CODE_4M.fd; do
    if [ -e /usr/share/$fw ]; then tables "${fw%%/*}" "$ALL" "${MORE[@]}" --firmware /usr/share/$fw
    else skip "${fw%%/*}" 'the package is missing'; fi
done
exit $failed

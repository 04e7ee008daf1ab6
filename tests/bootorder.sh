#!/usr/bin/env bash
# bootorder.sh - SeaBIOS and OVMF start GRUB from what --boot names first: a CD-ROM, a virtio disk, an IDE disk, each with an
# image of grub-mkrescue that says where it came from.
# B: build folder (build); RING3: the program ($B/ring3).
# timeout: 400
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
failed=0
SEABIOS=/usr/share/seabios/bios-256k.bin
OVMF=/usr/share/OVMF/OVMF_CODE_4M.fd
command -v grub-mkrescue >/dev/null || { skip 'boot order' 'no grub-mkrescue'; exit 0; }
cd "$TEST_TMP" || exit 1

for name in cd ide virtio; do
    mkdir -p iso-$name/boot/grub
    # shellcheck disable=SC2016  # GRUB's variable
    printf 'serial\nterminal_output serial\necho started from %s on $grub_platform\nhalt\n' $name >iso-$name/boot/grub/grub.cfg
    grub-mkrescue -o $name.img iso-$name >/dev/null 2>&1 || { skip 'boot order' 'grub-mkrescue failed'; exit 0; }
done

# starts NAME WANT OPTION...
starts() {
    local name=$1 want=$2
    shift 2
    timeout 130 "$RING3" run --quiet --control none --memory 256M --timeout 120 "$@" </dev/null 2>&1 | tr -d '\r' >console
    is "$name: ends" 0 "${PIPESTATUS[0]}"
    is "$name" "$want" "$(grep -aoE 'started from .*' console)"
}
ALL=(--cdrom cd.img --drive 'file=virtio.img,if=virtio' --drive file=ide.img)

# orders NAME PLATFORM OPTION...
orders() {
    local name=$1 on=$2
    shift 2
    starts "$name: disks before the CD-ROM" "started from virtio on $on" "${ALL[@]}" "$@"
    starts "$name: order=dc" "started from cd on $on" "${ALL[@]}" --boot order=dc "$@"
    starts "$name: order=ad" "started from cd on $on" "${ALL[@]}" --boot order=ad "$@"
    starts "$name: disks as they are given" "started from ide on $on" --drive file=ide.img --drive file=virtio.img,if=virtio "$@"
}

if [ -e $SEABIOS ]; then
    orders SeaBIOS pc
    starts 'SeaBIOS/interp: order=dc' 'started from cd on pc' "${ALL[@]}" --boot order=dc --engine interp
else skip 'SeaBIOS: boot order' 'no package seabios'; fi
if [ ! -e $OVMF ]; then skip 'OVMF: boot order' 'no package ovmf'
elif [ ! -d /usr/lib/grub/x86_64-efi ]; then skip 'OVMF: boot order' 'no package grub-efi-amd64-bin'
else orders OVMF efi --firmware $OVMF --engine bt; fi
exit $failed

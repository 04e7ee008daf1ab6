#!/usr/bin/env bash
# vga.sh - the standard video modes, set and drawn in by the VGA BIOS, look as they do under QEMU: a boot sector draws points
# through INT 10h, and a VNC viewer of QEMU sees what our screenshot has (colours may differ by rounding: 6 bits made 8).
# B: build folder (build); RING3: the program ($B/ring3).
# timeout: 600
set -u
cd "$(dirname "$0")/../.." || exit 2
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
B=$(realpath "${B:-build}")
RING3=$(realpath "${RING3:-$B/ring3}")
name=vga-$$
failed=0
dir=$(mktemp -d)
trap 'rm -rf "$dir"; kill ${ours:-} ${theirs:-} 2>/dev/null' EXIT
cd "$dir" || exit 2
for needed in qemu-system-x86_64 gcc; do
    command -v $needed >/dev/null || { skip 'video modes' "no $needed"; exit 0; }
done

# mode, colour mask, width, height; 'd' on COM1 when it has drawn
cat >sector.S <<'END'
.code16
    xor %ax, %ax
    mov %ax, %ss
    mov $0x7c00, %sp
    mov $MODE, %ax
    int $0x10
    xor %dx, %dx
1:  xor %cx, %cx
2:  mov %cx, %ax
    xor %dx, %ax
    mov %dx, %bx
    shr $3, %bx
    add %bl, %al
    and $COLORS, %al
    mov $0x0c, %ah
    xor %bx, %bx
    int $0x10
    inc %cx
    cmp $WIDTH, %cx
    jb 2b
    inc %dx
    cmp $HEIGHT, %dx
    jb 1b
    mov $0x3f8, %dx
    mov $'d', %al
    out %al, %dx
3:  hlt
    jmp 3b
.org 510
.word 0xaa55
END

mode() { # mode, mask, width, height
    gcc -m16 -nostdlib -no-pie -Wl,--oformat=binary,-Ttext=0x7c00,--build-id=none -DMODE="$1" -DCOLORS="$2" -DWIDTH="$3" \
        -DHEIGHT="$4" sector.S -o ours.img 2>/dev/null || { not_ok "mode $1: the boot sector"; return; }
    truncate -s 1M ours.img
    cp ours.img theirs.img
    rm -f ours.txt theirs.txt
    "$RING3" run --quiet --name $name --memory 64M --serial file:ours.txt --drive file=ours.img --timeout 120 </dev/null >run.txt 2>&1 &
    ours=$!
    qemu-system-x86_64 -accel tcg -m 64 -nic none -serial file:theirs.txt -drive file=theirs.img,format=raw -vnc unix:vnc \
        </dev/null >qemu.txt 2>&1 &
    theirs=$!
    for _ in {1..6}; do wait_for grep -q d ours.txt && wait_for grep -q d theirs.txt && break; done
    "$RING3" screenshot $name shot.png
    "$B/tests/lib/vnc_probe" -d 8 -s shot.png "$dir/vnc" >size.txt 2>&1
    is "mode $1" 0 $?
    kill $ours $theirs
    wait $ours $theirs
    ours='' theirs=''
}

mode 0x04 3 320 64
mode 0x06 1 640 64
mode 0x0d 15 320 64
mode 0x0e 15 640 64
mode 0x10 15 640 64
mode 0x11 1 640 64
mode 0x12 15 640 64
mode 0x13 255 320 200
exit $failed

#!/usr/bin/env bash
# disk.sh - disks end to end: Debian's cloud kernel with its own drivers reads and writes images through IDE, ATAPI and virtio;
# what the host then finds in them is compared. Read-only, snapshots, slices; images that shrink or are full while the
# guest runs; what cannot be a disk. With SeaBIOS: a boot sector from every kind of drive, and GRUB from an ISO.
# timeout: 500
set -u
# shellcheck source=tests/lib/tiny.sh
. tests/lib/tiny.sh
# shellcheck source=tests/lib/boot.sh
. tests/lib/boot.sh
failed=0
top=$PWD
work=$TEST_TMP
cd "$work" || exit 1

# ---- what cannot be a disk ------------------------------------------------------------------------------------------

tiny hello "${HELLO[@]}" "${HALT[@]}"

# refused NAME TEXT OPTION...: status 2, one line, with TEXT
refused() {
    local name=$1 text=$2 got rc
    shift 2
    got=$("$RING3" run --kernel hello --serial none --timeout 5 "$@" 2>&1 </dev/null)
    rc=$?
    if [ "$rc" = 2 ] && [ "$(wc -l <<<"$got")" = 1 ] && grep -qF -- "$text" <<<"$got"; then ok "refused: $name"
    else not_ok "refused: $name"; echo "status $rc: $got"; fi
}

: >empty
head -c 1000 /dev/zero >odd
head -c 1M /dev/zero >good
mkfifo fifo
refused 'a missing file' "'./missing'" --drive file=./missing
refused 'a folder' 'is a directory' --drive file=/tmp
refused 'a pipe' 'neither a regular file nor a block device' --drive file=fifo
refused 'an empty image' 'is empty' --drive file=empty
refused 'half a sector' 'not whole sectors' --drive file=odd
refused 'a slice behind the end' 'ends behind' --drive file=good,offset=512K,size=1M
refused 'an unknown part' "'colour' is no part" --drive file=good,colour=red
refused 'a wrong interface' "bad value 'scsi' for if" --drive file=good,if=scsi
refused 'a place twice' 'is taken by' --drive file=good,index=1 --drive file=odd,index=1
refused 'an image twice' 'in use by another drive' --drive file=good --drive file=good
refused 'no size of a floppy' 'no floppy disk has' --drive file=good,if=floppy
refused 'a boot order' "'order=xyz'" --boot order=xyz

"$RING3" run --kernel hello --serial file:out --drive file=good --timeout 60 </dev/null 2>/dev/null &
pid=$!
wait_for grep -q hi out
refused 'an image of a running machine' 'in use by another drive or machine' --drive file=good,readonly
kill -TERM $pid
wait $pid

# ---- a Debian guest -------------------------------------------------------------------------------------------------

cd "$top" && { guest_there || exit $failed; } && cd "$work" || exit 1

# An initramfs that loads the drivers and runs the script the kernel command line carries.
make_initrd() {
    local kernel m f files=()
    kernel=$(echo "$GUEST"/linux/lib/modules/*/kernel)
    for m in scsi/scsi_common scsi/scsi_mod ata/libata ata/ata_piix cdrom/cdrom scsi/sd_mod scsi/sr_mod virtio/virtio_ring \
        virtio/virtio virtio/virtio_pci_modern_dev virtio/virtio_pci_legacy_dev virtio/virtio_pci block/virtio_blk; do
        for f in "$kernel/drivers/$m".ko*; do [ ! -e "$f" ] || files+=("$f"); done
    done
    cp -r "$top/guest/initramfs" recipe
    cat >recipe/init <<'INIT'
#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t devtmpfs dev /dev
exec </dev/console >/dev/console 2>&1
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /tmp
for module in /lib/modules/*.ko*; do insmod "$module"; done
dmesg -n 1
sum() { echo "$1 $(md5sum <"$2" | cut -c1-32)"; }
sed 's/.* T=\([^ ]*\).*/\1/' /proc/cmdline | base64 -d >/script
. /script
echo "finished"
poweroff -f
INIT
    local busybox=/bin/busybox
    [ -x "$GUEST/busybox/bin/busybox" ] && busybox=$GUEST/busybox/bin/busybox
    "$top/tools/guest/initramfs.sh" "$busybox" recipe root initrd.gz "${files[@]}"
}
make_initrd || { echo 'not ok - initramfs for disks'; exit 1; }

# guest SCRIPT OPTION...: boot it with the script; console in `console` (while it runs, in `raw`), messages in `messages`
guest() {
    local script=$1
    shift
    "$RING3" run --kernel "$GUEST/vmlinuz" --initrd initrd.gz --memory 192M --timeout 120 --cmdline \
        "console=ttyS0 quiet T=$(base64 -w0 <<<"$script") ." "$@" </dev/null 2>messages >raw
    tr -d '\r' <raw >console
}
sum() { md5sum <"$1" | cut -c1-32; }
# says NAME LINE: the guest's console has this line
says() {
    if grep -qxF -- "$2" console; then ok "$1"; else not_ok "$1"; echo "wanted: $2"; sed 's/^/# /' console messages; fi
}

all_kinds() { # engine
    local e=$1 f
    for f in disk virtio snap ro slice; do head -c 4M /dev/urandom >$f.img; done
    head -c 3M /dev/urandom >cd.iso
    for f in disk virtio snap ro slice; do cp $f.img $f.was; done
    head -c 1M virtio.img >part
    guest 'for d in sda sr0 vda vdb vdc vdd; do sum $d /dev/$d; done
dd if=/dev/vda of=/dev/sda bs=64k count=16 seek=8 conv=fsync 2>/dev/null || echo sda: failed
dd if=/dev/sda of=/dev/vda bs=4k count=512 seek=512 oflag=direct 2>/dev/null || echo vda: failed
dd if=/dev/vda of=/dev/vdb bs=1M count=1 conv=fsync 2>/dev/null || echo vdb: failed
dd if=/dev/vda of=/dev/vdc bs=1M count=1 conv=fsync 2>/dev/null || echo vdc: refused
dd if=/dev/zero of=/dev/vdd bs=1M conv=fsync 2>/dev/null
dd if=/dev/vdb bs=1M count=1 of=/tmp/b 2>/dev/null; sum again /tmp/b
sum written /dev/sda; sync' --engine "$e" --drive file=disk.img --cdrom cd.iso --drive file=virtio.img,if=virtio \
        --drive file=snap.img,if=virtio,snapshot --drive file=ro.img,if=virtio,readonly \
        --drive file=slice.img,if=virtio,offset=1M,size=1M
    says "$e: the guest finishes" finished
    says "$e: IDE disk is read" "sda $(sum disk.was)"
    says "$e: CD-ROM is read" "sr0 $(sum cd.iso)"
    says "$e: virtio disk is read" "vda $(sum virtio.was)"
    dd if=part of=disk.was bs=64k seek=8 count=16 conv=notrunc 2>/dev/null
    is "$e: IDE disk is written" "$(sum disk.was)" "$(sum disk.img)"
    says "$e: IDE disk reads what was written" "written $(sum disk.was)"
    dd if=disk.was of=virtio.was bs=4k count=512 seek=512 conv=notrunc 2>/dev/null
    is "$e: virtio disk is written" "$(sum virtio.was)" "$(sum virtio.img)"
    says "$e: a snapshot takes writes" "again $(sum part)"
    is "$e: a snapshot leaves the image alone" "$(sum snap.was)" "$(sum snap.img)"
    says "$e: a read-only disk refuses writes" 'vdc: refused'
    is "$e: a read-only image stays as it was" "$(sum ro.was)" "$(sum ro.img)"
    dd if=/dev/zero of=slice.was bs=1M seek=1 count=1 conv=notrunc 2>/dev/null
    is "$e: a slice is written, and nothing beside it" "$(sum slice.was)" "$(sum slice.img)"
}
all_kinds bt
all_kinds interp

# ---- hosts that fail ------------------------------------------------------------------------------------------------

# Once the guest has written and flushed its first part, the image shrinks.
shrinking() { # interface device
    local pid
    truncate -s 4M shrink.img
    : >raw
    guest "dd if=/dev/urandom of=/tmp/x bs=64k count=4 2>/dev/null
dd if=/tmp/x of=/dev/$2 bs=64k conv=fsync 2>/dev/null
sum x /tmp/x; echo now
n=0; while [ \$n -lt 400 ] && dd if=/dev/$2 of=/dev/null bs=64k skip=32 count=1 iflag=direct 2>/dev/null; do
n=\$((n + 1)); usleep 50000; done
[ \$n -lt 400 ] && echo read failed
dd if=/tmp/x of=/dev/$2 bs=64k seek=32 count=1 oflag=direct 2>/dev/null || echo write failed
dd if=/dev/$2 of=/tmp/y bs=64k count=4 iflag=direct 2>/dev/null; sum y /tmp/y" \
        --drive file=shrink.img,if="$1" &
    pid=$!
    if wait_for_long grep -q '^now' raw; then truncate -s 1M shrink.img; fi
    wait $pid
    says "$1: an image that shrinks: reads fail" 'read failed'
    says "$1: an image that shrinks: writes fail" 'write failed'
    local x
    x=$(sed -n 's/^x //p' console)
    says "$1: an image that shrinks: the rest is there" "y $x"
    if grep -q "disk 'shrink.img': " messages; then ok "$1: the message names the file"; else not_ok "$1: the message names the file"; cat messages; fi
    is "$1: what was written is on the host" "$x" "$(head -c 256K shrink.img | md5sum | cut -c1-32)"
}
wait_for_long() { # as wait_for, up to 60 s
    wait_for "$@" || wait_for "$@" || wait_for "$@" || wait_for "$@" || wait_for "$@" || wait_for "$@"
}
shrinking ide sda
shrinking virtio vda

# While the guest runs its image grows, and then another takes its name: the guest keeps the disk it has, and what it writes is in
# that file.
leaving() { # interface device
    local pid
    head -c 2M /dev/urandom >leave.img
    ln -f leave.img kept.img
    : >raw
    guest "dd if=/dev/urandom of=/tmp/x bs=64k count=4 2>/dev/null
dd if=/tmp/x of=/dev/$2 bs=64k conv=fsync 2>/dev/null; sum x /tmp/x; echo now
n=0; while [ \$n -lt 100 ] && dd if=/dev/$2 of=/dev/null bs=64k skip=8 count=1 iflag=direct 2>/dev/null; do
n=\$((n + 1)); usleep 50000; done
dd if=/tmp/x of=/dev/$2 bs=64k seek=16 conv=fsync 2>/dev/null || echo write failed
dd if=/tmp/x of=/dev/$2 bs=64k seek=31 conv=fsync 2>/dev/null || echo end of disk
dd if=/dev/$2 of=/tmp/y bs=64k count=4 skip=16 iflag=direct 2>/dev/null; sum y /tmp/y" \
        --drive file=leave.img,if="$1" &
    pid=$!
    if wait_for_long grep -q '^now' raw; then
        truncate -s 4M leave.img
        rm leave.img
        head -c 1M /dev/zero >leave.img
        cp leave.img other.was
    fi
    wait $pid
    local x
    x=$(sed -n 's/^x //p' console)
    says "$1: an image that leaves: the guest finishes" finished
    is "$1: an image that leaves: writes go on" "$x 0" "$(sed -n 's/^y //p' console) $(grep -c 'write failed' console)"
    says "$1: an image that grows: the disk does not" 'end of disk'
    is "$1: an image that leaves: what was written is in it" "$x $x" \
        "$(head -c 256K kept.img | md5sum | cut -c1-32) $(tail -c +1048577 kept.img | head -c 256K | md5sum | cut -c1-32)"
    is "$1: the file that took its name is not touched" "$(sum other.was)" "$(sum leave.img)"
}
leaving ide sda
leaving virtio vda

# A file system with room for a quarter of what the guest writes.
full() {
    local e
    if ! unshare -m sh -c 'mount -t tmpfs -o size=1m none /mnt' 2>/dev/null; then
        skip 'a full host disk' 'cannot mount a small file system'
        return
    fi
    export GUEST RING3
    e=$(declare -f guest)
    unshare -m bash -c "$e"'
        mount -t tmpfs -o size=1m none /mnt && truncate -s 4M /mnt/full.img && chmod 666 /mnt/full.img || exit 1
        guest "dd if=/dev/urandom of=/tmp/x bs=64k count=64 2>/dev/null
dd if=/tmp/x of=/dev/sda bs=64k count=8 oflag=direct 2>/dev/null && echo room
dd if=/tmp/x of=/dev/sda bs=64k oflag=direct 2>/dev/null || echo full
dd if=/dev/sda of=/tmp/y bs=64k count=8 iflag=direct 2>/dev/null; head -c 524288 /tmp/x >/tmp/z; sum y /tmp/y; sum z /tmp/z" \
            --drive file=/mnt/full.img
        echo "host $(head -c 512K /mnt/full.img | md5sum | cut -c1-32)" >>console'
    says 'a full host disk: writes that fit' room
    says 'a full host disk: writes that do not fit fail' full
    says 'a full host disk: what was written is there' "y $(sed -n 's/^z //p' console)"
    says 'a full host disk: and on the host' "host $(sed -n 's/^z //p' console)"
    if grep -q "full.img': write of .*No space left" messages; then ok 'a full host disk: the message'; else not_ok 'a full host disk: the message'; cat messages; fi
}
full

# ---- firmware -------------------------------------------------------------------------------------------------------

# A boot sector that reads the next one through the BIOS, prints it on COM1, and ends with status 3.
BOOT_SECTOR='\xfa\x31\xc0\x8e\xd8\x8e\xc0\x8e\xd0\xbc\x00\x7c\xfb\xb8\x01\x02\xbb\x00\x80\xb9\x02\x00\xb6\x00\xcd\x13\x73\x04'
BOOT_SECTOR+='\xb0\x03\xe6\xf4\xbe\x00\x80\xba\xf8\x03\xac\x08\xc0\x74\x03\xee\xeb\xf8\xb0\x01\xe6\xf4\xf4'

firmware_boots() { # engine
    local kind
    for kind in ide floppy virtio; do
        printf '%b' "$BOOT_SECTOR" >boot.img
        truncate -s 510 boot.img
        printf '\x55\xaasector two of %s\0' $kind >>boot.img
        truncate -s 1440K boot.img
        "$RING3" run --quiet --control none --drive file=boot.img,if=$kind --boot order=ac --memory 64M --debug-exit --timeout 60 \
            --engine "$1" </dev/null 2>/dev/null | tail -n 1 >console
        is "$1: boots from $kind" "3 sector two of $kind" "${PIPESTATUS[0]} $(tr -d '\r' <console)"
    done
}

# GRUB, read by the BIOS from the CD-ROM, loads the Debian kernel from there.
grub_iso() {
    mkdir -p iso/boot/grub
    cp "$GUEST/vmlinuz" initrd.gz iso/boot/
    cat >iso/boot/grub/grub.cfg <<GRUB
serial --unit=0 --speed=115200
terminal_output serial
linux /boot/vmlinuz console=ttyS0 quiet T=$(base64 -w0 <<<'echo; sum cd /dev/sr0') .
initrd /boot/initrd.gz
boot
GRUB
    grub-mkrescue -o grub.iso iso >/dev/null 2>&1 || { skip 'GRUB from an ISO' 'grub-mkrescue failed'; return; }
    "$RING3" run --quiet --control none --cdrom grub.iso --boot order=d --memory 256M --timeout 100 </dev/null 2>messages |
        tr -d '\r' >console
    says 'GRUB boots Debian from an ISO' "cd $(sum grub.iso)"
}

if [ -e /usr/share/seabios/bios-256k.bin ]; then
    firmware_boots bt
    firmware_boots interp
    if command -v grub-mkrescue >/dev/null; then grub_iso; else skip 'GRUB from an ISO' 'no grub-mkrescue'; fi
else
    skip 'boots from drives' 'no package seabios'
fi

exit $failed

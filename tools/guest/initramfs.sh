#!/bin/sh
# initramfs.sh BUSYBOX RECIPE TREE OUT [MODULE...] - pack the default guest's initramfs, without root and
# without cpio or device nodes of the host: busybox packs itself. Same inputs give the same bytes.
# BUSYBOX  static busybox
# RECIPE   folder with `init` and files for /etc
# TREE     scratch folder
# OUT      a .cpio.gz to write
# MODULE   kernel modules, loaded by init in this order
set -eu
busybox=$1 recipe=$2 tree=$3 out=$4
shift 4

rm -rf "$tree"
for dir in bin sbin usr/bin usr/sbin etc dev proc sys run tmp root mnt var; do
    mkdir -p "$tree/$dir"
done
cp "$busybox" "$tree/bin/busybox"
cp "$recipe/init" "$tree/init"
for file in passwd group profile; do cp "$recipe/$file" "$tree/etc/$file"; done
mkdir -p "$tree/lib/modules"
i=10
for module; do
    cp "$module" "$tree/lib/modules/$i-${module##*/}"
    chmod 644 "$tree/lib/modules/$i-${module##*/}"
    i=$((i + 1))
done
chmod 755 "$tree/init" "$tree/bin/busybox"
chmod 644 "$tree"/etc/*
chmod 1777 "$tree/tmp"
chmod 700 "$tree/root"

# One link per applet, where busybox wants it.
"$busybox" --list-full | while read -r path; do
    [ "$path" = bin/busybox ] || ln -sfn /bin/busybox "$tree/$path"
done

# Owner root and time 0 for everything; sorted names.
find "$tree" -exec touch -h -d @0 {} +
(cd "$tree" && find . | LC_ALL=C sort |
    "$busybox" cpio -o -H newc -R 0:0 --renumber-inodes --ignore-devno 2>/dev/null) |
    gzip -9n >"$out"
[ -s "$out" ]

#!/bin/sh
# fetch.sh OUTDIR - make the default guest: Debian's cloud kernel and a busybox initramfs.
#
# Leaves in OUTDIR
#   vmlinuz          the unmodified kernel of the package linux-image-cloud-amd64 depends on
#   kernel-release   its release, one line (6.1.0-56-cloud-amd64)
#   initrd.cpio.gz   initramfs: guest/initramfs/ of this repository and Debian's busybox-static
#   linux/           the whole kernel package, unpacked (config, modules)
# Needs apt and dpkg, no root. What is there already is kept: a second run does nothing. The
# initramfs is rebuilt when its recipe changes; `fetch.sh --refresh OUTDIR` replaces everything
# by what apt offers now.
# Every file appears whole (made aside, then renamed), so an interrupted run leaves nothing broken.
set -eu

META=linux-image-cloud-amd64
say() { echo "fetch.sh: $*" >&2; }
die() { say "$*"; exit 1; }

refresh=no
[ "${1-}" = --refresh ] && { refresh=yes; shift; }
if [ $# -ne 1 ] || [ -z "$1" ]; then die "usage: fetch.sh [--refresh] OUTDIR"; fi
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
recipe=$(CDPATH='' cd -- "$here/../../guest/initramfs" && pwd)
mkdir -p "$1" || die "cannot create $1"
out=$(CDPATH='' cd -- "$1" && pwd)

# The modules init loads, in order: panic notification, input events and the power button, which the cloud kernel has as
# modules.
modules() {
    for m in misc/pvpanic/pvpanic misc/pvpanic/pvpanic-mmio input/evdev acpi/button; do
        for f in "$out/linux/lib/modules/$(cat "$out/kernel-release")/kernel/drivers/$m".ko*; do
            [ ! -e "$f" ] || echo "$f"
        done
    done
}

# The initramfs depends on these files and the kernel only; their digest is its stamp.
recipe_digest() {
    { cat "$here/initramfs.sh" "$here/fetch.sh" "$recipe"/*; cat "$out/kernel-release" 2>/dev/null; } |
        sha256sum | cut -d' ' -f1
}

kernel_ready() { [ -s "$out/vmlinuz" ] && [ -s "$out/kernel-release" ]; }
initrd_ready() {
    [ -s "$out/initrd.cpio.gz" ] && [ "$(cat "$out/initrd.stamp" 2>/dev/null)" = "$digest" ]
}

# As root apt would warn that its sandbox user cannot write to our folder.
apt_opts=
[ "$(id -u)" -ne 0 ] || apt_opts="-o APT::Sandbox::User=root"

apt_update() {
    [ "$(id -u)" -eq 0 ] || return 1
    say "updating the package lists"
    # shellcheck disable=SC2086
    apt-get $apt_opts -qq update >&2
}

# What the meta package stands for: the signed image, else the unsigned one of the same name.
resolve_kernel() {
    apt-cache depends "$META" 2>/dev/null |
        sed -n 's/^ *Depends: <*\(linux-image-[^<> ]*\)>*$/\1/p' | head -n 1
}

# download PACKAGE DIR - one .deb into DIR, which is left with that file only; retries once.
download() {
    for try in 1 2; do
        rm -rf "$2" && mkdir -p "$2"
        # shellcheck disable=SC2086
        if (cd "$2" && apt-get $apt_opts -qq download "$1" >apt.log 2>&1); then
            rm -f "$2/apt.log"
            return 0
        fi
        if [ "$try" = 1 ]; then
            say "downloading $1 failed; trying once more"
            apt_update || sleep 1
        fi
    done
    sed 's/^/fetch.sh: apt: /' "$2/apt.log" >&2 || true
    return 1
}

# unpack PACKAGE DIR - download PACKAGE and unpack it as DIR.
unpack() {
    download "$1" "$out/tmp/deb" || return 1
    rm -rf "$out/tmp/tree"
    dpkg-deb -x "$out"/tmp/deb/*.deb "$out/tmp/tree" || return 1
    rm -rf "$2"
    mv "$out/tmp/tree" "$2"
    rm -rf "$out/tmp/deb"
}

make_kernel() {
    package=$(resolve_kernel)
    if [ -z "$package" ]; then
        apt_update || die "apt knows no package $META: run 'apt-get update' as root, then try again"
        package=$(resolve_kernel)
        [ -n "$package" ] || die "apt knows no package $META, not even after an update"
    fi
    say "fetching $package"
    unpack "$package" "$out/linux" || unpack "$package-unsigned" "$out/linux" ||
        die "cannot fetch $package; 'apt-get update' as root may help"
    set -- "$out"/linux/boot/vmlinuz-*
    if [ $# -ne 1 ] || [ ! -s "$1" ]; then die "$package holds no single kernel"; fi
    release=${1##*/vmlinuz-}
    ln -sfn "linux/boot/vmlinuz-$release" "$out/tmp/vmlinuz"
    echo "$release" >"$out/tmp/kernel-release"
    mv -f "$out/tmp/vmlinuz" "$out/vmlinuz"
    mv -f "$out/tmp/kernel-release" "$out/kernel-release"
}

# The static busybox: the installed one when it is static (its package says so), else fetched.
find_busybox() {
    if [ -x /bin/busybox ] && dpkg-query -W -f '${db:Status-Status}' busybox-static 2>/dev/null |
        grep -qx installed; then
        echo /bin/busybox
        return
    fi
    if [ "$refresh" = yes ] || [ ! -x "$out/busybox/bin/busybox" ]; then
        say "fetching busybox-static"
        unpack busybox-static "$out/busybox" ||
            die "cannot fetch busybox-static; 'apt-get update' as root may help"
    fi
    echo "$out/busybox/bin/busybox"
}

make_initrd() {
    busybox=$(find_busybox) || exit 1
    # shellcheck disable=SC2046  # paths of our own making: no spaces but in $out
    (IFS='
' && "$here/initramfs.sh" "$busybox" "$recipe" "$out/tmp/root" "$out/tmp/initrd.cpio.gz" $(modules)) ||
        die "cannot build the initramfs"
    rm -f "$out/initrd.stamp"
    mv -f "$out/tmp/initrd.cpio.gz" "$out/initrd.cpio.gz"
    echo "$digest" >"$out/tmp/stamp"
    mv -f "$out/tmp/stamp" "$out/initrd.stamp"
}

digest=$(recipe_digest)
if [ "$refresh" = no ] && kernel_ready && initrd_ready; then exit 0; fi

for tool in apt-get apt-cache dpkg-deb flock gzip sha256sum; do
    command -v "$tool" >/dev/null ||
        die "needs $tool (Debian or a relative); or name your own --kernel"
done
exec 9>"$out/.lock"
flock 9 || die "cannot lock $out"
rm -rf "$out/tmp"
mkdir -p "$out/tmp"
trap 'rm -rf "$out/tmp"' EXIT
trap 'exit 130' INT TERM HUP
if [ "$refresh" = yes ] || ! kernel_ready; then make_kernel; fi
digest=$(recipe_digest)
if [ "$refresh" = yes ] || ! initrd_ready; then make_initrd; fi

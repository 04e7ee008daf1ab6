#!/bin/sh
# fetch-os.sh OUTDIR NAME... - operating systems and boot programs of Debian's archive for the tests of tests/check.
#
# Each NAME is a row of packages() below; OUTDIR/NAME/ then holds that package, unpacked. What is there already is kept.
# Packages of another architecture come through package lists of their own under OUTDIR, so that neither root nor
# `dpkg --add-architecture` is needed. A package whose name carries a version is looked up through its meta package.
# Exit: 0 all there, 1 something could not be fetched (said on standard error).
set -eu

say() { echo "fetch-os.sh: $*" >&2; }
[ $# -ge 2 ] || { say "usage: fetch-os.sh OUTDIR NAME..."; exit 2; }
mkdir -p "$1"
out=$(CDPATH='' cd -- "$1" && pwd)
shift

# name            architecture  package, or @package: the linux-image it depends on
packages() {
    cat <<'ROWS'
linux-amd64       amd64         @linux-image-amd64
linux-686         i386          @linux-image-686
linux-686-pae     i386          @linux-image-686-pae
busybox-i386      i386          busybox-static
busybox-amd64     amd64         busybox-static
installer-amd64   amd64         debian-installer-12-netboot-amd64
installer-i386    amd64         debian-installer-12-netboot-i386
memtest           amd64         memtest86+
ipxe              amd64         ipxe
xen               amd64         xen-hypervisor-4.17-amd64
seabios           amd64         seabios
ovmf              amd64         ovmf
grub-pc           amd64         grub-pc-bin
linux-source      amd64         linux-source-6.1
ROWS
}

apt_opts() { # architecture: the host's own lists, or private ones
    [ "$(id -u)" -ne 0 ] || printf ' -o APT::Sandbox::User=root'
    [ "$1" = amd64 ] || printf ' -o Dir::State=%s/apt-%s/state -o Dir::Cache=%s/apt-%s/cache -o APT::Architecture=%s %s' \
        "$out" "$1" "$out" "$1" "$1" "-o APT::Architectures=$1 -o Dir::State::status=/dev/null"
}

update() { # architecture
    if [ "$1" = amd64 ]; then
        [ "$(id -u)" -eq 0 ] || return 1
    else mkdir -p "$out/apt-$1/state/lists/partial" "$out/apt-$1/cache/archives/partial"; fi
    # shellcheck disable=SC2046  # several options; one unreachable list leaves the others usable
    apt-get $(apt_opts "$1") -qq update >/dev/null 2>&1 || [ "$1" != amd64 ]
}

resolve() { # architecture package
    case $2 in
    @linux-image-*)
        # shellcheck disable=SC2046
        apt-cache $(apt_opts "$1") depends "${2#@}" 2>/dev/null |
            sed -n 's/^ *Depends: <*\(linux-image-[^<> ]*\)>*$/\1/p' | head -n 1 ;;
    *) echo "${2#@}" ;;
    esac
}

fetch() { # name architecture package
    [ ! -d "$out/$1" ] || return 0
    rm -rf "$out/tmp" && mkdir -p "$out/tmp/deb"
    if [ "$2" != amd64 ] && [ ! -d "$out/apt-$2" ]; then update "$2" || true; fi
    for try in 1 2; do
        package=$(resolve "$2" "$3")
        # shellcheck disable=SC2046
        if [ -n "$package" ] && (cd "$out/tmp/deb" && apt-get $(apt_opts "$2") -qq download "$package" >apt.log 2>&1); then
            dpkg-deb -x "$out"/tmp/deb/*.deb "$out/tmp/tree"
            mv "$out/tmp/tree" "$out/$1"
            rm -rf "$out/tmp"
            return 0
        fi
        [ "$try" = 2 ] || update "$2" || true
    done
    say "cannot fetch ${package:-$3} ($2)"
    return 1
}

failed=0
for wanted; do
    row=$(packages | awk -v n="$wanted" '$1 == n')
    [ -n "$row" ] || { say "unknown name '$wanted'"; exit 2; }
    # shellcheck disable=SC2086  # three words
    fetch $row || failed=1
done
exit $failed

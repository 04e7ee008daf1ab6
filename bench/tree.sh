#!/usr/bin/env bash
# tree.sh OUTDIR - the file tree whose programs bench/guest.sh compares, and the same tree as an initramfs.
# Leaves in OUTDIR
#   root/         Debian packages, unpacked without root, and /bench: our own programs and scripts
#   root.cpio     root/ as an initramfs, not compressed, so that guests do not measure gunzip
#   versions      the packages the workloads come from, "name version" a line
# The packages come through apt, with their dependencies as for an empty machine. Needs apt, dpkg-deb, gcc, cpio
# (busybox has one). A second run does only what changed.
set -eu
PACKAGES="coreutils gzip xz-utils python3-minimal lua5.4 sqlite3 openssl luajit nodejs busybox-static"
[ $# -eq 1 ] || { echo "usage: tree.sh OUTDIR" >&2; exit 2; }
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
CC=${CC:-gcc}
say() { echo "tree.sh: $*" >&2; }

exec 9>"$out/.lock"
flock 9

fetch() { # all packages and what they depend on, into debs/
    say "fetching $PACKAGES"
    rm -rf "$out/debs" && mkdir -p "$out/debs/partial"
    : >"$out/empty-status"
    local sandbox=()
    [ "$(id -u)" -ne 0 ] || sandbox=(-o APT::Sandbox::User=root)
    # shellcheck disable=SC2086
    apt-get "${sandbox[@]}" -y -qq -o Dir::State::status="$out/empty-status" -o Dir::Cache::archives="$out/debs" \
        -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o Debug::NoLocking=1 -o APT::Install-Recommends=no \
        install --download-only $PACKAGES >"$out/apt.log" 2>&1 ||
        { cat "$out/apt.log" >&2; say "apt-get failed; 'apt-get update' as root may help"; exit 1; }
}

unpack() {
    rm -rf "$out/root.new" && mkdir -p "$out/root.new"
    local deb
    for deb in "$out"/debs/*.deb; do dpkg-deb -x "$deb" "$out/root.new"; done
    (cd "$out/root.new" && rm -rf usr/share/doc usr/share/man usr/share/locale usr/share/info usr/share/zoneinfo \
        usr/lib/x86_64-linux-gnu/gconv usr/share/perl5)
    mkdir -p "$out/root.new"/{bench,dev,proc,sys,tmp,root,run,bin}
    : >"$out/versions"
    for deb in $PACKAGES; do
        # shellcheck disable=SC2016  # dpkg's own variables
        dpkg-deb -W --showformat='${Package} ${Version}\n' "$out/debs/${deb}"_*.deb >>"$out/versions"
    done
    rm -rf "$out/root" && mv "$out/root.new" "$out/root"
}

# Our programs, static, with the flags each is meant to be measured with.
compile() {
    local bench=$out/root/bench flags="-std=gnu17 -O2 -g0 -Wall -Wextra -Werror -static"
    local work=$here/work name
    for name in drive gen kernel true; do
        # shellcheck disable=SC2086
        $CC $flags -o "$bench/$name" "$work/$name.c"
    done
    mkdir -p "$out/obj"
    # -ffp-contract=off: the same figures whatever the compiler fuses
    # shellcheck disable=SC2086
    {
        $CC $flags -ffp-contract=off -DWORK=float_sse2 -c -o "$out/obj/sse2.o" "$work/float_work.c"
        $CC $flags -ffp-contract=off -O3 -mavx2 -DWORK=float_avx2 -c -o "$out/obj/avx2.o" "$work/float_work.c"
        $CC $flags -o "$bench/float" "$work/float.c" "$out/obj/sse2.o" "$out/obj/avx2.o" -lm
    }
    cp "$here"/programs/*.{lua,py,js,sql} "$bench/"
    # A transaction per statement: the journal is made and removed each time.
    awk 'BEGIN { print "CREATE TABLE log(id INTEGER PRIMARY KEY, text TEXT);"
        for (i = 1; i <= 3000; i++) printf "INSERT INTO log VALUES(%d, \"entry %d\");\n", i, i * 7919 % 1000
        print "SELECT count(*), sum(id), max(text) FROM log;" }' >"$bench/commits.sql"
    ln -sfn bench/drive "$out/root/init"
}

pack() { # owner root, sorted names
    (cd "$out/root" && find . | LC_ALL=C sort |
        busybox cpio -o -H newc -R 0:0 --renumber-inodes --ignore-devno 2>/dev/null) >"$out/root.cpio.new"
    mv "$out/root.cpio.new" "$out/root.cpio"
}

stamp=$({ cat "$here/tree.sh" "$here"/work/* "$here"/programs/*; $CC --version; } | sha256sum)
if [ -s "$out/root.cpio" ] && [ "$(cat "$out/stamp" 2>/dev/null)" = "$stamp" ]; then exit 0; fi
if [ "$(cat "$out/debs/.complete" 2>/dev/null)" != "$PACKAGES" ]; then
    fetch
    echo "$PACKAGES" >"$out/debs/.complete"
fi
unpack
compile
pack
echo "$stamp" >"$out/stamp"

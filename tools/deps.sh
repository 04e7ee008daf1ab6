#!/usr/bin/env bash
# deps.sh [--list] [set...] - make sure the Debian packages of these kinds of work are installed.
# Sets: build guest lint bench check; none named means all. Silent and quick when nothing is missing.
# Installs as root or through sudo; where neither works, prints the command to run and exits 1.
# --list only prints the packages, one per line.
set -u

declare -A packages=(
    [build]='gcc libc6-dev make pkg-config libzydis-dev libuv1-dev libcmocka-dev libseccomp-dev libjansson-dev libpng-dev libvncserver-dev zlib1g-dev'
    [guest]='busybox-static cpio zstd xz-utils dpkg seabios ovmf xen-hypervisor-4.17-amd64'
    [lint]='clang clang-format-14 shellcheck'
    [bench]='qemu-system-x86 bochs'
    [check]='qemu-system-x86 gcc-multilib grub-common grub-pc-bin grub-efi-amd64-bin xorriso mtools socat seabios ovmf'
)

list=
[ "${1:-}" != --list ] || { list=yes; shift; }
[ $# -gt 0 ] || set -- build guest lint bench check
wanted=()
for name in "$@"; do
    [ -n "${packages[$name]:-}" ] || { echo "deps: unknown set '$name' (sets: ${!packages[*]})" >&2; exit 2; }
    read -ra some <<<"${packages[$name]}"
    wanted+=("${some[@]}")
done
[ -z "$list" ] || { printf '%s\n' "${wanted[@]}"; exit 0; }

if ! command -v dpkg-query >/dev/null; then
    echo "deps: not a Debian system; install the equivalents of: ${wanted[*]}" >&2
    exit 0
fi

# Prints the wanted packages that are not installed. A virtual package counts as installed through its provider.
missing() {
    dpkg-query -W -f '${db:Status-Status} ${Package} ${Provides}\n' 2>/dev/null |
        awk -v want="${wanted[*]}" '
            $1 == "installed" { for (i = 2; i <= NF; i++) { sub(/,$/, "", $i); have[$i] = 1 } }
            END { n = split(want, w, " "); for (i = 1; i <= n; i++) if (!(w[i] in have)) print w[i] }'
}

mapfile -t lacking < <(missing)
[ ${#lacking[@]} -gt 0 ] || exit 0

install=(apt-get install -y --no-install-recommends "${lacking[@]}")
if [ "$(id -u)" -eq 0 ]; then
    as_root=(env DEBIAN_FRONTEND=noninteractive)
elif command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; then
    as_root=(sudo env DEBIAN_FRONTEND=noninteractive)
else
    echo "deps: missing packages; as root run:" >&2
    echo "  apt-get install ${lacking[*]}" >&2
    exit 1
fi

echo "deps: installing ${lacking[*]}"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The package lists of a fresh machine may be absent or old: refresh them only when the first attempt fails.
if "${as_root[@]}" "${install[@]}" >"$log" 2>&1; then exit 0; fi
if "${as_root[@]}" apt-get update >"$log" 2>&1 && "${as_root[@]}" "${install[@]}" >>"$log" 2>&1; then exit 0; fi
tail -n 20 "$log" >&2
echo "deps: could not install; as root run:" >&2
echo "  apt-get install ${lacking[*]}" >&2
exit 1

#!/usr/bin/env bash
# vmlinux.sh BZIMAGE OUT - the ELF kernel inside a bzImage. Fails with a reason where the tool for its compression is missing.
# Spec: Linux Documentation/arch/x86/boot.rst (setup_sects, payload_offset, payload_length).
set -u
kernel=$1 out=$2

field() { od -An -tu"$2" -j $(($1)) -N "$2" "$kernel" | tr -d ' '; }
start=$((($(field 0x1f1 1) + 1) * 512 + $(field 0x248 4)))
bytes=$(field 0x24c 4)
case $(od -An -tx1 -j "$start" -N 4 "$kernel" | tr -d ' ') in
1f8b*) tool=gzip ;;
fd377a58) tool=xz ;;
28b52ffd) tool=zstd ;;
02214c18) tool=lz4 ;;
425a68*) tool=bzip2 ;;
*) echo "payload of $kernel is compressed in no known way"; exit 1 ;;
esac
command -v $tool >/dev/null || { echo "$tool is not installed"; exit 1; }
# The payload's last 4 bytes are its unpacked size, which some tools take for garbage.
tail -c +$((start + 1)) "$kernel" | head -c $((bytes - 4)) | $tool -dc >"$out" 2>/dev/null
[ "$(head -c 4 "$out" | od -An -tx1 | tr -d ' ')" = 7f454c46 ] || { echo "$tool cannot unpack $kernel"; exit 1; }

#!/usr/bin/env bash
# Lay the files of the Debian packages that compare.py names below FOLDER (build/real_files), without their
# dependencies; and install the tools. For a Debian machine and root.
set -euo pipefail
here=$(dirname "$(realpath "$0")")
target=$(realpath -m "${1:-$here/../../build/real_files}")
compare=$here/compare.py
export DEBIAN_FRONTEND=noninteractive
tools=$(sed -n 's/^ *tools: //p' "$compare")
files=$(sed -n '/^ *files: /,/^ *Python packages/p' "$compare" | sed 's/^ *files: //; /Python packages/d')
apt-get update -qq
apt-get install -y -qq --no-install-recommends $tools >/dev/null
mkdir -p "$target"
cd "$(mktemp -d)"
apt-get download -qq $files
for package in *.deb; do
    dpkg-deb -x "$package" "$target"
done
rm -r "$PWD"

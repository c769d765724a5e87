#!/usr/bin/env bash
# Makes sure of what the build needs: Swift 6.2 or newer, and the Debian packages named as arguments.
set -euo pipefail

if ! command -v swift >/dev/null; then
    echo "Swift is not installed. Needletail needs Swift 6.2 or newer: https://www.swift.org/install/linux/" >&2
    exit 1
fi
version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p' | head -1)
read -r major minor <<<"${version:-0 0}"
if ((major < 6 || (major == 6 && minor < 2))); then
    echo "Swift ${major}.${minor} is too old. Needletail needs Swift 6.2 or newer: https://www.swift.org/install/linux/" >&2
    exit 1
fi

missing=()
for package in "$@"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
if ((${#missing[@]} == 0)); then exit 0; fi
echo "Installing: ${missing[*]}"
as_root=""
if [[ $(id -u) != 0 ]]; then
    command -v sudo >/dev/null || { echo "Please install as root: apt-get install ${missing[*]}" >&2; exit 1; }
    as_root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get update -qq
# Packages that bring a service (etcd-server, for tests) must not start it: Debian asks this script first.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy >/dev/null
    $as_root chmod 755 $policy
    trap '$as_root rm -f $policy' EXIT
fi
$as_root apt-get install -y -qq "${missing[@]}" >/dev/null

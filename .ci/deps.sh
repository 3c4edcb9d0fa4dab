#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that slash32 needs, and nothing that is there already.
#
#   .ci/deps.sh [--list | --dry-run] GROUP...
#
# Groups: build, demo (two guests), test (everything `make test` runs), lint, bench. Says what will be
# installed and how much disk that takes before it does it. Needs root only if something is missing.
# --list prints the packages; --dry-run stops after saying what it would do.
set -euo pipefail
export LC_ALL=C DEBIAN_FRONTEND=noninteractive

declare -A group_packages=(
    # To compile and link the programs and the tests (libgtest and libbenchmark are part of it, so
    # that a build directory has all its targets from its first day).
    [build]="g++ gcc ccache meson ninja-build pkg-config python3
        libdpdk-dev libspdlog-dev libfmt-dev nlohmann-json3-dev rapidjson-dev
        libasio-dev libcli11-dev
        libtomlplusplus-dev libsqlite3-dev libsystemd-dev libedit-dev libexpected-dev libpcap-dev libmnl-dev
        nettle-dev
        libgtest-dev libgmock-dev libbenchmark-dev"
    # To run guests. Their kernel and busybox are unpacked under build/guest-cache, not installed.
    [demo]="qemu-system-x86 iproute2 procps kmod"
    [test]="cmake clang-14 libclang-rt-14-dev llvm-14 git
        python3-pytest python3-pytest-timeout python3-scapy python3-jsonschema
        dpdk-dev iproute2 iputils-ping iputils-arping iperf3 dnsmasq-base nftables tcpdump
        ethtool frr bird2 man-db bash-completion util-linux valgrind tshark python3-matplotlib"
    [lint]="clang-format-14 clang-tidy-14 shellcheck git"
    [bench]="dpdk-dev python3 iproute2 procps openvswitch-switch-dpdk nftables ethtool frr
        python3-scapy python3-jsonschema python3-matplotlib"
)

mode=install
groups=()
for word in "$@"; do
    case $word in
        --list) mode=list ;;
        --dry-run) mode=dry-run ;;
        build | lint | bench) groups+=("$word") ;;
        demo) groups+=(build demo) ;;
        test) groups+=(build demo test) ;;
        all) groups+=(build demo test lint bench) ;;
        *)
            echo "deps: no group '$word': build, demo, test, lint, bench, all" >&2
            exit 2
            ;;
    esac
done
[ ${#groups[@]} -gt 0 ] || groups=(build demo test lint bench)

packages=$(for group in "${groups[@]}"; do
    tr -s ' ' '\n' <<<"${group_packages[$group]}"
done | sed '/^$/d' | sort -u)
if [ $mode = list ]; then
    echo "$packages"
    exit 0
fi

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "deps: this is no Debian system; the packages to have are:" >&2
    echo "$packages" >&2
    exit 1
fi

# shellcheck disable=SC2086 # one word a package
have=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $packages 2>/dev/null |
    sed -n 's/^installed //p' | sort -u || true)
missing=$(comm -23 <(echo "$packages") <(echo "$have"))

# The guests' kernel is downloaded by name later: apt must know it, unless it has been unpacked.
needs_lists=no
case " ${groups[*]} " in
    *" demo "*)
        top=$(cd "$(dirname "$0")/.." && pwd)
        if [ ! -e "$top/build/guest-cache/linux-image-cloud-amd64.json" ] &&
            ! apt-cache show linux-image-cloud-amd64 >/dev/null 2>&1; then
            needs_lists=yes
        fi
        ;;
esac

if [ -z "$missing" ] && [ $needs_lists = no ]; then
    echo "deps: all of ${groups[*]} are installed"
    exit 0
fi

if [ "$(id -u)" -ne 0 ]; then
    echo "deps: missing: $(echo "$missing" | tr '\n' ' ')" >&2
    echo "deps: installing needs root: run this again as root" >&2
    exit 1
fi

update() {
    echo "deps: apt-get update"
    apt-get -q update -o Acquire::Retries=3 </dev/null || {
        echo "deps: apt-get update failed: is the network there?" >&2
        exit 1
    }
    updated=yes
}
updated=no
[ $needs_lists = no ] || update
if [ -z "$missing" ]; then
    exit 0
fi

# What apt would do, in its own words.
# shellcheck disable=SC2086
plan() { apt-get install --no-install-recommends --assume-no $missing </dev/null 2>&1 || true; }
planned=$(plan)
if ! grep -q 'newly installed' <<<"$planned" && [ $updated = no ]; then
    update # the lists are empty, or too old to know a package
    planned=$(plan)
fi
if ! grep -q 'newly installed' <<<"$planned"; then
    echo "$planned" >&2
    echo "deps: apt cannot install the packages above" >&2
    exit 1
fi

new=$(sed -n '/^The following NEW packages/,/^[^ ]/{/^  /p}' <<<"$planned" | wc -w)
echo "deps: to be installed for ${groups[*]}:"
echo "$missing" | tr '\n' ' ' | fold -s -w 90 | sed 's/^/    /'
echo
echo "deps: with what they depend on: $new packages"
sed -n 's/^Need to get /    to download: /p; s/^After this operation, /    on disk: /p' <<<"$planned"
echo "    free on /: $(df -h --output=avail / | tail -n 1 | tr -d ' ')"
[ $mode = install ] || exit 0

# shellcheck disable=SC2086
install() {
    apt-get install -y --no-install-recommends -o Acquire::Retries=3 -o Dpkg::Use-Pty=0 $missing \
        </dev/null
}
if ! install; then
    [ $updated = no ] || exit 1
    update # a package on the mirror is newer than the lists
    install
fi
echo "deps: done"

#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs a command with hugepages, and gives back what it took, however the command ends.
#
#   .ci/hugepages.sh MEGABYTES COMMAND [ARGUMENT...]
#
# Where there are none to be had (no root, no hugetlb in the kernel, too little free memory) it says
# so and runs the command all the same. The command finds in S32_HUGEPAGES_MB how many megabytes are
# there: 0 for none. Several may run at once; one that was killed is tidied up after by the next.
set -uo pipefail
export LC_ALL=C

if [ $# -lt 2 ] || ! [[ $1 =~ ^[0-9]+$ ]]; then
    echo "usage: $0 MEGABYTES COMMAND [ARGUMENT...]" >&2
    exit 2
fi
wanted_mb=$1
shift

pages=/sys/kernel/mm/hugepages/hugepages-2048kB
records=/run/slash32-hugepages # one file a taker: "pages taken, mount made"
mount_point=/dev/hugepages
taken=0
mounted=no
record=

locked() {
    # The kernel's count is one number for all: change it one at a time.
    (
        flock 9
        "$@"
    ) 9>"$records/lock"
}

change_pages() { # by how many
    local now
    now=$(<"$pages/nr_hugepages")
    echo $((now + $1 > 0 ? now + $1 : 0)) >"$pages/nr_hugepages"
}

return_record() { # file
    local count made
    read -r count made <"$1" || return 0
    rm -f "$1"
    change_pages $((-count))
    if [ "$made" = yes ] && ! grep -lqs ' yes$' "$records"/*.taken; then
        umount "$mount_point" 2>/dev/null || true # busy: somebody still uses it, and it costs nothing
    fi
}

return_stale() {
    local file pid
    for file in "$records"/*.taken; do
        [ -e "$file" ] || continue
        pid=$(basename "$file" .taken)
        [ -e "/proc/$pid" ] || return_record "$file"
    done
}

take() { # pages
    local before after
    before=$(<"$pages/nr_hugepages")
    change_pages "$1" 2>/dev/null || true
    after=$(<"$pages/nr_hugepages")
    if [ $((after - before)) -lt "$1" ]; then
        change_pages $((before - after))
        return 1
    fi
    if ! grep -q "^[^ ]* [^ ]* hugetlbfs " /proc/mounts; then
        mkdir -p "$mount_point" && mount -t hugetlbfs nodev "$mount_point" && mounted=yes
    fi
    echo "$1 $mounted" >"$record"
}

prepare() {
    if [ "$(id -u)" -ne 0 ]; then
        reason="not root"
        return 1
    fi
    if [ ! -w $pages/nr_hugepages ]; then
        reason="the kernel offers none of 2 MB"
        return 1
    fi
    mkdir -p $records
    record=$records/$$.taken
    locked return_stale
    local free_mb available_mb missing_mb
    free_mb=$(($(<"$pages/free_hugepages") * 2))
    missing_mb=$((wanted_mb > free_mb ? wanted_mb - free_mb : 0))
    if [ $missing_mb -eq 0 ]; then
        return 0
    fi
    available_mb=$(($(awk '/^MemAvailable:/ {print $2}' /proc/meminfo) / 1024))
    if [ $available_mb -lt $((missing_mb + 2048)) ]; then
        reason="$available_mb MB of memory are free, $((missing_mb + 2048)) are needed"
        return 1
    fi
    if ! locked take $(((missing_mb + 1) / 2)); then
        reason="memory is too fragmented"
        return 1
    fi
    taken=$(((missing_mb + 1) / 2))
}

finish() {
    if [ -n "$record" ] && [ -e "$record" ]; then
        locked return_record "$record"
        echo "hugepages: given back $((taken * 2)) MB"
    fi
}

reason=
trap finish EXIT
# A signal goes to the command as well (same process group); this waits for it, then tidies up.
trap ':' INT TERM HUP
if prepare; then
    echo "hugepages: $wanted_mb MB ($((taken * 2)) MB reserved for this run)"
    export S32_HUGEPAGES_MB=$wanted_mb
else
    echo "hugepages: none ($reason); carrying on without"
    export S32_HUGEPAGES_MB=0
fi
# A background command would otherwise lose the terminal's input and be deaf to Ctrl-C.
env --default-signal=INT --default-signal=QUIT "$@" </dev/stdin &
child=$!
trap 'kill -TERM $child 2>/dev/null' TERM HUP
status=0
wait $child || status=$?
while kill -0 $child 2>/dev/null; do # a signal ended the wait, not the child
    status=0
    wait $child || status=$?
done
exit $status

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The first process of a test guest: loads the drivers, then becomes the agent that runs the host's
# commands. The kernel passes NAME=value of its command line as environment: GUEST_NAME.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs tmp /tmp
while read -r module; do
    insmod "/modules/$module" || echo "insmod $module failed"
done </modules/order
hostname "${GUEST_NAME:-guest}"
export HOME=/tmp PS1="${GUEST_NAME:-guest}# "
ip link set lo up
# A shell on the console for people; the agent has a serial port of its own.
while :; do setsid cttyhack sh; sleep 1; done &
exec s32guest agent /dev/ttyS1

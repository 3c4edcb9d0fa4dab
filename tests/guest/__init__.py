# SPDX-License-Identifier: Apache-2.0
"""Real virtual machines for the tests and the demonstration: QEMU guests on vhost-user.

image.py builds what a guest boots, guest.py runs a guest and commands in it, and tool/ is the static
program that does in a guest what busybox cannot. `python3 -m guest` (in tests/) is a front for people.
Needs /usr/bin/python3 and Debian's QEMU, gcc and apt; nothing is installed on the host.
"""

from .guest import Guest, GuestError, Job, Nic, Result
from .image import Image, ImageError, build_image

__all__ = [
    "Guest", "GuestError", "Image", "ImageError", "Job", "Nic", "Result", "build_image",
]

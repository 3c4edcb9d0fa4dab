# SPDX-License-Identifier: Apache-2.0
"""The kernel and initramfs of a test guest, made of Debian packages and tool/.

The packages are downloaded by apt (which checks their signatures) and unpacked into a cache: nothing
is installed, and root is not needed. Everything made is named by a hash of what it was made from, so a
second call only looks it up. Any number of processes may share a cache; a lock makes them take turns.
"""

from __future__ import annotations

import dataclasses
import fcntl
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Callable, Iterable, Sequence

HERE = Path(__file__).resolve().parent
DEFAULT_CACHE = HERE.parent.parent / "build" / "guest-cache"

KERNEL_METAPACKAGE = "linux-image-cloud-amd64"
BUSYBOX_PACKAGE = "busybox-static"

# What every guest loads, in this order: what a module depends on comes before it. virtio_pci also
# uses the two modules before it through symbols alone, which is why they are named.
BASE_MODULES = (
    "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci",
    "failover", "net_failover", "virtio_net",
)

_FORMAT = 1  # part of every hash: raise it when the code below makes something else of the same input


class ImageError(Exception):
    """The image cannot be built; the message says why."""


@dataclasses.dataclass(frozen=True)
class Image:
    """What QEMU boots. Read-only: any number of guests may use it at once."""

    kernel: Path
    initramfs: Path
    release: str  # of the kernel, as `uname -r` prints it


def build_image(cache: Path | str | None = None, modules: Iterable[str] = (),
                packages: Iterable[str] = (),
                progress: Callable[[str], None] = lambda text: None) -> Image:
    """Returns the image, building it if the cache has none made from the same input.

    modules: kernel modules to load besides BASE_MODULES, by name; those they depend on are added.
    packages: Debian packages to unpack into the guest's root besides busybox. Their dependencies are
    not followed: name them too.
    progress: called with one line before each step that takes time.
    """
    cache = Path(cache or DEFAULT_CACHE)
    cache.mkdir(parents=True, exist_ok=True)
    with open(cache / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _build(cache, tuple(modules), tuple(packages), progress)


def _build(cache: Path, modules: tuple[str, ...], packages: tuple[str, ...],
           progress: Callable[[str], None]) -> Image:
    kernel_root = _unpacked(cache, KERNEL_METAPACKAGE, progress)
    kernels = sorted((kernel_root / "boot").glob("vmlinuz-*"))
    if len(kernels) != 1:
        raise ImageError(f"{kernel_root}/boot does not hold exactly one kernel")
    release = kernels[0].name.removeprefix("vmlinuz-")
    roots = [_unpacked(cache, name, progress) for name in (BUSYBOX_PACKAGE, *packages)]

    sources = sorted((HERE / "tool").glob("*.[ch]"))
    init = (HERE / "init.sh").read_bytes()
    key = hashlib.sha256()
    for part in (str(_FORMAT), kernel_root.name, *(root.name for root in roots), *modules):
        key.update(part.encode() + b"\0")
    for part in (init, *(source.read_bytes() for source in sources)):
        key.update(hashlib.sha256(part).digest())
    initramfs = cache / f"initramfs-{key.hexdigest()[:16]}"
    if not initramfs.exists():
        progress(f"building the guest's initramfs ({release})")
        archive = _Archive()
        for path in ("bin", "dev", "etc", "modules", "proc", "root", "sys", "tmp", "var"):
            archive.directory(path)
        for root in roots[1:]:
            archive.tree(root)
        busybox = roots[0] / "bin" / "busybox"
        archive.file("bin/busybox", busybox.read_bytes(), 0o755)
        for applet in _run([str(busybox), "--list"]).split():
            if applet != "busybox" and not archive.has(f"bin/{applet}"):
                archive.link(f"bin/{applet}", "busybox")
        archive.file("bin/s32guest", _compile(cache, sources), 0o755)
        archive.file("init", init, 0o755)
        archive.device("dev/console", 5, 1)
        order = _module_files(kernel_root / "lib" / "modules" / release, (*BASE_MODULES, *modules))
        for path in order:
            archive.file(f"modules/{path.name}", path.read_bytes(), 0o644)
        archive.file("modules/order", "".join(f"{path.name}\n" for path in order).encode(), 0o644)
        _write(initramfs, archive.finish())
    return Image(kernels[0], initramfs, release)


def with_programs(image: Image, directory: Path, programs: Sequence[Path],
                  plugins: Sequence[Path] = ()) -> Image:
    """The image with programs of this machine in /bin, and the shared libraries they need where they
    are here. plugins: libraries that a program loads by itself, with what those need.

    Made anew in `directory`: programs under test change more often than a cache should hold.
    """
    archive = _Archive()
    libraries = {Path(found) for path in (*programs, *plugins)
                 for found in re.findall(r"(/\S+) \(0x", _run(["ldd", str(path)]))}
    for path in sorted({*plugins, *libraries}):
        archive.path(path)
    for program in programs:
        archive.file(f"bin/{program.name}", program.read_bytes(), 0o755)
    whole = directory / "initramfs"
    # The kernel unpacks one archive after the other.
    _write(whole, image.initramfs.read_bytes() + archive.finish())
    return dataclasses.replace(image, initramfs=whole)


def _run(argv: list[str], cwd: Path | None = None) -> str:
    try:
        done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False,
                              stdin=subprocess.DEVNULL, env={**os.environ, "LC_ALL": "C"})
    except OSError as error:
        raise ImageError(f"cannot run {argv[0]}: {error.strerror}") from error
    if done.returncode != 0:
        raise ImageError(f"{' '.join(argv)} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def _write(path: Path, data: bytes) -> None:
    """Writes a file so that it is there whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(data)
    partial.rename(path)


def _unpacked(cache: Path, package: str, progress: Callable[[str], None]) -> Path:
    """The folder that holds the content of a package, downloaded if the cache has it not.

    A cached package is used as it is: remove the cache to follow Debian's updates.
    """
    record = cache / f"{package}.json"
    try:
        root = cache / json.loads(record.read_text(encoding="utf-8"))["folder"]
        if root.is_dir():
            return root
    except (OSError, ValueError, KeyError):
        pass
    concrete = package
    if package == KERNEL_METAPACKAGE:
        match = re.search(r"Depends: (linux-image-\S+)", _run(["apt-cache", "depends", package]))
        if match is None:
            raise ImageError(f"apt knows no kernel for {package}: run apt-get update")
        concrete = match.group(1)
    download = cache / "download"
    shutil.rmtree(download, ignore_errors=True)
    download.mkdir()
    progress(f"downloading {concrete} (unpacked into {cache}, not installed)")
    # apt cannot change to its own user in a folder that only we may read; that is a warning, not an
    # error, and saying so beforehand keeps it quiet.
    _run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", concrete], cwd=download)
    (deb,) = download.glob("*.deb")
    folder = deb.name.removesuffix(".deb").replace("%3a", "-")
    root = cache / folder
    partial = download / "root"
    progress(f"unpacking {deb.name}")
    _run(["dpkg", "-x", str(deb), str(partial)])
    shutil.rmtree(root, ignore_errors=True)
    partial.rename(root)
    shutil.rmtree(download)
    _write(record, json.dumps({"folder": folder}).encode())
    return root


def _compile(cache: Path, sources: list[Path]) -> bytes:
    output = cache / "s32guest"
    _run(["gcc", "-std=gnu17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-static", "-s",
          "-o", str(output), *(str(source) for source in sources if source.suffix == ".c")])
    return output.read_bytes()


def _module_files(tree: Path, names: Iterable[str]) -> list[Path]:
    """The files of the named modules and of those they depend on, in an order to load them.

    Debian's package has no modules.dep (it is made at installation), but each module names the
    modules it depends on in its .modinfo section.
    """
    files = {path.stem.replace("-", "_"): path for path in tree.rglob("*.ko")}
    builtin = {Path(line).stem.replace("-", "_")
               for line in (tree / "modules.builtin").read_text(encoding="ascii").splitlines()}
    order: list[Path] = []

    def add(name: str) -> None:
        name = name.replace("-", "_")
        if name in builtin:
            return
        if name not in files:
            raise ImageError(f"the kernel in {tree} has no module {name}")
        if files[name] in order:
            return
        match = re.search(rb"\0depends=([^\0]*)\0", files[name].read_bytes())
        for dependency in match.group(1).decode().split(",") if match else ():
            if dependency:
                add(dependency)
        order.append(files[name])

    for name in names:
        add(name)
    return order


class _Archive:
    """A cpio archive in the one format that the kernel unpacks (newc), not compressed: a guest
    without KVM would spend longer on unpacking it than the host saves."""

    def __init__(self) -> None:
        self._data = bytearray()
        self._names: set[str] = set()

    def has(self, name: str) -> bool:
        return name in self._names

    def _add(self, name: str, mode: int, data: bytes = b"", major: int = 0, minor: int = 0) -> None:
        if name in self._names:
            return
        self._names.add(name)
        encoded = name.encode() + b"\0"
        fields = (len(self._names), mode, 0, 0, 1, 0, len(data), 0, 0, major, minor,
                  len(encoded), 0)
        self._data += b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
        self._data += bytes(-len(self._data) % 4) + data
        self._data += bytes(-len(self._data) % 4)

    def directory(self, name: str) -> None:
        self._add(name, stat.S_IFDIR | 0o755)

    def file(self, name: str, data: bytes, mode: int) -> None:
        self._add(name, stat.S_IFREG | mode, data)

    def link(self, name: str, target: str) -> None:
        self._add(name, stat.S_IFLNK | 0o777, target.encode())

    def device(self, name: str, major: int, minor: int) -> None:
        self._add(name, stat.S_IFCHR | 0o600, b"", major, minor)

    def path(self, path: Path) -> None:
        """Adds a file of this machine where it is here, with what it links to: of two copies of a
        library a program would load both."""
        for parent in reversed(path.parents[:-1]):
            if parent.is_symlink():
                self.path(parent)
                return self.path(parent.resolve() / path.relative_to(parent))
            self.directory(str(parent)[1:])
        if path.is_symlink():
            self.link(str(path)[1:], os.readlink(path))
            return self.path(Path(os.path.normpath(path.parent / os.readlink(path))))
        if path.is_dir():
            return self.directory(str(path)[1:])
        return self.file(str(path)[1:], path.read_bytes(), stat.S_IMODE(path.stat().st_mode))

    def tree(self, root: Path) -> None:
        """Adds what a package holds, apart from documentation, with bin and sbin merged."""
        for path in sorted(root.rglob("*")):
            name = str(path.relative_to(root))
            if name.startswith(("usr/share/doc", "usr/share/man", "usr/share/locale")):
                continue
            name = re.sub(r"^(usr/)?s?bin(?=/|$)", "bin", name)
            if path.is_symlink():
                self.link(name, os.readlink(path))
            elif path.is_dir():
                self.directory(name)
            elif path.is_file():
                self.file(name, path.read_bytes(), stat.S_IMODE(path.stat().st_mode))

    def finish(self) -> bytes:
        self._add("TRAILER!!!", 0)
        return bytes(self._data)


if __name__ == "__main__":
    print(build_image(progress=lambda text: print(text, file=sys.stderr)))

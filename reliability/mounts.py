"""File systems of a child's own: small disks, and folders that cannot be written, also by root."""

import ctypes
import os
from pathlib import Path

NEW_NAMESPACES = 0x00020000 | 0x10000000  # CLONE_NEWNS | CLONE_NEWUSER of sched.h
READ_ONLY, REMOUNT, BIND, RECURSIVE, PRIVATE = 1, 32, 4096, 16384, 1 << 18  # MS_* of sys/mount.h
LIBC = ctypes.CDLL(None, use_errno=True)


def own_mounts() -> None:
    """Give this process, which must have one thread, mounts that nobody else sees and that end with it.

    Raises OSError where the system does not let its users have them.
    """
    user, group = os.getuid(), os.getgid()
    _checked(LIBC.unshare(NEW_NAMESPACES))
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    _mount("none", Path("/"), None, RECURSIVE | PRIVATE)


def small_disk(path: Path, size: int) -> None:
    """Mount an empty disk of some bytes, in memory, on a folder that is made."""
    path.mkdir(parents=True)
    _mount("tmpfs", path, "tmpfs", 0, f"size={size}")


def read_only(path: Path) -> None:
    """Make a folder and all in it read-only."""
    _mount(str(path), path, None, BIND)
    _mount("none", path, None, BIND | REMOUNT | READ_ONLY)


def _mount(source: str, target: Path, kind: str | None, flags: int, options: str = "") -> None:
    words = (source.encode(), os.fsencode(target), kind and kind.encode())
    _checked(LIBC.mount(*words, ctypes.c_ulong(flags), options.encode()))


def _checked(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), f"{os.strerror(ctypes.get_errno())} (own mounts)")

"""Run a command so that it cannot outlive the process that wants it: launch.py PARENT NETNS COMMAND ARGUMENT...

A script that is run by its path, with nothing but the standard library: it does what has to be done in the new
process, and then becomes the command. The kernel kills the command as soon as the thread that started it is gone, even
where its process was killed. NETNS is the file of the network namespace to run in, "new" for one of its own where the
system lets us have one, or empty for none.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

__all__ = ["die_with", "enter", "main"]

PR_SET_PDEATHSIG = 1
CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWNET = 0x00020000, 0x10000000, 0x40000000
MS_SLAVE, MS_REC, MNT_DETACH = 0x80000, 0x4000, 2


def main(parent: int, netns: str, command: list[str]) -> None:
    """Become the command. Exits with what went wrong, in one line, where that cannot be done."""
    enter(netns)
    die_with(parent)  # after the namespaces: a change of rights takes this back
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


def enter(netns: str) -> None:
    """Enter a network namespace, as NETNS above. Exits with what went wrong."""
    libc = ctypes.CDLL(None, use_errno=True)
    if netns == "new":
        # Without root, a user namespace around it gives the right to make one.
        _ = libc.unshare(CLONE_NEWNET) and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)
    elif netns:
        try:
            place = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            sys.exit(f"no network namespace at {netns}: {error.strerror}")
        if libc.setns(place, CLONE_NEWNET):
            sys.exit(f"cannot enter the network namespace at {netns}: {os.strerror(ctypes.get_errno())}")
        # What /sys/class/net shows are the interfaces of whoever mounted it.
        if not libc.unshare(CLONE_NEWNS) and not libc.mount(None, b"/", None, MS_SLAVE | MS_REC, None):
            _ = libc.umount2(b"/sys", MNT_DETACH) or libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None)


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it is gone. Exits where it is gone already."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the process that wanted this has gone")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])

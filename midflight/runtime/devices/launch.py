"""Run a command that cannot outlive the process that started it: launch.py PARENT NETNS COMMAND ARGUMENT...

This script runs by its path and uses only the standard library. It prepares the new process and then executes the
command in it. The kernel kills the command when the thread that started it ends, even if its process was killed. NETNS
is the file of the network namespace to run in, "new" for a new one if the system permits it, or empty for the current
one.
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
    """Enter the network namespace, and replace this process by the command, which the kernel kills when process
    `parent` ends.

    `netns` is as NETNS in the module's docstring. Does not return; exits with a one-line message if something fails.
    """
    enter(netns)
    die_with(parent)  # after the namespaces, because a change of credentials resets it
    try:
        os.execv(command[0], command)
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


def enter(netns: str) -> None:
    """Move this process to a network namespace. Exits with a one-line message if that fails.

    `netns` is the file of the namespace, "new" for a new one if the system permits it, or empty for the current one.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if netns == "new":
        # Without root, a new user namespace gives the necessary capability.
        _ = libc.unshare(CLONE_NEWNET) and libc.unshare(CLONE_NEWUSER | CLONE_NEWNET)
    elif netns:
        try:
            place = os.open(netns, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            sys.exit(f"no network namespace at {netns}: {error.strerror}")
        if libc.setns(place, CLONE_NEWNET):
            sys.exit(f"cannot enter the network namespace at {netns}: {os.strerror(ctypes.get_errno())}")
        # /sys/class/net shows the interfaces of the namespace in which it was mounted.
        if not libc.unshare(CLONE_NEWNS) and not libc.mount(None, b"/", None, MS_SLAVE | MS_REC, None):
            _ = libc.umount2(b"/sys", MNT_DETACH) or libc.mount(b"sysfs", b"/sys", b"sysfs", 0, None)


def die_with(parent: int) -> None:
    """Let the kernel kill this process when the thread that started it ends.

    `parent` is the id of that thread's process. Exits with a message if it has ended already.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0):
        sys.exit(f"prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the process that wanted this has gone")


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])

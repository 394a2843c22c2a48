"""Confinement of a process that runs untrusted Python: Landlock for files, seccomp for system calls.

Both are features of Linux that need no privileges (kernel documentation, userspace-api/landlock and seccomp_filter).
They cannot be removed again by the process.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["confine", "readable_without"]

_NO_NEW_PRIVS, _SECCOMP = 38, 22
_CREATE, _ADD, _RESTRICT = 444, 445, 446  # the same on all architectures
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
# Rights on files by Landlock's version (ABI) from which they exist.
_RIGHTS = ((1, (1 << 13) - 1), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
_NETWORK = 0b11  # binding and connecting TCP sockets, from ABI 4
_SCOPED = 0b11  # abstract Unix sockets and signals of other processes, from ABI 6

# System calls that a student's program does not need, by architecture: other processes, sockets, and the kernel's rarer
# parts. `clone` is refused unless it makes a thread, and `clone3` does not exist, so that glibc uses `clone`.
_REFUSED = {
    "x86_64": {
        "kill": 62, "tkill": 200, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "pidfd_open": 434,
        "pidfd_send_signal": 424, "pidfd_getfd": 438, "socket": 41, "socketpair": 53, "connect": 42, "fork": 57,
        "vfork": 58, "execve": 59, "execveat": 322, "unshare": 272, "setns": 308, "mount": 165, "bpf": 321,
        "perf_event_open": 298, "io_uring_setup": 425, "keyctl": 250, "add_key": 248, "request_key": 249, "shmget": 29,
        "shmat": 30, "msgget": 68, "semget": 64, "mq_open": 240, "userfaultfd": 323, "prlimit64": 302, "setrlimit": 160,
        "setpriority": 141, "sched_setaffinity": 203,
    },
    "aarch64": {
        "kill": 129, "tkill": 130, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "pidfd_open": 434,
        "pidfd_send_signal": 424, "pidfd_getfd": 438, "socket": 198, "socketpair": 199, "connect": 203, "execve": 221,
        "execveat": 281, "unshare": 97, "setns": 268, "mount": 40, "bpf": 280, "perf_event_open": 241,
        "io_uring_setup": 425, "keyctl": 219, "add_key": 217, "request_key": 218, "shmget": 194, "shmat": 196,
        "msgget": 186, "semget": 190, "mq_open": 180, "userfaultfd": 282, "prlimit64": 261, "setrlimit": 164,
        "setpriority": 140, "sched_setaffinity": 122,
    },
}  # fmt: skip
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_CLONE_THREAD = 0x00010000
_ALLOW, _ERRNO, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_X32 = 0x40000000


def readable_without(roots: Sequence[Path], hidden: Sequence[Path]) -> list[Path]:
    """Return files and folders that cover everything below `roots`, except what is below `hidden`."""
    banned = [each.resolve() for each in hidden]

    def covering(path: Path) -> Iterator[Path]:
        if path in banned or any(each in path.parents for each in banned):
            return
        if not any(path in each.parents for each in banned):
            yield path
            return
        for each in sorted(path.iterdir()):
            if not each.is_symlink():
                yield from covering(each)

    return [found for root in roots if root.exists() for found in covering(root.resolve())]


def confine(readable: Sequence[Path]) -> list[str]:
    """Confine this process, and return what was applied: "landlock", "seccomp", both or neither.

    With both, it can open only files below `readable`, and only to read; it cannot start processes, send signals, trace
    or read other processes, or open sockets. What the kernel does not support is left out, without an error: check the
    result.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        return []
    applied = []
    if _landlock(libc, readable):
        applied.append("landlock")
    if _seccomp(libc):
        applied.append("seccomp")
    return applied


def _landlock(libc: ctypes.CDLL, readable: Sequence[Path]) -> bool:
    version = libc.syscall(_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return False
    files = 0
    for since, rights in _RIGHTS:
        files |= rights if version >= since else 0
    attributes = struct.pack("=QQQ", files, _NETWORK if version >= 4 else 0, _SCOPED if version >= 6 else 0)
    attributes = attributes[: 8 if version < 4 else 16 if version < 6 else 24]
    rules = libc.syscall(_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    if rules < 0:
        return False
    try:
        for path in readable:
            parent = os.open(path, os.O_PATH | os.O_CLOEXEC)
            try:
                allowed = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
                if libc.syscall(_ADD, rules, 1, struct.pack("=Qi", allowed, parent), 0):
                    return False
            finally:
                os.close(parent)
        return not libc.syscall(_RESTRICT, rules, 0)
    finally:
        os.close(rules)


def _seccomp(libc: ctypes.CDLL) -> bool:
    machine = platform.machine()
    if machine not in _AUDIT:
        return False
    refused = [*_REFUSED[machine].values()]

    def load(offset: int) -> bytes:
        return struct.pack("=HBBI", 0x20, 0, 0, offset)

    def jump(kind: int, value: int, then: int, otherwise: int) -> bytes:
        return struct.pack("=HBBI", kind, then, otherwise, value)

    def give(value: int) -> bytes:
        return struct.pack("=HBBI", 0x06, 0, 0, value)

    equal, at_least, has_bits = 0x15, 0x35, 0x45
    code = [load(4), jump(equal, _AUDIT[machine], 1, 0), give(_KILL), load(0)]
    if machine == "x86_64":
        code += [jump(at_least, _X32, 0, 1), give(_KILL)]  # the same calls, in the x32 ABI
    for number in refused:
        code += [jump(equal, number, 0, 1), give(_ERRNO | 1)]  # EPERM
    code += [jump(equal, _CLONE3, 0, 1), give(_ERRNO | 38)]  # ENOSYS
    code += [jump(equal, _CLONE[machine], 0, 3), load(16), jump(has_bits, _CLONE_THREAD, 1, 0), give(_ERRNO | 1)]
    code.append(give(_ALLOW))
    text = ctypes.create_string_buffer(b"".join(code))

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_void_p))

    program = Filter(len(code), ctypes.addressof(text))
    return not libc.prctl(_SECCOMP, 2, ctypes.byref(program), 0, 0)

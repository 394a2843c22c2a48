"""The system call bpf(2): maps, programs, test runs and XDP links (see include/uapi/linux/bpf.h)."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from dataclasses import dataclass

from midflight.errors import DeviceError, Place, UnsupportedError

__all__ = [
    "ARENA", "DEVMAP", "MMAPABLE", "MOST_PROCESSORS", "RINGBUF", "Ran", "VerifierError", "attach", "create_map", "load",
    "possible_processors", "replace", "run", "send_frames", "unavailable", "update",
]  # fmt: skip

DEVMAP, RINGBUF, ARENA = 14, 27, 33
"""Types of maps: redirection to interfaces, messages to user space, and memory shared with user space."""

MMAPABLE = 1 << 10

MOST_PROCESSORS = 256
"""The maximum number of processors of the machine, a power of two: programs take the processor's number modulo it."""

_MAP_CREATE, _MAP_UPDATE, _PROG_LOAD, _TEST_RUN, _LINK_CREATE, _LINK_UPDATE = 0, 2, 5, 10, 28, 29
_PROG_TYPE_XDP, _ATTACH_XDP = 6, 37
_FLAGS = {"": 0, "generic": 2, "native": 4}
_NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280}
_LIVE_FRAMES = 2
_SIZE = 160
_LOG = 1 << 24
_QUOTED = 6
_TOTALS = ("processed ", "verification time", "stack depth")


class VerifierError(UnsupportedError):
    """The kernel's verifier rejected a program. `log` is its complete log, in lines."""

    def __init__(self, reason: str, log: list[str], place: Place | None = None) -> None:
        self.reason = reason
        self.log = log
        said = [each for each in log if each and not each.startswith(_TOTALS)]
        super().__init__(
            f"the kernel rejects the program ({reason}): {said[-1] if said else 'no reason given'}",
            place=place,
            hint="\n    ".join(["the end of the verifier's log:", *said[-_QUOTED:]]) if said else "",
        )


@dataclass(frozen=True, slots=True)
class Ran:
    """The result of a test run: the program's return value, the packet afterwards, and nanoseconds per repetition."""

    value: int
    packet: bytes
    nanoseconds: int


def create_map(kind: int, name: str, *, key: int = 0, value: int = 0, entries: int, flags: int = 0) -> int:
    """Create a BPF map and return its file descriptor, which the caller closes.

    kind: the number of its type, such as ARENA
    name: cut to 15 bytes; used in messages, and shown by the kernel's tools
    key, value: the sizes of a key and a value in bytes
    entries: the maximum number of entries; of an arena pages, of a ring buffer bytes

    DeviceError if the kernel refuses.
    """
    shown = name.encode()[:15]
    return _call(
        _MAP_CREATE,
        struct.pack("=IIIIIII16s", kind, key, value, entries, flags, 0, 0, shown),
        f"create the map {name}",
    )


def update(map_: int, key: bytes, value: bytes) -> None:
    """Set the value of a key in a map. DeviceError if the kernel refuses."""
    keys, values = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
    _call(
        _MAP_UPDATE,
        struct.pack("=I4xQQQ", map_, ctypes.addressof(keys), ctypes.addressof(values), 0),
        "change a map",
    )


def load(code: bytes, name: str) -> int:
    """Load an XDP program, given its instructions as bytes, and return its file descriptor.

    DeviceError without the permission to load programs; VerifierError with the verifier's log if the kernel rejects the
    program for any other reason.
    """
    instructions = ctypes.create_string_buffer(code, len(code))
    licence = ctypes.create_string_buffer(b"GPL")

    def attributes(level: int, size: int, log: int) -> bytes:
        return struct.pack(
            "=IIQQIIQII16sII",
            _PROG_TYPE_XDP,
            len(code) // 8,
            ctypes.addressof(instructions),
            ctypes.addressof(licence),
            level,
            size,
            log,
            0,
            0,
            name.encode()[:15],
            0,
            _ATTACH_XDP,
        )

    try:
        return _call(_PROG_LOAD, attributes(0, 0, 0), "load a program")
    except DeviceError as error:
        if _errno(error) == errno.EPERM:
            raise
    # Once more, with the log, which makes loading slow.
    log = ctypes.create_string_buffer(_LOG)
    try:
        return _call(_PROG_LOAD, attributes(1, _LOG, ctypes.addressof(log)), "load a program")
    except DeviceError as error:
        raise VerifierError(os.strerror(_errno(error)), log.value.decode(errors="replace").splitlines()) from None


def run(program: int, packet: bytes, *, repeat: int = 1, room: int = 4096) -> Ran:
    """Run a program on a packet of at least 14 bytes that seems to come from interface 1, and return the result.

    `repeat` is how often it runs, each time on the given packet, and `room` the size in bytes that the packet may have
    afterwards. Redirections have no effect. DeviceError if the kernel refuses the packet.
    """
    given = ctypes.create_string_buffer(packet, len(packet))
    taken = ctypes.create_string_buffer(room)
    attributes = ctypes.create_string_buffer(
        struct.pack(
            "=IIIIQQII",
            program,
            0,
            len(packet),
            room,
            ctypes.addressof(given),
            ctypes.addressof(taken),
            repeat,
            0,
        ),
        _SIZE,
    )
    _call(_TEST_RUN, attributes, "run a program")
    value, size = struct.unpack_from("=4xI4xI", attributes.raw)
    (nanoseconds,) = struct.unpack_from("=36xI", attributes.raw)
    return Ran(value, taken.raw[:size], nanoseconds)


def send_frames(program: int, packet: bytes, count: int) -> None:
    """Run a program on `count` new frames with a packet of at least 14 bytes, and do what it returns for each.

    The frames do not come from an interface. The program may redirect them, unlike in `run`. Blocks until all are
    sent. DeviceError if the kernel refuses.
    """
    given = ctypes.create_string_buffer(packet, len(packet))
    attributes = struct.pack(
        "=IIIIQQIIIIQQI", program, 0, len(packet), 0, ctypes.addressof(given), 0, count, 0, 0, 0, 0, 0, _LIVE_FRAMES
    )
    _call(_TEST_RUN, attributes, "send packets")


def attach(program: int, interface: int, mode: str = "") -> int:
    """Attach an XDP program to an interface, by its index, and return the link's file descriptor.

    Closing the link, or the end of this process, detaches the program. `mode` is `native`, `generic`, or empty for the
    kernel's choice. DeviceError for another mode, or if the interface already has a program, does not support the mode,
    or does not exist.
    """
    if mode not in _FLAGS:
        raise DeviceError(f"{mode!r} is not a mode of XDP", hint="the modes are native and generic")
    return _call(
        _LINK_CREATE,
        struct.pack("=IIII", program, interface, _ATTACH_XDP, _FLAGS[mode]),
        f"attach a program to interface {interface}",
    )


def replace(link: int, program: int) -> None:
    """Replace the program of a link atomically. DeviceError if the kernel refuses."""
    _call(_LINK_UPDATE, struct.pack("=IIII", link, program, 0, 0), "replace a program")


def possible_processors() -> int:
    """Return one more than the largest number that a processor of this machine may have."""
    with open("/sys/devices/system/cpu/possible") as file:  # noqa: PTH123 - not a user's file
        return int(file.read().strip().replace(",", "-").split("-")[-1]) + 1


def unavailable() -> str:
    """Return the reason why XDP programs cannot be loaded here, or an empty string if they can. It tries to create a
    map.
    """
    if (number := possible_processors()) > MOST_PROCESSORS:
        return f"XDP devices support {MOST_PROCESSORS} processors, and this machine may have {number}"
    if platform.machine() not in _NUMBERS or os.uname().sysname != "Linux":
        return "XDP needs Linux on x86-64, arm64 or riscv64"
    try:
        os.close(create_map(ARENA, "probe", entries=1, flags=MMAPABLE))
    except DeviceError as error:
        return str(error)
    return ""


class _CallError(DeviceError):
    def __init__(self, number: int, what: str) -> None:
        hints = {
            errno.EPERM: "run it with sudo, or give it the capabilities CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN",
            errno.EINVAL: "XDP devices need Linux 6.10 or later",
        }
        super().__init__(f"cannot {what}: {os.strerror(number)}", hint=hints.get(number, ""))
        self.number = number


def _errno(error: DeviceError) -> int:
    return error.number if isinstance(error, _CallError) else 0


def _call(command: int, attributes: bytes | ctypes.Array[ctypes.c_char], what: str) -> int:
    number = _NUMBERS.get(platform.machine())
    if number is None:
        raise DeviceError(f"cannot {what}: no bpf() for {platform.machine()} is known")
    buffer = ctypes.create_string_buffer(attributes, _SIZE) if isinstance(attributes, bytes) else attributes
    libc = ctypes.CDLL(None, use_errno=True)
    result: int = libc.syscall(number, command, ctypes.byref(buffer), _SIZE)
    if result < 0:
        raise _CallError(ctypes.get_errno(), what)
    return result

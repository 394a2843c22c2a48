"""Packet captures in libpcap's file format (draft-ietf-opsawg-pcap), of Ethernet frames."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, NamedTuple

from midflight.errors import DeviceError
from midflight.userfiles import HINTS

__all__ = ["HEADER", "Captured", "PcapReader", "PcapWriter", "record"]

MICROSECONDS, NANOSECONDS = 0xA1B2C3D4, 0xA1B23C4D
PCAPNG = 0x0A0D0D0A
ETHERNET = 1
LONGEST = 1 << 18

HEADER = struct.pack("<IHHiIII", NANOSECONDS, 2, 4, 0, 0, LONGEST, ETHERNET)
"""The header of a little-endian file with times in nanoseconds."""


def record(time: int, data: bytes) -> bytes:
    """Return a packet as a record of a file with `HEADER`. `time` is in nanoseconds since 1970."""
    seconds, nanoseconds = divmod(time, 10**9)
    return struct.pack("<IIII", seconds & 0xFFFFFFFF, nanoseconds, len(data), len(data)) + data


class Captured(NamedTuple):
    """A packet of a capture: the `time` in nanoseconds since 1970, its bytes (`data`), and whether all of its bytes
    were captured (`whole`).
    """

    time: int
    data: bytes
    whole: bool


class PcapReader:
    """Iterates once over the packets of a capture file, in file order. From a pipe they are read as they are written.

    DeviceError if the file cannot be read, is not a pcap file of Ethernet frames, or ends within a packet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file: BinaryIO = path.open("rb")
        except OSError as error:
            raise _failed(path, error) from None
        try:
            self._order, self._scale = self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __iter__(self) -> Iterator[Captured]:
        with self._file:
            number = 0
            while head := self._file.read(16):
                number += 1
                what = f"packet {number}"
                seconds, fraction, kept, length = struct.unpack(f"{self._order}IIII", self._whole(head, 16, what))
                if kept > LONGEST:
                    raise DeviceError(f"{self.path}: {what} has a length of {kept} bytes: the file is damaged")
                data = self._whole(self._file.read(kept), kept, what)
                yield Captured(seconds * 10**9 + fraction * self._scale, data, kept == length)

    def close(self) -> None:
        """Close the file. May be called more than once; the end of an iteration closes it too."""
        self._file.close()

    def _read_header(self) -> tuple[str, int]:
        """Return the byte order, and the unit of fractions of a second in nanoseconds."""
        head = self._file.read(24)
        for order in "<>":
            if len(head) >= 4 and struct.unpack_from(f"{order}I", head)[0] in (MICROSECONDS, NANOSECONDS):
                break
        else:
            if head[:4] == struct.pack("<I", PCAPNG):
                raise DeviceError(f"{self.path}: pcapng is not supported", hint="convert it: editcap -F pcap IN OUT")
            raise DeviceError(f"{self.path}: not a pcap file")
        magic, link = struct.unpack(f"{order}I16xI", self._whole(head, 24, "the header"))
        if link & 0xFFFF != ETHERNET:
            raise DeviceError(f"{self.path}: contains packets of link type {link & 0xFFFF}, not Ethernet")
        return order, 1000 if magic == MICROSECONDS else 1

    def _whole(self, data: bytes, length: int, what: str) -> bytes:
        if len(data) < length:
            raise DeviceError(f"{self.path}: ends within {what}")
        return data


class PcapWriter:
    """Writes a capture file, replacing an existing one. DeviceError if it cannot be written. A context manager.

    The data goes to the file `to`, by default `path`, which errors name.
    """

    def __init__(self, path: Path, to: Path | None = None) -> None:
        self.path = path
        try:
            self._file: BinaryIO = (to or path).open("wb")
            self._file.write(HEADER)
        except OSError as error:
            raise _failed(path, error) from None

    def write(self, time: int, data: bytes) -> None:
        """Add a packet. `time` is in nanoseconds since 1970. DeviceError if it cannot be written."""
        try:
            self._file.write(record(time, data))
        except OSError as error:
            raise _failed(self.path, error) from None

    def close(self) -> None:
        """Write the remaining data and close the file. May be called more than once. DeviceError if that fails."""
        try:
            self._file.close()
        except OSError as error:
            raise _failed(self.path, error) from None

    def __enter__(self) -> PcapWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _failed(path: Path, error: OSError) -> DeviceError:
    return DeviceError(f"{path}: {error.strerror}", hint=HINTS.get(error.errno or 0, ""))

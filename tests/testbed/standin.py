"""A switch in plain Python, to test the network and the endpoints without compiler and engine.

It implements the wire format and shares no code with the tested modules, not even the encoders.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from midflight.testbed.sim.switch import Departures, Frames


def ones_complement(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


@dataclass
class Entry:
    sequence: int = 0
    seen: set[int] = field(default_factory=set)
    totals: list[int] = field(default_factory=list)


@dataclass
class StandIn:
    """Sums for hosts 10.0.0.1 to 10.0.0.`workers` on ports 1 to `workers`; forwards by the address's last byte."""

    workers: int
    slots: int
    lanes: int
    offload: bool = True
    contributions: int = 0
    entries: dict[int, Entry] = field(default_factory=dict)

    def process(self, frames: Frames, now: int) -> Departures:
        out: list[tuple[int, bytes]] = []
        for port, frame in frames:
            out += self.one(port, frame)
        return [(None, out)]

    def advance(self, now: int) -> Departures:
        raise AssertionError("no frame waits")

    @property
    def due(self) -> None:
        return None

    def one(self, port: int, frame: bytes) -> list[tuple[int, bytes]]:
        assert ones_complement(frame[14:34]) == 0, "IPv4 header checksum"
        if not (self.offload and frame[36:38] == struct.pack("!H", 19782) and frame[43] == 1):
            return [(frame[33], frame)]
        body = frame[42:]
        sequence, slot, worker = struct.unpack_from("!I8xHB", body, 4)
        values = struct.unpack_from(f"!{self.lanes}i", body, 24)
        answer = self.aggregate(slot, sequence, worker, values)
        if answer is None:
            return []
        complete, totals = answer
        result = (
            body[:1]
            + b"\2"
            + body[2:19]
            + bytes([body[19] & 2])
            + body[20:24]
            + struct.pack(f"!{self.lanes}i", *totals)
        )
        ports = [port] if not complete else list(range(1, self.workers + 1))
        sender = struct.unpack_from("!H", frame, 34)[0]
        return [(each, self.wrap(each, sender, result)) for each in ports]

    def aggregate(
        self, slot: int, sequence: int, worker: int, values: tuple[int, ...]
    ) -> tuple[bool, list[int]] | None:
        """Return (whether the sum was just completed, totals), or None for no answer."""
        assert slot < 2 * self.slots
        entry = self.entries.setdefault(slot, Entry())
        age = (sequence - entry.sequence) & 0xFFFFFFFF
        if age >= 1 << 31:
            return None
        if age:
            assert not entry.seen or len(entry.seen) == self.workers, "an entry was reused before it was complete"
            entry.sequence, entry.seen, entry.totals = sequence, set(), [0] * self.lanes
        before = len(entry.seen)
        if worker not in entry.seen:
            self.contributions += 1
            entry.seen.add(worker)
            entry.totals = [total + value for total, value in zip(entry.totals, values, strict=True)]
        if len(entry.seen) < self.workers:
            return None
        assert all(-(2**31) <= total < 2**31 for total in entry.totals), "overflow"
        return before < self.workers, entry.totals

    def wrap(self, host: int, port: int, body: bytes) -> bytes:
        header = struct.pack("!BBHHHBBHII", 0x45, 0, 28 + len(body), 0, 0, 63, 17, 0, 0x0A0000FE, 0x0A000000 + host)
        header = header[:10] + struct.pack("!H", ones_complement(header)) + header[12:]
        ethernet = (0x020000000000 + host).to_bytes(6, "big") + bytes.fromhex("02000000fffe0800")
        return ethernet + header + struct.pack("!HHHH", 19782, port, 8 + len(body), 0) + body

"""A program on the packets of captures, once: packets and state out, without ports or controllers."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from midflight.runtime.engine import Packets, Trace
from midflight.runtime.engine.ports.pcap import PcapReader
from midflight.runtime.engine.records import Digest
from midflight.runtime.p4runtime.schema import Schema
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.values import flat_names

__all__ = ["DigestOut", "Message", "Played", "Sent", "play_captures"]


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet that left the switch through the port of this number."""

    port: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """A packet-in: a packet that the program sent to the controller, with the fields of its packet-in header
    by name.
    """

    metadata: Mapping[str, int]
    payload: bytes


@dataclass(frozen=True, slots=True)
class DigestOut:
    """A digest: its name in P4Info, and its values by field."""

    name: str
    values: Mapping[str, int]


@dataclass(slots=True)
class Played:
    """A packet that arrived at the switch, and its results: packets sent, packet-ins, digests, traces and log messages.

    `number` counts packets from 1. `time` is in nanoseconds, as in the capture. `port` is the port that it arrived by.
    """

    number: int
    time: int
    port: int
    data: bytes
    sent: list[Sent] = field(default_factory=list)
    packet_ins: list[Message] = field(default_factory=list)
    digests: list[DigestOut] = field(default_factory=list)
    traces: list[Trace] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


def play_captures(switch: Switch, captures: Sequence[tuple[int, Path]], *, trace: bool = False) -> Iterator[Played]:
    """Yield the packets of captures, each given as (port, path), after the switch has processed them.

    trace: whether to record `traces`; Refusal, a DeviceError, if the program runs as an XDP program

    Packets are processed one at a time, in order of time. The program's clock begins with the first one. Packets that
    the capture holds only in part are left out. The iterator raises DeviceError if a capture cannot be read; packets
    before the error have been processed.
    """
    pipeline = switch.pipeline
    assert pipeline is not None, "the switch has no pipeline"
    listening = _Listening(pipeline.schema)
    readers: list[tuple[int, PcapReader]] = []
    first: int | None = None
    now = 0
    try:
        switch.listen(listening)
        switch.log(listening, listening.log)
        if trace:
            switch.trace(listening, listening.traces.append)
        for port, path in captures:
            readers.append((port, PcapReader(path)))
        arrivals = heapq.merge(*(_arrivals(port, reader) for port, reader in readers))
        for number, (time, port, data) in enumerate(arrivals, 1):
            first = time if first is None else first
            now = max(now, (time - first) // 1000)
            played = Played(number, time, port, data)
            listening.now = played
            played.sent += [Sent(*each) for each in switch.process(Packets.from_list([(port, data)]), now)]
            played.traces, listening.traces[:] = list(listening.traces), []
            yield played
    finally:
        switch.listen(None)
        switch.log(listening, None)
        if trace:
            switch.trace(listening, None)
        for _, reader in readers:
            reader.close()


class _Listening:
    """Adds messages to the packet that they come from."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._names = {each.id: each.name for each in schema.packet_in}
        self.now: Played | None = None
        self.traces: list[Trace] = []

    def packet_in(self, values: Mapping[int, int], payload: bytes) -> None:
        """Add a packet-in."""
        if self.now is not None:
            self.now.packet_ins.append(Message({self._names[each]: value for each, value in values.items()}, payload))

    def log(self, text: str) -> None:
        """Add a message of `log_msg`, or of an `assert` or `assume` that failed."""
        if self.now is not None:
            self.now.log.append(text)

    def digest(self, digest: Digest) -> None:
        """Add a digest."""
        if self.now is not None:
            info = self._schema.digests.named(digest.name)
            names = flat_names(info.type_spec, self._schema.types)
            self.now.digests.append(DigestOut(info.preamble.name, dict(zip(names, digest.values, strict=True))))


def _arrivals(port: int, reader: PcapReader) -> Iterator[tuple[int, int, bytes]]:
    return ((each.time, port, each.data) for each in reader if each.whole)

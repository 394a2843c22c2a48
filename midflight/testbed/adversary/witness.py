"""What the referee has to know of a job whose workers are processes: all their packets, from captures."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from midflight.errors import WireError
from midflight.testbed.adversary.referee import Referee, ViolationError
from midflight.testbed.sim.frames import decode

__all__ = ["Capture", "Frame", "Witness"]

# The wire and the file, written down once more: the check rests on nothing that it checks.
_HEAD = struct.Struct("!BBHIHBBHH")
_REQUEST, _RESULT, _SHARE = 1, 2, 9
_FILE, _RECORD = 24, struct.Struct("=IIII")


@dataclass(frozen=True, slots=True, order=True)
class Frame:
    """A frame at a host's network card: when, in ns since 1970, at which host."""

    time: int
    host: str
    data: bytes


class Capture:
    """The capture of a host's link, which goes on."""

    def __init__(self, host: str, file: Path) -> None:
        self._host = host
        self._file = file
        self._at = _FILE

    def news(self) -> list[Frame]:
        """Return the frames that have come since the last time."""
        with self._file.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        frames, at = [], 0
        while at + _RECORD.size <= len(data):
            seconds, nanoseconds, size, _ = _RECORD.unpack_from(data, at)
            if at + _RECORD.size + size > len(data):
                break
            at += _RECORD.size
            frames.append(Frame(seconds * 1_000_000_000 + nanoseconds, self._host, data[at : at + size]))
            at += size
        self._at += at
        return frames


@dataclass(slots=True)
class _Seen:
    """What has come to a worker, as far as that can be seen from outside."""

    others: int
    results: set[int] = field(default_factory=set)
    shares: dict[int, set[int]] = field(default_factory=dict)
    sent: set[int] = field(default_factory=set)

    def knows(self, index: int) -> bool:
        return index in self.results or len(self.shares.get(index, ())) == self.others


class Witness:
    """Has a referee for every job of an application, and tells each what has passed.

    `server` is the address that sums come from, whoever has made them, as a 32-bit number.
    """

    def __init__(self, application: int, workers: int, slots: int, lanes: int, server: int) -> None:
        self._application = application
        self._workers = workers
        self._slots = slots
        self._lanes = lanes
        self._server = server
        self._referees: dict[int, Referee] = {}
        self._seen: dict[int, list[_Seen]] = {}
        self._restarted: dict[int, set[int]] = {}

    @property
    def sums(self) -> int:
        """How many sums have been checked."""
        return sum(each.sums for each in self._referees.values())

    def restarted(self, job: int, worker: int) -> None:
        """Take note that a worker has forgotten what it knew."""
        self._restarted.setdefault(job, set()).add(worker)

    def watch(self, frames: Sequence[Sequence[Frame]], jobs: Mapping[int, Sequence[tuple[str, int]]]) -> None:
        """Check what has passed: frames of each link, and by job its workers' hosts and addresses.

        ViolationError for what must not be.
        """
        for frame in heapq.merge(*frames):
            for job, number, outgoing, told, payload in self._parts(frame, jobs):
                if outgoing:
                    self._sent(job, number, payload)
                else:
                    self._came(job, number, payload, told=told)

    def _parts(
        self, frame: Frame, jobs: Mapping[int, Sequence[tuple[str, int]]]
    ) -> Iterator[tuple[int, int, bool, bool, bytes]]:
        try:
            datagram = decode(frame.data)
        except WireError:
            return
        payload = datagram.payload
        if len(payload) < _HEAD.size:
            return
        _, _, application, _, _, _, _, job, _ = _HEAD.unpack_from(payload)
        if application == self._application:
            for number, (host, address) in enumerate(jobs.get(job, ())):
                if host == frame.host:
                    outgoing = datagram.source == address
                    yield job, number, outgoing, datagram.source != self._server, payload

    def _job(self, job: int) -> tuple[Referee, list[_Seen]]:
        if job not in self._referees:
            referee = self._referees[job] = Referee(self._workers, self._slots, self._lanes)
            self._seen[job] = [_Seen(self._workers - 1) for _ in range(self._workers)]
            for worker in sorted(self._restarted.get(job, ())):
                referee.restarted(worker)
        return self._referees[job], self._seen[job]

    def _sent(self, job: int, number: int, payload: bytes) -> None:
        _, kind, _, sequence, _, _, _, _, _ = _HEAD.unpack_from(payload)
        if kind != _REQUEST:
            return
        referee, seen = self._job(job)
        referee.sent(number, payload, seen)
        mine = seen[number]
        before = sequence - self._slots
        if sequence not in mine.sent:
            mine.sent.add(sequence)
            if before >= 1 and number not in self._restarted.get(job, ()) and not mine.knows(before):
                raise ViolationError(f"worker {number} sends chunk {sequence} before it has the sum of {before}")

    def _came(self, job: int, number: int, payload: bytes, *, told: bool) -> None:
        _, kind, _, sequence, _, worker, _, _, _ = _HEAD.unpack_from(payload)
        referee, seen = self._job(job)
        if kind == _RESULT:
            if not told:
                referee.passed(number, payload)
            seen[number].results.add(sequence)
        elif kind == _SHARE:
            seen[number].shares.setdefault(sequence, set()).add(worker)

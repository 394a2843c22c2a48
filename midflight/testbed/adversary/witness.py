"""The witness of a game with processes: it reads all packets of a job from captures, and passes them to the referee."""

from __future__ import annotations

import heapq
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from midflight.errors import WireError
from midflight.runtime.endpoint.frames import decode
from midflight.testbed.adversary.referee import Referee, ViolationError

__all__ = ["Capture", "Frame", "Witness"]

# The wire and file formats are defined here again, so that the check does not depend on the code that it checks.
_HEAD = struct.Struct("!BBHIQHBBHH")
_REQUEST, _RESULT, _SHARE = 1, 2, 9
_FILE, _RECORD = 24, struct.Struct("=IIII")


@dataclass(frozen=True, slots=True, order=True)
class Frame:
    """A frame at a host's network interface: the time in ns since 1970, the host, and the bytes."""

    time: int
    host: str
    data: bytes


class Capture:
    """Reads the pcap file of a host's link while it is still being written.

    `host` is the host's name, which its frames carry. The file must be in nanoseconds and in this machine's byte order.
    """

    def __init__(self, host: str, file: Path) -> None:
        self._host = host
        self._file = file
        self._at = _FILE

    def new_frames(self) -> list[Frame]:
        """Return the complete frames that were written to the file since the last call, in order."""
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
    """What a worker has received, as far as it can be seen from outside."""

    others: int
    results: set[int] = field(default_factory=set)
    shares: dict[int, set[int]] = field(default_factory=dict)
    sent: set[int] = field(default_factory=set)

    def knows(self, index: int) -> bool:
        return index in self.results or len(self.shares.get(index, ())) == self.others


class Witness:
    """Checks the packets of an application's jobs, with a referee for each job.

    `application` is the application's id; `workers`, `slots` and `lanes` are those of its `Aggregate`. `server` is the
    source address of all sums, no matter what computed them, as a 32-bit integer.
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
        """The number of sums of chunks that have been checked, in all jobs."""
        return sum(each.sums for each in self._referees.values())

    def restarted(self, job: int, worker: int) -> None:
        """Record that worker number `worker` of a job has lost its state."""
        self._restarted.setdefault(job, set()).add(worker)

    def watch(self, frames: Sequence[Sequence[Frame]], jobs: Mapping[int, Sequence[tuple[str, int]]]) -> None:
        """Check frames of all jobs in order of time. `frames` has a sequence for each link.

        `jobs` holds, by job number, the host name and the 32-bit IPv4 address of each worker, in order. Call it again
        with later frames. ViolationError if a guarantee is violated.
        """
        for frame in heapq.merge(*frames):
            for job, number, outgoing, from_peer, payload in self._parts(frame, jobs):
                if outgoing:
                    self._sent(job, number, payload)
                else:
                    self._received(job, number, payload, from_peer=from_peer)

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
        _, _, application, _, _, _, _, _, job, _ = _HEAD.unpack_from(payload)
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
        _, kind, _, sequence, _, _, _, _, _, _ = _HEAD.unpack_from(payload)
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

    def _received(self, job: int, number: int, payload: bytes, *, from_peer: bool) -> None:
        _, kind, _, sequence, _, _, worker, _, _, _ = _HEAD.unpack_from(payload)
        referee, seen = self._job(job)
        if kind == _RESULT:
            if not from_peer:
                referee.passed(number, payload)
            seen[number].results.add(sequence)
        elif kind == _SHARE:
            seen[number].shares.setdefault(sequence, set()).add(worker)

"""The reliability layer under every endpoint: requests that are sent until they are answered.

It speaks of numbered requests and their answers and knows nothing of what is in them. It holds no socket and no clock:
the caller hands in the time (integer nanoseconds, any origin, never running backwards) and carries the datagrams.

    sender.submit(destination, datagrams)     # queue requests, in order
    for destination, datagram in sender.poll(now): ...
    sender.acknowledge(sequence, now)         # an answer came in
    sender.next_deadline()                    # when to poll again though nothing came in

**Window.** Request i goes out only once request i - window has been answered. With a window of `slots` this is the rule
under which a switch may keep the sums of 2 * slots requests and reuse an entry without asking anybody: whoever sends
request i has the answer to i - slots, so everybody has sent i - slots, so everybody has the answer to i - 2 * slots.

**Timer.** The retransmission timeout follows RFC 6298, kept for each request on its own, doubling each time that
request's timer runs out. Karn's algorithm: an answer to a request that was sent twice is no sample, and its backed-off
timeout stays until a sample comes. Nor is an answer that its carrier knows to have waited for somebody else's
retransmission (`sample=False`): else the workers of a group would drive each other's timeouts up.

**Early repetition.** Answers come about in the order of the requests. So a request is sent again, before its timer runs
out, once `reorder` requests that were sent after it have been answered (as TCP's SACK and RACK have it, RFC 8985). When
whoever answers has lost its memory, `hurry` has everything sent again at once.

**Others.** A request whose timer has run out `timeouts_before_asking` times is `overdue`: its answer may have come and
gone, and somebody else may know it.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from midflight.errors import MidflightError
from midflight.runtime.endpoint.serial import serial, unwrap

__all__ = ["Address", "NoAnswerError", "Reliable", "ReliableStatistics", "Timing"]

Address = tuple[str, int]
"""Where a datagram goes to or comes from: IP address as text and UDP port, as Python's sockets have them."""


class NoAnswerError(MidflightError):
    """Nothing has answered for as long as the endpoint was told to be patient."""


@dataclass(frozen=True, slots=True)
class Timing:
    """The timer's parameters, in nanoseconds.

    RFC 6298 starts at 1 s and suggests no timeout below 1 s; that is for the open Internet. Inside a rack, where a
    round trip takes microseconds, `minimum` is what bounds the time that a lost packet costs.
    """

    initial: int = 1_000_000_000
    minimum: int = 1_000_000
    maximum: int = 1_000_000_000
    granularity: int = 1_000
    patience: int = 30_000_000_000  # how long without any new answer until the peer counts as gone
    reorder: int = 3  # later requests answered before one is sent again without waiting for its timer
    timeouts_before_asking: int = 2  # after which a request is overdue


@dataclass(slots=True)
class ReliableStatistics:
    """What a sender has seen so far."""

    sent: int = 0  # requests, first transmissions only
    retransmitted: int = 0
    early: int = 0  # those of them that were not due to a timer
    answered: int = 0
    duplicates: int = 0  # answers to requests that had been answered
    unexpected: int = 0  # answers to requests that were never sent


@dataclass(slots=True)
class _Outstanding:
    destination: Address
    datagram: bytes
    sent: int
    deadline: int
    timeout: int
    order: int  # of its latest transmission among all
    retransmitted: bool = False
    passed: int = 0  # requests sent after that and answered
    timeouts: int = 0
    early: bool = False  # to be sent again though its timer has not run out


class Reliable:
    """Sends numbered requests within a window until each is answered. Times are nanoseconds.

    Indices grow without end, from `first`; `serial` gives a request's sequence number on the wire. `again` makes of
    a request what is sent the second time and later.
    """

    def __init__(
        self,
        *,
        window: int,
        timing: Timing | None = None,
        first: int = 1,
        again: Callable[[bytes], bytes] | None = None,
    ) -> None:
        if window < 1:
            raise MidflightError(f"a window of {window} requests lets nothing through")
        self.statistics = ReliableStatistics()
        self._window = window
        self._timing = timing or Timing()
        self._again = again
        self._next = first  # index of the next request to be sent for the first time
        self._waiting: deque[tuple[Address, bytes]] = deque()
        self._outstanding: dict[int, _Outstanding] = {}  # in order of their latest transmission
        self._transmissions = 0
        self._repeated: list[tuple[int, int]] = []
        self._cancelled: set[int] = set()  # requests that are not to be sent at all
        self._timers: list[tuple[int, int]] = []  # (deadline, index), some of them stale
        self._timeout = self._timing.initial
        self._smoothed = 0
        self._variation = 0
        self._sampled = False
        self._progress = 0  # time of the latest new answer, or of the first request after idleness

    @property
    def upcoming(self) -> int:
        """The index of the next request to be submitted."""
        return self._next + len(self._waiting)

    @property
    def waiting_from(self) -> int:
        """The index of the next request to be sent for the first time."""
        return self._next

    @property
    def open(self) -> int:
        """How many requests are waiting for their answers."""
        return len(self._outstanding)

    def forget(self) -> None:
        """Drop all requests."""
        self._waiting.clear()
        self._outstanding.clear()
        self._repeated.clear()

    def skip(self, index: int) -> None:
        """Drop all requests; the next to be submitted has this index."""
        self.forget()
        self._next = index

    @property
    def idle(self) -> bool:
        """Whether every submitted request has been answered."""
        return not self._waiting and not self._outstanding

    @property
    def timeout(self) -> int:
        """The retransmission timeout that the next request gets, in nanoseconds."""
        return self._timeout

    def submit(self, destination: Address, datagrams: Iterable[bytes]) -> None:
        """Queue requests; the first of them has the index `upcoming`."""
        self._waiting.extend((destination, datagram) for datagram in datagrams)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return what is to be sent now: requests whose timer ran out, then new ones as far as the window allows.

        Raises NoAnswerError when requests have waited for the whole patience without one new answer.
        """
        out: list[tuple[Address, bytes]] = []
        outstanding, timers = self._outstanding, self._timers
        if outstanding and now - self._progress >= self._timing.patience:
            raise self._no_answer()
        while timers and timers[0][0] <= now:
            deadline, index = heapq.heappop(timers)
            request = outstanding.get(index)
            if request is None or request.deadline != deadline:
                continue
            self._repeat(index, request, now)
            out.append((request.destination, request.datagram))
        if self._waiting and not outstanding:
            self._progress = now
        while self._waiting and self._next - self._window not in outstanding:
            destination, datagram = self._waiting.popleft()
            if self._next in self._cancelled:
                self._cancelled.remove(self._next)
                self._next += 1
                continue
            deadline = now + self._timeout
            self._transmissions += 1
            outstanding[self._next] = _Outstanding(
                destination, datagram, now, deadline, self._timeout, self._transmissions
            )
            heapq.heappush(timers, (deadline, self._next))
            self._next += 1
            self.statistics.sent += 1
            out.append((destination, datagram))
        return out

    def _repeat(self, index: int, request: _Outstanding, now: int) -> None:
        """Make a request ready to be sent again, and set its timer."""
        if request.early:
            self.statistics.early += 1
        else:
            request.timeouts += 1
            request.timeout = min(2 * request.timeout, self._timing.maximum)
        self._repeated.append((index, request.timeouts))
        if self._again is not None and not request.retransmitted:
            request.datagram = self._again(request.datagram)
        request.retransmitted = True
        request.early = False
        request.passed = 0
        self._transmissions += 1
        request.order = self._transmissions
        self._outstanding[index] = self._outstanding.pop(index)
        request.deadline = now + request.timeout
        heapq.heappush(self._timers, (request.deadline, index))
        self.statistics.retransmitted += 1

    def overdue(self, least: int | None = None) -> list[tuple[int, int]]:
        """Return the indices of requests that were repeated since the last call, and how often their timers ran out.

        That is, of those whose timers ran out `least` times, by default those that somebody else is to be asked about.
        """
        least = self._timing.timeouts_before_asking if least is None else least
        repeated, self._repeated = self._repeated, []
        return [(index, timeouts) for index, timeouts in repeated if timeouts >= least]

    def is_open(self, index: int) -> bool:
        """Say whether a request is waiting for its answer."""
        return index in self._outstanding

    def index_of(self, sequence: int) -> int:
        """Return the index with this sequence number that lies nearest to what was sent last."""
        return unwrap(sequence, self._next)

    def settle(self, index: int, now: int) -> bool:
        """Take a request as answered, by other means; say whether it was waiting for its answer."""
        if self._outstanding.pop(index, None) is None:
            return False
        self._progress = now
        return True

    def cancel(self, index: int) -> None:
        """Send a request no more, if it was sent before or not."""
        if self._outstanding.pop(index, None) is None and self._next <= index < self.upcoming:
            self._cancelled.add(index)

    def alive(self, now: int) -> None:
        """Learn that whoever answers has the requests and needs longer: patience begins anew."""
        self._progress = now

    def hurry(self, now: int) -> None:
        """Have all requests that wait for an answer sent again by the next `poll`."""
        for index, request in self._outstanding.items():
            self._now(index, request, now)

    def _now(self, index: int, request: _Outstanding, now: int) -> None:
        request.early = True
        request.deadline = now
        heapq.heappush(self._timers, (now, index))

    def acknowledge(self, sequence: int, now: int, *, sample: bool = True) -> int | None:
        """Take the answer with this sequence number; return its request's index, or None where it is nothing new.

        sample: whether the time that the answer took says something about the round trip.
        """
        index = unwrap(sequence, self._next)
        request = self._outstanding.pop(index, None) if sequence else None  # 0 is nobody's sequence number
        if request is None:
            if index < self._next:
                self.statistics.duplicates += 1
            else:
                self.statistics.unexpected += 1
            return None
        self.statistics.answered += 1
        self._progress = now
        if request.retransmitted:
            self._timeout = max(self._timeout, request.timeout)
            return index
        if sample:
            self._sample(now - request.sent)
        for other, earlier in self._outstanding.items():
            if earlier.order > request.order:
                break
            earlier.passed += 1
            if earlier.passed == self._timing.reorder:
                self._now(other, earlier, now)
        return index

    def next_deadline(self) -> int | None:
        """Return when `poll` has something to do even if nothing comes in; None where nothing is open."""
        timers, outstanding = self._timers, self._outstanding
        while timers:
            deadline, index = timers[0]
            request = outstanding.get(index)
            if request is not None and request.deadline == deadline:
                return min(deadline, self._progress + self._timing.patience)
            heapq.heappop(timers)
        return None

    def _sample(self, round_trip: int) -> None:
        """RFC 6298, sections 2.2 and 2.3, with alpha 1/8 and beta 1/4 in integers."""
        if self._sampled:
            self._variation += (abs(self._smoothed - round_trip) - self._variation) // 4
            self._smoothed += (round_trip - self._smoothed) // 8
        else:
            self._sampled = True
            self._smoothed = round_trip
            self._variation = round_trip // 2
        timeout = self._smoothed + max(self._timing.granularity, 4 * self._variation)
        self._timeout = max(self._timing.minimum, min(timeout, self._timing.maximum))

    def _no_answer(self) -> NoAnswerError:
        index, request = next(iter(self._outstanding.items()))
        host, port = request.destination
        return NoAnswerError(
            f"nothing has answered for {self._timing.patience / 1e9:g} s; "
            f"the oldest of {len(self._outstanding)} open requests, number {serial(index)}, went to {host}:{port}",
            hint="see whether every member of the group takes part and the route to the server is in place",
        )

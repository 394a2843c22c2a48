"""The reliability layer of every endpoint: requests that are retransmitted until they are answered.

It works on numbered requests and answers and does not look at their contents. It has no socket and no clock: the caller
passes in the time (integer nanoseconds from any origin, never running backwards) and transports the datagrams.

    sender.submit(destination, datagrams)     # queue requests, in order
    for destination, datagram in sender.poll(now): ...
    sender.acknowledge(sequence, now)         # an answer arrived
    sender.next_deadline()                    # when to poll again if nothing arrives

**Window.** Request i is sent only after request i - window has been answered. With a window of `slots`, a switch can
keep the sums of 2 * slots requests and reuse an entry without coordination: a worker that sends request i has the
answer to i - slots, so every worker has sent i - slots, so every worker has the answer to i - 2 * slots.

**Timer.** The retransmission timeout follows RFC 6298. Each request has its own, which doubles each time it expires. By
Karn's algorithm, the answer to a retransmitted request is not a sample, and the backed-off timeout stays in force until
there is a sample. An answer that is known to have waited for somebody else's retransmission is not a sample either
(`sample=False`): otherwise the workers of a group would drive up each other's timeouts.

**Early retransmission.** Answers arrive roughly in the order of the requests. So a request is retransmitted before its
timer expires once `reorder` requests that were sent after it have been answered, like TCP's SACK and RACK (RFC 8985).
After the answering side has lost its state, `hurry` retransmits everything at once.

**Asking others.** A request whose timer has expired `timeouts_before_asking` times is `overdue`: its answer may have
been sent and lost, and another host may have it.
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
"""The source or destination of a datagram: an IP address as text and a UDP port, as in Python's sockets."""


class NoAnswerError(MidflightError):
    """No answer has arrived for the patience that is configured in `Timing`, so the peer counts as unreachable."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Parameters of the retransmission timer. Times are in nanoseconds.

    `initial` is the timeout before the first measured round trip; later timeouts are `minimum` to `maximum`, and at
    least `granularity` above the mean round trip. `patience` is the time without a new answer after which the peer
    counts as unreachable. A request is retransmitted early once `reorder` later ones have been answered, and is overdue
    after `timeouts_before_asking` timeouts.

    RFC 6298 starts with a timeout of 1 s and recommends none below 1 s, for the open Internet. Inside a rack a round
    trip takes microseconds, and `minimum` bounds the time that a lost packet costs.
    """

    initial: int = 1_000_000_000
    minimum: int = 1_000_000
    maximum: int = 1_000_000_000
    granularity: int = 1_000
    patience: int = 30_000_000_000  # time without a new answer after which the peer counts as unreachable
    reorder: int = 3  # later requests answered before one is retransmitted early
    timeouts_before_asking: int = 2  # expirations of its timer after which a request is overdue


@dataclass(slots=True)
class ReliableStatistics:
    """Counters of the requests of one endpoint since it started.

    `sent` does not include retransmissions. `early` are the retransmissions that were not due to a timer. `duplicates`
    are answers to requests that had been answered before, and `unexpected` answers to requests that were never sent.
    """

    sent: int = 0  # requests, not counting retransmissions
    retransmitted: int = 0
    early: int = 0  # retransmissions that were not due to a timer
    answered: int = 0
    duplicates: int = 0  # answers to requests that had been answered before
    unexpected: int = 0  # answers to requests that were never sent


@dataclass(slots=True)
class _Outstanding:
    destination: Address
    datagram: bytes
    sent: int
    deadline: int
    timeout: int
    order: int  # number of its latest transmission, counted over all requests
    retransmitted: bool = False
    passed: int = 0  # requests sent after that and answered already
    timeouts: int = 0
    early: bool = False  # to be retransmitted although its timer has not expired


class Reliable:
    """Sends numbered requests within a window and retransmits each until it is answered. Times are in nanoseconds.

    window: how many requests may be in flight, at least 1. timing: None for the defaults of `Timing`. Indices start at
    `first` and grow without bound; `serial` gives the sequence number of a request on the wire. again: converts a
    request to the form in which it is retransmitted; None for no change. MidflightError if the window is not positive.
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
            raise MidflightError(f"a window of {window} requests cannot send anything")
        self.statistics = ReliableStatistics()
        self._window = window
        self._timing = timing or Timing()
        self._again = again
        self._next = first  # index of the next request that has not been sent
        self._waiting: deque[tuple[Address, bytes]] = deque()
        self._outstanding: dict[int, _Outstanding] = {}  # ordered by latest transmission
        self._transmissions = 0
        self._repeated: list[tuple[int, int]] = []
        self._cancelled: set[int] = set()  # requests that must not be sent at all
        self._timers: list[tuple[int, int]] = []  # (deadline, index), including stale ones
        self._timeout = self._timing.initial
        self._smoothed = 0
        self._variation = 0
        self._sampled = False
        self._progress = 0  # time of the latest new answer, or of the first request after being idle

    @property
    def upcoming(self) -> int:
        """The index that the next submitted request gets."""
        return self._next + len(self._waiting)

    @property
    def waiting_from(self) -> int:
        """The index of the first request that is queued and not yet sent; `upcoming` if there is none."""
        return self._next

    @property
    def open(self) -> int:
        """The number of requests that have been sent and not answered."""
        return len(self._outstanding)

    def forget(self) -> None:
        """Drop all requests, sent or queued. Indices continue after the last request that was sent."""
        self._waiting.clear()
        self._outstanding.clear()
        self._repeated.clear()

    def skip(self, index: int) -> None:
        """Drop all requests, sent or queued. The next submitted request gets this index."""
        self.forget()
        self._next = index

    @property
    def idle(self) -> bool:
        """Whether every submitted request has been answered."""
        return not self._waiting and not self._outstanding

    @property
    def timeout(self) -> int:
        """The time in nanoseconds after which the next request would be retransmitted (RFC 6298)."""
        return self._timeout

    def submit(self, destination: Address, datagrams: Iterable[bytes]) -> None:
        """Queue requests to one destination, in order. The first of them gets the index `upcoming`.

        `poll` sends them.
        """
        self._waiting.extend((destination, datagram) for datagram in datagrams)

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        """Return the requests to send now: retransmissions, then new ones as far as the window allows.

        A request is sent again when its timer has expired, or earlier if later ones have been answered or after
        `hurry`. NoAnswerError if there are open requests and, for the configured patience, there has been no new answer
        and no `settle` or `alive`.
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
        """Prepare a request for retransmission and restart its timer."""
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
        """Return the requests that were retransmitted since the last call, as pairs of index and number of timeouts.

        Only requests whose timer has expired at least `least` times are returned, by default (None) the timing's
        `timeouts_before_asking`. The caller may ask another host for their answers.
        """
        least = self._timing.timeouts_before_asking if least is None else least
        repeated, self._repeated = self._repeated, []
        return [(index, timeouts) for index, timeouts in repeated if timeouts >= least]

    def is_open(self, index: int) -> bool:
        """Return whether the request with this index has been sent and not answered."""
        return index in self._outstanding

    def index_of(self, sequence: int) -> int:
        """Return the index that has this 32-bit sequence number and is nearest to the latest request."""
        return unwrap(sequence, self._next)

    def settle(self, index: int, now: int) -> bool:
        """Count the request with this index as answered by other means at the time `now`.

        Return whether it was open.
        """
        if self._outstanding.pop(index, None) is None:
            return False
        self._progress = now
        return True

    def cancel(self, index: int) -> None:
        """Stop sending the request with this index, or do not send it at all if it is still queued.

        It leaves the window.
        """
        if self._outstanding.pop(index, None) is None and self._next <= index < self.upcoming:
            self._cancelled.add(index)

    def alive(self, now: int) -> None:
        """Restart the patience at the time `now`: the other side has the requests and needs more time."""
        self._progress = now

    def hurry(self, now: int) -> None:
        """Make the next `poll` at or after `now` retransmit all open requests. For a peer that has lost its state."""
        for index, request in self._outstanding.items():
            self._now(index, request, now)

    def _now(self, index: int, request: _Outstanding, now: int) -> None:
        request.early = True
        request.deadline = now
        heapq.heappush(self._timers, (now, index))

    def acknowledge(self, sequence: int, now: int, *, sample: bool = True) -> int | None:
        """Process the answer with this sequence number. Return the index of its request, or None if it was not open.

        now: the time of its arrival. sample: whether the time that the answer took is a sample of the round-trip time.
        Pass False if the answer had to wait for somebody else.
        """
        index = unwrap(sequence, self._next)
        request = self._outstanding.pop(index, None) if sequence else None  # 0 is never a sequence number
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
        """Return the time in nanoseconds to call `poll` next if no answer arrives; None if no request is open."""
        timers, outstanding = self._timers, self._outstanding
        while timers:
            deadline, index = timers[0]
            request = outstanding.get(index)
            if request is not None and request.deadline == deadline:
                return min(deadline, self._progress + self._timing.patience)
            heapq.heappop(timers)
        return None

    def _sample(self, round_trip: int) -> None:
        """Update the timeout as in RFC 6298, sections 2.2 and 2.3, with alpha 1/8 and beta 1/4, in integers."""
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
            f"no answer for {self._timing.patience / 1e9:g} s; "
            f"the oldest of {len(self._outstanding)} open requests, number {serial(index)}, went to {host}:{port}",
            hint="check that every member of the group takes part and that there is a route to the server",
        )

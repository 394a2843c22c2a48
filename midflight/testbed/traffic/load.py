"""Load: many requests at a rate, with the outcome of each in arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.primitives.wire import FOR_HOST, REQUEST, RESULT, VERSION
from midflight.runtime.steering import IPAddress
from midflight.testbed.fabric.base import Fabric, Schedule, Taken
from midflight.testbed.traffic.traffic import Named, Requests, Traffic

__all__ = ["PACINGS", "Load", "Pace", "Pacing", "load"]

Pacing = str | Sequence[int] | NDArray[Any]
"""How requests are spaced: "even", "poisson", or the sending time of each request, in nanoseconds from the start."""

PACINGS: Final = ("even", "poisson")
_QUIET = 0.2  # seconds of silence after which missing answers count as lost
_ANSWERS = frozenset({REQUEST, RESULT, FOR_HOST})


@dataclass(frozen=True, slots=True)
class Load:
    """The outcome of many requests. Arrays have an element for each request, by sender and then in sending order.

    The answer to a request is the first message with its application and sequence number that reaches any host: a
    result, or the request itself if it was forwarded. A request that a kernel drops has no answer, like a lost one.

    `host` is the sender's name, and `sent` the sending time in nanoseconds from the first request. `latency` is in
    nanoseconds, NaN without an answer. `kind` is the answer's: `RESULT`, `REQUEST` or `FOR_HOST`, 0 without an answer.
    `answers` counts the messages with the request's number at all hosts. `size` is the bytes of the UDP payload.
    """

    application: str
    host: NDArray[np.str_]
    """The sender's name."""
    sequence: NDArray[np.uint32]
    sent: NDArray[np.int64]
    """The sending time in nanoseconds from the first request."""
    latency: NDArray[np.float64]
    """Nanoseconds from sending until the answer; NaN without an answer."""
    kind: NDArray[np.uint8]
    """The kind of the answer: `RESULT`, `REQUEST` or `FOR_HOST`; 0 without an answer."""
    answers: NDArray[np.int64]
    """How many messages with the request's number arrived at all hosts; of a multicast, one for each member."""
    size: NDArray[np.int64]
    """Bytes of the request's UDP payload."""

    @property
    def answered(self) -> NDArray[np.bool_]:
        """An array of booleans: whether each request has an answer."""
        return np.not_equal(self.kind, 0)

    @property
    def loss(self) -> float:
        """The fraction of requests without an answer, 0 to 1; 0 if there are no requests."""
        return float(1 - self.answered.mean()) if len(self.sent) else 0.0

    @property
    def rate(self) -> float:
        """The requests per second of all senders together, as actually sent; NaN if all were sent at one time."""
        span = int(self.sent.max() - self.sent.min()) if len(self.sent) > 1 else 0
        return (len(self.sent) - 1) * 1e9 / span if span else float("nan")

    @property
    def goodput(self) -> float:
        """Bits per second of the UDP payloads of answered requests, from the first request sent to the last answer
        received.

        0 if no request was answered; NaN if no time passed.
        """
        done = self.answered
        if not done.any():
            return 0.0
        span = float((self.sent + self.latency)[done].max() - self.sent.min())
        return float(self.size[done].sum() * 8e9 / span) if span else float("nan")

    def percentiles(self, *shares: float) -> NDArray[np.float64]:
        """Return percentiles of the latency in nanoseconds, one for each of `shares`, from 0 to 100: `percentiles(50,
        99)`.

        All are NaN if no request was answered.
        """
        known = self.latency[self.answered]
        return np.percentile(known, shares) if len(known) else np.full(len(shares), np.nan)

    def over_time(self, interval: int) -> dict[str, NDArray[Any]]:
        """Return how the load went over time: arrays with an element for each interval of `interval` nanoseconds.

        A request belongs to the interval in which it was sent. The arrays are `start` (of the interval, in nanoseconds
        from the first request), `sent` (number of requests), `loss` (fraction without an answer), `goodput` (bits per
        second of the payloads of answered requests), and `p50` and `p99` of the latency (nanoseconds; NaN without
        answers). MidflightError if `interval` is less than 1.
        """
        if interval < 1:
            raise MidflightError(f"an interval must be at least 1 ns, not {interval}")
        slots = self.sent // interval
        found: dict[str, list[float]] = {each: [] for each in ("start", "sent", "loss", "goodput", "p50", "p99")}
        for slot in range(int(slots.max()) + 1 if len(slots) else 0):
            part = self.only(slots == slot)
            middle, high = part.percentiles(50, 99)
            row = (
                slot * interval,
                len(part.sent),
                part.loss,
                part.size[part.answered].sum() * 8e9 / interval,
                middle,
                high,
            )
            for name, value in zip(found, row, strict=True):
                found[name].append(value)
        return {name: np.array(each) for name, each in found.items()}

    def only(self, which: NDArray[np.bool_]) -> Load:
        """Return the load restricted to the requests that a mask selects, such as one host's: `load.only(load.host ==
        "h1")`.

        `which` has a boolean for each request.
        """
        arrays = (self.host, self.sequence, self.sent, self.latency, self.kind, self.answers, self.size)
        return Load(self.application, *(each[which] for each in arrays))  # type: ignore[arg-type]

    def __str__(self) -> str:
        middle, high = self.percentiles(50, 99) / 1e3
        return (
            f"{len(self.sent)} requests of {self.application} at {self.rate:,.0f} a second: {self.loss:.2%} lost, "
            f"goodput {self.goodput / 1e6:,.3f} Mbit/s, latency {middle:,.1f} us (p50), {high:,.1f} us (p99)"
        )


@dataclass(frozen=True, slots=True)
class Pace:
    """When each sender sends its requests: `rate` per second and sender, spaced by `pacing`.

    "even" has equal gaps. "poisson" has exponentially distributed gaps, which are random numbers from `seed` and the
    sender. An array has the sending times themselves, in nanoseconds from the start, and `rate` is ignored.
    MidflightError if the pacing is unknown, or if the rate is not above 0 and at most 1e9.
    """

    rate: float
    pacing: Pacing
    seed: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.pacing, str):
            if self.pacing not in PACINGS:
                raise MidflightError(
                    f"there is no pacing {self.pacing!r}",
                    hint=f"use {' or '.join(PACINGS)}, or an array of nanoseconds",
                )
            if not 0 < self.rate <= 1e9:
                raise MidflightError(f"a rate must be above 0 and at most 1e9 requests per second, not {self.rate}")

    def offsets(self, count: int, sender: int) -> NDArray[np.int64]:
        """Return the sending times of `count` requests of one sender, in ascending order, in nanoseconds from the
        start.

        `sender` is the sender's number; with "poisson", senders have different times. MidflightError if `pacing` is an
        array that does not have `count` ascending times.
        """
        if isinstance(self.pacing, str):
            gaps = np.full(count, 1e9 / self.rate)
            if self.pacing == "poisson":
                gaps = np.random.default_rng([self.seed, sender]).exponential(1e9 / self.rate, count)
            gaps[:1] = 0
            return np.cumsum(gaps).astype(np.int64)
        given = np.asarray(self.pacing)
        if given.shape != (count,) or given.dtype.kind not in "iuf" or (given < 0).any() or (np.diff(given) < 0).any():
            raise MidflightError(
                f"pacing must be {count} times in nanoseconds, one for each request, not negative and ascending"
            )
        return given.astype(np.int64)


def load(
    traffic: Traffic,
    hosts: Named | Sequence[Named],
    application: str,
    fields: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    pace: Pace,
    *,
    to: Named | None,
    count: int | None,
    payload: bytes,
    timeout: float,
) -> Load:
    """Send requests from hosts at a rate, wait for answers, and return the outcome: see `Net.load`.

    `fields` are the same for all hosts, or a sequence with fields for each host. `to` is the host that requests are
    addressed to; None as in `Traffic.destination`. `count` is the number of requests for each host; None takes the
    length of the arrays in `fields`. `payload` is appended to each request. `timeout` is how many seconds of the
    network's clock to wait for answers after the last request.

    MidflightError if there are not as many `fields` as hosts, or as for `Traffic.requests` and `Pace.offsets`.
    """
    senders = list(hosts) if isinstance(hosts, Sequence) and not isinstance(hosts, str) else [hosts]
    each_fields = [fields] * len(senders) if isinstance(fields, Mapping) else list(fields)
    if len(each_fields) != len(senders):
        raise MidflightError(
            f"there are fields for {len(each_fields)} hosts, but {len(senders)} hosts are to send",
            hint="pass one mapping for all hosts, or one for each",
        )
    traffic.capture()
    loads = [
        traffic.requests(host, application, those, to=to, payload=payload, count=count, many=True)
        for host, those in zip(senders, each_fields, strict=True)
    ]
    times = [pace.offsets(len(each), number) for number, each in enumerate(loads)]
    return _run(traffic, application, loads, times, timeout)


def _run(
    traffic: Traffic, application: str, loads: Sequence[Requests], times: Sequence[NDArray[np.int64]], timeout: float
) -> Load:
    """Send requests at their times, wait for answers for at most `timeout` seconds after the last, and return all."""
    sequence = np.concatenate([each.sequences for each in loads])
    fabric = traffic.fabric
    watch = _Watch(traffic.number(application), sequence)
    taps = [(fabric.card(name), watch.at(host.address)) for name, host in fabric.hosts.items()]
    for card, tap in taps:
        card.tap(tap)
    try:
        schedules = [Schedule(each.host.name, when, each.frames) for each, when in zip(loads, times, strict=True)]
        sent = np.concatenate(fabric.play(schedules))
        _wait_for_answers(fabric, [each.host.name for each in loads], watch, timeout)
    finally:
        for card, tap in taps:
            card.untap(tap)
    return Load(
        application=application,
        host=np.concatenate([np.full(len(each), each.host.name) for each in loads]),
        sequence=sequence,
        sent=sent - (sent.min() if len(sent) else 0),
        latency=np.where(watch.kind != 0, watch.came - sent, np.nan),
        kind=watch.kind,
        answers=watch.answers,
        size=np.concatenate([each.sizes for each in loads]),
    )


class _Watch:
    """Records the answers to requests of an application."""

    def __init__(self, application: int, sequence: NDArray[np.uint32]) -> None:
        self._head = application.to_bytes(2, "big")
        self._places = {each: place for place, each in enumerate(sequence.tolist())}
        self.came = np.zeros(len(sequence), np.int64)
        self.kind = np.zeros(len(sequence), np.uint8)
        self.answers = np.zeros(len(sequence), np.int64)
        self.heard = 0
        self.unanswered = len(sequence)

    def at(self, address: IPAddress) -> Taken:
        """Return the tap for the host with this address. It ignores mirrored copies, which are addressed to others."""
        own, end, payload = (address.packed, 34, 42) if address.version == 4 else (address.packed, 54, 62)

        def take(now: int, frame: bytes) -> None:
            if (
                frame[payload + 2 : payload + 4] == self._head
                and frame[payload] == VERSION
                and frame[payload + 1] in _ANSWERS
                and frame[end - len(own) : end] == own
            ):
                self._take(now, frame[payload + 1], int.from_bytes(frame[payload + 4 : payload + 8], "big"))

        return take

    def _take(self, now: int, kind: int, sequence: int) -> None:
        place = self._places.get(sequence)
        if place is None:
            return
        self.heard += 1
        self.answers[place] += 1
        if not self.kind[place]:
            self.kind[place], self.came[place] = kind, now
            self.unanswered -= 1


def _wait_for_answers(fabric: Fabric, senders: Sequence[str], watch: _Watch, timeout: float) -> None:
    """Wait until all answers have arrived, no more arrive, or `timeout` seconds have passed."""
    end = fabric.now + round(timeout * 1e9)
    fabric.settle(senders, timeout)
    while watch.unanswered and fabric.now < end:
        heard, before = watch.heard, fabric.now
        fabric.drive(lambda: not watch.unanswered, min(_QUIET, (end - before) / 1e9))
        if watch.heard == heard:
            return

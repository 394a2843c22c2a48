"""Delay and loss of a path from round trips, with the packets of STAMP (RFC 8762, unauthenticated mode).

The sender stamps a packet when it leaves (T1) and when its answer is back (T4); the reflector stamps its arrival (T2)
and its departure (T3). The path's own time is T4 - T1 less T3 - T2. Each difference is of one clock, so clocks need not
agree. Nothing here reads a clock or a socket.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from midflight.errors import MidflightError, WireError
from midflight.runtime.steering.metrics import RawMetric, Source, Statistics, Window

__all__ = ["SIZE", "Prober", "reflect"]

SIZE = 44
"""Octets of a probe and of its answer (RFC 8762, sections 4.2.1 and 4.3.1)."""

_SECOND = 1_000_000_000
_EPOCH = 2_208_988_800  # seconds from 1900, where NTP begins, to 1970
_PROBE = struct.Struct("!IQH30x")
_ANSWER = struct.Struct("!IQHxxQIQHxxBxxx")
_ERROR = 0x0001  # error estimate: an NTP timestamp, not synchronised, multiplier 1


def reflect(probe: bytes, arrived: int, leaving: int, ttl: int = 0) -> bytes:
    """Return the answer to a probe that arrived and is answered at these times, in nanoseconds since 1970.

    `ttl` is that of the probe's IP header, 0 if it is not known. WireError if this is not a probe.
    """
    if len(probe) < SIZE:
        raise WireError(f"a probe has {SIZE} octets, not {len(probe)}")
    sequence, sent, error = _PROBE.unpack_from(probe)
    return _ANSWER.pack(sequence, _ntp(leaving), _ERROR, _ntp(arrived), sequence, sent, error, ttl)


@dataclass(slots=True)
class _Sent:
    at: int
    answered: bool = False


class Prober:
    """Makes probes, and measures delay and loss with the answers to them. Times are in nanoseconds since 1970.

    It has no socket: the caller sends the probes, and passes datagrams that arrive to `answer`. A probe that is not
    answered within `timeout` counts as lost. `window` is the measurement window. MidflightError if one of them is not
    positive.
    """

    def __init__(self, timeout: int = _SECOND, window: int = 10 * _SECOND) -> None:
        if timeout <= 0:
            raise MidflightError(f"the timeout of a probe must be positive, not {timeout} ns")
        self._timeout, self._length = timeout, window
        self._delays = Window("network_delay", window)
        self._sent: dict[int, _Sent] = {}
        self._next = 0
        self.answered = 0
        """Probes that have been answered in time."""
        self.strays = 0
        """Datagrams that answer no open probe."""

    def probe(self, now: int) -> bytes:
        """Return the datagram of a new probe, to be sent at `now`."""
        sequence, self._next = self._next, (self._next + 1) % (1 << 32)
        self._expire(now)
        self._sent[sequence] = _Sent(now)
        return _PROBE.pack(sequence, _ntp(now), _ERROR)

    def answer(self, data: bytes, now: int) -> bool:
        """Process a datagram that arrived at `now`. Return whether it is the first answer to a probe that is still
        open.

        Any other datagram is counted in `strays` and measures nothing.
        """
        self._expire(now)
        if len(data) < SIZE:
            self.strays += 1
            return False
        _, left, _, arrived, sequence, stamp, _, _ = _ANSWER.unpack_from(data)
        sent = self._sent.get(sequence)
        inside = (left - arrived) % (1 << 64)
        if sent is None or sent.answered or stamp != _ntp(sent.at) or now - sent.at > self._timeout:
            self.strays += 1
            return False
        sent.answered = True
        self.answered += 1
        inside = inside * _SECOND >> 32
        # A reflector that claims to have kept the packet longer than the round trip took is not believed.
        travelled = now - sent.at - (inside if inside <= now - sent.at else 0)
        self._delays.add(travelled / 2 / _SECOND, now)
        return True

    def waiting(self, now: int) -> int:
        """Return the number of probes that may still be answered."""
        return sum(not each.answered and now - each.at <= self._timeout for each in self._sent.values())

    def metrics(self, now: int, rate: float | None = None) -> tuple[RawMetric, ...]:
        """Return the raw metrics of the path: delay, loss, and, with a `rate`, rate and queue.

        `rate` is the path's traffic in bits a second. The delay is half of the path's time, which is an estimate. The
        queue, in octets, is what the rate brings in the time by which the mean delay exceeds the least (Little's law).
        There is no loss before a probe has been answered or lost, and neither delay nor queue before one has been
        answered.
        """
        self._expire(now)
        found = []
        ended = [each for each in self._sent.values() if each.answered or now - each.at > self._timeout]
        if ended:
            lost = sum(not each.answered for each in ended) / len(ended)
            found.append(RawMetric("network_loss", lost, "none", Source.MEASURED, Statistics.MEAN))
        delay, least = (self._delays.metric(each, now) for each in (Statistics.MEAN, Statistics.MIN))
        if delay is not None and least is not None:
            found.append(RawMetric("network_delay", delay.value, delay.unit, Source.ESTIMATION, Statistics.MEAN))
            if rate is not None:
                queue = (delay.value - least.value) * rate / 8
                found.append(RawMetric("network_queue", queue, "byte", Source.ESTIMATION, Statistics.MEAN))
        if rate is not None:
            found.append(RawMetric("network_rate", rate, "bps", Source.MEASURED, Statistics.MEAN))
        return tuple(found)

    def _expire(self, now: int) -> None:
        for sequence in [sequence for sequence, each in self._sent.items() if each.at < now - self._length]:
            del self._sent[sequence]


def _ntp(time: int) -> int:
    """Return a time in nanoseconds since 1970 as a timestamp of NTP: seconds since 1900, and a fraction of 32 bits."""
    seconds, rest = divmod(time, _SECOND)
    return ((seconds + _EPOCH) % (1 << 32) << 32) | (rest << 32) // _SECOND

"""Limit: a token bucket for each traffic class, which colours or drops the requests beyond its rate."""

from __future__ import annotations

from typing import Literal

from midflight.errors import KernelError
from midflight.primitives.kernel.arithmetic import concat
from midflight.primitives.language import Header, Map, Packet, Primitive, Register, bit, one_of, within

__all__ = ["Limit"]

TICKS = 256
"""The resolution of the bucket's clock, in parts of a microsecond."""


class Limit(Primitive):
    """Let `rate` requests a second pass in each class, with bursts; colour or drop what exceeds that.

    Parameters:
        rate: requests per second of a class that has no entry in the map `intervals` (1 to 10**6)
        burst: requests that an idle class may send at once and that are green (1 to 65535)
        excess: further requests at once that are yellow (0 to 65535)
        beyond: what happens to red requests, which exceed both: `drop` or `mark`, which forwards them
        clock: the clock that fills the buckets: `switch`, the packet's arrival, or `packet`, the header's `time`, for
            traces in virtual time and senders that are trusted
        classes: how many classes have a bucket (1 to 65536); requests of others are dropped

    Each class has one bucket of `burst + excess` tokens, which the class's rate fills; at first it is full. A request
    takes a token. It is `Limit.GREEN` if at least `excess` + 1 tokens were there, `YELLOW` if at least one was, and
    `RED` otherwise; a red request takes none. Green and yellow requests are forwarded with the `colour`. The controller
    gives a class another rate by writing the map: `intervals[class] = Limit.interval(rate)`. The class of a request is
    its sender's claim; bind it by admission. A change of the rate does not move the time at which a bucket is full.

    The bucket is computed as the time at which it will be full, so that a request takes one register access and no
    product of two variables (generic cell rate algorithm, ITU-T I.371). The colours are those of RFC 2697; different
    here: yellow requests take tokens from the same bucket, and a token is a request, not a byte. Times wrap after 2**48
    microseconds. The interval of a token is rounded to 1/256 microsecond, at most 0.2 % of the rate. Nothing overflows:
    the bucket is full at most 2**46 ticks after now. State: 57 bits per class.

    >>> limit = Limit("limit", rate=1000, burst=2, excess=1, clock="packet").reference()
    >>> def send(time):
    ...     outcome = limit.process(Message(REQUEST, "limit", 0, {"traffic_class": 0, "colour": 0, "time": time}))
    ...     return outcome.verdict.name, outcome.message.fields["colour"]
    >>> [send(time) for time in (0, 0, 0)] == [
    ...     ("FORWARD", colour) for colour in (Limit.GREEN, Limit.GREEN, Limit.YELLOW)
    ... ]
    True
    >>> send(999)[0], send(1000) == ("FORWARD", Limit.YELLOW), send(4000) == ("FORWARD", Limit.GREEN)
    ('DROP', True, True)
    """

    FAMILY = "steering"
    PAPER = "ITU-T I.371 (GCRA); RFC 2697"
    OVERFLOW = "a bucket holds at most `burst + excess` tokens"

    GREEN = 1
    YELLOW = 2
    RED = 3

    rate: int
    burst: int = 16
    excess: int = 0
    beyond: Literal["drop", "mark"] = "drop"
    clock: Literal["switch", "packet"] = "switch"
    classes: int = 256

    class Wire(Header):
        """A request of a class, given by its number from 0.

        On the way out, `colour` says whether it is within the rate. `time`, in microseconds, is only read with
        `clock="packet"`.
        """

        traffic_class = bit[16]
        colour = bit[8]
        time = bit[48]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "rate", 1, 10**6)
        within(self, "burst", 1, 2**16 - 1)
        within(self, "excess", 0, 2**16 - 1)
        within(self, "classes", 1, 2**16)
        one_of(self, "beyond", "drop", "mark")
        one_of(self, "clock", "switch", "packet")

    @staticmethod
    def interval(rate: int) -> int:
        """Return the value of the map `intervals` for a rate (1 to 10**6 requests per second).

        It is the time between two tokens in units of 1/256 microsecond. KernelError for another rate.
        """
        if not 1 <= rate <= 10**6:
            raise KernelError(f"Limit: a rate is 1 to 1000000 requests per second, not {rate}")
        return round(TICKS * 10**6 / rate)

    def setup(self) -> None:
        """Create the map of the classes' intervals; for each class, when its bucket is full, below a valid bit."""
        self.usual = self.interval(self.rate)
        self.intervals = Map(bit[16], bit[28], size=self.classes)
        self.full = Register(bit[57], self.classes)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Colour the request, which takes a token if there is one, and forward it.

        Drop it if it is red and `beyond` is `drop`, or if its class is unknown.
        """
        if wire.traffic_class >= self.classes:
            packet.drop()
            return
        arrival = wire.time if self.clock == "packet" else packet.now
        now = bit[56](arrival) << 8
        interval = bit[57](self.intervals.get(wire.traffic_class, self.usual))
        # A request passes if the bucket is not further from being full than this.
        green = interval * (self.burst - 1)
        yellow = interval * (self.burst - 1 + self.excess)
        before = self.full.update(wire.traffic_class, lambda old: later(old, now, yellow, interval))
        missing = deficit(before, now)
        if missing <= green:
            wire.colour = self.GREEN
        elif missing <= yellow:
            wire.colour = self.YELLOW
        else:
            wire.colour = self.RED
            if self.beyond == "drop":
                packet.drop()


def deficit(full: int, now: int) -> int:
    """Return in how many ticks a bucket is full; 0 if it is now. `full` has a valid bit on top; times wrap below it."""
    missing = bit[56](full) - now
    return bit[57](0) if full == 0 or missing >= 2**55 else bit[57](missing)


def later(full: int, now: int, most: int, interval: int) -> int:
    """Return when the bucket will be full after a request, which takes a token unless more than `most` is missing."""
    missing = deficit(full, now)
    return full if missing > most else concat(bit[1](1), now + bit[56](missing + interval))

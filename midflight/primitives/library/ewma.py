"""Ewma: the exponentially weighted moving average of each series, and alerts on outliers."""

from __future__ import annotations

from midflight.primitives.language import Header, Packet, Primitive, Register, bit, int_, within

__all__ = ["Ewma"]


class Ewma(Primitive):
    """Smooth the values of each series: `average += (value - average) * weight / 2**shift`, in fixed point.

    Parameters:
        weight: the weight of a new value in units of 2**-shift (1 to 2**shift - 1). With 1, the kernel does not
            multiply, which some switches cannot do
        shift: see `weight` (1 to 12)
        fraction: fraction bits of the average in the switch (0 to 16)
        deviation: a value that differs by more than this from the new average raises an alert, in the unit of the
            values (1 to 2**32 - 1); 0 disables alerts
        series: how many series have an average (1 to 65536); for others, the average is the value itself

    Every packet is forwarded with `average`, rounded to an integer. The first value of a series is its first average.
    An alert contains (series, value, average).

    The average lies between the smallest and the largest value, so nothing overflows. Every step is rounded to the
    nearest multiple of 2**-fraction, halves up. The average of a constant value stops short of it by at most
    2**(shift - 1) / weight of these multiples, so use at least `shift` fraction bits.

    Follows the estimator of round-trip times (Jacobson, SIGCOMM 1988; RFC 6298), with its state scaled by a power of
    two. Different here: rounding to the nearest, arbitrary weights, and alerts. State: 65 bits per series.

    >>> load = Ewma("load", shift=2, deviation=30).reference()
    >>> def smooth(value):
    ...     outcome = load.process(Message(REQUEST, "load", 0, {"series": 3, "value": value, "average": 0}))
    ...     return outcome.message.fields["average"], outcome.alerts
    >>> [smooth(each) for each in (100, 104, 150)]
    [(100, ()), (101, ()), (113, ((3, 150, 113),))]
    """

    FAMILY = "aggregation"
    PAPER = "Jacobson, SIGCOMM 1988; RFC 6298"
    OVERFLOW = "the average lies between the smallest and the largest value"

    weight: int = 1
    shift: int = 3
    fraction: int = 8
    deviation: int = 0
    series: int = 1024

    class Wire(Header):
        """A value of a series, given by its number from 0. On the way out, `average` is the series' average."""

        series = bit[16]
        value = int_[32]
        average = int_[32]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        within(self, "shift", 1, 12)
        within(self, "weight", 1, 2**self.shift - 1)
        within(self, "fraction", 0, 16)
        within(self, "deviation", 0, 2**32 - 1)
        within(self, "series", 1, 2**16)

    def setup(self) -> None:
        """Create, for each series: whether it has had a value, and the average in units of 2**-fraction."""
        self.seen = Register(bit[1], self.series)
        self.average = Register(int_[64], self.series)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Update the average of the value's series and forward the packet with it; raise an alert for an outlier."""
        seen = self.seen.update(wire.series, lambda _: 1)
        value = int_[64](wire.value) << self.fraction
        # The widest product: 33 bits of difference, 16 of fraction and 12 of weight.
        average = self.average.update_fetch(
            wire.series,
            lambda old: (
                value if seen == 0 else old + ((value - old) * self.weight + 2 ** (self.shift - 1) >> self.shift)
            ),
        )
        wire.average = int_[32](average + 2**self.fraction // 2 >> self.fraction)
        if self.deviation > 0 and abs(value - average) > self.deviation << self.fraction:
            packet.alert(wire.series, wire.value, wire.average)
        packet.forward()

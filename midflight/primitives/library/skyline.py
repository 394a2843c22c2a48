"""Skyline: drops points that another point dominates."""

from __future__ import annotations

from midflight.primitives.kernel.arithmetic import bits, concat
from midflight.primitives.language import Packet, Register, bit, within
from midflight.primitives.library.pruning import Pruning

__all__ = ["Skyline"]


class Skyline(Pruning):
    """Prune points that one of a few stored points matches or exceeds in every dimension.

    Parameters:
        points: how many points are stored, those with the largest scores (1 to 64)
        dimensions: coordinates of a point (2 to 8)
        width: bits of a coordinate (4 to 32)
        pruned: what happens to such a point: `drop`, or `reply` with bit 1 of `flags` set. A point with bit 0 of
            `flags` set is a retransmission, which is always forwarded: see `Pruning`

    The remaining points have the same skyline, as a set: the points that no other point matches or exceeds in every
    dimension. Every stored point has itself been forwarded, so the server has a better or equal point for each pruned
    one. `midflight.primitives.estimators.completion.skyline` computes the skyline of the remaining points. Unnecessary
    points pass if no stored point dominates them. For dimensions in which smaller is better, hosts send the complement.
    The score is the sum of the coordinates, which always fits its width + 3 bits.

    Follows SKYLINE in Cheetah (SIGMOD 2020): points are stored in descending order of score. A point's score is never
    larger than that of a point that dominates it. A new point moves those with smaller scores back by one, and the last
    one out. Different here: equal scores are ordered by the points themselves, and equal points are pruned, so that
    they are not stored twice. State: `points` arrays of one number with width * (dimensions + 1) + 4 bits.

    >>> hotels = Skyline("hotels", points=2, width=8).reference()
    >>> def send(*values):
    ...     return hotels.process(Message(REQUEST, "hotels", 0, {"flags": 0, "values": values})).verdict.name
    >>> [send(5, 5), send(4, 5), send(9, 1), send(5, 6), send(5, 5)]
    ['FORWARD', 'DROP', 'FORWARD', 'FORWARD', 'DROP']
    """

    FAMILY = "reduction"
    PAPER = "Cheetah: Tirmazi et al., SIGMOD 2020"
    OVERFLOW = "scores are wide enough for every sum"

    points: int = 8
    dimensions: int = 2
    width: int = 32

    class Wire(Pruning.Wire):
        """A point: `values` has a coordinate per dimension, of which larger is better."""

        values = bit["width"].array("dimensions")

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description."""
        super().validate()
        within(self, "points", 1, 64)
        within(self, "dimensions", 2, 8)
        within(self, "width", 4, 32)

    def setup(self) -> None:
        """Create the stored points by descending score, each below a valid bit and its score; empty entries are 0."""
        self.best = Register(bit[self.width * (self.dimensions + 1) + 4], 1, lanes=self.points)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Prune a point that a stored point matches or exceeds in every dimension; forward others.

        These are stored by score: a point moves those with smaller scores back, and the last one out. It is not stored
        if all places have larger scores. Retransmissions (bit 0 of `flags`) are forwarded and change nothing.
        """
        if wire.flags & 1 == 1:
            packet.forward()
            return
        score = bit[self.width + 3](wire.values[0])
        point = bit[self.width * self.dimensions](wire.values[0])
        for axis in range(1, self.dimensions):
            score += bit[self.width + 3](wire.values[axis])
            point = point << self.width | bit[self.width * self.dimensions](wire.values[axis])
        moved = concat(bit[1](1), score, point)
        stored = False
        beaten = False
        for place in range(self.points):
            before = self.best[place].update(0, lambda old: old if beaten else max(old, moved))
            if moved > before:
                stored = True
                moved = before
            elif not stored:
                worse = True
                for axis in range(self.dimensions):
                    low = self.width * (self.dimensions - 1 - axis)
                    worse = worse and wire.values[axis] <= bits(before, low + self.width - 1, low)
                beaten = beaten or worse
        if not beaten:
            packet.forward()
        else:
            self.prune(packet, wire)

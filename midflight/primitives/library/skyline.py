"""Skyline: points that another one beats in every dimension are dropped."""

from __future__ import annotations

from midflight.primitives.kernel.arithmetic import bits, concat
from midflight.primitives.language import Packet, Register, bit, within
from midflight.primitives.library.pruning import Pruning

__all__ = ["Skyline"]


class Skyline(Pruning):
    """Prune points that one of a few stored points is at least as good as in every dimension; larger is better.

    Parameters:
        points: how many points are stored, those with the largest scores (1 to 64)
        dimensions: coordinates of a point (2 to 8)
        width: bits of a coordinate (4 to 32)
        pruned: what becomes of such a point, and the contract with the hosts: see `Pruning`

    What is left has the same skyline, as a set: the points than which no other is at least as good everywhere. Every
    stored point has been forwarded itself, so whoever is pruned has a better or equal one at the server;
    `midflight.primitives.estimators.completion.skyline` makes the skyline of what is left. Points that are not
    needed pass as well when none of the stored ones beats them. For a dimension in which less is better, hosts send
    the complement. The score is the sum of the coordinates, in width + 3 bits, which it cannot leave.

    Follows SKYLINE in Cheetah (SIGMOD 2020): the points are kept in order of a score that no point has larger than
    one that beats it, and a new one pushes those with smaller scores a place further, out of the last. Different
    here: of two equal scores the point itself decides, equal points are pruned, too, and so are not stored twice.
    Asks for `points` arrays of one number, width * (dimensions + 1) + 4 bits wide.

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
        """A point."""

        values = bit["width"].array("dimensions")

    def validate(self) -> None:
        """Check the limits."""
        super().validate()
        within(self, "points", 1, 64)
        within(self, "dimensions", 2, 8)
        within(self, "width", 4, 32)

    def setup(self) -> None:
        """The stored points in order, each behind a 1 and its score; 0 where there is none yet."""
        self.best = Register(bit[self.width * (self.dimensions + 1) + 4], 1, lanes=self.points)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Look at the points of larger scores; then take the place of the first one with a smaller score."""
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

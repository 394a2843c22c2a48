"""TopN: drops rows that cannot be among the N largest."""

from __future__ import annotations

from midflight.errors import KernelError
from midflight.primitives.language import Packet, Register, bit, within
from midflight.primitives.library.pruning import Pruning

__all__ = ["TopN"]


class TopN(Pruning):
    """Prune rows below a threshold that `n` rows have reached; the remaining rows include the `n` largest.

    Parameters:
        n: the number of largest rows that the query selects (1 to 65535)
        lowest: the lowest threshold, in the unit of the values (1 to 2**32 - 1)
        levels: the number of thresholds, each twice the previous one (1 to 32); the last is below 2**32
        queries: how many queries have state (1 to 65536); rows of other queries are all forwarded
        pruned: what happens to an unnecessary row: `drop`, or `reply` with bit 1 of `flags` set. A row with bit 0 of
            `flags` set is a retransmission, which is always forwarded: see `Pruning`

    The `n` largest rows, including ties, are always among the remaining ones, in whatever order rows arrive: a row is
    pruned only after `n` larger rows have been forwarded. Eventually, rows below half of the n-th largest value are no
    longer forwarded, if that value lies between the thresholds. Rows that the network duplicates would count twice;
    senders mark their own retransmissions. `midflight.primitives.estimators.completion.top` selects the `n` largest of
    the remaining rows. Counters stop at `n`.

    Follows the deterministic TOP N of Cheetah (SIGMOD 2020), whose thresholds double as well. Different here: the
    thresholds are fixed instead of multiples of the smallest of the first `n` rows, so that all of them count from the
    first row. For the smallest values, hosts send the complement. State: `levels` arrays of `queries` numbers of 16
    bits.

    >>> prices = TopN("prices", n=2, lowest=100, levels=4).reference()
    >>> def send(value):
    ...     return prices.process(Message(REQUEST, "prices", 0, {"flags": 0, "query": 0, "value": value})).verdict.name
    >>> [send(value) for value in (90, 250, 120, 90, 210, 150, 200)]
    ['FORWARD', 'FORWARD', 'FORWARD', 'DROP', 'FORWARD', 'DROP', 'FORWARD']
    """

    FAMILY = "reduction"
    PAPER = "Cheetah: Tirmazi et al., SIGMOD 2020"
    OVERFLOW = "counts do not exceed `n`"

    n: int
    lowest: int = 1
    levels: int = 32
    queries: int = 1

    class Wire(Pruning.Wire):
        """A row: the number of its query, from 0, and the value by which the query orders rows."""

        query = bit[16]
        value = bit[32]

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description.

        The highest threshold, `lowest` * 2**(`levels` - 1), must fit 32 bits.
        """
        super().validate()
        within(self, "n", 1, 2**16 - 1)
        within(self, "lowest", 1, 2**32 - 1)
        within(self, "levels", 1, 32)
        within(self, "queries", 1, 2**16)
        highest = self.lowest << self.levels - 1
        if highest >= 2**32:
            raise KernelError(f"{self.title}: the highest threshold would be {highest}; use fewer levels")

    def setup(self) -> None:
        """Create, for each threshold and query: the number of rows that have reached the threshold, at most `n`."""
        self.reached = Register(bit[16], self.queries, lanes=self.levels)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Count the row at the thresholds that it reaches.

        Prune it if `n` rows have reached a threshold that it does not. Other rows are forwarded. Retransmissions (bit 0
        of `flags`) are forwarded and not counted.
        """
        if wire.flags & 1 == 1:
            packet.forward()
            return
        needed = True
        for level in range(self.levels):
            threshold = self.lowest << level
            before = self.reached[level].update(
                wire.query, lambda old: old + 1 if wire.value >= threshold and old < self.n else old
            )
            if wire.value < threshold and before == self.n:
                needed = False
        if needed:
            packet.forward()
        else:
            self.prune(packet, wire)

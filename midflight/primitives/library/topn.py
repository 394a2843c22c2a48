"""TopN: rows that are surely not among the N largest are dropped."""

from __future__ import annotations

from midflight.errors import KernelError
from midflight.primitives.language import Packet, Register, bit, within
from midflight.primitives.library.pruning import Pruning

__all__ = ["TopN"]


class TopN(Pruning):
    """Prune rows below a threshold that `n` rows have reached; what is left has the `n` largest in it.

    Parameters:
        n: how many of the largest rows the query is after (1 to 65535)
        lowest: the lowest threshold, in the unit of the values (1 to 2**32 - 1)
        levels: how many thresholds there are, each twice the one before (1 to 32); the last is below 2**32
        queries: how many queries have a state of their own (1 to 65536); rows of others are all forwarded
        pruned: what becomes of a row that is not needed, and the contract with the hosts: see `Pruning`

    The `n` largest rows are always among those that are left, equal ones included, in whatever order they come:
    a row is pruned only when `n` rows that are larger have been forwarded. In the end no row below half of the n-th
    largest value is forwarded any more, if that lies between the thresholds. Rows that the network itself doubles
    would count twice: senders mark what they repeat. `midflight.primitives.estimators.completion.top` takes the `n`
    largest of what is left. Counters stop at `n`.

    Follows the deterministic TOP N of Cheetah (SIGMOD 2020), whose thresholds double, too. Different here: they are
    fixed beforehand, rather than multiples of the least of the first `n` rows, so all of them count from the first row
    on. For the smallest values, hosts send the complement. Asks for `levels` arrays of `queries` times 16 bits.

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
        """A row of a query, as far as it must be compared."""

        query = bit[16]
        value = bit[32]

    def validate(self) -> None:
        """Check the limits."""
        super().validate()
        within(self, "n", 1, 2**16 - 1)
        within(self, "lowest", 1, 2**32 - 1)
        within(self, "levels", 1, 32)
        within(self, "queries", 1, 2**16)
        highest = self.lowest << self.levels - 1
        if highest >= 2**32:
            raise KernelError(f"{self.title}: the highest threshold would be {highest}; use fewer levels")

    def setup(self) -> None:
        """For each threshold and query: how many rows have reached it, up to n."""
        self.reached = Register(bit[16], self.queries, lanes=self.levels)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Count the row at the thresholds that it reaches; prune it when one that it does not has been by n."""
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

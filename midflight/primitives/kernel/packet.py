"""The packet as a kernel sees it, and the verdicts that a kernel can give."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Protocol

from midflight.errors import KernelError
from midflight.primitives.kernel.types import Kind, Number

__all__ = ["NOW", "ROUNDS", "Packet", "Randomness", "Verdict"]

NOW = Kind(48)
"""The type of `packet.now`."""

ROUNDS: Final = 16
"""The maximum number of rounds of a packet. One that recirculates in the last round is dropped."""


class Verdict(IntEnum):
    """What the switch does with a packet after the kernel; `Packet` has a method for each.

    The values are those of the constants in the emitted P4.
    """

    FORWARD = 0
    DROP = 1
    REPLY = 2
    MULTICAST = 3
    FALLBACK = 4
    RECIRCULATE = 5


class Randomness(Protocol):
    """A source of random numbers, such as a seeded `random.Random`."""

    def getrandbits(self, k: int, /) -> int:
        """Return a non-negative integer less than 2**k, whose `k` bits are random."""


class Packet:
    """A packet in one round of a kernel that runs as the reference. It records what the kernel decides in that round.

    `sequence` is the common header's (32 bits), `epoch` that of the switch's state (16 bits), `now` the arrival time in
    microseconds (48 bits), `random` the source of random numbers, and `round` the number of earlier rounds of the
    packet (8 bits). Larger numbers wrap. Assigning attributes raises KernelError.
    """

    def __init__(
        self, sequence: int, epoch: int = 0, now: int = 0, random: Randomness | None = None, round: int = 0
    ) -> None:
        self.__dict__["_sequence"] = Number(Kind(32), sequence)
        self.__dict__["_epoch"] = Number(Kind(16), epoch)
        self.__dict__["_now"] = Number(NOW, now)
        self.__dict__["_random"] = random
        self.__dict__["_round"] = Number(Kind(8), round)
        self.__dict__["_mirrored"] = False
        self.__dict__["_verdict"] = Verdict.FORWARD
        self.__dict__["_alerts"] = []

    @property
    def sequence(self) -> int:
        """The sequence number in the packet's common header, bit[32]."""
        number: int = self.__dict__["_sequence"]
        return number

    @property
    def epoch(self) -> int:
        """The epoch of the switch's state, bit[16]: the controller starts a new one when state may have been lost."""
        number: int = self.__dict__["_epoch"]
        return number

    @property
    def now(self) -> int:
        """The packet's arrival time, bit[48], in microseconds of the switch's own clock, which wraps."""
        number: int = self.__dict__["_now"]
        return number

    @property
    def round(self) -> int:
        """The number of times that the packet has recirculated, bit[8], 0 to 15."""
        number: int = self.__dict__["_round"]
        return number

    def random(self, kind: Kind) -> int:
        """Return a uniformly distributed random number of type `kind`.

        Raises KernelError if the packet was created without a source of random numbers. The compiler rejects types of
        more than 64 bits.
        """
        source: Randomness | None = self.__dict__["_random"]
        if source is None:
            raise KernelError(
                "packet.random needs a source of random numbers", hint="write `reference(random=Random(seed))`"
            )
        return Number(kind, source.getrandbits(kind.width))

    def __setattr__(self, name: str, value: object) -> None:
        raise KernelError(f"packet.{name} cannot be assigned in a kernel")

    @property
    def verdict(self) -> Verdict:
        """The verdict that the kernel gave last in this round; FORWARD if it gave none."""
        verdict: Verdict = self.__dict__["_verdict"]
        return verdict

    @property
    def forwarded(self) -> bool:
        """Whether the last verdict of this round is FORWARD, or the kernel has given none."""
        return self.verdict == Verdict.FORWARD

    @property
    def mirrored(self) -> bool:
        """Whether the kernel has called `mirror` in this round, so that a copy of the packet is sent."""
        mirrored: bool = self.__dict__["_mirrored"]
        return mirrored

    @property
    def alerts(self) -> list[tuple[int, ...]]:
        """The alerts that the kernel has raised in this round, each as a tuple of plain ints."""
        alerts: list[tuple[int, ...]] = self.__dict__["_alerts"]
        return alerts

    def forward(self) -> None:
        """Set the verdict FORWARD, the default: the packet goes on to its destination, with the changed fields."""
        self.__dict__["_verdict"] = Verdict.FORWARD

    def drop(self) -> None:
        """Set the verdict DROP: the packet is discarded."""
        self.__dict__["_verdict"] = Verdict.DROP

    def reply(self) -> None:
        """Set the verdict REPLY: the packet returns to its sender as a result, with the changed fields."""
        self.__dict__["_verdict"] = Verdict.REPLY

    def multicast(self) -> None:
        """Set the verdict MULTICAST: all members of the application get the packet as a result, with changed fields."""
        self.__dict__["_verdict"] = Verdict.MULTICAST

    def fallback(self) -> None:
        """Set the verdict FALLBACK: the packet goes on to the host that it is addressed to, which computes instead.

        It has the fields as changed by the kernel. Switches on the way only forward it.
        """
        self.__dict__["_verdict"] = Verdict.FALLBACK

    def recirculate(self) -> None:
        """Set the verdict RECIRCULATE: the kernel runs on the packet again, with changed fields, in the next `round`.

        Other packets may pass in between. A packet that recirculates in round 15 is dropped and counted.
        """
        self.__dict__["_verdict"] = Verdict.RECIRCULATE

    def mirror(self) -> None:
        """Send a copy of the packet to the hosts that `Controller.mirror` names, independently of the verdict.

        The copy is the packet as it was when this round began: in the first round, as it arrived. Further calls in a
        round have no effect.
        """
        self.__dict__["_mirrored"] = True

    def alert(self, *values: int) -> None:
        """Report numbers to the controller, as a P4 digest.

        A packet may raise one alert in each round: the compiler rejects kernels with a path to a second. It also
        rejects alerts of one kernel with different types. KernelError if there is no number, or if one has no width.
        """
        if not values or not all(isinstance(each, Number) for each in values):
            raise KernelError("packet.alert takes numbers with a width: convert a constant with bit[n](...)")
        self.alerts.append(tuple(int(each) for each in values))

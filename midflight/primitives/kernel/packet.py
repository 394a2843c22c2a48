"""The packet as a kernel sees it, and what a kernel can decide about it."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, Protocol

from midflight.errors import KernelError
from midflight.primitives.kernel.types import Kind, Number

__all__ = ["NOW", "ROUNDS", "Packet", "Randomness", "Verdict"]

NOW = Kind(48)
"""What `packet.now` is."""

ROUNDS: Final = 16
"""How often a packet may pass its kernel; one that would come around once more is dropped."""


class Verdict(IntEnum):
    """What becomes of a packet after the kernel. The values are those of the emitted P4's constants."""

    FORWARD = 0
    DROP = 1
    REPLY = 2
    MULTICAST = 3
    FALLBACK = 4
    RECIRCULATE = 5


class Randomness(Protocol):
    """Where random numbers come from, such as a `random.Random` with a seed."""

    def getrandbits(self, k: int, /) -> int:
        """Return a number of `k` random bits."""


class Packet:
    """The packet under way and the kernel's outputs. The last verdict counts."""

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
        """The common header's sequence number, bit[32]."""
        number: int = self.__dict__["_sequence"]
        return number

    @property
    def epoch(self) -> int:
        """The life that the switch's state is in, bit[16]: the controller counts on when a switch comes back empty."""
        number: int = self.__dict__["_epoch"]
        return number

    @property
    def now(self) -> int:
        """The time at which the packet came in, bit[48], in microseconds of the switch's own clock, which wraps."""
        number: int = self.__dict__["_now"]
        return number

    @property
    def round(self) -> int:
        """How often the packet has come around to its kernel, bit[8]: 0 until it recirculates."""
        number: int = self.__dict__["_round"]
        return number

    def random(self, kind: Kind) -> int:
        """Draw a number, every one of a kind of at most 64 bits as likely as any other."""
        source: Randomness | None = self.__dict__["_random"]
        if source is None:
            raise KernelError("packet.random has nowhere to draw from", hint="write `reference(random=Random(seed))`")
        return Number(kind, source.getrandbits(kind.width))

    def __setattr__(self, name: str, value: object) -> None:
        raise KernelError(f"packet.{name} cannot be written by a kernel")

    @property
    def verdict(self) -> Verdict:
        """The last verdict."""
        verdict: Verdict = self.__dict__["_verdict"]
        return verdict

    @property
    def forwarded(self) -> bool:
        """Whether the last verdict is `forward`, or there is none yet."""
        return self.verdict == Verdict.FORWARD

    @property
    def mirrored(self) -> bool:
        """Whether a copy goes to the application's mirror."""
        mirrored: bool = self.__dict__["_mirrored"]
        return mirrored

    @property
    def alerts(self) -> list[tuple[int, ...]]:
        """The alerts raised so far."""
        alerts: list[tuple[int, ...]] = self.__dict__["_alerts"]
        return alerts

    def forward(self) -> None:
        """Send the packet on towards its destination: what happens when a kernel decides nothing."""
        self.__dict__["_verdict"] = Verdict.FORWARD

    def drop(self) -> None:
        """Discard the packet."""
        self.__dict__["_verdict"] = Verdict.DROP

    def reply(self) -> None:
        """Send the packet, with its fields as they are now, back to its sender as a result."""
        self.__dict__["_verdict"] = Verdict.REPLY

    def multicast(self) -> None:
        """Send the packet, with its fields as they are now, to all members of the application as a result."""
        self.__dict__["_verdict"] = Verdict.MULTICAST

    def fallback(self) -> None:
        """Leave the packet, with its fields as they are now, to the host that it is addressed to, to compute itself."""
        self.__dict__["_verdict"] = Verdict.FALLBACK

    def recirculate(self) -> None:
        """Send the packet, with its fields as they are now, through the kernel once more: `round` counts them.

        Other packets may pass in between.
        """
        self.__dict__["_verdict"] = Verdict.RECIRCULATE

    def mirror(self) -> None:
        """Send a copy of the packet as it came to the application's mirror, whatever becomes of the packet itself."""
        self.__dict__["_mirrored"] = True

    def alert(self, *values: int) -> None:
        """Tell the controller these numbers (a P4 digest). At most once for each packet."""
        if not values or not all(isinstance(each, Number) for each in values):
            raise KernelError("packet.alert takes numbers that have a width: write bit[n](...) around a constant")
        self.alerts.append(tuple(int(each) for each in values))

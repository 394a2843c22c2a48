"""The quality of a link: delay, rate, queue, and the probabilities of loss, duplication and reordering."""

from __future__ import annotations

from dataclasses import dataclass

from midflight.errors import MidflightError

__all__ = ["LinkQuality"]


@dataclass(frozen=True, slots=True)
class LinkQuality:
    """The properties of a link, the same in both directions.

    delay: propagation delay in ns, at least 0.
    rate: bits per second, at least 1; None for infinite.
    queue: bytes that can wait for transmission, beyond which frames are dropped; None for no limit.
    loss, duplicate, reorder: probabilities from 0 to 1 for each frame, independent of others; loss must be below 1.
    jitter: ns, at least 1. A reordered frame and the copy of a duplicated one are late by 1 to this, so that others may
        overtake them.
    mtu: bytes of the largest IP packet that the link carries, 68 to 65535; larger ones are dropped.

    MidflightError if a value is out of its range; `queue` is not checked.
    """

    delay: int = 1_000
    rate: int | None = 10_000_000_000
    queue: int | None = 1 << 20
    loss: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    jitter: int = 20_000
    mtu: int = 1500

    def __post_init__(self) -> None:
        for name in ("loss", "duplicate", "reorder"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise MidflightError(f"a link's {name} is a probability from 0 to 1, not {getattr(self, name)}")
        if self.loss == 1.0:
            raise MidflightError("a link must not lose every frame", hint="leave the link out instead")
        if not 68 <= self.mtu <= 65_535:
            raise MidflightError(f"a link's MTU is 68 to 65535 bytes, not {self.mtu}")
        if self.delay < 0 or self.jitter < 1 or (self.rate is not None and self.rate < 1):
            raise MidflightError("a link needs a delay of at least 0 ns, a jitter of at least 1 ns and a positive rate")

    @property
    def impaired(self) -> bool:
        """Whether frames may be lost, duplicated or reordered: whether one of the three probabilities is above 0."""
        return bool(self.loss or self.duplicate or self.reorder)

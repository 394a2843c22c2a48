"""The detection of dead instances: by signs of life that stop, and by evidence that something has failed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from midflight.errors import MidflightError

__all__ = ["Liveness"]

_REMEMBERED = 10  # outcomes of each kind that `answered` counts


@dataclass(slots=True)
class _Signs:
    """The signs of one kind: when the last one came, what has failed since, and the latest outcomes."""

    last: int
    failed: str = ""
    outcomes: tuple[bool, ...] = ()


class Liveness:
    """Decides which instances are dead. Times are in nanoseconds of one clock.

    There may be several kinds of signs of life, such as updates of a C-SMA and answers to probes. From the first sign
    of a kind that an instance has given, or has missed, it counts as dead once it has given none of that kind for
    `detect`. So `detect` is the detection time; whoever sends the signs must send several in that time. MidflightError
    if it is not positive.
    """

    def __init__(self, detect: int) -> None:
        if detect <= 0:
            raise MidflightError(f"a detection time of {detect} ns is not positive")
        self.detect = detect
        self._signs: dict[str, dict[str, _Signs]] = {}

    def sign(self, instance: str, kind: str, now: int) -> None:
        """Record that an instance gave a sign of life of one kind at `now`. It ends the evidence of `fail` of this
        kind.
        """
        found = self._signs.setdefault(instance, {}).setdefault(kind, _Signs(now))
        found.last, found.failed = now, ""
        found.outcomes = (*found.outcomes[1 - _REMEMBERED :], True)

    def fail(self, instance: str, kind: str, reason: str) -> None:
        """Record evidence against an instance, which counts as dead until its next sign of this kind.

        `reason` is the text that `dead` returns.
        """
        found = self._signs.setdefault(instance, {}).setdefault(kind, _Signs(0))
        found.failed = reason
        found.outcomes = (*found.outcomes[1 - _REMEMBERED :], False)

    def miss(self, instance: str, kind: str, now: int) -> None:
        """Record that an expected sign of an instance had not come at `now`.

        If there has been none of this kind at all, the time of silence begins.
        """
        found = self._signs.setdefault(instance, {}).setdefault(kind, _Signs(now))
        found.outcomes = (*found.outcomes[1 - _REMEMBERED :], False)

    def answered(self, instance: str, kind: str) -> float | None:
        """Return the share of the latest ten expected signs of a kind that came, or None if none was expected."""
        found = self._signs.get(instance, {}).get(kind)
        return sum(found.outcomes) / len(found.outcomes) if found and found.outcomes else None

    def dead(self, instances: Iterable[str], now: int) -> dict[str, str]:
        """Return those of the instances that count as dead at `now`, with the reason as text.

        An instance of which `sign`, `miss` and `fail` have recorded nothing does not count as dead.
        """
        found: dict[str, str] = {}
        for instance in instances:
            for kind, each in self._signs.get(instance, {}).items():
                if each.failed:
                    found[instance] = each.failed
                elif now - each.last > self.detect:
                    found[instance] = f"no {kind} for {self.detect / 1e9:.3g} s"
        return found

    def keep(self, instances: Iterable[str]) -> None:
        """Forget all instances but these."""
        self._signs = {each: self._signs[each] for each in dict.fromkeys(instances) if each in self._signs}

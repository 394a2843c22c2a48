"""The oracle of Limit: buckets of tokens as fractions, filled as time passes."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

__all__ = ["Bucket"]

Colour = Literal["green", "yellow", "red"]


@dataclass(slots=True)
class Bucket:
    """The oracle of `Limit` for one class: a bucket of `burst + excess` tokens, full at first."""

    burst: int
    excess: int
    _held: Fraction = Fraction(0)
    _time: int | None = None
    _interval: Fraction = Fraction(1)

    def take(self, time: int, interval: Fraction) -> Colour:
        """Return the colour of a request at `time`, microseconds modulo 2**48, with `interval` microseconds per token.

        `green` takes one of the `burst` tokens, `yellow` one of the `excess` tokens, and `red` takes none. A change of
        the interval changes the number of missing tokens, so that the bucket will be full at the same time as without
        the change. Times may go backwards; the bucket held less then.
        """
        size = Fraction(self.burst + self.excess)
        if self._time is None:
            self._held, self._time = size, time
        else:
            self._held = size - (size - self._held) * self._interval / interval
        self._interval = interval
        elapsed = (time - self._time + 2**47) % 2**48 - 2**47
        held = min(size, self._held + elapsed / interval)
        if held < 1:
            return "red"
        self._held, self._time = held - 1, time
        return "green" if held - self.excess >= 1 else "yellow"

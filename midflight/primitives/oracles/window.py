"""The oracle of Window: a series as the list of its items, each with its pane."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

__all__ = ["Result", "Series"]

CLOCK = 2**32


@dataclass(frozen=True, slots=True)
class Result:
    """The contents of a window: its end, and the count, sum, minimum and maximum of its values.

    `end` is exclusive: a number of items, or a time.
    """

    end: int
    count: int
    total: int
    least: int
    most: int


@dataclass(slots=True)
class Series:
    """The oracle of `Window` for one series of items: windows consist of `panes` panes of `length` each.

    `length` is in items or units of time.
    """

    length: int
    panes: int
    _values: list[int] = field(default_factory=list)
    _panes: list[int] = field(default_factory=list)
    """The pane of each value, numbered without bound."""

    def counted(self, value: int) -> Result | None:
        """Add an item, where panes have a fixed number of items.

        Return the result of the window that it completes, or None.
        """
        self._values.append(value)
        self._panes.append((len(self._values) - 1) // self.length)
        full = len(self._values) % self.length == 0
        return self._result(self._panes[-1]) if full else None

    def timed(self, time: int, value: int) -> Result | None:
        """Add an item, where panes have a fixed length of time, on a 32-bit clock that wraps.

        If the item is the first of a new pane, return the result of the window that ends before that pane; otherwise
        None. ValueError if the item is late: of an earlier pane than the latest.
        """
        around = CLOCK // self.length
        pane = time // self.length
        result = None
        if self._panes:
            latest = self._panes[-1]
            ahead = (pane - latest) % around
            if ahead >= around // 2:
                raise ValueError("late")
            pane = latest + ahead
            if ahead > 0:
                result = self._result(latest)
        self._values.append(value)
        self._panes.append(pane)
        return result

    def _result(self, last: int) -> Result:
        panes: npt.NDArray[np.int64] = np.array(self._panes, dtype=np.int64)
        values = np.array(self._values, dtype=np.int64)[(panes > last - self.panes) & (panes <= last)]
        end = (last + 1) * self.length % CLOCK
        return Result(end, len(values), int(values.sum()), int(values.min()), int(values.max()))

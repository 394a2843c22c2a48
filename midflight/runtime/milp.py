"""Mixed-integer linear programs, row by row, solved by HiGHS in scipy (`pip install 'midflight[fit]'`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_array

__all__ = ["Model", "Solved"]

Terms = Sequence[tuple[int, float]]
"""Variables with their factors."""

_OPTIMAL, _INFEASIBLE = 0, 2  # statuses of scipy's milp


@dataclass(frozen=True, slots=True)
class Solved:
    """The result of a search: values by variable, or None if none were found, and whether that is proven to be best.

    Without values, `proven` means that there is no solution.
    """

    values: tuple[float, ...] | None
    proven: bool

    def chosen(self, variable: int) -> bool:
        """Return whether the binary variable of this number is 1. There must be values."""
        assert self.values is not None
        return self.values[variable] > 0.5

    def whole(self, variable: int) -> int:
        """Return the value of the integer variable of this number. There must be values."""
        assert self.values is not None
        return round(self.values[variable])


@dataclass(slots=True)
class Model:
    """A mixed-integer linear program to minimise, built with `variable` and `constrain`.

    Variables are numbered from 0. `low`, `high`, `integer` and `cost` describe them; `rows`, `columns` and `factors`
    are the entries of the matrix of constraints, and `least` and `most` the limits of each row.
    """

    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)
    integer: list[bool] = field(default_factory=list)
    cost: list[float] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    factors: list[float] = field(default_factory=list)
    least: list[float] = field(default_factory=list)
    most: list[float] = field(default_factory=list)

    def variable(self, low: float = 0.0, high: float = 1.0, *, integer: bool = True, cost: float = 0.0) -> int:
        """Add a variable with these bounds, inclusive, and return its number.

        With `integer`, it has integer values only. `cost` is its factor in the sum that is minimised.
        """
        self.low.append(low)
        self.high.append(high)
        self.integer.append(integer)
        self.cost.append(cost)
        return len(self.low) - 1

    def constrain(self, terms: Terms, least: float, most: float) -> None:
        """Require that a sum of variables with factors (`terms`) lies between `least` and `most`, inclusive.

        A variable may occur several times; its factors are added.
        """
        for column, factor in terms:
            self.rows.append(len(self.least))
            self.columns.append(column)
            self.factors.append(factor)
        self.least.append(least)
        self.most.append(most)

    def solve(self, patience: float, gap: float = 0.0) -> Solved:
        """Search for the best values for at most `patience` seconds (at least 0.01), and return what was found.

        The search ends earlier with values within a relative `gap` of the best, which then count as proven.
        """
        matrix = coo_array((self.factors, (self.rows, self.columns)), shape=(len(self.least), len(self.low))).tocsr()
        result = milp(
            np.array(self.cost),
            integrality=np.array(self.integer, dtype=np.uint8),
            bounds=Bounds(np.array(self.low), np.array(self.high)),
            constraints=LinearConstraint(matrix, np.array(self.least), np.array(self.most)),
            options={"time_limit": max(patience, 0.01), "mip_rel_gap": gap},
        )
        if result.x is None:
            return Solved(None, result.status == _INFEASIBLE)
        return Solved(tuple(result.x.tolist()), result.status == _OPTIMAL)

"""Fields by name, as numbers or arrays, into one message after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midflight.errors import WireError
from midflight.primitives import Program

__all__ = ["Columns"]


class Columns:
    """Fields of an application's requests, broadcast to one length.

    A field is a number for all requests, or an array with an element for each. One with lanes takes a number for all
    lanes, an array of lanes for all requests, or an array of shape (requests, lanes). Fields that are left out are 0.
    WireError for a field that the application does not have, or of another shape.
    """

    def __init__(self, program: Program, application: str, fields: Mapping[str, Any]) -> None:
        lanes = {each["name"]: each["count"] for each in program.schema()["applications"][application]["fields"]}
        if unknown := fields.keys() - lanes.keys():
            names = ", ".join(lanes) or "no fields"
            raise WireError(f"{application} has no field {min(unknown)!r}", hint=f"it has {names}")
        self._columns: dict[str, NDArray[Any] | int | list[int]] = {}
        self._many: dict[str, int] = {}  # the fields that differ from request to request, and of how many requests
        for name, count in lanes.items():
            self._columns[name] = self._column(application, name, count, fields.get(name, 0))
        lengths = sorted({*self._many.values()})
        if len(lengths) > 1:
            told = ", ".join(f"{name} has {length}" for name, length in self._many.items())
            raise WireError(f"{application}: fields are told for different numbers of requests: {told}")
        self.length: int | None = lengths[0] if lengths else None
        """How many requests the arrays are for; None where there are only numbers."""

    def rows(self, count: int) -> Iterator[dict[str, Any]]:
        """Yield the fields of so many requests, beginning again where there are more than the arrays have."""
        constant = {name: each for name, each in self._columns.items() if name not in self._many}
        varying = {name: list(self._columns[name]) for name in self._many}  # type: ignore[arg-type]
        for number in range(count):
            yield constant | {name: each[number % len(each)] for name, each in varying.items()}

    def _column(self, application: str, name: str, lanes: int | None, value: Any) -> NDArray[Any] | int | list[int]:
        try:
            array = np.asarray(value)
        except ValueError:  # rows of different lengths
            array = np.empty(0)
        if array.dtype.kind == "f" and isinstance(value, (list, tuple)) and _whole(value):
            array = np.array(value, dtype=object)  # of numbers about 2**63, which NumPy makes floats of
        inner = 0 if lanes is None else 1
        fits = array.ndim <= inner + 1 and (lanes is None or array.ndim == 0 or array.shape[-1] == lanes)
        if array.dtype.kind not in "biuO" or not fits:
            shape = (
                "a number, or one for each request" if lanes is None else f"{lanes} lanes, or so many for each request"
            )
            raise WireError(
                f"{application}: {name} takes whole numbers: {shape}; not {array.dtype} of shape {array.shape}"
            )
        if array.ndim == inner + 1:
            self._many[name] = len(array)
            return array
        if lanes is None:
            return array.item()  # type: ignore[no-any-return]
        return [array.item()] * lanes if array.ndim == 0 else array


def _whole(value: Any) -> bool:
    return all(isinstance(each, int) or (isinstance(each, (list, tuple)) and _whole(each)) for each in value)

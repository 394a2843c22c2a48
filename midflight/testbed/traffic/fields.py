"""Fields of many requests, given by field name as numbers or arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from midflight.errors import WireError
from midflight.primitives import Program

__all__ = ["Columns"]


class Columns:
    """The fields of many requests of one application of `program`, given by name, broadcast to one length.

    A field is a whole number for all requests, or an array with an element for each request. A field with lanes is a
    number for all lanes, an array of lanes for all requests, or an array of shape (requests, lanes). Missing fields are
    0. `length` is the number of requests that the arrays are for, or None without such arrays. WireError if the
    application does not have a field, if a value has the wrong type or shape, or if arrays are for different numbers of
    requests.
    """

    def __init__(self, program: Program, application: str, fields: Mapping[str, Any]) -> None:
        lanes = {each["name"]: each["count"] for each in program.schema()["applications"][application]["fields"]}
        if unknown := fields.keys() - lanes.keys():
            names = ", ".join(lanes) or "no fields"
            raise WireError(f"{application} has no field {min(unknown)!r}", hint=f"it has {names}")
        self._columns: dict[str, NDArray[Any] | int | list[int]] = {}
        self._many: dict[str, int] = {}  # the number of requests that an array is for, by field
        for name, count in lanes.items():
            self._columns[name] = self._column(application, name, count, fields.get(name, 0))
        lengths = sorted({*self._many.values()})
        if len(lengths) > 1:
            sizes = ", ".join(f"{name} has {length}" for name, length in self._many.items())
            raise WireError(f"{application}: arrays of fields have different lengths: {sizes}")
        self.length: int | None = lengths[0] if lengths else None
        """The number of requests that the arrays are for; None if no field is such an array."""

    def rows(self, count: int) -> Iterator[dict[str, Any]]:
        """Yield the fields of each of `count` requests, as a mapping from all field names to values.

        Arrays with fewer than `count` elements are repeated from their first element. WireError if they have none.
        """
        if count and self.length == 0:
            raise WireError(f"{', '.join(self._many)}: an empty array has no fields for {count} requests")
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
            array = np.array(value, dtype=object)  # NumPy converts integers near 2**63 to floats
        inner = 0 if lanes is None else 1
        fits = array.ndim <= inner + 1 and (lanes is None or array.ndim == 0 or array.shape[-1] == lanes)
        if array.dtype.kind not in "biuO" or not fits:
            shape = "one, or one for each request" if lanes is None else f"{lanes}, or {lanes} for each request"
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

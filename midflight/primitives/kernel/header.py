"""Headers: a primitive's fields on the wire, declared as a class, laid out in bits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from midflight.errors import KernelError
from midflight.primitives.kernel.types import ArrayKind, Kind, Number, coerce
from midflight.primitives.record import FieldValue, lane_dtype

__all__ = ["Field", "Header", "HeaderValue", "Layout"]


class Header:
    """Base of a primitive's `Wire` class. Its class attributes are the fields, in wire order.

    class Wire(Header):
        sensor = bit[16]
        values = int_[32].array("lanes")   # as many as the primitive's parameter `lanes` says
    """

    declared: ClassVar[dict[str, Kind | ArrayKind]] = {}

    def __init_subclass__(cls) -> None:
        """Collect the fields: those of the bases first."""
        inherited: dict[str, Kind | ArrayKind] = {}
        for base in cls.__bases__:
            inherited |= getattr(base, "declared", {})
        own: dict[str, Kind | ArrayKind] = {}
        for name, value in vars(cls).items():
            if isinstance(value, (Kind, ArrayKind)):
                own[name] = value
            elif not (name.startswith("__") or name == "declared"):
                raise KernelError(f"{cls.__qualname__}.{name} is not a field: write `{name} = bit[32]`")
        for name in getattr(cls, "__annotations__", {}):
            if name not in own:
                raise KernelError(
                    f"{cls.__qualname__}.{name} is only annotated",
                    hint=f"write `{name} = bit[32]`, with an equals sign, so that type checkers see a number",
                )
        cls.declared = inherited | own


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `count` lanes of `kind`, or a single number where count is None."""

    name: str
    kind: Kind
    count: int | None = None

    @property
    def bits(self) -> int:
        """How many bits the field takes in all its lanes."""
        return self.kind.width * (1 if self.count is None else self.count)


@dataclass(frozen=True, slots=True)
class Layout:
    """A header's fields in wire order, every width a number."""

    fields: tuple[Field, ...]

    @classmethod
    def of(cls, header: type[Header], parameters: Mapping[str, Any]) -> Layout:
        """Lay a header class out for a primitive's parameters."""
        fields = []
        for name, declared in header.declared.items():
            if isinstance(declared, Kind):
                fields.append(Field(name, declared.fixed(parameters)))
            else:
                kind, count = declared.fixed(parameters)
                fields.append(Field(name, kind, count))
        return cls(tuple(fields))

    @property
    def padding(self) -> int:
        """The number of bits of the trailing `reserved` field that fills the last byte."""
        return -sum(each.bits for each in self.fields) % 8

    @property
    def bytes(self) -> int:
        """The header's length on the wire."""
        return (sum(each.bits for each in self.fields) + self.padding) // 8

    def get(self, name: str) -> Field | None:
        """Return the field of that name, or None."""
        return next((each for each in self.fields if each.name == name), None)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)


def plain(values: Any) -> list[int]:
    """Return a lane array's numbers as plain ints."""
    return values.tolist() if isinstance(values, np.ndarray) else [int(each) for each in values]


class _Lanes:
    """A lane array while a kernel runs."""

    def __init__(self, field: Field, values: list[Number]) -> None:
        self._field = field
        self._values = values

    def __getitem__(self, lane: int) -> int:
        return self._values[lane]

    def __setitem__(self, lane: int, value: int) -> None:
        self._values[lane] = coerce(self._field.kind, value, f"{self._field.name}[{lane}]")

    def __len__(self) -> int:
        return len(self._values)

    def array(self) -> FieldValue:
        """Return the lanes as they would be decoded from the wire."""
        dtype = lane_dtype(self._field.kind.width, self._field.kind.signed)
        values = [int(each) for each in self._values]
        return values if dtype is None else np.array(values, dtype=dtype)


class HeaderValue:
    """A header while a kernel runs: one attribute for each field, every number with its width."""

    def __init__(self, layout: Layout, values: Mapping[str, Any]) -> None:
        known: dict[str, Number | _Lanes] = {}
        for field in layout:
            given = values[field.name]
            if field.count is None:
                known[field.name] = coerce(field.kind, int(given), field.name)
            else:
                known[field.name] = _Lanes(field, [coerce(field.kind, each, field.name) for each in plain(given)])
        object.__setattr__(self, "_layout", layout)
        object.__setattr__(self, "_values", known)

    def __getattr__(self, name: str) -> Any:
        values = object.__getattribute__(self, "_values")
        if name not in values:
            raise KernelError(f"the header has no field {name!r}: it has {', '.join(values)}")
        return values[name]

    def __setattr__(self, name: str, value: int) -> None:
        field = self._layout.get(name)
        if field is None or field.count is not None:
            raise KernelError(f"the header has no field {name!r} that could be written as a whole")
        self._values[name] = coerce(field.kind, value, name)

    def plain(self) -> dict[str, FieldValue]:
        """Return the fields as plain ints and, for lanes, arrays of the type that decoding gives."""
        return {
            name: value.array() if isinstance(value, _Lanes) else int(value) for name, value in self._values.items()
        }

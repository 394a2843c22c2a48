"""Headers: the fields of a primitive's messages, declared as a class and laid out in bits."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from midflight.errors import KernelError, Place
from midflight.primitives.kernel.source import Line, place_of
from midflight.primitives.kernel.struct import Field, Group, Items, Member, StructArrayKind, StructKind
from midflight.primitives.kernel.types import ArrayKind, Kind, Number, Size, coerce, resolve
from midflight.primitives.record import FieldValue, lane_dtype
from midflight.stackless import Walk, run

__all__ = ["Field", "Header", "HeaderValue", "Layout"]


NUMBERS = 8192
"""The largest number of fields and lanes in a header, nested headers included."""

Declared = Kind | ArrayKind | StructKind[Any] | StructArrayKind[Any]
"""The types of a header's class attributes."""


class Header:
    """Base class of a primitive's `Wire` class. Its class attributes are the fields, in wire order.

    class Wire(Header):
        sensor = bit[16]
        values = int_[32].array("lanes")   # the primitive's parameter `lanes` is the length

    Defining a subclass raises KernelError for attributes that are not fields.
    """

    declared: ClassVar[dict[str, Declared]] = {}

    @classmethod
    def struct(cls) -> StructKind[Self]:
        """Return the type of a field that is a nested header of this class: `origin = Point.struct()`."""
        return StructKind(cls)

    @classmethod
    def array(cls, size: Size, *, count: str | None = None) -> StructArrayKind[Self]:
        """Return the type of a field that is an array of headers of this class: `points = Point.array(4)`.

        `size` is the array's length, or the name of a parameter with it. `count` names an earlier unsigned field with
        the number of headers in a packet, at most `size`; such an array is the last field. With None, all are in every
        packet.
        """
        return StructArrayKind(cls, size, count)

    def __init_subclass__(cls) -> None:
        """Collect the fields, those of base classes first."""
        inherited: dict[str, Declared] = {}
        for base in cls.__bases__:
            inherited |= getattr(base, "declared", {})
        own: dict[str, Declared] = {}
        for name, value in vars(cls).items():
            if isinstance(value, (Kind, ArrayKind, StructKind, StructArrayKind)):
                own[name] = value
            elif isinstance(value, type) and issubclass(value, Header):
                if value.__qualname__ != f"{cls.__qualname__}.{name}":
                    raise KernelError(
                        f"{cls.__qualname__}.{name} is a header class, not a field",
                        hint=f"write `{name} = {value.__name__}.struct()`",
                    )
            elif not (name.startswith("__") or name == "declared"):
                raise KernelError(f"{cls.__qualname__}.{name} is not a field: write `{name} = bit[32]`")
        for name in getattr(cls, "__annotations__", {}):
            if name not in own:
                raise KernelError(
                    f"{cls.__qualname__}.{name} is only annotated",
                    hint=f"write `{name} = bit[32]`, with an equals sign",
                )
        cls.declared = inherited | own


@dataclass(frozen=True, slots=True)
class Layout:
    """A header's fields in wire order, with the widths and lengths that parameters determine resolved."""

    fields: tuple[Field, ...]
    tree: Group | None = None
    """The fields by their names in the class, if there are nested headers."""

    @classmethod
    def of(cls, header: type[Header], parameters: Mapping[str, Any]) -> Layout:
        """Return the layout of a header class.

        Widths and lengths that name a parameter take its value from `parameters`. Raises KernelError for invalid sizes,
        for more than 8192 numbers, for an array of variable length that is not the last field of the outermost header,
        and for a `count` that does not name an unsigned field before the array.
        """
        tree = run(_tree(header, parameters, _Room(header), ""))
        return cls(tuple(tree.fields()), tree)

    @classmethod
    def union(cls, layouts: Mapping[str, Layout]) -> Layout:
        """Return a layout with the fields of several headers in order.

        A field that several of them have is included once. `layouts` has the headers' owners as keys, which name them
        in messages. A field whose type was assumed (`Field.assumed`) takes the type from a header that declares it.
        Raises KernelError if headers declare a field differently, or if more than one has an array of variable length.
        """
        members: dict[str, Member] = {}
        owners: dict[str, str] = {}
        for owner, layout in layouts.items():
            for name, member in layout.members.items():
                before = members.setdefault(name, member)
                if _assumed(before) or before is member:
                    members[name], owners[name] = member, owner
                elif not _assumed(member) and _shape(before) != _shape(member):
                    one, other = (
                        f"{who} has {_shown(each)}" for who, each in ((owners[name], before), (owner, member))
                    )
                    raise KernelError(
                        f"field `{name}` is declared twice with different types: {one}, {other}",
                        hint="rename one of them",
                    )
        several = [name for name, each in members.items() if isinstance(each, Items)]
        if len(several) > 1:
            arrays = " and ".join(f"`{name}` of {owners[name]}" for name in several)
            raise KernelError(f"{arrays}: only one array of a header can have a variable length")
        last = {name: members.pop(name) for name in several}
        tree = Group(members | last)
        return cls(tuple(tree.fields()), tree)

    @property
    def items(self) -> Items | None:
        """The array of variable length at the end of the header, or None."""
        return next((each for each in self.members.values() if isinstance(each, Items)), None)

    @property
    def head(self) -> Layout:
        """The layout of the fields before the array of variable length; all fields if there is none."""
        return Layout(tuple(each for each in self.fields if not each.part))

    def item(self, place: int) -> Layout:
        """Return the layout of element `place` of the array of variable length, with the field names of its class.

        There must be such an array, and `place` is 0 to its capacity - 1.
        """
        items = self.items
        assert items is not None
        inner = items.groups[place].fields()
        return Layout(tuple(Field(each.name.removeprefix(f"{each.part}_"), each.kind, each.count) for each in inner))

    @property
    def members(self) -> Mapping[str, Member]:
        """The direct members of the header by their names in its class: fields, nested headers, arrays of headers."""
        return {each.name: each for each in self.fields} if self.tree is None else self.tree.members

    @property
    def padding(self) -> int:
        """The number of zero bits (0 to 7) that fill the last byte, without the array of variable length."""
        return -sum(each.bits for each in self.fields if not each.part) % 8

    @property
    def bytes(self) -> int:
        """The header's length on the wire in bytes, padding included, without the array of variable length."""
        return (sum(each.bits for each in self.fields if not each.part) + self.padding) // 8

    def get(self, name: str) -> Field | None:
        """Return the field of that name, or None. A nested field's name is its path, such as `points_0_x`."""
        return next((each for each in self.fields if each.name == name), None)

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)


class _Room:
    """Counts the numbers and nested headers of a header, before they are made."""

    def __init__(self, outermost: type[Header]) -> None:
        self._outermost = outermost
        self._left = NUMBERS

    def take(self, header: type[Header], name: str, count: int) -> None:
        """Count members. Raises KernelError, with the place of the class, beyond NUMBERS."""
        self._left -= count
        if self._left < 0:
            raise KernelError(
                f"{header.__qualname__}.{name} is beyond the {NUMBERS} numbers that a header may have",
                place=_place(self._outermost),
                hint="have fewer fields or shorter arrays, and send several packets",
            )


def _place(header: type[Header]) -> Place | None:
    """Return the place of a header's class, or None if Python does not have its source."""
    try:
        lines, first = inspect.getsourcelines(header)
        return place_of(Line(first, inspect.getsourcefile(header) or "")) if lines else None
    except (OSError, TypeError):
        return None


def _tree(header: type[Header], parameters: Mapping[str, Any], room: _Room, way: str, part: str = "") -> Walk[Group]:
    members: dict[str, Member] = {}
    for name, declared in header.declared.items():
        if any(isinstance(each, Items) for each in members.values()):
            raise KernelError(
                f"{header.__qualname__}.{name} follows an array of variable length: move it before the array"
            )
        full = way + name
        match declared:
            case Kind():
                room.take(header, name, 1)
                members[name] = Field(full, declared.fixed(parameters), None, part)
            case ArrayKind():
                lanes = declared.fixed(parameters)
                room.take(header, name, lanes[1])
                members[name] = Field(full, *lanes, part)
            case StructKind(header=inner):
                members[name] = yield _tree(inner, parameters, room, f"{full}_", part)
            case StructArrayKind(header=inner, size=size, count=counted):
                number = resolve(size, parameters, f"the number of {name}")
                room.take(header, name, number)
                places = [f"{full}_{place}" for place in range(number)]
                parts = places if counted is not None else [part] * len(places)
                groups: list[Group] = []
                for each, inside in zip(places, parts, strict=True):
                    groups.append((yield _tree(inner, parameters, room, f"{each}_", inside)))
                if counted is None:
                    members[name] = tuple(groups)
                else:
                    field = _counted(header, name, members.get(counted), counted, way)
                    members[name] = Items(full, field, tuple(groups))
    return Group(members)


def _counted(header: type[Header], name: str, field: Member | None, counted: str, way: str) -> Field:
    """Return the field with the number of items. Raises KernelError if there is no such field before them."""
    if way:
        raise KernelError(f"{header.__qualname__}.{name}: a nested header cannot contain an array of variable length")
    if not isinstance(field, Field) or field.count is not None or field.kind.signed:
        raise KernelError(
            f"{header.__qualname__}.{name} has count={counted!r}, which is not an unsigned field before it",
            hint=f"write `{counted} = bit[8]` before it",
        )
    return field


def _assumed(member: Member) -> bool:
    return isinstance(member, Field) and member.assumed


def _shape(member: Member) -> list[object]:
    """Return a member's structure as a flat list. Two members have the same structure if their lists are equal."""
    shape: list[object] = []
    waiting = [member]
    while waiting:
        match waiting.pop():
            case Field() as field:
                shape.append(field)
            case Group(members=inner):
                shape.append(tuple(inner))
                waiting += reversed([*inner.values()])
            case Items(counted=counted, groups=groups):
                shape += (counted, len(groups))
                waiting += reversed(groups)
            case groups:
                shape.append(len(groups))
                waiting += reversed(groups)
    return shape


def _shown(member: Member) -> str:
    if isinstance(member, Field):
        return str(member.kind) if member.count is None else f"{member.kind}.array({member.count})"
    return "a header" if isinstance(member, Group) else f"{len(member)} headers"


def plain(values: Any) -> list[int]:
    """Return the numbers of a lane array, in an array of NumPy or another iterable, as a list of plain ints."""
    return values.tolist() if isinstance(values, np.ndarray) else [int(each) for each in values]


class _Lanes:
    """A lane array in a running kernel."""

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
        """Return the lanes in the type that decoding from the wire returns."""
        dtype = lane_dtype(self._field.kind.width, self._field.kind.signed)
        values = [int(each) for each in self._values]
        return values if dtype is None else np.array(values, dtype=dtype)


def _zero(field: Field) -> Number | _Lanes:
    zero = Number(field.kind, 0)
    return zero if field.count is None else _Lanes(field, [zero] * field.count)


class _Part:
    """A header or nested header in a running kernel, with one attribute per field."""

    def __init__(self, members: Mapping[str, Member], values: dict[str, Number | _Lanes], absent: bool = False) -> None:
        object.__setattr__(self, "_members", members)
        object.__setattr__(self, "_values", values)
        object.__setattr__(self, "_absent", absent)

    def __getattr__(self, name: str) -> Any:
        members = object.__getattribute__(self, "_members")
        if name not in members:
            raise KernelError(f"the header has no field {name!r}: it has {', '.join(members)}")
        match members[name]:
            case Field(name=full) as field:
                return _zero(field) if self._absent else self._values[full]
            case Group(members=inner):
                return _Part(inner, self._values, self._absent)
            case Items() as items:
                return _Items(items, self._values)
            case groups:
                return tuple(_Part(each.members, self._values, self._absent) for each in groups)

    def __setattr__(self, name: str, value: int) -> None:
        field = self._members.get(name)
        if not isinstance(field, Field) or field.count is not None:
            raise KernelError(f"the header has no field {name!r} that can be assigned as a whole")
        number = coerce(field.kind, value, name)
        if not self._absent:
            self._values[field.name] = number


class _Items:
    """Items of variable number. Those that are not on the wire read as 0 and ignore writes."""

    def __init__(self, items: Items, values: dict[str, Number | _Lanes]) -> None:
        self._items, self._values = items, values

    def present(self, place: int) -> bool:
        """Return whether an item is on the wire."""
        count = self._values[self._items.counted.name]
        assert isinstance(count, Number)
        return int(place) < int(count)

    def __getitem__(self, place: int) -> _Part:
        return _Part(self._items.groups[place].members, self._values, not self.present(place))

    def __len__(self) -> int:
        return len(self._items)


class HeaderValue(_Part):
    """A header in a running kernel: one attribute per field, whose numbers have the widths that the layout declares.

    `values` has every field by name, with an iterable for lanes. Assigning attributes changes this object only. Raises
    KernelError for values that do not fit, for another number of lanes than the field has, or for more items than the
    header can have; KeyError for a missing field.
    """

    def __init__(self, layout: Layout, values: Mapping[str, Any]) -> None:
        known: dict[str, Number | _Lanes] = {}
        for field in layout:
            given = values[field.name]
            if field.count is None:
                known[field.name] = coerce(field.kind, int(given), field.name)
            else:
                lanes = plain(given) if isinstance(given, Iterable) else [given]
                if len(lanes) != field.count:
                    raise KernelError(f"{field.name} has {field.count} lanes, not {len(lanes)}")
                known[field.name] = _Lanes(field, [coerce(field.kind, each, field.name) for each in lanes])
        super().__init__(layout.members, known)
        if layout.items is not None and int(values[layout.items.counted.name]) > len(layout.items):
            raise KernelError(
                f"{values[layout.items.counted.name]} {layout.items.name} are too many: at most {len(layout.items)} fit"
            )

    def plain(self) -> dict[str, FieldValue]:
        """Return the current values by field name: plain ints, and lanes as an array of `lane_dtype`.

        Lanes of more than 64 bits are a list of ints. Decoding a message returns the same types.
        """
        return {
            name: value.array() if isinstance(value, _Lanes) else int(value) for name, value in self._values.items()
        }

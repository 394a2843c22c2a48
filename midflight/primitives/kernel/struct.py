"""Nested headers: the types that declare them, and the tree of a header's members."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar, overload

from midflight.errors import KernelError
from midflight.primitives.kernel.types import Kind, Size

__all__ = ["Field", "Group", "Items", "Member", "StructArrayKind", "StructKind", "Structs"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Structs(Protocol[T_co]):
    """The interface, for type checkers, of a field that is an array of headers."""

    def __getitem__(self, place: int, /) -> T_co:
        """Return one header; `place` is a constant index from 0."""

    def __len__(self) -> int:
        """Return the array's size."""

    def present(self, place: int, /) -> bool:
        """Return whether header `place`, from 0, is in the packet. Only arrays of variable length have this."""


@dataclass(frozen=True, slots=True)
class StructKind(Generic[T]):
    """The type of a field that is a nested header of the class `header`, as `Header.struct()` returns it."""

    header: type[T]

    @overload
    def __get__(self, header: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, header: object, owner: type[Any]) -> T: ...
    def __get__(self, header: object | None, owner: type[Any]) -> Self | T:
        return self

    def __set__(self, header: object, value: T) -> None:
        raise KernelError("assign the fields of a nested header one by one")


@dataclass(frozen=True, slots=True)
class StructArrayKind(Generic[T]):
    """The type of a field that is an array of `size` headers of the class `header`, as `Header.array()` returns it."""

    header: type[T]
    size: Size
    count: str | None = None
    """The name of the field with the number of headers in a packet; None if every packet has all."""

    @overload
    def __get__(self, header: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, header: object, owner: type[Any]) -> Structs[T]: ...
    def __get__(self, header: object | None, owner: type[Any]) -> Self | Structs[T]:
        return self

    def __set__(self, header: object, value: Structs[T]) -> None:
        raise KernelError("assign the fields of a nested header one by one")


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a header: `count` lanes of type `kind`, or a single number if `count` is None.

    The name of a field in a nested header is its path: `points_0_x`. The type is `assumed` if no class declares it. In
    a chain, another primitive's header that declares the field then determines the type.
    """

    name: str
    kind: Kind
    count: int | None = None
    part: str = ""
    """The item that contains it, such as `items_2`, in an array of variable length; empty otherwise."""
    assumed: bool = field(default=False, compare=False)

    @property
    def bits(self) -> int:
        """The field's width on the wire in bits, with all lanes."""
        return self.kind.width * (1 if self.count is None else self.count)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A header or nested header: its direct members by their names in the class, in wire order."""

    members: Mapping[str, Member]

    def fields(self) -> Iterator[Field]:
        """Yield all fields in wire order, including those of nested headers and of all elements of arrays."""
        waiting = [iter(self.members.values())]
        while waiting:
            each = next(waiting[-1], None)
            if each is None:
                waiting.pop()
            elif isinstance(each, Field):
                yield each
            else:
                groups = (each,) if isinstance(each, Group) else each
                waiting += (iter(group.members.values()) for group in reversed([*groups]))


@dataclass(frozen=True, slots=True, eq=False)
class Items:
    """An array of variable length at the end of a header: `groups` are its elements up to the maximum number.

    `counted` is the field with the number of elements in a packet.
    """

    name: str
    counted: Field
    groups: tuple[Group, ...]

    def __iter__(self) -> Iterator[Group]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)


Member = Field | Group | tuple[Group, ...] | Items
"""A field, a nested header, an array of headers, or such an array of variable length."""

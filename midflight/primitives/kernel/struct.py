"""Headers inside headers: how they are declared, and the tree of what a header consists of."""

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
    """What an array of headers looks like in a kernel."""

    def __getitem__(self, place: int, /) -> T_co:
        """Return one of them."""

    def __len__(self) -> int:
        """Return how many there are."""

    def present(self, place: int, /) -> bool:
        """Tell whether one of them is on the wire, where their number varies."""


@dataclass(frozen=True, slots=True)
class StructKind(Generic[T]):
    """The type of a field that is a header itself."""

    header: type[T]

    @overload
    def __get__(self, header: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, header: object, owner: type[Any]) -> T: ...
    def __get__(self, header: object | None, owner: type[Any]) -> Self | T:
        return self

    def __set__(self, header: object, value: T) -> None:
        raise KernelError("write the fields of a header inside a header one by one")


@dataclass(frozen=True, slots=True)
class StructArrayKind(Generic[T]):
    """The type of a field that is several headers of one kind."""

    header: type[T]
    size: Size
    count: str | None = None
    """The field that says how many there are in a packet; all of them without it."""

    @overload
    def __get__(self, header: None, owner: type[Any]) -> Self: ...
    @overload
    def __get__(self, header: object, owner: type[Any]) -> Structs[T]: ...
    def __get__(self, header: object | None, owner: type[Any]) -> Self | Structs[T]:
        return self

    def __set__(self, header: object, value: Structs[T]) -> None:
        raise KernelError("write the fields of a header inside a header one by one")


@dataclass(frozen=True, slots=True)
class Field:
    """One field: `count` lanes of `kind`, or a single number where count is None.

    A field of a header inside is called by its way there: `points_0_x`. Where the kind is `assumed`, for want of a
    word about it, another header's that the field is in as well holds instead.
    """

    name: str
    kind: Kind
    count: int | None = None
    part: str = ""
    """The item that it is in, such as `items_2`, where their number varies from packet to packet."""
    assumed: bool = field(default=False, compare=False)

    @property
    def bits(self) -> int:
        """How many bits the field takes in all its lanes."""
        return self.kind.width * (1 if self.count is None else self.count)


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """A header inside a header: what it consists of, by the names in its class."""

    members: Mapping[str, Member]

    def fields(self) -> Iterator[Field]:
        """Yield all fields, in wire order."""
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
    """Headers at the end of a header, as many in a packet as a field says: what each consists of."""

    name: str
    counted: Field
    groups: tuple[Group, ...]

    def __iter__(self) -> Iterator[Group]:
        return iter(self.groups)

    def __len__(self) -> int:
        return len(self.groups)


Member = Field | Group | tuple[Group, ...] | Items
"""A field; a header inside; several of them; as many as a field says."""

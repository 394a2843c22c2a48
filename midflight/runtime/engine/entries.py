"""Table entries in the form that the control plane uses, and their validation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from midflight.errors import DeviceError
from midflight.p4 import ir
from midflight.runtime.engine.entrylayout import EntryLayout, Field
from midflight.runtime.engine.layout import is_signed, scalar_width

__all__ = [
    "ActionSet", "Choice", "Entry", "GroupOf", "MemberOf", "Reason", "TableError", "WeightedAction", "canonical_key",
    "checked_arguments", "checked_keys",
]  # fmt: skip


class Reason(Enum):
    """The reasons for which a table, action profile or selector rejects a request.

    EXISTS: the entry, member or group exists already; NOT_FOUND: there is none; FULL: the size or the memory limit is
    reached; INVALID: it does not fit the program; CONSTANT: the program declares it const; IN_USE: something refers to
    it.
    """

    EXISTS = "exists"
    NOT_FOUND = "not found"
    FULL = "full"
    INVALID = "invalid"
    CONSTANT = "constant"
    IN_USE = "in use"


class TableError(DeviceError):
    """A table rejected an entry, a default action or a lookup, for `reason`."""

    def __init__(self, reason: Reason, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class MemberOf:
    """A reference of an entry to a member of its table's action profile or selector, by id."""

    number: int


@dataclass(frozen=True, slots=True)
class GroupOf:
    """A reference of an entry to a group of its table's action selector, by id."""

    number: int


@dataclass(frozen=True, slots=True)
class WeightedAction:
    """An action of a one-shot set: the action's name and its data, and its weight.

    It is left out while the port `watch_port` is down; None watches no port.
    """

    action: str
    arguments: tuple[int, ...] = ()
    weight: int = 1
    watch_port: int | None = None


@dataclass(frozen=True, slots=True)
class ActionSet:
    """The one-shot form of a group: the actions themselves (P4Runtime specification 1.5, section 9.2.3)."""

    actions: tuple[WeightedAction, ...]


Choice = MemberOf | GroupOf | ActionSet


@dataclass(frozen=True, slots=True)
class Entry:
    """One table entry: a key per match field, an action by its fully qualified name with its data, and a priority.

    In tables with ternary, range or optional fields, `priority` is at least 1 and the largest wins. It is 0 in others.
    In a table with an implementation, an entry has a `choice` instead of an action.
    """

    keys: tuple[ir.EntryKey, ...]
    action: str
    arguments: tuple[int, ...] = ()
    priority: int = 0
    choice: Choice | None = None


def checked_keys(table: ir.Table, layout: EntryLayout, keys: tuple[ir.EntryKey, ...]) -> tuple[ir.EntryKey, ...]:
    """Return an entry's keys in canonical form, as `canonical_key` defines it, one per match field of the table.

    Raises TableError INVALID if they do not fit the table.
    """
    if len(keys) != len(table.keys):
        raise TableError(Reason.INVALID, f"{table.name} has {len(table.keys)} match fields, not {len(keys)}")
    return tuple(
        canonical_key(f"{table.name}, field {each.name}", field, key, signed=is_signed(each.expression.type))
        for each, field, key in zip(table.keys, layout.fields, keys, strict=True)
    )


def canonical_key(where: str, field: Field, key: ir.EntryKey, *, signed: bool = False) -> ir.EntryKey:
    """Return one match field's key in canonical form.

    In it, bits outside the mask are 0, and in a key that matches every value, all parts are None.

    `where` names the field in messages; `signed` is whether its values may be negative; they become unsigned. Raises
    TableError INVALID if the key does not fit the field's match kind or width.
    """
    ones = (1 << field.width) - 1
    if key.value is None:
        if field.kind == "exact":
            raise TableError(Reason.INVALID, f"{where}: an exact field needs a value")
        return ir.EntryKey(None)
    value = _fitting(where, key.value, field.width, signed)
    if field.kind == "range":
        high = value if key.high is None else _fitting(where, key.high, field.width, signed)
        if key.mask is not None:
            raise TableError(Reason.INVALID, f"{where}: a range field has a low and a high end, not a mask")
        if high < value:
            raise TableError(Reason.INVALID, f"{where}: range {value}..{high} is empty")
        return ir.EntryKey(None) if (value, high) == (0, ones) else ir.EntryKey(value, high=high)
    if key.high is not None:
        raise TableError(Reason.INVALID, f"{where}: only a range field has a high end")
    mask = ones if key.mask is None else _fitting(where, key.mask, field.width, signed)
    if field.kind in ("exact", "optional"):
        if mask != ones:
            raise TableError(Reason.INVALID, f"{where}: an {field.kind} field has no mask")
        return ir.EntryKey(value)
    inverse = ones ^ mask
    if field.kind == "lpm" and inverse & (inverse + 1):
        raise TableError(Reason.INVALID, f"{where}: mask {mask:#x} is not a prefix")
    return ir.EntryKey(value & mask, mask) if mask else ir.EntryKey(None)


def checked_arguments(owner: str, action: ir.Action, arguments: tuple[int, ...]) -> tuple[int, ...]:
    """Return an action's data as unsigned numbers. `owner` is the name of the table or action profile.

    Raises TableError INVALID if it does not fit the action's parameters.
    """
    if len(arguments) != len(action.data):
        raise TableError(
            Reason.INVALID, f"{owner}: {action.name} takes {len(action.data)} arguments, not {len(arguments)}"
        )
    return tuple(
        _fitting(
            f"{owner}: {action.name}, parameter {each.variable.name}",
            argument,
            scalar_width(each.variable.type),
            is_signed(each.variable.type),
        )
        for each, argument in zip(action.data, arguments, strict=True)
    )


def _fitting(where: str, value: int, width: int, signed: bool) -> int:
    """Return a value as an unsigned number of `width` bits. Raises TableError INVALID if it does not fit."""
    if signed and -(1 << (width - 1)) <= value < 0:
        return value + (1 << width)
    if not 0 <= value < 1 << width:
        raise TableError(Reason.INVALID, f"{where}: {value} does not fit {width} bits")
    return value

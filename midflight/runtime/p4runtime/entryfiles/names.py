"""Names in entries files, which may leave out the first parts of a name in P4Info."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from finsy.proto import p4i

from midflight.errors import MidflightError
from midflight.runtime.p4runtime.schema import Described, Schema, match_fields

__all__ = ["action_of", "field_of", "find", "resolve"]

T = TypeVar("T", bound=Described)


def find(what: str, names: Iterable[str], wanted: str) -> str:
    """Return the name that `wanted` stands for: the name itself, or the only one that ends with it.

    Raises MidflightError, which lists the names, for an unknown or an ambiguous one.
    """
    known = list(names)
    if wanted in known:
        return wanted
    found = [each for each in known if each.endswith(f".{wanted}")] or [each for each in known if each.endswith(wanted)]
    if len(found) == 1:
        return found[0]
    if found:
        raise MidflightError(f"{what} {wanted!r} is ambiguous", hint=f"it is one of {', '.join(found)}")
    raise MidflightError(f"there is no {what} {wanted!r}", hint=f"known: {', '.join(known) or 'none'}")


def resolve(what: str, objects: Iterable[T], wanted: str) -> T:
    """Return the object that `wanted` stands for, by its name or its alias, of which the first parts may be left out.

    MidflightError, which lists the names, for an unknown or an ambiguous one.
    """
    listed = list(objects)
    for each in listed:
        if each.preamble.alias == wanted:
            return each
    name = find(what, [each.preamble.name for each in listed], wanted)
    return next(each for each in listed if each.preamble.name == name)


def action_of(schema: Schema, table: p4i.Table, wanted: str) -> p4i.Action:
    """Return the action `wanted` of a table, by its full name or alias, or the end of it.

    MidflightError if the table has no such action, or several.
    """
    allowed = [schema.actions.of_id(each.id) for each in table.action_refs]
    return resolve(f"action of table {table.preamble.name}", allowed, wanted)


def field_of(table: p4i.Table, wanted: str) -> tuple[str, p4i.MatchField]:
    """Return the match field `wanted` of a table, by its full name or the end of it, with its name in `match_fields`.

    A header's validity may be written in any way. MidflightError if there is no such field, or several.
    """
    fields = {_plain(name): (name, each) for name, each in match_fields(table).items()}
    return fields[find(f"match field of table {table.preamble.name}", fields, _plain(wanted))]


def _plain(name: str) -> str:
    """Return a name in one spelling: `h.isValid()`, `h.$valid$` and `h.valid` are one, as are `s$0` and `s[0]`."""
    head, _, last = name.rpartition(".")
    if last in ("isValid()", "isValid", "$valid$", "$valid", "valid"):
        return f"{head}.valid" if head else "valid"
    parts = name.split(".")
    return ".".join(
        f"{each[: each.index('$')]}[{each[each.index('$') + 1 :]}]" if "$" in each and each[-1].isdigit() else each
        for each in parts
    )

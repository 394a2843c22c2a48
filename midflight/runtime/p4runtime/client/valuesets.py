"""The value sets of the parser of a session's device (P4Runtime specification 1.5, section 9.7)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from finsy.proto import p4i, p4r

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.client.matches import MatchValue, decode_match, encode_match
from midflight.runtime.p4runtime.schema import Schema

__all__ = ["ValueSets"]


class ValueSets:
    """Reads and writes value sets. A member is a dict of values by field name, or a value if the set has one field.

    Values are as in table entries; see `matches`. Methods raise the errors of the session's methods.
    """

    def __init__(
        self,
        schema: Callable[[], Schema],
        write: Callable[[p4r.Update.Type.ValueType, p4r.Entity, str], None],
        read: Callable[[p4r.Entity], list[p4r.Entity]],
    ) -> None:
        self._schema = schema
        self._write = write
        self._read = read

    def write(self, name: str, members: Iterable[object]) -> None:
        """Replace all members of a value set, by its full name or alias. Without members, it matches nothing.

        DeviceError for an unknown name, a value in place of a dict in a set with several fields, or a member that does
        not fit; RequestError if a member occurs twice, or if there are more than the set's size. The set is then
        unchanged.
        """
        info, shown = self._info(name)
        message = p4r.ValueSetEntry(value_set_id=info.preamble.id)
        for each in members:
            if not isinstance(each, Mapping):
                if len(info.match) != 1:
                    fields = ", ".join(field.name for field in info.match)
                    raise DeviceError(f"{each!r} is not a member of {name}", hint=f"give a dict of {fields}")
                each = {info.match[0].name: each}
            message.members.add(match=encode_match(shown, each))
        self._write(p4r.Update.MODIFY, p4r.Entity(value_set_entry=message), f"value set {name}")

    def read(self, name: str) -> list[dict[str, MatchValue]] | list[MatchValue]:
        """Return the members of a value set, oldest first: dicts, or values if the set has one field without a name.

        `name` is its full name or alias; DeviceError for an unknown one.
        """
        info, shown = self._info(name)
        wanted = p4r.ValueSetEntry(value_set_id=info.preamble.id)
        (found,) = self._read(p4r.Entity(value_set_entry=wanted))
        members = [decode_match(shown, list(each.match)) for each in found.value_set_entry.members]
        return members if info.match[0].name else [each[""] for each in members]

    def _info(self, name: str) -> tuple[p4i.ValueSet, p4i.Table]:
        """Return a value set's P4Info, and the same as that of a table."""
        info = self._schema().value_sets.named(name)
        return info, p4i.Table(preamble=info.preamble, match_fields=info.match)

"""Translation of the table entries in STF tests to P4Runtime."""

from __future__ import annotations

from finsy.proto import p4i, p4r

from midflight.errors import MidflightError
from midflight.runtime.p4runtime.client.messages import action_message, entry_message
from midflight.runtime.p4runtime.entryfiles.commands import Commands, default_update
from midflight.runtime.p4runtime.entryfiles.names import action_of, field_of, resolve
from midflight.runtime.p4runtime.entryfiles.steps import Step, Write
from midflight.runtime.p4runtime.schema import NEEDS_PRIORITY, Schema, match_fields
from midflight.testbed.stf.syntax import Add, CheckCounter, Command, Remove, SetDefault

__all__ = ["Entries"]

# By prefix: the bits of a digit.
BITS = {"0x": 4, "0b": 1, "0o": 3}


class Entries:
    """Translates the lines of one STF test to steps for a switch. `schema` describes the program's tables and actions.

    Lines must be given in order, because an `add` line can name its entry for later lines.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._commands = Commands(schema)
        self._named: dict[str, tuple[str, int]] = {}  # the table and the handle of an entry

    def steps(self, line: Add | SetDefault | Remove | Command) -> list[Step]:
        """Return what a line of the test does to a switch, as steps for `entryfiles.steps.apply`.

        MidflightError, with its place, if the line names something that the program does not have, or has an invalid
        value.
        """
        try:
            match line:
                case Add():
                    return [Write(self._add(line), f"add {line.table}", line.place)]
                case SetDefault():
                    table = resolve("table", self._schema.tables, line.table)
                    update = default_update(table, self._action(table, line.action, line.arguments))
                    return [Write(update, f"setdefault {line.table}", line.place)]
                case Remove():
                    return [Write(each, f"remove {line.name}", line.place) for each in self._remove(line.name)]
                case Command():
                    return self._commands.steps(line.words, line.place)
        except MidflightError as error:
            raise MidflightError(error.message, place=line.place, hint=error.hint) from None

    def counter(self, line: CheckCounter) -> p4r.Entity:
        """Return a request to read the counter that a `check_counter` line is about, as a P4Runtime entity without
        data.

        MidflightError, with its place, for an unknown counter or entry.
        """
        try:
            _, handle = self._named.get(line.index, ("", line.index))
            return self._commands.counter(line.counter, str(handle))
        except MidflightError as error:
            raise MidflightError(error.message, place=line.place, hint=error.hint) from None

    def _add(self, line: Add) -> p4r.Update:
        table = resolve("table", self._schema.tables, line.table)
        given: dict[str, object] = {}
        for name, text in line.matches:
            full, field = field_of(table, name)
            given[full] = _value(field, text)
        for full, field in match_fields(table).items():
            if field.match_type == p4i.MatchField.EXACT:
                given.setdefault(full, 0)
        priority = 0
        if any(each.match_type in NEEDS_PRIORITY for each in table.match_fields):
            if line.priority is None:
                raise MidflightError(f"table {table.preamble.name}: the entry needs a priority after the table's name")
            priority = line.priority + 1  # P4Runtime's begin at 1
        entry = entry_message(self._schema, table.preamble.name, given, priority)
        entry.action.CopyFrom(self._action(table, line.action, line.arguments))
        update = self._commands.add(entry)
        if line.name:
            self._named[line.name] = table.preamble.name, len(self._commands.added[table.preamble.id]) - 1
        return update

    def _action(self, table: p4i.Table, action: str, arguments: tuple[tuple[str, str], ...]) -> p4r.TableAction:
        info = action_of(self._schema, table, action)
        return action_message(self._schema, table.preamble.name, info.preamble.name, dict(arguments))

    def _remove(self, name: str) -> list[p4r.Update]:
        if name.lower() == "all":
            return [each for table in list(self._commands.added) for each in self._commands.clear(table)]
        if name not in self._named:
            raise MidflightError(f"no entry has the name {name!r}", hint="`add ... = NAME` gives an entry a name")
        table, handle = self._named.pop(name)
        return [
            each.update
            for each in self._commands.steps(["table_delete", table, str(handle)])
            if isinstance(each, Write)
        ]


def _value(field: p4i.MatchField, text: str) -> object:
    """Return the value of a field for `encode_match`.

    As in p4c, the mask of a ternary field has the bits of the digits that are written and are not `*`, and the prefix
    of an lpm field without a length ends at the first `*`. A decimal number stands for all bits.
    """
    digits, slash, length = text.partition("/")
    per_digit = BITS.get(digits[:2].lower(), 0)
    value = int(digits.replace("*", "0"), 0) if per_digit else int(digits)
    full = (1 << field.bitwidth) - 1
    match field.match_type:
        case p4i.MatchField.TERNARY:
            if not per_digit:
                return value, full
            ones = (1 << per_digit) - 1
            mask = 0
            for digit in digits[2:]:
                mask = mask << per_digit | (0 if digit == "*" else ones)
            mask &= full
            return value & mask, mask
        case p4i.MatchField.LPM:
            if slash:
                bits = int(length, 0)
            else:
                bits = per_digit * (len(digits) - 2 - digits.count("*")) if per_digit else field.bitwidth
            bits = min(bits, field.bitwidth)
            return value >> field.bitwidth - bits << field.bitwidth - bits, bits
        case _:
            if "*" in text or slash:
                raise MidflightError(f"{field.name} is not a ternary or lpm field: {text!r} is not allowed")
            return value

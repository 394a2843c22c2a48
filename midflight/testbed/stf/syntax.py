"""The syntax of STF files: one dataclass for each kind of line, and the parser.

`#` begins a comment, and keywords are case-insensitive.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from midflight.errors import MidflightError, Place

__all__ = [
    "Add",
    "CheckCounter",
    "Command",
    "Expect",
    "Line",
    "NoPacket",
    "Packet",
    "Remove",
    "SetDefault",
    "Wait",
    "parse",
]

DIRECT = (
    "table_add", "table_indirect_add", "table_indirect_add_with_group", "table_set_default",
    "act_prof_create_member", "act_prof_modify_member", "act_prof_delete_member", "act_prof_create_group",
    "act_prof_delete_group", "act_prof_add_member_to_group", "act_prof_remove_member_from_group",
    "mirroring_add", "mirroring_add_mc", "mirroring_delete", "mirroring_get", "mc_mgrp_create", "mc_node_create",
    "mc_node_update", "mc_node_associate", "counter_read", "counter_write", "register_read", "register_write",
    "register_reset", "meter_get_rates", "meter_set_rates", "meter_array_set_rates",
)  # fmt: skip
"""Commands of simple_switch_CLI, which are also lines of the format."""

OWN = ("packet", "expect", "no_packet", "add", "setdefault", "remove", "check_counter", "wait")


@dataclass(frozen=True, slots=True)
class Packet:
    """The line `packet PORT DATA`: a packet that arrives by this switch port."""

    port: int
    data: bytes
    place: Place


@dataclass(frozen=True, slots=True)
class Expect:
    """The line `expect PORT [DATA[$]]`: a packet that leaves by this switch port.

    `digits` are hexadecimal digits, or `*` for any digit; None stands for any packet. With `exact` (`$`), the packet
    ends there, otherwise any bytes may follow.
    """

    port: int
    digits: str | None
    exact: bool
    place: Place


@dataclass(frozen=True, slots=True)
class NoPacket:
    """The line `no_packet`: the switch drops the packet of the `packet` line before."""

    place: Place


@dataclass(frozen=True, slots=True)
class Add:
    """The line `add TABLE [PRIORITY] FIELD:VALUE... ACTION(PARAMETER:VALUE, ...) [= NAME]`: add a table entry.

    The largest priority wins; it is None if the line has none. `matches` and `arguments` are pairs of name and value,
    as texts; a value may end with the length of a prefix, as in `10.0.0.0/8`. `name` is empty if the line does not
    name the entry.
    """

    table: str
    priority: int | None
    matches: tuple[tuple[str, str], ...]
    action: str
    arguments: tuple[tuple[str, str], ...]
    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class SetDefault:
    """The line `setdefault TABLE ACTION(PARAMETER:VALUE, ...)`: set a table's default action."""

    table: str
    action: str
    arguments: tuple[tuple[str, str], ...]
    place: Place


@dataclass(frozen=True, slots=True)
class Remove:
    """The line `remove all`, or `remove NAME` for the entry that an `add` line has named: remove table entries."""

    name: str
    place: Place


@dataclass(frozen=True, slots=True)
class CheckCounter:
    """The line `check_counter COUNTER(INDEX) [packets|bytes OPERATOR NUMBER]`: check a counter's value at this point.

    The index of a direct counter is the name of an entry. Without a condition (`operator` is empty), the counter only
    has to exist.
    """

    counter: str
    index: str
    unit: str
    operator: str
    value: int
    place: Place


@dataclass(frozen=True, slots=True)
class Wait:
    """The line `wait`: a second of the switch's time passes."""

    place: Place


@dataclass(frozen=True, slots=True)
class Command:
    """A line with a command of BMv2's simple_switch_CLI, such as `mc_mgrp_create 1`, split into words."""

    words: tuple[str, ...]
    place: Place


Line = Packet | Expect | NoPacket | Add | SetDefault | Remove | CheckCounter | Wait | Command


def parse(text: str, file: str) -> list[Line]:
    """Return the lines of an STF text in order, without comments. `file` is the file's name in places of errors.

    MidflightError with the place of the first mistake.
    """
    lines = []
    for at, line in enumerate(text.splitlines(), 1):
        code = _without_comment(line)
        if code.strip():
            lines.append(_Reader(code, line, Place(file, at, 1, text=line)).line())
    return lines


_TOKEN = re.compile(
    r'"(?P<quoted>[^"]+)"|(?P<number>0[xX][0-9a-fA-F*]+|0[bB][01*]+|0[oO][0-7*]+|\d+)|(?P<name>[A-Za-z_$][\w$]*)'
    r"|(?P<sign>==|!=|<=|>=|[.:,()\[\]=<>/])"
)
_DATA = re.compile(r"(?P<digits>[0-9a-fA-F*]*)(?P<exact>\$?)")
_SPACE = re.compile(r"\s*")
_OPERATORS = ("==", "!=", "<=", "<", ">=", ">")


class _Reader:
    """Reads one line from left to right."""

    def __init__(self, code: str, line: str, place: Place) -> None:
        self._code = code.rstrip()
        self._place = place
        self._start = len(line) - len(line.lstrip())
        self._at = self._start

    def line(self) -> Line:
        """Return the line. Raises MidflightError with its place."""
        place = self._span(self._start, len(self._code))
        keyword = self._name("a keyword").lower()
        made: Line
        match keyword:
            case "packet":
                port, data, _ = self._data()
                if "*" in data or not data or len(data) % 2:
                    self._fail("the data of a packet is pairs of hexadecimal digits")
                return Packet(port, bytes.fromhex(data), place)
            case "expect":
                port, data, exact = self._data()
                return Expect(port, data if data or exact else None, exact, place)
            case "no_packet":
                made = NoPacket(place)
            case "wait":
                made = Wait(place)
            case "add":
                made = self._add(place)
            case "setdefault":
                made = SetDefault(self._qualified(), *self._action(), place)
            case "remove":
                made = Remove(self._name("`all` or an entry's name"), place)
            case "check_counter":
                made = self._check(place)
            case _ if keyword in DIRECT:
                words = [each.strip('"') for each in self._code[self._at :].split()]
                return Command((keyword, *words), place)
            case _:
                self._at = self._start
                self._fail(f"unknown line {keyword!r}", f"a line begins with {', '.join((*OWN, *DIRECT))}")
        if self._rest():
            self._fail("the line should end here")
        return made

    def _add(self, place: Place) -> Add:
        table = self._qualified()
        priority = self._number() if self._peek("number") else None
        matches = []
        while True:
            before = self._at
            name = self._qualified()
            if not self._take(":"):
                self._at = before
                break
            value = self._text("number", "a value")
            if self._take("/"):
                value += f"/{self._text('number', 'a prefix length')}"
            matches.append((name, value))
        action, arguments = self._action()
        name = self._name("a name") if self._take("=") else ""
        return Add(table, priority, tuple(matches), action, arguments, name, place)

    def _action(self) -> tuple[str, tuple[tuple[str, str], ...]]:
        action = self._qualified()
        self._demand("(")
        arguments: list[tuple[str, str]] = []
        while not self._take(")"):
            if arguments:
                self._demand(",")
            name = self._name("a parameter")
            self._demand(":")
            arguments.append((name, self._text("number", "a value")))
        return action, tuple(arguments)

    def _check(self, place: Place) -> CheckCounter:
        counter = self._qualified()
        self._demand("(")
        index = self._text("number", "") if self._peek("number") else self._name("an index or an entry's name")
        self._demand(")")
        if not self._rest():
            return CheckCounter(counter, index, "packets", "", 0, place)
        unit = self._name("`packets` or `bytes`").lower()
        if unit not in ("packets", "bytes"):
            self._fail(f"{unit!r} is not `packets` or `bytes`")
        operator = next((each for each in _OPERATORS if self._take(each)), "")
        if not operator:
            self._fail("a comparison is expected here", f"one of {' '.join(_OPERATORS)}")
        return CheckCounter(counter, index, unit, operator, self._number(), place)

    def _data(self) -> tuple[int, str, bool]:
        port = self._text("number", "a port")
        if not port.isdecimal():
            self._fail("a port is a decimal number")
        rest = "".join(self._code[self._at :].split())
        found = _DATA.fullmatch(rest)
        if found is None:
            self._fail("data is hexadecimal digits and `*`, and ends with `$` if nothing may follow")
        return int(port), found["digits"].upper(), bool(found["exact"])

    def _qualified(self) -> str:
        name = self._name("a name")
        while True:
            if self._take("."):
                name += f".{self._name('a name')}"
            elif self._take("["):
                name += f"[{self._text('number', 'an index')}]"
                self._demand("]")
            else:
                return name

    def _number(self) -> int:
        text = self._text("number", "a number")
        if "*" in text:
            self._fail(f"{text} has a wildcard, which is not allowed here")
        return int(text) if text.isdecimal() else int(text, 0)

    def _name(self, what: str) -> str:
        found = self._next()
        if found is None or not (text := found["name"] or found["quoted"]):
            self._fail(f"{what} is expected here")
        self._at = found.end()
        return text

    def _text(self, kind: str, what: str) -> str:
        found = self._next()
        if found is None or found[kind] is None:
            self._fail(f"{what} is expected here")
        self._at = found.end()
        return found[kind]

    def _peek(self, kind: str) -> bool:
        found = self._next()
        return found is not None and found[kind] is not None

    def _take(self, sign: str) -> bool:
        found = self._next()
        if found is None or found["sign"] != sign:
            return False
        self._at = found.end()
        return True

    def _demand(self, sign: str) -> None:
        if not self._take(sign):
            self._fail(f"`{sign}` is expected here")

    def _next(self) -> re.Match[str] | None:
        space = _SPACE.match(self._code, self._at)
        self._at = space.end() if space else self._at
        return _TOKEN.match(self._code, self._at)

    def _rest(self) -> str:
        return self._code[self._at :].strip()

    def _span(self, start: int, end: int) -> Place:
        return Place(self._place.file, self._place.line, start + 1, max(1, end - start), self._place.text)

    def _fail(self, message: str, hint: str = "") -> NoReturn:
        self._next()  # past spaces
        raise MidflightError(message, place=self._span(self._at, len(self._code)), hint=hint) from None


def _without_comment(line: str) -> str:
    """Return a line without its comment. A quoted name may contain `#`."""
    quoted = False
    for at, letter in enumerate(line):
        if letter == '"':
            quoted = not quoted
        elif letter == "#" and not quoted:
            return line[:at]
    return line

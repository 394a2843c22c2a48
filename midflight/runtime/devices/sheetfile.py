"""Capability sheets: TOML files with the limits and features of a device, and the source of every number.

    kind = "tofino"
    base = "host"                                                   # another sheet, whose values this one overrides
    architecture = { value = "tna", source = "tna" }
    stages = { value = 12, source = "device" }
    latency = "400ns"                                               # without a source, as in a sheet for oneself

    [per_stage]
    sram = { value = 80, source = "memories" }

    [sources]
    tna = "Tofino Native Architecture, public version"
    device = "p4lang/p4c, backends/tofino/bf-p4c/specs/device.h"

The keys are the fields of `Capabilities`. `source` is a key of `[sources]`, or "assumed" for a number without a public
source. Times and rates have units: "50us", "100Gbit".
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from midflight.errors import MidflightError, Place
from midflight.runtime.devices.capabilities import ARCHITECTURES, RESOURCES, Capabilities
from midflight.units import RATES, TIMES, measured
from midflight.userfiles import read_text

__all__ = ["SHEETS", "SheetOf", "load_sheet", "named_sheet", "parse_sheet"]

SHEETS = ("bmv2", "cpu", "dpu", "fpga-nic", "host", "tofino", "tofino2", "xdp")
"""The names of the sheets that come with Midflight."""

ASSUMED = "assumed"

_UNITS = {"port_rate": RATES, "latency": TIMES, "table_write": TIMES}
_MATCH_KINDS = ("exact", "lpm", "ternary", "range", "optional")
_MEMORIES = ("sram", "tcam")


class SheetOf:
    """A class attribute `capabilities`: the sheet that comes with Midflight for a kind of device, read on first use.

    Reading it raises MidflightError if there is no sheet with this name.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, owner: type) -> Capabilities:
        return named_sheet(self._name)


def load_sheet(which: str | Path) -> Capabilities:
    """Return the sheet with a name from `SHEETS`, or the one in a TOML file; a name with a dot or slash is a file.

    MidflightError, with file and key, if there is no such sheet or file, or if it is wrong.
    """
    name = str(which)
    if name in SHEETS:
        return named_sheet(name)
    path = Path(which)
    if not path.suffix and "/" not in name:
        hint = f"the sheets are {', '.join(SHEETS)}; a sheet of your own is a file such as {name}.toml"
        raise MidflightError(f"there is no capability sheet {name!r}", hint=hint)
    return parse_sheet(read_text(path), str(path))


@cache
def named_sheet(name: str) -> Capabilities:
    """Return the sheet that comes with Midflight under a name. MidflightError if there is none."""
    if name not in SHEETS:
        raise MidflightError(f"there is no capability sheet {name!r}", hint=f"the sheets are {', '.join(SHEETS)}")
    file = files("midflight.runtime.devices") / "sheets" / f"{name}.toml"
    return parse_sheet(file.read_text(encoding="utf-8"), f"{name}.toml")


def parse_sheet(text: str, file: str = "<string>") -> Capabilities:
    """Return the sheet in a TOML text; `file` is its name in errors.

    MidflightError if the text is not TOML or not a sheet, with the place except for values that are nested too deeply
    and numbers with too many digits.
    """
    lines = text.replace("\r\n", "\n").split("\n")  # as tomllib counts them
    try:
        return _Sheet(lines, file).read(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise _syntax(str(error), file, lines) from None
    except RecursionError:
        raise MidflightError(f"{file}: not TOML that can be read: values are nested too deeply") from None
    except ValueError as error:  # Python limits the digits of integers
        raise MidflightError(f"{file}: not TOML that can be read: {error}") from None


def _syntax(message: str, file: str, lines: list[str]) -> MidflightError:
    """Return the error for text that is not TOML. The message of tomllib ends with "(at line 3, column 1)", or with
    "(at end of document)".
    """
    what, _, where = message.rpartition(" (at ")
    if found := re.fullmatch(r"line (\d+), column (\d+)\)", where):
        line, column = int(found[1]), int(found[2])
    else:
        line = max((number for number, each in enumerate(lines, 1) if each.strip()), default=1)
        column = len(lines[line - 1].rstrip()) + 1
    place = Place(file, line, column, 1, lines[line - 1])
    return MidflightError(f"not TOML: {what or message}", place=place)


class _Sheet:
    """Reads one sheet. `sources` collects the sources of its values by key."""

    def __init__(self, lines: list[str], file: str) -> None:
        self._lines = lines
        self._file = file
        self._sources: dict[str, str] = {}
        self._known: Mapping[str, object] = {}
        self._readers: Mapping[str, Callable[[str, Any], Any]] = {
            "architecture": self._architecture,
            "match_kinds": self._match_kinds,
            "externs": self._names,
            "stateful_operations": self._names,
            "per_stage": lambda key, value: self._table(key, value, RESOURCES, self._whole),
            "blocks": lambda key, value: self._table(key, value, _MEMORIES, self._block),
            "containers": self._containers,
        }

    def read(self, found: dict[str, Any]) -> Capabilities:
        self._known = found.pop("sources", {})
        if not isinstance(self._known, dict):
            self._fail("sources", "must be a table of texts")
        for key, value in self._known.items():
            self._text(f"sources.{key}", value)
        base = self._base(found.pop("base", None))
        if "kind" not in found:
            self._fail("kind", "is missing: a sheet begins with the name of the kind of device")
        changes: dict[str, Any] = {"kind": self._text("kind", found.pop("kind"))}
        hints = get_type_hints(Capabilities)
        allowed = [each.name for each in fields(Capabilities) if each.name not in ("kind", "sources")]
        for key, value in found.items():
            if key not in allowed:
                keys = ", ".join(("kind", "base", *allowed, "sources"))
                self._fail(key, "is not a key of a capability sheet", f"the keys are {keys}")
            changes[key] = self._value(key, value, hints[key])
        return replace(base, **changes, sources={**base.sources, **self._sources})

    def _base(self, name: object) -> Capabilities:
        if name is None:
            return Capabilities(kind="")
        if not isinstance(name, str) or name not in SHEETS:
            self._fail("base", f"must be one of {', '.join(SHEETS)}, not {name!r}")
        return named_sheet(name)

    def _value(self, key: str, value: Any, kind: object) -> Any:
        if key in ("per_stage", "blocks", "containers"):
            return self._readers[key](key, value)
        value = self._sourced(key, value)
        if key in self._readers:
            return self._readers[key](key, value)
        if key in _UNITS:
            return self._quantity(key, value)
        if kind is bool:
            if type(value) is not bool:
                self._fail(key, f"must be true or false, not {value!r}")
            return value
        if kind == float | None:
            if type(value) not in (int, float) or not 0 <= value < 1e18:
                self._fail(key, f"must be a number that is not negative, not {value!r}")
            return float(value)
        return self._whole(key, value)

    def _sourced(self, key: str, value: Any) -> Any:
        """Return a value without its source, which is kept."""
        if not isinstance(value, dict):
            return value
        if not {"value"} <= value.keys() <= {"value", "source"}:
            self._fail(key, "must be a value, or { value = ..., source = ... }")
        source = value.get("source", "")
        if not isinstance(source, str):
            self._fail(key, f"has the source {source!r}, which must be a name")
        if source and source != ASSUMED and source not in self._known:
            self._fail(
                key, f"has the source {source!r}, which is not in [sources]", f'add it there, or use "{ASSUMED}"'
            )
        if source:
            self._sources[key] = str(self._known.get(source, ASSUMED))
        return value["value"]

    def _table(self, key: str, value: Any, names: Any, read: Callable[[str, Any], Any]) -> dict[str, Any]:
        if not isinstance(value, dict):
            self._fail(key, "must be a table of names and values")
        for name in value:
            if name not in names:
                self._fail(f"{key}.{name}", f"is unknown; {key} has {', '.join(names)}")
        return {name: read(f"{key}.{name}", self._sourced(f"{key}.{name}", each)) for name, each in value.items()}

    def _containers(self, key: str, value: Any) -> dict[int, int]:
        found: dict[str, int] = self._table(key, value, ("8", "16", "32"), self._whole)
        return {int(width): number for width, number in found.items()}

    def _block(self, key: str, value: Any) -> tuple[int, int]:
        if not isinstance(value, list) or len(value) != 2 or not all(type(each) is int and each > 0 for each in value):
            self._fail(key, f"must be [rows, bits], not {value!r}")
        return value[0], value[1]

    def _quantity(self, key: str, value: Any) -> int:
        units = _UNITS[key]
        number, unit = measured(value) or (0.0, "")
        if unit not in units:
            self._fail(key, f"must be a number with one of the units {', '.join(units)}, not {value!r}")
        return round(number * units[unit])

    def _whole(self, key: str, value: Any) -> int:
        if type(value) is not int or not 0 <= value < 1 << 63:
            self._fail(key, f"must be a whole number that is not negative, not {value!r}")
        return value

    def _text(self, key: str, value: Any) -> str:
        if not isinstance(value, str) or not value:
            self._fail(key, f"must be a text, not {value!r}")
        return value

    def _architecture(self, key: str, value: Any) -> str:
        if value not in ARCHITECTURES:
            self._fail(key, f"must be one of {', '.join(ARCHITECTURES)}, not {value!r}")
        return str(value)

    def _names(self, key: str, value: Any) -> frozenset[str]:
        if not isinstance(value, list):
            self._fail(key, f"must be a list of texts, not {value!r}")
        return frozenset(self._text(key, each) for each in value)

    def _match_kinds(self, key: str, value: Any) -> frozenset[str]:
        found = self._names(key, value)
        if unknown := sorted(found - set(_MATCH_KINDS)):
            self._fail(key, f"has the unknown match kind {unknown[0]}; there are {', '.join(_MATCH_KINDS)}")
        return found

    def _fail(self, key: str, message: str, hint: str = "") -> NoReturn:
        raise MidflightError(f"{key} {message}", place=self._place(key), hint=hint) from None

    def _place(self, key: str) -> Place:
        """Return the line that sets a key or, if it is not found, the table of the key; else the file's first line.

        The keys of an inline table are not found by themselves.
        """
        table, _, name = key.rpartition(".")
        inside = ""
        for number, line in enumerate(self._lines, 1):
            if header := re.match(r"\s*\[([^\]]+)\]", line):
                inside = header[1].strip()
                if inside == key:
                    return Place(self._file, number, 1, len(line.rstrip()), line)
            elif (found := re.match(r'\s*"?([\w.-]+)"?\s*=', line)) and (
                (inside, found[1]) == (table, name) or (not inside and found[1] == key)
            ):
                return Place(self._file, number, found.start(1) + 1, len(line[found.start(1) :].rstrip()), line)
        return self._place(table) if table else Place(self._file, 1, 1, 1, self._lines[0])

"""Emits a kernel's maps and lookups as P4 tables, each with an action that assigns the value to a variable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from midflight.primitives.emit.expressions import Printer, p4_type
from midflight.primitives.emit.writer import Writer
from midflight.primitives.kernel.lookup import Lookup
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.typed import Expr, FieldRef, Local, Search
from midflight.primitives.kernel.types import Kind

__all__ = ["IN_TABLES", "PARAMETER", "SearchWriter", "found", "key_names"]

PARAMETER = "found"
"""The name of the action parameter with the value of an entry."""

IN_TABLES = frozenset({PARAMETER, "size", "default_action"})
"""Names that variables cannot have next to a table, as they would clash with its properties and parameter."""


def found(table: str) -> str:
    """Return the P4 name of the action that assigns an entry's value, for the table of a map or lookup."""
    return f"{table}_is"


def key_names(count: int) -> list[str]:
    """Return the names in P4Info of the parts of a table's key: `key`, or `key_0`, `key_1`, ... for several."""
    return ["key"] if count == 1 else [f"key_{number}" for number in range(count)]


@dataclass(frozen=True, slots=True)
class SearchWriter:
    """Writes one read of a map or lookup as P4. `source` is that map or lookup.

    `names` are the P4 names of all variables, including those that hold parts of keys.
    """

    search: Search
    source: Map | Lookup
    names: Mapping[str, str]

    @staticmethod
    def scratch(search: Search) -> dict[str, Kind]:
        """Return the variables, with types, that a search needs for parts of a key other than fields or variables."""
        return {
            f"{search.table}_{name}": _kind(key)
            for name, key in zip(key_names(len(search.keys)), search.keys, strict=True)
            if not _plain(key, search)
        }

    def declare(self, out: Writer, show: Printer) -> None:
        """Write the table, and the action that assigns an entry's value. A lookup's table contains its entries."""
        search, source = self.search, self.source
        target, kind = self.names[search.target.name], search.target.kind
        assert kind is not None
        signed = f"({p4_type(kind)})" if kind.signed else ""
        with out.block(f"action {found(search.table)}(bit<{kind.width}> {PARAMETER})"):
            out.line(f"{target} = {signed}{PARAMETER};")
        out.line()
        with out.block(f"table {search.table}"):
            with out.block("key ="):
                hows = source.match if isinstance(source, Map) else ("exact",)
                for key, how, name in zip(search.keys, hows, key_names(len(search.keys)), strict=True):
                    out.line(f'{self._key(show, key, name)}: {how} @name("{name}");')
            with out.block("actions ="):
                out.line(f"{found(search.table)};")
                out.line("NoAction;")
            out.line("const default_action = NoAction();")
            if isinstance(source, Map):
                out.line(f"size = {source.size};")
            else:
                self._constants(out, source)
        out.line()

    def _constants(self, out: Writer, source: Lookup) -> None:
        """Write a lookup's values, without those that its index is too narrow to reach."""
        bits = (1 << source.kind.width) - 1
        reach = min(len(source), 1 << _kind(self.search.keys[0]).width)
        with out.block("const entries ="):
            for index, value in enumerate(source.values[:reach]):
                out.line(f"{index}: {found(self.search.table)}({value & bits});")

    def write(self, out: Writer, show: Printer, *, hit: str = "") -> None:
        """Write the search: compute the key, assign the default value, then apply the table.

        `hit` names a variable that receives whether there was an entry; without it, that is not recorded.
        """
        search = self.search
        for name, key in zip(key_names(len(search.keys)), search.keys, strict=True):
            if not _plain(key, search):
                out.long(f"{self._key(show, key, name)} = {show.value(key)};")
        if search.default != search.target:
            out.long(f"{self.names[search.target.name]} = {show.value(search.default)};")
        out.line(f"{hit} = {search.table}.apply().hit;" if hit else f"{search.table}.apply();")

    def _key(self, show: Printer, key: Expr, name: str) -> str:
        return show(key) if _plain(key, self.search) else self.names[f"{self.search.table}_{name}"]


def _kind(key: Expr) -> Kind:
    assert key.kind is not None
    return key.kind


def _plain(key: Expr, search: Search) -> bool:
    """Return whether a table can match on an expression directly; the default must not overwrite it."""
    return isinstance(key, (FieldRef, Local)) and key != search.target

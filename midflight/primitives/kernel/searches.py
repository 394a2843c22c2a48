"""Searches: the one question to a map on one packet, and reads of lookups."""

from __future__ import annotations

import ast

from midflight.primitives.kernel.accesses import Accesses
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.lookup import Lookup
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.state import State
from midflight.primitives.kernel.typed import Assign, Const, Expr, Local, Old, Search, Statement, reads

__all__ = ["Searches"]


class Searches(Accesses):
    """The rules of maps and lookups."""

    def access(self, node: ast.Call | ast.Attribute, state: State, method: str) -> Expr:
        """Take an access inside an expression: it is done first, its value goes into a variable."""
        if isinstance(state, Register):
            return super().access(node, state, method)
        if isinstance(node, ast.Attribute):
            assert isinstance(state, Map)
            return self.hit(node, state)
        self.check(node, state, method)
        if isinstance(state, Map) and self.expressions.lazy:
            raise self.source.error(
                node,
                f"map `{self.name(node, state)}` is asked inside something that is evaluated for some packets only",
                f"ask it on a line of its own: `value = {self.source.text(node.func)}(...)`",
            )
        search = self.search(node, state)
        if isinstance(search, Const):
            return search
        self.ahead(search)
        return search.target

    def assign_access(self, target: ast.Name, call: ast.Call, state: State, line: Line) -> list[Statement]:
        """Assign what an access gives to a variable."""
        if isinstance(state, Register):
            return super().assign_access(target, call, state, line)
        assert isinstance(call.func, ast.Attribute)
        self.check(call, state, call.func.attr)
        local = self.local(target.id, state.kind)
        search = self.search(call, state, local)
        self.declare(target, target.id, local, line)
        return [*self.flush(), Assign(local, search, line) if isinstance(search, Const) else search]

    def name(self, node: ast.expr, state: Map | Lookup) -> str:
        """Return the attribute that a map or lookup is."""
        if id(state) not in self.tables:
            raise self.source.error(
                node, f"this {_what(state)} is not the primitive's own", "make it in setup: `self.x = ...`"
            )
        return self.tables[id(state)]

    def table(self, call: ast.Call, state: Map | Lookup) -> str:
        """Return the name of the table that a search is: a map's own; a lookup has one for each place."""
        name = self.name(call, state)
        line = self.source.line(call)
        if isinstance(state, Map):
            if name in self.searched:
                raise self.source.error(
                    call,
                    f"map `{name}` is asked a second time; the first is in {self.source.where(self.searched[name])}",
                    self.also(self.searched[name], line)
                    + "a table stands in one place of a switch: ask once, before the `if` or loop, and keep the answer",
                )
            self.searched[name] = line
            return name
        table, number = name, 2
        while table in self.searched or (number > 2 and table in self.tables.values()):
            table, number = f"{name}_{number}", number + 1
        self.searched[table] = line
        return table

    def search(self, call: ast.Call, state: Map | Lookup, target: Local | None = None) -> Search | Const:
        """Return one search, or what it finds where that is known; without a target into a variable of its own."""
        name = self.name(call, state)
        keys: tuple[Expr, ...]
        if isinstance(state, Map):
            keys = self.keys(call.args[0], state, name)
            default = self.expressions.number(call.args[1], state.kind, f"map `{name}`")
        else:
            index = self.place(call.args[0])
            if isinstance(index, int):
                return Const(int(state.read(index)), state.kind, solid=True)
            if any(isinstance(each, Old) for each in reads(index)):
                raise self.source.error(
                    call,
                    f"lookup `{name}` is asked about a register's old value, in the midst of its update",
                    "a lookup comes before or after the update: read the register first, or look up what it gives",
                )
            keys, default = (index,), Const(state.default, state.kind)
        table = self.table(call, state)
        hit = Local(f"{table}.hit", None)
        self.scope.assign(hit, hit)
        target = target or self.fresh(f"{table}_value", state.kind)
        return Search(name, table, keys, default, target, hit, self.source.line(call))

    def check(self, call: ast.Call, state: Map | Lookup, method: str) -> None:
        """Check a search's method and the number of its arguments."""
        wanted, example = ("get", "get(wire.key, 0)") if isinstance(state, Map) else ("read", "read(wire.index)")
        count = 2 if isinstance(state, Map) else 1
        name = self.name(call, state)
        if method != wanted:
            known = "get and hit; its entries are the controller's to write" if isinstance(state, Map) else "read"
            raise self.source.error(call, f"a {_what(state)} has no `{method}` in a kernel", f"it has {known}")
        if len(call.args) != count or call.keywords:
            given = len(call.args) + len(call.keywords)
            raise self.source.error(
                call,
                f"`{method}` takes {count} argument{'s' * (count > 1)}, not {given}",
                f"such as `self.{name}.{example}`",
            )

    def keys(self, node: ast.expr, state: Map, name: str) -> tuple[Expr, ...]:
        """Compile the key that a map is asked for: one number, or a tuple."""
        nodes = node.elts if isinstance(node, ast.Tuple) else [node]
        if len(nodes) != len(state.keys):
            shape = str(state.keys[0]) if len(state.keys) == 1 else f"({', '.join(map(str, state.keys))})"
            raise self.source.error(
                node,
                f"map `{name}` is asked for {shape}",
                "write one number" if len(state.keys) == 1 else "write them in parentheses: `get((a, b), 0)`",
            )
        what = f"the key of map `{name}`"
        return tuple(self.expressions.number(each, kind, what) for each, kind in zip(nodes, state.keys, strict=True))

    def place(self, node: ast.expr) -> Expr | int:
        """Compile the index of a lookup; a number where it is known."""
        value = self.expressions.value(node)
        if not isinstance(value, Known):
            return self.position(value, node)
        index = self.expressions.constant(node, "the index")
        if index < 0:
            raise self.source.error(node, f"a lookup has no index {index}", "they count from 0")
        return index

    def hit(self, node: ast.Attribute, state: Map) -> Expr:
        """Compile `self.owner.hit`."""
        name = self.name(node, state)
        key = f"{name}.hit"
        found = self.scope.names.get(key)
        if not isinstance(found, Local):
            where = f" on some paths (line {self.scope.unset[key]})" if key in self.scope.unset else ""
            raise self.source.error(
                node,
                f"map `{name}` has not been asked here{where}",
                f"ask it first: `value = {self.source.text(node.value)}.get(key, 0)`",
            )
        self.locals[key] = None
        return found


def _what(state: Map | Lookup) -> str:
    return "map" if isinstance(state, Map) else "lookup"

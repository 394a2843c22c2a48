"""Searches: the one question to a map on one packet, and reads of lookups."""

from __future__ import annotations

import ast

from midflight.primitives.kernel.accesses import position
from midflight.primitives.kernel.context import Context, ToldError, also
from midflight.primitives.kernel.demands import constant, number
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.lookup import Lookup
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.typed import Assign, Const, Expr, Local, Old, Search, Statement, reads
from midflight.primitives.kernel.values import SPOILT, Value
from midflight.stackless import Walk

__all__ = ["assigned", "hit", "search", "spoil"]


def search(code: Context, call: ast.Call, state: Map | Lookup, method: str) -> Walk[Expr]:
    """Take a search inside an expression: it is done first, its value goes into a variable."""
    _check(code, call, state, method)
    if isinstance(state, Map) and code.lazy:
        raise code.error(
            call,
            f"map `{_name(code, call, state)}` is asked inside something that is evaluated for some packets only",
            f"ask it on a line of its own: `value = {code.text(call.func)}(...)`",
        )
    found = yield from _search(code, call, state)
    if isinstance(found, Const):
        return found
    code.ahead(found)
    return found.target


def assigned(code: Context, target: ast.Name, call: ast.Call, state: Map | Lookup, line: Line) -> Walk[list[Statement]]:
    """Assign what a search gives to a variable."""
    assert isinstance(call.func, ast.Attribute)
    _check(code, call, state, call.func.attr)
    local = code.local(target.id, state.kind)
    found = yield from _search(code, call, state, local)
    code.declare(target, target.id, local, line)
    return [*code.flush(), Assign(local, found, line) if isinstance(found, Const) else found]


def hit(code: Context, node: ast.Attribute, state: Map) -> Expr:
    """Compile `self.owner.hit`."""
    name = _name(code, node, state)
    key = f"{name}.hit"
    found = code.scope.names.get(key)
    if found == SPOILT:
        raise ToldError(key)
    if not isinstance(found, Local):
        where = f" on some paths (line {code.scope.unset[key]})" if key in code.scope.unset else ""
        raise code.error(
            node,
            f"map `{name}` has not been asked here{where}",
            f"ask it first: `value = {code.text(node.value)}.get(key, 0)`",
        )
    code.variables.kinds[key] = None
    return found


def spoil(code: Context) -> None:
    """Note that a question to a map has a mistake: which one it is about may not be known."""
    for name in code.names.tables.values():
        code.scope.names.setdefault(f"{name}.hit", SPOILT)


def _name(code: Context, node: ast.expr, state: Map | Lookup) -> str:
    """Return the attribute that a map or lookup is."""
    if id(state) not in code.names.tables:
        raise code.error(node, f"this {_what(state)} is not the primitive's own", "make it in setup: `self.x = ...`")
    return code.names.tables[id(state)]


def _table(code: Context, call: ast.Call, state: Map | Lookup) -> str:
    """Return the name of the table that a search is: a map's own; a lookup has one for each place."""
    name, searched = _name(code, call, state), code.names.searched
    line = code.source.line(call)
    if isinstance(state, Map):
        if name in searched:
            raise code.error(
                call,
                f"map `{name}` is asked a second time; the first is in {code.source.where(searched[name])}",
                also(searched[name], line)
                + "a table stands in one place of a switch: ask once, before the `if` or loop, and keep the answer",
            )
        searched[name] = line
        return name
    table, number = name, 2
    while table in searched or (number > 2 and table in code.names.tables.values()):
        table, number = f"{name}_{number}", number + 1
    searched[table] = line
    return table


def _search(code: Context, call: ast.Call, state: Map | Lookup, target: Local | None = None) -> Walk[Search | Const]:
    """Return one search, or what it finds where that is known; without a target into a variable of its own."""
    name = _name(code, call, state)
    keys: tuple[Expr, ...]
    if isinstance(state, Map):
        keys = yield from _keys(code, call.args[0], state, name)
        default = yield from number(code, call.args[1], state.kind, f"map `{name}`")
    else:
        index = yield from _place(code, call.args[0])
        if isinstance(index, int):
            return Const(int(state.read(index)), state.kind, solid=True)
        if any(isinstance(each, Old) for each in reads(index)):
            raise code.error(
                call,
                f"lookup `{name}` is asked about a register's old value, in the midst of its update",
                "a lookup comes before or after the update: read the register first, or look up what it gives",
            )
        keys, default = (index,), Const(state.default, state.kind)
    table = _table(code, call, state)
    found = Local(f"{table}.hit", None)
    code.scope.assign(found, found)
    target = target or code.variables.fresh(f"{table}_value", state.kind)
    return Search(name, table, keys, default, target, found, code.source.line(call))


def _check(code: Context, call: ast.Call, state: Map | Lookup, method: str) -> None:
    """Check a search's method and the number of its arguments."""
    wanted, example = ("get", "get(wire.key, 0)") if isinstance(state, Map) else ("read", "read(wire.index)")
    count = 2 if isinstance(state, Map) else 1
    name = _name(code, call, state)
    if method != wanted:
        known = "get and hit; its entries are the controller's to write" if isinstance(state, Map) else "read"
        raise code.error(call, f"a {_what(state)} has no `{method}` in a kernel", f"it has {known}")
    if len(call.args) != count or call.keywords:
        given = len(call.args) + len(call.keywords)
        raise code.error(
            call,
            f"`{method}` takes {count} argument{'s' * (count > 1)}, not {given}",
            f"such as `self.{name}.{example}`",
        )


def _keys(code: Context, node: ast.expr, state: Map, name: str) -> Walk[tuple[Expr, ...]]:
    """Compile the key that a map is asked for: one number, or a tuple."""
    nodes = node.elts if isinstance(node, ast.Tuple) else [node]
    if len(nodes) != len(state.keys):
        shape = str(state.keys[0]) if len(state.keys) == 1 else f"({', '.join(map(str, state.keys))})"
        raise code.error(
            node,
            f"map `{name}` is asked for {shape}",
            "write one number" if len(state.keys) == 1 else "write them in parentheses: `get((a, b), 0)`",
        )
    found = []
    for each, kind in zip(nodes, state.keys, strict=True):
        found.append((yield from number(code, each, kind, f"the key of map `{name}`")))
    return tuple(found)


def _place(code: Context, node: ast.expr) -> Walk[Expr | int]:
    """Compile the index of a lookup; a number where it is known."""
    value: Value = yield code.value(node)
    if not isinstance(value, Known):
        return position(code, value, node)
    index = yield from constant(code, node, "the index")
    if index < 0:
        raise code.error(node, f"a lookup has no index {index}", "they count from 0")
    return index


def _what(state: Map | Lookup) -> str:
    return "map" if isinstance(state, Map) else "lookup"

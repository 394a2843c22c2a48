"""Compiles searches: reads of maps, which a kernel may do in one place per map, and reads of lookups."""

from __future__ import annotations

import ast

from midflight.primitives.kernel.accesses import dynamic_index
from midflight.primitives.kernel.coercion import constant, number
from midflight.primitives.kernel.context import Context, FollowOnError, also
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.lookup import Lookup
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.source import Line
from midflight.primitives.kernel.typed import Assign, Const, Expr, Local, Old, Search, Statement, reads
from midflight.primitives.kernel.values import POISON, Value
from midflight.stackless import Walk

__all__ = ["assigned", "hit", "poison", "search"]


def search(code: Context, call: ast.Call, state: Map | Lookup, method: str) -> Walk[Expr]:
    """Compile a read of a map or lookup inside an expression; `method` is the called method, `get` or `read`.

    The read runs before the current statement and stores to a new variable, which is returned. The result is a constant
    for a lookup whose index is known. Raises KernelError for a second read of a map, a map in an expression that Python
    does not always evaluate, a map or lookup of another object, an unknown method, and arguments that do not fit.
    """
    _check(code, call, state, method)
    if isinstance(state, Map) and code.conditional:
        raise code.error(
            call,
            f"map `{_name(code, call, state)}` is read in an expression that is not evaluated for every packet",
            f"read it in a statement of its own: `value = {code.text(call.func)}(...)`",
        )
    found = yield from _search(code, call, state)
    if isinstance(found, Const):
        return found
    code.emit_before(found)
    return found.target


def assigned(code: Context, target: ast.Name, call: ast.Call, state: Map | Lookup, line: Line) -> Walk[list[Statement]]:
    """Compile `target = state.method(...)`, where `call` is the right side; the read stores to the variable directly.

    Return the statements, with those that must run before first. Raises KernelError like `search`, or if the variable
    has another type.
    """
    assert isinstance(call.func, ast.Attribute)
    _check(code, call, state, call.func.attr)
    local = code.local(target.id, state.kind)
    found = yield from _search(code, call, state, local)
    code.declare(target, target.id, local, line)
    return [*code.flush(), Assign(local, found, line) if isinstance(found, Const) else found]


def hit(code: Context, node: ast.Attribute, state: Map) -> Expr:
    """Compile `state.hit`, whether the map's last `get` found an entry, and return the variable with it.

    Raises KernelError if a path to this point does not read the map.
    """
    name = _name(code, node, state)
    key = f"{name}.hit"
    found = code.scope.names.get(key)
    if found == POISON:
        raise FollowOnError(key)
    if not isinstance(found, Local):
        where = f": only some paths read the map (line {code.scope.unset[key]})" if key in code.scope.unset else ""
        raise code.error(
            node,
            f"`hit` of map `{name}` has no value here{where}",
            f"read the map first: `value = {code.text(node.value)}.get(key, 0)`",
        )
    code.variables.kinds[key] = None
    return found


def poison(code: Context) -> None:
    """Mark the `hit` of all maps as unknown after a mistake in a read, so that its uses are not reported as well."""
    for name in code.names.tables.values():
        code.scope.names.setdefault(f"{name}.hit", POISON)


def _name(code: Context, node: ast.expr, state: Map | Lookup) -> str:
    """Return the attribute name of a map or lookup. Raises KernelError if it is not the primitive's."""
    if id(state) not in code.names.tables:
        raise code.error(
            node, f"this {_kind_name(state)} is not part of the primitive", "create it in setup: `self.x = ...`"
        )
    return code.names.tables[id(state)]


def _table(code: Context, call: ast.Call, state: Map | Lookup) -> str:
    """Return the table of a search: the map's single table, or a new one for each read of a lookup."""
    name, searched = _name(code, call, state), code.names.searched
    line = code.source.line(call)
    if isinstance(state, Map):
        if name in searched:
            raise code.error(
                call,
                f"a second read of map `{name}`; the first is in {code.source.where(searched[name])}",
                also(searched[name], line)
                + "a table can be applied in one place: read the map once, before the `if` or loop, into a variable",
            )
        searched[name] = line
        return name
    table, number = name, 2
    while table in searched or (number > 2 and table in code.names.tables.values()):
        table, number = f"{name}_{number}", number + 1
    searched[table] = line
    return table


def _search(code: Context, call: ast.Call, state: Map | Lookup, target: Local | None = None) -> Walk[Search | Const]:
    """Compile one search, or the constant that it reads if the index is known. Without `target`, use a new variable."""
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
                f"lookup `{name}` is indexed by a register's old value inside its update",
                "read the lookup before the update, or index it with the result of the update",
            )
        keys, default = (index,), Const(state.default, state.kind)
    table = _table(code, call, state)
    found = Local(f"{table}.hit", None)
    code.scope.assign(found, found)
    target = target or code.variables.fresh(f"{table}_value", state.kind)
    return Search(name, table, keys, default, target, found, code.source.line(call))


def _check(code: Context, call: ast.Call, state: Map | Lookup, method: str) -> None:
    """Raise KernelError for an unknown method or a wrong number of arguments."""
    wanted, example = ("get", "get(wire.key, 0)") if isinstance(state, Map) else ("read", "read(wire.index)")
    count = 2 if isinstance(state, Map) else 1
    name = _name(code, call, state)
    if method != wanted:
        known = "get and hit; only the controller writes entries" if isinstance(state, Map) else "read"
        raise code.error(call, f"a {_kind_name(state)} has no `{method}` in a kernel", f"it has {known}")
    if len(call.args) != count or call.keywords:
        given = len(call.args) + len(call.keywords)
        raise code.error(
            call,
            f"`{method}` takes {count} argument{'s' * (count > 1)}, not {given}",
            f"for example `self.{name}.{example}`",
        )


def _keys(code: Context, node: ast.expr, state: Map, name: str) -> Walk[tuple[Expr, ...]]:
    """Compile the key of a map read: one number or a tuple."""
    nodes = node.elts if isinstance(node, ast.Tuple) else [node]
    if len(nodes) != len(state.keys):
        shape = str(state.keys[0]) if len(state.keys) == 1 else f"({', '.join(map(str, state.keys))})"
        raise code.error(
            node,
            f"the key of map `{name}` is {shape}",
            "pass one number" if len(state.keys) == 1 else "pass a tuple: `get((a, b), 0)`",
        )
    found = []
    for each, kind in zip(nodes, state.keys, strict=True):
        found.append((yield from number(code, each, kind, f"the key of map `{name}`")))
    return tuple(found)


def _place(code: Context, node: ast.expr) -> Walk[Expr | int]:
    """Compile the index of a lookup; return an int if it is known at compile time."""
    value: Value = yield code.value(node)
    if not isinstance(value, Known):
        return dynamic_index(code, value, node)
    index = yield from constant(code, node, "the index")
    if index < 0:
        raise code.error(node, f"the index {index} of a lookup is negative", "indexes start at 0")
    return index


def _kind_name(state: Map | Lookup) -> str:
    return "map" if isinstance(state, Map) else "lookup"

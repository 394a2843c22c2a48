"""Mutants of a primitive: its kernel with one plausible mistake.

Mutation changes the kernel's syntax tree. The result is an ordinary kernel: executed as Python, and compiled if it is
within the language. The conditions of a `Predicate` are changed in the same way.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from inspect import isfunction
from itertools import islice
from types import FunctionType
from typing import Any

from midflight.errors import KernelError, MidflightError
from midflight.primitives import Primitive
from midflight.primitives.catalogue import made
from midflight.primitives.kernel.predicate import FUNCTIONS, Predicate
from midflight.primitives.kernel.source import source_of
from midflight.testbed.conformance.subject import Parameters, Subject

__all__ = ["Mutant", "mutants"]

Change = tuple[ast.AST | str, Callable[[], Callable[[], None]]]
"""The changed code as text or node, and a function that changes it in place and returns a function to undo that."""

COMPARISONS: dict[type[ast.cmpop], tuple[type[ast.cmpop], ...]] = {
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}
OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Add,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
    ast.BitXor: ast.BitOr,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.FloorDiv: ast.Mod,
    ast.Mod: ast.FloorDiv,
}
NAMES = {
    "forward": "drop",
    "drop": "forward",
    "reply": "multicast",
    "multicast": "reply",
    "min": "max",
    "max": "min",
    "sat_add": "sat_sub",
    "sat_sub": "sat_add",
    "update": "update_fetch",
    "update_fetch": "update",
}


LIBRARY = "midflight.primitives.library."
BY_DEFAULT = "packet.forward()"
LEGIBLE = 16
"""The minimum length of the code in a mutant's name, unless it is a whole statement, so that its place is clear."""


@dataclass(eq=False)
class Mutant:
    """A changed primitive. `name` has the code before and after, with a number if it occurs more than once."""

    name: str
    primitive: type[Primitive]
    parameters: Sequence[Parameters]

    @cached_property
    def made(self) -> Sequence[Primitive]:
        """The mutant with each of the parameters and the name `app`; empty if it does not compile with some of them."""
        compiled = []
        for parameters in self.parameters:
            try:
                compiled.append(made(self.primitive, "app", parameters))
                assert compiled[-1].kernel
            except KernelError:
                return ()
        return compiled


def mutants(subject: Subject, count: int) -> list[Mutant]:
    """Return up to `count` mutants that compile, the same ones every time, and all that `subject.equivalent` names.

    Which ones are chosen depends on what they change, not on where: most stay the same when the kernel grows.
    MidflightError if `subject.equivalent` names a mutant that does not exist.
    """
    found = {each.name: each for each in _candidates(subject)}
    if unknown := subject.equivalent.keys() - found.keys():
        raise MidflightError(f"{subject.primitive.__name__} has no mutant {min(unknown)!r}")
    drawn = sorted(found.values(), key=lambda each: hashlib.sha256(each.name.encode()).digest())
    chosen = [*islice((each for each in drawn if each.made), count)]
    return chosen + [found[name] for name in subject.equivalent if found[name] not in chosen]


def _candidates(subject: Subject) -> Iterator[Mutant]:
    taken: Counter[str] = Counter()
    for function in _functions(subject.primitive):
        for what, text in _changed(function):
            name = _named(what, taken)
            yield Mutant(name, _with_function(subject.primitive, function.name, text, name), subject.parameters)
    for helper in _shared(subject.primitive):
        for what, text in _changed(source_of(helper)[1]):
            name = _named(what, taken)
            yield Mutant(name, _with_helper(subject.primitive, helper, text, name), subject.parameters)
    conditions = {
        (attribute, value.source.lines[0])
        for parameters in subject.parameters
        for attribute, value in vars(made(subject.primitive, "app", parameters)).items()
        if isinstance(value, Predicate)
    }
    for attribute, condition in sorted(conditions):
        for what, text in _changed(ast.parse(condition, mode="eval")):
            name = _named(f"{condition}: {what}", taken)
            yield Mutant(name, _with_condition(subject.primitive, attribute, condition, text), subject.parameters)


def _named(what: str, taken: Counter[str]) -> str:
    taken[what] += 1
    return what if taken[what] == 1 else f"{what} ({taken[what]})"


def _functions(primitive: type[Primitive]) -> Iterator[ast.FunctionDef]:
    """Yield the kernel, and the methods that it calls."""
    _, kernel = source_of(primitive.ingress)
    yield kernel
    called = {
        node.func.attr
        for node in ast.walk(kernel)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "self"
    }
    for name in sorted(called):
        if isfunction(method := getattr(primitive, name, None)):
            yield source_of(method)[1]


def _shared(primitive: type[Primitive]) -> Iterator[FunctionType]:
    """Yield the functions that the kernel calls of the library, or of the module of a user's primitive."""
    _, kernel = source_of(primitive.ingress)
    known = primitive.ingress.__globals__
    names = {
        node.func.id for node in ast.walk(kernel) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    for name in sorted(names):
        if isfunction(function := known.get(name)) and function.__module__.startswith((LIBRARY, primitive.__module__)):
            yield function


def _with_function(primitive: type[Primitive], function: str, text: str, name: str) -> type[Primitive]:
    known = getattr(primitive, function).__globals__
    return type(primitive.__name__, (primitive,), {function: _function(function, text, known, name)})


def _with_helper(primitive: type[Primitive], helper: FunctionType, text: str, name: str) -> type[Primitive]:
    changed = _function(helper.__name__, text, helper.__globals__, name)
    kernel = ast.unparse(source_of(primitive.ingress)[1])
    known = primitive.ingress.__globals__ | {helper.__name__: changed}
    ingress = _function("ingress", kernel, known, f"the kernel of {name}")
    return type(primitive.__name__, (primitive,), {"ingress": ingress})


def _function(function: str, text: str, known: Mapping[str, Any], name: str) -> FunctionType:
    """Return the function of a text, with `known` as its globals."""
    text = f"from __future__ import annotations\n\n{text}\n"
    file = f"<{function}: {name}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    scope = FUNCTIONS | dict(known)  # a change may call a function that is not imported
    exec(compile(text, file, "exec", dont_inherit=True), scope)
    made = scope[function]
    assert isinstance(made, FunctionType)
    return made


def _with_condition(primitive: type[Primitive], attribute: str, text: str, changed: str) -> type[Primitive]:
    def setup(self: Primitive) -> None:
        primitive.setup(self)
        condition = getattr(self, attribute)
        if condition.source.lines[0] == text:
            setattr(self, attribute, Predicate(changed, condition.source.file))

    return type(primitive.__name__, (primitive,), {"setup": setup})


def _changed(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Yield a description of each change, and the changed code of the tree."""
    above = {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}
    for where, change in list(_changes(tree)):
        if isinstance(where, str):
            restore = change()
            yield where, ast.unparse(tree)
            restore()
            continue
        place = where
        while len(_first_line(place)) < LEGIBLE and not isinstance(place, (ast.stmt, ast.Expression)):
            place = above[place]
        before = _first_line(place)
        restore = change()
        yield f"{before} -> {_first_line(place)}", ast.unparse(tree)
        restore()


def _first_line(node: ast.AST) -> str:
    return ast.unparse(ast.fix_missing_locations(node)).partition("\n")[0]


def _changes(tree: ast.AST) -> Iterator[Change]:
    for node in ast.walk(tree):
        match node:
            case ast.Compare():
                yield from _comparison(node)
            case ast.BinOp(op=operator) | ast.AugAssign(op=operator) if type(operator) in OPERATORS:
                yield _set(node, op=OPERATORS[type(operator)]())
            case ast.BoolOp(op=operator):
                yield _set(node, op=ast.Or() if isinstance(operator, ast.And) else ast.And())
            case ast.Constant(value=int() as value) if not isinstance(value, bool):
                for other in (value + 1, value - 1):
                    yield _set(node, value=other)
            case ast.IfExp(body=body, orelse=orelse):
                yield _set(node, body=orelse, orelse=body)
            case ast.Call(func=ast.Attribute(attr="update_if"), args=[index, condition, function]):
                for when in (ast.Constant(True), ast.UnaryOp(ast.Not(), condition)):
                    yield _set(node, args=[index, when, function])
            case ast.Attribute(attr=name) if name in NAMES:
                yield _set(node, attr=NAMES[name])
            case ast.Name(id=name) if name in NAMES:
                yield _set(node, id=NAMES[name])
        if isinstance(node, ast.If):
            for test in (ast.UnaryOp(ast.Not(), node.test), ast.Constant(True), ast.Constant(False)):
                yield _set(node, test=test)
        if isinstance(node, (ast.If, ast.For, ast.FunctionDef)):
            yield from _left_out(node.body)
        if isinstance(node, ast.If):
            yield from _left_out(node.orelse)


def _comparison(node: ast.Compare) -> Iterator[Change]:
    for place, operator in enumerate(node.ops):
        for other in COMPARISONS.get(type(operator), ()):
            yield _set(node, ops=[*node.ops[:place], other(), *node.ops[place + 1 :]])


def _left_out(block: list[ast.stmt]) -> Iterator[Change]:
    """Yield the removal of each statement of a block, except an `if` and statements without effect."""

    def without(place: int, statement: ast.stmt) -> Callable[[], Callable[[], None]]:
        def change() -> Callable[[], None]:
            block[place] = ast.Pass()
            return lambda: block.__setitem__(place, statement)

        return change

    for place, statement in enumerate(block):
        docstring = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if not isinstance(statement, ast.If) and not docstring and ast.unparse(statement) != BY_DEFAULT:
            yield f"without: {_first_line(statement)}", without(place, statement)


def _set(node: ast.AST, **attributes: Any) -> Change:
    """Return the change of a node's attributes."""

    def change() -> Callable[[], None]:
        before = {name: getattr(node, name) for name in attributes}
        for name, value in attributes.items():
            setattr(node, name, value)
        return lambda: vars(node).update(before)

    return node, change

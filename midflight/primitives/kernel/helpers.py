"""Helpers: functions and methods of the user's, and other primitives' kernels, written out where they are called."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import CodeType, FunctionType, MethodType
from typing import Any

from midflight.errors import KernelError
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.frame import Frame, Result, frame_of
from midflight.primitives.kernel.pure import Pure
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.returns import leaves, returns, straightened
from midflight.primitives.kernel.typed import (
    Assign,
    Checksum,
    Const,
    Draw,
    EpochRef,
    Expr,
    FieldRef,
    If,
    Local,
    NowRef,
    Old,
    SequenceRef,
    Statement,
    Truth,
    Unrolled,
    reads,
    walk,
)
from midflight.primitives.kernel.values import WIRE, Untyped, Value, solid

__all__ = ["Helpers"]

MAX_DEPTH = 32
_COMPUTE = (Assign, Checksum, Draw, If, Unrolled)
_OURS = "midflight.primitives.kernel."
_RESULT = "return {}"
"""Stands for a helper's result until all its `return`s are known: no variable of the user's is called so."""


class Helpers(Pure):
    """The rules of calls of what users write themselves."""

    @property
    def calling(self) -> tuple[CodeType, ...]:
        """The functions that the one at hand is written out of, and itself."""
        return tuple(_code(each.function) for each in (*self.callers, self.frame))

    def inline(self, call: ast.Call, function: object) -> Value | None:
        """Return what a call of a user's function gives; Known(None) where that is nothing, None for other things."""
        if not isinstance(function, (FunctionType, MethodType)) or _library(function):
            return None
        name = self.source.text(call.func)
        if _code(function) in self.calling or len(self.callers) >= MAX_DEPTH:
            raise self.source.error(
                call, f"`{name}` calls itself", "a packet passes once: write the rounds as a loop over a range"
            )
        try:
            return self.written_out(call, function)
        except KernelError as error:
            placed = error.place is None or error.place.file == self.source.file
            if placed or not _shipped(function) or _shipped(self.frame.function):
                raise
            raise self.source.error(call, f"`{name}`: {error.message}", error.hint) from None

    def written_out(self, call: ast.Call, function: FunctionType | MethodType) -> Value:
        """Return what a call gives, and put the function's statements before the one at hand."""
        name = self.source.text(call.func)
        whole = call is self.whole
        pending = self.flush()
        frame = self.prepared(call, function)
        body = straightened(_without_docstring(frame.node.body), frame)
        values = self.bind(call, function)
        self.before = [*pending, *self.before]
        given = [each.value is not None for each in returns(body)]
        if any(given) and not (all(given) and leaves(body)):
            told = f"`{frame.node.name}` comes to its end without a value on some paths"
            raise frame.source.error(frame.node, told, "end it with a `return`")
        single = len(body) == 1 and isinstance(body[0], ast.Return) and any(given)
        numbers = [each for each in values.values() if not isinstance(each, Known)]
        inside = any(isinstance(read, Old) for each in numbers for read in reads(each))
        if single or inside:
            if not inside:
                values = {each: self.plain(each, value, frame) for each, value in values.items()}
            with self.entered(frame, values):
                self.whole = returns(body)[0].value if whole and single else None
                return self.compute(body) or Known(None)
        pending = self.flush()
        with self.entered(frame, {}):
            statements = [*self.copies(frame, values), *self.block(body)]
            result = self.result(frame, statements)
        if self.expressions.lazy and not all(isinstance(each, _COMPUTE) for each in walk(statements)):
            raise self.source.error(
                call,
                f"`{name}` does more than compute, inside something that is evaluated for some packets only",
                f"call it on a line of its own: `value = {name}(...)`",
            )
        written = (each.target for each in walk(statements) if isinstance(each, Assign))
        if not whole and any(isinstance(each, FieldRef) for each in written):
            raise self.source.error(
                call,
                f"`{name}` changes the header in the midst of a line",
                f"call it on a line of its own: `value = {name}(...)`",
            )
        self.before = [*pending, *statements]
        return result

    def prepared(self, call: ast.Call, function: FunctionType | MethodType) -> Frame:
        """Return a frame for one call of a function."""
        instance = getattr(function, "__self__", None)
        plain = function.__func__ if isinstance(function, MethodType) else function
        frame = self.frames.get(plain)
        if frame is None:
            frame = self.frames[plain] = frame_of(function, instance)
        if frame.node.args.vararg or frame.node.args.kwarg:
            raise frame.source.error(frame.node, "a helper takes a fixed number of values", "name its parameters")
        outer = {**frame.outer, "__self__": instance}
        return replace(
            frame, outer=outer, path=(*self.frame.path, id(call)), fixed=set(), kinds={}, lines={}, results=[]
        )

    def bind(self, call: ast.Call, function: FunctionType | MethodType) -> dict[str, Known | Expr]:
        """Return the values of a function's parameters."""
        names = [each.arg for each in call.keywords]
        if None in names or any(isinstance(each, ast.Starred) for each in call.args):
            raise self.source.error(call, "arguments are given one by one", "write them out")
        text = self.source.text(call.func)
        signature = inspect.signature(function)
        try:
            given = signature.bind(*call.args, **{str(each.arg): each.value for each in call.keywords}).arguments
        except TypeError as error:
            raise self.source.error(call, f"`{text}`: {error}", f"it takes {signature}") from None
        values: dict[str, Known | Expr] = {}
        if isinstance(function, MethodType):
            values[next(iter(inspect.signature(function.__func__).parameters))] = Known(function.__self__)
        for name, parameter in signature.parameters.items():
            if name not in given:
                value: Value = self.expressions.outside(call, parameter.default)
            else:
                value = self.expressions.value(given[name])
            if isinstance(value, Untyped) or (not isinstance(value, Known) and not solid(value)):
                raise self.expressions.no_width(given[name], None if isinstance(value, Untyped) else value.kind)
            if parameter.annotation in (Register, "Register") and not isinstance(getattr(value, "value", 0), Register):
                raise self.source.error(call, f"`{text}` takes a register as `{name}`", "such as `self.count`")
            values[name] = value
        return values

    def plain(self, name: str, value: Known | Expr, frame: Frame) -> Known | Expr:
        """Return a value that may stand where a parameter does: what takes computing goes into a variable first."""
        simple = (Const, Truth, Local, FieldRef, SequenceRef, EpochRef, NowRef, Old)
        uses = sum(isinstance(each, ast.Name) and each.id == name for each in ast.walk(frame.node))
        if isinstance(value, (Known, *simple)) or uses < 2:
            return value
        local = self.local(name, value.kind, frame)
        self.scope.assign(local, None)
        self.ahead(Assign(local, value, frame.source.line(frame.node)))
        return local

    def copies(self, frame: Frame, values: dict[str, Known | Expr]) -> list[Statement]:
        """Give the parameters their values: numbers that may change meanwhile are copied into variables."""
        done: list[Statement] = []
        line = frame.source.line(frame.node)
        steady: tuple[type, ...] = (SequenceRef, EpochRef, NowRef, Local)
        if all(value != Known(WIRE) for value in values.values()):
            steady = (*steady, FieldRef)
        for name, value in values.items():
            if isinstance(value, steady) and name not in frame.assignments:
                self.scope.names[name] = value
                continue
            frame.assignments = frame.assignments | {name: frame.assignments.get(name, 0) + 1}
            if isinstance(value, Known):
                self.scope.names[name] = value
                if not isinstance(value.value, int):
                    frame.fixed.add(name)
                continue
            limit = self.scope.limit(value)
            local = self.local(name, value.kind)
            self.declare(frame.node, name, local, line)
            if limit is not None:
                self.scope.bounds[local] = limit
            if value != local:
                done.append(Assign(local, value, line))
        return done

    @contextmanager
    def entered(self, frame: Frame, names: dict[str, Known | Expr]) -> Iterator[None]:
        """Analyse a function's text, in a scope of its own."""
        expressions, outside, caller = self.expressions, self.expressions.scope, self.frame
        source, outer, whole = expressions.source, expressions.outer, self.whole
        self.callers, self.frame, self.whole = (*self.callers, caller), frame, None
        expressions.source, expressions.outer, expressions.scope = frame.source, frame.outer, outside.enter(names)
        try:
            yield
        finally:
            outside.leave(expressions.scope)
            expressions.source, expressions.outer, expressions.scope = source, outer, outside
            self.callers, self.frame, self.whole = self.callers[:-1], caller, whole

    def give(self, node: ast.Return) -> list[Statement]:
        """Compile a helper's `return`."""
        if node.value is None:
            return []
        self.whole = node.value
        value = self.expressions.value(node.value)
        limit = None if isinstance(value, (Known, Untyped)) else self.scope.limit(value)
        self.frame.results.append(Result(value, node.value, limit))
        place = Local(_RESULT.format(len(self.frame.results) - 1), None)
        return [*self.flush(), Assign(place, Truth(True), self.source.line(node))]

    def result(self, frame: Frame, statements: list[Statement]) -> Value:
        """Return a helper's result; where it has several, they are put into one variable."""
        results = frame.results
        if not results:
            return Known(None)
        if all(each.value == results[0].value for each in results) and isinstance(results[0].value, Known):
            results = results[:1]
        if len(results) == 1:
            statements[:] = _replaced(statements, {_RESULT.format(each): None for each in range(len(frame.results))})
            return results[0].value
        values = [Truth(each.value.value) if isinstance(each.value, Known) and isinstance(each.value.value, bool)
                  else each.value for each in results]  # fmt: skip
        kinds = [each.kind for each in values if not isinstance(each, (Known, Untyped))]
        if not kinds:
            raise self.expressions.no_width(results[0].node)
        kind = kinds[0]
        local = self.local(frame.node.name, kind)
        self.locals[local.name] = kind
        self.scope.assign(local, None)
        assigned: dict[str, Assign | None] = {}
        for number, (value, each) in enumerate(zip(values, results, strict=True)):
            line = frame.source.line(each.node)
            if kind is None:
                fitted = self.expressions.condition_of(value, each.node)
            else:
                fitted = self.expressions.fit(value, kind, each.node, f"what `{frame.node.name}` returns")
            assigned[_RESULT.format(number)] = Assign(local, fitted, line)
        statements[:] = _replaced(statements, assigned)
        limits = [each.limit for each in results]
        if None not in limits:
            self.scope.bounds[local] = max(each for each in limits if each is not None)
        return local


def _code(function: Callable[..., Any]) -> CodeType:
    code = inspect.unwrap(function).__code__
    assert isinstance(code, CodeType)
    return code


def _shipped(function: Callable[..., Any]) -> bool:
    """Tell whether a function came with Midflight, so that the user's mistake is in the call of it."""
    return (function.__module__ or "").startswith("midflight.")


def _library(function: FunctionType | MethodType) -> bool:
    """Tell whether a function is Python's or the language's own rather than the user's."""
    module = function.__module__ or ""
    return module.split(".")[0] in sys.stdlib_module_names or module.startswith(_OURS)


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return body[1:] if text else body


def _replaced(body: Iterable[Statement], by: dict[str, Assign | None]) -> list[Statement]:
    """Return statements with the assignments to these variables replaced, or left out."""
    done: list[Statement] = []
    for each in body:
        match each:
            case Assign(target=Local(name=name)) if name in by:
                instead = by[name]
                done += [] if instead is None else [instead]
            case If(yes=yes, no=no):
                done.append(replace(each, yes=tuple(_replaced(yes, by)), no=tuple(_replaced(no, by))))
            case Unrolled(rounds=rounds):
                rebuilt = tuple((number, tuple(_replaced(inner, by))) for number, inner in rounds)
                done.append(replace(each, rounds=rebuilt))
            case _:
                done.append(each)
    return done

"""Inlines the functions and methods that a kernel calls, also the kernels of held primitives and base classes."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from types import CodeType, FunctionType, MethodType
from typing import Any

from midflight.errors import KernelError
from midflight.primitives.kernel.captured import captured
from midflight.primitives.kernel.coercion import condition_of, fit, no_width
from midflight.primitives.kernel.context import Context, FollowOnError
from midflight.primitives.kernel.copies import COPIED
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.frame import Frame, Result, frame_of
from midflight.primitives.kernel.matches import lowered_matches
from midflight.primitives.kernel.pure import computed
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.returns import always_returns, no_return_in_a_loop, returns, tail_duplicated
from midflight.primitives.kernel.single_exit import single_exit
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
    Return,
    SequenceRef,
    Statement,
    Truth,
    Unrolled,
    reads,
    walk,
)
from midflight.primitives.kernel.values import WIRE, Untyped, Value, bare, hull
from midflight.stackless import Walk, run

__all__ = ["compile_return", "inline"]

MAX_DEPTH = 256
_COMPUTE = (Assign, Checksum, Draw, If, Unrolled)
_OURS = "midflight.primitives.kernel."
_NO_KERNEL = (f"{_OURS}primitive", "Primitive.ingress")
"""The module and name of the method that stands in for a missing kernel."""
_RESULT = "return {}"
"""The placeholder for a helper's result until all its `return`s are known. No user variable has such a name."""


def inline(code: Context, call: ast.Call, function: object) -> Walk[Value | None]:
    """Inline a kernel's call of a user's function or method and return its value.

    The value is Known(None) if the function returns nothing. Return None if `function` is not a user's function. The
    function's statements go before the current one. Raises KernelError for recursion, calls that are nested too deep,
    and for any construct in the function that the language does not have. Mistakes in the arguments of a function that
    is part of Midflight are reported at the call.
    """
    if not isinstance(function, (FunctionType, MethodType)) or _library(function):
        return None
    name = code.text(call.func)
    if (function.__module__, function.__qualname__) == _NO_KERNEL:
        raise _missing(code, call, getattr(function, "__self__", None))
    calling = [_code(each.function) for each in (*code.callers, code.frame)]
    if _code(function) in calling:
        raise code.error(call, f"`{name}` is recursive", "write a loop over a range instead")
    if len(code.callers) >= MAX_DEPTH:
        raise code.error(
            call, f"helpers call each other more than {MAX_DEPTH} deep here", "call them one after another"
        )
    known = len(code.errors)
    try:
        return (yield from _inlined(code, call, function))
    except KernelError as error:
        if not _shipped(function) or _shipped(code.frame.function):
            raise
        # The mistake is in the call of Midflight's function, not in the function.
        first = code.errors[known] if isinstance(error, FollowOnError) and len(code.errors) > known else error
        del code.errors[known:]
        if first.place is None or first.place.file == code.source.file or isinstance(first, FollowOnError):
            raise first from None
        raise code.error(call, f"`{name}`: {first.message}", first.hint) from None


def _missing(code: Context, call: ast.Call, owner: Any) -> KernelError:
    """Return the error that a call reaches a class without `ingress`: a held primitive's, or a base class."""
    name = code.text(call.func)
    if owner is None or owner is code.outer.get("__self__"):
        return code.error(call, f"`{name}`: no base class has a kernel", "remove the call")
    error: KernelError = owner.missing_kernel()
    return code.error(call, f"`{name}`: {error.message}", error.hint)


def _inlined(code: Context, call: ast.Call, function: FunctionType | MethodType) -> Walk[Value]:
    """Return the value of a call; put the function's statements before the current one."""
    name = code.text(call.func)
    whole = call is code.whole
    pending = code.flush()
    frame = _prepared(code, call, function)
    body = lowered_matches(_without_docstring(frame.node.body), frame)
    no_return_in_a_loop(body, frame.source)
    values = yield from _arguments(code, call, function)
    code.before = [*pending, *code.before]
    given = [each.value is not None for each in returns(body)]
    if any(given) and not (all(given) and always_returns(body)):
        message = f"`{frame.node.name}` returns no value on some paths"
        raise frame.source.error(frame.node, message, "end it with a `return`")
    single = len(body) == 1 and isinstance(body[0], ast.Return) and any(given)
    numbers = [each for each in values.values() if not isinstance(each, Known)]
    inside = any(isinstance(read, Old) for each in numbers for read in reads(each))
    if single or inside:
        if not inside:
            values = {each: _plain(code, each, value, frame) for each, value in values.items()}
        with code.entered(frame, values):
            code.whole = returns(body)[0].value if whole and single else None
            result = yield from computed(code, tail_duplicated(body))
            return Known(None) if result is None else result[1]
    pending = code.flush()
    known = len(code.errors)
    with code.entered(frame, {}):
        statements = _bind_parameters(code, frame, values)
        statements += yield code.block(body)
        if len(code.errors) > known:
            raise FollowOnError(name)
        if frame.ends:
            code.scope.join([*frame.ends, code.scope.copy()], code.source.line(call))
            statements = single_exit(statements, lambda: code.variables.fresh(f"{frame.node.name}_returned", None))
        result_value = _result(code, frame, statements)
    if code.conditional and not all(isinstance(each, _COMPUTE) for each in walk(statements)):
        raise code.error(
            call,
            f"`{name}` has side effects, in an expression that is not evaluated for every packet",
            f"call it in a statement of its own: `value = {name}(...)`",
        )
    written = (each.target for each in walk(statements) if isinstance(each, Assign))
    if not whole and any(isinstance(each, FieldRef) for each in written):
        raise code.error(
            call,
            f"`{name}` changes the header inside an expression",
            f"call it in a statement of its own: `value = {name}(...)`",
        )
    code.before = [*pending, *statements]
    return result_value


def _prepared(code: Context, call: ast.Call, function: FunctionType | MethodType) -> Frame:
    """Return a new frame for one call of a function."""
    instance = getattr(function, "__self__", None)
    plain = function.__func__ if isinstance(function, MethodType) else function
    frame = code.frames.get(plain)
    if frame is None:
        frame = code.frames[plain] = frame_of(function, instance)
    if not code.copies.take(frame.node.body, 1):
        message = f"loops and helpers make this kernel more than {COPIED} nodes of syntax larger"
        raise code.error(call, message, "call it in fewer places, or make it smaller")
    if frame.node.args.vararg or frame.node.args.kwarg:
        raise frame.source.error(frame.node, "a helper takes a fixed number of arguments", "name its parameters")
    outer = {**frame.outer, "__self__": instance}
    path = (*code.frame.path, id(call))
    return replace(frame, outer=outer, path=path, fixed=set(), kinds={}, lines={}, results=[], ends=[])


def _arguments(code: Context, call: ast.Call, function: FunctionType | MethodType) -> Walk[dict[str, Known | Expr]]:
    """Compile a call's arguments and return them by the names of the function's parameters."""
    names = [each.arg for each in call.keywords]
    if None in names or any(isinstance(each, ast.Starred) for each in call.args):
        raise code.error(call, "a kernel does not unpack arguments", "write them one by one")
    text = code.text(call.func)
    signature = inspect.signature(function)
    try:
        given = signature.bind(*call.args, **{str(each.arg): each.value for each in call.keywords}).arguments
    except TypeError as error:
        raise code.error(call, f"`{text}`: {error}", f"it takes {signature}") from None
    values: dict[str, Known | Expr] = {}
    if isinstance(function, MethodType):
        values[next(iter(inspect.signature(function.__func__).parameters))] = Known(function.__self__)
    for name, parameter in signature.parameters.items():
        if name not in given:
            value: Value = captured(code, call, parameter.default)
        else:
            value = yield code.value(given[name])
        if isinstance(value, Untyped):
            raise no_width(code, given[name])
        if parameter.annotation in (Register, "Register") and not isinstance(getattr(value, "value", 0), Register):
            raise code.error(call, f"`{text}` takes a register as `{name}`", "pass one, for example `self.count`")
        values[name] = value
    return values


def _plain(code: Context, name: str, value: Known | Expr, frame: Frame) -> Known | Expr:
    """Return a value that may replace each use of a parameter: a computed one that is used twice becomes a variable."""
    simple = (Const, Truth, Local, FieldRef, SequenceRef, EpochRef, NowRef, Old)
    uses = sum(isinstance(each, ast.Name) and each.id == name for each in ast.walk(frame.node))
    if isinstance(value, (Known, *simple)) or uses < 2:
        return value
    local = replace(code.variables.local(name, value.kind, frame), bare=bare(value))
    code.scope.assign(local, None)
    code.emit_before(Assign(local, value, frame.source.line(frame.node)))
    return local


def _bind_parameters(code: Context, frame: Frame, values: dict[str, Known | Expr]) -> list[Statement]:
    """Bind the parameters; return the statements that copy numbers which may change into variables."""
    done: list[Statement] = []
    line = frame.source.line(frame.node)
    steady: tuple[type, ...] = (SequenceRef, EpochRef, NowRef, Local)
    if all(value != Known(WIRE) for value in values.values()):
        steady = (*steady, FieldRef)
    for name, value in values.items():
        if isinstance(value, steady) and name not in frame.assignments:
            code.scope.names[name] = value
            continue
        frame.assignments = frame.assignments | {name: frame.assignments.get(name, 0) + 1}
        if isinstance(value, Known):
            code.scope.names[name] = value
            if not isinstance(value.value, int):
                frame.fixed.add(name)
            continue
        limit = code.scope.limit(value)
        local = replace(code.local(name, value.kind), bare=bare(value))
        code.declare(frame.node, name, local, line)
        if limit is not None:
            code.scope.bounds[local] = limit
        if value != local:
            done.append(Assign(local, value, line))
    return done


def compile_return(code: Context, node: ast.Return) -> Walk[list[Statement]]:
    """Compile a `return` of an inlined helper: record its value in the current frame, and return the statements that it
    needs.
    """
    done: list[Statement] = []
    frame, line = code.frame, code.source.line(node)
    if node.value is not None:
        code.whole = node.value
        value: Value = yield code.value(node.value)
        limit = None if isinstance(value, (Known, Untyped)) else code.scope.limit(value)
        frame.results.append(Result(value, node.value, limit))
        place = Local(_RESULT.format(len(frame.results) - 1), None)
        done = [*code.flush(), Assign(place, Truth(True), line)]
    frame.ends.append(code.scope.copy())
    code.scope.ended = True
    return [*done, Return(line)]


def _result(code: Context, frame: Frame, statements: list[Statement]) -> Value:
    """Return a helper's result; several results go into one variable."""
    results = frame.results
    if not results:
        return Known(None)
    first = results[0].value
    if isinstance(first, Known) and all(each.value == first for each in results):
        results = results[:1]
    if len(results) == 1:
        statements[:] = _replaced(statements, {_RESULT.format(each): None for each in range(len(frame.results))})
        return first
    values = [Truth(each.value.value) if isinstance(each.value, Known) and isinstance(each.value.value, bool)
              else each.value for each in results]  # fmt: skip
    kinds = [each.kind for each in values if not isinstance(each, (Known, Untyped))]
    if not kinds:
        raise no_width(code, results[0].node)
    kind = kinds[0]
    local = code.local(frame.node.name, kind)
    code.variables.kinds[local.name] = kind
    code.scope.assign(local, None)
    assigned: dict[str, Assign | None] = {}
    for number, (value, each) in enumerate(zip(values, results, strict=True)):
        line = frame.source.line(each.node)
        if kind is None:
            fitted = condition_of(code, value, each.node)
        else:
            fitted = fit(code, value, kind, each.node, f"the result of `{frame.node.name}`")
        assigned[_RESULT.format(number)] = Assign(local, fitted, line)
        local = replace(local, bare=hull(local.bare, bare(fitted)))
    statements[:] = _replaced(statements, assigned)
    limits = [each.limit for each in results]
    if None not in limits:
        code.scope.bounds[local] = max(each for each in limits if each is not None)
    return local


def _code(function: Callable[..., Any]) -> CodeType:
    code = inspect.unwrap(function).__code__
    assert isinstance(code, CodeType)
    return code


def _shipped(function: Callable[..., Any]) -> bool:
    """Return whether a function is part of Midflight."""
    return (function.__module__ or "").startswith("midflight.")


def _library(function: FunctionType | MethodType) -> bool:
    """Return whether a function belongs to Python's library or to the language."""
    module = function.__module__ or ""
    ours = module.startswith(_OURS) and function.__name__ != "ingress"
    return module.split(".")[0] in sys.stdlib_module_names or ours


def _without_docstring(body: list[ast.stmt]) -> list[ast.stmt]:
    first = body[0]
    text = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    return body[1:] if text else body


def _replaced(body: Iterable[Statement], by: dict[str, Assign | None]) -> list[Statement]:
    """Return statements with the assignments to these variables replaced, or removed for None."""

    def rebuilt(body: Iterable[Statement]) -> Walk[list[Statement]]:
        done: list[Statement] = []
        for each in body:
            match each:
                case Assign(target=Local(name=name)) if name in by:
                    instead = by[name]
                    done += [] if instead is None else [instead]
                case If(yes=yes, no=no):
                    sides: tuple[list[Statement], list[Statement]] = (yield rebuilt(yes)), (yield rebuilt(no))
                    done.append(replace(each, yes=tuple(sides[0]), no=tuple(sides[1])))
                case Unrolled(rounds=rounds):
                    changed = []
                    for number, inner in rounds:
                        changed.append((number, tuple((yield rebuilt(inner)))))
                    done.append(replace(each, rounds=tuple(changed)))
                case _:
                    done.append(each)
        return done

    return run(rebuilt(body))

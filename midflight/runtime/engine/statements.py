"""Emits statements as LLVM code: assignments, control flow, and calls with copy-in and copy-out."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from midflight.p4 import ir
from midflight.p4.types import HeaderType, StackType, UnionType, Varbit
from midflight.runtime.engine.code import Code, Frame, Place, unsupported
from midflight.runtime.engine.expressions import (
    assign,
    components,
    copy_into,
    is_valid,
    place,
    store,
    value,
    zero,
)
from midflight.runtime.engine.externs.traffic import drop
from midflight.runtime.engine.layout import SCALARS, fixed_bytes, is_signed, scalar_width
from midflight.runtime.engine.noting import Event, note_values
from midflight.runtime.engine.tracing import changes, spelled
from midflight.stackless import Step, Walk

__all__ = ["MAX_ROUNDS", "bind", "branch", "exclude_others", "in_union", "lower", "lower_all", "run_frame"]

MAX_ROUNDS = 1 << 18
"""The number of rounds that all loops of a control or parser together may take for a packet."""


def lower_all(code: Code, statements: Iterable[ir.Statement]) -> Walk[None]:
    """Emit statements one after the other. P4Error for a statement that `lower` rejects."""
    for statement in statements:
        yield lower(code, statement)


def lower(code: Code, statement: ir.Statement) -> Step[None]:
    """Emit one statement.

    Raises P4Error for statements that only parsers and deparsers have, which these emit themselves, and for constructs
    that the engine does not support.
    """
    if code.unit.target.located:
        code.unit.target.locate(code, statement.place)
    match statement:
        case ir.Assign(target=target, value=source):
            if isinstance(source, ir.StructValue) and isinstance(target.type, HeaderType):
                _count_in(code, place(code, target))
            if in_union(target):
                _assign_in_union(code, target, source)
            else:
                with changes(code, [target], statement.place):
                    assign(code, target, source)
        case ir.Declare(variable=variable, value=initial):
            home = code.variables[variable] = code.temporary(variable.type)
            if initial is None:
                zero(code, home)
            else:
                copy_into(code, initial, home)
        case ir.Block(body=body):
            return lower_all(code, body)
        case ir.If():
            return branch(code, statement, lambda each: lower(code, each))
        case ir.Switch():
            return _switch(code, statement)
        case ir.TableApply(table=table):
            code.unit.apply(code, table)
        case ir.ActionCall(action=action, arguments=arguments):
            return run_frame(code, bind(code, action.parameters, arguments, always_copy=True), [action.body])
        case ir.Apply(callee=ir.Control() as control, arguments=arguments):
            copy_outs = bind(code, control.parameters, arguments)
            return run_frame(code, copy_outs, (*control.locals, control.body))
        case ir.CallStatement(call=call):
            written = zip(call.arguments, call.directions, strict=False)
            with changes(code, [each for each, way in written if way is not ir.Direction.IN], statement.place):
                code.unit.call(code, call)
        case ir.SetValidity(header=header, valid=valid):
            _set_validity(code, place(code, header), valid)
            note_values(code, Event.VALID, spelled(header), [(code.constant(1, valid), 1, False)], statement.place)
            if valid and in_union(header):
                exclude_others(code, header)
        case ir.Shift(stack=stack, count=count):
            _shift(code, place(code, stack), count)
        case ir.Loop():
            return _loop(code, statement)
        case ir.Break():
            code.leave(code.loops[-1][0])
        case ir.Continue():
            code.leave(code.loops[-1][1])
        case ir.Exit():
            _exit(code)
        case ir.Return():
            code.leave(code.frames[-1].end)
        case _:
            raise unsupported(f"{type(statement).__name__.lower()} in this place", statement.place)
    return None


def run_frame(code: Code, copy_outs: list[Callable[[], None]], body: Iterable[ir.Statement]) -> Walk[None]:
    """Emit the body of a control, parser or action, and then the copies of its results.

    A `return` in the body jumps to the end, before the copies. `copy_outs`, from `bind`, emit these. P4Error for a
    construct that the engine does not support.
    """
    frame = Frame(code.block("end"), copy_outs)
    code.frames.append(frame)
    for each in body:
        yield lower(code, each)
    code.frames.pop()
    code.go(frame.end)
    code.b.position_at_end(frame.end)
    for copy_out in copy_outs:
        copy_out()


def bind(
    code: Code,
    parameters: tuple[ir.Parameter, ...],
    arguments: tuple[ir.Expression, ...],
    *,
    always_copy: bool = False,
) -> list[Callable[[], None]]:
    """Emit the passing of arguments: set the places of a callee's parameters, return functions that emit copies out.

    The caller calls these functions at the callee's end. P4 copies arguments in and out. A parameter may use its
    argument's place directly if this makes no difference, that is, if no other parameter writes the place. An action
    can also access its control's variables, so `always_copy` is set for actions. Raises P4Error for an argument that
    the engine does not support.
    """
    targets = [each.target if isinstance(each, ir.CopyIn) else each for each in arguments]
    writable = [_path(each) for each, p in zip(targets, parameters, strict=True) if _writes(p)]
    copy_outs: list[Callable[[], None]] = []
    fresh: list[Place] = []
    homes: dict[ir.Variable, Place] = {}
    for parameter, argument, target in zip(parameters, arguments, targets, strict=True):
        kind, writes = parameter.variable.type, _writes(parameter)
        path = _path(argument)
        shared = path is not None and sum(_overlap(path, other) for other in writable) <= writes
        if shared and not always_copy and not (writes and in_union(target)):
            home = place(code, argument)
            if parameter.direction is ir.Direction.OUT:
                fresh.append(home)
        else:
            home = code.temporary(kind)
            if parameter.direction is ir.Direction.OUT:
                zero(code, home)
            else:
                copy_into(code, argument.value if isinstance(argument, ir.CopyIn) else argument, home)
            if writes:
                copy_outs.append(_copy_out(code, target, home))
        homes[parameter.variable] = home
    for home in fresh:
        zero(code, home)
    code.variables.update(homes)
    return copy_outs


def _writes(parameter: ir.Parameter) -> bool:
    return parameter.direction in (ir.Direction.OUT, ir.Direction.INOUT)


def _copy_out(code: Code, target: ir.Expression, home: Place) -> Callable[[], None]:
    if isinstance(home.type, SCALARS):
        return lambda: store(code, target, code.read(home))
    if in_union(target):
        return lambda: _put_in_union(code, target, home)
    return lambda: code.copy(place(code, target).pointer, home.pointer, code.layout.size(home.type))


def in_union(target: ir.Expression) -> bool:
    """Return whether an lvalue refers to a header that is a member of a header union."""
    return isinstance(target, ir.Member) and isinstance(target.base.type, UnionType)


def exclude_others(code: Code, target: ir.Expression) -> None:
    """Emit that all other headers of the union that contains the header `target` are invalid."""
    assert isinstance(target, ir.Member)
    assert isinstance(target.base.type, UnionType)
    union = place(code, target.base)
    for each in target.base.type.fields:
        if each.name != target.name:
            code.store(code.constant(8, 0), code.member(union, each.name).pointer)


def _assign_in_union(code: Code, target: ir.Expression, source: ir.Expression) -> None:
    home = code.temporary(target.type)
    copy_into(code, source, home)
    _put_in_union(code, target, home)


def _put_in_union(code: Code, target: ir.Expression, home: Place) -> None:
    """Emit a copy of a header to a header of a union. If it is valid, all others become invalid."""
    code.copy(place(code, target).pointer, home.pointer, code.layout.size(home.type))
    with code.when(is_valid(code, home)):
        exclude_others(code, target)


def _path(expression: ir.Expression) -> tuple[object, ...] | None:
    """Return the variable and field names of an lvalue, or None for an expression without a place."""
    match expression:
        case ir.VariableRef(variable=variable):
            return (variable,)
        case ir.Member(base=base, name=name):
            path = _path(base)
            return None if path is None else (*path, name)
        case ir.Index(base=base, index=ir.Literal(value=number)):
            path = _path(base)
            return None if path is None else (*path, number)
        case _:
            return None


def _overlap(one: tuple[object, ...], other: tuple[object, ...] | None) -> bool:
    if other is None:
        return False
    return all(a == b for a, b in zip(one, other, strict=False))


def _exit(code: Code) -> None:
    """Leave the whole pipeline, after the pending copies of all callees."""
    _copy_back(code)
    assert code.exit is not None
    code.leave(code.exit)


def _copy_back(code: Code) -> None:
    for frame in reversed(code.frames):
        for each in frame.copy_outs:
            each()


def branch(code: Code, node: ir.If, body: Callable[[ir.Statement], Step[None]]) -> Walk[None]:
    """Emit an `if` statement. `body` is called with each side, and returns the step that emits it.

    Raises P4Error for a condition that the engine does not support.
    """
    first, after = code.block("then"), code.block("endif")
    second = code.block("else") if node.no else after
    condition = value(code, node.condition)
    note_values(code, Event.BRANCH, "if", [(condition, 1, False)], node.place)
    code.b.cbranch(condition, first, second)
    code.b.position_at_end(first)
    yield body(node.yes)
    code.go(after)
    if node.no:
        code.b.position_at_end(second)
        yield body(node.no)
        code.go(after)
    code.b.position_at_end(after)


def _loop(code: Code, node: ir.Loop) -> Walk[None]:
    """Lower a loop. After MAX_ROUNDS rounds of all loops of a control or parser, the packet is given up."""
    if code.rounds is None:
        code.rounds = code.count_from(MAX_ROUNDS)
    head, body, onward, after = (code.block(each) for each in ("round", "looped", "onward", "endloop"))
    code.go(head)
    code.b.position_at_end(head)
    left = code.unit.target.forget(code, code.load(code.rounds, 32))
    code.store(code.b.sub(left, code.i32(1)), code.rounds)
    with code.when(code.b.icmp_unsigned("==", left, code.i32(0)), rarely=True):
        _give_up(code)
    yield lower_all(code, node.before)
    code.b.cbranch(value(code, node.condition), body, after)
    code.b.position_at_end(body)
    code.loops.append((after, onward))
    yield lower(code, node.body)
    code.loops.pop()
    code.go(onward)
    code.b.position_at_end(onward)
    yield lower_all(code, node.step)
    code.repeat(head, after)
    code.b.position_at_end(after)


def _give_up(code: Code) -> None:
    """Reject the packet in a parser, with ParserTimeout; in a control, mark it to be dropped and exit."""
    if code.cursor is not None:
        code.cursor.fail(code, code.constant(1, 1), "ParserTimeout")
        return
    _copy_back(code)
    unit = code.unit
    drop(code, Place(code.at(code.function.args[1], unit.state.standard), unit.program.standard_metadata))
    assert code.exit is not None
    code.leave(code.exit)


def _switch(code: Code, switch: ir.Switch) -> Walk[None]:
    after = code.block("endswitch")
    if isinstance(switch.subject, ir.Table):
        table = switch.subject
        actions = [each.action for each in table.actions]
        if table.default.action not in actions:
            actions.append(table.default.action)
        subject = code.unit.apply(code, table).action
        numbers = {action: code.i32(number) for number, action in enumerate(actions)}
    else:
        subject, numbers = value(code, switch.subject), {}
        form = scalar_width(switch.subject.type), is_signed(switch.subject.type)
        note_values(code, Event.BRANCH, "switch", [(subject, *form)], switch.place)
    default, bodies = after, []
    chooser = code.b.block
    targets = []
    for case in switch.cases:
        block = code.block("case")
        bodies.append((block, case.body))
        if not case.labels:
            default = block
        for label in case.labels:
            if isinstance(label, ir.Action):
                if label in numbers:
                    targets.append((numbers[label], block))
            elif isinstance(label, ir.Literal) and isinstance(label.value, int):
                targets.append((code.constant(scalar_width(label.type), label.value), block))
            else:
                raise unsupported("a switch label that is not a constant", switch.place)
    code.b.position_at_end(chooser)
    branch = code.b.switch(subject, default)
    for number, block in targets:
        branch.add_case(number, block)
    for block, body in bodies:
        code.b.position_at_end(block)
        yield lower(code, body)
        code.go(after)
    code.b.position_at_end(after)


def _count_in(code: Code, header: Place) -> None:
    """Add a header's bytes to the packet length if it was invalid. A list of values makes it valid, like setValid."""
    assert isinstance(header.type, HeaderType)
    length = code.at(code.function.args[1], code.unit.state.length)
    with code.when(code.b.not_(is_valid(code, header))):
        code.store(code.b.add(code.load(length, 32), code.i32(fixed_bytes(header.type))), length)


def _set_validity(code: Code, header: Place, valid: bool) -> None:
    """Set a header's validity, and update the packet length. The fields of a newly valid header are zero."""
    assert isinstance(header.type, HeaderType)
    was = is_valid(code, header)
    length = code.at(code.function.args[1], code.unit.state.length)
    with code.when(code.b.not_(was) if valid else was):
        size = code.i32(fixed_bytes(header.type))
        if valid:
            zero(code, header)
        else:
            for part in components(code, header):
                if isinstance(part.type, Varbit):
                    size = code.b.add(size, code.b.lshr(code.load(part.pointer, 32), code.i32(3)))
        change = code.b.add if valid else code.b.sub
        code.store(change(code.load(length, 32), size), length)
        code.store(code.constant(8, valid), header.pointer)


def _shift(code: Code, stack: Place, count: int) -> None:
    """Move a stack's elements by `count` places. New elements are invalid and zero."""
    assert isinstance(stack.type, StackType)
    size, stride = stack.type.size, code.layout.stride(stack.type)
    new = min(abs(count), size)
    kept = size - new
    if kept:
        first, other = code.element(stack, 0).pointer, code.element(stack, new).pointer
        target, source = (other, first) if count > 0 else (first, other)
        code.move(target, source, kept * stride)
    if new:
        code.clear(code.element(stack, 0 if count > 0 else kept).pointer, new * stride)
    b = code.b
    filled = b.add(code.load(stack.pointer, 32), code.i32(count))
    limit = b.icmp_signed(">", filled, code.i32(size)) if count > 0 else b.icmp_signed("<", filled, code.i32(0))
    code.store(b.select(limit, code.i32(size if count > 0 else 0), filled), stack.pointer)

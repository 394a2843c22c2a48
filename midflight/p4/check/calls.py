"""Calls of extern functions and of the methods of extern objects, headers, stacks and the packet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.coerce import has_integer, settle, settled
from midflight.p4.check.expressions import ExpressionChecker
from midflight.p4.check.operators import is_literal
from midflight.p4.check.scope import Callables, Local, Named, Packet, Scope, closest, describe
from midflight.p4.check.sizes import SIZES, size_in
from midflight.p4.check.typing import refuse
from midflight.p4.types import (
    BOOL,
    INTEGER,
    VOID,
    Direction,
    HeaderType,
    StackType,
    StructType,
    TupleType,
    Type,
    Varbit,
)

__all__ = ["CallChecker", "Given"]

REFUSED_FUNCTIONS = {
    "resubmit": "resubmit_preserving_field_list",
    "recirculate": "recirculate_preserving_field_list",
    "clone3": "clone_preserving_field_list",
}
OF_LISTS = (
    "hash",
    "verify_checksum",
    "update_checksum",
    "verify_checksum_with_payload",
    "update_checksum_with_payload",
)
Given = s.Argument | s.Expression | ir.Literal | ir.StructValue | None
KNOWN_FUNCTIONS = frozenset(
    [
        "verify",
        "static_assert",
        "random",
        "digest",
        "mark_to_drop",
        "hash",
        "verify_checksum",
        "update_checksum",
        "verify_checksum_with_payload",
        "update_checksum_with_payload",
        "clone",
        "clone_preserving_field_list",
        "resubmit_preserving_field_list",
        "recirculate_preserving_field_list",
        "truncate",
        "assert",
        "assume",
        "log_msg",
    ]
)
"""The extern functions of v1model that an engine has to know."""


class CallChecker(ExpressionChecker):
    """Checks calls."""

    def inline(self, function: d.Function, node: s.Call) -> ir.Expression:
        """Check the call of a user's function."""
        raise NotImplementedError

    def fresh(self, name: str, kind: Type, place: Place) -> ir.Variable:
        """Return a new variable, declared just before the statement that is being checked."""
        raise NotImplementedError

    def applied_table(self, node: s.Expression) -> ir.Table | None:
        """Return the table of `table.apply()`, or None for any other expression."""
        match node:
            case s.Call(callee=s.Member(base=s.Name() as name, member="apply")):
                entity = self.find(name.name, name.top, name.place)
                if isinstance(entity, ir.Table):
                    if node.arguments:
                        raise P4Error("a table's apply takes no arguments", place=node.place)
                    self.state.applied.add(entity.name)
                    return entity
        return None

    def member(self, node: s.Member) -> ir.Expression:
        """Check `base.name`, `table.apply().hit` included."""
        table = self.applied_table(node.base)
        if table is None:
            return super().member(node)
        match node.member:
            case "hit" | "miss":
                return ir.TableHit(table, BOOL, node.member == "miss", place=node.place)
            case "action_run":
                raise P4Error("action_run can only be the subject of a switch", place=node.place)
        hint = closest(node.member, ["hit", "miss", "action_run"])
        raise P4Error(f"apply() gives hit, miss and action_run, not {node.member}", place=node.at, hint=hint)

    def call(self, node: s.Call) -> ir.Expression:
        """Check a call that stands for a value."""
        match node.callee:
            case s.Name() as name:
                entity = self.find(name.name, name.top, name.place)
                if isinstance(entity, Callables):
                    return self.function(entity, node, name)
                if isinstance(entity, ir.Action):
                    raise P4Error(f"the action {name.name} gives no value", place=node.place)
                raise P4Error(f"{name.name} is {describe(entity)} and cannot be called", place=node.place)
            case s.Member() as member:
                return self.method(node, member)
            case s.TypeMember(type=kind, member=method) if method in SIZES:
                return self._size(node, method, self.type(kind))
        raise P4Error("this cannot be called", place=node.place)

    def _size(self, node: s.Call, method: str, kind: Type) -> ir.Expression:
        self._count(node, 0, method)
        size = size_in(method, kind)
        if size is None:
            raise P4Error(f"{kind} has no size, so no {method}", place=node.place)
        return ir.Literal(size, INTEGER, place=node.place)

    def method(self, node: s.Call, callee: s.Member) -> ir.Expression:
        """Check `object.method(...)` where it stands for a value."""
        if isinstance(callee.base, s.Name):
            entity = self.find(callee.base.name, callee.base.top, callee.base.place)
            match entity:
                case Packet(kind="packet_in"):
                    return self._packet_value(node, callee)
                case Packet():
                    raise P4Error(f"packet_out's {callee.member} gives no value", place=callee.at)
                case ir.Instance():
                    return self.object_method(entity, node, callee)
                case ir.Table():
                    hint = "Write .apply().hit or .apply().miss for a value."
                    raise P4Error("a table's application is a statement", place=node.place, hint=hint)
        base = self.expression(callee.base)
        if callee.member in SIZES:
            return self._size(node, callee.member, base.type)
        if callee.member == "isValid" and isinstance(base.type, HeaderType):
            self._count(node, 0, "isValid")
            return ir.IsValid(base, BOOL, place=node.place)
        known = {HeaderType: ["isValid", "setValid", "setInvalid"], StackType: ["push_front", "pop_front"]}
        names = known.get(type(base.type), [])
        if callee.member in names:
            raise P4Error(f"{callee.member} gives no value", place=node.place)
        raise P4Error(f"{base.type} has no method {callee.member}", place=callee.at, hint=closest(callee.member, names))

    def _packet_value(self, node: s.Call, callee: s.Member) -> ir.Expression:
        if callee.member == "lookahead":
            if len(node.types) != 1:
                hint = "Write packet.lookahead<bit<8>>()."
                raise P4Error("lookahead needs the type that it reads", place=node.place, hint=hint)
            self._count(node, 0, "lookahead")
            kind = self.type(node.types[0])
            if _has_varbit(kind) or has_integer(kind) or kind == VOID:
                raise P4Error(f"lookahead needs a type of fixed width, not {kind}", place=node.types[0].place)
            return ir.Lookahead(kind, place=node.place)
        if callee.member == "length":
            raise refuse("packet_in's length()", node.place, plural=False)
        if callee.member in ("extract", "advance"):
            raise P4Error(f"{callee.member} gives no value", place=node.place)
        hint = closest(callee.member, ["extract", "lookahead", "advance", "length"])
        raise P4Error(f"packet_in has no method {callee.member}", place=callee.at, hint=hint)

    @staticmethod
    def _count(node: s.Call, wanted: int, name: str) -> None:
        if len(node.arguments) != wanted:
            number = len(node.arguments)
            raise P4Error(
                f"{name} takes {wanted or 'no'} argument{'s' * (wanted != 1)}, not {number}", place=node.place
            )

    # Functions and objects -------------------------------------------------------------------------------------------

    def function(self, entity: Callables, node: s.Call, name: s.Name) -> ir.Expression:
        """Check the call of a function, extern or the user's."""
        fitting = [each for each in entity.functions if _fits(each.prototype.parameters, node.arguments)]
        if not fitting:
            counts = sorted({len(each.prototype.parameters) for each in entity.functions})
            raise P4Error(
                f"{name.name} takes {' or '.join(map(str, counts))} argument{'s' * (counts != [1])}, "
                f"not {len(node.arguments)}",
                place=node.place,
                hint=_signature(entity.functions[0].prototype),
            )
        function = fitting[0]
        if function.body is not None:
            return self.inline(function, node)
        if name.name in REFUSED_FUNCTIONS:
            raise refuse(name.name, node.place, f"Use {REFUSED_FUNCTIONS[name.name]}.", plural=False)
        if name.name not in KNOWN_FUNCTIONS:
            raise refuse(f"the extern {name.name}", node.place, "It is not part of v1model.", plural=False)
        if name.name == "verify" and not self.in_parser:
            raise P4Error("verify can only be called in a parser", place=node.place)
        call = self._extern(function.prototype, node, self.scope.top, None)
        data = call.arguments[3 if name.name == "hash" else 1] if name.name in OF_LISTS else None
        if data is not None and not isinstance(data.type, StructType | HeaderType | TupleType):
            hint = "Put braces around it."
            raise P4Error(f"{name.name} takes its data as a list or struct", place=data.place, hint=hint)
        if name.name == "static_assert":
            return self._static_assert(call)
        return call

    def _static_assert(self, call: ir.Call) -> ir.Expression:
        check = call.arguments[0]
        if not is_literal(check):
            raise P4Error("static_assert needs a condition known at compile time", place=check.place)
        if not check.value:
            text = call.arguments[1] if len(call.arguments) > 1 else None
            message = text.value if isinstance(text, ir.Literal) else "static_assert failed"
            raise P4Error(str(message), place=call.place)
        return ir.Literal(1, BOOL, place=call.place)

    def object_method(self, instance: ir.Instance, node: s.Call, callee: s.Member) -> ir.Expression:
        """Check the call of an extern object's method."""
        extern = self.scope.top.find(instance.kind)
        assert isinstance(extern, d.Extern)
        named = [each for each in extern.methods if each.name == callee.member and each.result is not None]
        if not named:
            hint = closest(callee.member, [each.name for each in extern.methods if each.result is not None])
            raise P4Error(f"{instance.kind} has no method {callee.member}", place=callee.at, hint=hint)
        fitting = [each for each in named if _fits(each.parameters, node.arguments)]
        if not fitting:
            wanted = len(named[0].parameters)
            raise P4Error(
                f"{callee.member} of {instance.kind} takes {wanted} argument{'s' * (wanted != 1)}, "
                f"not {len(node.arguments)}",
                place=node.place,
                hint=_signature(named[0]),
            )
        scope = Scope(self.scope.top)
        for name, kind in zip(extern.type_parameters, instance.type_arguments, strict=True):
            scope.declare(name, Named(kind), extern.place)
        return self._extern(fitting[0], node, scope, instance)

    def _extern(self, prototype: d.Prototype, node: s.Call, scope: Scope, instance: ir.Instance | None) -> ir.Call:
        given = ordered(prototype.parameters, node.arguments, node.place)
        bound = self.bind(prototype, node, given)
        inner = Scope(scope)
        for name, kind in bound.items():
            inner.declare(name, Named(kind), node.place)
        outer, self.scope = self.scope, inner
        try:
            kinds = [self.type(each.type) for each in prototype.parameters]
            result = self.type(prototype.result) if prototype.result else VOID
        finally:
            self.scope = outer
        directions = [Direction(each.direction or "in") for each in prototype.parameters]
        whats = [f"{prototype.name}'s {each.name}" for each in prototype.parameters]
        arguments = self.arguments_in_order(given, kinds, directions, whats)
        return ir.Call(
            prototype.name,
            arguments,
            tuple(directions),
            result,
            instance,
            tuple(bound[name] for name in prototype.type_parameters),
            place=node.place,
        )

    def bind(
        self, prototype: d.Prototype, node: s.Call, given: Sequence[s.Argument | s.Expression | None]
    ) -> dict[str, Type]:
        """Return the types that a generic call's parameters stand for: written, or inferred from the arguments."""
        names = prototype.type_parameters
        if node.types:
            if len(node.types) != len(names):
                raise P4Error(
                    f"{prototype.name} takes {len(names)} type arguments, not {len(node.types)}", place=node.place
                )
            anyway = [isinstance(each, s.BaseType) and each.name == "_" for each in node.types]
            bound = {n: self.type(t) for n, t, a in zip(names, node.types, anyway, strict=True) if not a}
        else:
            bound = {}
        if len(bound) == len(names):
            return bound
        loose: dict[str, ir.Expression] = {}
        for parameter, argument in zip(prototype.parameters, given, strict=True):
            kind = parameter.type
            if isinstance(kind, s.TypeName) and kind.name in names and kind.name not in bound:
                value = argument.value if isinstance(argument, s.Argument) else argument
                if value is None:
                    continue
                checked = self.probe(value)
                if has_integer(checked.type):
                    loose.setdefault(kind.name, checked)
                else:
                    bound[kind.name] = checked.type
        for name, checked in loose.items():
            bound.setdefault(name, settled(checked.type, checked))
        for name in names:
            if name not in bound:
                hint = f"Write {prototype.name}<...>(...)."
                raise P4Error(f"the type {name} of {prototype.name} cannot be inferred", place=node.place, hint=hint)
        return bound

    def probe(self, node: s.Expression) -> ir.Expression:
        """Check an expression for its type alone."""
        return self.captured(node)[0]

    def arguments_in_order(
        self,
        given: Sequence[Given],
        kinds: Sequence[Type],
        directions: Sequence[Direction],
        whats: Sequence[str],
    ) -> tuple[ir.Expression, ...]:
        """Check the arguments of a call, evaluated left to right; an error calls each as `whats` says."""
        written = {i for i, each in enumerate(directions) if each in (Direction.OUT, Direction.INOUT)}
        wanted = zip(given, kinds, directions, whats, strict=True)
        return tuple(self.in_order((partial(self.argument, *each) for each in wanted), written))

    def argument(self, argument: Given, kind: Type, direction: Direction, what: str) -> ir.Expression:
        """Check one argument of a call; a parameter's default has been checked already."""
        if isinstance(argument, ir.Literal | ir.StructValue):
            return argument
        node = argument.value if isinstance(argument, s.Argument) else argument
        if node is None:
            assert isinstance(argument, s.Argument)
            if direction is not Direction.OUT:
                raise P4Error("'_' can only stand for an out argument", place=argument.place)
            return ir.VariableRef(self.fresh("unused", kind, argument.place), kind, place=argument.place)
        if direction in (Direction.OUT, Direction.INOUT):
            target = self.lvalue(node)
            if target.type != kind:
                raise P4Error(f"{what} must be {kind}, not {target.type}", place=node.place)
            return target
        return settle(self.value(node, kind, what))

    # Places that can be written --------------------------------------------------------------------------------------

    def lvalue(self, node: s.Expression) -> ir.Expression:
        """Check an expression that is written to."""
        reason = self._why_fixed(node)
        if reason:
            raise P4Error(reason, place=node.place)
        return self.written(node)

    def _why_fixed(self, node: s.Expression) -> str:
        match node:
            case s.Name():
                entity = self.find(node.name, node.top, node.place)
                if isinstance(entity, Local):
                    return entity.fixed
                return f"{node.name} is {describe(entity)} and cannot be written"
            case s.Member(member="last" | "lastIndex" | "size") if isinstance(
                self.expression(node.base).type, StackType
            ):
                return self._why_fixed(node.base) if node.member == "last" else "this cannot be written"
            case s.Member() | s.Index() | s.Slice():
                return self._why_fixed(node.base)
        return "this cannot be written: it is not a variable, a field or a slice of one"


def ordered(
    parameters: Sequence[d.Parameter], arguments: Sequence[s.Argument], place: Place
) -> list[s.Argument | s.Expression | None]:
    """Return the arguments in the order of their parameters, defaults filled in."""
    if any(each.name for each in arguments):
        by_name: Mapping[str, s.Argument] = {each.name: each for each in arguments}
        for each in arguments:
            if not each.name:
                raise P4Error("either all arguments are named or none", place=each.place)
            if each.name not in {parameter.name for parameter in parameters}:
                hint = closest(each.name, [parameter.name for parameter in parameters])
                raise P4Error(f"there is no parameter {each.name}", place=each.place, hint=hint)
        result: list[s.Argument | s.Expression | None] = [by_name.get(p.name, p.default) for p in parameters]
    else:
        result = [a for a, _ in zip([*arguments, *[None] * len(parameters)], parameters, strict=False)]
        result = [p.default if a is None else a for a, p in zip(result, parameters, strict=True)]
    for parameter, argument in zip(parameters, result, strict=True):
        if argument is None:
            raise P4Error(f"no argument for {parameter.name}", place=place)
    return result


def _fits(parameters: Sequence[d.Parameter], arguments: Sequence[s.Argument]) -> bool:
    least = sum(each.default is None for each in parameters)
    return least <= len(arguments) <= len(parameters)


def _signature(prototype: d.Prototype) -> str:
    parts = [f"{each.direction} {each.name}".strip() for each in prototype.parameters]
    return f"It is {prototype.name}({', '.join(parts)})."


def _has_varbit(kind: Type) -> bool:
    match kind:
        case Varbit():
            return True
        case StructType(fields=fields) | HeaderType(fields=fields):
            return any(_has_varbit(each.type) for each in fields)
    return False

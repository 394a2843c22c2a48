"""Statements of actions, controls and parser states."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

from midflight.errors import P4Error, Place
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.calls import CallChecker, Given
from midflight.p4.check.coerce import coerce, has_integer
from midflight.p4.check.scope import Constant, Local, Packet, Scope, closest, describe
from midflight.p4.check.typing import State
from midflight.p4.types import (
    VOID,
    Bits,
    Direction,
    EnumType,
    ExternType,
    HeaderType,
    StackType,
    StructType,
    TupleType,
    Type,
    Varbit,
)

__all__ = ["StatementChecker"]


class StatementChecker(CallChecker):
    """Checks statements; `where` is action, control, parser or function."""

    def __init__(self, state: State, scope: Scope, where: str) -> None:
        super().__init__(state, scope)
        self.where = where
        self.in_parser = where == "parser"
        self.depth = 0  # how many blocks stand around what is being checked

    def instantiate(self, node: s.Instantiation) -> None:
        """Make the instance that a declaration asks for."""
        raise NotImplementedError

    def anonymous_instance(self, node: s.DirectApplication) -> ir.Control | ir.Parser:
        """Make the instance that `Type.apply(...)` asks for."""
        raise NotImplementedError

    # Blocks and declarations -----------------------------------------------------------------------------------------

    def block(self, node: s.Block) -> ir.Block:
        """Check statements in braces, in a scope of their own."""
        return ir.Block(self.body(node.body), place=node.place)

    def body(self, nodes: Iterable[s.Statement]) -> tuple[ir.Statement, ...]:
        """Check statements in a row, in a scope of their own."""
        self.scope = Scope(self.scope)
        self.depth += 1
        try:
            return tuple(each for node in nodes for each in self.statements(node))
        finally:
            self.depth -= 1
            assert self.scope.parent is not None
            self.scope = self.scope.parent

    def statements(self, node: s.Statement) -> list[ir.Statement]:
        """Check one statement, which may become several: those that its expressions need come before it."""
        outer, self.before = self.before, []
        try:
            made = self.statement(node)
            return [*self.before, *([] if made is None else [made])]
        finally:
            self.before = outer

    def fresh(self, name: str, kind: Type, place: Place) -> ir.Variable:
        """Return a new variable, declared just before the statement that is being checked."""
        variable = ir.Variable(name, kind, place)
        self.before.append(ir.Declare(variable, None, place=place))
        return variable

    def statement(self, node: s.Statement) -> ir.Statement | None:
        """Check one statement; None for what leaves no trace."""
        match node:
            case s.Empty():
                return None
            case s.Assign():
                return self._assign(node)
            case s.CallStatement():
                return self._call_statement(node.call)
            case s.DirectApplication():
                return self.application(self.anonymous_instance(node), node.arguments, node.place)
            case s.If():
                condition = self.condition(node.condition, "an if's condition")
                yes = ir.Block(self.body([node.yes]), place=node.yes.place)
                no = None if node.no is None else ir.Block(self.body([node.no]), place=node.no.place)
                return ir.If(condition, unwrap(yes), None if no is None else unwrap(no), place=node.place)
            case s.Switch():
                return self._switch(node)
            case s.Block():
                return self.block(node)
            case s.Return():
                return self.returning(node)
            case s.Exit():
                if self.where in ("parser", "function"):
                    raise P4Error(f"a {self.where} has no exit", place=node.place)
                return ir.Exit(place=node.place)
            case s.Constant():
                self.declare_constant(node)
                return None
            case s.Variable():
                return self.declare_variable(node)
            case s.Instantiation():
                self.instantiate(node)
                return None

    def returning(self, node: s.Return) -> ir.Statement:
        """Check a return."""
        if self.where == "parser":
            raise P4Error("a parser state has no return", place=node.place)
        if node.value is not None:
            raise P4Error(f"{'an' if self.where == 'action' else 'a'} {self.where} gives no value", place=node.place)
        return ir.Return(place=node.place)

    def declare_constant(self, node: s.Constant) -> None:
        """Add a constant to the scope."""
        kind = self.type(node.type)
        value = self.constant(node.value, kind, f"the value of {node.name}")
        self.scope.declare(node.name, Constant(value), node.place)

    def declare_variable(self, node: s.Variable) -> ir.Declare:
        """Add a variable to the scope."""
        kind = self.type(node.type)
        if has_integer(kind):
            hint = "Give it a width, such as bit<32>, or make it a const."
            raise P4Error("a variable cannot be an int of no width", place=node.place, hint=hint)
        if isinstance(kind, ExternType) or kind == VOID:
            raise P4Error(f"a variable cannot be of type {kind}", place=node.place)
        value = None if node.value is None else self.value(node.value, kind, f"the value of {node.name}")
        hidden = self.scope.find(node.name)
        if self.depth and isinstance(hidden, Local) and hidden.parameter:
            raise P4Error(f"{node.name} would hide the parameter of that name", place=node.place)
        variable = ir.Variable(node.name, kind, node.place)
        self.scope.declare(node.name, Local(variable), node.place)
        return ir.Declare(variable, value, place=node.place)

    # Assignments and calls -------------------------------------------------------------------------------------------

    def _assign(self, node: s.Assign) -> ir.Statement:
        target = self.lvalue(node.target)
        if not isinstance(target, ir.VariableRef | ir.Member | ir.Index | ir.Slice | ir.Next | ir.Last):
            raise P4Error("this cannot be written", place=node.target.place)
        what = f"the value of {_text(node.target)}"
        if node.operator:
            self.probe(node.target)  # which must also be fit to be read
            target = self.pinned(target)
            whole = s.Binary(node.place, node.operator, node.target, node.value)
            sides = self.in_order((lambda: target, lambda: self.expression(node.value)))
            return ir.Assign(
                target, coerce(self.combined(whole, *sides), target.type, what, self.state), place=node.place
            )
        target, value = self.in_order((lambda: target, lambda: self.value(node.value, target.type, what)), {0})
        return ir.Assign(target, value, place=node.place)

    def _call_statement(self, node: s.Call) -> ir.Statement | None:
        match node.callee:
            case s.Name() as name:
                entity = self.find(name.name, name.top, name.place)
                if isinstance(entity, ir.Action):
                    return self._action_call(entity, node)
            case s.Member() as member:
                made = self._method_statement(node, member)
                if made is not None:
                    return made
        value = self.call(node)
        match value:
            case ir.Call():
                return ir.CallStatement(value, place=node.place)
            case ir.Lookahead():
                unused = ir.Variable("unused", value.type, node.place)  # the packet may still be too short
                return ir.Declare(unused, value, place=node.place)
            case ir.IsValid() | ir.Literal() | ir.VariableRef():
                return None
        raise P4Error("this does nothing", place=node.place)

    def _action_call(self, action: ir.Action, node: s.Call) -> ir.Statement:
        if self.where in ("parser", "function"):
            raise P4Error(f"a {self.where} cannot call an action", place=node.place)
        wanted = len(action.parameters)
        if not self.fits(action.parameters, node.arguments):
            raise P4Error(
                f"{action.name} takes {wanted} argument{'s' * (wanted != 1)}, not {len(node.arguments)}",
                place=node.place,
            )
        self.state.reach(action)
        return ir.ActionCall(action, self._passed(action.parameters, node.arguments), place=node.place)

    def _passed(self, parameters: Sequence[ir.Parameter], given: Iterable[s.Argument]) -> tuple[ir.Expression, ...]:
        """Check arguments for a body that may change what their indices are made of; results go where they were."""
        made = zip(self.arguments(parameters, given), parameters, strict=True)
        return tuple(self.pinned(a) if p.direction in (Direction.OUT, Direction.INOUT) else a for a, p in made)

    def fits(self, parameters: Sequence[ir.Parameter], given: Sequence[s.Argument]) -> bool:
        """Whether there is an argument for each parameter, save for some of those that have a default value."""
        least = sum(each.variable not in self.state.defaults for each in parameters)
        return least <= len(given) <= len(parameters)

    def arguments(self, parameters: Iterable[ir.Parameter], given: Iterable[s.Argument]) -> tuple[ir.Expression, ...]:
        """Check arguments for parameters whose types are known."""
        listed, wanted = list(given), list(parameters)
        defaults = [self.state.defaults.get(each.variable) for each in wanted]
        filled: list[Given] = [*listed, *defaults[len(listed) :]]
        if any(each.name for each in listed):
            by_name = {each.name: each for each in listed}
            filled = [by_name.get(p.variable.name, default) for p, default in zip(wanted, defaults, strict=True)]
        for parameter, argument in zip(wanted, filled, strict=True):
            if argument is None:
                place = listed[0].place if listed else None
                raise P4Error(f"no argument for {parameter.variable.name}", place=place)
        kinds = [each.variable.type for each in wanted]
        whats = [f"argument {each.variable.name}" for each in wanted]
        return self.arguments_in_order(filled, kinds, [each.direction for each in wanted], whats)

    def _method_statement(self, node: s.Call, callee: s.Member) -> ir.Statement | None:
        """Check a method that does something and gives nothing; None for any other."""
        if isinstance(callee.base, s.Name):
            entity = self.find(callee.base.name, callee.base.top, callee.base.place)
            match entity:
                case Packet(kind=kind):
                    return self._packet_statement(kind, node, callee)
                case ir.Table():
                    table = self.applied_table(node)
                    if table is None:
                        raise P4Error(f"a table has no method {callee.member}", place=callee.at, hint="Write .apply().")
                    self._may_apply(node.place)
                    return ir.TableApply(table, place=node.place)
                case ir.Control() | ir.Parser():
                    if callee.member != "apply":
                        raise P4Error(
                            f"{describe(entity)} has no method {callee.member}",
                            place=callee.at,
                            hint="Write .apply(...).",
                        )
                    return self.application(entity, node.arguments, node.place)
                case ir.Instance():
                    return None
        effect = callee.member in ("setValid", "setInvalid", "push_front", "pop_front")
        base = self.written(callee.base) if effect else self.expression(callee.base)
        match base.type, callee.member:
            case HeaderType(), "setValid" | "setInvalid":
                self._count(node, 0, callee.member)
                return ir.SetValidity(self.lvalue(callee.base), callee.member == "setValid", place=node.place)
            case StackType(), "push_front" | "pop_front":
                self._count(node, 1, callee.member)
                value = node.arguments[0].value
                assert value is not None
                number = self.constant_int(value, f"{callee.member}'s count")
                if number < 1:
                    raise P4Error(f"{callee.member} needs a count of at least 1", place=value.place)
                stack = self.lvalue(callee.base)
                return ir.Shift(stack, number if callee.member == "push_front" else -number, place=node.place)
        return None

    def application(
        self, callee: ir.Control | ir.Parser, arguments: tuple[s.Argument, ...], place: Place
    ) -> ir.Statement:
        """Check `instance.apply(...)`; the packet, which needs no variable, drops out of the arguments."""
        self._may_apply(place)
        if isinstance(callee, ir.Parser) != (self.where == "parser"):
            raise P4Error(f"a {self.where} cannot apply {describe(callee)}", place=place)
        kept = [each for each in arguments if not self._is_packet(each)]
        wanted = len(callee.parameters)
        if not self.fits(callee.parameters, kept):
            raise P4Error(
                f"{callee.name} takes {wanted} argument{'s' * (wanted != 1)} besides the packet, not {len(kept)}",
                place=place,
            )
        return ir.Apply(callee, self._passed(callee.parameters, kept), place=place)

    def _is_packet(self, argument: s.Argument) -> bool:
        node = argument.value
        return isinstance(node, s.Name) and isinstance(self.find(node.name, node.top, node.place), Packet)

    def _may_apply(self, place: Place) -> None:
        if self.where in ("action", "function"):
            article = "an" if self.where == "action" else "a"
            raise P4Error(f"{article} {self.where} cannot apply a table or a control", place=place)

    def _packet_statement(self, kind: str, node: s.Call, callee: s.Member) -> ir.Statement | None:
        arguments = node.arguments
        match kind, callee.member:
            case "packet_in", "extract" if len(arguments) in (1, 2):
                checks = [partial(self._extracted, node)]
                if len(arguments) == 2 and (size := arguments[1].value) is not None:
                    checks.append(partial(self.value, size, Bits(32), "the size of the varbit field"))
                return ir.Extract(*self.in_order(checks, {0}), place=node.place)
            case "packet_in", "advance":
                self._count(node, 1, "advance")
                assert arguments[0].value is not None
                return ir.Advance(self.value(arguments[0].value, Bits(32), "the number of bits"), place=node.place)
            case "packet_out", "emit":
                self._count(node, 1, "emit")
                assert arguments[0].value is not None
                value = self.expression(arguments[0].value)
                if not _emittable(value.type):
                    raise P4Error(
                        f"only headers, and stacks and structs of headers, can be emitted, not {value.type}",
                        place=arguments[0].place,
                    )
                return ir.Emit(value, place=node.place)
            case "packet_out", _:
                hint = closest(callee.member, ["emit"])
                raise P4Error(f"packet_out has no method {callee.member}", place=callee.at, hint=hint)
            case _, "extract":
                raise P4Error("extract takes a header, and a size for a varbit field", place=node.place)
        return None

    def _extracted(self, node: s.Call) -> ir.Expression:
        argument = node.arguments[0]
        if argument.value is None:
            if len(node.types) != 1:
                raise P4Error("extract(_) needs a type", place=node.place, hint="Write packet.extract<header_t>(_).")
            kind = self.type(node.types[0])
            target: ir.Expression = ir.VariableRef(
                self.fresh("unused", kind, argument.place), kind, place=argument.place
            )
        else:
            target = self.lvalue(argument.value)
            kind = target.type
        if not isinstance(kind, HeaderType):
            raise P4Error(f"only a header can be extracted, not {kind}", place=argument.place)
        varying = any(isinstance(each.type, Varbit) for each in kind.fields)
        if varying and len(node.arguments) == 1:
            hint = "Give extract the number of its bits as a second argument."
            raise P4Error(f"{kind} has a varbit field", place=argument.place, hint=hint)
        if not varying and len(node.arguments) == 2:
            raise P4Error(f"{kind} has no varbit field, so extract takes no size", place=argument.place)
        if node.types and self.type(node.types[0]) != kind:
            raise P4Error(f"{kind} is not the type {self.type(node.types[0])} that is extracted", place=argument.place)
        return target

    # Switch ----------------------------------------------------------------------------------------------------------

    def _switch(self, node: s.Switch) -> ir.Statement:
        if self.where not in ("control", "action", "function"):
            raise P4Error(f"a {self.where} has no switch", place=node.place, hint="Use a select expression.")
        subject: ir.Table | ir.Expression
        table = None
        if isinstance(node.subject, s.Member) and node.subject.member == "action_run":
            table = self.applied_table(node.subject.base)
        if table is not None:
            self._may_apply(node.place)
            subject = table
        else:
            subject = self.expression(node.subject)
            if not isinstance(subject.type, Bits | EnumType) and str(subject.type) != "error":
                raise P4Error(f"switch takes action_run, a number or an enum, not {subject.type}", place=node.place)
        cases: list[ir.Case] = []
        labels: list[ir.Expression | ir.Action] = []
        seen: set[object] = set()
        default = False
        for number, case in enumerate(node.cases):
            if case.label is None:
                if number != len(node.cases) - 1:
                    raise P4Error("default must be the last label", place=case.place)
                default = True
            else:
                label = self._label(case.label, subject)
                key = label.value if isinstance(label, ir.Literal) else label
                if key in seen:
                    raise P4Error("this label stands twice", place=case.place)
                seen.add(key)
                labels.append(label)
            if case.block is None and number != len(node.cases) - 1:
                continue
            body = ir.Block((), place=case.place) if case.block is None else self.block(case.block)
            cases.append(ir.Case(() if default else tuple(labels), body))
            labels = []
        return ir.Switch(subject, tuple(cases), place=node.place)

    def _label(self, node: s.Expression, subject: ir.Table | ir.Expression) -> ir.Expression | ir.Action:
        if isinstance(subject, ir.Table):
            actions = {each.action for each in subject.actions}
            if isinstance(node, s.Name):
                entity = self.find(node.name, node.top, node.place)
                if isinstance(entity, ir.Action) and entity in actions:
                    return entity
            hint = "Its actions are " + ", ".join(each.action.name for each in subject.actions) + "."
            raise P4Error(f"{_text(node)} is not an action of {subject.name}", place=node.place, hint=hint)
        return self.constant(node, subject.type, "a label")


def unwrap(block: ir.Block) -> ir.Statement:
    """Return the only statement of a block where that is a block itself, else the block."""
    if len(block.body) == 1 and isinstance(block.body[0], ir.Block):
        return block.body[0]
    return block


def _emittable(kind: Type) -> bool:
    match kind:
        case HeaderType() | StackType():
            return True
        case StructType(fields=fields):
            return all(_emittable(each.type) for each in fields)
        case TupleType(elements=elements):
            return all(map(_emittable, elements))
    return False


def _text(node: s.Expression) -> str:
    """Return an lvalue or a name as it is written, for messages."""
    match node:
        case s.Name(name=name):
            return name
        case s.Member(base=base, member=member):
            return f"{_text(base)}.{member}"
        case s.Index(base=base):
            return f"{_text(base)}[...]"
        case s.Slice(base=base):
            return f"{_text(base)}[...:...]"
    start = node.place.column - 1
    return node.place.text[start : start + node.place.length]

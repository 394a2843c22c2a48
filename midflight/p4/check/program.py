"""The whole program: its declarations in order, then V1Switch's six parts."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.errors import P4Error, P4Warning, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.calls import ordered
from midflight.p4.check.controls import ActionChecker, ControlChecker
from midflight.p4.check.functions import FunctionChecker
from midflight.p4.check.parsers import ParserChecker
from midflight.p4.check.scope import Callables, Entity, Named, Scope, describe
from midflight.p4.check.structures import enumeration, structure
from midflight.p4.check.typing import State, annotations_of, refuse
from midflight.p4.types import StructType, Type

__all__ = ["check_program"]

PARTS = ("parser", "verify", "ingress", "egress", "compute", "deparser")


def check_program(program: d.Program, source: str) -> ir.Program:
    """Check a syntax tree; P4Error with its place for the first thing that is wrong."""
    return _ProgramChecker(State(), Scope()).program(program, source)


class _ProgramChecker(ControlChecker):
    """Checks what stands at the top of a program."""

    def __init__(self, state: State, scope: Scope) -> None:
        super().__init__(state, scope, "")
        self.main: s.Instantiation | None = None
        self.functions: list[d.Function] = []
        self.controls: list[d.Control | d.Parser] = []

    def program(self, program: d.Program, source: str) -> ir.Program:
        for node in program.declarations:
            self._declaration(node)
        if self.main is None:
            self._check_unused()
            own = [each.place for each in program.declarations if each.place.file == program.file]
            last = own[-1] if own else Place(program.file, 1, 1, 1, source.partition("\n")[0])
            hint = "End it with V1Switch(parser(), verify(), ingress(), egress(), compute(), deparser()) main;"
            raise P4Error("the program has no main", place=last, hint=hint)
        parts = self._parts(self.main)
        self._check_unused()
        parser = parts["parser"]
        assert isinstance(parser, ir.Parser)
        controls = {name: part for name, part in parts.items() if isinstance(part, ir.Control)}
        headers, metadata, standard = (each.variable.type for each in parser.parameters)
        assert isinstance(headers, StructType)
        assert isinstance(standard, StructType)
        tables = {name: each for name, each in self.state.tables.items() if name in self.state.applied}
        reached = self.state.reached | {each.action.name for table in tables.values() for each in table.actions}
        return ir.Program(
            file=program.file,
            source=source,
            parser=parser,
            verify=controls["verify"],
            ingress=controls["ingress"],
            egress=controls["egress"],
            compute=controls["compute"],
            deparser=controls["deparser"],
            headers=headers,
            metadata=metadata,
            standard_metadata=standard,
            errors=tuple(self.state.errors),
            tables=tables,
            actions={name: each for name, each in self.state.actions.items() if name in reached},
            instances=self.state.instances,
            controller_headers=tuple(each for each in self.state.headers if each.controller),
            enums=tuple(self.state.enums),
            annotations=annotations_of(self.main.annotations),
            warnings=tuple(sorted(self.state.warnings, key=_position)),
        )

    def _declaration(self, node: d.Declaration) -> None:
        scope = self.scope
        match node:
            case s.Constant():
                self.declare_constant(node)
            case s.Instantiation():
                self._instantiation(node)
            case d.Structure():
                made: Entity = node if node.type_parameters else Named(structure(self, node))
                scope.declare(node.name, made, node.place)
            case d.Enumeration():
                scope.declare(node.name, Named(enumeration(self, node)), node.place)
            case d.Typedef() | d.NewType():
                kind = structure(self, node.type) if isinstance(node.type, d.Structure) else self.type(node.type)
                scope.declare(node.name, Named(kind), node.place)
            case d.ErrorDeclaration(members=members):
                self._members(members, self.state.errors, "error")
            case d.MatchKindDeclaration(members=members):
                self._members(members, self.state.match_kinds, "match kind")
            case d.Function():
                self._function(node)
            case d.Action():
                scope.declare(node.name, ActionChecker(self.state, scope, "").action(node), node.place)
            case d.Extern() | d.Package():
                scope.declare(node.name, node, node.place)
            case d.Control() | d.Parser():
                scope.declare(node.name, node, node.place)
                body = node.body if isinstance(node, d.Control) else node.states
                if body is not None:
                    self.controls.append(node)
            case _:
                raise P4Error("this cannot be declared here", place=node.place)

    @staticmethod
    def _members(members: tuple[s.Name, ...], known: list[str], what: str) -> None:
        for each in members:
            if each.name in known:
                raise P4Error(f"the {what} {each.name} is declared twice", place=each.place)
            known.append(each.name)

    def _function(self, node: d.Function) -> None:
        name = node.prototype.name
        if node.body is not None:
            self.functions.append(node)
        known = self.scope.names.get(name)
        if isinstance(known, Callables):
            count = len(node.prototype.parameters)
            if any(len(each.prototype.parameters) == count for each in known.functions):
                hint = f"It was declared at {self.scope.places[name]} first."
                raise P4Error(f"{name} with {count} parameters is declared twice", place=node.place, hint=hint)
            known.functions.append(node)
        else:
            self.scope.declare(name, Callables([node]), node.place)

    def _instantiation(self, node: s.Instantiation) -> None:
        base = node.type.base if isinstance(node.type, s.SpecialisedType) else node.type
        entity = self.find(base.name, base.top, base.place) if isinstance(base, s.TypeName) else None
        if isinstance(entity, d.Package):
            if node.name != "main":
                raise refuse("packages other than main", node.place)
            self.main = node
        else:
            self.instantiate(node)

    def _parts(self, main: s.Instantiation) -> dict[str, ir.Parser | ir.Control]:
        base = main.type.base if isinstance(main.type, s.SpecialisedType) else main.type
        assert isinstance(base, s.TypeName)
        package = self.scope.find(base.name)
        assert isinstance(package, d.Package)
        if package.name != "V1Switch" or len(package.parameters) != len(PARTS):
            self._check_unused()
            raise refuse(f"the architecture of {package.name}", main.place, "Midflight takes v1model.", plural=False)
        wanted = len(package.parameters)
        if len(main.arguments) != wanted:
            raise P4Error(f"V1Switch takes {wanted} parts, not {len(main.arguments)}", place=main.place)
        parts: dict[str, ir.Parser | ir.Control] = {}
        bound: dict[str, Type] = {}
        for part, formal, argument in zip(
            PARTS, package.parameters, ordered(package.parameters, main.arguments, main.place), strict=True
        ):
            node = argument.value if isinstance(argument, s.Argument) else argument
            assert node is not None
            made = self._part(node, part)
            self._conforms(made, formal, node.place, part, bound)
            parts[part] = made
        return parts

    def _part(self, node: s.Expression, part: str) -> ir.Parser | ir.Control:
        if isinstance(node, s.Name):
            entity = self.find(node.name, node.top, node.place)
            if isinstance(entity, ir.Parser | ir.Control):
                return entity
        if not isinstance(node, s.Construct) or not isinstance(node.type, s.TypeName):
            raise P4Error(f"the {part} must be an instance, such as My{part.title()}()", place=node.place)
        entity = self.find(node.type.name, node.type.top, node.type.place)
        if not isinstance(entity, d.Parser | d.Control):
            raise P4Error(f"{node.type.name} is {describe(entity)}, not a parser or control", place=node.place)
        if entity.type_parameters:
            raise refuse("generic controls and parsers", node.place)
        return self.inner(entity, entity.name, node.arguments, node.place)

    def inner(
        self, declaration: d.Control | d.Parser, name: str, arguments: Sequence[s.Argument], place: Place
    ) -> ir.Control | ir.Parser:
        """Check a part of the program."""
        values = self.constructor_values(declaration, arguments, place)
        if isinstance(declaration, d.Parser):
            return ParserChecker(self.state, Scope(self.scope.top), name).parser(declaration, values)
        return ControlChecker(self.state, Scope(self.scope.top), name).control(declaration, values)

    def _conforms(
        self, part: ir.Parser | ir.Control, formal: d.Parameter, place: Place, name: str, bound: dict[str, Type]
    ) -> None:
        """Check a part's parameters against V1Switch's; the types that stand for H and M must agree throughout."""
        base = formal.type.base if isinstance(formal.type, s.SpecialisedType) else formal.type
        assert isinstance(base, s.TypeName)
        wanted = self.scope.find(base.name)
        assert isinstance(wanted, d.Parser | d.Control)
        if isinstance(part, ir.Parser) != isinstance(wanted, d.Parser):
            raise P4Error(f"the {name} must be {describe(wanted)}", place=place)
        expected = [
            each
            for each in wanted.parameters
            if not (isinstance(each.type, s.TypeName) and each.type.name in ("packet_in", "packet_out"))
        ]
        if len(expected) != len(part.parameters):
            shown = ", ".join(f"{each.direction} {each.name}".strip() for each in wanted.parameters)
            raise P4Error(
                f"the {name} takes {len(wanted.parameters)} parameters", place=part.place, hint=f"They are {shown}."
            )
        for each, given in zip(expected, part.parameters, strict=True):
            variable = given.variable
            if each.direction != given.direction.value:
                raise P4Error(f"{variable.name} of the {name} must be '{each.direction}'", place=variable.place)
            assert isinstance(each.type, s.TypeName)
            if each.type.name in wanted.type_parameters:
                kind = bound.setdefault(each.type.name, variable.type)
            else:
                kind = self.type(each.type)
            if kind != variable.type:
                raise P4Error(
                    f"{variable.name} of the {name} must be {kind}, not {variable.type}", place=variable.place
                )

    def _check_unused(self) -> None:
        """Check what main does not reach too, as far as it stands on its own; nothing of it is kept."""
        for node in self.controls:
            if node.name in self.state.used or node.constructor or node.type_parameters:
                continue
            state = self.state
            aside = State(state.errors, state.match_kinds, defaults=state.defaults, warnings=state.warnings)
            checker = _ProgramChecker(aside, self.scope)
            checker.inner(node, node.name, (), node.place)
        for function in self.functions:
            prototype = function.prototype
            if not prototype.type_parameters:
                body = FunctionChecker(self.state, Scope(self.scope.top), "function", (prototype.name,))
                kinds = [body.type(each.type) for each in prototype.parameters]
                variables = [
                    ir.Variable(each.name, kind, each.place)
                    for each, kind in zip(prototype.parameters, kinds, strict=True)
                ]
                body.written_out(function, variables)


def _position(warning: P4Warning) -> tuple[str, int, int]:
    return warning.place.file, warning.place.line, warning.place.column

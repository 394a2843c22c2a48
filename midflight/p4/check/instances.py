"""Instances: extern objects, sub-controls and sub-parsers, each under its control-plane name."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.calls import ordered
from midflight.p4.check.functions import FunctionChecker
from midflight.p4.check.scope import Constant, Entity, Local, Named, Packet, Scope, describe
from midflight.p4.check.typing import State, annotations_of, refuse
from midflight.p4.types import Bits, Direction, EnumType, ExternType, Integer, Type

__all__ = ["InstanceChecker", "qualified"]

REFUSED_EXTERNS = {
    "action_profile": "action profiles",
    "action_selector": "action selectors",
    "Checksum16": "the deprecated extern Checksum16",
}
KNOWN_EXTERNS = ("counter", "direct_counter", "meter", "direct_meter", "register")


def _kept(kind: Type) -> bool:
    """Whether a register can hold values of this type."""
    return isinstance(kind, Bits) or (isinstance(kind, EnumType) and kind.underlying is not None)


def qualified(prefix: str, name: str, annotations: s.Annotations) -> str:
    """Return a control-plane name: `@name` stands for the own part, and alone when it starts with a dot."""
    given = annotations_of(annotations).get("name")
    if given is not None:
        name = given.strip().strip('"')
    if name.startswith("."):
        return name[1:]
    return f"{prefix}.{name}" if prefix else name


class InstanceChecker(FunctionChecker):
    """Makes instances in the body that it checks; `prefix` is the body's own control-plane name."""

    def __init__(self, state: State, scope: Scope, where: str, prefix: str) -> None:
        super().__init__(state, scope, where)
        self.prefix = prefix

    def inner(
        self, declaration: d.Control | d.Parser, name: str, arguments: Sequence[s.Argument], place: Place
    ) -> ir.Control | ir.Parser:
        """Check a control or parser as one instance of that name."""
        del name, arguments
        raise P4Error(f"an instance of {declaration.name} cannot be made here", place=place)

    def instantiate(self, node: s.Instantiation) -> None:
        """Make the instance that a declaration asks for, and add it to the scope."""
        if node.initialised:
            raise refuse("abstract methods", node.place)
        name = qualified(self.prefix, node.name, node.annotations)
        self.scope.declare(
            node.name, self.make(node.type, node.arguments, name, node.annotations, node.place), node.place
        )

    def make(
        self, kind: s.Type, arguments: Sequence[s.Argument], name: str, annotations: s.Annotations, place: Place
    ) -> ir.Instance | ir.Control | ir.Parser:
        """Make an instance of that control-plane name."""
        base = kind.base if isinstance(kind, s.SpecialisedType) else kind
        if not isinstance(base, s.TypeName):
            raise P4Error("there are no instances of this type", place=kind.place)
        entity = self.find(base.name, base.top, base.place)
        match entity:
            case d.Extern():
                if entity.type_parameters and not isinstance(kind, s.SpecialisedType):
                    shown = ", ".join(entity.type_parameters)
                    hint = f"Write {entity.name}<{shown}>(...)."
                    raise P4Error(f"{entity.name} needs type arguments", place=kind.place, hint=hint)
                given = kind.arguments if isinstance(kind, s.SpecialisedType) else ()
                kinds = self.type_arguments(entity, given, kind.place)
                return self._extern_object(entity, kinds, arguments, name, annotations, place)
            case d.Control() | d.Parser():
                if entity.type_parameters:
                    raise refuse("generic controls and parsers", kind.place)
                return self.inner(entity, name, arguments, place)
            case d.Package():
                raise P4Error("a package can only be instantiated at the top", place=place)
            case Named(type=ExternType(name=extern_name, arguments=kinds)):
                extern = self.scope.top.find(extern_name)
                assert isinstance(extern, d.Extern)
                return self._extern_object(extern, kinds, arguments, name, annotations, place)
            case Named():
                raise P4Error(
                    f"there are no instances of {base.name}", place=kind.place, hint="Declare a variable instead."
                )
        raise P4Error(f"{base.name} is {describe(entity)}, not a type", place=kind.place)

    def anonymous_instance(self, node: s.DirectApplication) -> ir.Control | ir.Parser:
        """Make the instance that `Type.apply(...)` asks for; it is named after its type."""
        base = node.type
        assert isinstance(base, s.TypeName | s.SpecialisedType)
        name = (base.base if isinstance(base, s.SpecialisedType) else base).name
        made = self.make(base, (), qualified(self.prefix, name, ()), (), node.place)
        if isinstance(made, ir.Instance):
            raise P4Error(f"{name} cannot be applied", place=node.place)
        return made

    def _extern_object(
        self,
        extern: d.Extern,
        kinds: tuple[Type, ...],
        arguments: Sequence[s.Argument],
        name: str,
        annotations: s.Annotations,
        place: Place,
    ) -> ir.Instance:
        if extern.name in REFUSED_EXTERNS:
            raise refuse(REFUSED_EXTERNS[extern.name], place, plural=not extern.name.startswith("Check"))
        if extern.name not in KNOWN_EXTERNS:
            raise refuse(f"the extern {extern.name}", place, "It is not part of v1model.", plural=False)
        if extern.name == "register" and not _kept(kinds[0]):
            hint = "Keep each field in a register of its own."
            raise refuse(f"a register of {kinds[0]}", place, hint, plural=False)
        constructors = [each for each in extern.methods if each.result is None]
        fitting = [each for each in constructors if len(each.parameters) == len(arguments)]
        if not fitting:
            wanted = " or ".join(str(len(each.parameters)) for each in constructors) or "no"
            raise P4Error(f"{extern.name} takes {wanted} arguments, not {len(arguments)}", place=place)
        inner = Scope(self.scope.top)
        for parameter, kind in zip(extern.type_parameters, kinds, strict=True):
            inner.declare(parameter, Named(kind), place)
        values: list[int | str] = []
        for formal, argument in zip(
            fitting[0].parameters, ordered(fitting[0].parameters, arguments, place), strict=True
        ):
            outer, self.scope = self.scope, inner
            wanted_type = self.type(formal.type)
            self.scope = outer
            node = argument.value if isinstance(argument, s.Argument) else argument
            assert node is not None
            value = self.constant(node, wanted_type, f"{extern.name}'s {formal.name}")
            if not isinstance(value, ir.Literal):
                raise P4Error(f"{extern.name}'s {formal.name} must be a number", place=node.place)
            values.append(value.value)
        instance = ir.Instance(name, extern.name, kinds, tuple(values), annotations_of(annotations), place)
        self.state.add(self.state.instances, name, instance, place)
        return instance

    # Parameters ------------------------------------------------------------------------------------------------------

    def declare_parameters(self, parameters: Sequence[d.Parameter], what: str) -> tuple[ir.Parameter, ...]:
        """Add a body's parameters to the scope; the packet, which needs no variable, is left out of the result."""
        made = []
        for node in parameters:
            kind = self.type(node.type)
            if isinstance(kind, ExternType):
                if kind.name not in ("packet_in", "packet_out"):
                    raise refuse("extern objects as parameters", node.place)
                self.scope.declare(node.name, Packet(kind.name), node.place)
                continue
            parameter = self.parameter(node, kind, what)
            if node.default is not None:
                self._default_value(node, parameter)
            made.append(parameter)
        return tuple(made)

    def parameter(self, node: d.Parameter, kind: Type, what: str) -> ir.Parameter:
        """Add one parameter to the scope."""
        direction = Direction(node.direction)
        if isinstance(kind, Integer):
            raise P4Error("a parameter needs a width, such as bit<32>", place=node.place)
        fixed = ""
        if direction is Direction.IN:
            fixed = f"{node.name} is an 'in' parameter and cannot be written"
        elif direction is Direction.NONE:
            fixed = f"{node.name} has no direction, so it cannot be written"
        variable = ir.Variable(node.name, kind, node.place)
        self.scope.declare(node.name, Local(variable, fixed, True), node.place)
        del what
        return ir.Parameter(variable, direction, annotations_of(node.annotations))

    def _default_value(self, node: d.Parameter, parameter: ir.Parameter) -> None:
        assert node.default is not None
        if parameter.direction in (Direction.OUT, Direction.INOUT):
            raise P4Error(f"{node.name} is written to, so it has no default value", place=node.default.place)
        value = self.constant(node.default, parameter.variable.type, f"the default of {node.name}")
        assert isinstance(value, ir.Literal | ir.StructValue)
        self.state.defaults[parameter.variable] = value

    def bind_constructor(self, parameters: Sequence[d.Parameter], values: Sequence[Entity]) -> None:
        """Add constructor parameters, whose values are known, to the scope."""
        for node, value in zip(parameters, values, strict=True):
            self.scope.declare(node.name, value, node.place)

    def constructor_values(
        self, declaration: d.Control | d.Parser, arguments: Sequence[s.Argument], place: Place
    ) -> list[Entity]:
        """Return what a control's or parser's constructor is given: constants, or instances made before."""
        wanted = len(declaration.constructor)
        if len(arguments) > wanted:
            raise P4Error(
                f"{declaration.name} takes {wanted or 'no'} constructor argument{'s' * (wanted != 1)}, "
                f"not {len(arguments)}",
                place=place,
            )
        values: list[Entity] = []
        for formal, argument in zip(
            declaration.constructor, ordered(declaration.constructor, arguments, place), strict=True
        ):
            node = argument.value if isinstance(argument, s.Argument) else argument
            assert node is not None
            if isinstance(node, s.Name):
                entity = self.find(node.name, node.top, node.place)
                if isinstance(entity, ir.Instance | ir.Control | ir.Parser):
                    values.append(entity)
                    continue
            if isinstance(node, s.Construct):
                values.append(self.make(node.type, node.arguments, qualified(self.prefix, formal.name, ()), (), place))
                continue
            outer, self.scope = self.scope, self.scope.top
            kind = self.type(formal.type)
            self.scope = outer
            values.append(Constant(self.constant(node, kind, f"{declaration.name}'s {formal.name}")))
        return values

"""Creates instances of extern objects, controls and parsers, each with its control-plane name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from midflight.errors import P4Error, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.annotated import evaluated
from midflight.p4.check.arguments import ordered
from midflight.p4.check.context import Context, Template, aside, refuse
from midflight.p4.check.controls import control
from midflight.p4.check.expressions import constant
from midflight.p4.check.functions import check_alone
from midflight.p4.check.limits import MOST
from midflight.p4.check.parameters import qualified
from midflight.p4.check.parsers import parser
from midflight.p4.check.scope import Constant, Entity, Named, Scope, describe
from midflight.p4.check.typing import type_arguments, type_of
from midflight.p4.types import Bits, EnumType, ExternType, Type
from midflight.stackless import Walk

__all__ = ["anonymous", "complete", "create", "instantiate", "part"]

REFUSED_EXTERNS = {
    "Checksum16": "the deprecated extern Checksum16",
}
KNOWN_EXTERNS = (
    "counter", "direct_counter", "meter", "direct_meter", "register", "action_profile", "action_selector",
)  # fmt: skip


def _kept(kind: Type) -> bool:
    """Return whether a register can hold values of a type."""
    return (isinstance(kind, Bits) and kind.width > 0) or (isinstance(kind, EnumType) and kind.underlying is not None)


def instantiate(ctx: Context, node: s.Instantiation) -> Walk[None]:
    """Create the instance of a declaration such as `counter(8, CounterType.packets) c;`, and add it to the scope.

    Raises P4Error in functions, for types that cannot be instantiated, for arguments that do not fit, for abstract
    methods without an implementation, and for a name that is taken. Refusals of a deprecated extern, of abstract
    methods, and of registers of other types than numbers are postponed (`State.postpone`).
    """
    if ctx.kind == "function":
        raise P4Error("a function cannot create an instance", place=node.place)
    name = qualified(ctx.name, node.name, node.annotations)
    made: ir.Instance | ir.Control | ir.Parser = yield _make(
        ctx, node.type, node.arguments, name, node.annotations, node.place
    )
    if isinstance(made, ir.Instance):
        yield _abstract_methods(ctx, node, made.kind)
    if node.body is not None:
        ctx.state.postpone(refuse("abstract methods", node.place))
    ctx.scope.declare(node.name, made, node.place)


def _abstract_methods(ctx: Context, node: s.Instantiation, kind: str) -> Walk[None]:
    """Check the methods in the body of an instantiation.

    Raises P4Error for one that the extern does not declare abstract, and for an abstract one without an implementation.
    """
    extern = ctx.scope.top.find(kind)
    methods = extern.methods if isinstance(extern, d.Extern) else ()
    missing = {each.name: None for each in methods if each.abstract}
    for each in node.body or ():
        if isinstance(each, d.Function):
            name = each.prototype.name
            if name not in (method.name for method in methods if method.abstract):
                raise P4Error(f"{kind} has no abstract method {name}", place=each.place)
            missing.pop(name, None)
            yield check_alone(ctx, each)
    for name in missing:
        raise P4Error(f"{node.name} does not implement the abstract method {name}", place=node.place)


def create(
    ctx: Context, node: s.Construct, name: str, annotations: s.Annotations
) -> Walk[ir.Instance | ir.Control | ir.Parser]:
    """Create the instance of `Type(arguments)` with the control-plane name `name`, and return it.

    P4Error for a type that cannot be instantiated or has abstract methods, for arguments that do not fit it, and for a
    name that is taken. Refusals of a deprecated extern, and of registers of other types than numbers, are postponed.
    """
    base = node.type.base if isinstance(node.type, s.SpecialisedType) else node.type
    extern = ctx.scope.find(base.name) if isinstance(base, s.TypeName) else None
    if isinstance(extern, d.Extern) and any(each.abstract for each in extern.methods):
        hint = "Declare an instance with their implementations."
        raise P4Error(f"{extern.name} has abstract methods", place=node.place, hint=hint)
    return _make(ctx, node.type, node.arguments, name, annotations, node.place)


def _make(
    ctx: Context, kind: s.Type, arguments: Sequence[s.Argument], name: str, annotations: s.Annotations, place: Place
) -> Walk[ir.Instance | ir.Control | ir.Parser]:
    """Create an instance with the control-plane name `name`."""
    base = kind.base if isinstance(kind, s.SpecialisedType) else kind
    if not isinstance(base, s.TypeName):
        raise P4Error("this type cannot be instantiated", place=kind.place)
    entity = ctx.scope.lookup(base.name, base.top, base.place)
    match entity:
        case d.Extern():
            if entity.type_parameters and not isinstance(kind, s.SpecialisedType):
                shown = ", ".join(entity.type_parameters)
                hint = f"Write {entity.name}<{shown}>(...)."
                raise P4Error(f"{entity.name} needs type arguments", place=kind.place, hint=hint)
            given = kind.arguments if isinstance(kind, s.SpecialisedType) else ()
            kinds: tuple[Type, ...] = yield type_arguments(ctx, entity, given, kind.place)
            instance: ir.Instance = yield _extern_object(ctx, entity, kinds, arguments, name, annotations, place)
            return instance
        case d.Control() | d.Parser():
            given = kind.arguments if isinstance(kind, s.SpecialisedType) else ()
            kinds = yield type_arguments(ctx, entity, given, kind.place)
            named = dict(zip(entity.type_parameters, kinds, strict=True))
            made: ir.Control | ir.Parser = yield part(ctx, entity, name, arguments, place, named)
            return made
        case d.Package():
            raise P4Error("a package can only be instantiated at the top level", place=place)
        case Named(type=ExternType(name=extern_name, arguments=kinds)):
            extern = ctx.scope.top.find(extern_name)
            assert isinstance(extern, d.Extern)
            instance = yield _extern_object(ctx, extern, kinds, arguments, name, annotations, place)
            return instance
        case Named():
            raise P4Error(f"{base.name} cannot be instantiated", place=kind.place, hint="Declare a variable instead.")
    raise P4Error(f"{base.name} is {describe(entity)}, not a type", place=kind.place)


def anonymous(ctx: Context, node: s.DirectApplication) -> Walk[ir.Control | ir.Parser]:
    """Create and return the instance for the statement `Type.apply(...)`, named after its type (P4_16, section 15.1).

    P4Error in a function, or if the type has no `apply`.
    """
    if ctx.kind == "function":
        raise P4Error("a function cannot create an instance", place=node.place)
    base = node.type
    assert isinstance(base, s.TypeName | s.SpecialisedType)
    name = (base.base if isinstance(base, s.SpecialisedType) else base).name
    made: ir.Instance | ir.Control | ir.Parser = yield _make(
        ctx, base, (), qualified(ctx.name, name, ()), (), node.place
    )
    if isinstance(made, ir.Instance):
        raise P4Error(f"{name} cannot be applied", place=node.place)
    return made


def _extern_object(
    ctx: Context,
    extern: d.Extern,
    kinds: tuple[Type, ...],
    arguments: Sequence[s.Argument],
    name: str,
    annotations: s.Annotations,
    place: Place,
) -> Walk[ir.Instance]:
    if extern.name in REFUSED_EXTERNS:
        ctx.state.postpone(refuse(REFUSED_EXTERNS[extern.name], place, plural=False))
    elif extern.name not in KNOWN_EXTERNS:
        ctx.state.use_foreign(extern.name, place)
    if extern.name == "register" and not _kept(kinds[0]):
        hint = "Use one register for each field."
        ctx.state.postpone(P4Error(f"a register holds numbers, not {kinds[0]}", place=place, hint=hint))
    constructors = [each for each in extern.methods if each.result is None]
    fitting = [each for each in constructors if len(each.parameters) == len(arguments)]
    if not fitting:
        wanted = " or ".join(str(len(each.parameters)) for each in constructors) or "no"
        raise P4Error(f"{extern.name} takes {wanted} arguments, not {len(arguments)}", place=place)
    inner = Scope(ctx.scope.top)
    for parameter, kind in zip(extern.type_parameters, kinds, strict=True):
        inner.declare(parameter, Named(kind), place)
    values: list[int | str] = []
    for formal, argument in zip(fitting[0].parameters, ordered(fitting[0].parameters, arguments, place), strict=True):
        outer, ctx.scope = ctx.scope, inner
        wanted_type: Type = yield type_of(ctx, formal.type)
        ctx.scope = outer
        node = argument.value if isinstance(argument, s.Argument) else argument
        assert node is not None
        value: ir.Expression = yield constant(ctx, node, wanted_type, f"{extern.name}'s {formal.name}")
        if not isinstance(value, ir.Literal):
            if extern.name not in KNOWN_EXTERNS:
                continue
            raise P4Error(f"{extern.name}'s {formal.name} must be a number", place=node.place)
        if formal.name == "size" and isinstance(value.value, int) and value.value > MOST:
            raise P4Error(f"a {extern.name} has at most {MOST} elements", place=node.place)
        values.append(value.value)
    known: dict[str, str] = yield evaluated(ctx, annotations)
    instance = ir.Instance(name, extern.name, kinds, tuple(values), known, place)
    ctx.state.add(ctx.state.instances, name, instance, place)
    return instance


def part(
    ctx: Context,
    declaration: d.Control | d.Parser,
    name: str,
    arguments: Sequence[s.Argument],
    place: Place,
    kinds: Mapping[str, Type],
) -> Walk[ir.Control | ir.Parser]:
    """Check one instance of a control or parser, with the control-plane name `name`, and return it.

    `arguments` are those of its constructor, and `kinds` its type arguments by the names of the parameters. P4Error if
    it cannot be created in this kind of body, or if it is invalid.
    """
    match ctx.kind, declaration:
        case "control", d.Parser():
            raise P4Error("a control cannot contain a parser", place=place)
        case "parser", d.Control():
            raise P4Error("a parser cannot contain a control", place=place)
        case "action" | "function", _:
            raise P4Error(f"an instance of {declaration.name} cannot be created here", place=place)
    ctx.state.copies.take(declaration, declaration.name, place)
    values: list[Entity] = yield _constructor_values(ctx, declaration, arguments, place, kinds)
    if not _objects_of(ctx, declaration):
        made: ir.Control | ir.Parser = yield _built(ctx, declaration, name, values, {}, kinds)
        return made
    draft: ir.Control | ir.Parser = yield _built(aside(ctx), declaration, name, values, {}, kinds)
    ctx.state.templates[id(draft)] = Template(draft, declaration, name, values, kinds)
    return draft


def complete(
    ctx: Context, template: Template, objects: dict[str, ir.Instance], place: Place
) -> Walk[ir.Control | ir.Parser]:
    """Return the instance of a template with the extern objects that `apply` passes, by the names of its parameters.

    Raises P4Error for other parameters, objects of another type, and a second application with other objects.
    """
    names = _objects_of(ctx, template.declaration)
    if sorted(objects) != sorted(names):
        raise P4Error(f"{template.name} takes the extern objects {', '.join(names)}", place=place)
    if template.made is None:
        template.objects = objects
        template.made = yield _built(ctx, template.declaration, template.name, template.values, objects, template.kinds)
    elif template.objects != objects:
        hint = f"Create another instance of {template.declaration.name} for them."
        raise refuse("an instance that is applied with different extern objects", place, hint, plural=False)
    assert template.made is not None
    return template.made


def _objects_of(ctx: Context, declaration: d.Control | d.Parser) -> list[str]:
    """Return the names of the parameters that are extern objects, other than the packet."""
    found = []
    for each in declaration.parameters:
        base = each.type.base if isinstance(each.type, s.SpecialisedType) else each.type
        if isinstance(base, s.TypeName) and base.name not in ("packet_in", "packet_out"):
            entity = ctx.scope.top.find(base.name)
            if isinstance(entity, d.Extern):
                found.append(each.name)
    return found


def _built(
    ctx: Context,
    declaration: d.Control | d.Parser,
    name: str,
    values: Sequence[Entity],
    objects: Mapping[str, ir.Instance],
    kinds: Mapping[str, Type],
) -> Walk[ir.Control | ir.Parser]:
    scope = _with_types(ctx, declaration, kinds)
    if isinstance(declaration, d.Parser):
        inner = Context(ctx.state, scope, "parser", name, in_parser=True, objects=objects)
        parser_made: ir.Parser = yield parser(inner, declaration, values)
        return parser_made
    inner = Context(ctx.state, scope, "control", name, objects=objects)
    control_made: ir.Control = yield control(inner, declaration, values)
    return control_made


def _with_types(ctx: Context, declaration: d.Control | d.Parser, kinds: Mapping[str, Type]) -> Scope:
    """Return the scope outside of all bodies, with the type arguments of a generic control or parser."""
    scope = Scope(ctx.scope.top)
    for name, kind in kinds.items():
        scope.declare(name, Named(kind), declaration.place)
    return scope


def _constructor_values(
    ctx: Context,
    declaration: d.Control | d.Parser,
    arguments: Sequence[s.Argument],
    place: Place,
    kinds: Mapping[str, Type],
) -> Walk[list[Entity]]:
    """Return the values of constructor parameters: constants, existing instances, or instances created for them."""
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
            entity = ctx.scope.lookup(node.name, node.top, node.place)
            if isinstance(entity, ir.Instance | ir.Control | ir.Parser):
                values.append(entity)
                continue
        if isinstance(node, s.Construct):
            made: ir.Instance | ir.Control | ir.Parser = yield create(
                ctx, node, qualified(ctx.name, formal.name, ()), ()
            )
            values.append(made)
            continue
        outer, ctx.scope = ctx.scope, _with_types(ctx, declaration, kinds)
        kind: Type = yield type_of(ctx, formal.type)
        ctx.scope = outer
        value: ir.Expression = yield constant(ctx, node, kind, f"{declaration.name}'s {formal.name}")
        values.append(Constant(value))
    return values

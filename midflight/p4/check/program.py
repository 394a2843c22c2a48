"""Checks whole programs: top-level declarations in order, then the six parts of V1Switch."""

from __future__ import annotations

from dataclasses import dataclass, field

from midflight.errors import P4Error, P4Warning, Place
from midflight.p4 import declarations as d
from midflight.p4 import ir
from midflight.p4 import syntax as s
from midflight.p4.check.annotated import evaluated
from midflight.p4.check.calls import call
from midflight.p4.check.context import Checks, Context, State, aside, refuse
from midflight.p4.check.controls import action
from midflight.p4.check.expressions import expression, value
from midflight.p4.check.functions import check_alone, inline
from midflight.p4.check.instances import anonymous, complete, create, instantiate, part
from midflight.p4.check.newtypes import new_type
from midflight.p4.check.packages import package
from midflight.p4.check.runnable import check_runnable
from midflight.p4.check.scope import Callables, Constant, Entity, MadePackage, Named, Scope, describe
from midflight.p4.check.signatures import check_signature
from midflight.p4.check.statements import declare_constant
from midflight.p4.check.structures import enumeration, structure
from midflight.p4.check.typing import type_of
from midflight.p4.check.unfinished import check_unfinished
from midflight.p4.types import StructType, Type
from midflight.stackless import Walk, run

__all__ = ["check_program"]

VERSIONS = (20180101, 20200408)
"""The versions of v1model."""

PARTS = ("parser", "verify", "ingress", "egress", "compute", "deparser")

PACKAGE_ANNOTATIONS = ("pkginfo", "platform_property")

CHECKS = Checks(expression, value, call, inline, instantiate, anonymous, structure, create, complete)


@dataclass(slots=True)
class _Top:
    """The top level of a program: its `main`, and the functions, controls and parsers that it defines."""

    ctx: Context
    main: s.Instantiation | None = None
    functions: list[d.Function] = field(default_factory=list)
    controls: list[d.Control | d.Parser] = field(default_factory=list)


def check_program(program: d.Program, source: str, *, runs: bool = True) -> ir.Program:
    """Check the syntax tree of a program and return the typed program; `source` is its text.

    Raises P4Error for the first error, with its place in the source. Parts of the program that `main` does not reach
    are checked as well, and then discarded, except that generic ones, those with constructor parameters and those that
    take an `int` are not checked. Without `runs`, refusals that were postponed and constructs that only
    `check_runnable` refuses are accepted.
    """
    return run(_program(_Top(Context(State(CHECKS), Scope(), "program")), program, source, runs))


def _program(top: _Top, program: d.Program, source: str, runs: bool) -> Walk[ir.Program]:
    ctx = top.ctx
    for node in program.declarations:
        yield _declaration(top, node)
    if top.main is None:
        yield _check_unused(top)
        own = [each for each in program.declarations if each.place.file == program.file]
        yield check_unfinished(ctx, own)
        last = own[-1].place if own else Place(program.file, 1, 1, 1, source.partition("\n")[0])
        hint = "End it with V1Switch(parser(), verify(), ingress(), egress(), compute(), deparser()) main;"
        raise P4Error("the program has no main", place=last, hint=hint)
    parts: dict[str, ir.Parser | ir.Control] = yield _parts(top, top.main)
    yield _check_unused(top)
    parser = parts["parser"]
    assert isinstance(parser, ir.Parser)
    controls = {name: part for name, part in parts.items() if isinstance(part, ir.Control)}
    headers, metadata, standard = (each.variable.type for each in parser.parameters)
    assert isinstance(headers, StructType)
    assert isinstance(standard, StructType)
    if runs:
        if ctx.state.postponed:
            raise ctx.state.postponed[0]
        check_runnable(parser, controls)
    annotations: dict[str, str] = yield evaluated(ctx, top.main.annotations, PACKAGE_ANNOTATIONS)
    tables = {name: each for name, each in ctx.state.tables.items() if name in ctx.state.applied}
    reached = ctx.state.reached | {each.action.name for table in tables.values() for each in table.actions}
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
        errors=tuple(ctx.state.errors),
        tables=tables,
        actions={name: each for name, each in ctx.state.actions.items() if each.name in reached},
        instances=ctx.state.instances,
        value_sets=ctx.state.value_sets,
        foreign=ctx.state.foreign,
        controller_headers=tuple(each for each in ctx.state.headers if each.controller),
        enums=tuple(ctx.state.enums),
        annotations=annotations,
        warnings=tuple(sorted(ctx.state.warnings, key=_position)),
    )


def _declaration(top: _Top, node: d.Declaration) -> Walk[None]:
    ctx, scope = top.ctx, top.ctx.scope
    check_signature(node)
    kind: Type
    match node:
        case s.Constant():
            yield declare_constant(ctx, node)
            if node.name == "__v1model_version":
                _check_version(ctx, node)
        case s.Instantiation():
            yield _instantiation(top, node)
        case d.Structure(type_parameters=()):
            kind = yield structure(ctx, node)
            scope.declare(node.name, Named(kind), node.place)
        case d.Structure():
            scope.declare(node.name, node, node.place)
        case d.Enumeration():
            kind = yield enumeration(ctx, node)
            scope.declare(node.name, Named(kind), node.place)
        case d.Typedef() | d.NewType():
            if isinstance(node.type, d.Structure):
                kind = yield structure(ctx, node.type)
            else:
                kind = yield type_of(ctx, node.type)
            if isinstance(node, d.NewType):
                kind = yield new_type(ctx, node, kind)
            scope.declare(node.name, Named(kind), node.place)
        case d.ErrorDeclaration(members=members):
            _members(members, ctx.state.errors, "error")
        case d.MatchKindDeclaration(members=members):
            _members(members, ctx.state.match_kinds, "match kind")
        case d.Function():
            _function(top, node)
        case d.Action():
            made: ir.Action = yield action(ctx, node)
            scope.declare(node.name, made, node.place)
        case d.Extern() | d.Package():
            scope.declare(node.name, node, node.place)
        case d.Control() | d.Parser():
            scope.declare(node.name, node, node.place)
            body = node.body if isinstance(node, d.Control) else node.states
            if body is not None:
                top.controls.append(node)
        case _:
            raise P4Error("this cannot be declared here", place=node.place)


def _check_version(ctx: Context, node: s.Constant) -> None:
    """Raise P4Error if V1MODEL_VERSION is none of the versions of v1model that p4c knows."""
    known = ctx.scope.find(node.name)
    value = known.value if isinstance(known, Constant) else None
    if isinstance(value, ir.Literal) and value.value not in VERSIONS:
        shown = " and ".join(map(str, VERSIONS))
        raise P4Error(f"there is no version {value.value} of v1model", place=node.place, hint=f"There are {shown}.")


def _members(members: tuple[s.Name, ...], known: dict[str, int], what: str) -> None:
    for each in members:
        if each.name in known:
            raise P4Error(f"the {what} {each.name} is declared twice", place=each.place)
        known[each.name] = len(known)


def _function(top: _Top, node: d.Function) -> None:
    name, scope = node.prototype.name, top.ctx.scope
    if node.body is not None:
        top.functions.append(node)
    known = scope.declared(name)
    if known is None or not isinstance(known[0], Callables):
        scope.declare(name, Callables([node]), node.place)
        return
    count = len(node.prototype.parameters)
    if any(len(each.prototype.parameters) == count for each in known[0].functions):
        hint = f"It was declared at {known[1]} first."
        raise P4Error(f"{name} with {count} parameters is declared twice", place=node.place, hint=hint)
    known[0].functions.append(node)


def _instantiation(top: _Top, node: s.Instantiation) -> Walk[None]:
    ctx = top.ctx
    base = node.type.base if isinstance(node.type, s.SpecialisedType) else node.type
    entity = ctx.scope.lookup(base.name, base.top, base.place) if isinstance(base, s.TypeName) else None
    match entity:
        case d.Package() if node.body is not None:
            raise P4Error("only an extern object can have methods in braces", place=node.place)
        case d.Package() if node.name == "main":
            top.main = node
        case d.Package():
            yield package(aside(ctx), entity, node.type, node.arguments, node.place)
            ctx.scope.declare(node.name, MadePackage(entity), node.place)
        case d.Control() | d.Parser():
            hint = "Create it where a package or another block uses it."
            raise P4Error(f"{describe(entity)} cannot be instantiated at the top level", place=node.place, hint=hint)
        case _:
            yield instantiate(ctx, node)


def _parts(top: _Top, main: s.Instantiation) -> Walk[dict[str, ir.Parser | ir.Control]]:
    """Return the parts of `main` by the names in PARTS."""
    base = main.type.base if isinstance(main.type, s.SpecialisedType) else main.type
    assert isinstance(base, s.TypeName)
    declaration = top.ctx.scope.find(base.name)
    assert isinstance(declaration, d.Package)
    made: list[Entity] = yield package(top.ctx, declaration, main.type, main.arguments, main.place)
    parts = {name: each for name, each in zip(PARTS, made, strict=False) if isinstance(each, ir.Parser | ir.Control)}
    if declaration.name != "V1Switch" or len(parts) != len(made) or len(parts) != len(PARTS):
        yield _check_unused(top)
        hint = "Midflight supports v1model."
        raise (
            top.ctx.state.postponed[0]
            if top.ctx.state.postponed
            else refuse(f"the architecture of {declaration.name}", main.place, hint, plural=False)
        )
    return parts


def _check_unused(top: _Top) -> Walk[None]:
    """Check the controls, parsers and functions that `main` does not reach, and discard the results.

    Generic ones, those with constructor parameters and those that take an `int` need arguments, and are left out.
    """
    state = top.ctx.state
    for node in top.controls:
        if node.name in state.used or node.constructor or node.type_parameters or _takes_int(node):
            continue
        yield part(aside(top.ctx), node, node.name, (), node.place, {})
    for function in top.functions:
        if not function.prototype.type_parameters and id(function) not in state.inlined:
            yield check_alone(top.ctx, function)


def _takes_int(node: d.Control | d.Parser) -> bool:
    """Return whether a parameter is an `int` without a width, whose values are known only to a user of the block."""
    types = [each.type for each in node.parameters]
    return any(isinstance(each, s.BaseType) and each.name == "int" and each.width is None for each in types)


def _position(warning: P4Warning) -> tuple[str, int, int]:
    return warning.place.file, warning.place.line, warning.place.column

"""Constructs that the switch cannot run although their types are right, refused with their place."""

from __future__ import annotations

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.calls import reached
from midflight.p4.nodes import within
from midflight.p4.types import (
    Bits,
    EnumType,
    HeaderType,
    StackType,
    StructType,
    TupleType,
    Type,
    UnionType,
    Varbit,
    width_of,
)

__all__ = ["check_runnable"]

ONLY_IN = {"resubmit_preserving_field_list": "ingress", "recirculate_preserving_field_list": "egress"}
CLONE_IN = {"I2E": "ingress", "E2E": "egress"}
ALGORITHM = {
    "hash": 1,
    "verify_checksum": 3,
    "update_checksum": 3,
    "verify_checksum_with_payload": 3,
    "update_checksum_with_payload": 3,
}
"""The position of each function's argument that names an algorithm."""


def check_runnable(parser: ir.Parser, controls: dict[str, ir.Control]) -> None:
    """Raise P4Error for the first construct of the program's parts that BMv2 and our switch do not run.

    A packet is resubmitted from ingress and recirculated from egress, and a clone's type names the stage of its call.
    Headers on the wire have whole bytes. A varbit is no part of a digest or of a message.
    """
    whole: set[int] = set()  # the identities of headers of whole bytes
    for state in parser.states.values():
        for node in within(*parser.locals, *state.body):
            _on_wire(node, whole)
            if isinstance(node, ir.Call) and node.instance is None:
                _call(node, "the parser")
    for stage, control in controls.items():
        for node in reached(control):
            _on_wire(node, whole)
            if isinstance(node, ir.Call) and node.instance is None:
                _call(node, stage)


def _call(call: ir.Call, stage: str) -> None:
    wanted, what = ONLY_IN.get(call.name, stage), call.name
    if call.name in ("clone", "clone_preserving_field_list"):
        kind = _member(call, 0, "type")
        wanted, what = CLONE_IN.get(kind, stage), f"{call.name} of CloneType.{kind}"
    if wanted != stage:
        raise P4Error(f"{what} can be called in {wanted} only, not in {stage}", place=call.place)
    if call.name in ALGORITHM:
        algorithm = _member(call, ALGORITHM[call.name], "algorithm")
        if call.name.endswith("_with_payload") and algorithm != "csum16":
            hint = "Use HashAlgorithm.csum16."
            raise P4Error(f"{call.name} by {algorithm} is not supported yet", place=call.place, hint=hint)
    if call.name in ("digest", "log_msg"):
        if any(_has(Varbit, each.type) for each in call.arguments):
            raise P4Error(f"{call.name} takes no varbit", place=call.place)
        if any(_has(Bits, each.type, 0) for each in call.arguments):
            raise P4Error(f"{call.name} takes no bit<0>", place=call.place)


def _member(call: ir.Call, position: int, what: str) -> str:
    """Return the member of an enum that an argument names. Raises P4Error where it is not known at compile time."""
    match call.arguments[position]:
        case ir.Literal(value=int() as number, type=EnumType(members=members)):
            return members[number]
    raise P4Error(f"the {what} of {call.name} must be known at compile time", place=call.place)


def _on_wire(node: ir.Node, whole: set[int]) -> None:
    """Raise P4Error for a header that is extracted, emitted or made valid, and does not have whole bytes."""
    match node:
        case ir.Extract(header=value) | ir.Emit(value=value) | ir.SetValidity(header=value):
            for header in _headers(value.type):
                if id(header) in whole:
                    continue
                whole.add(id(header))
                bits = _fixed(header)
                if bits % 8:
                    hint = "Its fields must add up to a multiple of 8 bits, as BMv2 requires."
                    raise P4Error(f"header {header} has {bits} bits", place=node.place, hint=hint)


def _headers(kind: Type) -> list[HeaderType]:
    match kind:
        case HeaderType():
            return [kind]
        case StackType(element=element):
            return _headers(element)
        case StructType(fields=fields) | UnionType(fields=fields):
            return [header for each in fields for header in _headers(each.type)]
    return []


def _fixed(kind: Type) -> int:
    """Return the bits of a header's fields without varbits."""
    if isinstance(kind, HeaderType | StructType):
        return sum(_fixed(each.type) for each in kind.fields)
    return 0 if isinstance(kind, Varbit) else width_of(kind)


def _has(part: type[Varbit | Bits], kind: Type, width: int | None = None) -> bool:
    """Return whether a type contains a `part`, of any width or of a certain one."""
    match kind:
        case HeaderType(fields=fields) | StructType(fields=fields):
            return any(_has(part, each.type, width) for each in fields)
        case TupleType(elements=elements):
            return any(_has(part, each, width) for each in elements)
        case StackType(element=element):
            return _has(part, element, width)
        case Varbit(width=own) | Bits(width=own):
            return isinstance(kind, part) and width in (None, own)
    return False

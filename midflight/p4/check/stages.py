"""Externs that belong to a stage of the switch: where v1model allows a call."""

from __future__ import annotations

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.calls import reached
from midflight.p4.types import EnumType

__all__ = ["check_stages"]

ONLY_IN = {"resubmit_preserving_field_list": "ingress", "recirculate_preserving_field_list": "egress"}
CLONE_IN = {"I2E": "ingress", "E2E": "egress"}


def check_stages(ingress: ir.Control, egress: ir.Control) -> None:
    """Raise P4Error for the first call that its stage does not allow, as p4c does.

    A packet is resubmitted from ingress and recirculated from egress, and a clone's type names the stage of its call.
    """
    for stage, control in (("ingress", ingress), ("egress", egress)):
        for node in reached(control):
            if isinstance(node, ir.Call) and node.instance is None:
                _check(node, stage)


def _check(call: ir.Call, stage: str) -> None:
    wanted, what = ONLY_IN.get(call.name, stage), call.name
    if call.name in ("clone", "clone_preserving_field_list"):
        match call.arguments[0]:
            case ir.Literal(value=int() as number, type=EnumType(members=members)):
                wanted = CLONE_IN.get(members[number], stage)
                what = f"{call.name} of CloneType.{members[number]}"
            case _:
                raise P4Error(f"the type of {call.name} must be known at compile time", place=call.place)
    if wanted != stage:
        raise P4Error(f"{what} can be called in {wanted} only, not in {stage}", place=call.place)

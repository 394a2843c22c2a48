"""Emits the six parts of a v1model program as native functions on one packet's state.

Each takes (context, state, packet, length, consumed): the block of `PacketState`, the packet as it arrived, its length,
and the number of bytes that the parser consumed (0 for the parser itself). Lengths are i32.
"""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir as ll

from midflight.p4 import ir
from midflight.p4.types import Type
from midflight.runtime.engine.code import I32, POINTER, Code, Place, Unit, Value
from midflight.runtime.engine.deparser import lower_deparser
from midflight.runtime.engine.noting import Event, note
from midflight.runtime.engine.parser import lower_parser
from midflight.runtime.engine.statements import run_frame
from midflight.stackless import run

__all__ = ["STAGE_ARGUMENTS", "Stages", "build_stages", "standard"]

STAGE_ARGUMENTS = [POINTER, POINTER, POINTER, I32, I32]


@dataclass(frozen=True, slots=True)
class Stages:
    """The native functions of a program's six parts.

    The parser returns the number of bytes consumed. The deparser, whose `packet` is the output, returns the number of
    bytes written. `verify` and `compute` are None if the program's control is empty.
    """

    parse: ll.Function
    verify: ll.Function | None
    ingress: ll.Function
    egress: ll.Function
    compute: ll.Function | None
    deparse: ll.Function


def build_stages(unit: Unit) -> Stages:
    """Build the functions of all six parts of the unit's program.

    Raises P4Error for a construct that is not supported.
    """
    program = unit.program
    return Stages(
        parse=_parse(unit),
        verify=_control(unit, "verify", program.verify) if program.verify.body.body else None,
        ingress=_control(unit, "ingress", program.ingress),
        egress=_control(unit, "egress", program.egress),
        compute=_control(unit, "compute", program.compute) if program.compute.body.body else None,
        deparse=_deparse(unit),
    )


def standard(code: Code, state: Value, name: str) -> Place | None:
    """Return the place of a field of the standard metadata in the packet state at `state`.

    Return None if the program's v1model does not have the field.
    """
    kind = code.unit.program.standard_metadata
    if kind.field(name) is None:
        return None
    return code.member(Place(code.at(state, code.unit.state.standard), kind), name)


def _start(unit: Unit, name: str, parameters: tuple[ir.Parameter, ...], result: ll.Type) -> Code:
    """Start the function of a stage. Its parameters are the first of headers, metadata and standard metadata."""
    function = unit.function(name, STAGE_ARGUMENTS, result)
    function.args[0].name = "context"
    code = Code(unit, function)
    state = code.function.args[1]
    offsets = (unit.state.headers, unit.state.metadata, unit.state.standard)
    for parameter, offset in zip(parameters, offsets, strict=False):
        kind: Type = parameter.variable.type
        code.variables[parameter.variable] = Place(code.at(state, offset), kind)
    return code


def _control(unit: Unit, name: str, control: ir.Control) -> ll.Function:
    code = _start(unit, name, control.parameters, ll.VoidType())
    end = code.exit = code.block("exit")
    _body(code, control, end)
    code.b.ret_void()
    return code.function


def _body(code: Code, control: ir.Control, end: ll.Block) -> None:
    run(run_frame(code, [], (*control.locals, control.body)))
    code.go(end)
    code.b.position_at_end(end)


def _parse(unit: Unit) -> ll.Function:
    code = _start(unit, "parse", unit.program.parser.parameters, I32)
    _, state, packet, length, _ = code.function.args
    consumed, error = lower_parser(code, unit.program.parser, packet, length)
    note(code, Event.PARSED, error)
    if (target := standard(code, state, "parser_error")) is not None:
        code.write(error, target)
    code.b.ret(consumed)
    return code.function


def _deparse(unit: Unit) -> ll.Function:
    code = _start(unit, "deparse", unit.program.deparser.parameters, I32)
    code.exit = code.block("exit")
    written = lower_deparser(code, unit.program.deparser, code.function.args[2])
    code.b.ret(written)
    code.b.position_at_end(code.exit)
    code.b.ret(code.i32(0))
    return code.function

"""Emits the code by which a switch answers a controller's requests to read or write an application's registers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import groupby

from midflight.primitives.emit.expressions import Printer, p4_type
from midflight.primitives.emit.writer import Writer
from midflight.primitives.kernel.register import Register

__all__ = ["arrays_of", "write_state_access"]


def arrays_of(name: str, register: Register) -> list[str]:
    """Return the P4 names of a register's arrays: `name` without lanes, or `name_0`, `name_1`, ... with lanes."""
    return [name] if register.lanes is None else [f"{name}_{lane}" for lane in range(register.lanes)]


def write_state_access(out: Writer, application: str, registers: Mapping[str, Register]) -> None:
    """Write the P4 that handles a controller's request for the state, at the start of an application's control.

    `registers` are the application's by name, in the order of their bits in a request. The kernel does not run for such
    a packet.
    """
    header = f"hdr.{application}_state"
    with out.block(f"if ({header}.isValid())"):
        numbered = [(number, name, register) for number, (name, register) in enumerate(registers.items())]
        for size, of_one_size in groupby(numbered, lambda each: each[2].size):
            group = list(of_one_size)
            with out.block(f"if (hdr.state.index < {size})"):
                with out.block("if (hdr.state.written == 0)"):
                    for _, name, register in group:
                        out.lines("\n".join(_read(header, name, register)))
                for number, name, register in group:
                    with out.block(f"if (hdr.state.written[{number}:{number}] == 1)"):
                        for array in arrays_of(name, register):
                            out.line(f"{array}.write(hdr.state.index, {header}.{array}{_flip(register)});")
        out.line("hdr.midflight.kind = STATE_DONE;")
        out.line("return;")
    out.line()


def _read(header: str, name: str, register: Register) -> Iterator[str]:
    for array in arrays_of(name, register):
        field = f"{header}.{array}"
        yield f"{array}.read({field}, hdr.state.index);"
        # As in kernels: BMv2 reads a negative number as a large one, and the cast restores the sign.
        kind = register.kind
        value = f"({p4_type(kind)})(bit<{kind.width}>){field}" if kind.signed else field
        if kind.signed or register.initial:
            yield f"{field} = {value}{_flip(register)};"


def _flip(register: Register) -> str:
    """Return the P4 suffix that converts a value to its stored form and back: the XOR with the initial value."""
    return f" ^ {Printer('', {}).operand(register.initial, register.kind)}" if register.initial else ""

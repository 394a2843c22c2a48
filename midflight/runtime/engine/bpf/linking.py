"""Links an object file to a BPF program that the kernel accepts: maps by file descriptor, and calls within the program.

LLVM refers to a map by an external symbol, and the functions of a program may be in any order. The kernel wants file
descriptors of maps in the instructions, and the main function first.

llvmlite has no assembler for BPF, so code cannot contain `may_goto`, the kernel's instruction that ends loops. Code
calls an external function instead, which linking replaces by instructions that return 1, or 0 once a loop must end.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from midflight.runtime.engine.bpf.codegen import CodegenError
from midflight.runtime.engine.bpf.elf import ObjectFile, Symbol

__all__ = ["AGAIN", "AGAIN_WITH", "Memory", "link"]

AGAIN, AGAIN_WITH = "midflight.again", "midflight.again.with"
"""The functions that linking replaces. The second one takes the address of a counter, which LLVM then cannot know."""

_LOAD_WIDE, _CALL, _EXIT, _LONG_JUMP = 0x18, 0x85, 0x95, 0x06
_JUMPS = (5, 6)
# r0 = 0; may_goto +1; r0 = 1
_MAY_GOTO = tuple(struct.pack("<BBhi", *each) for each in ((0xB7, 0, 0, 0), (0xE5, 0, 1, 0), (0xB7, 0, 0, 1)))
_MAP, _MAP_VALUE, _FUNCTION = 1, 2, 1


@dataclass(frozen=True, slots=True)
class Memory:
    """A map's file descriptor, for a symbol that stands for the map's memory rather than for the map itself."""

    map: int


def link(file: ObjectFile, main: str, maps: Mapping[str, int | Memory]) -> tuple[bytes, list[int]]:
    """Return (code, origins) of a BPF program: its instructions, and for each the offset in bytes in `file` it comes
    from.

    The function `main` comes first, followed by the functions that it calls. `maps` are the file descriptors of the
    maps by the symbols that stand for them, or `Memory` for a symbol that stands for a map's memory. ValueError for an
    unknown symbol or function, and CodegenError if a jump is too long for BPF.
    """
    targets = {each.offset // 8: each.symbol for each in file.relocations}
    functions = _called(file, main, targets)
    order = [at for each in functions for at in range(each.offset // 8, (each.offset + each.size) // 8)]
    moved: dict[int, int] = {}
    size = 0
    for at in order:
        moved[at] = size
        size += len(_MAY_GOTO) if _is_again(targets.get(at)) else 1
    code, origins = bytearray(), list[int]()
    wide = False
    for at in order:
        given = file.code[8 * at : 8 * at + 8]
        if wide:  # the second half of a wide load
            wide = False
            code += given
        elif _is_again(targets.get(at)):
            code += b"".join(_MAY_GOTO)
        else:
            wide = given[0] == _LOAD_WIDE
            code += _moved(given, at, moved, targets.get(at), maps)
        origins += [8 * at] * (len(code) // 8 - len(origins))
    return bytes(code), origins


def _called(file: ObjectFile, main: str, targets: Mapping[int, Symbol]) -> list[Symbol]:
    """Return the main function, and those that it calls, directly or not. The kernel takes no others."""
    by_offset = {each.offset // 8: each for each in file.functions}
    found = [each for each in file.functions if each.name == main]
    if not found:
        raise ValueError(f"no function {main}")
    for function in found:
        for at in range(function.offset // 8, (function.offset + function.size) // 8):
            operation, registers, _, number = struct.unpack_from("<BBhi", file.code, 8 * at)
            symbol = targets.get(at)
            if operation != _CALL or _is_again(symbol) or (symbol is None and registers >> 4 != _FUNCTION):
                continue
            first = at + 1 + number if symbol is None else symbol.offset // 8 + number + 1
            called = by_offset.get(first)
            if called is not None and called not in found:
                found.append(called)
    return found


def _is_again(symbol: Symbol | None) -> bool:
    return symbol is not None and symbol.name in (AGAIN, AGAIN_WITH)


def _moved(
    given: bytes, at: int, moved: Mapping[int, int], symbol: Symbol | None, maps: Mapping[str, int | Memory]
) -> bytes:
    """Return an instruction with its references to other instructions, or to a map, as they are in the program."""
    operation, registers, offset, number = struct.unpack("<BBhi", given)
    here = moved[at]
    if operation == _LOAD_WIDE and symbol is not None:
        if symbol.name not in maps:
            raise ValueError(f"no map {symbol.name}")
        target = maps[symbol.name]
        kind, file = (_MAP_VALUE, target.map) if isinstance(target, Memory) else (_MAP, target)
        return struct.pack("<BBhi", operation, registers & 15 | kind << 4, offset, file)
    if operation == _CALL:
        if symbol is not None:
            if not symbol.defined:
                raise ValueError(f"no function {symbol.name}")
            number = moved[symbol.offset // 8 + number + 1] - here - 1
            return struct.pack("<BBhi", operation, _FUNCTION << 4, 0, number)
        if registers >> 4 == _FUNCTION:
            return struct.pack("<BBhi", operation, registers, 0, moved[at + 1 + number] - here - 1)
        return given
    if operation & 7 in _JUMPS and operation != _EXIT:
        if operation == _LONG_JUMP:
            return struct.pack("<BBhi", operation, registers, offset, moved[at + 1 + number] - here - 1)
        distance = moved[at + 1 + offset] - here - 1
        if not -(1 << 15) <= distance < 1 << 15:
            raise CodegenError("the program is too long for BPF: a jump spans more than 32,767 instructions")
        return struct.pack("<BBhi", operation, registers, distance, number)
    return given

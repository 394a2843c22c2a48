"""Reads the ELF object files that LLVM writes for BPF: one section of code, its symbols and its relocations."""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = ["ObjectFile", "Relocation", "Symbol", "read_object"]

_SYMTAB, _REL = 2, 9


@dataclass(frozen=True, slots=True)
class Symbol:
    """A symbol: its name, offset and size in bytes, whether the section of code defines it, and if it is a function."""

    name: str
    offset: int
    size: int
    defined: bool
    function: bool


@dataclass(frozen=True, slots=True)
class Relocation:
    """An instruction, by its offset in bytes in the section of code, that refers to a symbol."""

    offset: int
    symbol: Symbol


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """The section of code of an object file, with its functions and relocations in ascending order of offsets.

    `others` are the contents of all other sections, by name.
    """

    code: bytes
    functions: tuple[Symbol, ...]
    relocations: tuple[Relocation, ...]
    others: dict[str, bytes]


def read_object(data: bytes, section: str) -> ObjectFile:
    """Return the section of code named `section` from the bytes of an object file, with its functions and relocations.

    Raises ValueError for anything but a 64-bit little-endian ELF file with that section. A damaged file may raise
    struct.error or IndexError.
    """
    if data[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF file")
    start, size, count, names = struct.unpack_from("<Q", data, 40) + struct.unpack_from("<HHH", data, 58)
    headers = [struct.unpack_from("<IIQQQQIIQQ", data, start + number * size) for number in range(count)]

    def contents(header: tuple[int, ...]) -> bytes:
        return data[header[4] : header[4] + header[5]]

    def text(table: bytes, offset: int) -> str:
        return table[offset : table.index(b"\0", offset)].decode()

    strings = contents(headers[names])
    titles = [text(strings, header[0]) for header in headers]
    if section not in titles:
        raise ValueError(f"no section {section}")
    code = titles.index(section)
    symbols: list[Symbol] = []
    relocations: list[Relocation] = []
    for header in headers:
        if header[1] == _SYMTAB:
            labels = contents(headers[header[6]])
            for name, info, _, where, value, length in struct.iter_unpack("<IBBHQQ", contents(header)):
                symbols.append(Symbol(text(labels, name), value, length, where == code, info & 15 == 2))
    for header in headers:
        if header[1] == _REL and header[7] == code:
            for offset, info in struct.iter_unpack("<QQ", contents(header)):
                relocations.append(Relocation(offset, symbols[info >> 32]))
    return ObjectFile(
        contents(headers[code]),
        tuple(sorted((each for each in symbols if each.function and each.defined), key=lambda each: each.offset)),
        tuple(sorted(relocations, key=lambda each: each.offset)),
        {title: contents(header) for title, header in zip(titles, headers, strict=True) if title != section},
    )

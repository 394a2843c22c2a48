"""Mutations of inputs: of bytes, of a text's tokens, of its lines, and of several inputs at once."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence

__all__ = ["mutated"]

_PIECES = re.compile(rb'\w+|"[^"\n]*"|\s+|.', re.DOTALL)
_NUMBERS = [b"0", b"1", b"-1", b"255", b"65536", b"4294967295", b"4294967296", b"99999999999999999999", b"0x7fffffff"]
_BYTES = [0x00, 0x01, 0x7F, 0x80, 0xFE, 0xFF, 0x0A, 0x20, 0x22, 0x28, 0x7B]
_LONGEST = 1 << 16


def mutated(data: bytes, others: Sequence[bytes], words: Sequence[bytes], draw: random.Random) -> bytes:
    """Return a changed copy of an input.

    `others` are inputs from which parts may be taken. `words` are the tokens of a language; without them the input is
    binary, and bytes are changed.
    """
    for _ in range(1 << draw.randrange(4)):
        by_tokens = words and draw.random() < 0.85
        data = _tokens(data, others, words, draw) if by_tokens else _bytes(data, others, draw)
    return data[:_LONGEST]


def _tokens(data: bytes, others: Sequence[bytes], words: Sequence[bytes], draw: random.Random) -> bytes:
    pieces = _PIECES.findall(data) or [b""]
    at, end = sorted((draw.randrange(len(pieces)), draw.randrange(len(pieces))))
    end = min(end, at + 30)
    match draw.randrange(9):
        case 0:
            pieces[at] = draw.choice(words)
        case 1:
            pieces[at] = draw.choice(_NUMBERS)
        case 2:
            pieces[at] = draw.choice(pieces)
        case 3:
            del pieces[at : end + 1]
        case 4:
            pieces[at:at] = pieces[at : end + 1] * draw.choice([1, 1, 2, 10])
        case 5:
            pieces[at], pieces[end] = pieces[end], pieces[at]
        case 6:
            pieces.insert(at, draw.choice(words))
        case 7:
            found = _PIECES.findall(draw.choice(others)) or [b""]
            start = draw.randrange(len(found))
            pieces[at:end] = found[start : start + draw.randrange(40)]
        case _:
            lines = data.split(b"\n")
            one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
            lines[one] = lines[other] if draw.random() < 0.5 else b""
            return b"\n".join(lines)
    return b"".join(pieces)


def _bytes(data: bytes, others: Sequence[bytes], draw: random.Random) -> bytes:
    changed = bytearray(data or b"\0")
    at = draw.randrange(len(changed))
    match draw.randrange(8):
        case 0:
            changed[at] ^= 1 << draw.randrange(8)
        case 1:
            changed[at] = draw.choice(_BYTES)
        case 2:
            del changed[at : at + draw.randrange(1, 9)]
        case 3:
            changed[at:at] = draw.randbytes(draw.randrange(1, 9))
        case 4:
            del changed[at:]
        case 5:
            size = draw.choice([2, 4])
            changed[at : at + size] = draw.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, draw.getrandbits(32)]).to_bytes(4)[
                -size:
            ]
        case 6:
            other = draw.choice(others)
            changed[at:] = other[draw.randrange(len(other) + 1) :]
        case _:
            changed[at:at] = changed[at : at + draw.randrange(1, 65)]
    return bytes(changed)

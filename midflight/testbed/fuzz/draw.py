"""Random choices of the generator, and the names and values that it has used."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import TypeVar

from midflight.testbed.fuzz.tree import Tree

__all__ = ["Draw", "width_of"]

T = TypeVar("T")

MOST_VALUES = 64


class Draw:
    """Random choices for one program, all from one seed: the same in every process.

    `values` are the literals that the program has, so that packets and entries can contain them.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(f"program {seed}")
        self._names = 0
        self.values: list[int] = [0, 1, 2, 3]

    def chance(self, probability: float) -> bool:
        """Return True with a probability between 0 and 1."""
        return self._random.random() < probability

    def pick(self, choices: Sequence[T]) -> T:
        """Return one of the choices."""
        return self._random.choice(choices)

    def between(self, least: int, most: int) -> int:
        """Return a whole number from `least` to `most`."""
        return self._random.randint(least, most)

    def some(self, choices: Sequence[T], most: int) -> list[T]:
        """Return at most `most` of the choices, in their order."""
        chosen = self._random.sample(range(len(choices)), min(len(choices), self.between(0, most)))
        return [choices[each] for each in sorted(chosen)]

    def name(self, prefix: str) -> str:
        """Return a name that the program does not have yet."""
        self._names += 1
        return f"{prefix}{self._names}"

    def value(self, width: int) -> int:
        """Return a number of `width` bits: often small or large, a power of two, or one that the program has."""
        full = (1 << width) - 1
        kind = self.between(0, 5)
        if kind == 0:
            return self.between(0, 3) & full
        if kind == 1:
            return full - (self.between(0, 1) & full)
        if kind == 2:
            return 1 << self.between(0, width - 1)
        if kind <= 4:
            return self.pick(self.values) & full
        return self._random.getrandbits(width)

    def octets(self, count: int) -> bytes:
        """Return `count` random bytes."""
        return self._random.randbytes(count)

    def literal(self, kind: str) -> Tree:
        """Return a literal of the type `bit<W>`, `int<W>` or `bool`."""
        if kind == "bool":
            return Tree(kind, (self.pick(("true", "false")),))
        width = width_of(kind)
        value = self.value(width)
        if len(self.values) < MOST_VALUES:
            self.values.append(value)
        if kind.startswith("bit"):
            text = f"{width}w{value}" if self.chance(0.7) else f"{width}w0x{value:x}"
            return Tree(kind, (text,))
        signed = value - (1 << width) if value >> (width - 1) else value
        if signed == -(1 << (width - 1)):
            signed += 1
        return Tree(kind, (f"{width}s{signed}" if signed >= 0 else f"(-{width}s{-signed})",))


def width_of(kind: str) -> int:
    """Return the width in bits of `bit<W>` or `int<W>`."""
    return int(kind[4:-1])

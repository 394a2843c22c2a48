"""Random parameters, header and state of a primitive, as text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from midflight.primitives import bit, int_
from midflight.primitives.kernel.types import Kind

__all__ = ["Array", "Draws", "Ground", "Place", "Question", "constant"]

WORDS = (
    "key",
    "action",
    "table",
    "apply",
    "header",
    "control",
    "parser",
    "select",
    "default",
    "entries",
    "exit",
    "void",
)
"""Keywords of P4, which may be names of fields."""
WIDTHS = (2, 3, 4, 5, 7, 8, 9, 12, 16, 17, 24, 31, 32, 33, 40, 48, 63, 64, 65, 96, 128)
ALWAYS = (bit[8], bit[16], bit[32], int_[32])


@dataclass(frozen=True, slots=True)
class Place:
    """A field of the header, or a lane of one."""

    text: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class Array:
    """A register's array, or a lane of one."""

    text: str
    kind: Kind
    size: int


@dataclass(frozen=True, slots=True)
class Question:
    """A map or a lookup: the types of its keys and of its values."""

    text: str
    keys: tuple[Kind, ...]
    kind: Kind


def constant(random: Random, kind: Kind) -> int:
    """Return a number of a kind, often a small one or one at the limits."""
    near = [each for each in (0, 1, 2, 3, 7) if kind.holds(each)]
    edges = [kind.high, kind.high - 1, kind.low, min(kind.low + 1, kind.high)]
    return random.choice([random.choice(near), random.choice(edges), random.randint(kind.low, kind.high)])


class Draws:
    """Base of all generators: random choices, and the lines written so far."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.lines: list[str] = []

    def pick(self, choices: Sequence[Any] | str) -> Any:
        """Draw one of the choices. In a text, they are separated by blanks."""
        return self.random.choice(choices.split() if isinstance(choices, str) else choices)

    def chance(self, one_in: int) -> bool:
        """Return True with a probability of 1 / `one_in`."""
        return self.random.randrange(one_in) == 0

    def line(self, indent: int, text: str) -> None:
        """Write a line."""
        self.lines.append("    " * indent + text)


@dataclass
class Ground(Draws):
    """Parameters, header and state of one primitive. `tag` makes its names unique."""

    random: Random
    tag: str
    base: Ground | None = None
    """The primitive that this one extends or holds, whose header is a part of this one's."""
    extends: bool = False
    for_bmv2: bool = False
    """Whether the primitive must run on BMv2: prefixes have whole bytes, and maps and alerts are reachable.

    p4c removes unreachable tables and digests, and then rejects the controller's requests for them.
    """
    lines: list[str] = field(default_factory=list)
    kinds: list[Kind] = field(default_factory=list)
    consts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    rows: list[tuple[str, Kind, int]] = field(default_factory=list)
    """Arrays of numbers in the header: the text, the kind and the length."""
    items: tuple[str, list[tuple[str, Kind]], int] | None = None
    """The items at the end, the fields of one, and the maximum number."""
    arrays: list[Array] = field(default_factory=list)
    lanes: list[tuple[str, Kind, int, int]] = field(default_factory=list)
    """Registers with lanes: the text, the kind, the size and the number of lanes."""
    maps: list[Question] = field(default_factory=list)
    lookups: list[Question] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.base is None:
            some = [self.pick((bit[1], *(each[self.pick(WIDTHS)] for each in (bit, int_)))) for _ in range(4)]
            self.kinds = list(dict.fromkeys((*ALWAYS, *some)))
        else:
            self.kinds, self.places, self.rows = self.base.kinds, list(self.base.places), list(self.base.rows)
            self.consts = dict(self.base.consts) if self.extends else {}

    def parameters(self, indent: int, given: tuple[int, ...] = ()) -> None:
        """Write the parameters. `given` are values that the first one may have instead of its default."""
        for name in ("one", "two", "much"):
            value = self.random.randint(-300, 1 << 20) if name == "much" else self.random.randint(0, 6)
            self.line(indent, f"{self.tag}_{name}: int = {value}")
            self.consts[f"self.{self.tag}_{name}"] = (value, *given)
            given = ()

    def headers(self, extends: str) -> list[str]:
        """Return the text of the headers: the nested ones, and `Wire`."""
        self.lines, tag = [], self.tag
        inner = [(f"{tag}p{number}", self.pick(self.kinds)) for number in range(2)]
        self.line(0, f"class {tag.title()}Inner(Header):")
        for name, kind in inner:
            self.line(1, f"{name} = {kind}")
        self.line(1, f"{tag}q = {self.kinds[-1]}.array(2)")
        self.line(0, f"class {tag.title()}Item(Header):")
        self.line(1, f"{tag}x = {self.kinds[0]}")
        self.line(1, f"{tag}y = {self.kinds[-2]}.array(2)")
        self.line(1, f"{tag}z = {tag.title()}Inner.struct()")
        self.line(0, f"class {tag.title()}Wire({extends}):")
        for number, kind in enumerate(self.kinds * (1 if self.base else 2)):
            name = self.random.choice(WORDS) if tag == "m" and self.chance(4) else f"{tag}f{number}"
            name = f"{tag}f{number}" if any(each.text == f"wire.{name}" for each in self.places) else name
            self.line(1, f"{name} = {kind}")
            self.places.append(Place(f"wire.{name}", kind))

        def inside(way: str) -> list[tuple[str, Kind]]:
            lanes = [(f"{way}.{tag}q[{lane}]", self.kinds[-1]) for lane in range(2)]
            return [*((f"{way}.{name}", kind) for name, kind in inner), *lanes]

        for number in range(self.pick((1, 2))):
            kind, count = self.pick(self.kinds), self.pick((1, 2, 3))
            self.line(1, f"{tag}v{number} = {kind}.array({count})")
            self.rows.append((f"wire.{tag}v{number}", kind, count))
            self.places += [Place(f"wire.{tag}v{number}[{lane}]", kind) for lane in range(count)]
        if self.chance(2):
            self.line(1, f"{tag}s = {tag.title()}Inner.struct()")
            self.places += [Place(*each) for each in inside(f"wire.{tag}s")]
        if self.chance(2):
            self.line(1, f"{tag}ss = {tag.title()}Inner.array(2)")
            for number in range(2):
                self.places += [Place(*each) for each in inside(f"wire.{tag}ss[{number}]")]
        if self.tag == "m" and self.chance(2):
            count = self.pick((1, 2, 3))
            self.line(1, f"{tag}n = {self.pick((bit[2], bit[8], bit[16]))}")
            self.line(1, f'{tag}items = {tag.title()}Item.array({count}, count="{tag}n")')
            fields = [(f".{tag}x", self.kinds[0]), *((f".{tag}y[{lane}]", self.kinds[-2]) for lane in range(2))]
            fields += inside(f".{tag}z")
            self.items = (f"wire.{tag}items", fields, count)
            self.places += [Place(f"wire.{tag}items[{at}]{name}", kind) for at in range(count) for name, kind in fields]
        return self.lines

    def setup(self, indent: int) -> None:
        """Write the body of `setup`."""
        tag = self.tag
        for number in range(3):
            kind, size = self.pick(self.kinds), self.pick((1, 5, 64, 200))
            name, initial = f"self.{tag}r{number}", self.pick((0, constant(self.random, kind)))
            self.line(indent, f"{name} = Register({kind}, {size}, initial={initial})")
            self.arrays.append(Array(name, kind, size))
        kind, size, count = self.pick(self.kinds), self.pick((3, 50)), self.pick((2, 3))
        initial = self.pick((0, constant(self.random, kind)))
        self.line(indent, f"self.{tag}rl = Register({kind}, {size}, lanes={count}, initial={initial})")
        self.lanes.append((f"self.{tag}rl", kind, size, count))
        self.arrays += [Array(f"self.{tag}rl[{lane}]", kind, size) for lane in range(count)]
        for number in range(2):
            self.map(indent, f"self.{tag}m{number}")
        kind, values = self.pick(self.kinds), self.pick((1, 4, 9))
        shown = ", ".join(str(constant(self.random, kind)) for _ in range(values))
        self.line(indent, f"self.{tag}log = Lookup({kind}, ({shown},), default={constant(self.random, kind)})")
        self.lookups.append(Question(f"self.{tag}log", (), kind))

    def map(self, indent: int, name: str) -> None:
        """Write a map with a few entries and random kinds of keys."""
        unsigned = [each for each in self.kinds if not each.signed and each.width <= 64]
        keys = tuple(self.pick(unsigned) for _ in range(self.pick((1, 1, 2, 3))))
        kind = self.pick(self.kinds)
        first = self.pick("exact lpm ternary range" if keys[0].width % 8 == 0 or not self.for_bmv2 else "exact ternary")
        match = tuple(first if number == 0 else self.pick("exact ternary range") for number in range(len(keys)))
        listed = ", ".join(map(str, keys)) + "," * (len(keys) == 1)
        self.line(indent, f"{name} = Map(({listed}), {kind}, size=8, match={match!r})")
        for number in range(self.pick((1, 3, 4))):
            parts = []
            for key, how in zip(keys, match, strict=True):
                value = constant(self.random, key)
                more = {
                    "lpm": self.random.randint(0, key.width),
                    "ternary": self.pick((0, key.high, constant(self.random, key))),
                    "range": self.random.randint(value, key.high),
                }.get(how)
                parts.append(value if more is None else (value, more))
            key_text = repr(parts[0] if len(parts) == 1 else tuple(parts))
            ranked = f", priority={number + 1}" if {"ternary", "range"} & {*match} else ""
            self.line(indent, f"{name}.insert({key_text}, {constant(self.random, kind)}{ranked})")
        self.maps.append(Question(name, keys, kind))

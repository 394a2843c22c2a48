"""Equivalent forms of a kernel, with `return`, `else` or `match`: they have the same results, and the same stages."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import pytest

from midflight.p4.frontend import check
from midflight.primitives import PROFILES, Program
from midflight.primitives.wire import REQUEST, Message
from midflight.runtime.footprint import footprint
from tests.primitives.test_mistakes import lesson

HEAD = """\
from midflight.primitives import *


class Lesson(Primitive):
    class Wire(Header):
        kind = bit[8]
        more = bit[8]
        value = bit[32]

    def setup(self):
        self.a = Register(bit[32], 4)
        self.b = Register(bit[32], 4)
        self.c = Register(bit[32], 4)

    def ingress(self, packet, wire):
"""


@dataclass(frozen=True)
class Lines:
    """Lines of a kernel without a return."""

    text: tuple[str, ...]
    then: Kernel


@dataclass(frozen=True)
class Branch:
    """Two paths to the end."""

    number: int
    subject: str
    yes: Kernel
    no: Kernel


@dataclass(frozen=True)
class Partly:
    """If `outer` holds, one path ends, and the other continues with `on` and then with the common rest."""

    outer: str
    inner: str
    end: Kernel
    on: tuple[str, ...]
    then: Kernel


Kernel = Lines | Branch | Partly | None


def drawn(random: Random, depth: int, free: frozenset[str], known: tuple[str, ...]) -> Kernel:
    """Draw a kernel that accesses each register at most once on each path."""
    if depth == 0:
        return None
    shape = random.choice(("lines", "lines", "lines", "branch", "partly"))
    subject = random.choice(("wire.kind", "wire.more", *known))
    number = random.randrange(3)
    if shape == "branch":
        return Branch(number, subject, drawn(random, depth - 1, free, known), drawn(random, depth - 1, free, known))
    if shape == "partly" and known:
        inner = f"{random.choice(known)} == {number}"
        return Partly(
            f"{subject} == {number}",
            inner,
            drawn(random, 1, free, known),
            (f"wire.more = {number}",),
            drawn(random, depth - 1, free, known),
        )
    name = random.choice(sorted(free)) if free else ""
    if not name:
        return Lines((f"wire.value = {random.choice(('wire.value', *known))}",), drawn(random, depth - 1, free, known))
    if random.random() < 0.6:
        text, more = f"{name} = self.{name}.read(0)", (*known, name)
    else:
        text, more = f"self.{name}.write(0, {random.choice(('wire.value', *known))})", known
    return Lines((text,), drawn(random, depth - 1, free - {name}, more))


def body(lines: list[str]) -> list[str]:
    return [f"    {each}" for each in lines or ["pass"]]


def nested(kernel: Kernel) -> list[str]:
    """Return the form without `return`: the code after a branch that ends is in the other branch."""
    match kernel:
        case None:
            return []
        case Lines(text, then):
            return [*text, *nested(then)]
        case Branch(number, subject, yes, no):
            return [f"if {subject} == {number}:", *body(nested(yes)), "else:", *body(nested(no))]
        case Partly(outer, inner, end, on, then):
            inside = [f"if {inner}:", *body(nested(end)), "else:", *body([*on, *nested(then)])]
            return [f"if {outer}:", *body(inside), "else:", *body(nested(then))]


def early(kernel: Kernel) -> list[str]:
    """Return the form with early `return`s wherever possible."""
    match kernel:
        case None:
            return []
        case Lines(text, then):
            return [*text, *early(then)]
        case Branch(number, subject, yes, no):
            return [f"if {subject} == {number}:", *body([*early(yes), *returned(yes)]), *early(no)]
        case Partly(outer, inner, end, on, then):
            inside = [f"if {inner}:", *body([*early(end), *returned(end)]), *on]
            return [f"if {outer}:", *body(inside), *early(then)]


def returned(kernel: Kernel) -> list[str]:
    """Return a `return` statement, unless the kernel ends in one on all paths."""
    return ["return"]


def turned(kernel: Kernel) -> list[str]:
    """Return the form with inverted branches, and with `match` for comparisons."""
    match kernel:
        case None:
            return []
        case Lines(text, then):
            return [*text, *turned(then)]
        case Branch(number, subject, yes, no):
            return [f"if {subject} != {number}:", *body([*turned(no), "return"]), *turned(yes)]
        case Partly(outer, inner, end, on, then):
            inside = [f"if not ({inner}):", *body(list(on)), "else:", *body([*turned(end), "return"])]
            return [f"if {outer}:", *body(inside), *turned(then)]


def matched(kernel: Kernel) -> list[str]:
    """Return the form with each branch as a `match`."""
    match kernel:
        case None:
            return []
        case Lines(text, then):
            return [*text, *matched(then)]
        case Branch(number, subject, yes, no):
            cases = [f"case {number}:", *body([*matched(yes), "return"]), "case _:", *body([])]
            return [f"match {subject}:", *body(cases), *matched(no)]
        case Partly():
            return early(kernel)


SPELLINGS: tuple[Callable[[Kernel], list[str]], ...] = (nested, early, turned, matched)


def spelled(seed: int) -> list[Program]:
    random = Random(seed)
    kernel = drawn(random, 6, frozenset("ab"), ())
    if seed % 3 == 0:  # two orders of two arrays, so that some kernels are rejected
        one = Lines(("a = self.a.read(0)",), drawn(random, 4, frozenset("b"), ("a",)))
        kernel = Branch(0, "wire.kind", one, Lines(("b = self.b.read(0)",), drawn(random, 4, frozenset("a"), ("b",))))
    made = []
    for number, spell in enumerate(SPELLINGS):
        name = f"spelled_{seed}_{number}"
        text = textwrap.dedent("\n".join(spell(kernel) or ["pass"]))
        # A return at the end of the kernel, or after one, has no effect.
        made.append(Program(lesson(name, _tidy(text), HEAD)("lesson")))
    return made


def _tidy(text: str) -> str:
    lines = text.split("\n")
    kept: list[str] = []
    for line in lines:
        if line.strip() == "return" and kept and kept[-1] == line:
            continue
        kept.append(line)
    return "\n".join(kept)


@pytest.mark.parametrize("first", range(0, 100, 20))
def test_equivalent_kernels_get_the_same_verdict(first: int) -> None:
    for seed in range(first, first + 20):
        verdicts = [bool(each.check("asic")) for each in spelled(seed)]
        assert len({*verdicts}) == 1, (seed, verdicts)


@pytest.mark.parametrize("first", range(0, 20, 10))
def test_equivalent_kernels_need_the_same_stages(first: int) -> None:
    for seed in range(first, first + 10):
        demands = [footprint(check(each.p4(), "spelled.p4")).total for each in spelled(seed)]
        assert len({bool(each.circles) for each in demands}) == 1, seed
        if not demands[0].circles:
            assert len({each.stages_on({}) for each in demands}) == 1, (seed, [each.stages_on({}) for each in demands])


def test_some_random_kernels_are_rejected_and_some_accepted() -> None:
    verdicts = [bool(spelled(seed)[0].check(PROFILES["asic"])) for seed in range(100)]
    assert 3 < sum(verdicts) < 97


def test_equivalent_kernels_give_the_same_results() -> None:
    for seed in range(20):
        references = [each.applications["lesson"].primitive.reference() for each in spelled(seed)]
        random = Random(seed)
        for number in range(20):
            fields = {"kind": random.randrange(3), "more": random.randrange(3), "value": random.randrange(4)}
            outcomes = [each.process(Message(REQUEST, "lesson", number, fields)) for each in references]
            assert all(each == outcomes[0] for each in outcomes), seed

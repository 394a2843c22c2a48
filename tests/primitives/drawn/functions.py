"""Random functions and complete kernels."""

from __future__ import annotations

from random import Random

from midflight.primitives.kernel.types import Kind
from tests.primitives.drawn.ground import Ground
from tests.primitives.drawn.numbers import Helper
from tests.primitives.drawn.scope import Scope
from tests.primitives.drawn.statements import COMPUTE, Statements

__all__ = ["BUMP", "computing", "kernel", "method", "writing"]

BUMP = """\
def bump(register, index, by=1):
    return register.update_fetch(index, lambda old: old + by)
"""


def _begin(random: Random, ground: Ground, name: str, owner: str = "") -> tuple[Statements, Helper]:
    """Write the first line of a helper. Return the generator of its body, and the helper."""
    draw = Statements(random, ground, timed=False)
    draw.lookups = draw.whole = False
    takes = tuple(draw.pick(ground.kinds) for _ in range(draw.pick((1, 2))))
    constants = draw.pick(((), (0, 1, 2)))
    arguments = [*owner.split(), "packet", "wire", *(f"x{number}" for number in range(len(takes)))]
    draw.line(1 if owner else 0, f"def {name}({', '.join([*arguments, 'x9=2'] if constants else arguments)}):")
    draw.scope = Scope({f"x{number}": kind for number, kind in enumerate(takes)})
    if constants:
        draw.scope.consts["x9"] = (*constants, 2)
    helper = Helper(f"self.{name}" if owner else name, draw.pick(ground.kinds), takes, constants)
    return draw, helper


def computing(random: Random, ground: Ground, name: str) -> tuple[list[str], Helper]:
    """Return the text of a function that only computes."""
    draw, helper = _begin(random, ground, name)
    assert helper.kind is not None
    _ending(draw, 1, helper.kind, COMPUTE)
    return draw.lines, helper


def _ending(draw: Statements, indent: int, kind: Kind, what: str) -> None:
    """Write a function's body, which returns a value on every path."""
    draw.body(indent, draw.pick((0, 0, 1, 2)), 1, what)
    match draw.pick("line choice sides match"):
        case "choice":
            draw.line(indent, f"if {draw.condition(1)}:")
            outside, draw.scope = draw.scope, draw.scope.copy()
            draw.body(indent + 1, draw.pick((0, 1)), 0, what)
            draw.line(indent + 1, f"return {draw.number(kind, 2)}")
            draw.scope = outside
            draw.body(indent, draw.pick((0, 1)), 1, what)
        case "sides":
            outside = draw.scope
            for word in (f"if {draw.condition(1)}:", "else:"):
                draw.line(indent, word)
                draw.scope = outside.copy()
                draw.body(indent + 1, draw.pick((0, 1)), 0, what)
                draw.line(indent + 1, f"return {draw.number(kind, 2)}")
            return
        case "match" if subjects := [(name, each) for name, each in draw.scope.known.items() if each]:
            subject, of = draw.pick(subjects)
            draw.line(indent, f"match {subject}:")
            draw.line(indent + 1, f"case {of.high} | {of.low}:")
            draw.line(indent + 2, f"return {draw.number(kind, 1)}")
            draw.line(indent + 1, f"case _ if {draw.condition(1)}:")
            draw.line(indent + 2, f"{subject} = {draw.number(of, 1)}")
    draw.line(indent, f"return {draw.number(kind, 2)}")


def writing(random: Random, ground: Ground, name: str) -> tuple[list[str], Helper]:
    """Return the text of a function that changes the header and returns a value."""
    draw, helper = _begin(random, ground, name)
    draw.whole = True
    assert helper.kind is not None
    draw.body(1, draw.pick((1, 2)), 1, "field aug verdict mirror local if match loop")
    _ending(draw, 1, helper.kind, "field local if")
    return draw.lines, helper


def method(random: Random, ground: Ground, name: str) -> tuple[list[str], Helper]:
    """Return the text of a method that accesses state, with a value or without."""
    draw, helper = _begin(random, ground, name, "self")
    draw.whole = draw.lookups = True
    free = {each.text for each in ground.arrays if "[" not in each.text}
    draw.scope.free = {draw.pick(sorted(free)) for _ in range(2)}
    uses = frozenset(draw.scope.free)
    draw.scope.consts |= ground.consts
    what = "field local if access verdict mirror lookup"
    if draw.chance(2):
        assert helper.kind is not None
        draw.body(2, draw.pick((1, 2)), 1, what)
        draw.line(2, f"return {draw.number(helper.kind, 2)}")
        return draw.lines, Helper(helper.name, helper.kind, helper.takes, helper.constants, uses)
    draw.body(2, draw.pick((2, 3)), 1, what)
    return draw.lines, Helper(helper.name, None, helper.takes, helper.constants, uses)


def kernel(draw: Statements, size: int, first: str = "") -> list[str]:
    """Return the text of `ingress`."""
    ground, draw.lines = draw.ground, []
    draw.scope = Scope({}, dict(ground.consts), {each.text for each in ground.arrays}, set())
    draw.scope.free |= {f"map {each.text}" for each in ground.maps} | {*draw.inner}
    draw.line(1, "def ingress(self, packet, wire):")
    if first:
        draw.line(2, first)
    draw.body(2, size, 2)
    return draw.lines

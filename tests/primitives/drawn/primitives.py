"""Random primitives as the text of a file, and the primitive of such a text."""

from __future__ import annotations

import itertools
import linecache
from collections.abc import Mapping
from random import Random
from typing import Any

from midflight.primitives import Primitive
from tests.primitives.drawn.functions import BUMP, computing, kernel, method, writing
from tests.primitives.drawn.ground import Ground
from tests.primitives.drawn.statements import Statements

__all__ = ["made", "primitive_text"]

_numbers = itertools.count()


def primitive_text(random: Random, *, timed: bool = True, rounds: bool = True) -> str:
    """Return the text of a file with a primitive, `Drawn`.

    timed: whether it may use time and random numbers, which are known only for the embedded switch; rounds: whether it
    may recirculate packets.
    """
    lines = ["from midflight.primitives import *", BUMP]
    how = random.choice(("alone", "alone", "holds", "extends"))
    ground, setup, inner = Ground(random, "m", for_bmv2=not timed), list[str](), list[str]()
    alerts = tuple(random.choice(ground.kinds) for _ in range(random.choice((1, 2))))
    allowed: dict[str, Any] = {"alerts": alerts, "timed": timed, "rounds": rounds}
    extends, header = "Primitive", "Header"
    if how != "alone":
        held, ground.tag = ground, "h"
        given = tuple(random.randint(0, 6) for _ in range(2 * (how == "holds")))
        lines += _class(held, "Held", "Primitive", "Header", [], (), allowed, given)
        allowed["inside"] = any("packet.alert(" in each for each in lines)
        ground, header = Ground(random, "m", held, extends=how == "extends", for_bmv2=not timed), "HWire"
    if how == "holds":
        for name, value in zip(("left", "right"), given[: random.choice((1, 2))], strict=False):
            setup.append(f'self.{name} = Held("{name}", h_one={value})')
            inner.append(f"self.{name}.ingress(packet, wire)")
    elif how == "extends":
        extends = "Held"
        setup.append("super().setup()")
        inner.append("super().ingress(packet, wire)")
    return "\n".join([*lines, *_class(ground, "Drawn", extends, header, setup, tuple(inner), allowed)]) + "\n"


def _class(
    ground: Ground,
    name: str,
    extends: str,
    header: str,
    setup: list[str],
    inner: tuple[str, ...],
    allowed: Mapping[str, Any],
    given: tuple[int, ...] = (),
) -> list[str]:
    """Return the text of a primitive's class, after its headers and helpers. A nested primitive is small."""
    random, tag, small = ground.random, ground.tag, name == "Held"
    lines = ground.headers(header)
    ground.lines = []
    ground.parameters(1, given)
    ground.lines += [f"    Wire = {tag.title()}Wire", "    def setup(self):", *(f"        {each}" for each in setup)]
    ground.setup(2)
    functions = [computing(random, ground, f"{tag}help{number}") for number in range(1 if small else 3)]
    writers = [] if small else [writing(random, ground, f"{tag}write")]
    methods = [method(random, ground, f"{tag}note")]
    draw = Statements(random, ground, allowed["timed"])
    draw.helpers = [helper for _, helper in functions]
    draw.writers = tuple(helper for _, helper in writers)
    draw.methods = tuple(helper for _, helper in methods)
    draw.inner, draw.inner_alerts = inner, allowed.get("inside", False)
    draw.alerts, draw.rounds = allowed["alerts"], allowed["rounds"]
    draw.returns, draw.returns_from_loops = True, not small
    for text, _ in (*functions, *writers):
        lines += text
    lines += [f"class {name}({extends}):", *ground.lines]
    for text, _ in methods:
        lines += text
    first = random.choice(("", f"packet.{random.choice(('forward', 'reply', 'multicast'))}()"))
    return [*lines, *kernel(draw, random.randint(2, 5) if small else random.randint(4, 14), first)]


def made(text: str, name: str) -> Primitive:
    """Return the primitive of a text, as if from a file."""
    file = f"<drawn {next(_numbers)}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    scope: dict[str, Any] = {"__name__": "drawn"}
    exec(compile(text, file, "exec", dont_inherit=True), scope)
    primitive = scope["Drawn"](name)
    assert isinstance(primitive, Primitive)
    return primitive

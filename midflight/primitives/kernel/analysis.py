"""Compiles a kernel from the source of `ingress` to its typed form and checks every rule of the language."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from midflight.errors import KernelErrors
from midflight.primitives.kernel.context import Context, Rules
from midflight.primitives.kernel.expressions import value
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.frame import frame_of
from midflight.primitives.kernel.header import Layout
from midflight.primitives.kernel.state import State
from midflight.primitives.kernel.statements import block
from midflight.primitives.kernel.typed import Kernel
from midflight.primitives.kernel.values import PACKET, WIRE
from midflight.stackless import run

__all__ = ["analyse"]


def analyse(function: Callable[..., Any], instance: object, layout: Layout, state: Mapping[str, State]) -> Kernel:
    """Check a kernel function against the rules of the language, and return its typed form.

    `function` is the plain function `ingress(self, packet, wire)`, `instance` the primitive that stands for `self`,
    `layout` its header, and `state` its registers and tables by name. All mistakes are collected: raises KernelError
    with the place and a hint for one mistake, KernelErrors for several.
    """
    frame = frame_of(function, instance)
    source, node = frame.source, frame.node
    names = [each.arg for each in node.args.args]
    if len(names) != 3 or frame.parameters != names or node.args.vararg or node.args.kwarg:
        raise source.error(node, "a kernel takes self, packet and wire", "write `def ingress(self, packet, wire):`")
    frame.fixed.update(names)
    code = Context(frame, layout, state, Rules(value, block))
    for name, thing in zip(names, (instance, PACKET, WIRE), strict=True):
        code.scope.names[name] = Known(thing)
    statements = run(code.block(node.body))
    if len(code.errors) > 1:
        raise KernelErrors(code.errors)
    if code.errors:
        raise code.errors[0]
    return Kernel(
        source.file,
        source.line(node),
        statements,
        code.variables.kinds,
        code.facts.alert,
        timed=code.facts.timed,
        tables=tuple(code.names.searched),
        verdicts=frozenset(code.facts.verdicts),
        rounds=code.facts.rounds,
        mirrors=code.facts.mirrors,
    )

"""The analysis of a kernel: from the source of `ingress` to the typed form, every rule of the language checked.

The rules are in a chain of classes: `Body`, `Accesses`, `Searches`, `Outputs`, `Statements`, `Pure`, `Helpers`; those
of expressions in `Values`, `Operators`, `Functions`, `Calls`, `Expressions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.frame import frame_of
from midflight.primitives.kernel.header import Layout
from midflight.primitives.kernel.helpers import Helpers
from midflight.primitives.kernel.state import State
from midflight.primitives.kernel.typed import Kernel
from midflight.primitives.kernel.values import PACKET, WIRE

__all__ = ["analyse"]


def analyse(function: Callable[..., Any], instance: object, layout: Layout, state: Mapping[str, State]) -> Kernel:
    """Check a kernel function, bound to an instance of its primitive, and return its typed form.

    Raises KernelError with the place and what to write instead.
    """
    frame = frame_of(function, instance)
    source, node = frame.source, frame.node
    names = [each.arg for each in node.args.args]
    if len(names) != 3 or frame.parameters != names or node.args.vararg or node.args.kwarg:
        raise source.error(node, "a kernel takes self, packet and wire", "write `def ingress(self, packet, wire):`")
    frame.fixed.update(names)
    body = Helpers(frame, layout, state)
    for name, value in zip(names, (instance, PACKET, WIRE), strict=True):
        body.scope.names[name] = Known(value)
    statements = body.block(node.body)
    return Kernel(
        source.file,
        source.line(node),
        statements,
        body.locals,
        body.alert,
        timed=body.expressions.timed,
        tables=tuple(body.searched),
        verdicts=frozenset(body.verdicts),
        rounds=body.expressions.rounds,
        mirrors=body.mirrors,
    )

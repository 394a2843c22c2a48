"""The analysis of a kernel: from the source of `ingress` to the typed form, every rule of the language checked.

The rules are in a chain of classes: `Body`, `Accesses`, `Searches`, `Outputs`, `Statements`; those of expressions in
`Values`, `Operators`, `Calls`, `Expressions`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from midflight.primitives.kernel.header import Layout
from midflight.primitives.kernel.source import source_of
from midflight.primitives.kernel.state import State
from midflight.primitives.kernel.statements import Statements
from midflight.primitives.kernel.typed import Kernel

__all__ = ["analyse"]


def analyse(function: Callable[..., Any], instance: object, layout: Layout, state: Mapping[str, State]) -> Kernel:
    """Check a kernel function, bound to an instance of its primitive, and return its typed form.

    Raises KernelError with the place and what to write instead.
    """
    source, node = source_of(function)
    body = Statements(source, node, function, instance, layout, state)
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

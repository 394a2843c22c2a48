"""Traversal of the typed program's statements and expressions, without recursion."""

from __future__ import annotations

from collections.abc import Iterator

from midflight.p4 import ir

__all__ = ["children", "within"]

# The fields of each kind of node that contain nodes, in evaluation order.
_FIELDS: dict[type, tuple[str, ...]] = {
    ir.Member: ("base",),
    ir.Index: ("base", "index"),
    ir.Next: ("base",),
    ir.Last: ("base",),
    ir.Slice: ("base",),
    ir.Unary: ("operand",),
    ir.Binary: ("left", "right"),
    ir.Concat: ("left", "right"),
    ir.Cast: ("operand",),
    ir.Ternary: ("condition", "yes", "no"),
    ir.StructValue: ("elements",),
    ir.IsValid: ("header",),
    ir.Call: ("arguments",),
    ir.CopyIn: ("target", "value"),
    ir.Assign: ("target", "value"),
    ir.Declare: ("value",),
    ir.Block: ("body",),
    ir.If: ("condition", "yes", "no"),
    ir.Case: ("labels", "body"),
    ir.Switch: ("subject", "cases"),
    ir.ActionCall: ("arguments",),
    ir.Apply: ("arguments",),
    ir.CallStatement: ("call",),
    ir.Loop: ("before", "condition", "body", "step"),
    ir.SetValidity: ("header",),
    ir.Shift: ("stack",),
    ir.Extract: ("header", "bits"),
    ir.Advance: ("bits",),
    ir.Emit: ("value",),
    ir.Select: ("expressions",),
    ir.State: ("body", "next"),
}


def children(node: ir.Node | ir.Case) -> list[ir.Node | ir.Case]:
    """Return a node's direct children in evaluation order.

    Actions, tables, controls and parsers that the node refers to are not among them.
    """
    found: list[ir.Node | ir.Case] = []
    for name in _FIELDS.get(type(node), ()):
        below = getattr(node, name)
        if isinstance(below, tuple):
            found += [each for each in below if isinstance(each, ir.Node | ir.Case)]
        elif isinstance(below, ir.Node):
            found.append(below)
    return found


def within(*parts: ir.Node) -> Iterator[ir.Node]:
    """Yield the given nodes and all of their descendants, parents before children, in evaluation order.

    Actions, tables, controls and parsers that they refer to are not entered.
    """
    waiting: list[ir.Node | ir.Case] = list(reversed(parts))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ir.Node):
            yield node
        waiting.extend(reversed(children(node)))

"""Values that a kernel captures from outside: parameters, and constants of its module."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from midflight.primitives.kernel.context import Context
from midflight.primitives.kernel.copies import CONSTANT
from midflight.primitives.kernel.flow import Known
from midflight.primitives.kernel.types import bit

__all__ = ["captured", "demand_short", "lookup_hint"]


def captured(code: Context, node: ast.expr, value: Any) -> Known:
    """Return a Python object that a kernel refers to by name or attribute as a value that is known at compile time.

    `node` is the reference, for errors. Raises KernelError for floats, dicts, sets and lists, which a switch does not
    have, and for constants that are too long.
    """
    if isinstance(value, float):
        raise code.error(
            node,
            f"`{code.text(node)}` is the floating-point number {value}",
            "a switch computes with integers: scale it",
        )
    if isinstance(value, (dict, set, list)):
        hint = "keep state in a Register created in setup: `self.count = Register(bit[32], 1024)`"
        if isinstance(value, list):
            hint = lookup_hint(code.text(node), value) or hint
        raise code.error(
            node, f"`{code.text(node)}` is a Python {type(value).__name__}, which a switch does not have", hint
        )
    demand_short(code, node, value)
    return Known(value)


def demand_short(code: Context, node: ast.expr, value: object) -> None:
    """Raise KernelError for an int with more than CONSTANT bits, or a string with more than CONSTANT characters.

    `node` is the expression with this value, for the error's place. Other values are accepted.
    """
    if isinstance(value, int) and value.bit_length() > CONSTANT:
        raise code.error(node, f"this constant has more than {CONSTANT} bits", "compute with smaller constants")
    if isinstance(value, str) and len(value) > CONSTANT:
        raise code.error(node, f"this constant has more than {CONSTANT} characters", "send numbers")


def lookup_hint(text: str, values: Sequence[object]) -> str:
    """Return a hint to put these constants into a `Lookup` with a type that fits; empty if they are not all integers.

    `text` is the list or tuple in the source, or its name, from which the hint derives the name of the lookup.
    """
    numbers = [each for each in values if isinstance(each, int) and not isinstance(each, bool)]
    if not numbers or len(numbers) < len(values):
        return ""
    least, most = min(numbers), max(numbers)
    width = max(1, most.bit_length(), (-least - 1).bit_length() if least < 0 else 0)
    kind = f"int_[{width + 1}]" if least < 0 else str(bit[width])
    name = text.rpartition(".")[2].lower() if text.replace(".", "").isidentifier() else "table"
    return (
        f"index constants with a Lookup: `self.{name} = Lookup({kind}, {text})` in setup, and"
        f" `self.{name}.read(index)` here"
    )

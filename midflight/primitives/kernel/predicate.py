"""Predicates: conditions over header fields as text, such as `temperature > 80 and status != 0`."""

from __future__ import annotations

import ast
from typing import Any

from midflight.errors import KernelError, Place
from midflight.primitives.kernel.arithmetic import add_overflows, bits, concat, hash_, popcount, sat_add, sat_sub
from midflight.primitives.kernel.source import Source
from midflight.primitives.kernel.types import bit, int_

__all__ = ["FUNCTIONS", "Predicate"]

FUNCTIONS: dict[str, Any] = {
    "abs": abs,
    "add_overflows": add_overflows,
    "bit": bit,
    "bits": bits,
    "concat": concat,
    "hash_": hash_,
    "int_": int_,
    "max": max,
    "min": min,
    "popcount": popcount,
    "sat_add": sat_add,
    "sat_sub": sat_sub,
}
"""The functions that a predicate may call, the same as in a kernel."""


class Predicate:
    """An expression of the kernel language, given as text, over header fields.

    In a kernel, `predicate(wire)` is its value. `where` names the text in error messages. Only the syntax is checked
    here: raises KernelError for text that Python cannot parse. The rest is checked when the kernel is compiled.
    """

    def __init__(self, text: str, where: str) -> None:
        text = " ".join(text.splitlines())
        self.source = Source(where, 1, (text,))
        try:
            parsed = ast.parse(text.strip() and text, where, "eval")
            self._code = compile(parsed, where, "eval")
            self.tree = parsed.body
        except SyntaxError as error:
            raise KernelError(
                error.msg if text.strip() else "the condition is empty",
                place=Place(where, 1, min(error.offset or len(text), len(text)) + (not error.offset), 1, text),
                hint='write a condition over fields, such as "temperature > 80 and status != 0"',
            ) from None
        except ValueError:
            raise KernelError(f"{where}: Python cannot parse this condition") from None
        except (RecursionError, MemoryError):
            raise KernelError(
                "Python cannot parse this condition: it is too long",
                place=Place(where, 1, 1, len(text), text[:200]),
                hint="write a kernel of your own, with parts of it in variables",
            ) from None

    @property
    def names(self) -> tuple[str, ...]:
        """The names in the expression that are not functions, and so fields of the header, in order of appearance."""
        found = [node for node in ast.walk(self.tree) if isinstance(node, ast.Name) and node.id not in FUNCTIONS]
        found.sort(key=lambda node: (node.lineno, node.col_offset))
        return tuple(dict.fromkeys(node.id for node in found))

    def __call__(self, wire: Any) -> bool:
        """Return the value for a header's fields. The compiler has checked the expression before."""
        values = {name: getattr(wire, name) for name in self.names}
        return bool(eval(self._code, {"__builtins__": {}} | FUNCTIONS, values))

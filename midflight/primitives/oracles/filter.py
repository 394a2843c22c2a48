"""The oracle of Filter, for conditions that NumPy can evaluate on whole columns."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["kept"]


def kept(keep: str, columns: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Return which rows satisfy the condition `keep`: a boolean array of shape (rows,).

    `columns` holds an array for each field, of its exact integer type, so that arithmetic wraps at the right width.
    Conditions may use operators, comparisons (also chained), `and`, `or`, `not`, `abs`, and `min` and `max` of two
    values.
    """
    tree = ast.fix_missing_locations(ast.Expression(_Elementwise().visit(ast.parse(keep, mode="eval").body)))
    names = {"__builtins__": {}, "abs": np.abs, "min": np.minimum, "max": np.maximum}
    with np.errstate(over="ignore"):
        result = eval(compile(tree, "<keep>", "eval"), names, dict(columns))
    rows = len(next(iter(columns.values())))
    return np.broadcast_to(np.asarray(result, dtype=np.bool_), rows)


class _Elementwise(ast.NodeTransformer):
    """Replaces Python's operators for single values by NumPy's elementwise ones."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        return self._combined([self.visit(each) for each in node.values], node.op)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        operand = self.visit(node.operand)
        return ast.UnaryOp(ast.Invert() if isinstance(node.op, ast.Not) else node.op, operand)

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        sides = [self.visit(each) for each in (node.left, *node.comparators)]
        pairs: list[ast.expr] = [
            ast.Compare(left, [op], [right]) for left, op, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        return self._combined(pairs, ast.And())

    @staticmethod
    def _combined(parts: list[ast.expr], how: ast.boolop) -> ast.expr:
        result = parts[0]
        for each in parts[1:]:
            result = ast.BinOp(result, ast.BitAnd() if isinstance(how, ast.And) else ast.BitOr(), each)
        return result

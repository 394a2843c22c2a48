"""The oracle of Filter, for conditions that NumPy can evaluate over whole columns."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["kept"]


def kept(keep: str, columns: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.bool_]:
    """Tell which rows satisfy the condition.

    `columns` holds, for each field, an array of its exact integer type, so that arithmetic wraps as wide.
    Takes operators, comparisons (chained ones, too), `and`, `or`, `not`, `abs`, `min` and `max` of two.
    """
    tree = ast.fix_missing_locations(ast.Expression(_Elementwise().visit(ast.parse(keep, mode="eval").body)))
    names = {"__builtins__": {}, "abs": np.abs, "min": np.minimum, "max": np.maximum}
    with np.errstate(over="ignore"):
        result = eval(compile(tree, "<keep>", "eval"), names, dict(columns))
    rows = len(next(iter(columns.values())))
    return np.broadcast_to(np.asarray(result, dtype=np.bool_), rows)


class _Elementwise(ast.NodeTransformer):
    """Turns what Python decides for one row into NumPy's operators, which decide for all of them."""

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        return self._joined([self.visit(each) for each in node.values], node.op)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        operand = self.visit(node.operand)
        return ast.UnaryOp(ast.Invert() if isinstance(node.op, ast.Not) else node.op, operand)

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        sides = [self.visit(each) for each in (node.left, *node.comparators)]
        pairs: list[ast.expr] = [
            ast.Compare(left, [op], [right]) for left, op, right in zip(sides, node.ops, sides[1:], strict=False)
        ]
        return self._joined(pairs, ast.And())

    @staticmethod
    def _joined(parts: list[ast.expr], how: ast.boolop) -> ast.expr:
        result = parts[0]
        for each in parts[1:]:
            result = ast.BinOp(result, ast.BitAnd() if isinstance(how, ast.And) else ast.BitOr(), each)
        return result

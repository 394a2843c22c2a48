"""Reduction of a case for as long as the same thing is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from midflight.testbed.fuzz.program import Case
from midflight.testbed.fuzz.tree import EMPTY, Path, Tree, at, paths, replaced, zero

__all__ = ["shrink"]


def shrink(case: Case, wrong: Callable[[Case], bool], tries: int) -> Case:
    """Return the smallest case that was found for which `wrong` is still True, as it is for `case`.

    First packets are removed, then pieces of the program are removed or simplified, then entries; and again, until
    nothing more can be removed or `wrong` was called `tries` times.
    """
    return _Shrinker(wrong, tries).run(case)


class _Shrinker:
    def __init__(self, wrong: Callable[[Case], bool], tries: int) -> None:
        self._wrong = wrong
        self._left = tries

    def run(self, case: Case) -> Case:
        while self._left > 0:
            before = case
            case = self._packets(case)
            case = self._tree(case, "program")
            case = self._tree(case, "commands")
            if case == before:
                break
        return case

    def _fits(self, case: Case) -> bool:
        if self._left <= 0:
            return False
        self._left -= 1
        return self._wrong(case)

    def _packets(self, case: Case) -> Case:
        """Remove packets: halves, quarters, and so on down to single ones."""
        size = len(case.packets)
        while size >= 1:
            first = 0
            while first < len(case.packets):
                rest = case.packets[:first] + case.packets[first + size :]
                if rest and len(rest) < len(case.packets) and self._fits(smaller := replace(case, packets=rest)):
                    case = smaller
                else:
                    first += size
            size //= 2
        return case

    def _tree(self, case: Case, name: str) -> Case:
        """Replace pieces by smaller ones, from the largest to the smallest."""
        at_least = max(1, len(_pieces(getattr(case, name))))
        while at_least and self._left > 0:
            for path in [path for path, piece in paths(getattr(case, name)) if _size(piece) >= at_least]:
                tree: Tree = getattr(case, name)
                piece = at(tree, path)
                if piece is None or _size(piece) < at_least:
                    continue  # removed meanwhile
                for other in _smaller(piece):
                    candidate = _with(case, name, replaced(tree, path, other))
                    if self._fits(candidate):
                        case = candidate
                        break
            at_least //= 2
        return case


def _with(case: Case, name: str, tree: Tree) -> Case:
    return replace(case, program=tree) if name == "program" else replace(case, commands=tree)


def _pieces(tree: Tree) -> list[Path]:
    return [path for path, _ in paths(tree)]


def _size(piece: Tree) -> int:
    """Return the number of pieces in a piece, itself included."""
    return sum(1 for _ in paths(piece))


def _smaller(piece: Tree) -> Iterator[Tree]:
    """Yield what may take the place of a piece: nothing, a literal, or a piece inside it of the same sort."""
    if piece.removable:
        yield EMPTY
    if not piece.sort or piece.sort in ("declaration", "case"):
        return
    simplest = zero(piece.sort)
    if simplest is not None and piece != simplest:
        yield simplest
    for path, inside in paths(piece):
        if path and inside.sort == piece.sort and inside.parts and inside not in (piece, simplest):
            yield inside

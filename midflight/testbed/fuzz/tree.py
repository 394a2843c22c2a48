"""Program text as a tree, which can be printed and made smaller."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

__all__ = ["EMPTY", "Path", "Tree", "at", "join", "paths", "replaced", "zero"]

Path = tuple[int, ...]
"""A place in a tree: the index of the part to follow at each level, from the root."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A piece of a program: its parts in order, each a text or a tree.

    `sort` says what can take its place: the type of an expression such as `bit<8>`, or "statement", "declaration"
    or "case", which can also be removed. It is empty for a piece that can only be changed inside.
    """

    sort: str
    parts: tuple[str | Tree, ...]

    def __str__(self) -> str:
        """Return the text."""
        texts: list[str] = []
        waiting: list[str | Tree] = [self]
        while waiting:
            part = waiting.pop()
            if isinstance(part, str):
                texts.append(part)
            else:
                waiting.extend(reversed(part.parts))
        return "".join(texts)

    @property
    def removable(self) -> bool:
        """Whether a program can do without this piece."""
        return self.sort in ("statement", "declaration", "case") and bool(self.parts)


EMPTY = Tree("", ())
"""Nothing: what remains of a piece that was removed."""


def join(parts: Sequence[str | Tree], sort: str = "", between: str = "") -> Tree:
    """Return a tree of this sort with these parts, and the text `between` each two neighbours."""
    found: list[str | Tree] = []
    for part in parts:
        if found and between:
            found.append(between)
        found.append(part)
    return Tree(sort, tuple(found))


def paths(tree: Tree) -> Iterator[tuple[Path, Tree]]:
    """Yield all pieces of a tree with their places, each before the pieces inside it."""
    waiting: list[tuple[Path, Tree]] = [((), tree)]
    while waiting:
        path, piece = waiting.pop()
        yield path, piece
        inside = [((*path, number), part) for number, part in enumerate(piece.parts) if isinstance(part, Tree)]
        waiting.extend(reversed(inside))


def at(tree: Tree, path: Path) -> Tree | None:
    """Return the piece at a place; None if there is none."""
    for number in path:
        if number >= len(tree.parts) or not isinstance(part := tree.parts[number], Tree):
            return None
        tree = part
    return tree


def replaced(tree: Tree, path: Path, piece: Tree) -> Tree:
    """Return a tree in which `piece` takes the place of the piece at `path`. There must be a piece at `path`."""
    levels = [tree]
    for number in path[:-1]:
        part = levels[-1].parts[number]
        assert isinstance(part, Tree)
        levels.append(part)
    for level, number in zip(reversed(levels), reversed(path), strict=False):
        parts = list(level.parts)
        parts[number] = piece
        piece = Tree(level.sort, tuple(parts))
    return piece


def zero(sort: str) -> Tree | None:
    """Return the simplest expression of a type; None if `sort` is no such type."""
    kind, _, rest = sort.partition("<")
    match kind:
        case "bool":
            return Tree(sort, ("false",))
        case "bit":
            return Tree(sort, (f"{rest[:-1]}w0",))
        case "int":
            return Tree(sort, (f"{rest[:-1]}s0",))
        case _:
            return None

"""Equality, hashes and texts of trees, whatever their depth."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest

from midflight.p4 import declarations, syntax
from midflight.p4.ir import bodies, entities
from midflight.primitives.kernel import typed
from midflight.primitives.kernel.node import Node
from midflight.trees import equal, hashed, shown

DEPTH = 10_000


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Pair:
    left: Any
    right: Any = ()
    hidden: int = field(default=0, repr=False)
    ignored: int = field(default=0, compare=False)
    __eq__, __hash__, __repr__ = equal, hashed, shown


@dataclass(frozen=True)
class Plain:
    left: Any
    right: Any = ()
    hidden: int = field(default=0, repr=False)
    ignored: int = field(default=0, compare=False)


def deep(end: object, wrap: Any = Pair) -> Any:
    for _ in range(DEPTH):
        end = wrap(end)
    return end


WRAPS = {
    "left": Pair,
    "right": lambda inner: Pair(1, inner),
    "in a tuple": lambda inner: Pair((1, inner), ((), (2,))),
    "both sides": lambda inner: Pair(inner, inner),
}


@pytest.mark.parametrize("wrap", WRAPS.values(), ids=WRAPS)
def test_deep_trees_are_compared_hashed_and_shown(wrap: Any) -> None:
    one, same, other = deep("a", wrap), deep("a", wrap), deep("b", wrap)
    assert one == same
    assert hash(one) == hash(same)
    assert one != other
    assert one != deep(deep("a", wrap), wrap)
    assert len({one, same, other}) == 2
    assert repr(one).startswith("Pair(left=")


def test_trees_compare_and_look_like_ordinary_dataclasses() -> None:
    parts: list[Any] = [1, (), (1,), (1, 2), "x", None, ((1,), 2), 1.5]
    for one in parts:
        for two in parts:
            for hidden, ignored in ((0, 0), (1, 0), (0, 1)):
                assert (Pair(one, two) == Pair(one, two, hidden, ignored)) == (hidden == 0)
                assert (Pair(one) == Pair(two)) == (Plain(one) == Plain(two))
                assert repr(Pair(one, two, hidden, ignored)) == repr(Plain(one, two, hidden, ignored)).replace(
                    "Plain", "Pair"
                )
    assert Pair(Pair(1), (Pair(2),)) == Pair(Pair(1), (Pair(2),))
    assert Pair(1) != Plain(1)
    assert (
        repr(Pair(Pair(1), (Pair(2),)))
        == "Pair(left=Pair(left=1, right=(), ignored=0), right=(Pair(left=2, right=(), ignored=0),), ignored=0)"
    )


@pytest.mark.parametrize("module", [syntax, declarations, bodies, entities, typed], ids=lambda each: each.__name__)
def test_every_node_of_a_users_program_is_such_a_tree(module: ModuleType) -> None:
    """A dataclass may have its own equality only if it is not nested in others of its kind."""
    flat = (
        {"Key", "ActionRef", "TableEntry"}
        if module is bodies
        else {"Assign", "Checksum", "Draw", "Access", "Search", "Decide", "Alert", "Mirror", "Return", "Kernel"}
    )
    kinds = [each for each in vars(module).values() if dataclasses.is_dataclass(each) and isinstance(each, type)]
    assert len(kinds) > 3
    for kind in kinds:
        nests = any(
            word in str(each.type) for each in dataclasses.fields(kind) for word in ("Expr", "Statement", "Action")
        )
        if nests and kind.__name__ not in (flat if module in (bodies, typed) else ()):
            assert kind.__repr__ is shown, kind
            assert kind.__eq__ in (equal, object.__eq__, Node.__eq__), kind

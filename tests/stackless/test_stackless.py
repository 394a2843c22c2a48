"""Walks that are deeper than Python's stack, and errors that pass through them."""

from __future__ import annotations

import pytest

from midflight.stackless import Walk, run


def count(depth: int) -> Walk[int]:
    if depth == 0:
        return 0
    below: int = yield count(depth - 1)
    return below + 1


def fail(depth: int, seen: list[int]) -> Walk[int]:
    if depth == 0:
        raise ValueError("at the bottom")
    try:
        below: int = yield fail(depth - 1, seen)
    except ValueError:
        seen.append(depth)
        raise
    return below


def catch(depth: int) -> Walk[str]:
    try:
        yield fail(depth, [])
    except ValueError as error:
        return f"caught: {error}"
    return "nothing raised"


def test_a_walk_may_be_deeper_than_pythons_stack() -> None:
    assert run(count(100_000)) == 100_000


def test_an_error_passes_through_every_walk_that_waits() -> None:
    seen: list[int] = []
    with pytest.raises(ValueError, match="at the bottom"):
        run(fail(5_000, seen))
    assert seen == [*range(1, 5_001)]


def test_a_walk_can_catch_what_a_walk_below_raises() -> None:
    assert run(catch(3)) == "caught: at the bottom"

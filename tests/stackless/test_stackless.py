"""Walks deeper than Python's stack, and the propagation of errors through them."""

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


def test_walks_may_be_deeper_than_pythons_stack() -> None:
    assert run(count(100_000)) == 100_000


def test_errors_propagate_through_all_suspended_walks() -> None:
    seen: list[int] = []
    with pytest.raises(ValueError, match="at the bottom"):
        run(fail(5_000, seen))
    assert seen == [*range(1, 5_001)]


def test_walks_can_catch_errors_of_inner_walks() -> None:
    assert run(catch(3)) == "caught: at the bottom"

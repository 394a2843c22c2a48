"""Leaving a group of ranks, without a switch and without processes."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest


class Client:
    """A `Client` that does nothing."""

    def __init__(self, *, alive: bool) -> None:
        self.alive = alive
        self.closed = False

    def close(self) -> None:
        self.closed = True


class Store:
    """A store in which the others have left when one asks for the first time."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.keys: list[str] = []
        self.asked: list[list[str]] = []

    def set(self, key: str, value: str) -> None:
        self.keys.append(key)

    def check(self, keys: list[str]) -> bool:
        assert not self.client.closed, "the others may need this rank's contributions"
        self.asked.append(keys)
        return True


def left(rank: int, *, alive: bool) -> list[list[str]]:
    """Let one of three ranks leave, and return the keys that it has waited for."""
    pytest.importorskip("torch")  # before midflight.torch, which torch itself imports
    from midflight.torch.ranks import Ranks

    client: Any = Client(alive=alive)
    store, link = Store(client), Any
    Ranks(client, {}, link, 0, (rank, 3), store, ExitStack()).leave()  # type: ignore[arg-type]
    assert client.closed
    assert store.keys == [f"left/{rank}"]
    return store.asked


def test_a_rank_serves_the_others_until_they_leave() -> None:
    assert left(1, alive=True) == [["left/0", "left/2"]]
    assert left(0, alive=True) == [["left/1", "left/2"]]


def test_a_rank_whose_collectives_have_failed_waits_only_if_it_has_the_switch() -> None:
    assert left(1, alive=False) == []
    assert left(0, alive=False) == [["left/1", "left/2"]]

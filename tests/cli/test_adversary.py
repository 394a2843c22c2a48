"""`midflight adversary`: its report of games."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from midflight.testbed.adversary import Game, ViolationError, campaign
from tests.cli.run import midflight


def test_games_are_counted(tmp_path: Path) -> None:
    done = midflight("adversary", "--schedules", "3", "--seed", "5", "--on", "kernel", "--json", str(tmp_path / "out"))
    assert done.exit_code == 0
    assert "3 schedules from seed 5 on" in done.output
    assert "0 failed" in done.output
    figures = json.loads((tmp_path / "out").read_text())
    assert (figures["schedules"], figures["seed"], figures["failures"]) == (3, 5, [])


def test_a_lost_game_is_reported_with_its_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(self: Game) -> None:
        raise ViolationError("the job does not end")

    monkeypatch.setattr(Game, "play", lose)
    done = midflight("adversary", "--schedules", "2", "--seed", "7", "--on", "kernel")
    assert done.exit_code == 1
    assert "seed 7: ViolationError: the job does not end" in done.output
    assert "seed 8: " in done.output
    assert "--schedules 1 --seed 7" in done.output


def test_schedules_on_workers_give_the_same_results() -> None:
    def backwards(_: object, function: Any, units: list[Any], __: object) -> Iterator[tuple[Any, Any]]:
        for unit in reversed(units):  # workers end in any order
            yield unit, function(*unit)

    here = campaign(range(5, 14))
    with (
        patch("midflight.testbed.cluster.results", backwards),
        patch("midflight.testbed.adversary.campaign._PART", 4),
    ):
        assert campaign(range(5, 14), client=object()) == here
    refused = midflight("adversary", "--fabric", "netns", "--workers", "2")
    assert (refused.exit_code, "only simulated schedules" in refused.output) == (2, True)

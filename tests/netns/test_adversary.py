"""The adversary with processes: won games on both kinds of switch, and a lost one, after which it continues."""

from __future__ import annotations

from dataclasses import replace

import pytest

from midflight.runtime.devices.sheetfile import named_sheet
from midflight.testbed.adversary import Failure, Move, ViolationError, live_campaign
from midflight.testbed.adversary.live import Arena, LiveSchedule, Played, draw_live
from midflight.testbed.fabric.netns import NetnsFabric
from tests.bmv2 import BMV2, ROOT
from tests.netns.left import left

pytestmark = ROOT

# Together they cover all faults.
SEEDS = (2, 3, 14)


@pytest.mark.parametrize(
    ("device", "seeds"),
    [
        pytest.param("host", SEEDS, id="host"),
        pytest.param("bmv2", SEEDS[:1], id="bmv2", marks=BMV2),
        pytest.param("bmv2", SEEDS, id="bmv2, all", marks=[*BMV2, pytest.mark.long]),
    ],
)
def test_every_job_ends_with_correct_sums_despite_killed_processes(device: str, seeds: tuple[int, ...]) -> None:
    done: list[tuple[int, int]] = []
    found = live_campaign(seeds, device=device, progress=lambda *each: done.append(each))
    assert found.failures == ()
    assert done == [(number + 1, 0) for number in range(len(seeds))]
    assert tuple(each.seed for each in found.played) == seeds
    assert all(each.sums > 2 * sum(draw_live(each.seed).rounds) // 8 for each in found.played)


def test_the_schedules_cover_all_faults() -> None:
    moves = {move for seed in SEEDS for _, _, move, _ in draw_live(seed).moves}
    assert moves == {Move.RESTART, Move.REPLACE, Move.KILL, Move.REVIVE, Move.RESET, Move.FAIL_OVER}


def test_servers_compute_what_exceeds_an_assumed_sheet() -> None:
    with Arena(sheet=replace(named_sheet("host"), register_arrays=1)) as arena:
        played = arena.play(replace(draw_live(SEEDS[0]), moves=()))
        assert all(placement.on("s1") == () for placement in arena.net.placements.values())
    assert played.sums > 0


def test_a_lost_game_is_reported_and_the_next_one_has_a_new_network(monkeypatch: pytest.MonkeyPatch) -> None:
    arenas: list[Arena] = []

    def lose(arena: Arena, schedule: LiveSchedule) -> Played:
        arenas.append(arena)
        if len(arenas) == 1:
            raise ViolationError("something did not hold")
        return Played(schedule.seed, schedule.application, (), 0.0, 0)

    monkeypatch.setattr(Arena, "play", lose)
    found = live_campaign([4, 5, 6])
    assert found.failures == (Failure(4, "ViolationError: something did not hold"),)
    assert [each.seed for each in found.played] == [5, 6]
    assert arenas[0] is not arenas[1] is arenas[2]
    runs = {each.net.fabric.run.id for each in arenas if isinstance(each.net.fabric, NetnsFabric)}
    assert len(runs) == 2
    assert [left(each) for each in runs] == [[], []]

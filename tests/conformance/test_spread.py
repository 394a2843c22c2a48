"""Conformance runs and fuzzing on the workers of a Dask cluster: the same results, whatever happens to workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from midflight.testbed.cluster import local_cluster
from midflight.testbed.conformance.run import cases, check
from midflight.testbed.conformance.spread import check_on_workers
from midflight.testbed.fuzz import campaign as fuzzing
from midflight.testbed.fuzz.play import Finding
from midflight.testbed.fuzz.program import draw_case
from tests.cli.run import midflight

pytest.importorskip("distributed")

PRIMITIVES = ("Threshold", "Barrier", "TopN")


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    with local_cluster(2) as made:
        yield made


class Killer:
    """A progress that kills a worker when the first result arrives."""

    def __init__(self, client: Any) -> None:
        self.pids = sorted(client.run(os.getpid).values())
        self.killed = False

    def __call__(self, *_: object) -> None:
        if not self.killed:
            self.killed = True
            os.kill(self.pids[0], signal.SIGKILL)


def test_conformance_does_not_depend_on_workers_even_if_one_is_killed(client: Any) -> None:
    alone = check("host", cases(PRIMITIVES, seed=3, count=4), seed=3)
    killer = Killer(client)
    assert check_on_workers(client, "host", PRIMITIVES, seed=3, count=4, progress=killer) == alone
    assert killer.killed
    assert alone.good
    assert len(alone.results) > 3 * 4


def test_a_stopped_run_counts_what_is_left(client: Any) -> None:
    found = check_on_workers(client, "host", PRIMITIVES, count=2, stop=lambda: True)
    assert found.left == len(cases(PRIMITIVES, count=2)) - len(found.results) > 0


def test_fuzzing_does_not_depend_on_workers(client: Any, tmp_path: Path) -> None:
    alone = fuzzing.campaign(range(6), "host", tmp_path / "one", packets=5)
    seen: list[int] = []
    spread = fuzzing.campaign(
        range(6), "host", tmp_path / "two", packets=5, client=client, progress=lambda done, _: seen.append(done)
    )
    assert spread == alone
    assert seen == [1, 2, 3, 4, 5, 6]
    assert alone.packets > 0


def test_a_finding_of_a_worker_is_kept_here(client: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker returns the case with the finding, whose files are written in this process."""
    case = draw_case(5, 3)

    def judged(*_: object) -> list[Any]:
        return [fuzzing._Judged(5, 3, found=(case, case, Finding("crash", "it ended")))]

    monkeypatch.setattr(fuzzing, "_part", judged)
    found = fuzzing.campaign([5], "host", tmp_path, client=client)
    assert [(each.seed, each.kind, each.folder) for each in found.findings] == [(5, "crash", str(tmp_path / "seed-5"))]
    assert (tmp_path / "seed-5" / "program.p4").exists()


def test_live_devices_do_not_run_on_workers() -> None:
    result = midflight("conformance", "--workers", "2", "--device", "grpc:127.0.0.1:9")
    assert result.exit_code == 2
    assert "workers start devices of their own" in result.stderr

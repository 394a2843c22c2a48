"""Failures under running requests, with all parts as processes: what is lost, and when steering away is over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from midflight.errors import MidflightError
from midflight.testbed.demos.failover import FAILURES, run
from tests.bmv2 import BMV2, ROOT
from tests.cli.run import midflight

pytestmark = ROOT


def test_whatever_dies_nothing_is_lost_once_it_is_noticed(tmp_path: Path) -> None:
    out = tmp_path / "failover.json"
    done = midflight("demo", "failover", "--detect", "2", "--json", out)
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())["failures"]
    assert [*found] == [*FAILURES]
    for kind, each in found.items():
        assert (each["kind"], each["lost_after"]) == (kind, 0), each
    assert [kind for kind, each in found.items() if each["lost"]] == ["instance", "link", "forwarder"]
    assert "away after" in done.output


@pytest.mark.parametrize("device", [pytest.param("bmv2", marks=BMV2)])
def test_with_bmv2(device: str) -> None:
    for each in run(("instance", "forwarder"), device=device, detect=2.0).failures:
        assert each.decided_ms is not None
        assert 0 < each.away_ms < each.decided_ms, each
        assert 0 < each.lost < each.sent, each
        assert each.lost_after == 0, each


def test_an_unknown_failure_is_refused() -> None:
    with pytest.raises(MidflightError, match="there is no failure 'cable'"):
        run(("cable",))

"""docs/placement.md: its commands and files run as shown."""

from __future__ import annotations

from pathlib import Path

from tests.bmv2 import BMV2, ROOT
from tests.bpf.build import needs_bpf
from tests.controller.pages import run_page

pytestmark = [*ROOT, *BMV2, needs_bpf]


def test_the_page_runs(tmp_path: Path) -> None:
    files = [
        "app.py",
        "app.yaml",
        "check.py",
        "collector.py",
        "data.py",
        "gateway.py",
        "network.yaml",
        "offloads.py",
        "sensors.py",
    ]
    reported, logs = run_page("placement.md", tmp_path, files, "h1 h2 h3 h4 g edge one two rack")
    assert "job 1: epochs" in reported, "the failure is noticed"
    assert "job 2: the totals of 39 sensors are those of the oracle" in reported
    assert "alerts are those of the oracle" in reported
    assert "Traceback" not in reported + logs

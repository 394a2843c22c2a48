"""docs/deploy.md: its commands and files run as shown."""

from __future__ import annotations

from pathlib import Path

from tests.bmv2 import ROOT
from tests.controller.pages import run_page

pytestmark = ROOT


def test_the_page_runs(tmp_path: Path) -> None:
    files = ["app.py", "network.yaml", "reading.py", "worker.py"]
    reported, logs = run_page("deploy.md", tmp_path, files, "h1 h2 h3 s1 s2")
    assert reported.count("all are exact") == 6
    assert "Traceback" not in reported + logs

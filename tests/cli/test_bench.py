"""`midflight bench engine`: figures of both programs, and where they go."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.run import midflight


def test_figures_and_table(tmp_path: Path) -> None:
    figures = tmp_path / "out" / "engine.json"
    result = midflight("bench", "engine", "--runs", "3", "--json", figures)
    assert result.exit_code == 0, result.stderr
    found = json.loads(figures.read_text())
    assert (found["routes"], found["lanes"]) == (1000, 32)
    for name in ("forwarder", "aggregation"):
        assert len(found[name]["runs"]) == 3
        assert found[name]["packets_per_second"] == sorted(found[name]["runs"])[1] > 0
    lines = result.stdout.splitlines()
    rates = [f"{found[name]['packets_per_second'] / 1e6:.2f} M" for name in ("forwarder", "aggregation")]
    row = next(each for each in lines if each.startswith("packets a second"))
    assert all(each in row for each in rates)
    assert f"Figures: {figures}" in lines


@pytest.mark.parametrize("option", [("--runs", "0"), ("--seed", "-1")])
def test_a_number_out_of_range(option: tuple[str, str]) -> None:
    assert midflight("bench", "engine", *option).exit_code == 2

"""`midflight bench`: figures, and their output."""

from __future__ import annotations

import importlib.util
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
    row = next(each for each in lines if each.startswith("packets per second"))
    assert all(each in row for each in rates)
    assert f"Figures: {figures}" in lines


def test_primitives_by_their_names(tmp_path: Path) -> None:
    figures = tmp_path / "primitives.json"
    result = midflight("bench", "primitives", "topn", "Aggregate", "--runs", "3", "--json", figures)
    assert result.exit_code == 0, result.stderr
    found = json.loads(figures.read_text())
    assert [each["name"] for each in found["primitives"]] == ["Aggregate", "TopN"]
    lines = result.stdout.splitlines()
    for each in found["primitives"]:
        assert len(each["rate"]["runs"]) == 3
        assert each["rate"]["packets_per_second"] == sorted(each["rate"]["runs"])[1] > 0
        row = next(line.split() for line in lines if line.startswith(each["name"]))
        assert row[1] == f"{each['rate']['packets_per_second'] / 1e6:.2f}"
    assert found["lanes"]["lanes"] == [1, 8, 32, 64, 128]
    assert all(each["packets_per_second"] > 0 for each in found["lanes"]["rates"])
    assert any(line.startswith("The fastest runs take") for line in lines)


def test_opening_networks(tmp_path: Path) -> None:
    figures = tmp_path / "open.json"
    result = midflight("bench", "open", "--runs", "1", "--json", figures)
    assert result.exit_code == 0, result.stderr
    found = json.loads(figures.read_text())
    one, many = found["networks"]
    assert (found["fabric"], one["switches"], many["switches"]) == ("sim", 1, 20)
    for each in (one, many):
        assert each["median"] == each["seconds"][0] > 0
        assert each["spent"]["p4"] > 0
    # A text is checked and compiled once for all switches.
    assert many["spent"]["p4"] < 5 * one["spent"]["p4"]
    assert 0 < one["calls"] < many["calls"] < 20 * one["calls"]
    assert any(line.startswith("opens in") for line in result.stdout.splitlines())


def test_an_unknown_primitive_is_rejected() -> None:
    result = midflight("bench", "primitives", "agregate")
    assert result.exit_code == 1
    assert "the library has no primitive 'agregate'" in result.stderr


@pytest.mark.parametrize("command", ["engine", "primitives"])
@pytest.mark.parametrize("option", [("--runs", "0"), ("--seed", "-1")])
def test_a_number_out_of_range_is_rejected(command: str, option: tuple[str, str]) -> None:
    assert midflight("bench", command, *option).exit_code == 2


def test_the_cost_of_steering(tmp_path: Path) -> None:
    figures = tmp_path / "steering.json"
    result = midflight("bench", "steering", "--runs", "3", "--json", figures)
    assert result.exit_code == 0, result.stderr
    found = json.loads(figures.read_text())
    assert [each["packets"] for each in found["costs"]] == [
        "of a primitive, not steered",
        "of a primitive, steered",
        "plain UDP, not steered",
        "plain UDP, steered",
    ]
    for each in found["costs"]:
        assert len(each["without"]) == len(each["with_steering"]) == 3
        ratios = sorted(after / before for before, after in zip(each["without"], each["with_steering"], strict=True))
        assert each["cost"] == pytest.approx(1 - ratios[1])
        assert any(line.startswith(each["packets"]) for line in result.stdout.splitlines())


def test_allreduce_beside_gloo(tmp_path: Path) -> None:
    figures = tmp_path / "allreduce.json"
    sizes = ("--workers", "2", "--floats", "5000", "--lanes", "32", "--runs", "2")
    result = midflight("bench", "allreduce", *sizes, "--json", figures)
    assert result.exit_code == 0, result.stderr
    found = json.loads(figures.read_text())
    assert (found["workers"], found["floats"]) == (2, 5000)
    ours, *gloo = found["results"]
    assert (ours["fabric"], ours["lanes"], len(ours["seconds"])) == ("udp", 32, 2)
    assert ours["packet_bytes"] == 42 + 24 + 4 * 32
    assert ours["floats_per_second"] == 5000 / (sum(ours["seconds"]) / 2)
    assert [each["fabric"] for each in gloo] == (["gloo"] if importlib.util.find_spec("torch") else [])
    for each in gloo:
        assert ours["ratio_to_gloo"] == pytest.approx(ours["floats_per_second"] / each["floats_per_second"])
        assert each["ratio_to_gloo"] == 1.0
    assert any(line.startswith("switch, UDP ports, 32 lanes") for line in result.stdout.splitlines())

"""`midflight demo allreduce`: figures, their output, and errors for missing prerequisites."""

from __future__ import annotations

import importlib.util
import json
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from tests.cli.run import midflight

ISSUED = {
    "workers", "accuracy_switch", "accuracy_server", "max_abs_error", "server_link_bytes_switch",
    "server_link_bytes_server", "packets", "lost", "retransmitted", "duplicates_suppressed",
}  # fmt: skip


def test_figures_picture_and_table_are_reproducible(tmp_path: Path) -> None:
    figures, picture = tmp_path / "out" / "f.json", tmp_path / "out" / "p.png"
    job = ("demo", "allreduce", "--steps", "1", "--loss", "0.1", "--seed", "7", "--picture", picture)
    result = midflight(*job, "--json", figures)
    assert result.exit_code == 0, result.stderr
    found = json.loads(figures.read_text())
    assert found.keys() >= ISSUED
    assert (found["workers"], found["steps"], found["seed"]) == (4, 1, 7)
    assert found["accuracy_switch"] == found["accuracy_server"]
    assert found["server_link_bytes_switch"] * 4 <= found["server_link_bytes_server"]
    assert found["lost"] > 0
    assert found["retransmitted"] > 0
    assert found["sums_exact"] is True
    assert picture.read_bytes().startswith(b"\x89PNG")
    lines = result.stdout.splitlines()
    assert f"Picture: {picture}" in lines
    assert f"Figures: {figures}" in lines
    assert f"{found['server_link_bytes_server']:,}" in next(each for each in lines if "bytes on the server" in each)
    assert "\x1b" not in result.stdout

    again = midflight(*job, "--json", "-")
    assert again.stdout == figures.read_text()
    assert f"Picture: {picture}" in again.stderr.splitlines()


@pytest.mark.parametrize(("module", "package"), [("matplotlib", "matplotlib"), ("sklearn", "scikit-learn")])
def test_a_missing_extra_is_reported_with_the_command(
    module: str, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    find = importlib.util.find_spec

    def without(name: str, where: str | None = None) -> ModuleSpec | None:
        return None if name == module else find(name, where)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    result = midflight("demo", "allreduce", "--steps", "1", "--picture", tmp_path / "p.png")
    message = f"midflight: {package} is not installed: pip install 'midflight[demo]'\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", message)


@pytest.mark.parametrize("option", [("--loss", "0.9"), ("--loss", "-1"), ("--steps", "0"), ("--seed", "x")])
def test_a_value_out_of_range_is_rejected(option: tuple[str, str]) -> None:
    assert midflight("demo", "allreduce", *option).exit_code == 2


def test_an_unwritable_path_is_reported_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = midflight("demo", "allreduce", "--picture", tmp_path / "file" / "p.png")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"midflight: {tmp_path / 'file'}: ")

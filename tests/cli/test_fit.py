"""`midflight fit`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.run import FORWARDER, midflight

SMALL = 'kind = "small"\nbase = "tofino"\nstages = 20\n[per_stage]\nsram = 12\n'
PROGRAM = """\
from midflight.primitives import Aggregate, Program

program = Program(Aggregate("gradients", workers=4, lanes=1, slots=SLOTS))
"""


@pytest.fixture
def sheet(tmp_path: Path) -> Path:
    made = tmp_path / "small.toml"
    made.write_text(SMALL)
    return made


def test_a_program_that_fits(tmp_path: Path) -> None:
    picture, figures = tmp_path / "stages.svg", tmp_path / "fit.json"
    settings = ("--set", "above=900", "--set", "clear=850")
    done = midflight("fit", "threshold", *settings, "--device", "tofino", "--picture", picture, "--json", figures)
    assert done.exit_code == 0, done.output
    assert "7 of 12 stages on tofino" in done.output
    assert "Longest chain: ingress.admission -> " in done.output
    assert done.output.rstrip().endswith(f"Picture: {picture}")
    assert picture.read_text().startswith("<svg")
    found = json.loads(figures.read_text())
    assert (found["fits"], found["stages"], found["optimal"], found["changes"]) == (True, 7, True, [])


def test_a_program_that_does_not_fit(tmp_path: Path, sheet: Path) -> None:
    file = tmp_path / "lab.py"
    file.write_text(PROGRAM.replace("SLOTS", "16384"))
    done = midflight("fit", file, "--device", sheet)
    assert done.exit_code == 1
    words = " ".join(done.output.split())
    assert "ingress.gradients.held needs 17 SRAM blocks in one stage, 5 more than the 12 that there are" in words
    assert "aggregate.py:" in words
    assert "It fits with gradients: slots from 16,384 to 8,192" in words
    assert "It does not fit." in words
    file.write_text(PROGRAM.replace("SLOTS", '"max"'))
    done = midflight("fit", file, "--device", sheet)
    assert done.exit_code == 0, done.output
    assert "gradients: slots = 8,192 is the largest that fits" in done.output


def test_the_largest_value_that_is_tried_is_not_called_the_largest_that_fits() -> None:
    done = midflight("fit", "threshold", "--set", "above=max", "--set", "clear=850")
    assert done.exit_code == 0, done.output
    assert "threshold: above = 1,048,576 is the largest that is tried\n" in done.output


@pytest.mark.parametrize("option", ["--json", "--picture"])
def test_a_file_that_cannot_be_written_is_refused_before_the_work(tmp_path: Path, option: str) -> None:
    (tmp_path / "file").touch()
    done = midflight("fit", tmp_path / "no.py", option, tmp_path / "file" / "x.svg")
    assert done.exit_code == 1
    assert f"{tmp_path / 'file'}: Not a directory" in done.output
    done = midflight("fit", tmp_path / "no.py", option, tmp_path / "new" / "x.svg")
    assert "no.py: No such file" in done.output
    assert [each.name for each in tmp_path.iterdir()] == ["file"]


def test_any_p4_program_and_wrong_arguments(tmp_path: Path) -> None:
    file = tmp_path / "prog.p4"
    file.write_text(FORWARDER.replace("SIZE", "64"))
    done = midflight("fit", file)
    assert done.exit_code == 0, done.output
    assert midflight("fit", file, "--set", "a=1").exit_code == 2
    other = tmp_path / "x.json"
    other.write_text("{}")
    for source in (other, "x.json"):
        done = midflight("fit", source)
        assert done.exit_code == 2
        assert "x.json' is not FILE.py, FILE.p4 or a primitive" in done.output
    done = midflight("fit", file, "--picture", tmp_path / "s.png")
    assert done.exit_code == 2
    assert "the picture is SVG" in done.output
    assert not (tmp_path / "s.png").exists()
    done = midflight("fit", file, "--device", "tofno")
    assert done.exit_code == 1
    assert "there is no capability sheet 'tofno'" in done.output

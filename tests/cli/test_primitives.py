"""`midflight primitives`, and `midflight compile` with primitives of the library."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from midflight.p4.frontend import check
from midflight.primitives.catalogue import LIBRARY
from tests.cli.run import midflight


def test_the_library_is_listed() -> None:
    done = midflight("primitives")
    assert done.exit_code == 0
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == sorted(LIBRARY)
    assert all(len(line.split()) > 5 for line in lines), "each has a summary"


def test_one_primitive_is_shown_with_its_parameters() -> None:
    reported = midflight("primitives", "THRESHOLD").stdout
    for words in (
        "Threshold: Raise an alert",
        "  above (int)\n",
        "  sensors (int, default 1024)\n",
        "Overflow: ",
        "Follows:  ",
    ):
        assert words in reported
    assert "Aggregate" not in reported


def test_json_contains_everything() -> None:
    entries = json.loads(midflight("primitives", "--json").stdout)["primitives"]
    assert [each["name"] for each in entries] == sorted(LIBRARY)
    for each in entries:
        assert each["summary"], each["name"]
        assert each["overflow"], each["name"]
        assert each["paper"], each["name"]
        assert all(parameter["meaning"] for parameter in each["parameters"]), each
    threshold = next(each for each in entries if each["name"] == "Threshold")
    above, *_ = threshold["parameters"]
    assert (above["name"], above["type"], above["required"], above["default"]) == ("above", "int", True, None)


def test_a_primitive_of_the_library_is_compiled(tmp_path: Path) -> None:
    done = midflight("compile", "threshold", "--set", "above=900", "--set", "clear=0x352", "-o", tmp_path, "--json")
    assert done.exit_code == 0, done.stderr
    written = json.loads(done.stdout)
    assert written.pop("applications") == {"threshold": 1}
    assert sorted(Path(each).name for each in written.values()) == [
        "threshold.html", "threshold.lua", "threshold.p4", "threshold.p4info.txtpb", "threshold.wire.json",
        "threshold_scapy.py",
    ]  # fmt: skip
    text = Path(written["p4"]).read_text()
    check(text, written["p4"])
    assert ">= 900" in text
    assert "<= 850" in text
    schema = json.loads(Path(written["schema"]).read_text())
    assert schema["applications"]["threshold"]["parameters"]["clear"] == 850
    script = "import threshold_scapy as t; print(bytes(t.Midflight() / t.Threshold(sensor=1, value=2)).hex())"
    shown = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (
        shown.stdout.strip() == "0201000100000000" + "0000000000000000" + "000100000002"
    )  # version 2, without a token


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("thresold",), "the library has no primitive 'thresold'\n    it has Acceptor, "),
        (("threshold",), "Threshold needs above, clear\n    --set above=...  a reading of at least this"),
        (("threshold", "--set", "below=1"), "Threshold has no parameter 'below'\n    it has above, clear"),
        (("threshold", "--set", "above=much"), "Threshold: above must be a whole number, not 'much'"),
        (("threshold", "--set", "above=1", "--set", "clear=5"), 'Threshold("threshold")'),
        (("filter", "--set", "keep=level >"), "level >"),
        (("nothing.py",), "nothing.py: No such file or directory"),
        ((str(Path(__file__)), "--set", "above=1"), "--set is only for primitives of the library"),
    ],
)
def test_errors_are_reported(arguments: tuple[str, ...], words: str, tmp_path: Path) -> None:
    done = midflight("compile", *arguments, "-o", tmp_path / "build")
    assert done.exit_code == 1
    assert words in done.stderr
    assert not (tmp_path / "build").exists()
    assert midflight("compile", "threshold", "--set", "above").exit_code == 2


def test_each_line_is_explained_with_its_p4() -> None:
    reported = midflight("compile", "aggregate", "--set", "workers=3", "--set", "lanes=16", "--explain").stdout
    lines = reported.splitlines()
    assert lines[0].startswith("aggregate: ")
    assert lines[0].endswith("aggregate.py")
    drop = next(number for number, line in enumerate(lines) if line.endswith("            packet.drop()"))
    assert lines[drop + 1].split() == [lines[drop + 1].split()[0], "meta.verdict", "=", "DROP;"]
    assert any("more lines like these" in line for line in lines), "sixteen lanes say the same"

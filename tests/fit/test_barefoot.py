"""`midflight fit --with p4c-barefoot`: its allocation, its refusals, and machines without it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from midflight.errors import DeviceError, P4Error
from midflight.runtime.fit.barefoot import VARIABLE, allocate
from tests.cli.run import midflight

FILTER = ("fit", "filter", "--set", "keep=a > 80", "--device", "tofino")


def stage(number: int, srams: int, uses: tuple[str, ...] = ()) -> dict[str, object]:
    return {
        "stage_number": number,
        "rams": {"srams": [{}] * srams},
        "tcams": {"tcams": []},
        "meter_alus": {"meters": [{"usages": [{"used_for": each}]} for each in uses]},
        "logical_tables": {"ids": [{}] * bool(srams)},
    }


STAGES = [stage(0, 3, ("stateful_ram", "meter_ram")), stage(1, 0), stage(2, 1, ("stateful_ram",)), stage(3, 0)]
VECTOR = {"containers": [{"bit_width": 16, "slices": [{}]}, {"bit_width": 32, "slices": []}]}


def compiler(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Put a program in the compiler's place."""
    path = folder / "compiler"
    path.write_text(f"#!{sys.executable}\nimport json, pathlib, sys\nout = sys.argv[sys.argv.index('-o') + 1]\n{body}")
    path.chmod(0o755)
    monkeypatch.setenv(VARIABLE, str(path))


ACCEPTS = f"""
logs = pathlib.Path(out, "pipe", "logs")
logs.mkdir(parents=True)
(logs / "resources.json").write_text({json.dumps(json.dumps({"resources": {"mau": {"mau_stages": STAGES}}}))})
(logs / "phv.json").write_text({json.dumps(json.dumps(VECTOR))})
"""


def test_the_allocation_is_beside_the_estimate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler(tmp_path, monkeypatch, ACCEPTS)
    found = allocate("", "tna")
    assert (found.stages, found.total("sram"), found.total("register"), found.header_vector) == (3, 4, 2, 16)
    done = midflight(*FILTER, "--with", "p4c-barefoot", "--json", tmp_path / "fit.json")
    assert done.exit_code == 0, done.output
    assert "p4c-barefoot beside the estimate" in done.stdout
    written = json.loads((tmp_path / "fit.json").read_text())
    assert (written["compiler"]["stages"], written["stages"]) == (3, 7)


def test_a_refusal_is_an_error_with_the_compilers_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    body = "print('a warning'); print(f'{sys.argv[-1]}(3): error: too complex', file=sys.stderr); sys.exit(1)"
    compiler(tmp_path, monkeypatch, body)
    with pytest.raises(P4Error, match=r"refuses the program: program.p4\(3\): error: too complex$"):
        allocate("", "t2na")
    done = midflight(*FILTER, "--with", "p4c-barefoot")
    assert done.exit_code == 1
    assert "error: too complex" in done.stderr


def test_a_compiler_that_writes_nothing_or_nonsense_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiler(tmp_path, monkeypatch, "")
    with pytest.raises(DeviceError, match=r"wrote no resources\.json"):
        allocate("", "tna")
    compiler(tmp_path, monkeypatch, ACCEPTS.replace("mau_stages", "other"))
    with pytest.raises(DeviceError, match="is not understood"):
        allocate("", "tna")


def test_a_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "/nowhere/p4c-barefoot")
    done = midflight(*FILTER, "--with", "p4c-barefoot")
    assert done.exit_code == 1
    assert "p4c-barefoot is required, but not on PATH" in done.stderr
    assert f"set {VARIABLE} to its path" in done.stderr


def test_it_is_for_tofino_only() -> None:
    done = midflight("fit", "filter", "--set", "keep=a > 80", "--device", "xdp", "--with", "p4c-barefoot")
    assert done.exit_code == 2
    assert "is for --device tofino and tofino2, not xdp" in done.stderr

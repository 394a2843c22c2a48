"""All primitives of the library in one program: it compiles, and each behaves as it does alone."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from midflight.primitives import Program
from midflight.testbed.conformance.subject import names
from tests.bmv2 import BMV2
from tests.primitives.tenants import House, Step, meant, mixed, primitive, requests


@cache
def together() -> tuple[Program, list[Step]]:
    program = Program(*(primitive(kind, f"a_{kind.lower()}") for kind in names()))
    return program, mixed(program, {name: requests(program, name, 7) for name in program.applications}, 7)


@pytest.mark.parametrize("device", ["host", pytest.param("bmv2", marks=BMV2)])
def test_all_primitives_work_in_one_program(device: str) -> None:
    program, steps = together()
    came, alerts, written = meant(program, steps)
    assert len(program.applications) > 20
    with House(program, device) as house:
        for number, (one, other) in enumerate(zip(house.play(steps), came, strict=True)):
            assert one == other, (number, steps[number].application)
        reported = house.alerts()
        if house.device.capabilities.repeated_digests:
            assert reported == alerts
        assert {*reported} == {*alerts}
        for name, registers in written.items():
            check_state(house, name, registers)


def check_state(house: House, name: str, registers: dict[str, Any]) -> None:
    """Compare the elements that the executed kernel wrote."""
    indexes = sorted({index for lanes in registers.values() for lane in lanes for index in lane})
    state = house.program.state(name, house.session.inband)
    rows = dict(zip(indexes, state.rows(indexes), strict=True))
    for register in state.registers:
        for number, lane in enumerate(registers[register]):
            for index, value in lane.items():
                held: Any = rows[index][register]
                found = int(held if state.registers[register].lanes is None else held[number])
                assert found == value, (name, register, number, index)


@pytest.mark.bmv2
def test_p4c_accepts_all_primitives_in_one_program(tmp_path: Path) -> None:
    if shutil.which("p4c-bm2-ss") is None:
        pytest.skip("p4c-bm2-ss is not on PATH")
    source = tmp_path / "together.p4"
    source.write_text(together()[0].p4())
    command = ["p4c-bm2-ss", "--std", "p4-16", str(source), "-o", str(tmp_path / "out.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")

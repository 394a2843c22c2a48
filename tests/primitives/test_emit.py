"""The emitted P4: what it looks like, that it does not vary, and that p4c and our own front end take it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from midflight.errors import KernelError
from midflight.p4.frontend import check
from midflight.primitives import Filter, Header, Packet, Primitive, Program, Register, Threshold, bit
from tests.primitives.golden import check_golden
from tests.primitives.programs import PROGRAMS


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_p4_is_what_it_was(name: str) -> None:
    check_golden(f"{name}.p4", PROGRAMS[name]().p4())


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_p4_is_the_same_every_time(name: str) -> None:
    program = PROGRAMS[name]()
    assert program.p4() == program.p4() == PROGRAMS[name]().p4()


@pytest.mark.parametrize("name", PROGRAMS)
def test_our_front_end_takes_it(name: str) -> None:
    program = PROGRAMS[name]()
    checked = check(program.p4(), f"{name}.p4")
    assert list(checked.tables) == ["ingress.route", "ingress.admission", "egress.deliver"]
    for application in program.applications.values():
        for array, register in application.primitive.registers.items():
            lanes = [""] if register.lanes is None else [f"_{lane}" for lane in range(register.lanes)]
            for lane in lanes:
                assert f"ingress.{application.name}.{array}{lane}" in checked.instances


@pytest.mark.bmv2
@pytest.mark.parametrize("name", PROGRAMS)
def test_p4c_takes_it_without_a_word(name: str, tmp_path: Path) -> None:
    if shutil.which("p4c-bm2-ss") is None:
        pytest.skip("p4c-bm2-ss is not on PATH")
    source = tmp_path / f"{name}.p4"
    source.write_text(PROGRAMS[name]().p4())
    command = ["p4c-bm2-ss", "--std", "p4-16", str(source), "-o", str(tmp_path / "out.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_ids_count_from_one_in_the_order_given() -> None:
    program = Program(Filter("b", keep="x > 1"), Filter("a", keep="x > 1"))
    assert [(each.id, each.name) for each in program.applications.values()] == [(1, "b"), (2, "a")]
    assert "const bit<16> B_ID = 1;" in program.p4()


def test_a_cleared_register_means_its_initial_value() -> None:
    text = Program(Threshold("pressure", above=9, clear=5)).p4()
    assert "Holds its values XOR 1, so that a cleared register means 1." in text


def test_no_action_holds_a_condition() -> None:
    for make in PROGRAMS.values():
        inside = False
        for line in make().p4().splitlines():
            if line.strip().startswith("action "):
                inside = True
            elif line == "    }":
                inside = False
            assert not (inside and (" if " in line or "?" in line)), line


@pytest.mark.parametrize("name", ["table", "ethernet", "route", "in", "reply"])
def test_an_application_cannot_take_a_name_of_p4s(name: str) -> None:
    with pytest.raises(KernelError, match=f"cannot be called '{name}'"):
        Program(Filter(name, keep="x > 1"))


def test_two_applications_of_one_name() -> None:
    with pytest.raises(KernelError, match="two applications are called 'a'"):
        Program(Filter("a", keep="x > 1"), Filter("a", keep="x > 2"))


def test_names_that_would_be_one_in_the_p4() -> None:
    with pytest.raises(KernelError, match="clash"):
        Program(Filter("a", keep="x > 1"), Filter("A", keep="x > 2"))


class Awkward(Primitive):
    """Local variables that are called what P4 calls something else."""

    class Wire(Header):
        value = bit[8]

    def setup(self) -> None:
        self.held = Register(bit[8], 256)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        held = self.held.update(wire.value, lambda old: old + 1)
        table = held + 1
        hdr = table * 3
        wire.value = hdr


def test_local_variables_make_way_for_p4s_words() -> None:
    text = Program(Awkward("awkward")).p4()
    check(text)
    assert "held_value" in text
    assert "table_value" in text
    assert "hdr_value" in text

"""The emitted P4: golden files, determinism, and acceptance by p4c and our front end."""

from __future__ import annotations

import linecache
import shutil
import subprocess
import textwrap
from pathlib import Path

import pytest

from midflight.errors import KernelError
from midflight.p4.frontend import check
from midflight.primitives import Filter, Header, Packet, Primitive, Program, Register, Threshold, bit
from tests.primitives.golden import check_golden
from tests.primitives.programs import PROGRAMS


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_p4_equals_the_golden_file(name: str) -> None:
    check_golden(f"{name}.p4", PROGRAMS[name]().p4())


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_p4_is_the_same_every_time(name: str) -> None:
    program = PROGRAMS[name]()
    assert program.p4() == program.p4() == PROGRAMS[name]().p4()


@pytest.mark.parametrize("name", PROGRAMS)
def test_our_front_end_accepts_the_p4(name: str) -> None:
    program = PROGRAMS[name]()
    checked = check(program.p4(), f"{name}.p4")
    assert {"ingress.route", "ingress.admission", "egress.deliver"} <= checked.tables.keys()
    for application in program.applications.values():
        for name in application.primitive.maps:
            assert f"ingress.{application.name}.{name}" in checked.tables
        for array, register in application.primitive.registers.items():
            lanes = [""] if register.lanes is None else [f"_{lane}" for lane in range(register.lanes)]
            for lane in lanes:
                assert f"ingress.{application.name}.{array}{lane}" in checked.instances


@pytest.mark.bmv2
@pytest.mark.parametrize("name", PROGRAMS)
def test_p4c_accepts_the_p4_without_messages(name: str, tmp_path: Path) -> None:
    if shutil.which("p4c-bm2-ss") is None:
        pytest.skip("p4c-bm2-ss is not on PATH")
    source = tmp_path / f"{name}.p4"
    source.write_text(PROGRAMS[name]().p4())
    command = ["p4c-bm2-ss", "--std", "p4-16", str(source), "-o", str(tmp_path / "out.json")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_ids_count_from_1_in_the_given_order() -> None:
    program = Program(Filter("b", keep="x > 1"), Filter("a", keep="x > 1"))
    assert [(each.id, each.name) for each in program.applications.values()] == [(1, "b"), (2, "a")]
    assert "const bit<16> B_ID = 1;" in program.p4()


def test_a_cleared_register_has_its_initial_value() -> None:
    text = Program(Threshold("pressure", above=9, clear=5)).p4()
    assert "Holds its values XOR 1, so that a cleared register means 1." in text


def test_no_action_contains_a_condition() -> None:
    for make in PROGRAMS.values():
        inside = False
        for line in make().p4().splitlines():
            if line.strip().startswith("action "):
                inside = True
            elif line == "    }":
                inside = False
            assert not (inside and (" if " in line or "?" in line)), line


@pytest.mark.parametrize("name", ["table", "ethernet", "route", "in", "reply"])
def test_an_application_cannot_have_a_name_of_p4(name: str) -> None:
    with pytest.raises(KernelError, match=f"cannot have the name '{name}'"):
        Program(Filter(name, keep="x > 1"))


def test_two_applications_with_one_name_are_rejected() -> None:
    with pytest.raises(KernelError, match="two applications have the name 'a'"):
        Program(Filter("a", keep="x > 1"), Filter("a", keep="x > 2"))


def test_names_that_clash_in_the_p4_are_rejected() -> None:
    with pytest.raises(KernelError, match="clash"):
        Program(Filter("a", keep="x > 1"), Filter("A", keep="x > 2"))


class Awkward(Primitive):
    """Local variables with names that P4 uses otherwise."""

    class Wire(Header):
        value = bit[8]

    def setup(self) -> None:
        self.held = Register(bit[8], 256)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        held = self.held.update(wire.value, lambda old: old + 1)
        table = held + 1
        hdr = table * 3
        wire.value = hdr


def test_local_variables_are_renamed_if_p4_has_their_names() -> None:
    text = Program(Awkward("awkward")).p4()
    check(text)
    assert "held_value" in text
    assert "table_value" in text
    assert "hdr_value" in text


GUARDS = {
    "nothing known": ("pass", True),
    "left before": ("if wire.slot >= 8:\n    return", False),
    "left before, too late": ("if wire.slot >= 9:\n    return", True),
    "left before, or": ("if wire.other == 0 or wire.slot > 7:\n    packet.drop()\n    return", False),
    "left before, and": ("if wire.other == 0 and wire.slot > 7:\n    return", True),
    "another field": ("if wire.other >= 8:\n    return", True),
    "changed since": ("if wire.slot >= 8:\n    return\nwire.slot += 1", True),
    "only one branch": ("if wire.other == 0:\n    if wire.slot >= 8:\n        return", True),
    "both branches": (
        "if wire.other == 0:\n    if wire.slot >= 8:\n        return\nelif wire.slot >= 3:\n    return",
        False,
    ),
    "the wider branch": (
        "if wire.other == 0:\n    if wire.slot >= 9:\n        return\nelif wire.slot >= 3:\n    return",
        True,
    ),
    "forgotten at the end": ("if wire.slot < 8:\n    pass", True),
    "not": ("if not wire.slot < 8:\n    return", False),
}


@pytest.mark.parametrize("case", GUARDS)
def test_an_index_is_checked_unless_it_is_known_to_be_in_range(case: str) -> None:
    """Devices treat an index out of range differently, and BMv2 accesses other memory."""
    before, checked = GUARDS[case]
    access = "wire.value = self.count.update(wire.slot, lambda old: old + 1)"
    text = Program(kernel_of("guards", f"{before}\n{access}")("guards")).p4()
    lines = [
        line.strip() for line in text.partition("return;\n        }")[2].splitlines()
    ]  # after the code for the controller's requests
    read = next(number for number, line in enumerate(lines) if line.startswith("count.read("))
    assert (lines[read - 1] == "if (hdr.guards.slot < 8) {") is checked


def test_an_index_inside_a_condition_needs_no_check() -> None:
    body = "if wire.slot < 8:\n    wire.value = self.count.update(wire.slot, lambda old: old + 1)"
    assert Program(kernel_of("inside", body)("inside")).p4().count("hdr.inside.slot < 8") == 1


def test_an_index_that_cannot_be_out_of_range_needs_no_check() -> None:
    body = "wire.value = self.count.update(bit[3](wire.slot), lambda old: old + 1)"
    assert "slot < 8" not in Program(kernel_of("narrow", body)("narrow")).p4()


def test_unused_registers_are_not_emitted() -> None:
    assert "register<" not in Program(kernel_of("unused", "packet.drop()")("unused")).p4()


def kernel_of(name: str, body: str) -> type[Primitive]:
    """Return a primitive class with the text of a kernel."""
    source = (
        "from midflight.primitives import *\n"
        "class Written(Primitive):\n"
        "    class Wire(Header):\n"
        "        slot = bit[16]\n"
        "        other = bit[16]\n"
        "        value = bit[32]\n"
        "    def setup(self):\n"
        "        self.count = Register(bit[32], 8)\n"
        "    def ingress(self, packet, wire):\n"
    ) + textwrap.indent(body, " " * 8)
    file = f"<{name} {hash(body)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    scope: dict[str, object] = {"__name__": "written"}
    exec(compile(source, file, "exec", dont_inherit=True), scope)
    made = scope["Written"]
    assert isinstance(made, type)
    assert issubclass(made, Primitive)
    return made

"""Capability sheets: those that come with Midflight, those of users, and kinds of devices of other packages."""

from __future__ import annotations

import re
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from midflight.errors import DeviceError, MidflightError
from midflight.primitives.emit.tna import architecture
from midflight.runtime.controller.network import parse_network
from midflight.runtime.devices import Capabilities, capabilities, kinds, load_sheet
from midflight.runtime.devices.capabilities import ARCHITECTURES
from midflight.runtime.devices.sheetfile import SHEETS, parse_sheet
from midflight.runtime.devices.xdp import KEY
from midflight.runtime.engine.bpf.pipeline import LARGEST


def values(found: dict[str, Any]) -> list[str]:
    """Return the keys of a sheet's values, `table.key` for those in a table."""
    keys = []
    for key, value in found.items():
        if key in ("per_stage", "blocks", "containers"):
            keys += [f"{key}.{each}" for each in value]
        elif key not in ("kind", "base", "sources"):
            keys.append(key)
    return keys


@pytest.mark.parametrize("name", SHEETS)
def test_every_value_of_a_sheet_that_comes_with_midflight_has_a_source(name: str) -> None:
    text = (files("midflight.runtime.devices") / "sheets" / f"{name}.toml").read_text()
    sheet = load_sheet(name)
    assert sheet.kind == name
    assert [key for key in values(tomllib.loads(text)) if not sheet.sources.get(key)] == []
    assert None not in (sheet.ports, sheet.port_rate, sheet.latency, sheet.power, sheet.table_write, sheet.packet_io)


def test_there_are_no_other_sheets() -> None:
    there = files("midflight.runtime.devices") / "sheets"
    assert sorted(each.name for each in there.iterdir()) == [f"{name}.toml" for name in SHEETS]


def test_the_sheet_of_xdp_has_the_limits_of_the_code() -> None:
    sheet = capabilities("xdp")
    assert (sheet.key_bits, sheet.header_bits) == (KEY, 8 * LARGEST)


def test_tofino_has_the_numbers_of_its_compiler() -> None:
    sheet = load_sheet("tofino")
    assert (sheet.stages, sheet.per_stage["sram"], sheet.per_stage["tcam"]) == (12, 80, 24)
    assert sheet.header_vector_bits == 4096
    assert load_sheet("tofino2").stages == 20
    assert load_sheet("tofino2").per_stage == sheet.per_stage


MINE = """
kind = "mine"
base = "tofino"
stages = { value = 6, source = "manual" }
latency = "1.5us"
externs = ["register", "digest"]

[per_stage]
sram = 40

[sources]
manual = "the manual, page 3"
"""


def test_a_sheet_overrides_its_base(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    sheet = load_sheet(tmp_path / "mine.toml")
    assert (sheet.kind, sheet.stages, sheet.latency) == ("mine", 6, 1500)
    assert sheet.per_stage == {"sram": 40}
    assert sheet.externs == frozenset({"register", "digest"})
    assert sheet.containers == load_sheet("tofino").containers
    assert sheet.sources["stages"] == "the manual, page 3"


def test_a_network_file_names_sheets(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(MINE)
    text = "switches:\n  s1: {address: 'x:1', sheet: mine.toml}\n  s2: {address: 'x:2', sheet: tofino2}\n"
    switches = parse_network(text, str(tmp_path / "net.yaml")).switches
    assert [each.sheet.stages for each in switches.values() if each.sheet] == [6, 20]
    (tmp_path / "mine.toml").write_text("kind = 'mine'\nstages = 'six'")
    with pytest.raises(MidflightError, match=r"mine.toml:2:1: stages must be"):
        parse_network(text, str(tmp_path / "net.yaml"))
    with pytest.raises(MidflightError, match=r"net.yaml:2:.*No such file"):
        parse_network(text.replace("mine", "other"), str(tmp_path / "net.yaml"))


def test_a_number_with_too_many_digits_to_print_is_refused() -> None:
    with pytest.raises(MidflightError, match=r"mine.toml: not TOML that can be read: .*digits"):
        parse_sheet(f'kind = "a"\nstages = 0x{"f" * 4000}', "mine.toml")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("stages = 3", 1, "kind is missing"),
        ('kind = "a"\nstages = -1', 2, "stages must be a whole number that is not negative, not -1"),
        ('kind = "a"\nstages = true', 2, "stages must be a whole number"),
        ('kind = "a"\nstagse = 3', 2, "stagse is not a key of a capability sheet"),
        ('kind = "a"\nlatency = "3 furlongs"', 2, "latency must be a number with one of the units ns, us"),
        ('kind = "a"\nmulticast = 1', 2, "multicast must be true or false, not 1"),
        ('kind = "a"\npower = "much"', 2, "power must be a number"),
        ('kind = "a"\n\n[per_stage]\nsram = 80\nram = 2', 5, "per_stage.ram is unknown; per_stage has table"),
        ('kind = "a"\n[blocks]\nsram = 80', 3, r"blocks.sram must be \[rows, bits\], not 80"),
        ('kind = "a"\n[containers]\n7 = 80', 3, "containers.7 is unknown; containers has 8, 16, 32"),
        ('kind = "a"\nmatch_kinds = ["exact", "fuzzy"]', 2, "match_kinds has the unknown match kind fuzzy"),
        ('kind = "a"\nstages = { value = 3, source = "x" }', 2, "stages has the source 'x', which is not in"),
        (
            'kind = "a"\nstages = { value = 3, source = ["x"] }',
            2,
            r"stages has the source \['x'\], which must be a name",
        ),
        ('kind = "a"\nstages = { number = 3 }', 2, "stages must be a value, or { value"),
        ('kind = "a"\nbase = "b"', 2, "base must be one of bmv2"),
        ('kind = "a"\nsources = 3', 2, "sources must be a table of texts"),
        ('kind = "a"\nper_stage = 3', 2, "per_stage must be a table of names and values"),
        ('kind = "a"\nper_stage = { sram = 80, ram = 2 }', 2, "per_stage.ram is unknown"),
        ('kind = "a"\n\nblocks = { sram = 80 }', 3, r"blocks.sram must be \[rows, bits\], not 80"),
        ('kind = "a"\narchitecture = "pna"', 2, "architecture must be one of v1model, tna, t2na, not 'pna'"),
        ('kind = "a"\narchitecture = ["tna"]', 2, "architecture must be one of v1model, tna, t2na"),
        ('kind = "a"\n[stages]\nvalue = ', 3, "not TOML: Invalid value"),
    ],
)
def test_a_mistake_is_reported_with_file_line_and_key(text: str, line: int, message: str) -> None:
    with pytest.raises(MidflightError, match=message) as raised:
        parse_sheet(text, "mine.toml")
    assert raised.value.place is not None
    assert (raised.value.place.file, raised.value.place.line) == ("mine.toml", line)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (
            'kind = "a"\nstages = 3 4\n',
            ["mine.toml:2:12: not TOML: Expected", "    stages = 3 4", f"{' ' * 15}^"],
        ),
        ('kind = "a"\r\nstages = \r\n', ["mine.toml:2:10: not TOML: Invalid value", "    stages = ", f"{' ' * 13}^"]),
        ("# \u2028\nstages = ]", ["mine.toml:2:10: not TOML: Invalid value", "    stages = ]", f"{' ' * 13}^"]),
        ("externs = [\n  'a',\n\n", ["mine.toml:2:7: not TOML: ", "      'a',", f"{' ' * 10}^"]),
    ],
)
def test_a_syntax_error_has_its_place(text: str, lines: list[str]) -> None:
    with pytest.raises(MidflightError) as raised:
        parse_sheet(text, "mine.toml")
    first, *rest = str(raised.value).split("\n")
    assert first.startswith(lines[0])
    assert "(at" not in first
    assert rest == lines[1:]


@pytest.mark.parametrize(("value", "message"), [("[" * 100_000, "nested too deeply"), ("1" * 5000, "4300 digits")])
def test_a_value_beyond_python_is_refused(value: str, message: str) -> None:
    with pytest.raises(MidflightError, match=f"^mine.toml: not TOML that can be read: .*{message}"):
        parse_sheet(f'kind = "a"\nstages = {value}', "mine.toml")


def test_an_unknown_key_gets_all_keys() -> None:
    with pytest.raises(MidflightError) as raised:
        parse_sheet('kind = "a"\nstagse = 3')
    keys = raised.value.hint.removeprefix("the keys are ").split(", ")
    assert {"kind", "base", "sources", "stages", "per_stage"} <= set(keys)


def test_the_architectures_are_those_of_the_emitter() -> None:
    assert ("v1model", *architecture.ARCHITECTURES) == ARCHITECTURES


def test_what_is_no_sheet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MidflightError, match="there is no capability sheet 'tofin'"):
        load_sheet("tofin")
    with pytest.raises(MidflightError, match=re.escape(f"{tmp_path / 'no.toml'}: No such file")):
        load_sheet(tmp_path / "no.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff")
    with pytest.raises(MidflightError, match=r"not UTF-8 text \(byte 0\)"):
        load_sheet(tmp_path / "binary.toml")


def test_another_package_adds_a_kind_of_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "other_devices.py").write_text(
        "from midflight.runtime.devices import Capabilities\n"
        "class Toaster:\n    capabilities = Capabilities(kind='toaster', stages=2)\n"
    )
    folder = tmp_path / "other-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[midflight.devices]\ntoaster = other_devices:Toaster\nbroken = other_devices:Kettle\n"
    )
    assert kinds() == ("bmv2", "broken", "host", "toaster", "xdp")
    assert capabilities("toaster") == Capabilities(kind="toaster", stages=2)
    with pytest.raises(DeviceError, match="the device 'broken' of other_devices:Kettle cannot be imported"):
        capabilities("broken")
    with pytest.raises(DeviceError, match="there is no device 'kettle'") as raised:
        capabilities("kettle")
    assert "toaster" in raised.value.hint

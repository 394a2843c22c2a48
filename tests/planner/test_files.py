"""`midflight place` and its files."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from midflight.errors import MidflightError
from midflight.runtime.placement.planner.files import parse_application, parse_network
from tests.cli.run import midflight

APP = """\
packet: 1000B
sources:
  sensors: {at: [h1, h2], rate: 100Mbit}
steps:
  hot: {takes: sensors, keeps: 20%}
  count: {takes: [hot], keeps: 0.5}
sinks:
  store: {takes: count, at: h3}
"""
NET = """\
devices:
  edge: tofino2
  core: {sheet: tofino, in_use: {stages: 4}}
hosts: [h1, h2, h3]
defaults: {rate: 40Gbit}
links:
  - h1 edge
  - h2 edge
  - {ends: edge core, rate: 100Gbit, delay: 2us, in_use: 1Gbit}
  - [core, h3]
"""
PROGRAM = """\
from midflight.primitives import Filter, Program

program = Program(Filter("hot", keep="heat > 80"), Filter("count", keep="heat > 90"))
"""


def test_files_are_read() -> None:
    found = parse_application(APP).application
    assert found.packet == 8000
    assert [(each.name, each.takes, each.keeps) for each in found.steps] == [
        ("hot", ("sensors",), 0.2),
        ("count", ("hot",), 0.5),
    ]
    assert found.rates() == {"sensors": 1e8, "hot": pytest.approx(4e7), "count": pytest.approx(2e7)}
    network = parse_network(NET)
    assert {name: each.forwards for name, each in network.devices.items()} == {
        "edge": True, "core": True, "h1": False, "h2": False, "h3": False,
    }  # fmt: skip
    assert network.devices["core"].sheet.stages == 8
    assert [(each.rate, each.delay) for each in network.links] == [
        (40 * 10**9, 1000), (40 * 10**9, 1000), (99 * 10**9, 2000), (40 * 10**9, 1000),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("takes: sensors", "takes: nothing", 4, "takes from nothing, which is not a source or an earlier step"),
        ("keeps: 20%", "keeps: most", 5, "keeps must be a number such as 0.2 or 20%"),
        ("keeps: 20%", "split: yes please", 5, "split must be true or false"),
        ("keeps: 20%", "returns: true", 4, "step hot returns its result, but is not split"),
        ("rate: 100Mbit", "rate: 100 apples", 3, "'100 apples' is not a valid rate"),
        (", rate: 100Mbit", "", 3, "rate is missing"),
        pytest.param("rate: 100Mbit", f"rate: {'9' * 309}", 3, "is not a valid rate", id="beyond floats"),
        pytest.param("rate: 100Mbit", f"rate: 0x{'f' * 4000}", 3, "0xf.* is too large", id="beyond printing"),
        ("rate: 100Mbit", "rate: 2000000000Gbit", 3, "'2000000000Gbit' is not a valid rate"),
        ("rate: 100Mbit", "rate: 0Mbit", 3, "sensors needs a rate above 0"),
        ("rate: 100Mbit", "rate: 0", 3, "sensors needs a rate above 0"),
        ("[h1, h2]", "[]", 3, "sensors is at no device"),
        ("[h1, h2]", "[h1, h2, h1]", 3, "sensors lists the device h1 twice"),
        ("at: h3", "at: ''", 8, "store is at no device"),
        ("at: h3", "at: h3 h3", 8, "store lists the device h3 twice"),
        ("at: h3", "att: h3", 8, "sink store has no 'att'"),
        ("takes: count, at", "takes: counts, at", 4, "sink store takes from counts, which is not a step"),
        ("packet: 1000B", "packet: 0B", 1, "a packet has at least one byte"),
        ("sources:", "source:", 2, "an application has no 'source'"),
    ],
)
def test_mistakes_in_applications(old: str, new: str, line: int, message: str) -> None:
    with pytest.raises(MidflightError, match=message) as raised:
        parse_application(APP.replace(old, new), "app.yaml")
    assert raised.value.place is not None
    assert raised.value.place.line in (line, line + 1)


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("edge: tofino2", "edge: tofinoo.toml", 2, "No such file"),
        ("stages: 4", "stages: 40", 3, "stages must be an integer from 0 to 12"),
        ("stages: 4", "table_entries: 4", 3, "tofino has no limit of table_entries"),
        ("h1 edge", "h1 edgy", 7, "there is no device edgy"),
        ("h1 edge", "h1", 7, "a link has two ends"),
        ("in_use: 1Gbit", "in_use: 200Gbit", 9, "more of the link is in use than it has"),
        ("[h1, h2, h3]", "[h1, h2, h3, core]", 4, "core is both a device and a host"),
        ("h1 edge", "h1 h1", 7, "has the same device at both ends"),
    ],
)
def test_mistakes_in_networks(old: str, new: str, line: int, message: str) -> None:
    with pytest.raises(MidflightError, match=message) as raised:
        parse_network(NET.replace(old, new, 1), "net.yaml")
    assert raised.value.place is not None
    assert raised.value.place.line == line


def test_the_command_places_explains_and_plans_again(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text(PROGRAM)
    app, net = tmp_path / "app.yaml", tmp_path / "net.yaml"
    app.write_text(f"program: app.py\n{APP}")
    net.write_text(NET)
    options = ("--topology", net, "--picture", tmp_path / "plan.svg", "--json", tmp_path / "plan.json")
    done = midflight("place", app, *options)
    assert done.exit_code == 0, done.output
    assert "hot: edge" in done.output
    assert "not h1, h2, h3: gets 25,000 packets a second, and processes 20,000" in done.output
    assert "bytes: 240.0 Mbit/s on links, the best plan\n" in done.output
    found = json.loads((tmp_path / "plan.json").read_text())
    assert found["steps"]["hot"]["device"] == "edge"
    assert (tmp_path / "plan.svg").read_text().startswith("<svg")
    twin = NET.replace("hosts:", "  twin: tofino2\nhosts:")
    net.write_text(f"{twin}  - h1 twin\n  - h2 twin\n  - {{ends: twin core, rate: 100Gbit}}\n")
    done = midflight("place", app, *options)
    first = json.loads((tmp_path / "plan.json").read_text())["steps"]["hot"]["device"]
    other = {"edge": "twin", "twin": "edge"}[first]
    done = midflight("place", app, "--topology", net, "--without", first)
    assert f"Without {first}: hot from {first} to {other}" in done.output
    net.write_text(NET.replace("tofino2", "{sheet: tofino2, in_use: {stages: 19}}"))
    done = midflight("place", app, "--topology", net, "--objective", "latency")
    assert "stages, " in done.output
    assert done.exit_code == 0, done.output
    assert re.search(r"^latency: [\d.]+ us at most, the best plan$", done.output, re.MULTILINE)
    done = midflight("place", app, "--topology", net, "--objective", "energy")
    assert re.search(r"^energy: [\d.e-]+ W, the best plan$", done.output, re.MULTILINE)


def test_the_command_says_what_a_missing_device_breaks(tmp_path: Path) -> None:
    app, net = tmp_path / "app.yaml", tmp_path / "net.yaml"
    app.write_text(APP)
    net.write_text(NET)
    done = midflight("place", app, "--topology", net, "--without", "core")
    assert done.exit_code == 1
    assert "without core, there is no path from sensors at h1 to store at h3" in done.output
    done = midflight("place", app, "--topology", net, "--without", "h3")
    assert done.exit_code == 1
    assert f"{app}:8:29: store is at h3, which --without removes" in done.output
    app.write_text(APP.replace("[h1, h2]", "[h1, h9]"))
    done = midflight("place", app, "--topology", net)
    assert done.exit_code == 1
    assert f"{app}:3:17: sensors is at h9, which is not a device of the network" in done.output

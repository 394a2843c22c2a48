"""`midflight bench ports`: its report, the error without root, and the packet generator."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from midflight.testbed.bench.traffic import BareForwarder, Generator
from tests.bmv2 import ROOT
from tests.cli.run import midflight
from tests.ports.lab import Lab, ethernet
from tests.ports.test_command import without_rights


def test_without_root_the_requirement_is_reported() -> None:
    result = without_rights("bench", "ports")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        "midflight: no permission to create a network namespace: Operation not permitted\n"
        "    run it with sudo or grant it CAP_SYS_ADMIN\n"
    )


@pytest.mark.parametrize("option", [("--runs", "0"), ("--size", "63"), ("--size", "1515")])
def test_a_number_out_of_range_is_rejected(option: tuple[str, str]) -> None:
    assert midflight("bench", "ports", *option).exit_code == 2


class TestWithRoot:
    pytestmark = ROOT

    def test_figures_and_table(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("MIDFLIGHT_P4C", "/bin/true")
        monkeypatch.setenv("MIDFLIGHT_SIMPLE_SWITCH_GRPC", "/nowhere/simple_switch_grpc")
        result = midflight("bench", "ports", "--runs", "2", "--size", "100", "--json", tmp_path / "ports.json")
        assert result.exit_code == 0, result.stderr
        found = json.loads((tmp_path / "ports.json").read_text())
        assert found["packet_bytes"] == 100
        assert found["simple_switch"] is None
        assert "/nowhere/simple_switch_grpc" in found["missing"]
        for name in ("bare", "switch"):
            assert len(found[name]["backlog"]) == len(found[name]["live"]) == 2
            assert min(found[name]["backlog"] + found[name]["live"]) > 0
        rows = dict(re.split(r" {2,}", line.strip())[:2] for line in result.stdout.splitlines() if "  " in line.strip())
        assert rows["speed of midflight relative to this, from a backlog"] == f"{found['to_bare']:.2f}"
        assert rows["speed of midflight relative to this, live"] == f"{found['to_bare_live']:.2f}"

    def test_a_generator_sends_each_packet_in_turn_up_to_the_given_number(self) -> None:
        packets = [ethernet(1, bytes([number]) * 60) for number in range(3)]
        with Lab(1) as lab, lab.inside(lambda: Generator("s1", packets)) as generator:
            seen = lab.host(1)
            assert generator.run(60.0, limit=1000).packets == 1000
            got = seen.waiting()
            assert got == (packets * 334)[:1000]
            assert generator.run(60.0, rate=100e3, limit=130).packets == 130
            assert len(seen.waiting()) == 130
            assert generator.run(0.0).packets == 0

    def test_the_bare_loop_forwards_every_packet_unchanged(self) -> None:
        packets = [ethernet(9, bytes([size % 256]) * size) for size in range(1, 1400, 7)]
        with Lab(2) as lab, lab.inside(lambda: BareForwarder("s1", "s2")) as forwarder:
            one, two = lab.host(1), lab.host(2)
            for each in packets[:150]:
                one.send(each)
            forwarder.start()
            for each in packets[150:]:
                one.send(each)
            assert [two.receive() for _ in packets] == packets

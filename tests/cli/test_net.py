"""`midflight net`: topologies from files, and commands to hosts and switches."""

from __future__ import annotations

import os
from pathlib import Path
from xml.etree import ElementTree

import pytest

from midflight.testbed.fabric.runs import find
from tests.bmv2 import BMV2, PING, ROOT
from tests.cli.run import PROGRAM, midflight, process

YAML = "links:\n  - h1 s1\n  - h2 s1:5\n  - {ends: h3 s1, loss: 1%}\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "net.yaml"
    made.write_text(YAML)
    return made


def test_commands_show_a_network(file: Path, tmp_path: Path) -> None:
    done = midflight(
        "net", file, "--fabric", "sim", "--picture", tmp_path / "net.svg",
        "-c", "nodes", "-c", "links", "-c", "s1 table", "-c", "s1 table ingress.route", "-c", "s1 counter",
        "-c", "s1 counter ingress.malformed", "-c", "s1 state", "-c", "s1 state gradients",
        "-c", f"picture {tmp_path}/again.svg", "-c", "help",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    for words in (
        "h2       10.0.0.2  02:00:00:00:00:02\n",
        "s1       host, P4Runtime on 127.0.0.1:",
        "h2:0       s1:5       0 packets there, 0 back\n",
        "h3:0       s1:2       0 packets there, 0 back, 0 lost\n",
        "ingress.route: 3 entries of at most 4096\n",
        "hdr.ipv4.destination=10.0.0.2/32 => ingress.to_port(port=5, mac=02:00:00:00:00:02)\n",
        "ingress.malformed: 1 cells\n",
        "gradients.total: 512 elements of 32 lanes\n",
        "h1 ping -c 3 h2",
    ):
        assert words in done.output
    assert (tmp_path / "net.svg").read_text() == (tmp_path / "again.svg").read_text()
    ElementTree.parse(tmp_path / "net.svg")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("h9 ls", "there is no command, host or switch h9"),
        ("h1 ls", "h1 is a simulated host and cannot run commands"),
        ("h1", "h1 needs a command"),
        ("s1 dance", "s1 has no command 'dance'"),
        ("s1 table ingress.none", "ingress.none"),
        ("s1 log", "s1 has no log, because it has no process of its own"),
        ("s1 trace", "s1 has no command 'trace'"),
        ("picture", "picture needs a file name"),
        ("s1 'table", "No closing quotation"),
    ],
)
def test_an_invalid_command_is_reported_and_ends_a_list_of_commands(file: Path, command: str, words: str) -> None:
    done = midflight("net", file, "--fabric", "sim", "-c", command, "-c", "nodes")
    assert done.exit_code == 1
    assert words in done.output
    assert "10.0.0.1" not in done.output


def test_a_sheet_limits_the_switches(file: Path, tmp_path: Path) -> None:
    sheet = tmp_path / "mine.toml"
    sheet.write_text('kind = "mine"\nregister_bits = 100\n')
    options = ("--fabric", "sim", "-c", "s1 state gradients")
    done = midflight("net", file, "--sheet", sheet, *options)
    assert "s1 does not run gradients" in done.output
    sheet.write_text('kind = "mine"\nregister_bits = "few"\n')
    done = midflight("net", file, "--sheet", sheet, *options)
    assert done.exit_code == 1
    assert "mine.toml:2:1: register_bits must be a whole number" in done.output
    done = midflight("net", file, "--device", "toaster")
    assert done.exit_code == 2
    assert "'toaster' is not one of bmv2, host, xdp." in done.output


def test_the_prompt_reads_until_exit_or_the_end(file: Path, tmp_path: Path) -> None:
    lab = tmp_path / "lab.py"
    lab.write_text(PROGRAM)
    arguments = ["net", str(file), "--fabric", "sim", "--program", str(lab)]
    done = process(*arguments, input="s9 x\n\ns1 table\nexit\nnodes\n")
    assert done.returncode == 0, done.stderr
    assert "there is no command, host or switch s9" in done.stderr
    assert "ingress.admission: 0 entries" in done.stdout
    assert "10.0.0.1" not in done.stdout
    assert "10.0.0.1" in process(*arguments, input="nodes\n").stdout


def test_an_invalid_file_is_reported_with_its_place(file: Path) -> None:
    file.write_text("links: [h1]")
    done = midflight("net", file)
    assert done.exit_code == 1
    assert "net.yaml:1:9: a link has two ends" in process("net", file).stderr


@ROOT[0]
@ROOT[1]
def test_hosts_in_namespaces_run_commands(file: Path, tmp_path: Path) -> None:
    done = midflight(
        "net", file, "--pcap", tmp_path / "captures",
        "-c", "h1 cat /sys/class/net/eth0/address", "-c", "h1 echo h2 to h9", "-c", "s1 log", "-c", "h1 false",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "02:00:00:00:00:01\n10.0.0.2 to h9\n" in done.output
    assert "P4Runtime on unix:" in done.output
    assert len(list((tmp_path / "captures").iterdir())) == 3
    # Other networks may run on this machine at the same time.
    assert [each.id for each in find() if each.owner == os.getpid()] == []


@PING
@ROOT[0]
@ROOT[1]
def test_a_switch_traces_packets(file: Path) -> None:
    done = midflight(
        "net", file, "-c", "s1 trace on", "-c", "s1 trace on", "-c", "h1 ping -c 1 -W 5 h2", "-c", "s1 trace off",
        "-c", "s1 trace off", "-c", "h1 ping -c 1 -W 5 h2",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    for port, other in ((1, 5), (5, 1)):
        way = (
            f"s1 in by port {port}, 98 bytes\n"
            "s1   parser     start, parse_ethernet, parse_ipv4, accept\n"
            "s1   table      ingress.route: hit, ingress.to_port\n"
            f"s1   egress     port {other}\n"
            f"s1   out        by port {other}, 98 bytes\n"
        )
        assert done.output.count(way) == 1, done.output


@ROOT[0]
@ROOT[1]
@BMV2[0]
@BMV2[1]
def test_bmv2_traces_packets_if_started_for_it(file: Path) -> None:
    ping = ("-c", "s1 trace on", "-c", "h1 ping -c 1 -W 5 h2")
    done = midflight("net", file, "--device", "bmv2", "--trace", *ping)
    assert done.exit_code == 0, done.output
    assert (
        "s1 in by port 1\n"
        "s1   parser     start, parse_ethernet, parse_ipv4, accept\n"
        "s1   table      ingress.route: hit, ingress.to_port\n"
        "s1   egress     port 5\n"
        "s1   out        by port 5, 98 bytes\n"
    ) in done.output
    done = midflight("net", file, "--device", "bmv2", *ping)
    assert done.exit_code == 1
    assert "this BMv2 does not log its packets" in done.output


@PING
@ROOT[0]
@ROOT[1]
def test_traces_at_the_end_are_printed(file: Path) -> None:
    done = midflight("net", file, "-c", "s1 trace on", "-c", "h1 ping -c 1 -W 5 h2")
    assert done.exit_code == 0, done.output
    assert "s1   out        by port 5, 98 bytes\n" in done.output

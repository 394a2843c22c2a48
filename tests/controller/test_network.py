"""Existing networks, described in YAML files."""

from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path

import pytest

from midflight.errors import MidflightError
from midflight.runtime.controller.network import load_network, parse_network
from midflight.runtime.devices.registry import capabilities
from midflight.runtime.p4runtime.tls import ClientTls

GOLDEN = Path(__file__).with_name("golden") / "network_mistakes.txt"

NETWORK = """\
switches:
  s1: {address: "127.0.0.1:9559", kind: host}
  s2: {address: "unix:/run/s2.sock", device_id: 7, kind: bmv2, role: sums, capabilities: {stages: 12}}
  s3: {address: "[::1]:9559", compiler: p4c, mac: "02:aa:00:00:00:03"}
hosts:
  h1: {address: 10.0.0.1, mac: "02:00:00:00:00:01"}
  h2: {address: "fd00::2", mac: 12:00:00:00:00:02, port: "s2:1"}
defaults: {delay: 3us}
links:
  - h1 s1
  - s1:7 s2
  - {ends: s2 s3, delay: 2ms, mtu: 9000}
"""


def test_a_network_is_a_graph_with_addresses() -> None:
    network = parse_network(NETWORK)
    one, two, three = network.switches.values()
    assert (one.name, one.address, one.device_id, one.kind) == ("s1", "127.0.0.1:9559", 1, "host")
    assert one.sheet == capabilities("host")
    assert (two.address, two.device_id, two.role) == ("unix:/run/s2.sock", 7, "sums")
    assert two.sheet is not None
    assert (two.sheet.kind, two.sheet.stages) == ("bmv2", 12)
    assert (three.address, three.kind, three.sheet, three.compiler) == ("[::1]:9559", "", None, "p4c")
    assert network.host("h2").address == ip_address("fd00::2")
    assert network.host("h2").mac == 0x12_00_00_00_00_02
    assert network.graph.node("s3").mac == 0x02_AA_00_00_00_03
    assert network.graph.node("s1").mac == 0x02_00_00_01_00_01


def test_ports_are_numbered_as_in_a_topology() -> None:
    graph = parse_network(NETWORK).graph
    assert graph.port_towards("s1", "h1") == 1
    assert graph.port_towards("s1", "s2") == 7
    assert graph.port_towards("s2", "h2") == 1
    assert graph.port_towards("s2", "s1") == 2
    assert graph.port_towards("s2", "s3") == 3


def test_delays_determine_routes_and_the_smallest_mtu_applies() -> None:
    network = parse_network(NETWORK)
    path = network.graph.path("h1", "s3")
    assert path is not None
    assert path.delay == 3_000 + 3_000 + 2_000_000
    assert network.mtu == 1500
    assert parse_network(NETWORK.replace("delay: 3us", "mtu: 1400B")).mtu == 1400


def test_tls_files_are_relative_to_the_network_file(tmp_path: Path) -> None:
    for name in ("own.pem", "own.key", "ca.pem"):
        (tmp_path / name).touch()
    own = ClientTls(tmp_path / "ca.pem", tmp_path / "own.pem", tmp_path / "own.key")
    file = tmp_path / "network.yaml"
    plain = NETWORK.replace("kind: host", "kind: host, tls: false", 1)
    assert plain != NETWORK
    file.write_text(plain + "tls: {certificate: own.pem, key: own.key, authority: ca.pem}\n")
    first, *others = load_network(file).switches.values()
    assert first.tls is None
    assert others
    assert all(each.tls == own for each in others)
    file.write_text(NETWORK + "tls: {authority: ca.pem, server_name: switch}\n")
    assert next(iter(load_network(file).switches.values())).tls == ClientTls(tmp_path / "ca.pem", server_name="switch")
    assert all(each.tls is None for each in parse_network(NETWORK).switches.values())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (f"delay: {'9' * 309}", "is not a valid delay of a link"),
        (f"delay: 0x{'f' * 4000}", "is too large"),
        ("delay: -1", "-1 is not a valid delay of a link"),
        ("mtu: 0", "0 is not a valid mtu of a link"),
        ("mtu: 64KiB", "'64KiB' is not a valid mtu of a link"),
        (f"port: {'9' * 5000}", "is not an end of a link"),
    ],
    ids=["delay", "digits", "negative", "no bytes", "too many bytes", "port"],
)
def test_numbers_out_of_range_are_reported(wrong: str, message: str) -> None:
    text = NETWORK.replace("delay: 3us", wrong)
    if wrong.startswith("port"):
        text = NETWORK.replace('port: "s2:1"', wrong.replace(" ", ' "s2:') + '"')
    assert text != NETWORK
    with pytest.raises(MidflightError, match=message) as caught:
        parse_network(text)
    assert caught.value.place is not None


S1 = 'switches: {s1: {address: "127.0.0.1:9559"}}\n'
H1 = 'h1: {address: 10.0.0.1, mac: "02:00:00:00:00:01"}'
MISTAKES = [
    "",
    "links: [h1 s1]",
    "switches: [s1, s2]",
    "switches: {s1: {}}",
    "switches: {s1: {address: nowhere}}",
    'switches: {s1: {address: "127.0.0.1:9559", adress: 1}}',
    'switches: {s1: {address: "127.0.0.1:9559", kind: tofino}}',
    'switches: {s1: {address: "127.0.0.1:9559", device_id: -1}}',
    'switches: {"1s": {address: "127.0.0.1:9559"}}',
    'switches: {s1: {address: "127.0.0.1:9559"}, s2: {address: "127.0.0.1:9559"}}',
    'switches: {s1: {address: "127.0.0.1:9559", capabilities: {stages: many}}}',
    'switches: {s1: {address: "127.0.0.1:9559", capabilities: {steps: 12}}}',
    'switches: {s1: {address: "127.0.0.1:9559", capabilities: {multicast: 1}}}',
    'switches: {s1: {address: "127.0.0.1:9559", mac: 5}}',
    "switches: {}",
    'switches: {s1: {address: "::1:9559"}}',
    S1 + 'hosts: {h1: {address: "fe80::1%eth0", mac: "02:00:00:00:00:01"}}',
    S1 + 'hosts: {h1: {address: 10.0.0.1, mac: "ff:ff:ff:ff:ff:ff"}}',
    S1 + "hosts: [h1]",
    S1 + "hosts: {h1: {address: 10.0.0.1}}",
    S1 + 'hosts: {h1: {address: here, mac: "02:00:00:00:00:01"}}',
    S1 + 'hosts: {h1: {address: 127.0.0.1, mac: "02:00:00:00:00:01"}}',
    S1 + f"hosts: {{{H1}}}\nlinks: [h1 s2]",
    S1 + f"hosts: {{{H1}}}\nlinks: [h1 s1, h1 s1]",
    S1 + f"hosts: {{{H1}}}\nlinks: ['h1:2 s1']",
    S1 + f"hosts: {{{H1}}}\nlinks: ['h1 s1:511']",
    S1 + f"hosts: {{{H1}}}\nlinks: ['h1 s1:x']",
    S1 + f"hosts: {{{H1}}}\nlinks:\n  - h1\n",
    S1 + f"hosts: {{{H1}}}\nlinks:\n  - {{ends: h1 s1, loss: 1%}}\n",
    S1 + f"hosts: {{{H1}}}\nlinks:\n  - {{ends: h1 s1, delay: 5 parsecs}}\n",
    S1 + "hosts:\n  " + H1 + '\n  h2: {address: 10.0.0.1, mac: "02:00:00:00:00:02"}',
    S1 + "tls: {certificate: a.pem}",
    S1 + "tls: {certificate: a.pem, key: b.pem, authority: c.pem}",
]


def test_mistakes_are_reported_with_their_place() -> None:
    reported = []
    for text in MISTAKES:
        with pytest.raises(MidflightError) as caught:
            parse_network(text, "network.yaml")
        assert caught.value.place is not None
        reported.append(f"{text.rstrip()}\n=>\n{caught.value}\n")
    if os.environ.get("MIDFLIGHT_GOLDEN") == "write":
        GOLDEN.write_text("\n".join(reported))
    assert "\n".join(reported) == GOLDEN.read_text()

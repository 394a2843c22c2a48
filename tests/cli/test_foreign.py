"""`midflight net --from`: networks of p4-utils, of p4lang's tutorials, and of Mininet scripts."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from midflight.cli.foreign import read_foreign
from midflight.errors import MidflightError
from midflight.testbed.topology import LinkQuality
from tests.bmv2 import PING, ROOT
from tests.cli.run import midflight, process
from tests.cli.test_p4_net import PROGRAM

P4APP = {
    "p4_src": "l3.p4",
    "cli": True,
    "topology": {
        "assignment_strategy": "l3",
        "default": {"bw": 10},
        "links": [["h1", "s1"], ["h2", "s2"], ["s1", "s2", {"bw": 5, "delay": "2ms", "loss": 1}]],
        "hosts": {"h1": {}, "h2": {"mac": "02:00:00:00:00:22"}},
        "switches": {"s1": {"cli_input": "s1-commands.txt"}, "s2": {"p4_src": "other.p4"}},
    },
    "exec_scripts": [],
}
TUTORIAL = {
    "hosts": {
        "h1": {"ip": "10.0.1.1/24", "mac": "08:00:00:00:01:11", "commands": ["route add default gw 10.0.1.10"]},
        "h2": {"ip": "10.0.2.2/24", "mac": "08:00:00:00:02:22"},
    },
    "switches": {"s1": {"runtime_json": "pod/s1-runtime.json"}, "s2": {}},
    "links": [["h1", "s1-p2"], ["h2", "s1-p1"], ["s1-p3", "s2-p1", "5", 0.5]],
}
RUNTIME = {
    "target": "bmv2",
    "p4info": "build/l3.p4.p4info.txtpb",
    "bmv2_json": "build/l3.json",
    "table_entries": [
        {
            "table": "ingress.routes",
            "match": {"hdr.ipv4.dst": ["10.0.1.1", 32]},
            "action_name": "ingress.forward",
            "action_params": {"mac": "08:00:00:00:01:11", "port": 2},
        }
    ],
}
SCRIPT = """
from mininet.cli import CLI
from mininet.link import TCLink
from mininet.net import Mininet
from mininet.topo import Topo


class Two(Topo):
    def build(self, hosts=2):
        switch = self.addSwitch("s1")
        for number in range(1, hosts + 1):
            host = self.addHost(f"h{number}", ip=f"10.0.7.{number}/24", mac=f"00:00:00:00:07:0{number}")
            self.addLink(host, switch, port2=number + 4, bw=20, delay="1ms")


def main():
    net = Mininet(topo=Two(), link=TCLink)
    net.start()
    CLI(net)


if __name__ == "__main__":
    main()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "l3.p4").write_text(PROGRAM)
    (tmp_path / "other.p4").write_text(PROGRAM.replace("routes", "ways"))
    (tmp_path / "s1-commands.txt").write_text("table_add routes forward 10.2.2.2/32 => 02:00:00:00:00:22 2\n")
    (tmp_path / "p4app.json").write_text(json.dumps(P4APP))
    (tmp_path / "pod").mkdir()
    (tmp_path / "pod" / "topology.json").write_text(json.dumps(TUTORIAL))
    (tmp_path / "pod" / "s1-runtime.json").write_text(json.dumps(RUNTIME))
    (tmp_path / "topo.py").write_text(SCRIPT)
    return tmp_path


def test_p4app(folder: Path) -> None:
    found = read_foreign(folder / "p4app.json")
    topology = found.topology
    assert [str(topology.address(each)) for each in topology.hosts] == ["10.1.1.2", "10.2.2.2"]
    assert [hex(topology.mac(each)) for each in topology.hosts] == ["0xa010102", "0x20000000022"]
    assert [str(link.one) + " " + str(link.other) for link in topology.links] == ["h1:0 s1:1", "h2:0 s2:1", "s1:2 s2:2"]
    assert topology.links[0].quality == LinkQuality(rate=10_000_000)
    assert topology.links[2].quality == LinkQuality(rate=5_000_000, delay=2_000_000, loss=0.01)
    assert found.programs == {"s1": folder / "l3.p4", "s2": folder / "other.p4"}
    assert found.entries == {"s1": [folder / "s1-commands.txt"]}
    assert not found.direct
    assert found.notes == (f"{folder}/p4app.json: 'exec_scripts' is not imported",)


@pytest.mark.parametrize(
    ("strategy", "addresses", "direct"),
    [
        ("l2", ["10.0.0.1", "10.0.0.2"], True),
        ("mixed", ["10.0.1.1", "10.0.2.2"], True),
        ("manual", ["10.0.0.1", "10.0.0.2"], False),
    ],
)
def test_assignment_strategies(folder: Path, strategy: str, addresses: list[str], direct: bool) -> None:
    changed = {**P4APP, "topology": {**P4APP["topology"], "assignment_strategy": strategy}}  # type: ignore[dict-item]
    (folder / "p4app.json").write_text(json.dumps(changed))
    found = read_foreign(folder / "p4app.json")
    assert [str(found.topology.address(each)) for each in found.topology.hosts] == addresses
    assert found.direct is direct


def test_the_tutorials(folder: Path) -> None:
    found = read_foreign(folder / "pod" / "topology.json")
    topology = found.topology
    assert [str(topology.address(each)) for each in topology.hosts] == ["10.0.1.1", "10.0.2.2"]
    assert topology.mac("h1") == 0x080000000111
    assert [str(link.other) for link in topology.links] == ["s1:2", "s1:1", "s2:1"]
    assert topology.links[2].quality == LinkQuality(delay=5_000_000, rate=500_000)
    assert found.programs == {"s1": folder / "l3.p4"}  # that of the runtime file
    assert found.entries == {"s1": [folder / "pod" / "s1-runtime.json"]}
    assert "the commands of hosts are not run" in found.notes[0]


def test_a_mininet_script_is_read_without_mininet(folder: Path) -> None:
    found = read_foreign(folder / "topo.py")
    assert not any(each.startswith("mininet") for each in sys.modules)
    topology = found.topology
    assert [str(link.other) for link in topology.links] == ["s1:5", "s1:6"]
    assert str(topology.address("h2")) == "10.0.7.2"
    assert topology.mac("h1") == 0x701
    assert topology.links[0].quality == LinkQuality(rate=20_000_000, delay=1_000_000)
    (folder / "topo.py").write_text(SCRIPT + "\n\ntopos = {'three': (lambda: Two(3))}\n")
    assert len(read_foreign(folder / "topo.py").topology.hosts) == 3


def test_networks_open(folder: Path) -> None:
    sim = ("--fabric", "sim", "-c", "s1 table ingress.routes", "-c", "nodes")
    done = midflight("net", "--from", folder / "p4app.json", *sim)
    assert done.exit_code == 0, done.output
    assert "hdr.ipv4.dst=10.2.2.2/32 => ingress.forward(mac=02:00:00:00:00:22, port=2)" in done.output
    assert "h1       10.1.1.2  00:00:0a:01:01:02" in done.output
    program = ("--program", folder / "l3.p4")
    done = midflight("net", "--from", folder / "pod" / "topology.json", *program, *sim)
    assert "hdr.ipv4.dst=10.0.1.1/32 => ingress.forward(mac=08:00:00:00:01:11, port=2)" in done.output
    assert midflight("net", "--from", folder / "topo.py", *program, *sim).exit_code == 0
    assert midflight("net", *program, *sim).exit_code == 2
    assert midflight("net", folder / "topo.py", "--from", folder / "topo.py", *sim).exit_code == 2


L2 = PROGRAM.replace("key = { hdr.ipv4.dst: lpm; }", "key = { hdr.ethernet.dst: exact; }").replace(
    "        hdr.ethernet.src = hdr.ethernet.dst;\n        hdr.ethernet.dst = mac;\n", ""
)


@pytest.mark.root
@ROOT[1]
@PING
def test_hosts_of_one_subnet_send_to_each_other(folder: Path) -> None:
    (folder / "l3.p4").write_text(L2)
    lines = [f"table_add routes forward 00:00:0a:00:00:0{number} => 0 {number}" for number in (1, 2)]
    (folder / "s1-commands.txt").write_text("\n".join(lines))
    topology = {
        "assignment_strategy": "l2",
        "links": [["h1", "s1"], ["h2", "s1"]],
        "hosts": {"h1": {}, "h2": {}},
        "switches": {"s1": {"cli_input": "s1-commands.txt"}},
    }
    (folder / "p4app.json").write_text(json.dumps({"p4_src": "l3.p4", "topology": topology}))
    done = process("net", "--from", folder / "p4app.json", "-c", "h1 ping -c 1 -W 2 h2")
    assert "1 received" in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "a.json:1:2: "),
        ("a.json", "{\n", "a.json:2:1: "),
        ("a.json", f'{{"links": {"1" * 5000}}}', "a.json: Exceeds the limit"),
        ("a.json", "[]", "a JSON object is expected"),
        ("a.json", "{}", "is not a network of p4-utils"),
        ("a.json", '{"topology": {"links": [["h1"]]}}', "['h1'] is not a link"),
        ("a.json", '{"topology": {"links": 5}}', "a.json: links is not a list"),
        ("a.json", '{"topology": {"default": [1]}}', "a.json: default is not a mapping"),
        ("a.json", '{"topology": {"hosts": [{"a": 1}]}}', "a node cannot be called"),
        ("a.json", '{"links": null, "hosts": [], "switches": []}', "a.json: links is not a list"),
        ("a.json", '{"topology": {"assignment_strategy": "l9"}}', "unknown assignment_strategy 'l9'"),
        ("a.json", '{"topology": {"hosts": {"h1": {"ip": "10.0.0.900"}}}}', "an address of h1: "),
        ("a.json", '{"topology": {"hosts": {"h1": {"mac": "00:00:00:00:00:00:01"}}}}', "is not a MAC address"),
        ("a.json", '{"topology": {"links": [["h1", "s1", {"bw": 1e999}]]}}', "unknown delay, bandwidth or loss"),
        ("a.json", '{"p4_src": "no.p4", "topology": {"switches": {"s1": {}}}}', "there is no file no.p4"),
        ("a.json", '{"links": [["h1", "s1", "fast"]], "hosts": {"h1": {}}, "switches": ["s1"]}', "unknown delay"),
        ("a.py", "x = 1", "a.py has no topology"),
        ("a.py", "from mininet.topo import Topo\nclass A(Topo): pass\nclass B(Topo): pass", "several topologies: A, B"),
        ("a.py", "from mininet.topo import Topo\nclass A(Topo):\n    def build(self): 1 / 0", "ZeroDivisionError"),
    ],
)
def test_mistakes_are_reported(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(MidflightError) as caught:
        read_foreign(tmp_path / name)
    assert message in str(caught.value)

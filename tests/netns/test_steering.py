"""Steering between Linux hosts: ordinary sockets send to a service's address and get answers from it."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address
from pathlib import Path
from textwrap import dedent

import pytest

from midflight.errors import MidflightError
from midflight.primitives import Program, Steering, Threshold
from midflight.testbed.net import Net
from midflight.testbed.topology import Topology
from tests.bmv2 import BMV2, ROOT

pytestmark = ROOT

PAGE = Path(__file__).parents[2] / "docs" / "steering.md"
CS_ID, PORT, FLOWS = "10.9.0.1", 7000, 12
SERVER = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
    server.bind(("10.9.0.1", 7000))
    while True:
        request, client = server.recvfrom(2000)
        if request == b"end":
            break
        server.sendto(sys.argv[1].encode(), client)
"""
CLIENT = """
import socket
for flow in range(12):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("", 20_000 + flow))
        client.settimeout(1)
        for _ in range(10):  # until the servers have started
            client.sendto(b"request", ("10.9.0.1", 7000))
            try:
                answer, source = client.recvfrom(2000)
            except TimeoutError:
                continue
            print(answer.decode(), *source)
            break
"""
LONG = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
    client.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER: IP_PMTUDISC_DO
    client.connect(("10.9.0.1", 7000))
    client.settimeout(0.1)
    for _ in range(50):
        try:
            client.send(bytes(1472))
            client.recv(100)  # an error of ICMP is reported here or by the next call
        except TimeoutError:
            continue
        except OSError:
            break
    print(client.getsockopt(socket.IPPROTO_IP, 14))  # IP_MTU
"""
END = """
import socket
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as local:
    local.sendto(b"end", ("10.9.0.1", 7000))
"""


@pytest.mark.parametrize("device", ["host", pytest.param("bmv2", marks=BMV2)])
def test_linux_hosts_need_nothing_special(device: str) -> None:
    program = Program(Threshold("pressure", above=9, clear=5), Steering(buckets=16))
    topology = Topology.of([("h1", "s1"), ("h2", "s2"), ("h3", "s2"), ("h4", "s1"), ("s1", "s2")])
    with Net(topology, program=program, device=device, fabric="netns") as net, ThreadPoolExecutor(3) as pool:
        with pytest.raises(MidflightError, match="h2 has an IPv4 address"):
            net.steer("vision", "2001:db8::9", {"h2": 1})
        net.host("h2").accept(IPv4Address("10.9.0.9"))
        for _ in range(2):
            net.host("h2").reject(IPv4Address("10.9.0.9"))
        assert "10.9.0.9" not in net.host("h2").run(["ip", "address", "show", "dev", "lo"])
        services = net.steer("vision", CS_ID, {"h2": 1, "h3": 1, "h4": 1})
        running = [pool.submit(net.host(name).run, ["python3", "-c", SERVER, name]) for name in ("h2", "h3", "h4")]
        try:
            answers = net.host("h1").run(["python3", "-c", CLIENT]).splitlines()
            services.weigh("vision", {"h2": 1, "h3": 1, "h4": 0})  # behind another switch
            found = net.host("h1").run(["python3", "-c", LONG])
            services.weigh("vision", {"h2": 1, "h3": 1, "h4": 1})
        finally:
            for name in ("h2", "h3", "h4"):
                net.host(name).run(["python3", "-c", END])
        assert found == "1472\n", "Linux discovers the path's MTU"
        client = net.host("h1").address
        expected = [services.instance("vision", client, 20_000 + flow, PORT) for flow in range(FLOWS)]
        assert answers == [f"{name} {CS_ID} {PORT}" for name in expected]
        assert {*expected} == {"h2", "h3", "h4"}
        for each in running:
            each.result(timeout=10)


def test_the_example_of_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    found = re.search(r"^    from concurrent.*?(?=^\S)", PAGE.read_text(), re.S | re.M)
    assert found
    topology = Topology.of([("h1", "s1"), ("h2", "s2"), ("s1", "s2")])
    exec(dedent(found[0]), {"Net": Net, "program": Program(Steering(buckets=16)), "topology": topology})
    assert capsys.readouterr().out.strip() == f"b'answer' ('{CS_ID}', {PORT})"

"""The data plane alone leaves an instance whose process dies, on switches and hosts of namespaces."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from midflight.primitives import REQUEST, Balance, Message, Program, Schema, Steering
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.devices.process import Process
from midflight.runtime.endpoint.reliable import Address
from midflight.testbed import LinkQuality, Net
from midflight.testbed.fabric.janitor import NETNS
from midflight.testbed.topology import Topology
from midflight.testbed.topology.topology import Ends
from tests.bmv2 import BMV2, ROOT

pytestmark = ROOT

CS_ID = "10.9.0.1"
MS = 1_000_000
WAY = 50  # milliseconds between s1 and another switch
GAP = 5 * MS

SERVER = f"""
import json, socket, sys
from midflight.primitives import REQUEST, Balance, Message, Schema
schema, number = Schema(json.loads(sys.argv[1])), int(sys.argv[2])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
    own.bind(("{CS_ID}", {UDP_PORT}))
    print("ready", flush=True)
    while True:
        request, client = own.recvfrom(2000)
        fields = dict(schema.decode(request).fields) | {{"operation": Balance.REPORT, "instance": number}}
        own.sendto(bytes(schema.encode(Message(REQUEST, "pool", 1, fields))), client)
"""


@dataclass
class Client:
    """Sends a request of another flow every 5 ms, and notes which are answered."""

    schema: Schema
    number: int = 0
    due: int = 0
    sent: dict[int, int] = field(default_factory=dict)
    answered: dict[int, int] = field(default_factory=dict)

    def receive(self, source: Address, datagram: bytes, now: int, /) -> None:
        time = self.schema.decode(datagram).fields["time"]
        assert isinstance(time, int)
        self.answered[time] = now

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        if now < self.due:
            return []
        self.due, self.number = now + GAP, self.number + 1
        self.sent[self.number] = now
        fields = {"operation": Balance.ASK, "instance": 0, "load": 0, "time": self.number, "flow": self.number}
        return [((CS_ID, UDP_PORT), bytes(self.schema.encode(Message(REQUEST, "pool", 1, fields))))]

    def next_deadline(self) -> int | None:
        return self.due


@contextmanager
def server(net: Net, host: str, number: int, document: object, log: Path) -> Iterator[Process]:
    netns = str(NETNS / net.fabric.hosts[host].netns)  # type: ignore[attr-defined]
    process = Process([sys.executable, "-c", SERVER, json.dumps(document), str(number)], log, netns=netns)
    try:
        while "ready" not in process.log():
            assert not process.wait(0.05), process.log()
        yield process
    finally:
        process.stop()


@pytest.mark.parametrize("device", ["host", pytest.param("bmv2", marks=BMV2)])
def test_a_dead_process_is_left_within_three_round_trips(device: str, tmp_path: Path) -> None:
    balance = Balance("pool", instances=4, buckets=16, patience=4 * WAY * 1000)
    program = Program(balance, Steering(services=2, rules=2, pools=2, buckets=16, instances=4))
    schema, far = Schema(program.schema()), LinkQuality(delay=WAY * MS)
    links: list[Ends] = [("h1", "s1"), ("h2", "s2"), ("h3", "s3"), ("s1", "s2", far), ("s1", "s3", far)]
    with Net(Topology.of(links), program=program, fabric="netns", device=device) as net:
        net.admit("pool", switch="s1")
        services = net.steer("vision", CS_ID, {"h2": 1, "h3": 1})
        services.balance("vision", "pool")
        with (
            server(net, "h2", 1, program.schema(), tmp_path / "h2") as one,
            server(net, "h3", 2, program.schema(), tmp_path / "h3"),
        ):
            client = Client(schema)
            net.listen(net.host("h1"), client, UDP_PORT)
            net.run(lambda: len(client.answered) > 100)
            trips = [client.answered[number] - at for number, at in client.sent.items() if number in client.answered]
            os.kill(one.pid, signal.SIGKILL)
            died = net.now
            # Nothing but the switches steers; they try the silent instance again only much later.
            net.run(lambda: net.now - died > 20 * WAY * MS)
            known = [(at, number in client.answered) for number, at in client.sent.items()]
        lost = [at for at, answered in known if died < at < died + 10 * WAY * MS and not answered]
        assert lost, "it died"
        assert max(lost) - died < 3 * max(trips[-50:])

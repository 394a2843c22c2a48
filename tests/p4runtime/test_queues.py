"""Queues of a running switch, read and set over gRPC, at the command line, and at the prompt of a network."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import grpc
import numpy as np
import pytest

from midflight.errors import DeviceError
from midflight.runtime.devices.host import HostDevice
from midflight.runtime.engine import Packets
from midflight.runtime.engine.queues import QueueOptions, Rate
from midflight.runtime.p4runtime.client.queues import RemoteQueues
from midflight.runtime.p4runtime.queuemessages import QueueReport, QueueRequest
from midflight.runtime.p4runtime.server.server import Server
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.tls import ServerTls
from tests.cli.run import midflight
from tests.engine.build import source
from tests.papers import Papers, needs_openssl

P4 = source(ingress="std.egress_spec = 2;")


@pytest.fixture(scope="module")
def device() -> Iterator[HostDevice]:
    with HostDevice(P4, queueing=QueueOptions(queues=2, rate="10pps").queueing()) as opened:
        yield opened


def test_another_process_reads_and_sets_queues(device: HostDevice) -> None:
    queues = RemoteQueues(device.address, device.device_id)
    assert (queues.count, queues.states()) == (2, {})
    device.process(Packets.from_list([(1, bytes(60))] * 3))
    assert queues.states() == {(2, 0): device.queues.state(2)}
    assert queues.state(2).waiting == 3
    queues.set(2, rate="5kpps", depth=9)
    queues.set(3, 1, weight=9, rate=Rate(bits=1000))
    queues.set(np.int64(2), np.int32(0), depth=np.uint16(7))  # type: ignore[arg-type]
    with pytest.raises(DeviceError, match=r"np\.float32\(7\.0\) is not a whole number"):
        queues.set(2, depth=np.float32(7))  # type: ignore[arg-type]
    queues.set_port(2, rate="1Mbit")
    assert str(device.queues.state(2).settings.rate) == "5000pps"
    assert [device.queues.state(*each).settings.depth for each in ((2, 0), (2, 1), (3, 0))] == [7, 9, 64]
    assert str(device.queues.port_rate(2)) == str(queues.port_rate(2)) == "1000000bit"
    assert queues.state(3, 1).settings.weight == 9
    assert list(queues.states()) == [(2, 0), (2, 1), (3, 1)]
    device.advance(10**9)
    assert (queues.state(2).sent, queues.state(2).waiting) == (3, 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"port": 512, "depth": 3}, "ports are 0 to 511"),
        ({"port": 4, "queue": 2, "depth": 3}, "queues are 0 to 1"),
        ({"port": 4, "depth": -1}, "a queue's depth is 0"),
        ({"port": 4, "depth": 3, "weight": 200}, "a queue's weight is 0"),
        ({"port": 4, "depth": 3, "rate": "fast"}, "'fast' is not a rate"),
    ],
)
def test_what_is_out_of_range_changes_nothing(device: HostDevice, change: dict[str, int], words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        RemoteQueues(device.address).set(**change)  # type: ignore[arg-type]
    assert device.queues.state(4).settings.depth == 64


def test_requests_for_nobody_are_refused(device: HostDevice) -> None:
    with pytest.raises(DeviceError, match="there is no device 9 here"):
        RemoteQueues(device.address, 9).states()
    with pytest.raises(DeviceError, match=r"no switch answers at 127\.0\.0\.1:1"):
        RemoteQueues("127.0.0.1:1").states()
    with grpc.insecure_channel(device.address) as channel:
        call = channel.unary_unary("/midflight.v1.Switch/Queues")
        for garbage in (b"", b"\xff", b"[]", b'{"depth": "3"}', b'{"deep": 3}', b'{"port": true}'):
            with pytest.raises(grpc.RpcError) as caught:
                call(garbage, timeout=10)
            assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@needs_openssl
def test_only_those_with_full_access_set_queues(tmp_path: Path) -> None:
    papers = Papers(tmp_path)
    roles = {"alice": frozenset({""}), "bob": frozenset({"tenant"})}
    with Server(Switch(), tls=ServerTls(*papers.server, papers.ca, roles)) as server:
        RemoteQueues(server.address, tls=papers.client("alice")).set(1, depth=5)
        bob = RemoteQueues(server.address, tls=papers.client("bob"))
        with pytest.raises(DeviceError, match="does not permit role ''"):
            bob.set(1, depth=6)
        assert bob.state(1).settings.depth == 5


def test_the_command_prints_and_sets_queues(device: HostDevice) -> None:
    done = midflight("queues", "--grpc-addr", device.address, "--port", "5", "--depth", "3", "--port-rate", "1kpps")
    assert done.exit_code == 0, done.output
    assert done.output == (
        "port 5 queue 0: 0 of 3 packets wait, rate 10pps, port 1000pps, strict priority; "
        "peak 0, queued 0, sent 0, dropped 0\n"
        "port 5 queue 1: 0 of 3 packets wait, rate 10pps, port 1000pps, strict priority; "
        "peak 0, queued 0, sent 0, dropped 0\n"
    )
    done = midflight("queues", "--grpc-addr", device.address, "--port", "5", "--queue", "1", "--json")
    (row,) = json.loads(done.output)["queues"]
    assert (row["depth"], row["rate"]) == (3, "10pps")
    done = midflight("queues", "--grpc-addr", device.address, "--rate", "fast")
    assert done.exit_code == 1
    assert "'fast' is not a rate" in done.output
    done = midflight("queues", "--grpc-addr", device.address, "--rate", "-5pps")
    assert "'-5pps' is not a rate" in done.output
    assert "such as 100pps" in done.output


def test_the_prompt_of_a_network_sets_queues(tmp_path: Path) -> None:
    file = tmp_path / "net.yaml"
    file.write_text("star: {hosts: 2}\nqueues: {rate: 100pps}\n")
    arguments = ["-c", "s1 queues", "-c", "s1 queues port=1 depth=9 port_rate=2Mbit", "-c", "s1 queues port"]
    done = midflight("net", file, "--fabric", "sim", "--queue-depth", "12", *arguments)
    assert "no packet has reached a queue, and all have the default settings\n" in done.output
    assert "port 1 queue 0: 0 of 9 packets wait, rate unlimited, port 2000000bit, strict priority" in done.output
    assert "a queue has no setting 'port'" in done.output
    assert done.exit_code == 1


ROW = {
    "port": 1, "queue": 0, "depth": 64, "rate": "10pps", "weight": 0,
    "waiting": 0, "peak": 0, "enqueued": 0, "sent": 0, "dropped": 0,
}  # fmt: skip
REPORT = {"count": 2, "queues": [ROW], "port_rates": {"1": "unlimited"}}


def test_a_report_is_read_back() -> None:
    report = QueueReport.decode(json.dumps(REPORT).encode())
    assert QueueReport.decode(report.encode()) == report


@pytest.mark.parametrize(
    "change",
    [
        {"count": "2"},
        {"count": True},
        {"queues": 3},
        {"queues": [ROW | {"rate": "fast"}]},
        {"queues": [ROW | {"depth": -1}]},
        {"queues": [ROW | {"sent": 1.5}]},
        {"port_rates": {"1": "fast"}},
        {"port_rates": {"x": "10pps"}},
    ],
)
def test_a_report_with_a_wrong_value_is_a_value_error(change: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        QueueReport.decode(json.dumps(REPORT | change).encode())


@pytest.mark.parametrize("message", [QueueRequest, QueueReport])
def test_deeply_nested_json_is_a_value_error(message: type[QueueRequest | QueueReport]) -> None:
    with pytest.raises(ValueError, match=r"about queues|for queues"):
        message.decode(b"[" * 200_000)

"""Endpoints over real UDP sockets, on loopback."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from midflight.errors import DeviceError
from midflight.primitives import Aggregate, Program
from midflight.runtime.endpoint import Address, NoAnswerError, Timing
from midflight.runtime.endpoint.allreduce import AllReduce
from midflight.runtime.endpoint.base import Endpoint
from midflight.runtime.endpoint.software import SoftwareServer
from midflight.runtime.endpoint.udp import UdpSocket

_LOOPBACKS = Path("/proc/net/if_inet6")
IPV6 = pytest.mark.skipif(not (_LOOPBACKS.exists() and " lo" in _LOOPBACKS.read_text()), reason="loopback has no IPv6")
TIMING = Timing(initial=200_000_000, minimum=20_000_000, maximum=500_000_000)
NOBODY = "127.0.0.1", 9  # the discard port, where no program listens, so that packets cause ICMP errors


class Echo:
    """An endpoint that sends given datagrams, and records those that arrive."""

    def __init__(self, *outgoing: tuple[Address, bytes], deadline: int | None = None) -> None:
        self.outgoing = list(outgoing)
        self.incoming: list[bytes] = []
        self.deadline = deadline
        self.polled: list[int] = []

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        self.incoming.append(datagram)
        if datagram.startswith(b"ping"):
            self.outgoing.append((source, b"pong" + datagram[4:]))

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        self.polled.append(now)
        outgoing, self.outgoing = self.outgoing, []
        return outgoing

    def next_deadline(self) -> int | None:
        return self.deadline


@contextmanager
def running(endpoint: Endpoint, address: str = "127.0.0.1") -> Iterator[UdpSocket]:
    """Run an endpoint in a thread until the context ends."""
    ready, go = os.pipe()
    with UdpSocket(endpoint, address) as socket:
        thread = threading.Thread(target=socket.run, args=(lambda: False, ready))
        thread.start()
        try:
            yield socket
        finally:
            os.close(go)
            thread.join()
            os.close(ready)


def test_datagrams_are_sent_and_received() -> None:
    with running(Echo()) as server:
        echo = Echo(*((server.address, b"ping %d" % number) for number in range(100)))
        with UdpSocket(echo, "127.0.0.1") as client:
            assert client.run(lambda: len(echo.incoming) == 100)
            assert sorted(echo.incoming) == sorted(b"pong %d" % number for number in range(100))
            assert (client.statistics.sent, client.statistics.received) == (100, 100)


def test_a_readable_file_ends_the_loop() -> None:
    ready, go = os.pipe()
    with UdpSocket(Echo(), "127.0.0.1") as socket:
        os.write(go, b"!")
        assert not socket.run(lambda: False, wake=ready)
        assert socket.run(lambda: True, wake=ready)
    os.close(go)
    os.close(ready)


def test_an_endpoint_is_woken_at_its_deadline_and_not_before() -> None:
    now = [0]

    def clock() -> int:
        now[0] += 1_000_000
        return now[0]

    echo = Echo(deadline=20_000_000)
    with UdpSocket(echo, "127.0.0.1", clock=clock) as socket:
        assert socket.run(lambda: bool(echo.polled) and echo.polled[-1] >= 20_000_000)
    assert len(echo.polled) <= 20


def test_an_unreachable_peer_counts_as_packet_loss() -> None:
    with running(Echo()) as server:
        echo = Echo(
            (NOBODY, b"lost"), (("255.255.255.255", 9), b""), (("127.0.0.1", 0), b""), (server.address, b"ping")
        )
        with UdpSocket(echo, "127.0.0.1") as client:
            assert client.run(lambda: bool(echo.incoming))
            assert echo.incoming == [b"pong"]
            assert server.statistics.received == 1
            assert client.statistics.sent == 2
            assert client.statistics.unsendable == 2


def test_a_datagram_beyond_the_maximum_size_is_an_error() -> None:
    with UdpSocket(Echo((NOBODY, bytes(65_508))), "127.0.0.1") as socket, pytest.raises(OSError, match="too long"):
        socket.run(lambda: True)


def test_addresses_in_use_or_of_others_are_errors() -> None:
    with UdpSocket(Echo(), "127.0.0.1") as socket, pytest.raises(DeviceError, match="in use"):
        UdpSocket(Echo(), *socket.address)
    with pytest.raises(DeviceError, match=r"cannot listen on UDP 192\.0\.2\.1:7"):
        UdpSocket(Echo(), "192.0.2.1", 7)
    with pytest.raises(DeviceError, match=r"cannot listen on UDP 127\.0\.0\.1:70000"):
        UdpSocket(Echo(), "127.0.0.1", 70_000)


def workers(server: Address, count: int, timing: Timing = TIMING) -> list[AllReduce]:
    return [
        AllReduce(application=1, worker=number, workers=count, lanes=16, slots=8, server=server, timing=timing)
        for number in range(count)
    ]


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("::1", marks=IPV6)])
def test_workers_sum_at_a_server_over_real_sockets(address: str) -> None:
    program = Program(Aggregate("sums", workers=3, lanes=16, slots=8))
    random = np.random.default_rng(5)
    vectors: list[NDArray[np.float32]] = [random.normal(size=999).astype(np.float32) for _ in range(3)]
    server = SoftwareServer(program)
    with ExitStack() as stack:
        place = stack.enter_context(running(server, address))
        endpoints = workers(place.address, 3)
        sockets = [stack.enter_context(UdpSocket(each, address)) for each in endpoints]
        server.serve("sums", [each.address for each in sockets])
        for endpoint, vector in zip(endpoints, vectors, strict=True):
            endpoint.submit(vector)
        threads = [
            threading.Thread(target=socket.run, args=(lambda endpoint=endpoint: endpoint.idle,))
            for endpoint, socket in zip(endpoints, sockets, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        sums = [each.take() for each in endpoints]
    for each in sums:
        assert each is not None
        np.testing.assert_allclose(each.values, np.sum(vectors, axis=0), atol=1e-5)
        assert sums[0] is not None
        np.testing.assert_array_equal(each.integers, sums[0].integers)


def test_silence_leads_to_an_error() -> None:
    timing = Timing(initial=1_000_000, minimum=1_000_000, maximum=2_000_000, patience=20_000_000)
    [worker] = workers(NOBODY, 1, timing)
    worker.submit(np.ones(3, np.float32))
    with (
        UdpSocket(worker, "127.0.0.1") as socket,
        pytest.raises(NoAnswerError, match=r"no answer for 0\.02 s"),
    ):
        socket.run(lambda: worker.idle)

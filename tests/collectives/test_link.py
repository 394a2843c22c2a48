"""A host's network card without root: which frames it takes, and what becomes of the others."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address

import pytest

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.endpoint import Address
from midflight.runtime.endpoint.framelink import FrameLink
from midflight.runtime.endpoint.frames import Datagram, UdpFlow, decode
from midflight.runtime.endpoint.udp import drive

HERE, THERE = IPv4Address("10.0.0.1"), IPv4Address("10.0.0.2")
OURS, THEIRS = 0x0200_0000_0001, 0x0200_0000_0002


class Echo:
    """An endpoint that answers, and sends what a test gives it."""

    def __init__(self) -> None:
        self.outgoing: list[tuple[Address, bytes]] = []
        self.incoming: list[tuple[Address, bytes]] = []

    def receive(self, source: Address, datagram: bytes, now: int) -> None:
        self.incoming.append((source, datagram))
        self.outgoing.append((source, b"answer to " + datagram))

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        outgoing, self.outgoing = self.outgoing, []
        return outgoing

    def next_deadline(self) -> int | None:
        return None


@contextmanager
def plugged() -> Iterator[tuple[FrameLink, Echo, socket.socket]]:
    """A card with an endpoint on port 7, and the socket that it is plugged into."""
    link, echo = FrameLink(mac=OURS, address=HERE, gateway=THEIRS), Echo()
    link.listen(7, echo)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as switch:
        switch.bind(("127.0.0.1", 0))
        switch.settimeout(20)
        switch.connect(link.bound)
        link.plug(switch.getsockname())
        yield link, echo, switch
    link.close()


def frame(payload: bytes, *, to: IPv4Address = HERE, port: int = 7) -> bytes:
    flow = UdpFlow(
        source_mac=THEIRS, destination_mac=OURS, source=THERE, destination=to, source_port=9, destination_port=port
    )
    return flow.encode(payload)


def test_datagrams_reach_their_endpoint_and_answers_return() -> None:
    with plugged() as (link, echo, switch):
        switch.send(frame(b"one"))
        assert drive([link], lambda: bool(echo.incoming), timeout=20)
        link.send()
        answer = switch.recv(2000)
        assert echo.incoming == [(("10.0.0.2", 9), b"one")]
        assert answer[:12] == THEIRS.to_bytes(6, "big") + OURS.to_bytes(6, "big")
        assert decode(answer) == Datagram(int(HERE), 7, int(THERE), 9, b"answer to one")
        assert (link.statistics.received, link.statistics.sent) == (1, 1)


def test_other_frames_are_counted_and_dropped() -> None:
    with plugged() as (link, echo, switch):
        damaged = bytearray(frame(b"damaged"))
        damaged[-1] ^= 1
        for each in (b"", b"no frame", bytes(damaged), frame(b"x", to=THERE), frame(b"x", port=8), frame(b"last")):
            switch.send(each)
        assert drive([link], lambda: bool(echo.incoming), timeout=20)
        assert [datagram for _, datagram in echo.incoming] == [b"last"]
        counts = link.statistics
        assert (counts.received, counts.malformed, counts.unclaimed) == (1, 3, 2)


def test_a_card_receives_only_from_its_switch() -> None:
    with plugged() as (link, echo, switch):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
            stranger.sendto(frame(b"forged"), link.bound)
        switch.send(frame(b"real"))
        assert drive([link], lambda: bool(echo.incoming), timeout=20)
        assert [datagram for _, datagram in echo.incoming] == [b"real"]


def test_without_a_switch_frames_are_lost_and_nothing_else() -> None:
    with plugged() as (link, echo, switch):
        switch.close()
        for number in range(4):
            echo.outgoing.append((("10.0.0.2", 9), b"%d" % number))
            link.send()
            link.receive()
        assert link.statistics.sent + link.statistics.unsendable == 4


def test_a_port_has_one_endpoint() -> None:
    with plugged() as (link, echo, _), pytest.raises(MidflightError, match=r"UDP port 7 of 10\.0\.0\.1 is in use"):
        link.listen(7, echo)


def test_a_switch_without_a_valid_port_is_refused() -> None:
    with plugged() as (link, _, _), pytest.raises(DeviceError, match=r"cannot send to UDP .*:70000"):
        link.plug(("127.0.0.1", 70000))

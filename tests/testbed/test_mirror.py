"""Mirrored packets: copies go to the hosts that the controller names, also after failures and program changes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from midflight.errors import MidflightError
from midflight.primitives import Filter, Header, Packet, Primitive, Program, bit
from midflight.testbed import Net, Star
from tests.testbed.test_change import send


class Watch(Primitive):
    """Mirror packets with large values."""

    class Wire(Header):
        value = bit[32]

    def ingress(self, packet: Packet, wire: Wire) -> None:
        if wire.value > 9:
            packet.mirror()
        packet.forward()


PROGRAM = Program(Watch("watch"), Filter("warm", keep="value > 3"))
LARGE, SMALL = {"value": 10}, {"value": 9}


@pytest.fixture
def net() -> Iterator[Star]:
    with Star(5, program=PROGRAM) as made:
        made.admit("watch")
        yield made


def copies(net: Net, *fields: dict[str, int]) -> list[int]:
    """Send requests from the first host to the last, and return the number of copies at the three hosts between."""
    before = [net.downlink(each).packets for each in net.hosts]
    send(net, "watch", *fields, host=0)
    got = [net.downlink(each).packets - was for each, was in zip(net.hosts, before, strict=True)]
    assert (got[0], got[-1]) == (0, len(fields)), "the packets themselves arrive"
    return got[1:-1]


def test_copies_go_to_the_latest_chosen_hosts(net: Star) -> None:
    assert copies(net, LARGE, SMALL) == [0, 0, 0]
    net.mirror("watch", net.hosts[1:3])
    assert copies(net, LARGE, SMALL) == [1, 1, 0]
    net.mirror("watch", net.hosts[3:4])
    assert copies(net, LARGE, LARGE) == [0, 0, 2]
    net.withdraw("watch")
    assert copies(net, LARGE) == [0, 0, 0]
    net.admit("watch")
    net.mirror("watch")
    assert copies(net, LARGE) == [0, 0, 0]


def test_a_revived_switch_has_its_mirrors(net: Star) -> None:
    net.mirror("watch", net.hosts[1:2])
    net.revive("s1")
    assert copies(net, LARGE) == [1, 0, 0]
    net.kill("s1")
    net.mirror("watch", net.hosts[2:3])
    net.revive("s1")
    assert copies(net, LARGE) == [0, 1, 0]


def test_a_mirror_remains_with_its_application(net: Star) -> None:
    net.mirror("watch", net.hosts[1:2])
    net.change(PROGRAM.without("warm"))
    assert copies(net, LARGE) == [1, 0, 0]
    net.revive("s1")
    assert copies(net, LARGE) == [1, 0, 0]
    net.change(PROGRAM.without("watch"))
    net.change(net.program.extended(Watch("watch")))
    net.admit("watch")
    assert copies(net, LARGE) == [0, 0, 0]
    net.revive("s1")
    assert copies(net, LARGE) == [0, 0, 0]


def test_invalid_mirrors_are_rejected(net: Star) -> None:
    with pytest.raises(MidflightError, match="warm mirrors nothing"):
        net.mirror("warm", net.hosts[:1])
    with pytest.raises(MidflightError, match="no application 'other'"):
        net.mirror("other")
    with pytest.raises(MidflightError, match="s2 does not run watch"):
        net.mirror("watch", switch="s2")

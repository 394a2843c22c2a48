"""Maps that the controller writes at run time: hosts that compute in software have the same entries as switches."""

from __future__ import annotations

from dataclasses import replace

import pytest

from midflight.errors import KernelError, MidflightError
from midflight.primitives import Barrier, Header, Map, Packet, Primitive, Program, bit
from midflight.primitives.wire import REQUEST, Message, Schema
from midflight.runtime.devices import capabilities
from midflight.testbed import Net, Star
from tests.bmv2 import ROOT
from tests.testbed.test_sim import Inbox


class Look(Primitive):
    """Reply with a map's value for a key."""

    class Wire(Header):
        key = bit[32]
        value = bit[32]

    def setup(self) -> None:
        self.owner = Map(bit[32], bit[32], size=8, entries={1: 10, 2: 20})

    def ingress(self, packet: Packet, wire: Wire) -> None:
        wire.value = self.owner.get(wire.key, 0)
        packet.reply()


PROGRAM = Program(Look("look"))


def answers(net: Net, keys: range) -> list[object]:
    """Send requests for these keys from the first host to the last, and return the answers."""
    inbox, schema = Inbox(), Schema(net.program.schema())
    for key in keys:
        message = schema.encode(Message(REQUEST, "look", key, {"key": key, "value": 0}))
        inbox.outgoing.append(((str(net.hosts[-1].address), 19782), message))
    net.listen(net.hosts[0], inbox, 40_000)
    net.run(lambda: len(inbox.incoming) == len(keys))
    found = {each.sequence: each.fields["value"] for each in (schema.decode(data) for *_, data in inbox.incoming)}
    return [found[key] for key in keys]


@pytest.mark.parametrize("fabric", ["sim", pytest.param("netns", marks=ROOT)])
@pytest.mark.parametrize("room", [True, False])
def test_hosts_that_compute_get_the_entries(fabric: str, room: bool) -> None:
    sheet = replace(capabilities("host"), table_entries=None if room else 0)
    with Star(2, program=PROGRAM, fabric=fabric, capabilities=sheet) as net:
        owner = net.map("look", "owner")
        owner[3] = 30
        del owner[1]
        net.fabric.serve("h2", net.program, "look", [], maps=net.controller.fleet.desired.maps.of("look"))
        assert answers(net, range(5)) == [0, 0, 20, 30, 0]
        owner[4], owner[3] = 40, 31
        del owner[2]
        assert dict(owner) == {3: 31, 4: 40}
        assert answers(net, range(5)) == [0, 0, 0, 31, 40]
        assert net.placement.on("s1") == (("look",) if room else ())
        if room:
            net.admit("look", net.hosts[:1])
            assert answers(net, range(5)) == [0, 0, 0, 31, 40], "the switch answers the same"
            assert net.link(net.hosts[1]).packets == 2 * (5 + 5)


def test_a_map_that_only_hosts_have_behaves_like_any_map() -> None:
    with Star(2, program=PROGRAM, capabilities=replace(capabilities("host"), table_entries=0)) as net:
        owner = net.map("look", "owner")
        for key in range(3, 9):
            owner[key] = key
        assert len(owner) == 8
        with pytest.raises(KernelError, match="its size is 8 entries"):
            owner[9] = 9
        with pytest.raises(KernelError, match="does not fit"):
            owner[3] = 2**32
        with pytest.raises(KeyError):
            owner[9]
        with pytest.raises(KeyError):
            del owner[9]
        with pytest.raises(MidflightError, match="look has no map 'other'"):
            net.map("look", "other")
        with pytest.raises(MidflightError, match="s1 does not run look"):
            net.map("look", "owner", "s1")


def test_the_server_of_joined_hosts_gets_the_entries() -> None:
    program = Program(Barrier("steps", parties=1), Look("look"))
    sheet = replace(capabilities("host"), register_arrays=0, table_entries=0)
    with Star(2, program=program, capabilities=sheet) as net:
        server = net.join("steps", net.hosts[:1]).server
        server.serve("look", [])
        net.map("look", "owner")[3] = 30
        schema = Schema(program.schema())
        server.receive(("10.0.0.1", 1), schema.encode(Message(REQUEST, "look", 1, {"key": 3, "value": 0})), 0)
        assert [schema.decode(data).fields["value"] for _, data in server.poll(0)] == [30]


def test_entries_remain_at_the_hosts_when_the_program_changes() -> None:
    with Star(2, program=PROGRAM, capabilities=replace(capabilities("host"), table_entries=0)) as net:
        net.map("look", "owner")[3] = 30
        net.fabric.serve("h2", net.program, "look", [], maps=net.controller.fleet.desired.maps.of("look"))
        net.change(net.program.extended(Look("other")))
        net.map("look", "owner")[4] = 40
        assert answers(net, range(5)) == [0, 10, 20, 30, 40]
        assert dict(net.map("other", "owner")) == {1: 10, 2: 20}

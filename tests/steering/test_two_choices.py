"""Balance with Steering: requests go to the less loaded of two instances, and stay at the instance that they echo."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from midflight.primitives import REQUEST, Balance, Message, Program, Schema, Steering
from midflight.primitives.wire import UDP_PORT
from midflight.runtime.endpoint.reliable import Address
from midflight.testbed.net import Net
from midflight.testbed.topology import Topology
from midflight.testbed.topology.topology import Ends

CS_ID = "10.9.0.1"
BUCKETS = 16
LIFETIME = 1000  # microseconds


class Party:
    """Sends messages of the application, and keeps those that it gets."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._to_send: deque[tuple[Address, bytes]] = deque()
        self.came: list[Mapping[str, int]] = []

    def send(self, to: str, **fields: int) -> None:
        given = {"operation": Balance.ASK, "instance": 0, "load": 0, "time": 0, "flow": 0} | fields
        self._to_send.append(((to, UDP_PORT), bytes(self._schema.encode(Message(REQUEST, "pool", 1, given)))))

    def receive(self, source: Address, datagram: bytes, now: int, /) -> None:
        fields = self._schema.decode(datagram).fields
        self.came.append({name: int(value) for name, value in fields.items()})  # type: ignore[arg-type]

    def poll(self, now: int) -> list[tuple[Address, bytes]]:
        sent = [*self._to_send]
        self._to_send.clear()
        return sent

    def next_deadline(self) -> int | None:
        return None


def test_requests_follow_loads_and_cookies() -> None:
    program = Program(Balance("pool", instances=4, buckets=BUCKETS, lifetime=LIFETIME), Steering(buckets=BUCKETS))
    links: list[Ends] = [("h1", "s1"), ("h2", "s2"), ("h3", "s2"), ("s1", "s2")]
    with Net(Topology.of(links), program=program) as net:
        services = net.steer("vision", CS_ID, {"h2": 1, "h3": 1})
        net.admit("pool", switch="s1")
        services.balance("vision", "pool")
        schema = Schema(program.schema())
        parties = {name: Party(schema) for name in ("h1", "h2", "h3")}
        for name, party in parties.items():
            net.listen(net.host(name), party, UDP_PORT)

        def passed() -> None:
            net.run(lambda: not any(party._to_send for party in parties.values()))
            net.settle()

        def asked(instance: int = 0) -> dict[int, str]:
            """Send a request of 40 flows, and return where each arrived."""
            for party in parties.values():
                party.came.clear()
            for flow in range(40):
                parties["h1"].send(CS_ID, flow=flow, instance=instance)
            passed()
            found = {each["flow"]: name for name, party in parties.items() for each in party.came}
            assert len(found) == sum(len(party.came) for party in parties.values()) == 40
            assert all(each["instance"] == {"h2": 1, "h3": 2}[name] for name in parties for each in parties[name].came)
            return found

        def reported(**loads: int) -> None:
            for name, load in loads.items():
                instance = {"h2": 1, "h3": 2}[name]
                parties[name].send(str(net.host("h1").address), operation=Balance.REPORT, instance=instance, load=load)
            passed()

        at_first = asked()
        assert {*at_first.values()} == {"h2", "h3"}
        reported(h2=9, h3=1)
        assert {*asked().values()} == {"h3"}
        reported(h3=20)
        assert {*asked().values()} == {"h2"}
        assert {*asked(instance=2).values()} == {"h3"}, "flows that echo an instance stay there"
        del net.map("pool", "up", "s1")[2]
        assert {*asked(instance=2).values()} == {"h2"}, "unless it is gone"
        late: list[int] = []
        net.after(LIFETIME * 1000, late.append, 1)
        net.run(lambda: bool(late))
        assert asked() == at_first, "without current loads, the controller's table decides"
        services.weigh("vision", {"h3": 1})
        assert {*asked().values(), *asked(instance=1).values()} == {"h3"}, "the maps follow the weights"
        net.kill("s1")
        services.weigh("vision", {"h2": 1})
        net.revive("s1")
        assert dict(net.map("pool", "up", "s1").items()) == {1: 1}, "a switch that returns gets what has changed"
        services.remove("vision")
        assert not net.map("pool", "up", "s1")

"""Endpoints of applications on the hosts of a simulated star."""

from __future__ import annotations

from collections.abc import Sequence

from midflight.runtime.endpoint import Address, Endpoint, Timing
from midflight.runtime.steering import members
from midflight.testbed import Star
from midflight.testbed.fabric.sim import SimFabric
from midflight.testbed.sim.host import Socket

__all__ = ["PORT", "TIMING", "address", "admit", "leave", "listen", "run"]

PORT = 5000
TIMING = Timing(initial=500_000, minimum=100_000, maximum=2_000_000, patience=2_000_000_000)


def address(net: Star, host: int, port: int = PORT) -> Address:
    """Return the address of an endpoint on host number `host`, from 0."""
    return str(net.hosts[host].address), port


def admit(net: Star, application: str, hosts: Sequence[int], *, epoch: int = 1) -> None:
    """Admit an application on the switch, with members on these hosts at UDP port `PORT`."""
    graph = net.topology.graph()
    found = members(graph, "s1", {net.hosts[each].name: PORT for each in hosts})
    net.steering["s1"].admit(net.program.applications[application].id, found, epoch=epoch)


def listen(net: Star, host: int, endpoint: Endpoint, port: int = PORT) -> Socket:
    """Attach an endpoint to a host, and let it send its first messages."""
    assert isinstance(net.fabric, SimFabric)
    socket = net.fabric.network.hosts[net.hosts[host].name].listen(port, endpoint)
    socket.pump()
    return socket


def leave(net: Star, *hosts: int, port: int = PORT) -> None:
    """Remove the endpoints of these hosts."""
    assert isinstance(net.fabric, SimFabric)
    for host in hosts:
        net.fabric.network.hosts[net.hosts[host].name].release(port)


def run(net: Star, *, until: int | None = None) -> None:
    """Run the network until no events are left, or until a time."""
    assert isinstance(net.fabric, SimFabric)
    simulator = net.fabric.network.simulator
    if until is not None:
        simulator.at(until, lambda: None)
    simulator.run(None if until is None else lambda: simulator.now >= until)

"""Endpoints of any application on the hosts of a simulated star."""

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
    """Return where an endpoint on host number `host`, from 0, listens."""
    return str(net.hosts[host].address), port


def admit(net: Star, application: str, hosts: Sequence[int], *, epoch: int = 1) -> None:
    """Have the switch compute on an application whose members are on these hosts, behind `PORT`."""
    graph = net.topology.graph()
    found = members(graph, "s1", {net.hosts[each].name: PORT for each in hosts})
    net.steering["s1"].admit(net.program.applications[application].id, found, epoch=epoch)


def listen(net: Star, host: int, endpoint: Endpoint, port: int = PORT) -> Socket:
    """Put an endpoint on a host, and let it begin."""
    assert isinstance(net.fabric, SimFabric)
    socket = net.fabric.network.hosts[net.hosts[host].name].listen(port, endpoint)
    socket.pump()
    return socket


def leave(net: Star, *hosts: int, port: int = PORT) -> None:
    """Take away what listens on hosts."""
    assert isinstance(net.fabric, SimFabric)
    for host in hosts:
        net.fabric.network.hosts[net.hosts[host].name].release(port)


def run(net: Star, *, until: int | None = None) -> None:
    """Let time pass until nothing is under way, or up to a time."""
    assert isinstance(net.fabric, SimFabric)
    simulator = net.fabric.network.simulator
    if until is not None:
        simulator.at(until, lambda: None)
    simulator.run(None if until is None else lambda: simulator.now >= until)

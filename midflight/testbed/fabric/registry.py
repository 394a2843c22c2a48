"""Fabrics by name. Each is imported when it is first used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from midflight.errors import MidflightError
from midflight.runtime.checked import Programs, user_programs
from midflight.runtime.devices import Device, open_device, registry
from midflight.runtime.devices.forkserver import ForkServer
from midflight.runtime.engine.queues import QueueOptions
from midflight.testbed.fabric.base import Fabric
from midflight.testbed.topology import Topology

__all__ = ["FABRICS", "open_fabric"]

FABRICS = ("sim", "netns")


def open_fabric(
    fabric: str,
    topology: Topology,
    device: str | Mapping[str, str] = "host",
    *,
    seed: int = 0,
    pcap: Path | None = None,
    traceable: bool = False,
    programs: Programs | None = None,
) -> Fabric:
    """Open a network with this topology. `fabric` is "sim" (simulated, in virtual time) or "netns" (namespaces; needs
    root).

    `device` is the kind of all switches, such as "host" or "bmv2", or a mapping from switches to kinds. `seed`
    determines the random numbers of links. `pcap` is a folder for captures of every link; None means no captures. With
    `traceable`, BMv2 logs every packet: see `open_tracer`. The embedded switches of a simulation share `programs`, so
    that each text is compiled once. MidflightError if the fabric or a device is unknown, if a switch has no device or
    is unknown, for captures of a simulation, or for queues and clocks that a device or fabric does not have.
    """
    if fabric not in FABRICS:
        raise MidflightError(f"there is no fabric {fabric!r}", hint=f"use {' or '.join(FABRICS)}")
    kinds = dict.fromkeys(topology.switches, device) if isinstance(device, str) else dict(device)
    for switch in topology.switches:
        if switch not in kinds:
            raise MidflightError(
                f"switch {switch} has no kind of device", hint="pass a kind for each switch, or one for all"
            )
        if kinds[switch] not in registry.kinds():
            raise MidflightError(f"there is no device {kinds[switch]!r}", hint=f"use {' or '.join(registry.kinds())}")
    for name in kinds:
        if name not in topology.switches:
            raise MidflightError(
                f"there is no switch named {name}", hint=f"the switches are {', '.join(topology.switches)}"
            )
    queues = dict(topology.queues)
    for name in queues:
        if kinds[name] != "host":
            raise MidflightError(f"the queues of {name}, a {kinds[name]}, cannot be set", hint='use device="host"')
    if topology.clocks and fabric != "sim":
        raise MidflightError("clocks of switches can only be set in a simulation", hint='use fabric="sim"')
    if fabric == "sim":
        if pcap is not None:
            raise MidflightError("a simulated network has no captures", hint='use fabric="netns"')
        from midflight.testbed.fabric.sim import SimFabric

        shared = programs or user_programs()

        def opened(switch: str) -> Device:
            if kinds[switch] == "host":
                options = queues.get(switch)
                return open_device("host", programs=shared, queueing=options.queueing() if options else None)
            return open_device(kinds[switch], **_options(kinds[switch], traceable))

        return SimFabric(topology, opened, seed=seed)
    from midflight.testbed.fabric.netns import NetnsFabric

    forks = ForkServer()
    return NetnsFabric(
        topology,
        lambda switch, *place: _with_interfaces(kinds[switch], traceable, forks, queues.get(switch), *place),
        seed=seed,
        pcap=pcap,
        owned=[forks],
    )


def _options(kind: str, traceable: bool) -> dict[str, Any]:
    return {"log_level": "trace"} if traceable and kind == "bmv2" else {}


def _with_interfaces(
    kind: str,
    traceable: bool,
    forks: ForkServer,
    queues: QueueOptions | None,
    netns: str,
    interfaces: Mapping[int, str],
    folder: Path,
) -> Device:
    """Start a device as a process whose ports are interfaces in a namespace."""
    if kind in ("host", "xdp"):
        from midflight.runtime.devices.hostprocess import HostProcessDevice

        # The hosts' interfaces have no NAPI, so that packets cannot be redirected to them by their drivers.
        xdp = "generic" if kind == "xdp" else ""
        return HostProcessDevice(netns=netns, interfaces=interfaces, folder=folder, forks=forks, queues=queues, xdp=xdp)
    return open_device(kind, netns=netns, interfaces=interfaces, folder=folder, **_options(kind, traceable))

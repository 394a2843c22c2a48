"""Star networks: hosts around one programmable switch."""

from __future__ import annotations

from pathlib import Path

from midflight.errors import MidflightError
from midflight.primitives import Program
from midflight.runtime.devices.base import Device
from midflight.runtime.devices.capabilities import Capabilities
from midflight.runtime.engine.queues import QueueOptions
from midflight.runtime.p4runtime.client.session import Session
from midflight.runtime.placement import Placement
from midflight.testbed.net import Net
from midflight.testbed.topology import LinkQuality, star

__all__ = ["Star"]

_SWITCH = "s1"


class Star(Net):
    """Hosts `h1`, `h2`, ... around one switch `s1` that runs a program; a context manager that closes the network.

        with Star(hosts=5, program=program) as net:
            group = net.group("gradients", net.hosts[:4])
            sums = group.allreduce(arrays)

    hosts: 1 to 500.
    ipv6: whether the hosts have IPv6 addresses instead of IPv4 addresses.
    quality: the quality of all links, by default `LinkQuality()`. Alternatively, loss, duplicate and reorder are
        probabilities, 0 to 1, that change this default.
    queues: those between ingress and egress of the switch.
    capabilities: the limits and features to assume instead of those that the switch reports.

    Other parameters are as for `Net`.

    MidflightError if both `quality` and one of the probabilities are given, or as for `Net`.
    """

    def __init__(
        self,
        hosts: int = 5,
        *,
        program: Program,
        device: str = "host",
        fabric: str = "sim",
        seed: int = 0,
        loss: float = 0.0,
        duplicate: float = 0.0,
        reorder: float = 0.0,
        quality: LinkQuality | None = None,
        pcap: Path | None = None,
        offload: bool = True,
        ipv6: bool = False,
        queues: QueueOptions | None = None,
        capabilities: Capabilities | None = None,
    ) -> None:
        if quality is not None and (loss or duplicate or reorder):
            raise MidflightError(
                "loss, duplicate and reorder cannot be combined with a quality", hint="set them in the LinkQuality"
            )
        topology = star(hosts, quality or LinkQuality(loss=loss, duplicate=duplicate, reorder=reorder))
        if queues is not None:
            topology = topology.with_queues(queues)
        super().__init__(
            topology.with_ipv6() if ipv6 else topology,
            program=program,
            device=device,
            fabric=fabric,
            seed=seed,
            pcap=pcap,
            offload=offload,
            capabilities=None if capabilities is None else {_SWITCH: capabilities},
        )

    def __enter__(self) -> Star:
        return self

    @property
    def placement(self) -> Placement:
        """The applications that the switch has room for, and the reasons why it does not run the others."""
        return self.placements[_SWITCH]

    @property
    def device(self) -> Device:
        """The device of the only switch, `s1`."""
        return self.devices[_SWITCH]

    @property
    def session(self) -> Session:
        """The controller's P4Runtime session with the only switch, `s1`."""
        return self.sessions[_SWITCH]

"""`Hierarchy`: a network whose switches form a tree that sums the arrays of workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from midflight.errors import MidflightError
from midflight.primitives import Program
from midflight.runtime.controller.branches import Branch
from midflight.runtime.controller.hierarchy import SummationTree
from midflight.runtime.devices.capabilities import Capabilities
from midflight.testbed.group import Group
from midflight.testbed.net import Net
from midflight.testbed.topology import Topology

__all__ = ["Hierarchy", "Opening"]


class Opening(TypedDict, total=False):
    """The keyword parameters that `Hierarchy` passes on to `Net`: all but `program` and `strategy`."""

    device: str | Mapping[str, str]
    fabric: str
    seed: int
    pcap: Path | None
    traceable: bool
    offload: bool
    capabilities: Mapping[str, Capabilities] | None


class Hierarchy(Net):
    """A network in which each switch of a tree sums what arrives from below and sends one packet upwards.

        program = Program(Aggregate("gradients", workers=4, lanes=32), Threshold("pressure", above=900, clear=850))
        with Hierarchy(tree(2, 3), program=program, workers=["h1", "h2", "h4", "h5"], server="h9") as net:
            sums = net.workers().allreduce(arrays)

    workers: the names of the workers' hosts; those on one switch must be consecutive. server: the name of the host that
    requests are addressed to. The tree consists of the switches on the workers' paths to it.

    The tree sums each `Aggregate` of the program that has as many workers as are named. Each of its switches runs an
    `Aggregate` over its own children: hosts, switches or both. If a switch of the tree has no room, the server sums, as
    with `offload=False`. This is a short form of `Net` with the strategy `SummationTree`: other applications and
    parameters are as for `Net`.

    MidflightError if the program has no such `Aggregate`, if the workers' paths to the server form no tree, or as for
    `Net`.
    """

    def __init__(
        self,
        topology: Topology,
        *,
        program: Program,
        workers: Sequence[str],
        server: str,
        **opening: Unpack[Opening],
    ) -> None:
        tree = SummationTree(topology.graph(), workers, server)
        if not tree.sums(program):
            raise MidflightError(
                f"the program has no Aggregate over {len(workers)} workers",
                hint=f'add one, such as Aggregate("gradients", workers={len(workers)}, lanes=32)',
            )
        super().__init__(topology, program=program, strategy=tree, **opening)
        self._tree = tree

    def __enter__(self) -> Hierarchy:
        return self

    @property
    def branches(self) -> Mapping[str, Branch]:
        """The switches of the tree by name, the topmost first, each with its children."""
        return self._tree.branches

    def workers(self, application: str = "") -> Group:
        """Return the group of the network's workers for an application, after starting it if it is not open.

        `application` may be empty if the tree sums exactly one. MidflightError if the tree sums several and none is
        named, or if the program has no such `Aggregate`.
        """
        tree, sums = self._tree, self._tree.sums(self.program)
        if not application and len(sums) != 1:
            raise MidflightError(
                f"the tree sums {', '.join(sums) or 'no application'}", hint="choose one: net.workers(...)"
            )
        hosts = [self.host(each) for each in tree.workers]
        return self.group(application or sums[0], hosts, server=self.host(tree.server))

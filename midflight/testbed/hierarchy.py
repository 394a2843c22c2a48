"""A network whose switches sum up a tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Unpack

from midflight.errors import MidflightError
from midflight.primitives import Program
from midflight.runtime.controller.branches import Branch
from midflight.runtime.controller.hierarchy import SummationTree
from midflight.testbed.group import Group
from midflight.testbed.net import Net, Opening
from midflight.testbed.topology import Topology

__all__ = ["Hierarchy"]


class Hierarchy(Net):
    """A network in which each switch of a tree adds up what is below it and passes on one packet for it.

        program = Program(Aggregate("gradients", workers=4, lanes=32), Threshold("pressure", above=900, clear=850))
        with Hierarchy(tree(2, 3), program=program, workers=["h1", "h2", "h4", "h5"], server="h9") as net:
            sums = net.workers().allreduce(arrays)

    Each `Aggregate` over as many workers as are named is summed up the tree, and each of its switches runs one with its
    own number of children: hosts, switches or both. Workers on one switch follow each other in `workers`. If a switch
    of the tree has no room for it, the server sums, as with `offload=False`. What else a program has is as in `Net`,
    which this is short for, with the strategy `SummationTree`; and so are the other parameters.
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
        self._tree = SummationTree(topology.graph(), workers, server)
        if not self._tree.sums(program):
            raise MidflightError(
                f"the program has no Aggregate over {len(workers)} workers",
                hint=f'Aggregate("gradients", workers={len(workers)}, lanes=32), say',
            )
        super().__init__(topology, program=program, strategy=self._tree, **opening)

    def __enter__(self) -> Hierarchy:
        return self

    @property
    def branches(self) -> Mapping[str, Branch]:
        """The switches of the tree by name, the topmost first."""
        return self._tree.branches

    def workers(self, application: str = "") -> Group:
        """Return the group of the workers. `application` is needed where the tree sums several."""
        tree, sums = self._tree, self._tree.sums(self.program)
        if not application and len(sums) != 1:
            raise MidflightError(f"the tree sums {', '.join(sums) or 'nothing'}", hint="name one: net.workers(...)")
        hosts = [self.host(each) for each in tree.workers]
        return self.group(application or sums[0], hosts, server=self.host(tree.server))

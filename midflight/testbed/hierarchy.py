"""A network whose switches sum up a tree."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Unpack

from midflight.primitives import Aggregate, Program
from midflight.runtime.controller.hierarchy import Branch, SummationTree
from midflight.testbed.group import Group
from midflight.testbed.net import Net, Opening
from midflight.testbed.topology import Topology

__all__ = ["Hierarchy"]


class Hierarchy(Net):
    """A network in which each switch of a tree adds up what is below it and passes on one packet for it.

        aggregate = Aggregate("gradients", workers=8, lanes=32)
        with Hierarchy(tree(2, 4), aggregate, workers=["h1", ..., "h8"], server="h16") as net:
            sums = net.workers().allreduce(arrays)

    `aggregate` is what the whole tree computes; each switch runs one with its own number of children. If a switch of
    the tree has no room for it, the server sums, as with `offload=False`. This is short for a `Net` with the strategy
    `SummationTree`; the other parameters are those of `Net`.
    """

    def __init__(
        self,
        topology: Topology,
        aggregate: Aggregate,
        *,
        workers: Sequence[str],
        server: str,
        **opening: Unpack[Opening],
    ) -> None:
        tree = SummationTree(topology.graph(), aggregate.name, workers, server)
        super().__init__(topology, program=Program(aggregate), strategy=tree, **opening)
        self._tree = tree

    def __enter__(self) -> Hierarchy:
        return self

    @property
    def branches(self) -> Mapping[str, Branch]:
        """The switches of the tree by name, the topmost first."""
        return self._tree.branches

    def workers(self) -> Group:
        """Return the group of the workers."""
        tree = self._tree
        return self.group(tree.application, [self.host(each) for each in tree.workers], server=self.host(tree.server))

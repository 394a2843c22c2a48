"""A network that runs a program: any topology, any fabric, any kind of switch."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from midflight.errors import MidflightError
from midflight.primitives import Aggregate
from midflight.testbed.fabric.base import Host
from midflight.testbed.group import Group
from midflight.testbed.joining import Joining

__all__ = ["Net"]


class Net(Joining):
    """A topology brought to life whose switches all run one program; a context manager.

        with Net(leaf_spine(2, 2, hosts=4), program=program, fabric="netns", device="bmv2") as net:
            group = net.group("gradients", net.hosts[:4])
            sums = group.allreduce(arrays)

    fabric: `sim`, in virtual time, or `netns`, of network namespaces, processes and sockets (takes root). device: the
    kind of switch, `host` for the embedded one, `bmv2` for p4lang's; a mapping gives each switch its own. seed: of
    everything random. offload: whether switches may compute on the applications' packets or only forward them, to the
    host that computes instead. capabilities: by switch, what it is taken for instead of what it says of itself.

    pcap: a folder to keep the frames of every link in, h1-s1.pcap and so on; not of simulated ones.
    traceable: have BMv2 log every packet, so that it can be traced; the embedded switch always can.

    What a switch has no room for it does not get: see `placements`. Where it has, the switch and the server are two
    instances of a service, and the better one is used: see `choices`.

    Raises MidflightError where the program or a parameter is wrong; whatever was opened is closed again.
    """

    def __enter__(self) -> Net:
        return self

    def group(self, application: str, hosts: Sequence[Host], *, server: Host | None = None) -> Group:
        """Return the group of workers that run an `Aggregate` on these hosts, worker n on the n-th.

        `server` is the host that the requests are addressed to, by default the last that is not in the group. The
        switch that computes is the one nearest to the workers that all their requests pass and that has a port for
        each of them. An application has one group at a time, which lasts until it is closed: asked for again with the
        same hosts, it is the same. MidflightError where the program has no such application or the hosts do not fit it.
        """
        with self._lock:
            found, hosts = self._application(application), tuple(hosts)
            if not isinstance(found.primitive, Aggregate):
                raise MidflightError(
                    f"{application} is a {type(found.primitive).__name__}, and only an Aggregate has workers"
                )
            self._check(found.primitive, hosts, server)
            if application in self._groups:
                if self._groups[application].hosts != hosts:
                    raise MidflightError(
                        f"{application} has a group already, of other hosts", hint="close that, or add an application"
                    )
                return self._groups[application]
            server = self._server(found, hosts, server)
            try:
                workers = self._enlist(found, server, hosts)
                crew = self.fabric.crew(workers)
            except BaseException:
                self._leave(found)
                raise
            enlist, leave = partial(self._enlist, found, server), partial(self._leave, found)
            group = Group(found.primitive, hosts, crew, workers[0].job, enlist=enlist, leave=leave)
            self._groups[application] = group
            return group

"""The roles of a host's process: a worker of an all-reduce, or a server that computes in software."""

from __future__ import annotations

from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from midflight.primitives import Application
from midflight.runtime.endpoint.software import SoftwareServer
from midflight.runtime.endpoint.udp import UdpSocket
from midflight.testbed.host.control import Adopt, Done, Ready, Serve, StartServer, StartWorker, Vector, Write

__all__ = ["serve", "work"]


@dataclass(frozen=True, slots=True)
class _Served:
    """The part of the program that this process serves."""

    wire: dict[str, Any]
    applications: dict[str, Application] = field(default_factory=dict)

    def schema(self) -> dict[str, Any]:
        return self.wire


def work(control: Connection, task: StartWorker) -> None:
    """Run a worker of an all-reduce: sum each `Vector` that arrives, and become another worker at each `StartWorker`.

    `control` is the connection to the parent. Runs until it is closed, which raises EOFError. DeviceError if the
    worker's UDP port is in use; MidflightError if the network does not answer.
    """
    endpoint, busy = task.worker.endpoint(task.timing), False

    def finished() -> bool:
        return busy and endpoint.idle

    with UdpSocket(endpoint, task.address, task.worker.port) as socket:
        control.send(Ready())
        while True:
            # Keep running between sums: other workers may still need answers for the last one.
            if socket.run(finished, wake=control.fileno()):
                result, busy = endpoint.take(), False
                assert result is not None
                control.send(Done(task.worker.job, result, endpoint.statistics, endpoint.upcoming))
                continue
            message = control.recv()
            if isinstance(message, StartWorker):
                task = message
                socket.endpoint = endpoint = task.worker.endpoint(task.timing)
                busy = False
            else:
                assert isinstance(message, Vector)
                endpoint.submit(message.values)
                busy = True


def serve(control: Connection, task: StartServer) -> None:
    """Run a server: compute the applications of each `Serve` that arrives, and apply each `Write` and `Adopt`.

    `control` is the connection to the parent. Runs until it is closed, which raises EOFError. DeviceError if the
    server's UDP port is in use.
    """
    served = _Served(task.schema)
    endpoint = SoftwareServer(served)
    with UdpSocket(endpoint, task.address, task.port) as socket:
        control.send(Ready())
        while True:
            socket.run(lambda: False, wake=control.fileno())
            message = control.recv()
            if isinstance(message, Adopt):
                ids = {name: each["id"] for name, each in message.schema["applications"].items()}
                same = {name: each for name, each in served.applications.items() if ids.get(name) == each.id}
                served = _Served(message.schema, same)
                endpoint.adopt(served)
                control.send(Ready())
                continue
            if isinstance(message, Write):
                endpoint.write(message.application, message.map, message.entry, message.present)
                control.send(Ready())
                continue
            assert isinstance(message, Serve)
            served.applications[message.name] = message.application()
            endpoint.serve(message.name, message.members, epoch=message.epoch, maps=message.maps, token=message.token)
            control.send(Ready())

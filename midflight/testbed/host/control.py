"""The messages between a process on a host and its parent, which runs the network. They are pickled over a
socket pair.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any

from numpy.typing import NDArray

from midflight.errors import MidflightError
from midflight.primitives import Application, Primitive, Program
from midflight.primitives.catalogue import made
from midflight.primitives.kernel.map import Entry
from midflight.runtime.endpoint.allreduce import AllReduceStatistics, Sum
from midflight.runtime.endpoint.reliable import Address, Timing
from midflight.runtime.endpoint.worker import Worker

__all__ = ["Adopt", "Done", "Failed", "Ready", "Serve", "StartServer", "StartWorker", "Vector", "Write", "pair"]


@dataclass(frozen=True, slots=True)
class StartWorker:
    """A message to a process: run this all-reduce worker on its UDP port at IP address `address`, with these timers.

    As the first message it is answered by `Ready`. A later one replaces the worker and its state, without an answer.
    """

    address: str
    worker: Worker
    timing: Timing


@dataclass(frozen=True, slots=True)
class StartServer:
    """The first message to a process: be a server, which computes applications in software. Answered by `Ready`.

    It listens on IP address `address` and UDP port `port`. `schema` is the program's wire schema; `Serve` starts
    applications.
    """

    address: str
    port: int
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Adopt:
    """A message to a server's process: the program has changed, and `schema` is its new wire schema. Answered by
    `Ready`.

    The server stops computing the applications that the new program lacks or has under another id.
    """

    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Vector:
    """A message to a worker's process: sum this vector, of shape (n,), with the other workers'. Answered by `Done`."""

    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Serve:
    """A message to a server's process: start computing an application, from its initial state. Answered by `Ready`.

    `id` and `name` are the application's. `kind` is the module and qualified name of its primitive's class, and
    `parameters` are the primitive's. `members` are the addresses that results go to. `epoch` is the 16-bit serial
    number that results carry. `maps` are the entries of its maps by map name; None for those that the primitive
    defines. Requests must carry `token`.
    """

    id: int
    name: str
    kind: tuple[str, str]
    parameters: dict[str, Any]
    members: tuple[Address, ...]
    epoch: int = 0
    maps: Mapping[str, Sequence[Entry]] | None = None
    token: int = field(default=0, repr=False)

    @classmethod
    def of(
        cls,
        program: Program,
        application: str,
        members: tuple[Address, ...],
        epoch: int = 0,
        maps: Mapping[str, Sequence[Entry]] | None = None,
        token: int = 0,
    ) -> Serve:
        """Return the message that starts an application of a program, given by name; the other parameters are as in
        `Serve`.

        MidflightError if another process cannot import the primitive's class, because it is defined in a script or a
        function.
        """
        found = program.applications[application]
        kind = type(found.primitive)
        if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
            raise MidflightError(
                f"the process of a host cannot import {kind.__qualname__} from where it is defined",
                hint="define the class at the top level of a module, and import it from there",
            )
        place = kind.__module__, kind.__qualname__
        return cls(found.id, found.name, place, dict(found.primitive.parameters), members, epoch, maps, token)

    def application(self) -> Application:
        """Import the primitive's class and return the application, with a new instance of the primitive."""
        found: Any = import_module(self.kind[0])
        for part in self.kind[1].split("."):
            found = getattr(found, part)
        assert issubclass(found, Primitive)
        return Application(self.id, self.name, made(found, self.name, self.parameters))


@dataclass(frozen=True, slots=True)
class Write:
    """A message to a server's process: add an entry to the map named `map` of an application. Answered by `Ready`.

    If `present` is False, the entry is removed instead.
    """

    application: str
    map: str
    entry: Entry
    present: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """A message to the parent: the last message has taken effect."""


@dataclass(frozen=True, slots=True)
class Done:
    """A message to the parent: a worker has its sum.

    `job` is the worker's job, `sum` the result, `statistics` the worker's counters, and `upcoming` the number of the
    first chunk of its next sum, at which a restarted worker begins.
    """

    job: int
    sum: Sum
    statistics: AllReduceStatistics
    upcoming: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A message to the parent: the process has ended with a MidflightError of class `kind`, which the parent raises."""

    message: str
    hint: str = ""
    kind: type[MidflightError] = field(default=MidflightError)

    def error(self) -> MidflightError:
        """Return the exception to raise, with the original message, hint and class."""
        return self.kind(self.message, hint=self.hint)


def pair() -> tuple[Connection, socket.socket]:
    """Return the two ends of a new connection: the parent's, and a socket for the child process to inherit."""
    ours, theirs = socket.socketpair()
    return Connection(ours.detach()), theirs

"""What a host's process and the one that started it tell each other, over a pair of sockets."""

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
    """Be this worker, at this address of yours; and forget whom you have been."""

    address: str
    worker: Worker
    timing: Timing


@dataclass(frozen=True, slots=True)
class StartServer:
    """Be the server, at this address of yours, of applications with this wire schema."""

    address: str
    port: int
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Adopt:
    """Go by another program, with this wire schema, from now on."""

    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Vector:
    """Sum this with the other workers'."""

    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Serve:
    """Compute for an application from now on; `kind` is the class of its primitive, `maps` the entries of its maps."""

    id: int
    name: str
    kind: tuple[str, str]
    parameters: dict[str, Any]
    members: tuple[Address, ...]
    epoch: int = 0
    maps: Mapping[str, Sequence[Entry]] | None = None

    @classmethod
    def of(
        cls,
        program: Program,
        application: str,
        members: tuple[Address, ...],
        epoch: int = 0,
        maps: Mapping[str, Sequence[Entry]] | None = None,
    ) -> Serve:
        """Return the message for an application of a program. MidflightError where no other process can have it."""
        found = program.applications[application]
        kind = type(found.primitive)
        if kind.__module__ == "__main__" or "<locals>" in kind.__qualname__:
            raise MidflightError(
                f"{kind.__qualname__} is defined where a host's own process cannot import it",
                hint="move the class to a module, and import it from there",
            )
        place = kind.__module__, kind.__qualname__
        return cls(found.id, found.name, place, dict(found.primitive.parameters), members, epoch, maps)

    def application(self) -> Application:
        """Return the application, its primitive made anew."""
        found: Any = import_module(self.kind[0])
        for part in self.kind[1].split("."):
            found = getattr(found, part)
        assert issubclass(found, Primitive)
        return Application(self.id, self.name, made(found, self.name, self.parameters))


@dataclass(frozen=True, slots=True)
class Write:
    """Have this entry in a map of an application, or no more, where you compute for it."""

    application: str
    map: str
    entry: Entry
    there: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """What was asked for is in place."""


@dataclass(frozen=True, slots=True)
class Done:
    """A worker's sum in this job, what it has counted so far, and the first chunk of what it sums next."""

    job: int
    sum: Sum
    statistics: AllReduceStatistics
    upcoming: int


@dataclass(frozen=True, slots=True)
class Failed:
    """A mistake or a network that does not answer, to be raised by who asked."""

    message: str
    hint: str = ""
    kind: type[MidflightError] = field(default=MidflightError)

    def error(self) -> MidflightError:
        """Return the error."""
        return self.kind(self.message, hint=self.hint)


def pair() -> tuple[Connection, socket.socket]:
    """Return both ends of a control connection: ours, and the one to be handed to the host's process."""
    ours, theirs = socket.socketpair()
    return Connection(ours.detach()), theirs

"""Messages between a host's process and its parent, over a socket pair."""

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
    """Become this worker, at this address of the host, in place of any earlier one."""

    address: str
    worker: Worker
    timing: Timing


@dataclass(frozen=True, slots=True)
class StartServer:
    """Become a server, at this address and UDP port of the host, for applications with this wire schema."""

    address: str
    port: int
    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Adopt:
    """Continue with another program, which has this wire schema."""

    schema: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Vector:
    """The worker's vector for the next sum."""

    values: NDArray[Any]


@dataclass(frozen=True, slots=True)
class Serve:
    """Start computing an application.

    `kind` is the module and qualified name of its primitive's class, `maps` the entries of its maps by name.
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
        """Return the message for an application of a program.

        MidflightError if another process cannot import its primitive's class.
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
        """Import the primitive's class and return the application with a new instance of it."""
        found: Any = import_module(self.kind[0])
        for part in self.kind[1].split("."):
            found = getattr(found, part)
        assert issubclass(found, Primitive)
        return Application(self.id, self.name, made(found, self.name, self.parameters))


@dataclass(frozen=True, slots=True)
class Write:
    """Add an entry to a map of an application, or remove it if `there` is False."""

    application: str
    map: str
    entry: Entry
    there: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """Confirmation that a message has taken effect."""


@dataclass(frozen=True, slots=True)
class Done:
    """A worker's result in this job, its statistics, and the number of the first chunk of its next sum."""

    job: int
    sum: Sum
    statistics: AllReduceStatistics
    upcoming: int


@dataclass(frozen=True, slots=True)
class Failed:
    """An error for the parent to raise."""

    message: str
    hint: str = ""
    kind: type[MidflightError] = field(default=MidflightError)

    def error(self) -> MidflightError:
        """Return the exception."""
        return self.kind(self.message, hint=self.hint)


def pair() -> tuple[Connection, socket.socket]:
    """Return the two ends of a control connection: the parent's, and a socket for the host's process to inherit."""
    ours, theirs = socket.socketpair()
    return Connection(ours.detach()), theirs

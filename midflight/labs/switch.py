"""The grader's end of the process in which submitted P4 programs run."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

from midflight.errors import MidflightError
from midflight.labs.process import Child, ChildError, TimeLimit

__all__ = ["Played", "ProgramError", "Sent", "Switch", "SwitchProcess"]

_MEMORY = 3 << 30
_SECONDS = 120


class ProgramError(MidflightError):
    """A submitted program does not compile, or refuses an entry or a request."""


@dataclass(frozen=True, slots=True)
class Sent:
    """A packet that left a switch: the index of its input (-1 if queues have limits), time in ns, port, bytes."""

    source: int
    time: int
    port: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Played:
    """The results of packets: those that left, and packet-ins and digests with the index of their packet.

    A packet-in is (index, fields, payload), a digest (index, name, fields).
    """

    sent: list[Sent]
    packet_ins: list[tuple[int, dict[str, int], bytes]] = field(default_factory=list)
    digests: list[tuple[int, str, dict[str, int]]] = field(default_factory=list)

    def of(self, index: int) -> list[tuple[int, bytes]]:
        """Return the packets that come from one input, as (port, bytes), in order of ports."""
        return sorted((each.port, each.data) for each in self.sent if each.source == index)

    def by_source(self, count: int) -> list[list[tuple[int, bytes]]]:
        """Return the packets that come from each of `count` inputs, as (port, bytes), in order of ports."""
        found: list[list[tuple[int, bytes]]] = [[] for _ in range(count)]
        for each in self.sent:
            if 0 <= each.source < count:
                found[each.source].append((each.port, each.data))
        return [sorted(each) for each in found]


class SwitchProcess:
    """A process with embedded switches, which starts with the first request, and again after it has died.

    `deadline` is the time of `time.monotonic` until which requests must be answered. A context manager.
    """

    def __init__(self) -> None:
        self.deadline = monotonic() + _SECONDS
        self._child: Child | None = None

    def ask(self, op: str, **arguments: Any) -> Any:
        """Carry out an operation of `switchchild.Switches` and return its result.

        ProgramError if the switch refuses, TimeLimit or ChildError if it does not answer; the process is then stopped.
        """
        if self._child is None:
            kept = ("PATH", "HOME", "XDG_CACHE_HOME", "MIDFLIGHT_CODE_CACHE", "LANG")
            environment = {each: os.environ[each] for each in kept if each in os.environ}
            limits = (str(_SECONDS), str(_MEMORY))
            self._child = Child("midflight.labs.switchchild", arguments=limits, environment=environment)
        try:
            answer = self._child.ask({"op": op, **arguments}, self.deadline)
        except (TimeLimit, ChildError):
            self.close()
            raise
        if "error" in answer:
            raise ProgramError(answer["error"])
        return answer["ok"]

    def reset(self) -> None:
        """Forget the switches of earlier tests. Compiled programs are kept."""
        if self._child is not None:
            self.ask("reset")

    def close(self) -> None:
        """Stop the process. Idempotent."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def __enter__(self) -> SwitchProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch in the process, by its number.

    Methods raise ProgramError for what the switch refuses, and TimeLimit or ChildError if the process does not answer.
    """

    process: SwitchProcess
    number: int

    def commands(self, *lines: str) -> list[str]:
        """Apply commands of simple_switch_CLI in order, and return what reading ones such as `register_read` have read,
        as text.

        ProgramError for a mistake in a command, or if the switch refuses it; those before it stay applied.
        """
        said: list[str] = self.process.ask("commands", switch=self.number, lines=lines)
        return said

    def register(self, name: str, index: int) -> int:
        """Return the value of the element of a register at an index. ProgramError if there is none."""
        return int(self.commands(f"register_read {name} {index}")[0])

    def entries(self, text: str, suffix: str = ".json") -> None:
        """Apply the text of an entries file: JSON, YAML if `suffix` is ".yaml" or ".yml", or commands of
        simple_switch_CLI.

        ProgramError for a mistake in it, or if the switch refuses an entry.
        """
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"entries{suffix}"
            path.write_text(text)
            self.process.ask("entries", switch=self.number, path=str(path))

    def select(self, table: str, match: Mapping[str, Any], actions: Sequence[Sequence[Any]]) -> None:
        """Add an entry to a table with an action selector, which chooses one of `actions` for a packet.

        `match` has the values of the keys by name. Each action is its name, its parameters by name, its weight, and the
        port that it watches or None. ProgramError if they do not fit the table.
        """
        self.process.ask("select", switch=self.number, table=table, match=match, actions=actions)

    def set_port(self, port: int, *, up: bool) -> None:
        """Set whether a port is up. All ports are up at first."""
        self.process.ask("port", switch=self.number, port=port, up=up)

    def update(self, update: bytes) -> None:
        """Apply a P4Runtime update, a serialized message. ProgramError if the switch refuses it."""
        self.process.ask("update", switch=self.number, update=update.hex())

    def packet_out(self, message: bytes, time: int = 0) -> Played:
        """Process a P4Runtime packet-out, a serialized message, at a time in ns, until the queues are empty."""
        return _played(self.process.ask("packet_out", switch=self.number, message=message.hex(), time=time))

    def p4info(self) -> bytes:
        """Return the P4Info of the program, serialized."""
        return bytes.fromhex(self.process.ask("p4info", switch=self.number))

    def play(self, packets: Sequence[tuple[int, int, bytes]], *, drain: bool = True) -> Played:
        """Process packets (time in ns, port, bytes), which must be in ascending order of time.

        With `drain`, go on until the queues are empty; without, until the last packet has arrived.
        """
        listed = [(time, port, data.hex()) for time, port, data in packets]
        return _played(self.process.ask("play", switch=self.number, packets=listed, drain=drain))

    def send(self, packets: Sequence[tuple[int, bytes]], start: int = 0) -> Played:
        """Process packets, given as (port, bytes), in order, the first at `start` in ns and each a microsecond after
        the one before.
        """
        return self.play([(start + number * 1000, port, data) for number, (port, data) in enumerate(packets)])


def _played(answer: Mapping[str, Any]) -> Played:
    return Played(
        [Sent(source, time, port, bytes.fromhex(data)) for source, time, port, data in answer["sent"]],
        [(index, fields, bytes.fromhex(data)) for index, fields, data in answer["packet_ins"]],
        [(index, name, fields) for index, name, fields in answer["digests"]],
    )

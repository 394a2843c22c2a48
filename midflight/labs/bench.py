"""The workbench of a lab's tests: the submission's files, its switches, random numbers, and comparisons."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from midflight.errors import MidflightError
from midflight.labs.packets import Layout
from midflight.labs.student import Isolation, Student, StudentError
from midflight.labs.switch import ProgramError, Switch, SwitchProcess

__all__ = ["Bench", "GradedTest", "Incorrect", "Packet", "compare", "require"]

Packet = tuple[int, bytes]
"""A port and the bytes of a packet."""

_LISTED = 6
_TABLES = "The lab's text has the names. A table that the program never applies does not exist."


class Incorrect(MidflightError):  # noqa: N818 - the name of what is wrong
    """A submission does something else than its test requires. The message says what, for the student."""


@dataclass(frozen=True, slots=True)
class GradedTest:
    """A graded test: a short name, its points, what it requires in words, and the function that carries it out.

    The function raises Incorrect, with the reason, if the submission is wrong. `seconds` is the time limit.
    """

    name: str
    points: int
    title: str
    run: Callable[[Bench], None]
    seconds: float = 20.0


@dataclass(slots=True)
class Bench:
    """What a test works with.

    `files` are the texts of the submission's files, `random` the test's own random numbers, from the instructor's seed.
    `course` are the texts of the lab's starter, for files that the lab provides and does not let students change.
    `process` runs P4 programs, `isolation` is what a process with the submission's Python needs.
    """

    files: Mapping[str, str]
    course: Mapping[str, str]
    random: random.Random
    process: SwitchProcess
    isolation: Isolation
    _numbers: int = field(default=0)
    _students: list[Student] = field(default_factory=list)

    def file(self, name: str) -> str:
        """Return the text of a submitted file. Incorrect if it is missing."""
        if name not in self.files:
            raise Incorrect(f"the file {name} is missing")
        return self.files[name]

    def switch(
        self, name: str, *commands: str, text: str | None = None, queues: Mapping[str, Any] | None = None
    ) -> Switch:
        """Return a new switch with a submitted program, after commands of simple_switch_CLI.

        `text` is a program to run instead. `queues` are arguments of `QueueOptions`. Incorrect if the file is missing
        or a command is refused; ProgramError if the program does not compile.
        """
        source = self.file(name) if text is None else text
        number, self._numbers = self._numbers, self._numbers + 1
        seed = self.random.randrange(1 << 30)
        self.process.ask("load", switch=number, text=source, file=name, seed=seed, queues=queues)
        made = Switch(self.process, number)
        try:
            made.commands(*commands)
        except ProgramError as error:
            raise Incorrect(f"an entry of the grader is refused: {error}", hint=_TABLES) from None
        return made

    def student(self, name: str) -> Student:
        """Return a new process with a submitted Python module, whose functions can be called.

        Incorrect if the file is missing or cannot be imported.
        """
        self.file(name)
        try:
            made = Student(self.files, name, self.isolation, self.process.deadline)
        except StudentError as error:
            raise Incorrect(f"{name} cannot be imported: {error}") from None
        self._students.append(made)
        return made

    @property
    def has_students(self) -> bool:
        """Whether Python of the submission has run, so that any value may have come from it."""
        return bool(self._students)

    def close(self) -> None:
        """Stop the submission's processes. Compiled programs are kept for the next test."""
        for each in self._students:
            each.close()
        self._students.clear()


def require(condition: bool, reason: str) -> None:
    """Raise Incorrect with the reason unless the condition holds."""
    if not condition:
        raise Incorrect(reason)


def compare(
    layout: Layout,
    sent: Sequence[Packet],
    wanted: Sequence[Sequence[Packet]],
    got: Sequence[Sequence[Packet]],
    why: Sequence[str] | None = None,
) -> None:
    """Compare the packets that left a switch with those that must leave, for each packet that was sent.

    Element n of `wanted` and of `got` has the packets that come from element n of `sent`, in any order. `why` has a
    clause for each packet that says what is special about it, or "". Incorrect for the first packet whose results
    differ: the reason names the ports, or each field that differs.
    """
    for number, (arriving, must, have) in enumerate(zip(sent, wanted, got, strict=True)):
        said = _differences(layout, sorted(must), sorted(have))
        if said:
            port, data = arriving
            note = f" ({why[number]})" if why is not None and why[number] else ""
            head = f"packet {number + 1}{note}, by port {port}: {layout.brief(data)}"
            more = [f"and {len(said) - _LISTED} more differences"] if len(said) > _LISTED else []
            raise Incorrect("\n".join([head, *(f"  {each}" for each in [*said[:_LISTED], *more])]))


def _differences(layout: Layout, wanted: Sequence[Packet], got: Sequence[Packet]) -> list[str]:
    must, have = [port for port, _ in wanted], [port for port, _ in got]
    if must != have:
        return [f"it {_leaves(have)}, {_must(must)}"]
    return [
        f"on port {port}: {each}"
        for (port, one), (_, other) in zip(wanted, got, strict=True)
        for each in layout.differences(one, other)
    ]


def _leaves(ports: Sequence[int]) -> str:
    return f"leaves by {_ports(ports)}" if ports else "is dropped"


def _must(ports: Sequence[int]) -> str:
    return f"must leave by {_ports(ports)}" if ports else "must be dropped"


def _ports(ports: Sequence[int]) -> str:
    listed = ", ".join(str(each) for each in ports)
    return f"port {listed}" if len(ports) == 1 else f"ports {listed}"

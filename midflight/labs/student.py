"""The grader's end of the process in which submitted Python runs."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from midflight.errors import MidflightError
from midflight.labs.process import Child, ChildError
from midflight.labs.values import pack, unpack

__all__ = ["CONFINED", "Isolation", "Object", "Student", "StudentError", "Unconfined"]

CONFINED = ["landlock", "seccomp"]
"""What `confine` applies to a submission that is confined."""

_SECONDS, _MEMORY = 60, 2 << 30
_ANSWER = 1 << 22
_SHOWN = 2000
# Packages that need libraries outside of what a confined process can read, by the word that shows their use.
_PACKAGES = (("numpy", "numpy"), ("finsy", "finsy.proto"), ("midflight", "midflight.primitives"))


class Isolation(Enum):
    """What is required to run a student's Python: the confinement of `confine`, or only a process of its own."""

    REQUIRED = "required"
    PROCESS = "process"


class Unconfined(MidflightError):  # noqa: N818 - the name of what is wrong
    """This machine cannot confine a student's Python as required."""


class StudentError(MidflightError):
    """A submitted module raised an exception, or returned something that cannot be passed on."""


class Student:
    """A process with a submitted module, whose functions and classes the grader uses.

    files: the texts of the submission, which are copied to a folder of the process
    name: the file of the module
    isolation: Unconfined if it is required and this machine does not provide it
    deadline: the time of `time.monotonic` until which all calls must be answered

    `applied` is what `confine` has applied. Methods raise StudentError for exceptions of the submission, and TimeLimit
    or ChildError if the process does not answer. Results are data that hostile code may have chosen: check their types.
    A context manager.
    """

    def __init__(self, files: Mapping[str, str], name: str, isolation: Isolation, deadline: float) -> None:
        self.deadline = deadline
        self._folder = tempfile.TemporaryDirectory(prefix="midflight-lab-")
        for each, text in files.items():
            (Path(self._folder.name) / each).write_text(text, encoding="utf-8")
        environment = {
            "PATH": "/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": self._folder.name,
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "MIDFLIGHT_CODE_CACHE": "",
        }
        self._child = Child(
            "midflight.labs.studentchild",
            arguments=(str(_SECONDS), str(_MEMORY)),
            environment=environment,
            folder=self._folder.name,
            answer=_ANSWER,
        )
        try:
            preload = [package for word, package in _PACKAGES if any(word in text for text in files.values())]
            self.applied = self._child.ask({"folder": self._folder.name, "preload": preload}, deadline)["ok"]
            if isolation is Isolation.REQUIRED and self.applied != CONFINED:
                raise Unconfined(
                    "this machine cannot confine a student's Python",
                    hint="grade on Linux 5.13 or later with Landlock and seccomp, or accept the risk: --unconfined",
                )
            self._ask({"op": "import", "name": name})
        except BaseException:
            self.close()
            raise

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a function of the module, and return its result.

        StudentError if it raises, or returns what `values.pack` refuses; TimeLimit or ChildError if the process does
        not answer.
        """
        return self._call(None, name, arguments)

    def new(self, name: str, *arguments: Any) -> Object:
        """Create an object of a class of the module. StudentError if its constructor raises."""
        number = self._ask({"op": "new", "name": name, "arguments": pack(arguments)})
        if not isinstance(number, int):
            raise StudentError("the submission disturbs the grader's pipe")
        return Object(self, number)

    def p4(self, name: str, **parameters: Any) -> str:
        """Return the P4 text of a program with one primitive of the module. StudentError if it does not compile."""
        text = self._ask({"op": "p4", "name": name, "parameters": pack(parameters)})
        if not isinstance(text, str):
            raise StudentError("the submission disturbs the grader's pipe")
        return text

    def _call(self, number: int | None, name: str, arguments: tuple[Any, ...]) -> Any:
        return self._ask({"op": "call", "object": number, "name": name, "arguments": pack(arguments)})

    def _ask(self, request: Mapping[str, Any]) -> Any:
        answer = self._child.ask(request, self.deadline)
        match answer:
            case {"ok": value}:
                try:
                    return unpack(value)
                except (ValueError, RecursionError):
                    raise StudentError("the submission disturbs the grader's pipe") from None
            case {"error": str(text)}:
                raise StudentError(text[:_SHOWN])
        self.close()
        raise ChildError("the submission disturbs the grader's pipe")

    def close(self) -> None:
        """Stop the process and remove its folder. Idempotent."""
        self._child.close()
        self._folder.cleanup()

    def __enter__(self) -> Student:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Object:
    """An object in a student's process. `call` calls a method; it raises as `Student.call`."""

    def __init__(self, student: Student, number: int) -> None:
        self._student = student
        self._number = number

    def call(self, name: str, *arguments: Any) -> Any:
        """Call a method of the object, and return its result.

        StudentError if it raises, or returns what `values.pack` refuses; TimeLimit or ChildError if the process does
        not answer.
        """
        return self._student._call(self._number, name, arguments)

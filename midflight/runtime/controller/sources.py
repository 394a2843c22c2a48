"""Program sources: Python files whose text is saved, so that the next controller process runs the same program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from midflight.errors import MidflightError
from midflight.primitives import Program
from midflight.userfiles import read_text

__all__ = ["Loader", "ProgramSource", "succeeding"]

Loader = Callable[[Path, str | None, Path], Program]
"""Runs a Python file (the path) and returns the program of the given name in it; None is the only one.

The last argument is the folder from which the file may import.
"""


@dataclass(frozen=True, slots=True)
class ProgramSource:
    """A Python file that defines a program: its absolute path, its text when it was read, and the program's name in it.

    The name is None if the file has only one program.
    """

    file: Path
    text: str
    name: str | None = None

    @classmethod
    def read(cls, file: Path, name: str | None = None) -> ProgramSource:
        """Read the file at a relative or absolute path. `name` selects a program in it; None is the only one.

        Does not run the file. MidflightError if it cannot be read or is not UTF-8.
        """
        return cls(file.absolute(), read_text(file), name)

    @property
    def digest(self) -> str:
        """The SHA-256 of the program's name and the text, in hexadecimal. The path does not count."""
        return sha256(f"{self.name}\n{self.text}".encode()).hexdigest()

    def load(self, loader: Loader) -> Program:
        """Run the file with `loader` and return its program. The file must not have changed since it was read.

        Raises the errors of the loader: `load_program` raises MidflightError for a file that fails or has no such
        program.
        """
        return loader(self.file, self.name, self.file.parent)

    def load_kept(self, loader: Loader, folder: Path, ids: Mapping[str, int]) -> Program:
        """Run the saved text with `loader` and return its program, although the file itself may have changed.

        The text is written to a subfolder of `folder` under the file's own name, because the generated P4 names the
        files of kernels. `ids` are the applications that the program had before, in order, with their ids, which it
        gets again. MidflightError if the text cannot be written, or no longer defines all of them, for example because
        a file that it imports has changed; otherwise the errors of the loader.
        """
        copy = folder / self.digest[:12] / self.file.name
        try:
            copy.parent.mkdir(exist_ok=True)
            copy.write_text(self.text, encoding="utf-8")
        except OSError as error:
            raise MidflightError(f"{copy}: {error.strerror}") from None
        made = loader(copy, self.name, self.file.parent)
        if missing := [name for name in ids if name not in made.applications]:
            raise MidflightError(
                f"{self.file} no longer defines application {missing[0]}, although its text is the same",
                hint="check whether a file that it depends on has changed",
            )
        steering = () if made.steering is None else (made.steering,)
        return Program(*(made.applications[name].primitive for name in ids), *steering, ids=ids)

    def document(self) -> dict[str, Any]:
        """Return the source as a JSON object, for `of`."""
        return {"file": str(self.file), "text": self.text, "name": self.name}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ProgramSource:
        """Return the source that a JSON object from `document` describes. KeyError if a part is missing."""
        return cls(Path(document["file"]), document["text"], document["name"])


def succeeding(before: Program, wanted: Program) -> Program:
    """Return a program with the applications and the `Steering` of `wanted`, in which those that `before` has too, by
    name, keep their ids.

    New applications get ids that `before` does not use. The order is that of `before`, then new ones. KernelError if a
    combination of applications is invalid.
    """
    made = before if before.steering == wanted.steering else before.steered(wanted.steering)
    for name, each in wanted.applications.items():
        made = made.replaced(each.primitive) if name in made.applications else made.extended(each.primitive)
    gone = [name for name in made.applications if name not in wanted.applications]
    return made.without(*gone) if gone else made

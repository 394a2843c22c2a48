"""Programs as users write them: a Python file, its text kept, so that a controller after this one has the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from midflight.errors import MidflightError
from midflight.primitives import Program

__all__ = ["Loader", "ProgramSource", "succeeding"]

Loader = Callable[[Path, str | None, Path], Program]
"""Runs a Python file and returns its program of this name, or the only one; it imports from the folder."""


@dataclass(frozen=True, slots=True)
class ProgramSource:
    """A Python file with a program, by its absolute path, and its text; `name` is the program's in it, or None."""

    file: Path
    text: str
    name: str | None = None

    @classmethod
    def read(cls, file: Path, name: str | None = None) -> ProgramSource:
        """Return a file as it is now. MidflightError if it cannot be read."""
        try:
            return cls(file.absolute(), file.read_text(encoding="utf-8"), name)
        except UnicodeDecodeError:
            raise MidflightError(f"{file}: not UTF-8 text") from None
        except OSError as error:
            raise MidflightError(f"{file}: {error.strerror}") from None

    @property
    def digest(self) -> str:
        """What tells the text, and the choice of a program in it, from others."""
        return sha256(f"{self.name}\n{self.text}".encode()).hexdigest()

    def load(self, loader: Loader) -> Program:
        """Return the program of the file, which has not changed since it was read."""
        return loader(self.file, self.name, self.file.parent)

    def load_kept(self, loader: Loader, folder: Path, ids: Mapping[str, int]) -> Program:
        """Return the program of the text, whatever the file is by now, with these ids of its applications.

        A copy of the text is kept in `folder`, under the file's own name, since the P4 names the files of kernels.
        MidflightError if it makes other applications.
        """
        copy = folder / self.digest[:12] / self.file.name
        copy.parent.mkdir(exist_ok=True)
        copy.write_text(self.text, encoding="utf-8")
        made = loader(copy, self.name, self.file.parent)
        if missing := [name for name in ids if name not in made.applications]:
            raise MidflightError(
                f"{self.file} does not make application {missing[0]} any more, though its text is the same",
                hint="does it depend on a file that has changed?",
            )
        return Program(*(made.applications[name].primitive for name in ids), ids=ids)

    def document(self) -> dict[str, Any]:
        """Return the source as JSON has it."""
        return {"file": str(self.file), "text": self.text, "name": self.name}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> ProgramSource:
        """Return the source of which this is the document."""
        return cls(Path(document["file"]), document["text"], document["name"])


def succeeding(before: Program, wanted: Program) -> Program:
    """Return a program in which applications keep their ids that both programs have, as `Program.replaced` tells."""
    made = before
    for name, each in wanted.applications.items():
        made = made.replaced(each.primitive) if name in made.applications else made.extended(each.primitive)
    gone = [name for name in made.applications if name not in wanted.applications]
    return made.without(*gone) if gone else made

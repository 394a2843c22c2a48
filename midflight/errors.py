"""The exceptions and warnings of Midflight. Each can carry the place in the user's source that it is about."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = [
    "DeviceError",
    "KernelError",
    "KernelErrors",
    "MidflightError",
    "P4Error",
    "P4Warning",
    "Place",
    "UnsupportedError",
    "WireError",
]


# Characters of a source line that a message shows, and how many of them before the place.
_SHOWN, _BEFORE = 400, 80


@dataclass(frozen=True, slots=True)
class Place:
    """A part of one line in a user's file: `length` characters from `column` of `line`.

    Lines and columns count from 1; `text` is the whole line, empty if unknown.
    """

    file: str
    line: int
    column: int
    length: int = 1
    text: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"

    def caret(self) -> str:
        """Return the source line, and a line with carets below the place; an empty string if the line's text is
        unknown.

        Of a very long line only the part around the place is shown.
        """
        if not self.text.strip():
            return ""
        line, at = self.text.rstrip("\n").expandtabs(1), self.column - 1
        if len(line) > _SHOWN:
            start = max(0, min(at - _BEFORE, len(line) - _SHOWN))
            line, at = line[start : start + _SHOWN], at - start
        width = max(1, min(self.length, len(line) - at))
        return f"    {line}\n    {' ' * at}{'^' * width}"


class MidflightError(Exception):
    """An error that the user can correct, and the base class of all others that Midflight raises deliberately.

    It has a message, its place in the user's source (None if there is none), and a hint what to do (may be empty).
    """

    def __init__(self, message: str, *, place: Place | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.place = place
        self.hint = hint

    def __str__(self) -> str:
        lines = [f"{self.place}: {self.message}" if self.place else self.message]
        if self.place and (caret := self.place.caret()):
            lines.append(caret)
        if self.hint:
            lines.append(f"    {self.hint}")
        return "\n".join(lines)


class P4Error(MidflightError):
    """P4 source that has a syntax or type error, or uses an unsupported feature."""


@dataclass(frozen=True, slots=True)
class P4Warning:
    """A warning about P4 source that is valid but probably not intended. It is not raised; checks return it."""

    message: str
    place: Place
    hint: str = ""

    def __str__(self) -> str:
        return str(P4Error(f"warning: {self.message}", place=self.place, hint=self.hint))


class KernelError(MidflightError):
    """A kernel, a primitive's parameter or a program that breaks a rule of the kernel language or a range."""


class KernelErrors(KernelError):  # noqa: N818 - a group, as Python's ExceptionGroup
    """Several mistakes in one kernel. `errors` has each of them, and the message lists all.

    `message`, `place` and `hint` are those of the first.
    """

    def __init__(self, errors: Iterable[KernelError]) -> None:
        self.errors = tuple(errors)
        first = self.errors[0]
        super().__init__(first.message, place=first.place, hint=first.hint)

    def __str__(self) -> str:
        return "\n".join(str(each) for each in self.errors)


class WireError(MidflightError):
    """Bytes or values that do not fit a program's wire schema, or a frame that is not valid UDP over IP."""


class DeviceError(MidflightError):
    """A switch, host or process refused a request, died, or lacks what was requested; or a tool is missing."""


class UnsupportedError(MidflightError):
    """A valid request for something that a device or a tool does not implement."""

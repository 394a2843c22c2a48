"""Loading of programs from users' Python files, with errors at their place in the file."""

from __future__ import annotations

import importlib.util
import linecache
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path
from types import CodeType, ModuleType, TracebackType
from typing import TYPE_CHECKING

from midflight.errors import MidflightError, Place
from midflight.userfiles import read_text

if TYPE_CHECKING:
    from midflight.primitives import Program

__all__ = ["load_module", "load_program"]

_LONGEST = 2000  # characters of an exception's message that are shown

# A chain of at least this many `elif`s is taken for what Python's compiler cannot compile: it compiles about 2,900.
_CHAIN = 1000


def load_program(path: Path, name: str | None = None, folder: Path | None = None) -> Program:
    """Run a Python file as a module and return the `Program` that it creates.

    The program is the global variable `name`. If `name` is None, it is the variable `program`, or the only Program in
    the file. The file can import modules from `folder`, by default its own folder. MidflightError, with its place, if
    the file raises an exception, or if it has no such program.
    """
    from midflight.primitives import Program

    module = load_module(path, folder or path.parent)
    programs = {key: value for key, value in vars(module).items() if isinstance(value, Program)}
    if name is not None and name in programs:
        return programs[name]
    if name is None and ("program" in programs or len(programs) == 1):
        return programs.get("program") or next(iter(programs.values()))
    if not programs:
        what = f"`{name}` is not a Program in" if name and hasattr(module, name) else "there is no Program in"
        raise MidflightError(f"{what} {path}", hint="Write `program = Program(...)` at the file's top level.")
    there = ", ".join(programs)
    if name is None:
        raise MidflightError(f"{path} has several programs: {there}", hint="Choose one with --program NAME.")
    raise MidflightError(f"{path} has no program named {name}", hint=f"It has: {there}.")


def load_module(path: Path, folder: Path) -> ModuleType:
    """Run a Python file as a module, which can import modules from `folder`, and return it.

    MidflightError, with its place, if the file cannot be read or raises an exception.
    """
    text = read_text(path)
    # A unique name, which shadows no other module, and under which inspect finds the source of kernels.
    name = f"midflight_user_file_{path.stem}"
    spec = importlib.util.spec_from_loader(name, loader=None, origin=str(path))
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    module.__file__ = str(path)
    sys.modules[name] = module
    place = str(folder.resolve())  # before the file may go elsewhere
    sys.path.insert(0, place)
    try:
        with _stdout_aside(), _same_folder():
            exec(_compiled(text, path), module.__dict__)
    except SyntaxError as error:
        raise _syntax(error, path) from error
    except MidflightError as error:
        if error.place is None:
            error.place = _place(error.__traceback__, path)
        raise
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise MidflightError(_words(error), place=_place(error.__traceback__, path), hint=_hint(error)) from error
    finally:
        with suppress(ValueError):  # the file may have changed it
            sys.path.remove(place)
    return module


@contextmanager
def _stdout_aside() -> Iterator[None]:
    """Let what the file prints go to standard error: standard output is for what the command makes of it."""
    with os.fdopen(os.dup(2), "w", errors="backslashreplace") as aside, redirect_stdout(aside):
        yield
        with suppress(OSError, ValueError):
            aside.flush()


@contextmanager
def _same_folder() -> Iterator[None]:
    """Return to the working directory afterwards, to which relative paths of commands and of their files refer."""
    try:
        working = os.open(".", getattr(os, "O_PATH", os.O_RDONLY) | os.O_CLOEXEC)
    except OSError:  # this user cannot return to it
        yield
        return
    try:
        yield
    finally:
        os.fchdir(working)
        os.close(working)


def _words(error: BaseException) -> str:
    try:
        what = str(error)
    except Exception as failure:
        what = f"its message cannot be shown, because of a {type(failure).__name__}"
    if len(what) > _LONGEST:
        what = f"{what[:_LONGEST]}..."
    return f"{type(error).__name__}: {what}" if what else type(error).__name__


def _hint(error: BaseException) -> str:
    module = (error.name or "").partition(".")[0] if isinstance(error, ModuleNotFoundError) else ""
    if module and module not in sys.modules:
        return f"Install what has the module {module}, or run this where it is installed."
    if isinstance(error, SystemExit):
        return "The file ends the program; a file with a Program is loaded as a module."
    return ""


def _compiled(text: str, path: Path) -> CodeType:
    try:
        return compile(text, str(path), "exec", dont_inherit=True)
    except ValueError as error:  # null bytes, which Python reports as a SyntaxError only since 3.11.4
        line = text.count("\n", 0, max(0, text.find("\0"))) + 1
        raise MidflightError(f"SyntaxError: {error}", place=Place(str(path), line, 1, 1, "")) from None
    except (RecursionError, MemoryError):
        raise _beyond_python(text.splitlines() or [""], path) from None


def _beyond_python(lines: list[str], path: Path) -> MidflightError:
    """Return the error for a file that is nested too deeply for Python's own compiler, at the likeliest place."""
    chains = Counter[int]()  # the number of `elif`s by the line of their `if`
    begun: dict[int, int] = {}
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if line.lstrip().startswith("if "):
            begun[indent] = number
        elif line.lstrip().startswith("elif ") and indent in begun:
            chains[begun[indent]] += 1
    ((first, branches),) = chains.most_common(1) or [(0, 0)]
    if branches >= _CHAIN:
        message = f"Python cannot compile a chain of {branches} `elif`s"
        place = Place(str(path), first + 1, 1, 1, lines[first][:100])
        return MidflightError(message, place=place, hint="write it as `match`, whose cases are not limited")
    longest = max(range(len(lines)), key=lambda number: len(lines[number]))
    return MidflightError(
        "Python cannot compile this file: an expression or a chain of branches in it is too long",
        place=Place(str(path), longest + 1, 1, 1, lines[longest][:100]),
        hint="this is its longest line; move parts of long expressions into variables or helper functions",
    )


def _syntax(error: SyntaxError, path: Path) -> MidflightError:
    line, column = error.lineno or 1, max(1, error.offset or 1)
    length = (error.end_offset or 0) - column if error.end_lineno == error.lineno else 1
    place = Place(str(error.filename or path), line, column, max(1, length), error.text or "")
    return MidflightError(f"{type(error).__name__}: {error.msg}", place=place)


def _place(traceback: TracebackType | None, path: Path) -> Place | None:
    """Return the innermost place in the user's file that an exception passed, not the place in a library it called."""
    found = None
    while traceback:
        if traceback.tb_frame.f_code.co_filename == str(path):
            found = traceback
        traceback = traceback.tb_next
    if found is None:
        return None
    line, text = found.tb_lineno, linecache.getline(str(path), found.tb_lineno)
    positions = list(found.tb_frame.f_code.co_positions())
    start, end, left, right = positions[found.tb_lasti // 2]
    if start is None or left is None or right is None:
        return Place(str(path), line, 1, 1, text)
    # Columns of code objects count UTF-8 bytes from 0.
    raw = linecache.getline(str(path), start).encode()
    column = len(raw[:left].decode(errors="ignore")) + 1
    length = len(raw[left:right].decode(errors="ignore")) if end == start else len(raw.decode().rstrip()) - column + 1
    return Place(str(path), start, column, max(1, length), raw.decode())

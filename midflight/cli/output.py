"""Input and output of commands: text files, JSON, and atomic writes."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import click

from midflight.errors import MidflightError

__all__ = ["read_text", "write_files", "write_json"]


def read_text(path: Path) -> str:
    """Return the text of a file. MidflightError if it cannot be read, is not UTF-8, or is too long for a program."""
    from midflight.p4.bounded import LARGEST

    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(LARGEST + 1)
    except UnicodeDecodeError as error:
        raise MidflightError(f"{path}: not UTF-8 text (byte {error.start})") from None
    except OSError as error:
        raise MidflightError(f"{path}: {error.strerror}") from None
    if len(text) > LARGEST:
        raise MidflightError(f"{path}: longer than {LARGEST} characters")
    return text


def write_json(value: Mapping[str, object], to: str) -> None:
    """Write a JSON object atomically to a file, or to standard output if `to` is `-`.

    MidflightError if the file cannot be written.
    """
    text = json.dumps(value, indent=2) + "\n"
    if to == "-":
        click.echo(text, nl=False)
    else:
        write_files({Path(to): text})


def write_files(files: Mapping[Path, str | bytes]) -> None:
    """Write all of the files, or none of them, and create missing folders.

    Each file is written under a temporary name first, and then renamed. MidflightError if a file cannot be written.
    """
    with contextlib.ExitStack() as stack:
        try:
            made = [(stack.enter_context(_temporary(path, content)), path) for path, content in files.items()]
            for temporary, path in made:
                temporary.replace(path)
        except OSError as error:
            raise MidflightError(f"{error.filename2 or error.filename}: {error.strerror}") from None


@contextlib.contextmanager
def _temporary(path: Path, content: str | bytes) -> Iterator[Path]:
    made = _make_folder(path.parent)
    if path.is_dir():
        raise MidflightError(f"{path}: is a directory")
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            # mkstemp creates private files; use the permissions of an ordinary file.
            os.fchmod(handle, 0o666 & ~_umask())
            file.write(content.encode() if isinstance(content, str) else content)
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)
        for folder in reversed(made):
            with contextlib.suppress(OSError):
                folder.rmdir()


def _make_folder(path: Path) -> list[Path]:
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    return missing[::-1]


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask

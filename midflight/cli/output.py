"""Output of commands: JSON, and atomic writes of files."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from midflight.errors import MidflightError
from midflight.userfiles import failed

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["check_writable", "write_figures", "write_files", "write_json"]


def check_writable(*files: Path | str | None) -> None:
    """Check that files can be written, before the work that makes their content. None and `-` are skipped.

    Creates missing folders, and a file in the folder of each, which it removes again. MidflightError if a file cannot
    be written there.
    """
    for each in files:
        if each and each != "-" and not _is_stream(Path(each)):
            with _temporary(Path(each), "", private=False):
                pass


def write_json(value: Mapping[str, object], to: str) -> None:
    """Write a JSON object atomically to a file, or to standard output if `to` is `-`.

    MidflightError if the file cannot be written.
    """
    text = json.dumps(value, indent=2) + "\n"
    if to == "-":
        click.echo(text, nl=False)
    else:
        write_files({Path(to): text})


def write_figures(figures: Mapping[str, object], to: str | None, console: Console) -> None:
    """Write the figures of a command as JSON to the file `to`, and print its name on the console.

    `to` may be `-` for standard output, which is not named. Does nothing if `to` is None or empty. MidflightError if
    the file cannot be written.
    """
    if to:
        write_json(figures, to)
        if to != "-":
            console.print(f"Figures: {to}", soft_wrap=True)


def write_files(files: Mapping[Path, str | bytes], *, private: bool = False) -> None:
    """Write several files by path, and create missing folders.

    All are written under temporary names first, then renamed. So if one cannot be written, for example on a full disk,
    no file is changed; if a rename fails, earlier ones remain. Devices and pipes, such as /dev/stdout, are written to
    directly, before the renames. Only their owner can access `private` files. MidflightError if a file cannot be
    written or renamed, BrokenPipeError if nobody reads a pipe any more.
    """
    streams = [path for path in files if _is_stream(path)]
    with contextlib.ExitStack() as stack:
        made = [
            (stack.enter_context(_temporary(path, files[path], private)), path) for path in files if path not in streams
        ]
        for path in streams:
            with _reported(path):
                path.write_bytes(_bytes(files[path]))
        for temporary, path in made:
            with _reported(path):
                temporary.replace(path.resolve())


def _is_stream(path: Path) -> bool:
    """Return whether a path is a device or a pipe, or leads to whatever a process has open."""
    special = path.is_absolute() and path.parts[1] in ("dev", "proc") if len(path.parts) > 1 else False
    return path.exists() and not path.is_dir() and (special or not path.is_file())


def _bytes(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


@contextlib.contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise failed(error, path) from None


@contextlib.contextmanager
def _temporary(path: Path, content: str | bytes, private: bool) -> Iterator[Path]:
    if path.is_dir():
        raise MidflightError(f"{path}: is a directory")
    target = path.resolve()  # the file that a link leads to, so that the link is not replaced
    with _reported(path):
        made = _make_folder(target.parent)
    temporary = None
    try:
        with _reported(path):
            handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:100]}.", suffix=".part")
            temporary = Path(name)
            with os.fdopen(handle, "wb") as file:
                if not private:  # mkstemp creates private files; use the permissions of an ordinary file
                    os.fchmod(handle, 0o666 & ~_umask())
                file.write(_bytes(content))
        yield temporary
    finally:
        if temporary is not None:
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

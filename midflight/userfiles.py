"""Reading of users' files, each with a limit on its size, and the errors of files."""

from __future__ import annotations

import errno
from pathlib import Path

from midflight.errors import MidflightError

__all__ = ["HINTS", "LARGEST", "failed", "read_data", "read_text"]

LARGEST = 2 << 20
"""The largest size of a text in characters, unless its format says otherwise. It is that of a P4 program."""

HINTS = {
    errno.ENOSPC: "Free some space, or choose another place.",
    errno.EDQUOT: "Free some space, or choose another place.",
    errno.EMFILE: "Allow more open files, as with `ulimit -n 1024`.",
    errno.ENFILE: "This machine has too many open files.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EBADF: "It is closed.",
}
"""What to do about errors of the system, by number."""


def failed(error: OSError, path: Path | str) -> MidflightError:
    """Return, but do not raise, the error for a file that cannot be read or written, with a hint if there is one."""
    if isinstance(error, (FileExistsError, NotADirectoryError)):
        return MidflightError(f"{error.filename}: Not a directory")
    return MidflightError(f"{path}: {error.strerror or error}", hint=HINTS.get(error.errno or 0, ""))


def read_text(path: str | Path, most: int = LARGEST) -> str:
    """Return the text of a UTF-8 file, without its byte-order mark.

    MidflightError if it cannot be read, is not UTF-8, or is longer than `most` characters, of which no more are read.
    """
    try:
        with Path(path).open(encoding="utf-8-sig") as file:
            text = file.read(most + 1)
    except UnicodeDecodeError as error:
        where = "it begins like UTF-16" if error.object[:2] in (b"\xff\xfe", b"\xfe\xff") else f"byte {error.start}"
        raise MidflightError(f"{path}: not UTF-8 text ({where})", hint="Save it as UTF-8.") from None
    except OSError as error:
        raise failed(error, path) from None
    except ValueError:  # a null byte, which another file may have in a path
        raise MidflightError(f"{str(path)!r} is not the path of a file") from None
    if len(text) > most:
        raise MidflightError(f"{path}: longer than {most} characters")
    return text


def read_data(path: str | Path, most: int = LARGEST) -> bytes:
    """Return the bytes of a file.

    MidflightError if it cannot be read, or is longer than `most` bytes, of which no more are read.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise failed(error, path) from None
    except ValueError:
        raise MidflightError(f"{str(path)!r} is not the path of a file") from None
    if len(data) > most:
        raise MidflightError(f"{path}: longer than {most} bytes")
    return data

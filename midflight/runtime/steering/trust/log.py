"""A hash-chained log: JSON lines, each with the hash of the one before, so that no entry can be changed or removed.

Whoever can write the file could still cut off its end, or rewrite all of it. Both show if the hash of the last entry,
which `Verified.head` returns, is kept elsewhere from time to time.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any

from midflight.errors import MidflightError, Place

__all__ = ["ChainedLog", "Verified", "verify"]

_START = "0" * 64  # the hash before the first entry
_MOST = 100  # entries a second that are written; further ones are counted
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Verified:
    """A log whose chain is intact: the number of entries, the hash of the last one, and how often each event occurs.

    Events that were only counted, as there were too many in a second, are included in `events`.
    """

    entries: int
    head: str
    events: Counter[str]


class ChainedLog:
    """Appends entries to a log file, created for its owner only. A context manager; leaving it closes the file.

    `now` returns the time in nanoseconds since 1970. An existing file is verified and continued; an incomplete last
    line, as a crash leaves behind, is removed. At most 100 entries are written a second; of further ones, the next
    entry has the number by event. MidflightError if the file cannot be written, or if its chain is broken.
    """

    def __init__(self, path: Path, now: Callable[[], int]) -> None:
        self._now = now
        self._skipped: Counter[str] = Counter()
        self._second, self._written = -1, 0
        try:
            path.touch(mode=0o600)
            whole = path.read_bytes()
            kept = whole[: whole.rfind(b"\n") + 1]
            self._verified = _verified(path, kept)
            self._file = path.open("r+b")
            self._file.truncate(len(kept))
            self._file.seek(len(kept))
        except OSError as error:
            raise MidflightError(f"cannot write the log {path}: {error.strerror}") from None
        self._head, self._number = self._verified.head, self._verified.entries
        if len(kept) < len(whole):
            self.append("incomplete entry removed", octets=len(whole) - len(kept))

    @property
    def head(self) -> str:
        """The hash of the last entry, in hexadecimal digits."""
        return self._head

    def append(self, event: str, **details: Any) -> None:
        """Append an entry with an event and details that JSON can represent, and flush it to the file.

        At most 100 entries are written a second: further ones are only counted by event, and the next entry has the
        counts. MidflightError if the entry cannot be written.
        """
        now = self._now()
        if now // _SECOND != self._second:
            self._second, self._written = now // _SECOND, 0
        if self._written >= _MOST:
            self._skipped[event] += 1
            return
        self._written += 1
        entry: dict[str, Any] = {"number": self._number, "time": now, "event": event, "details": details}
        if self._skipped:
            entry["skipped"] = dict(sorted(self._skipped.items()))
        entry["previous"] = self._head
        digest = _hash(entry)
        try:
            self._file.write(json.dumps({**entry, "hash": digest}).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise MidflightError(f"cannot write the log {self._file.name}: {error.strerror}") from None
        self._head, self._number = digest, self._number + 1
        self._skipped.clear()

    def close(self) -> None:
        """Write what was only counted, and close the file. Idempotent. MidflightError if it cannot be written."""
        if not self._file.closed:
            if self._skipped:
                self._second = -1
                self.append("closed")
            self._file.close()

    def __enter__(self) -> ChainedLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def verify(path: Path, head: str = "") -> Verified:
    """Verify the chain of a log file. `head` is the hash of an entry that it must contain; empty is none.

    MidflightError, with the line, where the chain breaks, or if the file cannot be read or has no such entry.
    """
    try:
        return _verified(path, path.read_bytes(), head)
    except OSError as error:
        raise MidflightError(f"cannot read the log {path}: {error.strerror}") from None


def _verified(path: Path, data: bytes, head: str = "") -> Verified:
    previous, number, found, events = _START, 0, not head, Counter[str]()
    *lines, rest = data.split(b"\n")
    for number, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line)
            digest = entry.pop("hash")
            wrong = ""
            if entry["number"] != number - 1:
                wrong = f"entry {entry['number']} follows entry {number - 2}"
            elif entry["previous"] != previous:
                wrong = "the entry before was changed or removed"
            elif digest != _hash(entry):
                wrong = "the entry was changed"
            events[str(entry["event"])] += 1
            events.update({str(event): int(count) for event, count in entry.get("skipped", {}).items()})
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            wrong = "this line is not an entry"
        if wrong:
            raise MidflightError(f"the chain is broken: {wrong}", place=Place(str(path), number, 1))
        previous, found = digest, found or digest == head
    if rest:
        raise MidflightError("the chain is broken: the last entry is incomplete", place=Place(str(path), number + 1, 1))
    if not found:
        raise MidflightError(f"{path} has no entry with the hash {head}", hint="entries at the end were removed")
    return Verified(number, previous, events)


def _hash(entry: dict[str, Any]) -> str:
    return sha256(json.dumps(entry, sort_keys=True, separators=(",", ":")).encode()).hexdigest()

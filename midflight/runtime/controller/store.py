"""The persistent state of a controller, in one SQLite file in a state folder.

It consists of the desired state, the journal (the keys of all entities written to each switch), the election ids and
the events. Each change is a transaction, so a controller that is killed leaves the state of before or after the change.
Only one controller at a time can hold the folder: see `folder.StateFolder`.
"""

from __future__ import annotations

import errno
import json
import os
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from midflight.errors import MidflightError
from midflight.runtime.controller.observe.events import Event
from midflight.userfiles import failed

__all__ = ["SCHEMA", "Store"]

SCHEMA = 2
"""The version of the file, which is stored in it. Version 1 has no tokens: its jobs and admissions have the token 0."""
_ROOM = 64 << 10
"""The free bytes of a file system below which it counts as full when a transaction fails."""
EVENTS = 10_000
"""The number of events that are kept; older ones are deleted."""
_TABLES = """
CREATE TABLE desired (only INTEGER PRIMARY KEY CHECK (only = 1), document TEXT NOT NULL) STRICT;
CREATE TABLE written (switch TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (switch, key)) STRICT, WITHOUT ROWID;
CREATE TABLE elections (switch TEXT PRIMARY KEY, bid TEXT NOT NULL) STRICT;
CREATE TABLE events (number INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL,
                     switch TEXT NOT NULL, application TEXT NOT NULL, details TEXT NOT NULL) STRICT;
"""


class Store:
    """The SQLite file `state.sqlite` of a state folder, created if missing. A context manager.

    Methods may be called from any thread, until `close`. Those that write raise MidflightError if the file cannot be
    written, for example on a full disk; it then stays as it was. MidflightError if the file cannot be opened, is not
    the state of a controller, or was made by a newer version.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.sqlite"
        self._lock = threading.RLock()
        try:
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            self._file = sqlite3.connect(self.path, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise MidflightError(f"{self.path} cannot be opened: {error}") from None
        try:
            self._prepare()
        except BaseException:
            self._file.close()
            raise

    def _prepare(self) -> None:
        try:
            self._file.execute("PRAGMA journal_mode = WAL")
            self._file.execute(
                "PRAGMA synchronous = NORMAL"
            )  # survives a kill; a power cut may lose journal and events
            with self._transaction():
                (version,) = self._file.execute("PRAGMA user_version").fetchone()
                if version == 0:
                    for each in _TABLES.split(";\n"):
                        self._file.execute(each)
                if version < SCHEMA:
                    self._file.execute(f"PRAGMA user_version = {SCHEMA}")
        except sqlite3.DatabaseError as error:
            raise MidflightError(f"{self.path} is not the state of a controller: {error}") from None
        if version > SCHEMA:
            raise MidflightError(
                f"{self.path} has version {version}, but this version of Midflight reads up to {SCHEMA}",
                hint="use the version of Midflight that made it, or a new state folder",
            )

    def close(self) -> None:
        """Close the database file. Idempotent."""
        self._file.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Desired state

    @property
    def desired(self) -> dict[str, Any] | None:
        """The document that `save` saved last; None if there is none or `forget` has deleted it."""
        with self._lock:
            found = self._file.execute("SELECT document FROM desired").fetchone()
        return None if found is None else dict(json.loads(found[0]))

    def save(self, document: Mapping[str, Any]) -> None:
        """Replace the desired state by this document, which JSON must be able to represent. The change survives a power
        cut.

        MidflightError if the file cannot be written, for example on a full disk; the previous document then stays.
        """
        text = json.dumps(document)
        with self._lock:
            self._file.execute("PRAGMA synchronous = FULL")
            try:
                with self._transaction():
                    self._file.execute("INSERT OR REPLACE INTO desired VALUES (1, ?)", [text])
            finally:
                self._file.execute("PRAGMA synchronous = NORMAL")

    def forget(self) -> None:
        """Delete the desired state and the journal of all switches, as at the end of a deployment.

        Events and election ids stay. MidflightError if the file cannot be written.
        """
        with self._transaction():
            self._file.execute("DELETE FROM desired")
            self._file.execute("DELETE FROM written")

    # Journal

    def written(self, switch: str) -> frozenset[str]:
        """Return a switch's journal: the keys of the entities written, or about to be, and not deleted since."""
        with self._lock:
            rows = self._file.execute("SELECT key FROM written WHERE switch = ?", [switch]).fetchall()
        return frozenset(key for (key,) in rows)

    def note(self, switch: str, keys: Iterable[str]) -> list[str]:
        """Add the keys of entities to a switch's journal, before they are written to it. Return those that were not in
        it yet.

        MidflightError if the file cannot be written.
        """
        statement = "INSERT OR IGNORE INTO written VALUES (?, ?)"
        with self._transaction():
            return [key for key in keys if self._file.execute(statement, [switch, key]).rowcount]

    def drop(self, switch: str, keys: Collection[str] | None = None) -> None:
        """Remove these keys from a switch's journal, or all if `keys` is None. Keys that are not in it are ignored.

        MidflightError if the file cannot be written.
        """
        with self._transaction():
            if keys is None:
                self._file.execute("DELETE FROM written WHERE switch = ?", [switch])
            else:
                rows = [(switch, key) for key in keys]
                self._file.executemany("DELETE FROM written WHERE switch = ? AND key = ?", rows)

    # Elections

    def election(self, switch: str) -> int:
        """Return the election id with which a controller of this folder was last the primary of a switch; 0 if there is
        none.
        """
        with self._lock:
            found = self._file.execute("SELECT bid FROM elections WHERE switch = ?", [switch]).fetchone()
        return 0 if found is None else int(found[0])

    def elected(self, switch: str, bid: int) -> None:
        """Record the election id with which a controller of this folder is now the primary of a switch.

        MidflightError if the file cannot be written.
        """
        with self._transaction():
            self._file.execute("INSERT OR REPLACE INTO elections VALUES (?, ?)", [switch, str(bid)])

    # Events

    def report(self, event: Event) -> None:
        """Save an event, and delete the oldest so that 10,000 remain. MidflightError if the file cannot be written."""
        row = [event.time, event.kind, event.message, event.switch, event.application, json.dumps(dict(event.details))]
        with self._transaction():
            number = self._file.execute("INSERT INTO events VALUES (NULL, ?, ?, ?, ?, ?, ?)", row).lastrowid
            self._file.execute("DELETE FROM events WHERE number <= ?", [(number or 0) - EVENTS])

    def events(self, count: int) -> list[Event]:
        """Return up to the last `count` events, oldest first."""
        with self._lock:
            rows = self._file.execute("SELECT * FROM events ORDER BY number DESC LIMIT ?", [count]).fetchall()
        return [
            Event(kind, message, switch, application, json.loads(details), time)
            for _, time, kind, message, switch, application, details in reversed(rows)
        ]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            try:
                self._file.execute("BEGIN IMMEDIATE")
                try:
                    yield
                except BaseException:
                    if self._file.in_transaction:  # SQLite has rolled it back itself if the disk is full
                        self._file.execute("ROLLBACK")
                    raise
                self._file.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise self._failed(error) from None

    def _failed(self, error: sqlite3.OperationalError) -> MidflightError:
        """Return, but do not raise, the error for a file that cannot be written."""
        disk = os.statvfs(self.path.parent)
        if disk.f_bavail * disk.f_frsize < _ROOM:  # SQLite also calls this an I/O error
            return failed(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), self.path)
        return MidflightError(f"{self.path}: {error}", hint="check the disk, and who else uses the file")

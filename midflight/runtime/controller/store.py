"""Persistent state of a controller: desired state, journal of written entries, election ids and events.

The state is one SQLite file in the state folder. Each change is a transaction, so a controller that is killed leaves
the state of before or after the change. Only one controller at a time can hold the folder: see `StateFolder.hold`.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import stat
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from midflight.errors import MidflightError
from midflight.runtime.controller.observe.events import Event

__all__ = ["SCHEMA", "StateFolder", "Store"]

SCHEMA = 2
"""The version of the file, which is stored in it. Version 1 has no tokens: its jobs and admissions have the token 0."""
EVENTS = 10_000
"""How many events are kept. Older ones are deleted."""
_TABLES = """
CREATE TABLE desired (only INTEGER PRIMARY KEY CHECK (only = 1), document TEXT NOT NULL) STRICT;
CREATE TABLE written (switch TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (switch, key)) STRICT, WITHOUT ROWID;
CREATE TABLE elections (switch TEXT PRIMARY KEY, bid TEXT NOT NULL) STRICT;
CREATE TABLE events (number INTEGER PRIMARY KEY, time REAL NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL,
                     switch TEXT NOT NULL, application TEXT NOT NULL, details TEXT NOT NULL) STRICT;
"""


class StateFolder:
    """The state folder of a controller, which only its owner can access. A context manager.

    Creates the folder if it does not exist. MidflightError if that fails, if the folder belongs to another user, or if
    its mode gives any access to group or others.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            found = path.stat()
            if found.st_uid != os.geteuid():
                raise MidflightError(f"{path} belongs to another user", hint="choose another folder with --state")
            if stat.S_IMODE(found.st_mode) & 0o077:
                raise MidflightError(f"other users can access {path}", hint=f"chmod 700 {path}")
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise MidflightError(f"{path}: {error.strerror}") from None

    @property
    def socket(self) -> Path:
        """The Unix socket on which the controller that holds the folder accepts commands."""
        return self.path / "control"

    def hold(self) -> bool:
        """Try to lock the folder for this process, without waiting. Return whether that succeeded.

        The operating system releases the lock when the process ends, for any reason.
        """
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        return True

    @property
    def holder(self) -> str:
        """The id of the process that holds the folder or held it last, as text; empty if there has been none."""
        return os.pread(self._lock, 32, 0).decode().strip()

    def close(self) -> None:
        """Release the lock. May be called more than once."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> StateFolder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Store:
    """The SQLite file of a state folder. A context manager; methods may be called from any thread.

    MidflightError if the file cannot be opened, is not a controller's state, or was made by a newer version.
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
        """Close the file. May be called more than once."""
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
        """The desired state that was saved last, or None."""
        with self._lock:
            found = self._file.execute("SELECT document FROM desired").fetchone()
        return None if found is None else dict(json.loads(found[0]))

    def save(self, document: Mapping[str, Any]) -> None:
        """Replace the desired state by a document that JSON can represent. It survives a power cut."""
        text = json.dumps(document)
        with self._lock:
            self._file.execute("PRAGMA synchronous = FULL")
            try:
                with self._transaction():
                    self._file.execute("INSERT OR REPLACE INTO desired VALUES (1, ?)", [text])
            finally:
                self._file.execute("PRAGMA synchronous = NORMAL")

    def forget(self) -> None:
        """Delete the desired state and the journal, as at the end of a deployment. Events and election ids stay."""
        with self._transaction():
            self._file.execute("DELETE FROM desired")
            self._file.execute("DELETE FROM written")

    # Journal

    def written(self, switch: str) -> frozenset[str]:
        """Return the keys of the entities that were written to a switch, or were about to be, and not removed since."""
        with self._lock:
            rows = self._file.execute("SELECT key FROM written WHERE switch = ?", [switch]).fetchall()
        return frozenset(key for (key,) in rows)

    def note(self, switch: str, keys: Iterable[str]) -> list[str]:
        """Record the keys of entities before they are written to a switch. Return those that were not recorded yet."""
        statement = "INSERT OR IGNORE INTO written VALUES (?, ?)"
        with self._transaction():
            return [key for key in keys if self._file.execute(statement, [switch, key]).rowcount]

    def drop(self, switch: str, keys: Collection[str] | None = None) -> None:
        """Delete the records of these keys of a switch, or of all its keys if `keys` is None."""
        with self._transaction():
            if keys is None:
                self._file.execute("DELETE FROM written WHERE switch = ?", [switch])
            else:
                rows = [(switch, key) for key in keys]
                self._file.executemany("DELETE FROM written WHERE switch = ? AND key = ?", rows)

    # Elections

    def election(self, switch: str) -> int:
        """Return the last election id with which a controller of this folder was primary of a switch, or 0."""
        with self._lock:
            found = self._file.execute("SELECT bid FROM elections WHERE switch = ?", [switch]).fetchone()
        return 0 if found is None else int(found[0])

    def elected(self, switch: str, bid: int) -> None:
        """Record that a controller of this folder is primary of a switch with this election id."""
        with self._transaction():
            self._file.execute("INSERT OR REPLACE INTO elections VALUES (?, ?)", [switch, str(bid)])

    # Events

    def report(self, event: Event) -> None:
        """Store an event, and delete the oldest beyond `EVENTS`."""
        row = [event.time, event.kind, event.message, event.switch, event.application, json.dumps(dict(event.details))]
        with self._transaction():
            number = self._file.execute("INSERT INTO events VALUES (NULL, ?, ?, ?, ?, ?, ?)", row).lastrowid
            self._file.execute("DELETE FROM events WHERE number <= ?", [(number or 0) - EVENTS])

    def events(self, count: int) -> list[Event]:
        """Return the last `count` events, oldest first."""
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
                    self._file.execute("ROLLBACK")
                    raise
                self._file.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise MidflightError(f"{self.path}: {error}") from None

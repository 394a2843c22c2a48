"""The saved state of a controller."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from midflight.errors import MidflightError
from midflight.runtime.controller.folder import StateFolder
from midflight.runtime.controller.observe.events import Event
from midflight.runtime.controller.store import EVENTS, SCHEMA, Store

KILLED = """
import os, signal, sys
from pathlib import Path
from midflight.runtime.controller.folder import StateFolder
from midflight.runtime.controller.store import Store
folder = StateFolder(Path(sys.argv[1]))
assert folder.hold()
with Store(folder.path) as store:
    store.save({"epoch": 7})
    store.note("s1", ["a", "b"])
    store.drop("s1", ["b"])
    print("held", flush=True)
    signal.pause()
"""


def test_saved_state_survives_a_kill_and_the_folder_is_unlocked(tmp_path: Path) -> None:
    path = tmp_path / "state"
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout, StateFolder(path) as folder:
        assert process.stdout.readline() == "held\n"
        assert not folder.hold()
        assert folder.holder.pid == str(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert folder.hold()
        with Store(path) as store:
            assert store.desired == {"epoch": 7}
            assert store.written("s1") == {"a"}
            assert store.written("s2") == frozenset()
            store.forget()
            assert store.desired is None
            assert store.written("s1") == frozenset()


def test_election_ids_of_any_size_are_stored_for_each_switch(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        assert store.election("s1") == 0
        store.elected("s1", 3)
        store.elected("s1", 2**127)
    with Store(tmp_path) as store:
        assert (store.election("s1"), store.election("s2")) == (2**127, 0)
        store.forget()
        assert store.election("s1") == 2**127


def test_the_latest_events_are_stored(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        lost = Event("switch-lost", "no answer", switch="s1", details={"attempt": 3})
        store.report(lost)
        store.report(Event("admitted", "h1, h2", application="sums"))
        assert store.events(1)[0].application == "sums"
        assert store.events(10)[0] == lost
        with store._transaction():
            store._file.execute("UPDATE events SET number = number + ?", [EVENTS])
            store._file.execute("UPDATE events SET number = 1 WHERE kind = 'switch-lost'")
        store.report(Event("stopped", "withdrawn"))
        assert [each.kind for each in store.events(10)] == ["admitted", "stopped"]


def test_a_change_is_stored_completely_or_not_at_all(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.note("s1", ["kept"])

        def keys() -> list[str]:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.note("s1", (each for each in ["a", keys()]))  # type: ignore[misc]
        assert store.written("s1") == {"kept"}


def test_files_of_other_users_are_rejected(tmp_path: Path) -> None:
    file = tmp_path / "state.sqlite"
    file.write_text("not SQLite at all, though long enough to have a header")
    with pytest.raises(MidflightError, match="is not the state of a controller"):
        Store(tmp_path)
    file.unlink()
    with sqlite3.connect(file) as made:
        made.execute(f"PRAGMA user_version = {SCHEMA + 1}")
    made.close()
    with pytest.raises(MidflightError, match="use the version of Midflight that made it"):
        Store(tmp_path)


def test_only_the_owner_can_access_the_folder(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "state"
    with StateFolder(path), Store(path) as store:
        assert path.stat().st_mode & 0o777 == 0o700
        assert store.path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o750)
    with pytest.raises(MidflightError, match="other users can access"):
        StateFolder(path)
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(MidflightError, match="file"):
        StateFolder(file)


@pytest.mark.parametrize(
    ("free", "says", "hint"),
    [(0, "No space left on device", "Free some space"), (1 << 20, "database or disk is full", "check the disk")],
)
def test_a_full_disk_is_reported_and_the_previous_state_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, says: str, hint: str
) -> None:
    with Store(tmp_path) as store:
        store.save({"epoch": 1})
        store._file.execute("PRAGMA max_page_count = 1")  # as good as a disk without room
        actual = os.statvfs(tmp_path)
        disk = os.statvfs_result([actual[0], 1, *actual[2:4], free, *actual[5:]])
        monkeypatch.setattr(os, "statvfs", lambda _: disk)
        for write in (
            lambda: store.save({"epoch": 2, "more": "x" * 100_000}),
            lambda: store.note("s1", ["x" * 99_999]),
        ):
            with pytest.raises(MidflightError, match=says) as caught:
                write()
            assert hint in caught.value.hint
            assert str(store.path) in caught.value.message
        assert store.desired == {"epoch": 1}

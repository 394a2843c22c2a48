"""The commands of a controller over its socket."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from midflight.errors import DeviceError, KernelError, KernelErrors, MidflightError, Place
from midflight.runtime.controller.folder import StateFolder
from midflight.runtime.controller.service.client import CommandClient
from midflight.runtime.controller.service.server import CommandServer
from midflight.runtime.p4runtime.client.link import RequestError
from midflight.runtime.p4runtime.status import Code

PLACE = Place("app.py", 3, 5, 2, "    if x:")


def refuse(arguments: dict[str, Any]) -> dict[str, Any]:
    errors: dict[str, Exception] = {
        "kernel": KernelError("no such name", place=PLACE, hint="spell it"),
        "kernels": KernelErrors([KernelError("no such name", place=PLACE), KernelError("too wide", hint="cast it")]),
        "device": RequestError("s1 refuses", Code.PERMISSION_DENIED),
        "bug": ZeroDivisionError("oops"),
    }
    raise errors[arguments["how"]]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    def count(arguments: dict[str, Any], listening: Callable[[], bool]) -> Iterator[dict[str, Any]]:
        number = 0
        while listening() and number != arguments.get("refuse"):
            yield {"number": number}
            number += 1
        if listening():
            raise MidflightError("enough")

    tmp_path.chmod(0o700)
    calls = {"double": lambda arguments: {"value": 2 * arguments["value"]}, "refuse": refuse}
    with CommandServer(tmp_path / "control", calls, {"count": count}):
        yield tmp_path


def test_a_call_returns_its_result(folder: Path) -> None:
    with CommandClient(folder) as client:
        assert client.call("double", value=21) == {"value": 42}
    assert (folder / "control").stat().st_mode & 0o777 == 0o600


def test_errors_arrive_unchanged(folder: Path) -> None:
    with CommandClient(folder) as client:
        with pytest.raises(KernelError) as caught:
            client.call("refuse", how="kernel")
        assert (caught.value.message, caught.value.hint, caught.value.place) == ("no such name", "spell it", PLACE)
        with pytest.raises(KernelErrors) as several:
            client.call("refuse", how="kernels")
        assert [(each.message, each.place, each.hint) for each in several.value.errors] == [
            ("no such name", PLACE, ""),
            ("too wide", None, "cast it"),
        ]
        with pytest.raises(DeviceError, match="s1 refuses"):
            client.call("refuse", how="device")
        with pytest.raises(MidflightError, match=r"the controller failed: .*oops"):
            client.call("refuse", how="bug")
        with pytest.raises(MidflightError, match="another version of Midflight without this command"):
            client.call("fly")


def test_a_stream_continues_until_the_client_closes_it(folder: Path) -> None:
    with CommandClient(folder) as client:
        stream = client.follow("count")
        assert [next(stream)["number"] for _ in range(3)] == [0, 1, 2]
        stream.close()  # type: ignore[attr-defined]
        with pytest.raises(MidflightError, match="enough"):
            list(client.follow("count", refuse=2))


# A controller that dies: it serves `number` once, and then ends without a word.
_DYING = """
import os, sys, threading
from pathlib import Path
from midflight.runtime.controller.service.server import CommandServer

def numbers(arguments, listening):
    if sys.argv[2] == "1":
        yield {"number": 1}
    sys.stdin.readline()
    os._exit(9)

with CommandServer(Path(sys.argv[1]) / "control", {}, {"count": numbers}):
    print("ready", flush=True)
    threading.Event().wait()
"""


@pytest.mark.parametrize("results", [0, 1])
def test_a_stream_continues_at_the_next_controller_of_the_folder(tmp_path: Path, results: int) -> None:
    tmp_path.chmod(0o700)
    command = [sys.executable, "-c", _DYING, str(tmp_path), str(results)]
    with (
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as first,
        CommandClient(tmp_path) as client,
        ExitStack() as second,
    ):
        assert first.stdin is not None
        assert first.stdout is not None
        first.stdout.readline()

        def numbers(_: dict[str, Any], __: Callable[[], bool]) -> Iterator[dict[str, Any]]:
            yield {"number": 2}

        def lost() -> None:
            second.enter_context(CommandServer(tmp_path / "control", {}, {"count": numbers}))

        stream = client.follow("count", lost)
        if results:
            assert next(stream) == {"number": 1}
        first.stdin.write(b"\n")  # read once the command has been called
        first.stdin.flush()
        assert list(stream) == [{"number": 2}]


def test_a_stream_that_cannot_continue_is_an_error(tmp_path: Path) -> None:
    with CommandClient(tmp_path) as client, pytest.raises(MidflightError, match="no controller answers"):
        list(client.follow("count", lambda: pytest.fail("there was no controller to lose")))


def test_without_a_controller_the_error_says_how_to_start_one(tmp_path: Path) -> None:
    with CommandClient(tmp_path) as client, pytest.raises(MidflightError, match="midflight deploy"):
        client.call("double", value=1)
    with pytest.raises(MidflightError, match="too long for a socket"):
        CommandClient(tmp_path / ("long" * 30))


# A process that holds a folder and listens on its socket, but answers nothing: it stops itself, or only its heart does.
_SILENT = """
import os, signal, socket, sys
from pathlib import Path
from midflight.runtime.controller.folder import StateFolder
folder = StateFolder(Path(sys.argv[1]))
assert folder.hold()
listener = socket.socket(socket.AF_UNIX)
if sys.argv[2] != "starting":
    listener.bind(str(folder.socket))
    listener.listen()
if sys.argv[2] == "hangs":
    folder._heart.stop()
print("held", flush=True)
if sys.argv[2] == "stopped":
    os.kill(os.getpid(), signal.SIGSTOP)
sys.stdin.read()
"""


@contextmanager
def silent(path: Path, how: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", _SILENT, str(path), how]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("how", "message", "hint"),
    [
        ("stopped", "is stopped", "`kill -CONT {}` continues it"),
        ("hangs", "has not responded for 1 s", "`kill -KILL {}` ends it"),
        ("starting", "runs, but did not answer in time", "it may be starting"),
    ],
)
def test_a_controller_that_does_not_respond_is_reported_with_its_process(
    tmp_path: Path, how: str, message: str, hint: str
) -> None:
    path = tmp_path / "state"
    with silent(path, how) as held, CommandClient(path, patience=1.0) as client:
        with pytest.raises(MidflightError) as caught:
            client.call("status", timeout=2.5)
        assert f"(process {held.pid}) {message}" in caught.value.message
        assert hint.format(held.pid) in caught.value.hint
        if how != "starting":
            with pytest.raises(MidflightError, match=message):
                next(client.follow("watch"))


def test_a_command_waits_for_a_controller_that_starts(folder: Path) -> None:
    moved = folder / "later"
    with StateFolder(folder) as held, CommandClient(folder) as client, ThreadPoolExecutor(1) as pool:
        assert held.hold()
        (folder / "control").rename(moved)
        answer = pool.submit(client.call, "double", value=4)
        with pytest.raises(TimeoutError):
            answer.result(0.3)
        moved.rename(folder / "control")
        assert answer.result(20) == {"value": 8}


def test_a_controller_that_ends_before_it_answers_is_reported(tmp_path: Path) -> None:
    with (
        silent(tmp_path / "state", "starting") as held,
        CommandClient(tmp_path / "state") as client,
        ThreadPoolExecutor(1) as pool,
    ):
        answer = pool.submit(client.call, "status")
        with pytest.raises(TimeoutError):
            answer.result(0.3)
        held.kill()
        with pytest.raises(MidflightError, match=rf"process {held.pid}\) ended before it answered"):
            answer.result(20)


def test_a_controller_that_stops_ends_a_stream(folder: Path) -> None:
    with StateFolder(folder) as held, CommandClient(folder, patience=0.5) as client:
        assert held.hold()
        stream = client.follow("count", lost=lambda: pytest.fail("it has not died"), refuse=10**9)
        assert next(stream) == {"number": 0}
        held._heart.stop()  # type: ignore[union-attr]
        with pytest.raises(MidflightError, match="has not responded"):
            list(stream)


def test_a_lock_file_that_a_dead_process_left_names_no_controller(tmp_path: Path) -> None:
    with silent(tmp_path / "state", "hangs") as held:
        held.kill()
        held.wait()
    for content in (None, "", "nonsense", "99999999", f"{os.getpid()} 1 pid:[1]"):
        if content is not None:
            (tmp_path / "state" / "lock").write_text(content)
        with CommandClient(tmp_path / "state") as client, pytest.raises(MidflightError, match="no controller answers"):
            client.call("status")

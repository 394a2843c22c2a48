"""Child processes never outlive their owner, however it ends."""

from __future__ import annotations

import gc
import os
import select
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from midflight.errors import DeviceError
from midflight.runtime.devices.process import Process

PATIENCE = 20.0


def has_ended(pidfd: int) -> bool:
    """Wait for the end of a process. `pidfd` is a descriptor, which cannot refer to another process."""
    ended = bool(select.select([pidfd], [], [], PATIENCE)[0])
    os.close(pidfd)
    return ended


def test_the_output_is_logged(tmp_path: Path) -> None:
    process = Process(["/bin/sh", "-c", "echo one; echo two >&2; exit 3"], tmp_path / "log")
    assert process.wait(PATIENCE)
    assert (process.alive, process.status, process.log()) == (False, "status 3", "one\ntwo\n")
    process.stop()
    process = Process(["/bin/sh", "-c", "echo three; kill -SEGV $$"], tmp_path / "log")
    assert process.wait(PATIENCE)
    assert (process.status, process.log()) == ("signal SIGSEGV", "one\ntwo\nthree\n")


def test_only_the_end_of_a_long_log_is_returned(tmp_path: Path) -> None:
    process = Process(["/bin/sh", "-c", "printf '%0200000d\\nend\\n' 0"], tmp_path / "log")
    assert process.wait(PATIENCE)
    assert len(process.log()) == 65536
    assert process.log().endswith("0\nend\n")


def test_a_command_that_cannot_run_is_reported(tmp_path: Path) -> None:
    process = Process(["/bin/nothing"], tmp_path / "log")
    assert process.wait(PATIENCE)
    assert (process.status, process.log()) == ("status 1", "/bin/nothing: No such file or directory\n")
    with pytest.raises(DeviceError, match=r"cannot run .*: No such file or directory"):
        Process(["/bin/true"], tmp_path / "no folder" / "log")


def test_stopping_ends_a_command_and_its_children(tmp_path: Path) -> None:
    # The command and its child ignore SIGTERM. The child prints its id.
    text = "trap '' TERM; (trap '' TERM; sh -c 'echo $PPID'; sleep 300) & wait; sleep 300"
    process = Process(["/bin/sh", "-c", text], tmp_path / "log")
    while not process.log():
        assert not process.wait(0.01)
    child = os.pidfd_open(int(process.log()))
    pidfd = os.pidfd_open(process.pid)
    monkey = pytest.MonkeyPatch()
    with monkey.context() as context:
        context.setattr("midflight.runtime.devices.process.GRACE", 0.1)
        process.stop()
    assert not process.alive
    assert process.status == "signal SIGKILL"
    assert has_ended(pidfd)
    assert has_ended(child)
    process.stop()


def test_garbage_collection_ends_a_command(tmp_path: Path) -> None:
    process = Process(["/bin/sleep", "300"], tmp_path / "log")
    pidfd = os.pidfd_open(process.pid)
    del process
    gc.collect()
    assert has_ended(pidfd)


def test_the_thread_that_starts_a_command_may_end(tmp_path: Path) -> None:
    started: list[Process] = []
    thread = threading.Thread(target=lambda: started.append(Process(["/bin/sleep", "300"], tmp_path / "log")))
    thread.start()
    thread.join()
    assert not started[0].wait(0.2)
    started[0].stop()


@pytest.mark.parametrize(
    "end",
    [
        "os.kill(os.getpid(), signal.SIGKILL)",
        "os.kill(os.getpid(), signal.SIGTERM)",
        "os._exit(3)",
        "sys.exit(3)",
        "raise KeyError",
        "gc.disable(); other = [process]; other.append(other)",
    ],
)
def test_a_command_ends_with_the_interpreter(end: str, tmp_path: Path) -> None:
    code = f"""
        import gc, os, signal, sys
        from pathlib import Path
        from midflight.runtime.devices.process import Process
        process = Process(["/bin/sh", "-c", "echo here; exec sleep 300"], Path(sys.argv[1]))
        while not process.log():
            assert not process.wait(0.01)
        print(process.pid, flush=True)
        sys.stdin.readline()
        {end}
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "log")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as python:
        assert python.stdout is not None
        pidfd = os.pidfd_open(int(python.stdout.readline()))
        python.communicate("go\n", timeout=PATIENCE)
    assert has_ended(pidfd)


def test_an_exiting_fork_does_not_stop_its_parents_commands(tmp_path: Path) -> None:
    code = """
        import os, sys
        from pathlib import Path
        from midflight.runtime.devices.process import Process
        process = Process(["/bin/sleep", "300"], Path(sys.argv[1]))
        if os.fork() == 0:
            sys.exit()
        os.wait()
        print(process.alive, process.wait(0))
    """
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code), str(tmp_path / "log")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "True False\n"


def test_terminal_signals_do_not_reach_a_command(tmp_path: Path) -> None:
    process = Process(["/bin/sleep", "300"], tmp_path / "log")
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    os.kill(process.pid, signal.SIGTERM)
    assert process.wait(PATIENCE)
    assert process.status == "signal SIGTERM"

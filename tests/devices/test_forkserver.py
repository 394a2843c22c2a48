"""Commands as forks of a server process: they behave like separate processes, and end with the server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from midflight import __version__
from midflight.errors import DeviceError
from midflight.runtime.devices.forkserver import Fork, ForkServer
from midflight.runtime.devices.hostprocess import HostProcessDevice
from tests.devices.test_process import PATIENCE, has_ended
from tests.p4runtime.support import EVERYTHING


@pytest.fixture(scope="module")
def forks() -> Iterator[ForkServer]:
    with ForkServer() as server:
        yield server


def waiting(server: ForkServer, folder: Path) -> Fork:
    """Start a switch that runs until it is stopped."""
    (folder / "program.p4").write_text(EVERYTHING)
    fork = server.start(
        ["switch", str(folder / "program.p4"), "--grpc-server-addr", f"unix:{folder}/socket"], folder / "log"
    )
    while "P4Runtime on" not in fork.log():
        assert not fork.wait(0.01), fork.log()
    return fork


def test_output_and_exit_status_of_a_fork(forks: ForkServer, tmp_path: Path) -> None:
    fork = forks.start(["--version"], tmp_path / "log")
    assert fork.wait(PATIENCE)
    assert (fork.alive, fork.status) == (False, "status 0")
    assert __version__ in fork.log()
    fork = forks.start(["p4info", "/nothing.p4"], tmp_path / "other")
    assert fork.wait(PATIENCE)
    assert (fork.status, "nothing.p4" in fork.log()) == ("status 1", True)
    fork.stop()


def test_many_forks_start_at_once(forks: ForkServer, tmp_path: Path) -> None:
    def run(number: int) -> tuple[str, str]:
        fork = forks.start(["p4info", f"/nothing{number}.p4"], tmp_path / f"log{number}")
        assert fork.wait(PATIENCE)
        return fork.status, fork.log()

    with ThreadPoolExecutor(8) as pool:
        for number, (status, log) in enumerate(pool.map(run, range(16))):
            assert status == "status 1"
            assert f"/nothing{number}.p4" in log


def test_a_fork_is_listed_with_its_command_line(forks: ForkServer, tmp_path: Path) -> None:
    fork = waiting(forks, tmp_path)
    command = Path(f"/proc/{fork.pid}/cmdline").read_bytes().rstrip(b"\0").split(b"\0")
    assert [each.decode() for each in command] == [
        sys.executable, "-m", "midflight", "switch", f"{tmp_path}/program.p4", "--grpc-server-addr",
        f"unix:{tmp_path}/socket",
    ]  # fmt: skip
    assert os.getsid(fork.pid) == fork.pid
    fork.stop()
    assert (fork.alive, fork.status) == (False, "status 0")


def test_a_killed_fork_does_not_affect_others(forks: ForkServer, tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    one, other = waiting(forks, tmp_path / "one"), waiting(forks, tmp_path / "other")
    os.kill(one.pid, signal.SIGKILL)
    assert one.wait(PATIENCE)
    assert one.status == "signal SIGKILL"
    assert (other.alive, other.status) == (True, "nothing yet")
    other.stop()
    assert not other.alive


def test_a_namespace_that_is_not_there(forks: ForkServer, tmp_path: Path) -> None:
    fork = forks.start(["--version"], tmp_path / "log", netns="/run/netns/nowhere")
    assert fork.wait(PATIENCE)
    assert (fork.status, fork.log()) == (
        "status 1",
        "no network namespace at /run/netns/nowhere: No such file or directory\n",
    )


def test_closing_ends_running_forks(tmp_path: Path) -> None:
    with ForkServer() as server:
        fork = waiting(server, tmp_path)
        handle = os.pidfd_open(fork.pid)
    assert has_ended(handle)
    assert not fork.alive
    fork.stop()
    with pytest.raises(DeviceError, match="closed"):
        server.start(["--version"], tmp_path / "log")


def test_forks_end_with_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "program.p4").write_text(EVERYTHING)
    script = textwrap.dedent(f"""
        import sys
        from pathlib import Path
        from midflight.runtime.devices.forkserver import ForkServer

        folder = Path({str(tmp_path)!r})
        server = ForkServer()
        fork = server.start(["switch", str(folder / "program.p4"), "--grpc-server-addr", "127.0.0.1:0"], folder / "log")
        print(fork.pid, flush=True)
        sys.stdin.read()
    """)
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        handle = os.pidfd_open(int(owner.stdout.readline()))
        owner.kill()
    assert has_ended(handle)


def test_switches_run_as_forks(forks: ForkServer) -> None:
    with (
        HostProcessDevice(EVERYTHING, forks=forks) as one,
        HostProcessDevice(EVERYTHING, forks=forks) as other,
    ):
        assert one.pid != other.pid
        for device in (one, other):
            with device.session() as session:
                session.insert("route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_port", {"port": 2, "mac": 1})
                assert len(session.read_table("route")) == 1
    assert not one.alive
    with pytest.raises(DeviceError, match="ended with status 1"):
        HostProcessDevice(EVERYTHING, forks=forks, interfaces={1: "nothing0"}, patience=PATIENCE)

"""Switches of `midflight deploy` that are killed, and a state folder on a full disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from midflight.runtime.devices.bmv2 import Bmv2Device
from tests.bmv2 import BMV2, ROOT
from tests.bpf.build import needs_bpf
from tests.cli.run import midflight
from tests.controller.lab import Lab
from tests.controller.processes import Process
from tests.wires import Wires

APP = """\
from midflight.primitives import Program, Threshold

program = Program(Threshold("hot", above=9, clear=5, sensors=16))
"""
ONE_SWITCH = """\
switches:
  s1: {address: "unix:FOLDER/s1", kind: KIND}
hosts:
  h1: {address: 10.0.0.1, mac: "02:00:00:00:00:01", port: "s1:1"}
  h2: {address: 10.0.0.2, mac: "02:00:00:00:00:02", port: "s1:2"}
"""


def start(kind: str, folder: Path, stack: ExitStack) -> int:
    """Start a switch without a program as a process of its own, and return its process id."""
    address = f"unix:{folder}/s1"
    if kind == "bmv2":
        return stack.enter_context(Bmv2Device(address=address)).pid
    command = [sys.executable, "-m", "midflight", "switch", "--grpc-server-addr", address]
    if kind == "xdp":
        wires = stack.enter_context(Wires(2))
        command = ["ip", "netns", "exec", wires.netns, *command, "--xdp", "generic"]
        command += [word for port, name in wires.interfaces.items() for word in ("-i", f"{port}@{name}")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    stack.callback(process.communicate)
    stack.callback(process.kill)
    assert process.stdout is not None
    assert "P4Runtime on" in process.stdout.readline()
    return process.pid


@pytest.fixture
def deployments() -> Iterator[list[Process]]:
    """Processes of `midflight deploy`, which are killed at the end."""
    started: list[Process] = []
    yield started
    for each in started:
        each.process.kill()
        each.process.communicate()


@pytest.mark.parametrize(
    "kind",
    ["host", pytest.param("xdp", marks=[*ROOT, needs_bpf]), pytest.param("bmv2", marks=BMV2)],
)
def test_a_killed_switch_is_named_and_restored(kind: str, tmp_path: Path, deployments: list[Process]) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "network.yaml").write_text(ONE_SWITCH.replace("FOLDER", str(tmp_path)).replace("KIND", kind))
    with ExitStack() as first, ExitStack() as second:
        pid = start(kind, tmp_path, first)
        lab: Lab = SimpleNamespace(folder=tmp_path)  # type: ignore[assignment]
        deploy = Process(lab, str(tmp_path / "app.py"))
        deployments.append(deploy)
        deploy.until("ready")
        os.kill(pid, signal.SIGKILL)
        assert "s1" in deploy.until("switch-lost")
        status = midflight("status", "--state", tmp_path / "state")
        assert (status.exit_code, "s1" in status.output) == (0, True), status.output
        refused = midflight("counters", "--state", tmp_path / "state")
        assert "Traceback" not in refused.output
        first.close()
        start(kind, tmp_path, second)
        assert "s1" in deploy.until("switch-restored")
        assert "Traceback" not in "".join(deploy.read) + deploy.end(signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@ROOT[0]
@ROOT[1]
def test_a_signal_on_a_full_disk_leaves_all_as_it_was(
    number: signal.Signals, tmp_path: Path, deployments: list[Process]
) -> None:
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "network.yaml").write_text(ONE_SWITCH.replace("FOLDER", str(tmp_path)).replace("KIND", "host"))
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(state)], check=True)
    with ExitStack() as stack:
        stack.callback(subprocess.run, ["umount", "--lazy", str(state)], check=True)
        start("host", tmp_path, stack)
        lab: Lab = SimpleNamespace(folder=tmp_path)  # type: ignore[assignment]
        deploy = Process(lab, str(tmp_path / "app.py"))
        deployments.append(deploy)
        deploy.until("ready")
        assert midflight("admit", "hot", "--hosts", "h1", "--state", state).exit_code == 0
        with (state / "filling").open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        deploy.process.send_signal(number)
        _, rest = deploy.process.communicate(timeout=60)
        assert deploy.process.returncode == 1
        assert "state.sqlite: No space left on device\n    Free some space" in rest
        assert "Traceback" not in rest
        (state / "filling").unlink()
        again = Process(lab)  # what could not be withdrawn is still there, and the next controller has it
        deployments.append(again)
        assert "hot" in again.until("resumed")
        again.until("ready")
        assert "hot" in midflight("status", "--state", state).output
        assert "Traceback" not in again.end(signal.SIGTERM)

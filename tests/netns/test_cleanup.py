"""Networks of namespaces clean up after themselves in all cases."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest

from midflight.errors import DeviceError, MidflightError
from midflight.runtime.devices.base import Device
from midflight.testbed.fabric import janitor
from midflight.testbed.fabric.janitor import NETNS
from midflight.testbed.fabric.netns import NetnsFabric
from midflight.testbed.fabric.runs import Run, clean, find
from midflight.testbed.topology import LinkQuality, star
from tests.bmv2 import ROOT
from tests.cli.run import midflight
from tests.netns.left import left, victim

pytestmark = ROOT


def nobody(name: str, netns: str, ports: Mapping[int, str], folder: Path) -> Device:
    return cast(Device, contextlib.nullcontext())


def test_a_network_is_created_and_removed() -> None:
    with NetnsFabric(star(2, LinkQuality(loss=0.1)), nobody) as fabric:
        run = fabric.run.id
        names = {each.name for each in NETNS.glob(f"mf-{run}-*")}
        assert names == {f"mf-{run}-{node}" for node in ("h1", "h2", "s1", "-links")}
        assert [(each.id, each.owner) for each in find() if each.id == run] == [(run, os.getpid())]
        assert "lo" in fabric.hosts["h1"].run(["ls", "/sys/class/net"])
    assert left(run) == []
    fabric.close()


def test_a_device_that_does_not_start_removes_the_network() -> None:
    netns = ""

    def broken(name: str, inside: str, ports: Mapping[int, str], folder: Path) -> Device:
        nonlocal netns
        netns = inside
        assert (NETNS / inside).exists()
        assert ports == {1: "eth1", 2: "eth2"}
        raise DeviceError("it does not start")

    with pytest.raises(DeviceError, match="does not start"):
        NetnsFabric(star(2), broken)
    assert left(netns.split("-")[1]) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_killed_process_leaves_no_network(number: signal.Signals) -> None:
    with victim() as each:
        assert len(left(each.run)) == 5
        each.kill(number)
        each.tidied()
        assert left(each.run) == []


def test_clean_removes_leftovers() -> None:
    with victim() as each:
        midflight("clean")
        assert len(left(each.run)) == 5, "a network in use is left alone"
        listed = midflight("clean", "--list").output
        assert f"{each.run}: 3 namespaces, in use by process {each.process.pid}" in listed
        each.kill(signal.SIGKILL, each.janitor)
        assert len(left(each.run)) == 5
        assert f"{each.run}: 3 namespaces, left behind" in midflight("clean", "--list").output
        assert f"{each.run}: 3 namespaces, left behind: removed" in midflight("clean").output
        assert left(each.run) == []


def test_background_processes_of_commands_end() -> None:
    with NetnsFabric(star(1), nobody) as fabric:
        script = (
            "import subprocess; print(subprocess.Popen(['cat', '/dev/zero'], stdout=-3, start_new_session=True).pid)"
        )
        pid = int(fabric.hosts["h1"].run([sys.executable, "-c", script]))
        assert janitor.birth(pid)
    assert not janitor.birth(pid)


def test_invalid_records_are_removed(tmp_path: Path) -> None:
    (tmp_path / "abcdef.json").write_text('{"id": "abc')
    [found] = find(tmp_path, tmp_path)
    assert (found.id, found.owner, found.namespaces) == ("abcdef", None, ())
    clean(found)
    assert find(tmp_path, tmp_path) == []


def test_a_reused_process_id_is_not_the_owner(tmp_path: Path) -> None:
    run = Run([], home=tmp_path)
    try:
        assert [each.owner for each in find(tmp_path, tmp_path)] == [os.getpid()]
        record = json.loads(run.record.read_text())
        run.record.write_text(json.dumps(record | {"birth": record["birth"] + 1}))
        assert [each.owner for each in find(tmp_path, tmp_path)] == [None]
    finally:
        run.close()
    assert not run.folder.exists()


def test_hosts_run_commands() -> None:
    with NetnsFabric(star(1), nobody) as fabric:
        host = fabric.hosts["h1"]
        assert host.run(["cat", "/sys/class/net/eth0/address"]) == "02:00:00:00:00:01\n"
        assert host.run(["sh", "-c", "echo out; echo error >&2; exit 3"], check=False) == "out\nerror\n"
        with pytest.raises(MidflightError, match="host h1: sh ended with status 3\n    out"):
            host.run(["sh", "-c", "echo out; exit 3"])
        with pytest.raises(MidflightError, match=r"did not end within 0\.1 s"):
            host.run(["cat", "/dev/zero"], timeout=0.1)
        with pytest.raises(MidflightError, match="no-such-command is not on PATH"):
            host.run(["no-such-command"])

"""Mininet's command, and a controller that finds a Mininet switch by its name, in separate namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bmv2 import BMV2
from tests.mininet import test_mininet
from tests.mininet.test_mininet import FILE, WIRE

_lack = next((f"no {each}" for each in ("mn", "ping", "unshare") if not shutil.which(each)), "")
if any(each.is_relative_to("/tmp") for each in (FILE, Path(sys.executable))):
    _lack = "this checkout lies in /tmp, of which mn gets one of its own"
pytestmark = [*test_mininet.pytestmark, pytest.mark.skipif(bool(_lack), reason=_lack)]


def mn(folder: Path, *arguments: str, text: str = "") -> str:
    """Run `mn` with a separate network, process namespace and /tmp, because its clean-up would affect others."""
    sandbox = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec"]
    enter = 'mount --bind "$0" /tmp; ip link set lo up; exec mn "$@"'
    options = ["--custom", str(FILE), "--controller", "none", "--topo", "single,2"]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [*sandbox, enter, str(folder), *options, *arguments],
        input=text,
        capture_output=True,
        text=True,
        # The tests' cache of compiled programs lies in the /tmp outside.
        env={**os.environ, "PATH": path, "TMPDIR": "/tmp", "MIDFLIGHT_CODE_CACHE": ""},
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("kind", ["midflight", pytest.param("bmv2", marks=BMV2)])
def test_hosts_reach_each_other(kind: str, tmp_path: Path) -> None:
    (tmp_path / "wire.p4").write_text(WIRE)
    reported = mn(tmp_path, "--switch", f"{kind},program=/tmp/wire.p4", "--test", "pingall")
    assert "0% dropped (2/2 received)" in reported
    assert [each.name for each in tmp_path.iterdir()] == ["wire.p4"]


@pytest.mark.parametrize("kind", ["midflight", pytest.param("bmv2", marks=BMV2)])
def test_a_switch_is_found_by_its_name(kind: str, tmp_path: Path) -> None:
    (tmp_path / "wire.p4").write_text(WIRE)
    find = "from midflight.testbed.fabric.running import find_switch; print(find_switch('s1'))"
    (tmp_path / "find").write_text(f'#!/bin/sh\nexec {sys.executable} -c "{find}"\n')
    reported = mn(tmp_path, "--switch", f"{kind},program=/tmp/wire.p4", text="sh sh /tmp/find\n")
    assert "RunningSwitch(name='s1', network='Mininet', address='127.0.0.1:9559', device_id=1)" in reported

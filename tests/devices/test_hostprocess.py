"""The embedded switch in a process of its own."""

from __future__ import annotations

from pathlib import Path

from midflight.primitives import Program, Threshold
from midflight.runtime.devices.hostprocess import HostProcessDevice


def test_a_program_includes_files_from_its_own_folder(tmp_path: Path) -> None:
    (tmp_path / "pressure.p4").write_text(Program(Threshold("pressure", above=9, clear=2)).p4())
    with (
        HostProcessDevice('#include "pressure.p4"\n', file=str(tmp_path / "main.p4")) as device,
        device.session() as session,
    ):
        assert [each.preamble.alias for each in session.p4info.registers] != []

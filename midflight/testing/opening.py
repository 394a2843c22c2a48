"""Opening of switches for tests: devices that are available, and programs that a session compiles once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from midflight.errors import MidflightError
from midflight.primitives import Program
from midflight.runtime.checked import CheckedProgram, Programs, user_programs
from midflight.runtime.devices.base import Device, PipelineConfig
from midflight.runtime.devices.registry import KINDS, kinds, open_device
from midflight.runtime.devices.toolchain import P4C, SIMPLE_SWITCH_GRPC
from midflight.runtime.engine.bpf.syscall import unavailable
from midflight.userfiles import read_text

__all__ = ["Openings", "missing", "resolved"]


def missing(kind: str) -> str:
    """Return why no device of a kind can be started here, in one line; empty if it can, as far as is known.

    MidflightError for an unknown kind.
    """
    if kind not in kinds():
        raise MidflightError(f"there is no device {kind!r}", hint=f"the devices are {', '.join(kinds())}")
    if kind == "bmv2":
        return P4C.missing or SIMPLE_SWITCH_GRPC.missing
    return unavailable() if kind == "xdp" else ""


def resolved(path: str | Path, folders: tuple[Path, ...]) -> Path:
    """Return the path of a file that is in the first of these folders that has it.

    MidflightError, with the folders, if none has it. An absolute path is returned unchanged, whether or not there is
    such a file.
    """
    found = Path(path)
    if found.is_absolute():
        return found
    for each in folders:
        if (each / found).exists():
            return each / found
    raise MidflightError(f"there is no file {path}", hint=f"searched in {', '.join(map(str, folders))}")


class Openings:
    """Opens devices with programs, and compiles each program once for each kind of device. Closes nothing."""

    def __init__(self) -> None:
        self._programs: Programs = user_programs()
        self._checked: dict[tuple[str, str], CheckedProgram] = {}
        self._configs: dict[tuple[str, str, str], PipelineConfig] = {}

    def program(self, program: Path | Program) -> CheckedProgram:
        """Return the `CheckedProgram` of a P4 file, or of a `Program` of primitives; it is the same for equal texts.

        Nothing is checked yet. MidflightError if the file cannot be read.
        """
        text, file = (
            (program.p4(), "program.p4") if isinstance(program, Program) else (read_text(program), str(program))
        )
        if (text, file) not in self._checked:
            self._checked[text, file] = self._programs.get(text, file)
        return self._checked[text, file]

    def open(self, kind: str, program: CheckedProgram, options: Mapping[str, Any]) -> Device:
        """Start a device of a kind with a program, and return it. `options` are arguments of the kind's class.

        P4Error for an invalid program, or one with a construct that the device does not support; UnsupportedError if
        LLVM or the kernel's verifier rejects it for XDP; DeviceError if the device does not start or its kind is
        unknown. No device is left running after an error.
        """
        if kind in KINDS and kind != "bmv2":
            return open_device(kind, program.text, file=program.file, programs=self._programs, **options)
        device = open_device(kind, None, **options)
        try:
            key = (kind, program.text, program.file)
            if key not in self._configs:
                self._configs[key] = device.compile(program)
            with device.session() as session:
                session.load(self._configs[key].p4info, self._configs[key].config)
        except BaseException:
            device.close()
            raise
        return device

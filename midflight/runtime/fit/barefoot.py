"""p4c's Tofino compiler: whether it accepts a program, and what it allocates for it in the stages."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from midflight.errors import DeviceError, P4Error
from midflight.runtime.devices.folders import owned_prefix

__all__ = ["COMPILER", "VARIABLE", "Allocation", "allocate", "find"]

COMPILER = "p4c-barefoot"
VARIABLE = "MIDFLIGHT_P4C_BAREFOOT"
"""The environment variable with the compiler's path, if it is not on PATH."""

TARGETS: Mapping[str, str] = {"tna": "tofino", "t2na": "tofino2"}
"""The compiler's target for each architecture."""

_PATIENCE = 600.0  # seconds
_LINES = 12  # of the compiler's messages in an error


@dataclass(frozen=True, slots=True)
class Allocation:
    """What the compiler allocates for a program, in both directions together.

    `stages` is the number of the last stage in use, counted from 1. `used` has, for each stage from the first, the
    amounts of `sram` and `tcam` (blocks), `register` (stateful ALUs) and `table` (logical tables).
    `header_vector` is the bits of the containers that hold a field in any stage, None if the compiler does not say.
    """

    stages: int
    used: tuple[Mapping[str, int], ...]
    header_vector: int | None = None

    def total(self, resource: str) -> int:
        """Return the amount of a resource over all stages."""
        return sum(each.get(resource, 0) for each in self.used)

    def json(self) -> dict[str, Any]:
        """Return the allocation as data for JSON."""
        return {
            "stages": self.stages,
            "used": [dict(each) for each in self.used],
            "header_vector": self.header_vector,
        }


def find() -> str:
    """Return the path of the compiler. DeviceError, with how to get it, if it is not on this machine."""
    path = shutil.which(os.environ.get(VARIABLE) or COMPILER)
    if path is None:
        raise DeviceError(
            f"{COMPILER} is required, but not on PATH",
            hint=f"build it from p4lang/p4c with -DENABLE_TOFINO=ON, or set {VARIABLE} to its path",
        )
    return path


def allocate(text: str, architecture: str, *, timeout: float = _PATIENCE) -> Allocation:
    """Compile P4 for Tofino, and return what the compiler allocates.

    `architecture` is "tna" or "t2na", KeyError for another, and `timeout` in seconds. P4Error, with the compiler's
    messages, if it refuses the program. DeviceError if the compiler is missing, does not end in time, or does not say
    what it allocates.
    """
    compiler = find()
    with tempfile.TemporaryDirectory(prefix=owned_prefix("barefoot")) as folder:
        source, out = Path(folder, "program.p4"), Path(folder, "out")
        source.write_text(text)
        command = [compiler, "--target", TARGETS[architecture], "--arch", architecture, "-g", "-o", str(out)]
        try:
            done = subprocess.run(
                [*command, str(source)],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=timeout,
                check=False,
                cwd=folder,
            )
        except subprocess.TimeoutExpired:
            raise DeviceError(f"{compiler} has not ended after {timeout:.0f} s") from None
        except OSError as error:
            raise DeviceError(f"{compiler} cannot be run: {error.strerror}") from None
        if done.returncode:
            raise P4Error(f"{COMPILER} refuses the program: {_reason(done.stderr + done.stdout, folder)}")
        found = sorted(out.rglob("resources.json"))
        if not found:
            raise DeviceError(f"{compiler} succeeded, but wrote no resources.json")
        try:
            return _allocation(json.loads(found[0].read_text()), sorted(out.rglob("phv.json")))
        except (ValueError, KeyError, TypeError) as error:
            raise DeviceError(f"{found[0].name} of {compiler} is not understood: {error!r}") from None


def _reason(output: str, folder: str) -> str:
    """Return the errors among the compiler's messages, without the folder; or all of them if none is an error."""
    lines = [each.replace(f"{folder}/", "") for each in output.splitlines() if each.strip()]
    errors = [each for each in lines if re.search(r"\berror\b|BUG", each)]
    return "\n".join((errors or lines)[:_LINES]) or "without a message"


def _allocation(document: Any, vectors: list[Path]) -> Allocation:
    used: list[dict[str, int]] = []
    for stage in document["resources"]["mau"]["mau_stages"]:
        number = int(stage["stage_number"])
        while len(used) <= number:
            used.append({})
        used[number] = {
            "sram": len(stage["rams"]["srams"]),
            "tcam": len(stage["tcams"]["tcams"]),
            "register": sum(_stateful(each) for each in stage["meter_alus"]["meters"]),
            "table": len(stage["logical_tables"]["ids"]),
        }
    last = max((number for number, each in enumerate(used, 1) if any(each.values())), default=0)
    return Allocation(last, tuple(used[:last]), _header_vector(json.loads(vectors[0].read_text())) if vectors else None)


def _stateful(alu: Any) -> bool:
    """Return whether an ALU is used by a register, and not by a meter."""
    return any(each["used_for"] == "stateful_ram" for each in alu["usages"])


def _header_vector(document: Any) -> int | None:
    containers = document.get("containers", [])
    return sum(int(each["bit_width"]) for each in containers if each.get("slices")) or None

"""The backend "midflight" of torch.distributed. Each test starts ranks, which do the checks: see worker.py."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="needs PyTorch")

ROOT = Path(__file__).parents[2]
SIZE = 3


def run(case: str, folder: Path) -> tuple[list[int], str]:
    """Run the ranks of a case, and return their exit codes and what they have printed."""
    command = [sys.executable, "-m", "tests.torch.worker", case]
    ranks = [
        subprocess.Popen(
            [*command, str(rank), str(SIZE), str(folder)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in range(SIZE)
    ]
    try:
        printed = [each.communicate(timeout=600)[0] for each in ranks]
    finally:
        for each in ranks:
            each.kill()
    return [each.returncode for each in ranks], "\n".join(printed)


def test_collectives_training_and_a_killed_switch(tmp_path: Path) -> None:
    codes, printed = run("all", tmp_path)
    assert codes == [0] * SIZE, printed


def test_a_rank_that_is_killed_is_named(tmp_path: Path) -> None:
    codes, printed = run("killed_rank", tmp_path)
    assert codes == [0, -9, 0], printed


def test_a_rank_that_does_not_take_part_is_named(tmp_path: Path) -> None:
    codes, printed = run("absent_rank", tmp_path)
    assert codes == [0] * SIZE, printed


def test_ranks_that_call_different_collectives_find_out(tmp_path: Path) -> None:
    codes, printed = run("other_collective", tmp_path)
    assert codes == [0] * SIZE, printed


def test_importing_midflight_does_not_import_torch() -> None:
    modules = "midflight, midflight.cli.root, midflight.testbed, midflight.collectives.client"
    code = f"import sys, {modules}; print('torch' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"

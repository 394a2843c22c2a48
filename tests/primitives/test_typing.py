"""Kernels as users write them pass mypy --strict without ignores, and mistakes in them are reported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
KERNELS = Path(__file__).with_name("kernels.py")
MORE = Path(__file__).with_name("more_kernels.py")


def test_kernels_pass_the_type_checker(tmp_path: Path) -> None:
    text = KERNELS.read_text()
    assert "type: ignore" not in text + MORE.read_text()
    wrong = tmp_path / "wrong.py"
    wrong.write_text(
        text.replace("packet.reply()", 'wire.smooth = "high"', 1).replace(
            "above: int\n", "above: int\n    more: str\n", 1
        )
        + '\n\nTally("tally", lanes="three")\nThreshold("boiler", above=3, clear=2)\nEwma("e").layout.missing\n'
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary"]
    done = subprocess.run(
        [*command, str(KERNELS), str(MORE), str(wrong)], capture_output=True, text=True, cwd=ROOT, check=False
    )
    reported = [line.split("error: ")[1] for line in done.stdout.splitlines() if "error: " in line]
    assert all(str(wrong) in line or "wrong.py" in line for line in done.stdout.splitlines()), done.stdout
    assert reported == [
        'Incompatible types in assignment (expression has type "str", variable has type "int")  [assignment]',
        'Missing named argument "more" for "Threshold"  [call-arg]',
        'Argument "lanes" to "Tally" has incompatible type "str"; expected "int"  [arg-type]',
        'Missing named argument "more" for "Threshold"  [call-arg]',
        '"Layout" has no attribute "missing"  [attr-defined]',
    ]

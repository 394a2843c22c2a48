"""Golden files: the approved output of programs."""

from __future__ import annotations

import difflib
import os
from pathlib import Path

__all__ = ["GOLDEN", "check_golden"]

GOLDEN = Path(__file__).parent / "golden"


def check_golden(name: str, text: str) -> None:
    """Compare a text with its golden file; with MIDFLIGHT_GOLDEN=write in the environment, write the file."""
    path = GOLDEN / name
    if os.environ.get("MIDFLIGHT_GOLDEN") == "write":
        path.write_text(text)
    kept = path.read_text() if path.exists() else ""
    changes = "\n".join(difflib.unified_diff(kept.splitlines(), text.splitlines(), "golden", "now", lineterm=""))
    assert text == kept, f"{path} differs (MIDFLIGHT_GOLDEN=write updates it):\n{changes}"

"""The backend is registered after each order of imports."""

from __future__ import annotations

import subprocess
import sys

import pytest


@pytest.mark.parametrize("first", ["midflight.torch", "torch", "torch.distributed"])
def test_the_order_of_imports_does_not_matter(first: str) -> None:
    pytest.importorskip("torch")
    text = f"import {first}; import torch.distributed as dist; print('midflight' in dist.Backend.backend_list)"
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout == "True\n", done.stderr

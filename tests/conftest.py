"""Hypothesis profile `search`, which looks for new faults with many more examples: see CONTRIBUTING.md."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

__all__ = ["SEARCH"]

SEARCH = "search"

# How long an example takes depends on the machine.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
settings.register_profile(
    SEARCH, max_examples=20_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)


@pytest.fixture(scope="session", autouse=True)
def shared_code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let all tests, and the processes that they start, share compiled programs, because many use the same ones."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "code"
    folder.mkdir(mode=0o700, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIDFLIGHT_CODE_CACHE", str(folder))
        yield

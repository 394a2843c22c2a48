"""Hypothesis profile `search`, which looks for new faults with many more examples: see CONTRIBUTING.md."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

__all__ = ["SEARCH"]

SEARCH = "search"

settings.register_profile(
    SEARCH, max_examples=20_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)

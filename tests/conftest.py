"""A profile of hypothesis for those who look for faults, and not only for what has broken: see CONTRIBUTING.md."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

__all__ = ["SEARCH"]

SEARCH = "search"

settings.register_profile(
    SEARCH, max_examples=20_000, deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow]
)

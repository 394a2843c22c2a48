"""Tests of P4 programs and networks with pytest: the fixtures `p4_switch` and `midflight_net` (docs/harness.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from midflight.testing.packets import Received
    from midflight.testing.switch import P4Switch

__all__ = ["P4Switch", "Received"]


def __getattr__(name: str) -> Any:
    """Import a name on first use: pytest imports this package in every project."""
    if name == "P4Switch":
        from midflight.testing.switch import P4Switch

        return P4Switch
    if name == "Received":
        from midflight.testing.packets import Received

        return Received
    raise AttributeError(f"module {__name__} has no attribute {name!r}")

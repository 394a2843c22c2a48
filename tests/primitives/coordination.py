"""The programs of the primitives for coordination whose P4 is kept in golden files."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from midflight.primitives import Program, Sequencer

__all__ = ["COORDINATION"]

COORDINATION: Mapping[str, Callable[[], Program]] = {
    "sequencer": lambda: Program(Sequencer("orders", groups=2, clients=16)),
}

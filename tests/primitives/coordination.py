"""Programs of the coordination primitives with golden files of their P4."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from midflight.primitives import Acceptor, Barrier, Cache, Learner, Lock, Program, Quorum, Sequencer

__all__ = ["COORDINATION"]

COORDINATION: Mapping[str, Callable[[], Program]] = {
    "sequencer": lambda: Program(Sequencer("orders", groups=2, clients=16)),
    "quorum": lambda: Program(Quorum("commits", voters=5, needed=3, slots=16)),
    "barrier": lambda: Program(Barrier("steps", parties=4, barriers=8)),
    "acceptor": lambda: Program(Acceptor("first", number=1, instances=8)),
    "learner": lambda: Program(Learner("chosen", acceptors=3, instances=8)),
    "lock": lambda: Program(Lock("locks", locks=4, clients=16, depth=4)),
    "cache": lambda: Program(Cache("store", entries=16, lanes=2, rows=2, columns=64, keys=[7])),
}

"""Invalid parameters of the coordination primitives."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from midflight.errors import KernelError
from midflight.primitives import Acceptor, Barrier, Cache, Learner, Lock, Primitive, Quorum, Sequencer


@pytest.mark.parametrize(
    ("make", "reported"),
    [
        (lambda: Sequencer("s", groups=0), "groups must be 1 to 4096, not 0"),
        (lambda: Sequencer("s", clients=4097), "clients must be 1 to 4096, not 4097"),
        (lambda: Sequencer("s", width=65), "width must be 2 to 64, not 65"),
        (lambda: Sequencer("s", groups=17, clients=4096), "17 groups times 4096 clients exceed the limit of 65536"),
        (lambda: Quorum("q", voters=65, needed=1), "voters must be 1 to 64, not 65"),
        (lambda: Quorum("q", voters=3, needed=4), "needed must be 1 to 3, not 4"),
        (lambda: Quorum("q", voters=3, needed=2, slots=12), "slots must be a power of two, not 12"),
        (lambda: Quorum("q", voters=3, needed=2, choices=9), "choices must be 1 to 8, not 9"),
        (lambda: Quorum("q", voters=3, needed=2, result="reply"), "result must be multicast or forward"),  # type: ignore[arg-type]
        (lambda: Barrier("b", parties=0), "parties must be 1 to 64, not 0"),
        (lambda: Barrier("b", parties=65), "parties must be 1 to 64, not 65"),
        (lambda: Barrier("b", parties=4, barriers=2**16 + 1), "barriers must be 1 to 65536, not 65537"),
        (lambda: Acceptor("a", number=64), "number must be 0 to 63, not 64"),
        (lambda: Acceptor("a", number=0, instances=3), "instances must be a power of two, not 3"),
        (lambda: Acceptor("a", number=0, width=513), "width must be 1 to 512, not 513"),
        (lambda: Learner("l", acceptors=64), "acceptors must be 1 to 63, not 64"),
        (lambda: Learner("l", acceptors=3, instances=12), "instances must be a power of two, not 12"),
        (lambda: Lock("l", locks=0), "locks must be 1 to 4096, not 0"),
        (lambda: Lock("l", clients=1), "clients must be 2 to 4096, not 1"),
        (lambda: Lock("l", depth=12), "depth must be a power of two, not 12"),
        (lambda: Lock("l", depth=128), "depth must be 2 to 64, not 128"),
        (lambda: Lock("l", locks=4096, clients=17), "4096 locks times 17 clients exceed the limit of 65536"),
        (lambda: Cache("c", entries=2**16 + 1), "entries must be 1 to 65536, not 65537"),
        (lambda: Cache("c", lanes=65), "lanes must be 1 to 64, not 65"),
        (lambda: Cache("c", hot=0), "hot must be 1 to 4294967295, not 0"),
        (lambda: Cache("c", entries=1, keys=[1, 2]), "2 keys for 1 entries"),
        (lambda: Cache("c", item_bits=8, keys=[256]), "the key 256 does not fit"),
    ],
)
def test_parameters_out_of_range_are_rejected(make: Callable[[], Primitive], reported: str) -> None:
    with pytest.raises(KernelError, match=reported):
        make()

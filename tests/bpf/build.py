"""Programs on both engines, and the reason why BPF cannot be tested here."""

from __future__ import annotations

from functools import cache

import pytest

from midflight.p4 import ir
from midflight.runtime.engine import Engine, Packets
from midflight.runtime.engine.bpf.compiled import BpfCompiled
from midflight.runtime.engine.bpf.engine import XdpEngine
from midflight.runtime.engine.bpf.syscall import unavailable
from tests.engine.build import checked

__all__ = ["MISSING", "both", "compare", "needs_bpf"]

MISSING = unavailable()
needs_bpf = pytest.mark.skipif(bool(MISSING), reason=MISSING)


def both(text: str) -> tuple[XdpEngine, Engine]:
    """Return a program, given as text, in the kernel and on the embedded switch."""
    program = checked(text)
    return XdpEngine(program, compiled=_compiled(program)), Engine(program)


@cache
def _compiled(program: ir.Program) -> BpfCompiled:
    return BpfCompiled(program)


def compare(
    engines: tuple[XdpEngine, Engine], packets: list[tuple[int, bytes]], now: int = 7
) -> list[tuple[int, bytes]]:
    """Return what leaves for these packets. AssertionError if the engines differ."""
    batch = Packets.from_list(packets)
    kernel, embedded = (each.process(batch, now) for each in engines)
    assert [*kernel] == [*embedded]
    assert kernel.sources.tolist() == embedded.sources.tolist()
    assert engines[0].digests() == engines[1].digests()
    return [*kernel]

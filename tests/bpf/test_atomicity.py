"""Registers of a program that several processors run at the same time."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from midflight.runtime.engine.bpf.engine import XdpEngine
from midflight.runtime.engine.bpf.syscall import run
from midflight.runtime.engine.counters import CounterValue
from tests.bpf.build import needs_bpf
from tests.engine.build import checked, source

PROCESSORS = sorted(os.sched_getaffinity(0))[:4]
PACKETS = 300_000


@contextmanager
def everywhere(engine: XdpEngine) -> Iterator[list[threading.Thread]]:
    """Run the program on packets, on all processors, until the body of the `with` and all packets are done.

    Yield the threads that do.
    """

    def work(processor: int) -> None:
        os.sched_setaffinity(0, {processor})  # of this thread
        run(engine.program, bytes(60), repeat=PACKETS)

    threads = [threading.Thread(target=work, args=(each,)) for each in PROCESSORS]
    for each in threads:
        each.start()
    yield threads
    for each in threads:
        each.join()


@needs_bpf
@pytest.mark.skipif(len(PROCESSORS) < 2, reason="this needs two processors")
def test_no_processor_loses_the_changes_of_another() -> None:
    text = source(
        header="bit<112> x;",
        declarations="register<bit<64>>(2) r;",
        ingress="""
            bit<64> one; bit<64> two;
            r.read(one, 0); r.read(two, 1);
            r.write(0, one + 1); r.write(1, two + one);
            std.egress_spec = 3;
        """,
    )
    engine = XdpEngine(checked(text))
    with everywhere(engine):
        pass
    total = PACKETS * len(PROCESSORS)
    assert engine.stats.received == total
    assert engine.registers["ingress.r"].read_all().tolist() == [total, total * (total - 1) // 2]
    assert engine.stats.dropped["busy"] == 0


@needs_bpf
@pytest.mark.skipif(len(PROCESSORS) < 2, reason="this needs two processors")
def test_a_program_with_counters_alone_takes_no_lock_and_loses_no_count() -> None:
    text = source(
        header="bit<112> x;", declarations="counter(2, CounterType.packets_and_bytes) n;", ingress="n.count(1);"
    )
    engine = XdpEngine(checked(text))
    assert not engine.compiled.exclusive
    with everywhere(engine):
        pass
    total = PACKETS * len(PROCESSORS)
    assert engine.counters["ingress.n"].read(1) == CounterValue(total, 60 * total)


@needs_bpf
def test_the_control_plane_reads_and_writes_registers_between_packets() -> None:
    text = source(
        header="bit<112> x;",
        declarations="register<bit<64>>(40000) r;",
        ingress="""
            bit<64> n;
            r.read(n, 0); r.write(0, n + 1);
            r.read(n, 39999); r.write(39999, n + 1);
        """,
    )
    engine = XdpEngine(checked(text))
    register = engine.registers["ingress.r"]
    added = 0
    with everywhere(engine) as threads:
        while any(each.is_alive() for each in threads):
            whole = register.read_all()
            assert whole[0] == whole[-1]
            register.write(20_000, added)
            assert register.read(20_000) == added
            added += 1
    assert register.read(0) == PACKETS * len(PROCESSORS)

"""Registers of a program that several processors run at the same time."""

from __future__ import annotations

import os
import threading

import pytest

from midflight.runtime.engine.bpf.engine import XdpEngine
from midflight.runtime.engine.bpf.syscall import run
from tests.bpf.build import needs_bpf
from tests.engine.build import checked, source

PROCESSORS = sorted(os.sched_getaffinity(0))[:4]
PACKETS = 300_000


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

    def work(processor: int) -> None:
        os.sched_setaffinity(0, {processor})  # of this thread
        run(engine.program, bytes(60), repeat=PACKETS)

    threads = [threading.Thread(target=work, args=(each,)) for each in PROCESSORS]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    total = PACKETS * len(PROCESSORS)
    assert engine.stats.received == total
    assert engine.registers["ingress.r"].read_all().tolist() == [total, total * (total - 1) // 2]
    assert engine.stats.dropped["busy"] == 0

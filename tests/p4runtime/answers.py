"""Response times of a switch that is busy with clients that do not behave.

    python -m tests.p4runtime.answers [RUNS]

Starts `midflight switch`. A process opens 1,000 streams that never arbitrate and 100 reads whose answers it does not
take, and pushes three programs. Meanwhile this process calls Capabilities every 5 ms, and prints the response times. On
a machine that does other things, run it with a real-time priority (`sudo chrt -r 1 python -m ...`): response times
include the time for which the switch waits for a processor.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import grpc
import numpy as np
from finsy.proto import p4r, p4r_grpc

from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.runtime.p4runtime.client.session import Session
from tests.p4runtime.support import EVERYTHING

SILENT, READERS, PUSHES, CHANNELS = 1000, 100, 3, 10
PERIOD = 0.005
LEAST = 14.0  # seconds, so that streams time out meanwhile


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")
    sys.stdout.flush()


def load(address: str) -> None:
    """Be the clients that do not behave, until standard input ends."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))  # elsewhere, they would not share its processors
    os.nice(10)
    texts = [f"{EVERYTHING}\n// {number}\n" for number in range(PUSHES)]
    infos = [p4info(check(text)) for text in texts]
    options = [("grpc.use_local_subchannel_pool", 1)]
    stubs: list[Any] = [p4r_grpc.P4RuntimeStub(grpc.insecure_channel(address, options)) for _ in range(CHANNELS)]
    held = Event()

    def nothing() -> Iterator[None]:
        held.wait()
        yield from ()

    request = p4r.ReadRequest(device_id=1)
    request.entities.add().table_entry.SetInParent()
    request.entities.add().register_entry.SetInParent()
    _say("ready")
    sys.stdin.readline()
    opened = [stubs[each % CHANNELS].StreamChannel(nothing()) for each in range(SILENT)]
    opened += [stubs[each % CHANNELS].Read(request) for each in range(READERS)]
    _say("opened")
    with Session(address, timeout=60) as session:
        for info, text in zip(infos, texts, strict=True):
            session.load(info, text)
    _say("done")
    sys.stdin.readline()
    for each in opened:
        each.cancel()
    held.set()


def measure() -> dict[str, list[float]]:
    """Return the response times in milliseconds of one run, while the calls are opened and later."""
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "program.p4")
        program.write_text(EVERYTHING)
        command = [sys.executable, "-m", "midflight", "switch", str(program), "--grpc-server-addr", "127.0.0.1:0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as switch:
            assert switch.stdout is not None
            address = switch.stdout.readline().split(" on ")[1].split(",")[0]
            try:
                return _measure(address)
            finally:
                switch.terminate()


def _measure(address: str) -> dict[str, list[float]]:
    busy = subprocess.Popen(
        [sys.executable, "-m", __spec__.name, "--load", address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert busy.stdin is not None
    assert busy.stdout is not None
    progress = busy.stdout
    progress.readline()
    opened, done = Event(), Event()

    def follow() -> None:
        for each in (opened, done):
            progress.readline()
            each.set()

    Thread(target=follow, daemon=True).start()
    times: dict[str, list[float]] = {"while 1,100 calls open": [], "afterwards": []}
    during, after = times.values()
    with busy, grpc.insecure_channel(address) as channel:
        stub: Any = p4r_grpc.P4RuntimeStub(channel)
        stub.Capabilities(p4r.CapabilitiesRequest())
        busy.stdin.write("go\n")
        busy.stdin.flush()
        begun = time.perf_counter()
        while not done.is_set() or time.perf_counter() - begun < LEAST:
            before = time.perf_counter()
            stub.Capabilities(p4r.CapabilitiesRequest(), timeout=60)
            (after if opened.is_set() else during).append(1000 * (time.perf_counter() - before))
            time.sleep(PERIOD)
    return times


def main() -> None:
    """Measure as often as the argument says, five times by default; with --load, be the load."""
    if sys.argv[1:2] == ["--load"]:
        load(sys.argv[2])
        return
    for _ in range(int(sys.argv[1]) if sys.argv[1:] else 5):
        found = []
        for phase, times in measure().items():
            middle, most, worst = np.percentile(times, [50, 99, 100])
            found.append(f"{phase}: {len(times)} x, p50 {middle:.1f}, p99 {most:.1f}, worst {worst:.1f} ms")
        _say("; ".join(found))


if __name__ == "__main__":
    main()

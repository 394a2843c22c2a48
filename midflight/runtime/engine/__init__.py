"""The embedded switch: a checked P4 program compiled to native code, with its tables, registers and ports.

It runs what BMv2 runs; docs/semantics.md lists where the two are known to differ: a select without a match, indices out
of range, and a few more.
"""

from midflight.runtime.engine.counters import CounterValue
from midflight.runtime.engine.digests import Digest
from midflight.runtime.engine.engine import Engine, Stats
from midflight.runtime.engine.entries import Entry, Reason, TableError
from midflight.runtime.engine.gate import Gate
from midflight.runtime.engine.meters import MeterConfig
from midflight.runtime.engine.packets import Packets
from midflight.runtime.engine.tables import Default
from midflight.runtime.engine.traces import Trace

__all__ = [
    "CounterValue",
    "Default",
    "Digest",
    "Engine",
    "Entry",
    "Gate",
    "MeterConfig",
    "Packets",
    "Reason",
    "Stats",
    "TableError",
    "Trace",
]

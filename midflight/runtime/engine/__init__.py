"""The embedded switch: a checked P4 program compiled to native code, with its tables, registers and ports.

It runs the programs that BMv2 runs. docs/semantics.md lists the known differences, for example a select without a match
and indexes out of range.
"""

from midflight.runtime.engine.backend import Backend
from midflight.runtime.engine.counters import CounterValue
from midflight.runtime.engine.engine import Engine
from midflight.runtime.engine.entries import ActionSet, Entry, GroupOf, MemberOf, Reason, TableError, WeightedAction
from midflight.runtime.engine.gate import Gate
from midflight.runtime.engine.meters import MeterConfig, MeterCounts
from midflight.runtime.engine.packets import Packets
from midflight.runtime.engine.profiles import GroupMember, Member
from midflight.runtime.engine.records import Digest
from midflight.runtime.engine.stats import Stats
from midflight.runtime.engine.tables import Default
from midflight.runtime.engine.traces import Trace

__all__ = [
    "ActionSet",
    "Backend",
    "CounterValue",
    "Default",
    "Digest",
    "Engine",
    "Entry",
    "Gate",
    "GroupMember",
    "GroupOf",
    "Member",
    "MemberOf",
    "MeterConfig",
    "MeterCounts",
    "Packets",
    "Reason",
    "Stats",
    "TableError",
    "Trace",
    "WeightedAction",
]

"""Primitives: reusable computations on packets, the kernel language they are written in, and their P4."""

from midflight.primitives.kernel.arithmetic import add_overflows, bits, concat, hash_, popcount, sat_add, sat_sub
from midflight.primitives.kernel.packet import Verdict
from midflight.primitives.kernel.primitive import Chain, Outcome, Reference
from midflight.primitives.kernel.rules import PROFILES, Profile
from midflight.primitives.language import (
    Header,
    Lookup,
    Map,
    Packet,
    Primitive,
    Register,
    bit,
    int_,
    one_of,
    parameter,
    power_of_two,
    within,
)
from midflight.primitives.library.acceptor import Acceptor
from midflight.primitives.library.aggregate import Aggregate
from midflight.primitives.library.balance import Balance
from midflight.primitives.library.barrier import Barrier
from midflight.primitives.library.bloom import Bloom
from midflight.primitives.library.cache import Cache
from midflight.primitives.library.controller import Controller
from midflight.primitives.library.countmin import CountMin
from midflight.primitives.library.distinct import Distinct
from midflight.primitives.library.ewma import Ewma
from midflight.primitives.library.filter import Filter
from midflight.primitives.library.groupby import GroupBy
from midflight.primitives.library.heavyhitter import HeavyHitter
from midflight.primitives.library.hyperloglog import HyperLogLog
from midflight.primitives.library.learner import Learner
from midflight.primitives.library.limit import Limit
from midflight.primitives.library.lock import Lock
from midflight.primitives.library.quorum import Quorum
from midflight.primitives.library.safetystop import SafetyStop
from midflight.primitives.library.sample import Sample
from midflight.primitives.library.semijoin import SemiJoin
from midflight.primitives.library.sequencer import Sequencer
from midflight.primitives.library.skyline import Skyline
from midflight.primitives.library.telemetry import Telemetry
from midflight.primitives.library.threshold import Threshold
from midflight.primitives.library.topn import TopN
from midflight.primitives.library.tree import Tree
from midflight.primitives.library.window import Window
from midflight.primitives.program import Application, Program
from midflight.primitives.serial import advance
from midflight.primitives.steering import Steering
from midflight.primitives.wire import REQUEST, RESULT, UDP_PORT, Message, Schema

__all__ = [
    "PROFILES",
    "REQUEST",
    "RESULT",
    "UDP_PORT",
    "Acceptor",
    "Aggregate",
    "Application",
    "Balance",
    "Barrier",
    "Bloom",
    "Cache",
    "Chain",
    "Controller",
    "CountMin",
    "Distinct",
    "Ewma",
    "Filter",
    "GroupBy",
    "Header",
    "HeavyHitter",
    "HyperLogLog",
    "Learner",
    "Limit",
    "Lock",
    "Lookup",
    "Map",
    "Message",
    "Outcome",
    "Packet",
    "Primitive",
    "Profile",
    "Program",
    "Quorum",
    "Reference",
    "Register",
    "SafetyStop",
    "Sample",
    "Schema",
    "SemiJoin",
    "Sequencer",
    "Skyline",
    "Steering",
    "Telemetry",
    "Threshold",
    "TopN",
    "Tree",
    "Verdict",
    "Window",
    "add_overflows",
    "advance",
    "bit",
    "bits",
    "concat",
    "hash_",
    "int_",
    "one_of",
    "parameter",
    "popcount",
    "power_of_two",
    "sat_add",
    "sat_sub",
    "within",
]

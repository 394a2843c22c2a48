"""Reusable computations on packets: the kernel language, the library written in it, and its P4."""

from midflight.primitives.acceptor import Acceptor
from midflight.primitives.aggregate import Aggregate
from midflight.primitives.barrier import Barrier
from midflight.primitives.bloom import Bloom
from midflight.primitives.cache import Cache
from midflight.primitives.controller import Controller
from midflight.primitives.countmin import CountMin
from midflight.primitives.distinct import Distinct
from midflight.primitives.ewma import Ewma
from midflight.primitives.filter import Filter
from midflight.primitives.groupby import GroupBy
from midflight.primitives.heavyhitter import HeavyHitter
from midflight.primitives.hyperloglog import HyperLogLog
from midflight.primitives.kernel.arithmetic import add_overflows, bits, concat, hash_, sat_add, sat_sub
from midflight.primitives.kernel.header import Header
from midflight.primitives.kernel.lookup import Lookup
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.packet import Packet, Verdict
from midflight.primitives.kernel.primitive import Chain, Outcome, Primitive, Reference, parameter, within
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.rules import PROFILES, Profile
from midflight.primitives.kernel.types import bit, int_
from midflight.primitives.learner import Learner
from midflight.primitives.lock import Lock
from midflight.primitives.program import Application, Program
from midflight.primitives.quorum import Quorum
from midflight.primitives.safetystop import SafetyStop
from midflight.primitives.sample import Sample
from midflight.primitives.semijoin import SemiJoin
from midflight.primitives.sequencer import Sequencer
from midflight.primitives.skyline import Skyline
from midflight.primitives.threshold import Threshold
from midflight.primitives.topn import TopN
from midflight.primitives.tree import Tree
from midflight.primitives.window import Window
from midflight.primitives.wire import REQUEST, RESULT, UDP_PORT, Message, Schema

__all__ = [
    "PROFILES",
    "REQUEST",
    "RESULT",
    "UDP_PORT",
    "Acceptor",
    "Aggregate",
    "Application",
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
    "Threshold",
    "TopN",
    "Tree",
    "Verdict",
    "Window",
    "add_overflows",
    "bit",
    "bits",
    "concat",
    "hash_",
    "int_",
    "parameter",
    "sat_add",
    "sat_sub",
    "within",
]

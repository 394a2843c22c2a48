"""Maps and lookups: reads of kernels, executed and on a switch, and writes of the controller."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from midflight.errors import KernelError, MidflightError
from midflight.primitives import REQUEST, Lookup, Map, Message, Program, Reference, Verdict, bit, int_
from midflight.primitives.kernel.map import Key, Match
from midflight.testbed import Star
from tests.bmv2 import BMV2
from tests.primitives.agreement import agree_on_bmv2
from tests.primitives.more_kernels import Directory
from tests.primitives.rig import DeviceRig, Seen, Sent, SwitchRig

KEYS = (0, 1, 2**64, 2**127, 2**128 - 1)


def fields(random: Random) -> dict[str, Any]:
    return {
        "key": random.choice(KEYS),
        "address": random.choice((10 << 24, 10 << 24 | 1 << 16, 10 << 24 | 7, 0, 2**32 - 1)),
        "port": random.choice((80, 80, 80, 81)),
        "owner": random.choice((0, 2**16 - 1, 9)),
        "zone": 0,
        "known": 0,
        "size": random.choice((0, 49, 50, 99, 100, 199, 299, 300, 65535, random.randrange(2**16))),
        "grade": random.randrange(16),
        "flags": random.choice((0, 0x80, 0x81, 0xFF, 1)),
        "logs": [random.randrange(12), random.randrange(256)],
    }


def trace(seed: int) -> list[Sent]:
    random = Random(seed)
    return [Sent("directory", number, fields(random)) for number in range(60)]


def written(machine: Reference, sent: Sequence[Sent]) -> list[Seen]:
    """Return the results of the executed kernel for requests."""
    seen = []
    for each in sent:
        outcome = machine.process(Message(REQUEST, each.application, each.sequence, dict(each.fields)))
        plain = {name: getattr(value, "tolist", lambda v=value: v)() for name, value in outcome.message.fields.items()}
        seen.append(Seen(outcome.verdict, plain))
    return seen


@settings(max_examples=10, phases=[Phase.explicit, Phase.generate])
@given(seed=st.integers(0, 2**63))
def test_lookups_on_the_switch_agree_with_the_executed_kernel(seed: int) -> None:
    program = Program(Directory("directory"))
    rig, machine = SwitchRig(program), program.applications["directory"].primitive.reference()
    owner = machine.map("owner")
    for number, key in enumerate(KEYS[:4]):
        owner[key] = 100 + number
    for entry in owner.entries:
        rig.write("directory", "owner", entry)
    sent = trace(seed)
    seen = written(machine, sent)
    assert rig.run(sent)[0] == seen
    assert {each.fields["known"] for each in seen if each.fields} == {0, 1}


@pytest.mark.bmv2
def test_lookups_on_bmv2_agree_with_the_executed_kernel() -> None:
    agree_on_bmv2(Program(Directory("directory")), trace(11))


@pytest.mark.parametrize("kind", ["host", pytest.param("bmv2", marks=BMV2)])
def test_devices_and_reference_agree_after_writes(kind: str) -> None:
    """Write, change and remove entries of every match kind, on a device and on the reference, and compare."""
    program = Program(Directory("directory", room=64))
    machine = program.applications["directory"].primitive.reference()
    sent = trace(3)
    with DeviceRig(program, kind) as rig:
        writes: list[tuple[str, Key, int, int]] = [
            ("owner", 2**127, 5, 1),
            ("owner", 2**127, 6, 1),
            ("zone", ((10 << 24, 32), 80), -128, 1),
            ("zone", ((10 << 24, 16), 80), 127, 1),
            ("grade", (300, 65535), 9, 1),
            ("marked", ((0x81, 0x81), (3, 15)), 8, 9),
            ("marked", ((0, 0), (0, 0)), 3, 7),
            ("marked", ((0xFF, 0xFF), (1, 1)), 4, 8),
        ]
        for name, key, value, priority in writes:
            rig.maps["directory", name].insert(key, value, priority=priority)
            machine.map(name).insert(key, value, priority=priority)
        del rig.maps["directory", "zone"][(0, 0), 80]
        del machine.map("zone")[(0, 0), 80]
        assert rig.run(sent)[0] == written(machine, sent)
        for name in ("owner", "zone", "grade", "marked"):
            there = machine.map(name)
            assert dict(rig.maps["directory", name]) == {key: there[key] for key in there}


def test_a_networks_map_is_a_dict_and_survives_a_switch_failure() -> None:
    with Star(hosts=2, program=Program(Directory("directory"))) as net:
        owner = net.map("directory", "owner")
        owner[7] = 3
        owner[8] = 4
        del owner[8]
        assert dict(owner) == {7: 3}
        assert (owner[7], 8 in owner, owner.get(8)) == (3, False, None)
        assert net.map("directory", "zone")[(10 << 24, 8), 80] == -3
        net.kill("s1")
        net.revive("s1")
        assert dict(net.map("directory", "owner")) == {7: 3}
        assert len(net.map("directory", "grade")) == 4
        with pytest.raises(MidflightError, match="does not fit"):
            owner[1] = 2**16
        with pytest.raises(MidflightError, match="does not fit"):
            owner[2**128] = 1
        with pytest.raises(MidflightError, match="directory has no map 'log2'"):
            net.map("directory", "log2")
        with pytest.raises(MidflightError, match="no application 'cache'"):
            net.map("cache", "owner")
        with pytest.raises(KeyError):
            owner[8]
        for number in range(3):
            owner[100 + number] = 1
        with pytest.raises(MidflightError, match="its size is 4 entries"):
            owner[200] = 1


def test_the_largest_priority_wins_independent_of_the_order() -> None:
    ranks = Map(bit[8], bit[8], size=4, match="ternary")
    ranks.insert((0, 0), 1, priority=3)
    ranks.insert((5, 255), 2, priority=2)
    assert ranks.get(5, 0) == 1
    ranks.insert((5, 255), 2, priority=4)
    assert (ranks.get(5, 0), ranks.hit, ranks.get(6, 0)) == (2, True, 1)


def test_the_longest_prefix_wins() -> None:
    near = Map(bit[8], int_[8], size=4, match="lpm", entries={(0x10, 4): -1, (0x18, 5): -2})
    assert [near.get(each, 9) for each in (0x10, 0x17, 0x18, 0x1F, 0x20)] == [-1, -1, -2, -2, 9]
    assert not near.hit


MISUSES = [
    (lambda: Map(bit[8], bit[8], size=0), "a map's size"),
    (lambda: Map(int_[8], bit[8], size=1), "unsigned"),
    (lambda: Map((), bit[8], size=1), "needs a key"),
    (lambda: Map((bit[8], bit[8]), bit[8], size=1, match=("lpm", "lpm")), "only one part"),
    (lambda: Map((bit[8], bit[8]), bit[8], size=1, match=("lpm",)), "as many match kinds, not 1"),
    (lambda: Map(bit[8], bit[8], size=1, match="regex"), "not 'regex'"),  # type: ignore[arg-type]
    (lambda: Map(bit[8], bit[8], size=1, entries={1: 1, 2: 1}), "the map is full"),
    (lambda: Map(bit[8], bit[8], size=1, entries={256: 1}), "the key 256 does not fit"),
    (lambda: Map(bit[8], bit[8], size=1, entries={(1, 2): 1}), r"a key of bit\[8\] matched exact must be an integer"),
    (lambda: Map(bit[8], bit[8], size=1, match="range", entries={(9, 2): 1}), "is not a range"),
    (lambda: Map(bit[8], bit[8], size=1, match="lpm", entries={(9, 9): 1}), "prefix length must be 0 to 8, not 9"),
    (lambda: Map(bit[8], bit[8], size=1, match="ternary", entries={(9, 256): 1}), "the mask 256"),
    (lambda: Map((bit[8], bit[8]), bit[8], size=1, entries={3: 1}), "is not a key of a map"),
    (lambda: Map(bit[8], bit[8], size=1, entries={3: 1.5}), "a map's value must be an integer"),  # type: ignore[dict-item]
    (lambda: Map(bit[8], bit[8], size=1).insert(3, 1, priority=2), "priority 2"),
    (lambda: Lookup(bit[8], ()), "1 to 65536 values"),
    (lambda: Lookup(bit[8], (1, 256)), "256 does not fit"),
    (lambda: Lookup(bit[8], (1,), default=-1), "-1 does not fit"),
]


@pytest.mark.parametrize(("make", "reported"), MISUSES)
def test_values_that_do_not_fit_a_map_are_rejected(make: Any, reported: str) -> None:
    with pytest.raises(KernelError, match=reported):
        make()


@pytest.mark.parametrize("match", ["exact", "lpm", "ternary", "range"])
def test_keys_round_trip_through_copies(match: Match) -> None:
    keys: dict[Match, Key] = {"exact": 5, "lpm": (4, 7), "ternary": (4, 6), "range": (4, 6)}
    one = Map(bit[8], bit[8], size=4, match=match)
    one[keys[match]] = 3
    assert ([*one], len(one), one[keys[match]], one.get(5, 0)) == ([keys[match]], 1, 3, 3)
    del one[keys[match]]
    assert (len(one), one.get(5, 0)) == (0, 0)


def test_a_reference_has_separate_entries() -> None:
    program = Program(Directory("directory"))
    primitive = program.applications["directory"].primitive
    primitive.reference().map("owner")[0] = 1
    sent = Sent("directory", 1, fields(Random(1)) | {"key": 0})
    (seen,) = written(primitive.reference(), [sent])
    assert seen.fields is not None
    assert (seen.verdict in Verdict, seen.fields["known"]) == (True, 0)
    with pytest.raises(KernelError, match="no map 'log2'"):
        primitive.reference().map("log2")

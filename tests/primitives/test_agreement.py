"""Executed kernel, embedded switch and NumPy oracle give the same answers on traces of many packets."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from midflight.primitives import REQUEST, Aggregate, Filter, Message, Program, Threshold, Verdict
from midflight.primitives.oracles import aggregate as aggregate_oracle
from midflight.primitives.oracles import filter as filter_oracle
from midflight.primitives.oracles import threshold as threshold_oracle
from tests.primitives.generated import kernels, requests
from tests.primitives.rig import EPOCH, DeviceRig, Seen, Sent, SwitchRig

OVERFLOWS: tuple[Literal["wrap", "saturate", "detect"], ...] = ("wrap", "saturate", "detect")
MODERATE = settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.generate])
SEEDS = st.integers(0, 2**63)


def executed(program: Program, trace: Sequence[Sent]) -> tuple[list[Seen], list[tuple[str, tuple[int, ...]]]]:
    """Run a trace through the kernels as plain Python."""
    references = {name: each.primitive.reference(epoch=EPOCH) for name, each in program.applications.items()}
    seen, alerts = [], []
    for each in trace:
        outcome = references[each.application].process(
            Message(REQUEST, each.application, each.sequence, dict(each.fields))
        )
        fields = {
            name: value.tolist() if isinstance(value, np.ndarray) else value
            for name, value in outcome.message.fields.items()
        }
        seen.append(Seen(outcome.verdict, None if outcome.verdict == Verdict.DROP else fields))
        alerts += [(f"{each.application}_alert_t", values) for values in outcome.alerts]
    return seen, alerts


def agree(program: Program, trace: Sequence[Sent]) -> tuple[list[Seen], list[tuple[str, tuple[int, ...]]]]:
    """Run a trace both ways and compare."""
    meant = executed(program, trace)
    done = SwitchRig(program).run(trace)
    for number, (one, other) in enumerate(zip(meant[0], done[0], strict=True)):
        assert one == other, (number, trace[number])
    assert meant[1] == done[1]
    return meant


# ---------------------------------------------------------------- Aggregate


Contribution = tuple[int, int, int, int, int, tuple[int, ...]]


def number(random: Random) -> int:
    """Return an int32, its edges likelier than others."""
    return random.choice((random.randint(-(2**31), 2**31 - 1), random.choice((-(2**31), -1, 0, 1, 2**31 - 1))))


def contributions(random: Random) -> Sequence[Contribution]:
    """Return a trace as (slot, worker, job, sequence, flags, values): dropped, doubled, late and out of order."""
    start = random.choice((1, 2**31 - 3, 2**32 - 3))
    chunks = random.randint(1, 16)
    job = random.choice((0, 1, 2**15 - 1, 2**16 - 1))
    new_job = random.randint(0, 24)
    sent = [
        (chunk % 4, worker, (job + (chunk >= new_job)) % 2**16, (start + chunk) % 2**32,
         random.choice((0, 0, 0, 1, 2)), (number(random), number(random)))
        for chunk in range(chunks)
        for worker in range(3)
    ]  # fmt: skip
    # Where each goes in the trace, up to three times: close to its place, or anywhere.
    places = [
        (position + random.choice((random.randint(0, 5), random.randint(0, 5), random.randint(0, 3 * chunks))), packet)
        for position, packet in enumerate(sent)
        for _ in range(random.choice((0, 1, 1, 1, 1, 1, 2, 3)))
    ]
    trace: list[Contribution] = [packet for _, packet in sorted(places, key=lambda each: each[0])]
    # Packets that no host of ours sends: other entries and workers, sequences from anywhere on the circle.
    for _ in range(random.randint(0, 5)):
        far = random.choice((2**30 + 9, 2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1 - start))
        ahead = random.choice((random.randint(-3, 20), far))
        sequence = random.choice((0, *[(start + ahead) % 2**32] * 4))
        elsewhere = (job + random.randint(-1, 2)) % 2**16
        stray = (random.randint(0, 5), random.randint(0, 4), elsewhere, sequence, 0, (number(random), number(random)))
        trace.insert(random.randint(0, len(trace)), stray)
    return trace


@pytest.fixture(scope="module", params=[*((each, 3, -1) for each in OVERFLOWS), ("wrap", 1, -1), ("detect", 3, 2)])
def aggregate(request: pytest.FixtureRequest) -> tuple[Program, SwitchRig]:
    overflow, workers, rank = request.param
    program = Program(Aggregate("gradients", workers=workers, lanes=2, slots=2, overflow=overflow, rank=rank))
    return program, SwitchRig(program)


def clear(rig: SwitchRig) -> None:
    """Give a switch its initial state back, as clearing its registers does."""
    for register in rig.engine.registers.values():
        register.clear()
    rig.engine.digests()


@MODERATE
@given(seed=SEEDS)
def test_aggregate(aggregate: tuple[Program, SwitchRig], seed: int) -> None:
    trace = contributions(Random(seed))
    program, rig = aggregate
    clear(rig)
    parameters = program.applications["gradients"].primitive.parameters
    rank = parameters["rank"]
    pool = aggregate_oracle.Pool(workers=parameters["workers"], slots=2, overflow=parameters["overflow"], top=rank < 0)
    expected, sent = [], []
    for slot, worker, job, sequence, flags, values in trace:
        answer = pool.contribute(slot, worker, sequence, flags, np.array(values, dtype=np.int32), job)
        header = {"slot": slot, "worker": worker, "flags": flags, "job": job, "epoch": 7, "values": list(values)}
        sent.append(Sent("gradients", sequence, header))
        fields = None
        if answer.values is not None:
            fields = header | {"flags": answer.flags, "epoch": EPOCH, "values": answer.values.tolist()}
            if rank >= 0:
                fields["worker"] = rank
        expected.append(Seen(Verdict[answer.verdict.upper()], fields))
    meant, _ = executed(program, sent)
    done, _ = rig.run(sent)
    for place, each in enumerate(sent):
        assert meant[place] == expected[place], (place, each)
        assert done[place] == expected[place], (place, each)


# ------------------------------------------------------------------- Filter


CONDITIONS = (
    "temperature > 80 and status != 0",
    "not (a < b or a == 3) and 0 <= b < 100",
    "(a + b) * 2 > a - b or -a > b",
    "abs(a) >= min(b, c) and max(a, c) != 7",
    "(a & 12) == 4 or a // 4 == 2 or a % 8 == 7",
    "(a >> 2) ^ ~b > 5",
)


@pytest.fixture(scope="module")
def filters() -> tuple[Program, SwitchRig]:
    program = Program(*(Filter(f"filter{number}", keep=keep) for number, keep in enumerate(CONDITIONS)))
    return program, SwitchRig(program)


@MODERATE
@given(seed=SEEDS)
def test_filter(filters: tuple[Program, SwitchRig], seed: int) -> None:
    random = Random(seed)
    program, rig = filters
    name = random.choice(list(program.applications))
    primitive = program.applications[name].primitive
    names = [each.name for each in primitive.layout]
    rows = [[random.choice((random.randint(-10, 110), number(random))) for _ in names] for _ in range(60)]
    columns = {each: np.array([row[place] for row in rows], dtype=np.int32) for place, each in enumerate(names)}
    kept = filter_oracle.kept(str(primitive.parameters["keep"]), columns)
    sent = [Sent(name, number, dict(zip(names, row, strict=True))) for number, row in enumerate(rows)]
    expected = [
        Seen(Verdict.FORWARD, each.fields) if keep else Seen(Verdict.DROP, None)
        for each, keep in zip(sent, kept.tolist(), strict=True)
    ]
    assert executed(program, sent)[0] == expected
    assert rig.run(sent)[0] == expected


# ---------------------------------------------------------------- Threshold


@pytest.fixture(scope="module")
def threshold() -> tuple[Program, SwitchRig]:
    program = Program(Threshold("pressure", above=900, clear=850, sensors=5))
    return program, SwitchRig(program)


@MODERATE
@given(seed=SEEDS)
def test_threshold(threshold: tuple[Program, SwitchRig], seed: int) -> None:
    random = Random(seed)
    levels = (849, 850, 851, 899, 900, 901, 0, 2**32 - 1)
    readings = [
        (random.choice((0, 1, 2, 3, 4, 5, 65535)), random.choice((*levels, random.randint(0, 2**32 - 1))))
        for _ in range(80)
    ]
    program, rig = threshold
    clear(rig)
    sensors = np.array([each for each, _ in readings], dtype=np.uint16)
    values = np.array([each for _, each in readings], dtype=np.uint32)
    raised = threshold_oracle.alerts(sensors, values, above=900, clear=850, states=5)
    expected = [
        ("pressure_alert_t", reading) for reading, alert in zip(readings, raised.tolist(), strict=True) if alert
    ]
    sent = [
        Sent("pressure", number, {"sensor": sensor, "value": value}) for number, (sensor, value) in enumerate(readings)
    ]
    meant, done = executed(program, sent), rig.run(sent)
    assert meant[1] == expected
    assert done[1] == expected
    forwarded = [Seen(Verdict.FORWARD, each.fields) for each in sent]
    assert meant[0] == forwarded
    assert done[0] == forwarded


def mixed_trace(program: Program, length: int) -> list[Sent]:
    """Return requests to all applications of a program, in a row that is the same every time."""
    rng = np.random.default_rng(5)
    names = list(program.applications)
    trace = []
    for number in range(length):
        fields: Mapping[str, Any]
        name = str(rng.choice(names))
        if name == "gradients":
            fields = {
                "slot": int(rng.integers(0, 2)),
                "worker": int(rng.integers(0, 2)),
                "flags": 0,
                "job": 1,
                "epoch": 0,
                "values": rng.integers(-(2**31), 2**31, 3).tolist(),
            }
        elif name == "telemetry":
            fields = {"level": int(rng.integers(-20, 20))}
        else:
            fields = {"sensor": int(rng.integers(0, 5)), "value": int(rng.integers(0, 15))}
        trace.append(Sent(name, 1 + number // 20, fields))
    return trace


def tenants(overflow: Literal["wrap", "saturate", "detect"] = "detect") -> Program:
    return Program(
        Threshold("pressure", above=10, clear=5, sensors=4),
        Aggregate("gradients", workers=2, lanes=3, slots=1, overflow=overflow),
        Threshold("heat", above=6, clear=2, sensors=4),
        Filter("telemetry", keep="level > 7"),
    )


def test_all_of_them_in_one_program_keep_apart() -> None:
    program = tenants()
    seen, alerts = agree(program, mixed_trace(program, 400))
    assert {each.verdict for each in seen} == {*Verdict}
    assert {name for name, _ in alerts} == {"pressure_alert_t", "heat_alert_t"}


# ---------------------------------------------------------- drawn kernels


def drawn_program(seed: int, packets: int = 30) -> tuple[Program, list[Sent]]:
    """Return a program of six kernels, and a trace for them."""
    random = Random(seed)
    primitives = [kernels(random, f"drawn{number}") for number in range(6)]
    trace = [
        Sent(each.name, random.getrandbits(32), requests(random, each)) for each in primitives for _ in range(packets)
    ]
    return Program(*primitives), trace


@settings(max_examples=2, deadline=None, phases=[Phase.generate])
@given(seed=SEEDS)
def test_kernels_that_nobody_would_write(seed: int) -> None:
    agree(*drawn_program(seed))


# --------------------------------------------------------------- on BMv2


def agree_on_bmv2(program: Program, trace: Sequence[Sent]) -> None:
    if shutil.which("p4c-bm2-ss") is None or shutil.which("simple_switch_grpc") is None:
        pytest.skip("p4c-bm2-ss and simple_switch_grpc are not on PATH")
    meant, alerts = executed(program, trace)
    with DeviceRig(program, "bmv2") as rig:
        done, told = rig.run(trace)
    for number, (one, other) in enumerate(zip(meant, done, strict=True)):
        assert one == other, (number, trace[number])
    # BMv2 tells a digest once when the controller has not acknowledged an equal one yet.
    assert {*alerts} == {*told}


@pytest.mark.bmv2
@pytest.mark.parametrize("overflow", OVERFLOWS)
def test_bmv2_agrees(overflow: Literal["wrap", "saturate", "detect"]) -> None:
    program = tenants(overflow)
    agree_on_bmv2(program, mixed_trace(program, 300))


@pytest.mark.bmv2
@settings(max_examples=2, deadline=None, phases=[Phase.generate])
@given(seed=SEEDS)
def test_bmv2_agrees_on_kernels_that_nobody_would_write(seed: int) -> None:
    agree_on_bmv2(*drawn_program(seed))

"""Sketches on a switch: estimates of controller and hosts from its state, answers and alerts."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from midflight.primitives import CountMin, HeavyHitter, HyperLogLog, Program, Verdict
from midflight.primitives.estimators import count_min, hyperloglog
from tests.bmv2 import BMV2
from tests.primitives.rig import DeviceRig, Sent

PROGRAM = Program(
    CountMin("traffic", rows=2, columns=64),
    HyperLogLog("users", precision=5),
    HeavyHitter("elephants", above=2000, window=1000, rows=2, columns=64, slots=64),
)
ITEMS = [int(each) for each in np.random.default_rng(1).integers(0, 2**63, 60)]


@pytest.fixture(scope="module", params=["host", pytest.param("bmv2", marks=BMV2)])
def rig(request: pytest.FixtureRequest) -> Iterator[DeviceRig]:
    with DeviceRig(PROGRAM, request.param) as made:
        yield made


def test_the_controllers_estimates_agree_with_the_sent_items(rig: DeviceRig) -> None:
    random = np.random.default_rng(2)
    which, amounts = random.zipf(1.4, 120) % 60, random.integers(1, 1500, 120)
    truth = np.bincount(which, amounts, minlength=60)
    trace = []
    for number, (place, amount) in enumerate(zip(which.tolist(), amounts.tolist(), strict=True)):
        item = ITEMS[place]
        fields = {"operation": 1, "flags": 0, "item": item, "amount": amount, "estimate": 0, "total": 0}
        trace += [
            Sent("traffic", number, fields),
            Sent("users", number, {"item": item}),
            Sent("elephants", number, {"item": item, "amount": amount}),
        ]
    _, alerts = rig.run(trace)

    counts = np.asarray(PROGRAM.state("traffic", rig.session.inband).counts.read())
    found = count_min.estimates(counts, ITEMS, 64)
    assert (found >= truth).all()
    error, _ = count_min.bound(2, 64, int(truth.sum()))
    assert (found - truth <= error).mean() > 0.8
    heaviest = {"operation": 0, "flags": 0, "item": ITEMS[truth.argmax()], "amount": 0, "estimate": 0, "total": 0}
    [answer], _ = rig.run([Sent("traffic", 0, heaviest)])
    assert answer.verdict == Verdict.REPLY
    assert answer.fields is not None
    assert (answer.fields["estimate"], answer.fields["total"]) == (found.max(), truth.sum())

    ranks = np.asarray(PROGRAM.state("users", rig.session.inband).ranks.read())
    reported = hyperloglog.registers([values for name, values in alerts if name == "users_alert_t"], 5)
    assert ranks.tolist() == reported.tolist()
    different = len(set(which.tolist()))
    assert abs(hyperloglog.estimate(ranks) / different - 1) < 3 * hyperloglog.standard_error(5)

    heavy = [ITEMS.index(values[0]) for name, values in alerts if name == "elephants_alert_t"]
    assert set(np.flatnonzero(truth >= 2000).tolist()) <= set(heavy)
    assert len(heavy) == len(set(heavy))

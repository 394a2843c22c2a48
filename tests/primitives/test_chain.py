"""Chains of primitives on one packet, as executed kernels and on a switch."""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random

import pytest

from midflight.errors import KernelError
from midflight.primitives import Chain, Ewma, Filter, Program, Threshold, Verdict, bit
from midflight.primitives.catalogue import made
from midflight.testbed import Star
from tests.primitives.agreement import agree, agree_on_bmv2
from tests.primitives.more_kernels import Directory, Walk
from tests.primitives.rig import Sent


def mixed() -> tuple[Program, list[Sent]]:
    """Return a program of chains, with maps and recirculation, and requests to them."""
    random = Random(8)
    program = Program(
        Filter("known", keep="port == 80 and size > 20") >> Directory("directory"),
        Chain("collatz", Walk("walk"), Filter("small", keep="steps < 9 and value != 0")),
        Ewma("fast", series=4, weight=3, shift=2) >> Ewma("slow", series=4, weight=1, shift=3, deviation=50),
    )
    trace = []
    for number in range(120):
        directory = {
            "port": random.choice((80, 80, 81)), "size": random.choice((0, 20, 21, 150, 400)), "known": 0, "grade": 3,
            "key": random.randrange(4), "address": random.choice((10 << 24, 9)), "owner": 9, "zone": 0,
            "flags": random.getrandbits(8), "logs": [3, 200],
        }  # fmt: skip
        trace.append(Sent("directory", number, directory))
        walk = {"value": random.choice((0, 1, 3, 6, 7, 27, 2**32 - 1)), "steps": 5 * (number % 3), "flags": number % 8}
        trace.append(Sent("collatz", number, walk))
        trace.append(Sent("slow", number, {"series": number % 5, "value": random.randrange(-90, 90), "average": 0}))
    return program, trace


def test_chains_behave_as_in_python() -> None:
    seen, alerts = agree(*mixed())
    assert {each.verdict for each in seen} >= {Verdict.FORWARD, Verdict.DROP, Verdict.REPLY, Verdict.FALLBACK}
    assert {name for name, _ in alerts} == {"collatz_alert_t", "slow_alert_t"}


@pytest.mark.bmv2
def test_chains_on_bmv2() -> None:
    agree_on_bmv2(*mixed())


def test_state_has_the_names_of_the_stages_qualified_if_ambiguous() -> None:
    chain = Ewma("fast") >> Filter("high", keep="average > 0") >> Ewma("slow")
    assert [*chain.registers] == ["fast_seen", "fast_average", "slow_seen", "slow_average"]
    assert [*(Filter("hot", keep="value > 3") >> threshold()).registers] == ["armed"]


def test_a_controller_reads_the_state_of_a_chain() -> None:
    chain = Filter("hot", keep="value > 3") >> Threshold("pressure", above=9, clear=1, sensors=3)
    with Star(hosts=2, program=Program(chain)) as net:
        net.state("pressure").armed.write([1, 0, 1])
        assert list(net.state("pressure").armed.read()) == [1, 0, 1]


def test_undeclared_fields_of_a_filter_take_their_types_from_other_stages() -> None:
    chain = Filter("hot", keep="value >= 3000000000 and room != 0") >> Threshold("pressure", above=9, clear=1)
    assert [str(each.kind) for each in chain.layout] == ["bit[32]", "int_[32]", "bit[16]"]


def test_chains_are_flattened_and_named_after_the_last_stage() -> None:
    one, two, three = (Filter(name, keep="a > 0") for name in ("one", "two", "three"))
    chain = one >> two >> three
    assert chain.name == "three"
    assert chain.stages == Chain("three", one, Chain("both", two, three)).stages


def test_a_chain_can_be_rebuilt_from_its_schema() -> None:
    chain = Filter("hot", keep="value > 3") >> Threshold("pressure", above=9, clear=1)
    program = Program(chain)
    reported = json.loads(json.dumps(program.schema()))["applications"]["pressure"]["parameters"]
    again = made(Chain, "pressure", reported)
    assert Program(again).p4() == program.p4()


def threshold(name: str = "b") -> Threshold:
    return Threshold(name, above=9, clear=1)


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        (lambda: Filter("a", keep="sensor > 0", fields={"sensor": bit[8]}) >> threshold(),
         r'Chain\("b"\): field `sensor` .* Filter\("a"\) has bit\[8\], Threshold\("b"\) has bit\[16\]'),
        (lambda: threshold("a") >> threshold(), r'Threshold\("a"\) and Threshold\("b"\) raise alerts'),
        (lambda: threshold() >> Filter("b", keep="value > 3"), "two of its primitives have the name 'b'"),
        (lambda: Chain("x", threshold()), "two or more primitives"),
        (lambda: threshold() >> 3,  # type: ignore[operator]
         "consists of primitives"),
        (lambda: Filter("a", keep="value > 3") >> Walk("walk"), r'Walk\("walk"\) recirculates packets'),
        (lambda: made(Chain, "x", {"stages": [{"primitive": "Filter"}] * 2}), "does not describe a primitive"),
    ],
)  # fmt: skip
def test_invalid_chains_are_rejected(wrong: Callable[[], object], reported: str) -> None:
    with pytest.raises(Exception, match=reported) as caught:
        wrong()
    assert isinstance(caught.value, KernelError) or "does not describe" in reported

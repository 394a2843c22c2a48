"""Plans: as good as any, within every limit, and explained."""

from __future__ import annotations

import statistics
from importlib import import_module
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from midflight.errors import MidflightError, UnsupportedError
from midflight.primitives import Aggregate, Filter, Program, Threshold
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices import Capabilities, load_sheet
from midflight.runtime.placement.planner import (
    Application,
    Costs,
    Device,
    Link,
    Network,
    Plan,
    Sink,
    Source,
    Step,
    moved,
    plan,
    without,
)
from midflight.runtime.placement.planner.drawing import picture
from midflight.runtime.placement.planner.solution import violations
from midflight.testbed.bench.placement import fat_tree, measure
from tests.planner.instances import CARD, CHIP, HOST, best, costs, instance


def planned(network: Network, application: Application, objective: str, method: str) -> Plan | None:
    """Return a plan that keeps all limits, or None if there is none."""
    try:
        found = plan(network, application, costs(), objective, method=method, patience=600)
    except MidflightError:
        return None
    assert violations(network, application, found.solution, costs()) == ()
    return found


def compare(seed: int) -> float | None:
    """Check the exact plan against trying everything. Return how much more the heuristic's plan costs, as a ratio."""
    network, application, objective = instance(seed)
    least = best(network, application, objective)
    exact = planned(network, application, objective, "exact")
    quick = planned(network, application, objective, "heuristic")
    if least is None:
        assert exact is None
        assert quick is None
        return None
    assert exact is not None
    assert exact.exact
    assert exact.value <= least * (1 + 1e-6)
    if quick is None:
        return float("inf")
    assert quick.value >= exact.value * (1 - 1e-6)
    return quick.value / least if least else 1.0


@pytest.mark.parametrize("seed", range(8))
def test_the_exact_plan_is_never_worse_than_any(seed: int) -> None:
    ratio = compare(seed)
    assert ratio is None or ratio < 3


@pytest.mark.long
def test_plans_of_200_random_problems() -> None:
    ratios = [ratio for seed in range(200) if (ratio := compare(seed)) is not None]
    assert statistics.median(ratios) <= 1.1


def line(*sheets: Capabilities, rate: int = 10**10) -> Network:
    """Return hosts h1 and h2 with switches s1, s2, ... between them."""
    devices = {f"s{n}": Device(f"s{n}", sheet) for n, sheet in enumerate(sheets, 1)}
    names = ["h1", *devices, "h2"]
    devices |= {name: Device(name, HOST, forwards=False) for name in ("h1", "h2")}
    return Network(devices, tuple(Link(one, other, rate) for one, other in pairwise(names)))


FILTER = Application(
    [Source("data", ("h1",), 1e8)], [Step("filter", ("data",), 0.1)], [Sink("store", ("h2",), "filter")]
)


@pytest.mark.parametrize("method", ["exact", "heuristic"])
def test_a_filter_runs_where_the_traffic_begins(method: str) -> None:
    found = plan(line(CARD, CHIP, CARD), FILTER, costs(), method=method)
    assert found.solution.at == {"filter": "h1"}
    assert found.value == pytest.approx(4 * 1e7)
    slow = Application([Source("data", ("h1",), 1e9)], FILTER.steps, FILTER.sinks)  # more than a host processes
    found = plan(line(CARD, CHIP, CARD), slow, costs(), method=method)
    assert found.solution.at == {"filter": "s1"}
    assert found.value == pytest.approx(1e9 + 3 * 1e8)
    assert "not h1, h2: gets 125,000 packets a second, and processes 100,000" in found.explain()
    assert "not s2: 2,200.0 Mbit/s on links, 69% more" in found.explain()


def test_what_fits_nowhere_else_runs_on_a_host_and_the_reasons_are_told() -> None:
    asked = Costs(lambda sheet, steps: ("it has no room",) if sheet.kind != "host" else ())
    found = plan(line(CHIP, CARD), FILTER, asked)
    assert found.solution.at["filter"] in ("h1", "h2")
    assert "not s1, s2: it has no room" in found.explain()
    with pytest.raises(MidflightError, match="step filter fits on no device: s1, h1, h2: it is full"):
        plan(line(CHIP), FILTER, Costs(lambda sheet, steps: ("it is full",)))


@pytest.mark.parametrize("method", ["exact", "heuristic"])
def test_a_full_link_is_avoided_or_refused(method: str) -> None:
    short, long = Link("s1", "s2", 10**7, 100), (Link("s1", "s3"), Link("s3", "s2"))
    devices = {name: Device(name, CHIP) for name in ("s1", "s2", "s3")}
    devices |= {name: Device(name, HOST, forwards=False) for name in ("h1", "h2")}
    links = (Link("h1", "s1"), short, *long, Link("s2", "h2"))
    asked = Costs(lambda sheet, steps: () if sheet.kind == "chip" else ("not here",))
    heavy = Application([Source("data", ("h1",), 1e9)], [Step("copy", ("data",))], [Sink("store", ("h2",), "copy")])
    found = plan(Network(devices, links), heavy, asked, method=method)
    assert ("s1", "s2") not in found.loads.links
    assert found.value == pytest.approx(4e9)
    with pytest.raises(MidflightError, match="no plan keeps all limits"):
        plan(Network(devices, (links[0], short, links[-1])), heavy, asked, method=method)


@pytest.mark.parametrize("method", ["exact", "heuristic"])
def test_ends_without_a_path_are_named(method: str) -> None:
    network = line(CHIP, CARD)
    cut = Network(network.devices, network.links[:-1])
    with pytest.raises(MidflightError, match="there is no path from data at h1 to store at h2"):
        plan(cut, FILTER, costs(), method=method)
    # A host between two switches does not forward.
    devices = {**network.devices, "h3": Device("h3", HOST, forwards=False)}
    links = (Link("h1", "s1"), Link("s1", "h3"), Link("h3", "s2"), Link("s2", "h2"))
    asked = Costs(lambda sheet, steps: () if sheet.kind == "chip" else ("not here",))
    with pytest.raises(MidflightError, match="there is no path from data at h1 to store at h2"):
        plan(Network(devices, links), FILTER, asked, method=method)
    # It passes the traffic on if it runs the step.
    anywhere = plan(Network(devices, links), FILTER, costs(), method="exact")
    assert anywhere.solution.at == {"filter": "h3"}


@pytest.mark.parametrize("method", ["exact", "heuristic"])
def test_hosts_linked_to_each_other(method: str) -> None:
    hosts = {name: Device(name, HOST, forwards=False) for name in ("h1", "h2", "h3")}
    pair = Network(hosts, (Link("h1", "h2"),))
    assert plan(pair, FILTER, costs(), method=method).solution.at == {"filter": "h1"}
    # What h3 sends reaches h1, but h1 does not forward it to h2 unless it runs the step.
    chain = Network(hosts, (Link("h3", "h1"), Link("h1", "h2")))
    far = Application([Source("data", ("h3",), 1e6)], FILTER.steps, FILTER.sinks)
    assert plan(chain, far, costs(), method="exact").solution.at == {"filter": "h1"}


def test_a_step_whose_devices_are_out_of_reach_is_named() -> None:
    network = line(CHIP, CARD)
    asked = Costs(lambda sheet, steps: () if sheet.kind == "chip" else ("not here",))
    cut = Network(network.devices, (Link("h1", "s2"), Link("s2", "h2")))
    with pytest.raises(MidflightError, match="no path from data at h1 to the devices that can run filter: s1"):
        plan(cut, FILTER, asked)
    # Each source reaches a chip and the sink, but none of the chips gets both.
    apart = Network(
        {name: Device(name, CHIP) for name in ("s1", "s2")}
        | {name: Device(name, HOST, forwards=False) for name in ("h1", "h2", "h3")},
        (Link("h1", "s1"), Link("h2", "s2"), Link("s1", "h3"), Link("s2", "h3")),
    )
    both = Application(
        [Source("data", ("h1", "h2"), 1e6)], [Step("filter", ("data",))], [Sink("store", ("h3",), "filter")]
    )
    with pytest.raises(MidflightError, match="from all of data to the same one of the devices that can run filter"):
        plan(apart, both, asked)


@pytest.mark.parametrize("method", ["exact", "heuristic"])
def test_a_sum_is_split_over_the_tree(method: str) -> None:
    devices = {name: Device(name, CHIP) for name in ("root", "left", "right")}
    devices |= {f"h{n}": Device(f"h{n}", HOST, forwards=False) for n in range(6)}
    links = [Link("root", "left"), Link("root", "right")]
    links += [Link(f"h{n}", "left" if n < 3 else "right") for n in range(6)]
    workers = tuple(f"h{n}" for n in range(6))
    step = Step("sum", ("workers",), split=True, returns=True)
    found = plan(
        Network(devices, links), Application([Source("workers", workers, 1e8)], [step]), costs(), method=method
    )
    assert set(found.solution.on("root")) | set(found.solution.on("left")) | set(found.solution.on("right")) == {"sum"}
    # Each link carries the vector once in each direction.
    assert found.value == pytest.approx((6 + 2) * 2 * 1e8)
    assert max(found.loads.links.values()) == pytest.approx(1e8)


def test_an_objective_decides() -> None:
    network = line(CHIP, CARD)
    assert plan(network, FILTER, costs(), "latency").solution.at == {"filter": "s1"}
    assert plan(network, FILTER, costs(), "energy").solution.at == {"filter": "s1"}
    assert plan(network, FILTER, costs(), "energy").value == pytest.approx(300 * 12_500 / 1e9)
    with pytest.raises(MidflightError, match="there is no objective 'speed'"):
        plan(network, FILTER, costs(), "speed")


def test_costs_of_a_program_decide_what_shares_a_device() -> None:
    program = CheckedProgram(
        Program(
            Aggregate("gradients", workers=2, lanes=1, slots=8),
            Filter("telemetry", keep="heat > 80"),
            Threshold("pressure", above=900, clear=850),
        ).p4()
    )
    asked = Costs.of(program)
    tofino = load_sheet("tofino")
    assert asked.fit(tofino, ["telemetry", "pressure", "something else"])
    assert any("stages" in reason for reason in asked.reasons(tofino, ["gradients"]))
    assert asked.fit(load_sheet("host"), ["gradients", "telemetry", "pressure"])
    assert asked.fit(tofino, [])


def test_a_plan_without_a_failed_device_moves_its_steps() -> None:
    network = line(CARD, CHIP)
    ring = Network(network.devices, (*network.links, Link("h1", "s2"), Link("s1", "h2")))
    before = plan(ring, FILTER, Costs(lambda sheet, steps: () if sheet.kind != "host" else ("no",)))
    failed = before.solution.at["filter"]
    after = plan(without(ring, failed), FILTER, Costs(lambda sheet, steps: () if sheet.kind != "host" else ("no",)))
    assert moved(before, after) == {"filter": (failed, {"s1": "s2", "s2": "s1"}[failed])}
    with pytest.raises(MidflightError, match="there is no device s9"):
        without(ring, "s9")


def test_the_picture_and_json_show_steps_and_traffic() -> None:
    network = line(CARD, CHIP)
    found = plan(network, FILTER, costs())
    texts = [each.text for each in ElementTree.fromstring(picture(network, found)).iter() if each.text]
    assert "h1, host: filter" in texts
    assert "h1 to s1: 10.0 Mbit/s, back 0.0" in texts
    assert found.json()["steps"]["filter"]["device"] == "h1"
    assert found.json()["value"] == found.value


def test_all_reduce_on_a_fat_tree() -> None:
    found = measure(arity=4, size=1000)
    ways = {each.name: each for each in found.ways}
    assert (found.hosts, found.switches) == (16, 20)
    assert ways["hierarchical"].busiest == 1000
    assert ways["server"].busiest == 15 * 1000
    assert 2 * 15 / 16 * 1000 <= ways["ring"].busiest <= 2000
    with pytest.raises(MidflightError, match="even arity"):
        fat_tree(5)


@pytest.mark.long
def test_a_plan_for_ten_thousand_devices() -> None:
    network = fat_tree(32)  # 8,192 hosts and 1,280 switches
    devices = dict(network.devices)
    links = list(network.links)
    for n in range(10_000 - len(devices)):
        devices[f"more{n}"] = Device(f"more{n}", HOST, forwards=False)
        links.append(Link(f"more{n}", f"pod{n % 32}edge{n % 16}"))
    hosts = tuple(f"h{n}" for n in range(0, 8192, 64))
    application = Application(
        [Source("data", hosts, 1e7)],
        [Step("filter", ("data",), 0.2), Step("count", ("filter",), 0.1)],
        [Sink("store", ("h1",), "count")],
    )
    found = plan(Network(devices, links), application)
    assert violations(Network(devices, links), application, found.solution, Costs.free()) == ()
    assert len(devices) == 10_000


def test_numbers_out_of_range_are_refused() -> None:
    devices = {name: Device(name, HOST) for name in ("one", "other")}
    for link in (Link("one", "other", rate=-1), Link("one", "other", delay=-1)):
        with pytest.raises(MidflightError, match="link one other: its rate or delay is negative"):
            Network(devices, (link,))
    with pytest.raises(MidflightError, match="a packet has at least 1 bit, not 0"):
        Application([Source("data", ("one",), 1e7)], [Step("first", ("data",))], packet=0)


def test_the_exact_method_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    module = import_module("midflight.runtime.placement.planner.plan")
    monkeypatch.setattr(module, "find_spec", lambda _: None)
    network = Network({"one": Device("one", HOST)}, ())
    application = Application([Source("data", ("one",), 1e7)], [Step("first", ("data",))])
    assert plan(network, application).exact is False
    with pytest.raises(UnsupportedError, match="the exact method needs scipy"):
        plan(network, application, method="exact")


@pytest.mark.parametrize("method", ["exact", "heuristic"])
@pytest.mark.parametrize("objective", ["bytes", "latency", "energy", "spare"])
def test_what_others_use_completely_carries_nothing(objective: str, method: str) -> None:
    full = Capabilities(kind="full", packets_per_second=0.0)
    devices = {"chip": Device("chip", CHIP), "full": Device("full", full)}
    devices |= {name: Device(name, HOST, forwards=False) for name in ("h1", "h2")}
    around = (Link("h1", "full"), Link("full", "chip"), Link("chip", "h2"))
    application = Application(
        [Source("data", ("h1",), 1e7)], [Step("first", ("data",))], [Sink("store", ("h2",), "first")]
    )
    found = planned(Network(devices, (Link("h1", "chip", rate=0), *around)), application, objective, method)
    assert found is not None
    assert found.solution.at["first"] != "full"
    assert ("h1", "chip") not in found.loads.links

"""`midflight steer`: scenarios of compute-aware forwarding, their files, policies, failures and workers."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from rich.console import Console

from midflight.cli.root import midflight
from midflight.cli.steerview import Standings, live_view
from midflight.errors import MidflightError
from midflight.testbed.steer import (
    OURS,
    SCENARIOS,
    Scenario,
    evaluate,
    load_scenario,
    local_cluster,
    parse_scenario,
    report,
    shipped,
    sweep,
)
from midflight.testbed.steer.scenario import Failure

SMALL = """\
name: small
load: 0.6
duration: 300ms
warmup: 50ms
classes:
  task: {slo: 20ms, request: 1kB, reply: 1kB, cv2: 1}
ingresses:
  gate: {count: 2, at: [0, 0], step: [1, 0], weight: [2, 1]}
sites:
  edge: {count: 2, at: [0, 0], step: [1, 0], access: 100us}
  cloud: {at: [200, 0], access: 1ms, carbon: 50}
instances:
  - {name: box, site: edge, count: 2, serves: {task: 2ms}, servers: 2}
  - {name: vm, site: cloud, serves: {task: 1ms}, servers: 4}
metrics: {interval: 10ms, delay: 1ms, round: 20ms, detect: 5ms}
"""


def small(**changes: Any) -> Scenario:
    return replace(parse_scenario(SMALL, "small.yaml"), **changes)


def brief(name: str, seconds: float, warmup: float, load: float = 0.7, stale: float = 0.0) -> Scenario:
    found = parse_scenario(shipped(name), f"{name}.yaml")
    return replace(found, seconds=seconds, warmup=warmup, load=load, metrics=replace(found.metrics, stale=stale))


@pytest.mark.parametrize("name", SCENARIOS)
def test_each_shipped_scenario_is_valid_and_can_be_copied(name: str, tmp_path: Path) -> None:
    copied = tmp_path / "copy.yaml"
    copied.write_text(CliRunner().invoke(midflight, ["steer", name, "--print-yaml"]).output)
    assert load_scenario(copied) == parse_scenario(shipped(name))
    assert load_scenario(copied).name == name


def test_a_line_of_a_file_stands_for_many_nodes() -> None:
    found = small()
    assert [each.name for each in found.ingresses] == ["gate1", "gate2"]
    assert [each.name for each in found.sites] == ["edge1", "edge2", "cloud"]
    assert [each.name for each in found.instances] == [
        "box.edge1.1", "box.edge1.2", "box.edge2.1", "box.edge2.2", "vm.cloud.1",
    ]  # fmt: skip
    assert found.classes[0].slo == 20_000.0
    assert found.sites[1].x == 1.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("slo: 20ms", "slo: 20", "small.yaml:6:15: '20' is not a time"),
        ("slo: 20ms, ", "", "class task needs a service level objective"),
        ("site: cloud", "site: moon", "small.yaml:14:22: there is no site moon"),
        ("servers: 4", "speed: 4", "an instance has no 'speed'"),
        ("weight: [2, 1]", "weight: [2]", "1 weights are given for 2 ingresses"),
        ("serves: {task: 1ms}", "serves: {job: 1ms}", "small.yaml:14:38: there is no class job"),
        ("warmup: 50ms", "warmup: 1s", "small.yaml:4:9: a warmup of 1 s is not shorter than the duration of 0.3 s"),
        ("load: 0.6", "load: 5", "small.yaml:2:7: a load from 0.01 to 2 is expected here, not 5"),
        ("name: small\n", "", "a scenario needs name"),
        ("interval: 10ms", "interval: 0ms", "small.yaml:15:21: '0ms' is not positive"),
        ("interval: 10ms", "interval: 1ns", "interval and round of the metrics take at least 1 ms"),
        ("round: 20ms", "round: 0ms", "small.yaml:15:46: '0ms' is not positive"),
        ("access: 1ms", "access: 1ms, rate: 0bit", "small.yaml:11:44: '0bit' is not positive"),
        (
            "metrics:",
            "failures: [{name: cloud, start: 2ms, end: 1ms}]\nmetrics:",
            "small.yaml:15:12: a surge or failure",
        ),
        (
            "metrics:",
            "failures: [{name: moon, start: 1ms, end: 2ms}]\nmetrics:",
            "small.yaml:15:12: there is no site, instance",
        ),
        (
            "metrics:",
            "surges: [{service: x, start: 1ms, end: 2ms, factor: 2}]\nmetrics:",
            "small.yaml:15:10: there is no",
        ),
    ],
)
def test_mistakes_in_a_file_are_reported_with_their_place(old: str, new: str, message: str) -> None:
    with pytest.raises(MidflightError) as error:
        parse_scenario(SMALL.replace(old, new), "small.yaml")
    assert message in str(error.value)
    assert str(error.value).startswith("small.yaml:")


@pytest.mark.parametrize("option", ["--load", "--stale"])
def test_options_that_are_no_numbers_are_refused(option: str) -> None:
    done = CliRunner().invoke(midflight, ["steer", "factory", option, "nan"])
    assert (done.exit_code, "nan is not a finite number" in done.output) == (2, True)


def test_the_patience_of_place_is_a_finite_number() -> None:
    done = CliRunner().invoke(midflight, ["place", "app.yaml", "--topology", "net.yaml", "--patience", "nan"])
    assert (done.exit_code, "nan is not a finite number" in done.output) == (2, True)


def test_an_unknown_policy_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="none of ours"):
        evaluate(small(), 0, "none of ours")


def test_a_scenario_of_too_many_requests_is_refused() -> None:
    with pytest.raises(MidflightError, match="at most 20,000,000 requests"):
        evaluate(small(seconds=1e5), 0, "nearest")


def test_when_all_instances_die_requests_wait_until_one_is_back() -> None:
    failures = tuple(Failure(name, 100_000.0, 150_000.0) for name in ("edge1", "edge2", "cloud"))
    for policy in ("nearest", "jbsq2", "oracle", "hybrid"):
        assert evaluate(small(failures=failures), 0, policy).lost == 0, policy


def test_the_same_seed_gives_the_same_figures_and_another_one_others() -> None:
    first, again, other = (evaluate(small(), seed, "hybrid") for seed in (1, 1, 2))
    assert asdict(first) == asdict(again)
    assert first.p99_us != other.p99_us


def test_every_policy_answers_every_request() -> None:
    found = report(small(), [0], sweep(small(), [0]))
    policies: dict[str, Any] = found["policies"]  # type: ignore[assignment]
    assert {each["lost"] for each in policies.values()} == {0}
    assert len({each["requests"] for each in policies.values()}) == 1, "all see the same requests"
    assert policies["oracle"]["p99_us"] == min(each["p99_us"] for each in policies.values())


@pytest.mark.parametrize(("name", "seconds", "warmup"), [("factory", 0.6, 0.3), ("cloudvr", 1.2, 0.5)])
def test_at_70_percent_load_the_tail_is_within_10_percent_of_the_oracle(
    name: str, seconds: float, warmup: float
) -> None:
    scenario = brief(name, seconds, warmup)
    names = ("nearest", "power_of_two", "jbsq2", "optimum", "oracle", "hybrid")
    p99 = {each: figures[0].p99_us for each, figures in sweep(scenario, [0], names).items()}
    assert p99["hybrid"] < 1.1 * p99["oracle"]
    assert p99["hybrid"] < min(p99[each] for each in ("nearest", "power_of_two", "jbsq2", "optimum"))


def test_at_90_percent_load_with_half_of_the_metrics_a_second_stale_it_beats_the_baselines() -> None:
    scenario = brief("cloudvr", 1.8, 0.8, load=0.9, stale=0.5)
    names = ("nearest", "power_of_two", "jbsq2", "optimum", "hybrid")
    p99 = {each: figures[0].p99_us for each, figures in sweep(scenario, [0], names).items()}
    assert p99["hybrid"] < min(p99[each] for each in names[:-1])


def test_no_policy_of_ours_is_worse_than_nearest_at_low_load_either() -> None:
    found = sweep(small(load=0.05, seconds=1.5), [0], ("nearest", *OURS))
    for each in OURS:
        assert found[each][0].p99_us <= 1.02 * found["nearest"][0].p99_us, each


def test_green_weights_save_carbon_at_the_same_service_level() -> None:
    scenario = brief("green", 1.0, 0.4, load=0.5)
    frugal = evaluate(scenario, 0, "hybrid")
    careless = evaluate(replace(scenario, carbon_price=0.0), 0, "hybrid")
    assert frugal.grams < 0.8 * careless.grams
    assert frugal.slo_misses <= frugal.requests // 1000


def test_a_full_switch_forwards_to_a_server_and_loses_nothing() -> None:
    found = evaluate(brief("contention", 0.04, 0.01), 0, "hybrid")
    assert found.refused > 100
    assert found.lost == 0
    assert found.slo_misses < 0.01 * found.requests, "refused requests are neither work nor demand"


def test_sessions_stay_unless_their_deadline_is_about_to_be_missed() -> None:
    scenario = brief("v2x", 1.2, 0.4, load=0.6)
    near = evaluate(scenario, 0, "nearest")
    found = evaluate(scenario, 0, "hybrid")
    assert near.moved == 0
    assert found.moved < 0.02 * found.requests
    assert found.slo_misses < near.slo_misses


@pytest.mark.parametrize("policy", ["nearest", "jbsq2", "oracle", "hybrid", "distributed"])
@pytest.mark.parametrize("victim", ["box.edge1.1", "edge1"])
def test_when_an_instance_or_a_site_dies_nothing_is_lost(policy: str, victim: str) -> None:
    found = evaluate(small(failures=(Failure(victim, 100_000.0, 200_000.0),), load=0.4), 0, policy)
    assert found.lost == 0
    assert found.retried > 0
    assert (found.steered_away or 0.0) <= 5_000.0, "after the detection time nobody sends there"


@pytest.mark.parametrize("policy", ["nearest", "jbsq2", "oracle", "hybrid", "distributed"])
@pytest.mark.parametrize("victim", ["gate1", "gate1 edge1"])
def test_when_a_forwarder_or_a_path_dies_requests_take_another_one(policy: str, victim: str) -> None:
    found = evaluate(small(failures=(Failure(victim, 100_000.0, 200_000.0),), load=0.4), 0, policy)
    assert found.lost == 0
    assert found.retried > 0
    assert (found.steered_away or 0.0) <= 5_000.0, "the detection time"


def test_when_the_controller_dies_plans_stay_and_nothing_is_lost() -> None:
    failures = (Failure("controller", 100_000.0, 300_000.0),)
    for policy in ("centralised", "hybrid"):
        whole, found = (evaluate(small(failures=each, load=0.5), 0, policy) for each in ((), failures))
        assert (found.lost, found.retried) == (0, 0)
        assert found.p99_us != whole.p99_us, "rounds are missing"
        assert found.p99_us < 3 * whole.p99_us
    whole, found = (evaluate(small(failures=each), 0, "distributed") for each in ((), failures))
    assert asdict(found) == asdict(whole), "each ingress has its own path selector"


def test_results_do_not_depend_on_workers_even_if_one_is_killed() -> None:
    scenario, names = small(), ("nearest", "hybrid", "oracle")
    alone = sweep(scenario, [0, 1], names)
    with local_cluster(2) as client:
        pids = sorted(client.run(os.getpid).values())
        killed: list[int] = []

        def progress(done: int, total: int, what: str) -> None:
            if not killed:
                killed.append(pids[0])
                os.kill(pids[0], signal.SIGKILL)

        assert sweep(scenario, [0, 1], names, client=client, progress=progress) == alone
    assert killed


def test_an_interrupt_ends_the_workers_without_their_tracebacks() -> None:
    script = (
        "import os, signal, sys\n"
        "from midflight.testbed.steer import local_cluster, parse_scenario, shipped, sweep\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # which background jobs begin without\n"
        "try:\n"
        "    with local_cluster(2) as client:\n"
        "        sweep(parse_scenario(shipped('v2x')), range(4), ['nearest', 'random'], client=client,\n"
        "              progress=lambda *_: os.killpg(0, signal.SIGINT))\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], start_new_session=True, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (130, "")


def test_a_folder_as_the_output_is_refused_before_the_run(tmp_path: Path) -> None:
    done = CliRunner().invoke(midflight, ["steer", "factory", "--json", str(tmp_path)])
    assert (done.exit_code, "is a directory" in done.output) == (1, True)


def test_the_command_writes_json_with_every_policy(tmp_path: Path) -> None:
    file, out = tmp_path / "small.yaml", tmp_path / "out.json"
    file.write_text(SMALL)
    page = tmp_path / "out.html"
    arguments = ["steer", "factory", str(file), "--seeds", "2", "--json", str(out), "--html", str(page)]
    done = CliRunner().invoke(midflight, arguments)
    assert done.exit_code == 0, done.output
    assert "hybrid *" in done.output
    found = json.loads(out.read_text())
    assert found["scenario"] == "small"
    assert "oracle" in found["policies"]
    for each in found["policies"].values():
        assert {"p50_us", "p99_us", "slo_misses", "moved", "bytes", "joules", "grams", "p99_us_ci"} <= each.keys()
    check_page(page.read_text(), found)


def check_page(text: str, results: dict[str, Any]) -> None:
    """Check that the report shows every policy in every plot, is well-formed, and loads nothing from elsewhere."""
    tree = ElementTree.fromstring(text.removeprefix("<!doctype html>").replace("<meta charset='utf-8'>", ""))
    assert not re.search(r"src=|href=|url\(|@import", text)
    plots = tree.findall(".//svg")
    assert len(plots) == 3
    for plot in (plots[0], plots[2]):
        assert {each.text for each in plot.findall("text")} >= results["policies"].keys()
    curves = plots[1].findall("polyline")
    assert sorted(each.findtext("title", "") for each in curves) == sorted(results["policies"])
    assert [row.findtext("td") for row in tree.findall(".//tr")[1:]] == [*results["policies"]]


def test_an_unknown_policy_is_an_error() -> None:
    with pytest.raises(MidflightError, match="no policy best"):
        sweep(small(), [0], ["best"])


def test_a_terminal_shows_the_policies_while_seeds_are_simulated() -> None:
    text = StringIO()
    console = Console(file=text, force_terminal=True, width=80)
    with live_view(console, ("nearest", "hybrid"), 2) as arrived:
        sweep(small(), [0, 1], ("nearest", "hybrid"), arrived=arrived)
    shown = text.getvalue()
    assert "Simulated 0 of 4" in shown
    assert "Simulated 3 of 4" in shown
    assert "Simulated 4 of 4" in shown
    assert "0/2" in shown
    assert "2/2" in shown


def test_the_best_policy_so_far_is_marked() -> None:
    found = sweep(small(), [0], ("nearest", "hybrid"))
    console = Console(file=StringIO(), force_terminal=True, width=80)
    standings = Standings(("nearest", "hybrid", "oracle"), 1)
    for name, figures in found.items():
        standings.add(name, figures[0])
    rows = standings.table(console).rows
    assert [bool(each.style) for each in rows] == [False, True, False]


def test_nothing_is_shown_without_a_terminal() -> None:
    text = StringIO()
    with live_view(Console(file=text), ("nearest",), 1) as arrived:
        arrived("nearest", evaluate(small(), 0, "nearest"))
    assert text.getvalue() == ""

"""The path selector: weights from records, dead instances, what holds when updates stop, and its commands' parts."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

import pytest

from midflight.errors import MidflightError
from midflight.runtime.steering.agents.reflector import Reflector
from midflight.runtime.steering.cps.health import HealthProbes
from midflight.runtime.steering.cps.liveness import Liveness
from midflight.runtime.steering.cps.rounds import Rounds, Served, ServedClass, ServedInstance
from midflight.runtime.steering.cps.selector import PATHS, PROBE, PathSelector
from midflight.runtime.steering.metrics import RawMetric, Update, raw

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
CS_ID = "10.9.0.1"
NAMES = {"h2": "10.0.0.2", "h3": "10.0.0.3", "h4": "10.0.0.4"}


class Network:
    """A controller with one service on h2, h3 and h4, which counts 300 requests a second.

    With `classed`, requests of its class "urgent" go to h4.
    """

    def __init__(self) -> None:
        self.weights: dict[str, float] = dict.fromkeys(NAMES, 1.0)
        self.valid: float | None = None
        self.writes = 0
        self.requests = dict.fromkeys(NAMES, 0)
        self.reachable = dict.fromkeys(NAMES, True)
        self.drained = ""
        self.switch = ""
        self.classed = False
        self.urgent: dict[str, float] = {"h4": 1.0}

    def served(self, switch: str = "") -> Sequence[Served]:
        self.switch = switch
        urgent = self._instances(self.urgent | {"h4": self.urgent.get("h4", 0.0)}, {"h4": 1.0})
        classes = (ServedClass("urgent", urgent),) if self.classed else ()
        return [Served("vision", CS_ID, self._instances(self.weights, dict.fromkeys(NAMES, 1.0)), classes)]

    def _instances(self, weights: Mapping[str, float], static: Mapping[str, float]) -> tuple[ServedInstance, ...]:
        return tuple(
            ServedInstance(
                name,
                NAMES[name],
                static.get(name, 0.0),
                weights.get(name, 0.0),
                0.001,
                self.reachable[name],
                self.requests[name],
                name == self.drained,
            )
            for name in dict.fromkeys((*static, *weights))
        )

    def weigh(
        self,
        service: str,
        weights: Mapping[str, float],
        *,
        traffic_class: str = "",
        switch: str = "",
        valid: float | None = None,
        computed: bool = False,
    ) -> int:
        assert (service, switch, computed) == ("vision", self.switch, True)
        self.valid = valid
        self.writes += 1
        if traffic_class:
            assert traffic_class == "urgent"
            self.urgent = dict(weights)
        else:
            self.weights = dict(weights)
        return 1


class Story:
    """A path selector on a network, second by second; agents of the named hosts send an update in each second."""

    def __init__(self, switch: str = "") -> None:
        self.network, self.selector = Network(), PathSelector(3 * SECOND)
        self.rounds = Rounds(self.selector, self.network, switch=switch, valid=5.0)
        self.now, self.number = NOW, 0
        self.heard = list(NAMES)
        self.time = dict.fromkeys(NAMES, 0.01)
        self.source, self.dead = "", dict[str, str]()

    def update(self, name: str, *more: RawMetric, cs_id: str = CS_ID) -> Update:
        self.number += 1
        return Update(cs_id, NAMES[name], self.number, self.now, 4 * SECOND, raw=more)

    def play(self, seconds: int) -> dict[str, float]:
        for _ in range(seconds):
            self.now += SECOND
            for name in self.heard:
                times = raw("service_available", 1), raw("service_time", self.time[name])
                assert self.selector.accept(self.update(name, *times), self.now)
            for name, weight in self.network.weights.items():
                self.network.requests[name] += round(300 * weight / sum(self.network.weights.values()))
            made = self.rounds.round(self.now)["vision"]
            self.source, self.dead = made.source, dict(made.dead)
        return self.network.weights


@pytest.mark.parametrize("switch", ["", "s1"])
def test_slower_instances_get_less_in_each_deployment(switch: str) -> None:
    story = Story(switch)
    story.time["h3"] = 0.03
    weights = story.play(12)
    assert weights["h3"] < 0.6 * weights["h2"]
    assert story.source == "measured"
    before, writes = dict(weights), story.network.writes
    assert story.play(4) == pytest.approx(before, abs=0.02), "it settles"
    assert story.network.writes - writes <= 4


def test_a_dead_instance_gets_nothing_after_one_detection_time() -> None:
    story = Story()
    story.play(5)
    story.heard.remove("h3")
    assert story.play(3)["h3"] > 0
    assert "h3" not in story.play(1), "the detection time is 3 seconds"
    assert story.dead == {"10.0.0.3": "no update for 3 s"}
    story.heard.append("h3")
    assert story.play(1)["h3"] > 0, "it is back"


def test_a_dead_instance_gets_no_requests_of_a_class() -> None:
    story = Story()
    story.network.classed, story.network.urgent = True, {"h4": 1.0}
    story.play(3)
    assert story.network.urgent == {"h4": 1.0}
    story.heard.remove("h4")
    story.play(4)
    assert story.network.urgent.keys() == story.network.weights.keys() == {"h2", "h3"}, "the service's others stand in"
    story.heard.append("h4")
    story.play(1)
    assert story.network.urgent == {"h4": 1.0}, "it is back, and the others have no part in the class"
    assert story.network.weights.keys() == {"h2", "h3", "h4"}


def test_a_class_whose_instance_says_that_it_is_not_available_gets_the_others() -> None:
    story = Story()
    story.network.classed = True
    story.play(3)
    story.heard.remove("h4")
    for _ in range(2):
        story.selector.accept(story.update("h4", raw("service_available", 0)), story.now)
        story.play(1)
    assert story.network.urgent.get("h4", 0.0) == 0.0
    assert min(story.network.urgent[name] for name in ("h2", "h3")) > 0


def test_the_weights_of_a_class_are_extended_too() -> None:
    story = Story()
    story.network.classed = True
    story.play(8)
    writes = story.network.writes
    story.play(6)
    assert story.network.writes >= writes + 4


def test_when_all_updates_stop_the_last_good_weights_hold_and_then_static_ones() -> None:
    story = Story()
    story.time["h3"] = 0.03
    good = dict(story.play(12))
    story.heard.clear()
    assert story.play(5) == pytest.approx(good, abs=0.05)
    assert story.source == "last good"
    after = story.play(9)
    assert story.source == "static"
    assert after == pytest.approx(dict.fromkeys(NAMES, 1 / 3))


def test_there_is_never_no_instance() -> None:
    story = Story()
    story.heard.clear()
    story.network.reachable = dict.fromkeys(NAMES, False)
    assert sum(story.play(3).values()) == pytest.approx(1.0)


def test_unreachable_instances_and_paths_without_answers_get_nothing() -> None:
    story = Story()
    story.play(3)
    story.network.reachable["h2"] = False
    assert "h2" not in story.play(1)
    story.selector.accept(story.update("h4", raw("network_loss", 1.0), cs_id=PATHS), story.now)
    assert story.play(1) == {"h3": 1.0}
    path = story.update("h4", raw("network_loss", 0.0), raw("network_delay", 0.2), cs_id=PATHS)
    story.now += 13 * SECOND
    story.selector.accept(replace(path, sequence=9_999), story.now)
    weights = story.play(2)
    assert 0 < weights["h4"] < weights["h3"], "a longer way"


def test_weights_are_extended_before_they_expire() -> None:
    story = Story()
    story.play(12)
    writes = story.network.writes
    story.play(6)
    assert story.network.writes >= writes + 2
    assert story.network.valid == 5.0


def test_signs_of_each_kind_are_needed_once_one_has_come() -> None:
    liveness = Liveness(10)
    liveness.sign("a", "update", 0)
    assert liveness.dead(["a", "b"], 10) == {}
    liveness.sign("a", "answer", 10)
    assert liveness.dead(["a"], 15) == {"a": "no update for 1e-08 s"}
    liveness.keep([])
    assert liveness.dead(["a"], 100) == {}
    with pytest.raises(MidflightError, match="detection time"):
        Liveness(0)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def test_probes_that_nobody_answers_contradict_a_claim(stack: ExitStack) -> None:
    reflector = stack.enter_context(Reflector(port=0))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        now = NOW
        selector = PathSelector(3 * SECOND)
        health = stack.enter_context(
            HealthProbes(
                {"10.0.0.2": reflector.address, "10.0.0.3": silent.getsockname()},
                selector.liveness,
                lambda: now,
                SECOND,
            )
        )
        for _ in range(5):
            health.poll()
            reflector.serve(1.0)
            now += SECOND
        health.poll()
    assert selector.measured("10.0.0.2") == {"service_comb": 10.0, "norm_fi": 10.0}
    assert selector.measured("10.0.0.3") == {"service_comb": 0.0, "norm_fi": 0.0}
    assert selector.measured("10.0.0.4") == {}
    assert selector.liveness.dead(NAMES.values(), now) == {"10.0.0.3": f"no {PROBE} for 3 s"}


def test_an_answer_to_a_probe_counts_when_it_arrives(stack: ExitStack) -> None:
    reflector = stack.enter_context(Reflector(port=0))
    now = NOW
    liveness = Liveness(3 * SECOND)
    health = stack.enter_context(HealthProbes({"10.0.0.2": reflector.address}, liveness, lambda: now, SECOND))
    health.poll()
    now += SECOND // 10
    assert reflector.serve(1.0)
    health.poll()  # before the next probe is due
    now = NOW + SECOND
    health.poll()
    assert reflector.serve(0.5), "the next probe"
    health.poll()
    now += SECOND // 2
    health.poll()
    assert not reflector.serve(0.0), "none is due"
    for _ in range(3):
        now += SECOND
        health.poll()
    assert liveness.dead(["10.0.0.2"], NOW + 4 * SECOND) == {}
    assert "10.0.0.2" in liveness.dead(["10.0.0.2"], NOW + 4 * SECOND + 1), "no round is lost"


def test_the_path_selector_gives_a_drained_instance_nothing() -> None:
    story = Story()
    assert min(story.play(3).values()) > 0
    story.network.drained = "h3"
    weights = story.play(3)
    assert (weights.get("h3", 0.0), min(weights["h2"], weights["h4"]) > 0) == (0.0, True)
    story.network.drained = ""
    assert story.play(5)["h3"] > 0

"""Tests of the lab "Compute-aware steering". The oracle keeps all reports, and decides from all of them each time."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from random import Random

from midflight.labs.bench import Bench, GradedTest, Incorrect, require
from midflight.labs.student import Object, StudentError

__all__ = ["TESTS"]

NAME = "selector.py"


@dataclass(frozen=True)
class Report:
    """A report of an instance. Numbers are eighths and such, which floats hold exactly."""

    instance: str
    measured: int
    network: float
    compute: float
    load: float
    draining: bool

    @property
    def cost(self) -> Fraction:
        """The cost of the instance, exactly."""
        return Fraction(self.network) + Fraction(self.compute) / (1 - Fraction(self.load))


class Oracle:
    """All reports and the instances of flows."""

    def __init__(self, stale: int, margin: float) -> None:
        self.stale, self.margin = stale, Fraction(margin)
        self.reports: list[Report] = []
        self.flows: dict[int, str] = {}

    def latest(self) -> dict[str, Report]:
        """Return the report that counts, for each instance."""
        found: dict[str, Report] = {}
        for each in sorted(self.reports, key=lambda each: -each.measured):
            found.setdefault(each.instance, each)
        return found

    def choose(self, now: int, flow: int) -> tuple[str | None, str]:
        """Return the instance of a flow, and what is known at this time."""
        latest = self.latest()
        usable = {name: each for name, each in latest.items() if now - each.measured <= self.stale and each.load < 0.95}
        ranked = sorted((each.cost, name) for name, each in usable.items() if not each.draining)
        best = ranked[0][1] if ranked else None
        own = self.flows.pop(flow, None)
        told = [
            f"    {name}: measured at {each.measured}{'' if name in usable else ' (stale or overloaded)'}, cost "
            f"{float(each.cost) if each.load < 1 else 'none'}, load {each.load}{', draining' if each.draining else ''}"
            for name, each in sorted(latest.items())
        ]
        state = f"flow {flow} has an instance, {own}" if own is not None else f"flow {flow} is new"
        if (
            own is not None
            and own in usable
            and (best is None or not usable[best].cost < (1 - self.margin) * usable[own].cost)
        ):
            best = own
        if best is not None:
            self.flows[flow] = best
        return best, "\n".join([state, *told])


class Course:
    """The student's selector beside the oracle."""

    def __init__(self, bench: Bench, stale: int = 1000, margin: float = 0.25) -> None:
        self.random: Random = bench.random
        self.oracle = Oracle(stale, margin)
        self.notes: list[str] = []
        self.selector: Object = bench.student(NAME).new("Selector", stale, margin)

    def report(self, now: int, report: Report, note: str = "") -> None:
        """Pass a report on."""
        if note:
            self.notes = [*self.notes[-3:], f"    at {now}, {note} of {report.instance}, measured at {report.measured}"]
        self.oracle.reports.append(report)
        self._call("report", now, report.instance, report.measured, report.network, report.compute, report.load,
                   report.draining)  # fmt: skip

    def choose(self, now: int, flow: int) -> None:
        """Let both choose, and compare."""
        have = self._call("choose", now, flow)
        wanted, state = self.oracle.choose(now, flow)
        reason = f"at {now} ms, the instance is {have!r:.60}, must be {wanted!r}; {state}"
        require(have == wanted and type(have) is type(wanted), "\n".join([reason, *self.notes]))

    def _call(self, name: str, *arguments: object) -> object:
        try:
            result: object = self.selector.call(name, *arguments)
        except StudentError as error:
            raise Incorrect(f"{name}{arguments} fails: {error}") from None
        return result


def draw_report(random: Random, instance: str, measured: int, *, draining: float = 0.0, full: float = 0.0) -> Report:
    """Return a random report."""
    load = random.choice([0.95, 0.96875, 1.0]) if random.random() < full else random.randrange(0, 60) / 64
    return Report(instance, measured, random.randrange(1, 400) / 8, random.randrange(8, 200) / 8, load,
                  random.random() < draining)  # fmt: skip


def costs(bench: Bench) -> None:
    """New flows go to the lowest cost."""
    for _ in range(6):
        course = Course(bench)
        for name in "cabed":
            course.report(0, draw_report(bench.random, name, 0))
        for flow in range(4):
            course.choose(10, flow)
    course = Course(bench)
    for name in ("d", "b", "c"):
        course.report(0, Report(name, 0, 8.0, 4.0, 0.5, False))
    for flow in range(3):
        course.choose(1, flow)


def ages(bench: Bench) -> None:
    """Reports out of order, stale metrics, overload."""
    random, course, now = bench.random, Course(bench, stale=500), 1000
    for number in range(150):
        now += random.choice([0, 10, 60, 250])
        name = random.choice("abcd")
        if random.random() < 0.6:
            latest = course.oracle.latest().get(name)
            kind = random.choice(["a report", "a report", "an older report", "a report with the same time"])
            measured = now - random.randrange(0, 80)
            if latest is not None and kind != "a report":
                measured = latest.measured - (random.randrange(1, 90) if kind == "an older report" else 0)
            course.report(now, draw_report(random, name, max(0, measured), full=0.25), kind)
        course.choose(now, number)
    measured = max(each.measured for each in course.oracle.latest().values())
    for offset in (499, 500, 501, 2000):
        course.choose(measured + offset, 1000 + offset)


def staying(bench: Bench) -> None:
    """Flows stay, and move for a large gain."""
    random, course, now = bench.random, Course(bench, margin=0.25), 0
    for number in range(160):
        now += random.choice([1, 20, 50])
        if number % 4 == 0:
            course.report(now, draw_report(random, random.choice("abc"), now))
        course.choose(now, random.randrange(6))


def draining(bench: Bench) -> None:
    """Instances that are about to stop."""
    random, course, now = bench.random, Course(bench), 0
    for number in range(160):
        now += random.choice([1, 20, 50])
        if number % 4 == 0:
            course.report(now, draw_report(random, random.choice("abc"), now, draining=0.45))
        course.choose(now, random.randrange(5))


def everything(bench: Bench) -> None:
    """All together."""
    random, course, now = bench.random, Course(bench, stale=400, margin=0.125), 0
    for _ in range(300):
        now += random.choice([1, 20, 90])
        if random.random() < 0.3:
            name = random.choice("abcde")
            course.report(now, draw_report(random, name, max(0, now - random.randrange(300)), draining=0.2, full=0.2))
        course.choose(now, random.randrange(8))


def steady(bench: Bench) -> None:
    """Forty flows and three equal instances whose load is what the flows cause: the margin keeps them from swinging."""
    course, moves = Course(bench, stale=5000, margin=0.5), 0
    homes: dict[int, str] = {}
    for step in range(12):
        now = step * 100
        for name in "abc":
            count = sum(each == name for each in homes.values())
            course.report(now, Report(name, now, 4.0, 8.0, min(count, 58) / 64, False))
        for flow in range(40):
            if flow // 4 > step:
                continue
            before = homes.get(flow)
            course.choose(now, flow)
            homes[flow] = course.oracle.flows[flow]
            moves += before is not None and before != homes[flow]
    require(moves <= 20, f"flows have moved {moves} times")


TESTS = [
    GradedTest("costs", 20, "New flows go to the instance with the lowest cost", costs),
    GradedTest("ages", 25, "Old reports, stale metrics and overload", ages),
    GradedTest("staying", 20, "Flows stay, unless the gain is large", staying),
    GradedTest("draining", 15, "Draining instances keep their flows and get no new ones", draining),
    GradedTest("everything", 15, "All rules together", everything),
    GradedTest("steady", 5, "Forty flows do not swing between instances", steady),
]

"""The path selector (C-PS): what agents report of instances and paths, and the weights that follow from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from midflight.runtime.steering.agents.board import Board, Entry, State
from midflight.runtime.steering.cps.liveness import Liveness
from midflight.runtime.steering.metrics.levels import BEST, LEVEL2, Category
from midflight.runtime.steering.metrics.update import Update
from midflight.runtime.steering.policies.selector import Described, Selection, choose_weights
from midflight.runtime.steering.policies.slowloop import Damping

__all__ = ["PATHS", "PROBE", "Decision", "PathSelector"]

PATHS = "::"
"""The CS-ID of updates about paths, which a C-NMA sends: they hold for all services of the instance."""

PROBE, UPDATE, PATH = "answer to a probe", "update", "path that works"


@dataclass(frozen=True, slots=True)
class Decision:
    """The weights of a service's instances after a round, by CSCI-ID; they sum to 1.

    `dead` says why instances get nothing. `source` says what the weights follow from: "measured"; "last good" if only
    stale updates are left, or if the last weights hold because everything seems dead; or "static" if there is no
    update, or no demand yet. `all_dead`
    says that no instance can serve, as far as is known. `classes` are the decisions for the service's traffic classes;
    there, the source is "service" if no instance of the class can serve, and the weights are those of the service.
    """

    weights: Mapping[str, float]
    dead: Mapping[str, str]
    source: str
    all_dead: bool = False
    classes: Mapping[str, Decision] = field(default_factory=dict)


class PathSelector:
    """Decides the weights of services from updates, round by round.

    `detect` is the detection time in nanoseconds: see `Liveness`. `damping` is that of the slow loop, and `board` keeps
    the updates; None is the default `Damping`, and an empty board. An instance that is found dead gets the weight 0. If
    all instances of a service seem dead, the selector assumes that it hears nothing itself, so their last weights hold;
    and when no update is valid any more, static weights do. So some instance always has a weight. MidflightError if
    `detect` is not positive.
    """

    def __init__(self, detect: int = 3_000_000_000, damping: Damping | None = None, board: Board | None = None) -> None:
        self.board = Board() if board is None else board
        """The latest updates, of services and, with the CS-ID `PATHS`, of paths."""
        self.liveness = Liveness(detect)
        """Which instances give signs of life."""
        self._damping = damping
        self._last: dict[tuple[str, str], tuple[Selection, Decision]] = {}

    def heard(self, update: Update, now: int) -> None:
        """Record the signs of life in an update that the board has accepted at `now`, in nanoseconds.

        An update about a path on which all probes are lost is evidence against the instance instead.
        """
        instance = update.csci_id
        if update.cs_id != PATHS:
            self.liveness.sign(instance, UPDATE, now)
        elif any(each.kind == "network_loss" and each.value >= 1 for each in update.raw):
            self.liveness.fail(instance, PATH, "no probe of its path is answered")
        else:
            self.liveness.sign(instance, PATH, now)

    def accept(self, update: Update, now: int) -> bool:
        """Keep an update on the board, and record its signs of life. Return whether the board keeps it.

        `now` is in nanoseconds of the selector's clock. An update that is not kept, as it is old or the board is full,
        is not a sign of life.
        """
        accepted = self.board.accept(update, now)
        if accepted:
            self.heard(update, now)
        return accepted

    def withdrawn(self, cs_id: str, csci_id: str) -> None:
        """Remove the update of an instance of which no path selector has a record any longer.

        The instance counts as dead until its next update.
        """
        self.board.remove(cs_id, csci_id)
        self.liveness.fail(csci_id, UPDATE, "its updates are withdrawn")

    def measured(self, instance: str) -> dict[str, float]:
        """Return the scores, 0 to 10, of an instance that follow from the selector's own probes, for `Verifier.check`.

        An instance that does not answer cannot serve, whatever it claims. Empty for one that was not probed.
        """
        answered = self.liveness.answered(instance, PROBE)
        return {} if answered is None else dict.fromkeys((str(Category.SERVICE), LEVEL2), BEST * answered)

    def decide(
        self,
        cs_id: str,
        instances: Sequence[Described],
        demand: float,
        now: int,
        unreachable: Collection[str] = (),
        *,
        traffic_class: str = "",
    ) -> Decision:
        """Return the weights of a service for a demand in requests a second, at `now`, in nanoseconds.

        `traffic_class` is the class of the requests, empty for those without one. `instances` describes all instances
        that they may go to, and `unreachable` are those to which no path leads, by CSCI-ID. These and dead ones get the
        weight 0. If all are dead or unreachable, the last weights hold while an update is left, and otherwise all
        instances are weighed as if they were alive. Errors are those of `choose_weights`: MidflightError if there are
        no instances or the optimum is not found, UnsupportedError if the extra `steer` is not installed and an update
        is left.
        """
        names = [each.csci_id for each in instances]
        dead = self.liveness.dead(names, now) | dict.fromkeys((n for n in names if n in unreachable), "unreachable")
        entries = {n: entry for n in names if (entry := self.board.entry(cs_id, n)) is not None}
        last = self._last.get((cs_id, traffic_class))
        alive = [each for each in instances if each.csci_id not in dead]
        if not alive and last is not None and any(each.state(now) is not State.GONE for each in entries.values()):
            return replace(last[1], dead=dead, source="last good", all_dead=True)
        described = [self._described(each, entries.get(each.csci_id), now) for each in alive or instances]
        made = choose_weights(described, entries, demand, now, last[0] if last else None, self._damping)
        fresh = State.FRESH in made.states.values()
        weights = {n: made.weights.get(n, 0.0) for n in names}
        source = "static" if made.static else "measured" if fresh else "last good"
        decision = Decision(weights, dead, source, all_dead=not alive or not made.available)
        self._last[cs_id, traffic_class] = made, decision
        return decision

    def forget(self, now: int, services: Collection[tuple[str, str]], instances: Collection[str]) -> None:
        """Remove updates that are gone at `now`, and all that is known of services and instances that no longer exist.

        Those that exist are `services`, by CS-ID and traffic class, the latter empty for requests without one, and
        `instances`, by CSCI-ID.
        """
        self.board.expire(now)
        self.liveness.keep(instances)
        self._last = {of: each for of, each in self._last.items() if of in services}

    def _described(self, given: Described, entry: Entry | None, now: int) -> Described:
        """Return a description with the delay that a C-NMA measured, and the servers that the service reports."""
        path = self.board.entry(PATHS, given.csci_id)
        if path is not None and path.state(now) is not State.GONE:
            for each in path.update.raw:
                if each.kind == "network_delay" and each.value >= 0:
                    given = replace(given, delay=2.0 * each.value)
        if entry is not None and entry.state(now) is not State.GONE:
            for each in entry.update.raw:
                if each.kind == "service_workers" and each.value > 0:
                    given = replace(given, servers=float(each.value))
        return given

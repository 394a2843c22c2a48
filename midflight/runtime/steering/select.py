"""The choice of a service contact instance (a switch or server that computes) together with the path to it.

This is the task of a CATS path selector, C-PS (RFC 10053).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from midflight.errors import MidflightError
from midflight.runtime.steering.graph import Graph, Path
from midflight.runtime.steering.metrics import Agent, Category, Metric, Report, combine, level2, path_readings

__all__ = ["Candidate", "Choice", "Policy", "Ranked", "candidates", "select"]


@dataclass(frozen=True, slots=True)
class Candidate:
    """An instance that may compute, identified by its CSCI-ID, with one path to it and the reports on both.

    `service` has the metrics of the instance, `network` those of the path.
    """

    csci_id: str
    path: Path
    service: Report
    network: Report

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The level 1 metrics of the candidate: those of its instance's report, then those of its path's."""
        return (*self.service.metrics.values(), *self.network.metrics.values())


@dataclass(frozen=True, slots=True)
class Policy:
    """An operator's policy for `select`. Times are in the unit of the reports and of the paths' delays.

    `weights` are the weights of the categories, 1 where none is given. Candidates whose path is longer than `max_delay`
    or whose metrics are older than `max_age` are excluded; None is no limit. A candidate with a score below
    `recommended` in a category is chosen only if all others have one, too, or are excluded. Traffic stays with its
    current instance and path until another one is ahead by more than `stickiness` points, so that small changes move no
    traffic (RFC 10054 asks for instance affinity and against oscillation). It leaves at once if its candidate is
    excluded, or is not recommended while another one is.
    """

    weights: Mapping[Category, int] = field(default_factory=dict)
    max_delay: int | None = None
    max_age: int | None = None
    recommended: int = 4
    stickiness: int = 0


@dataclass(frozen=True, slots=True)
class Ranked:
    """A candidate with its combined score, 0 to 10 and not rounded; `refusal` is why it is excluded, or empty.

    `recommended` is whether no category scores below `Policy.recommended`.
    """

    candidate: Candidate
    score: Fraction
    recommended: bool = True
    refusal: str = ""

    def __str__(self) -> str:
        each = self.candidate
        parts = ", ".join(f"{metric.kind.removesuffix('_comb')} {metric.value}" for metric in each.metrics)
        note = f"; ruled out: {self.refusal}" if self.refusal else "" if self.recommended else "; not recommended"
        return f"{each.csci_id} by {each.path}: score {float(self.score):.2f} ({parts}){note}"


@dataclass(frozen=True, slots=True)
class Choice:
    """The chosen candidate, its level 2 metric, the reason, and the ranking of all candidates."""

    candidate: Candidate
    metric: Metric
    reason: str
    ranking: tuple[Ranked, ...]

    def explain(self) -> str:
        """Return the choice and the ranking as text, one candidate a line."""
        first = f"{self.candidate.csci_id} by {self.candidate.path}: {self.reason}"
        return "\n".join([first, *(f"    {each}" for each in self.ranking)])


def candidates(
    graph: Graph,
    ingress: str,
    sites: Mapping[str, str],
    reports: Mapping[str, Report],
    agent: Agent,
    *,
    links: Mapping[tuple[str, str], Mapping[str, float]] | None = None,
    paths: int = 2,
    now: int = 0,
) -> tuple[Candidate, ...]:
    """Return the candidates for `select`: each instance with each of its up to `paths` shortest paths from `ingress`.

    `ingress` is the switch at which traffic enters. `sites` has the node of each instance, by CSCI-ID, and `reports`
    the latest report on it; an instance without a report is not a candidate. `agent` scores each path from the readings
    of its links, which `links` gives by pair of nodes; None is idle and lossless links. `now` is the time of the path's
    reports, in the unit of `Report.at`. MidflightError if a node is unknown, or if a reading that `agent` scores is
    missing.
    """
    return tuple(
        Candidate(csci_id, path, reports[csci_id], agent.report(str(path), path_readings(path, links or {}), now))
        for csci_id, site in sites.items()
        if csci_id in reports
        for path in graph.paths(ingress, site, paths)
    )


def select(
    offered: Iterable[Candidate],
    policy: Policy | None = None,
    *,
    current: tuple[str, tuple[str, ...]] | None = None,
    now: int = 0,
) -> Choice:
    """Return the best candidate: of the recommended ones, or else of all, the one with the highest combined score.

    `policy` excludes and weighs candidates; None is the default `Policy`. Ties go to the smaller delay, then to fewer
    links, then to the smaller CSCI-ID and node names, so the order of `offered` does not matter. `current` is the
    CSCI-ID and the nodes of the path that the traffic uses now, or None. `now` is the time from which the age of
    metrics is computed. MidflightError, with all reasons, if no candidate remains; and if one has no metrics, or
    its metrics have no positive total weight.
    """
    policy = policy or Policy()
    ranking = tuple(sorted((_rank(each, policy, now) for each in offered), key=_order))
    left = [each for each in ranking if not each.refusal]
    if not left:
        reasons = "; ".join(f"{each.candidate.csci_id}: {each.refusal}" for each in ranking)
        raise MidflightError("no service contact instance can be chosen", hint=reasons or "there are no candidates")
    best, reason = left[0], "highest score"
    if len(left) > 1 and left[1].score == best.score and left[1].recommended == best.recommended:
        reason = "highest score; the tie is broken by the smaller delay, length or name"
    for each in left:
        if (each.candidate.csci_id, each.candidate.path.nodes) == current and each is not best:
            lead = best.score - each.score
            if each.recommended == best.recommended and lead <= policy.stickiness:
                best, reason = each, f"kept, because the best is ahead by only {float(lead):.2f}"
            break
    metric = level2(best.candidate.metrics, policy.weights)
    return Choice(
        best.candidate, metric, reason if best.recommended else f"{reason}, although not recommended", ranking
    )


def _rank(candidate: Candidate, policy: Policy, now: int) -> Ranked:
    refusal = ""
    age = now - min(candidate.service.at, candidate.network.at)
    if policy.max_age is not None and age > policy.max_age:
        refusal = f"its metrics are {age} old, at most {policy.max_age} allowed"
    elif policy.max_delay is not None and candidate.path.delay > policy.max_delay:
        refusal = f"its delay is {candidate.path.delay}, at most {policy.max_delay} allowed"
    recommended = all(each.value >= policy.recommended for each in candidate.metrics)
    return Ranked(candidate, combine(candidate.metrics, policy.weights), recommended, refusal)


def _order(ranked: Ranked) -> tuple[bool, bool, Fraction, int, int, str, tuple[str, ...]]:
    path = ranked.candidate.path
    return (
        bool(ranked.refusal),
        not ranked.recommended,
        -ranked.score,
        path.delay,
        len(path.nodes),
        ranked.candidate.csci_id,
        path.nodes,
    )

"""The conformance subject of `Tree`: parameters to try, random requests, and its oracle's answers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random
from typing import Any

from midflight.primitives import Tree, Verdict
from midflight.primitives.oracles.tree import label
from midflight.testbed.conformance.network import MEMBERS, SERVER
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject

__all__ = ["SUBJECT"]


def _grown(seed: int, depth: int, features: int, classes: int, top: int) -> dict[str, Any]:
    """Return a tree of random tests, some of which ask again what is known already."""
    random = Random(seed)
    tree: dict[str, list[Any]] = {name: [] for name in ("feature", "threshold", "left", "right", "votes")}

    def grow(left: int) -> int:
        node = len(tree["left"])
        inner = left > 0 and random.random() < 0.9
        tree["feature"].append(random.randrange(features) if inner else -1)
        tree["threshold"].append(random.choice((random.randint(0, top), 0, top - 1, top // 2)) if inner else 0)
        tree["left"].append(-1)
        tree["right"].append(-1)
        tree["votes"].append([random.choice((0, 1, 255, random.randint(0, 255))) for _ in range(classes)])
        if inner:
            tree["left"][node] = grow(left - 1)
            tree["right"][node] = grow(left - 1)
        return node

    grow(depth)
    return tree


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield features next to the thresholds, at the edges, and anywhere."""
    top = 2 ** parameters["width"] - 1
    near = sorted({each + off for tree in parameters["trees"] for each in tree["threshold"] for off in (0, 1)})
    for sequence in range(random.randint(10, 30)):
        values = [
            min(top, random.choice((random.choice(near), 0, top, random.randint(0, top))))
            for _ in range(parameters["features"])
        ]
        fields = {"label": random.randint(0, 255), "votes": random.randint(0, 999), "values": values}
        yield Request(random.choice((*MEMBERS, SERVER)), sequence, fields)


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    answers = []
    for each in requests:
        chosen, votes = label(parameters["trees"], each.fields["values"])
        answers.append(Answer(Verdict.FORWARD, {**each.fields, "label": chosen, "votes": votes}))
    return answers


SUBJECT = Subject(
    primitive=Tree,
    parameters=(
        {"trees": [_grown(1, 4, 3, 3, 200)], "features": 3, "classes": 3, "width": 8},
        {"trees": [_grown(seed, 3, 2, 2, 60000) for seed in (2, 3, 4)], "features": 3, "classes": 2},
        {"trees": [_grown(5, 3, 1, 4, 2**32 - 1), _grown(6, 0, 1, 4, 1)], "features": 1, "classes": 4, "width": 32},
    ),
    requests=_requests,
    oracle=_oracle,
    equivalent={
        "if self.asked[feature]: -> if True:": "the table of a feature that no tree asks for gives no bits",
        "range(1, self.classes) -> range(0, self.classes)": "no class has more votes than itself",
        "self.leaves[tree].get(code, 0) -> self.leaves[tree].get(code, 1)": "every code comes to a leaf",
        "self.codes[feature].get(wire.values[feature], 0) -> self.codes[feature].get(wire.values[feature], 1)": (
            "every value is in a range"
        ),
    },
)

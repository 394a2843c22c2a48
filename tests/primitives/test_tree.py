"""Tree: invalid parameters, and predictions like those of the scikit-learn model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from midflight.errors import KernelError
from midflight.primitives import REQUEST, Message, Tree

STUMP: dict[str, list[Any]] = {
    "feature": [0, -1, -1],
    "threshold": [80, 0, 0],
    "left": [1, -1, -1],
    "right": [2, -1, -1],
    "votes": [[0, 0], [1, 0], [0, 1]],
}


@pytest.mark.parametrize(
    ("wrong", "reported"),
    [
        ({"features": 33}, "features must be 1 to 32, not 33"),
        ({"classes": 1}, "classes must be 2 to 16, not 1"),
        ({"width": 0}, "width must be 1 to 32, not 0"),
        ({"trees": []}, "trees must be a list of 1 to 16 trees"),
        ({"trees": STUMP}, "trees must be a list of 1 to 16 trees"),
        (
            {"trees": [STUMP, {"feature": [0]}]},
            "tree 1: a tree must be a dict of arrays of equal length: feature, threshold",
        ),
        ({"trees": [{name: [] for name in STUMP}]}, "tree 0: it has no nodes"),
        ({"trees": [STUMP | {"votes": [[0, 0], [1], [0, 1]]}]}, "leaf 1 must have 2 votes of 0 to 255"),
        ({"trees": [STUMP | {"votes": [[0, 0], [1, 0], [0, 256]]}]}, "leaf 2 must have 2 votes of 0 to 255"),
        ({"trees": [STUMP | {"right": [0, -1, -1]}]}, "the children of node 0 must come after it"),
        ({"trees": [STUMP | {"right": [3, -1, -1]}]}, "the children of node 0 must come after it"),
        ({"trees": [STUMP | {"feature": [1, -1, -1]}]}, "node 0 tests feature 1, but there are 1"),
        ({"trees": [STUMP | {"threshold": [0.5, 0, 0]}]}, "the threshold of node 0 must be an integer, not 0.5"),
    ],
)
def test_parameters_out_of_range_are_rejected(wrong: dict[str, Any], reported: str) -> None:
    with pytest.raises(KernelError, match=reported):
        Tree("alarm", **dict[str, Any]({"trees": [STUMP], "features": 1, "classes": 2} | wrong))


def test_too_many_thresholds_are_rejected() -> None:
    stumps = [STUMP | {"threshold": [number, 0, 0]} for number in range(16)]
    assert Tree("alarm", trees=stumps, features=1, classes=2).code_width == 16
    chain: dict[str, list[Any]] = {name: [] for name in STUMP}
    for number in range(257):
        for name, value in zip(STUMP, (0, number, 2 * number + 1, 2 * number + 2, [0, 0]), strict=True):
            chain[name] += [value, {"feature": -1, "threshold": 0, "votes": [1, 0]}.get(name, -1)]
    for name, value in zip(STUMP, (-1, 0, -1, -1, [0, 1]), strict=True):
        chain[name].append(value)
    with pytest.raises(KernelError, match="257 thresholds exceed the limit of 256"):
        Tree("alarm", trees=[chain], features=1, classes=2)


def answers(tree: Tree, rows: Any) -> list[int]:
    reference = tree.reference()
    outcomes = [
        reference.process(Message(REQUEST, "model", 0, {"label": 0, "votes": 0, "values": row}))
        for row in rows.tolist()
    ]
    return [int(np.asarray(each.message.fields["label"])) for each in outcomes]


@pytest.mark.parametrize("kind", ["tree", "shallow tree", "forest"])
def test_a_tree_predicts_like_the_fitted_model(kind: str) -> None:
    ensemble, tree = pytest.importorskip("sklearn.ensemble"), pytest.importorskip("sklearn.tree")
    random = np.random.default_rng(5)
    rows = random.integers(0, 256, (300, 4))
    labels = np.array(["low", "high", "odd"])[(rows[:, 0] > 90).astype(int) + (rows[:, 1] + rows[:, 2] > 300)]
    model = {
        "tree": tree.DecisionTreeClassifier(random_state=1),
        "shallow tree": tree.DecisionTreeClassifier(max_depth=3, random_state=1),
        "forest": ensemble.RandomForestClassifier(7, max_leaf_nodes=None, random_state=1),
    }[kind].fit(rows, labels)
    asked = random.integers(0, 256, (400, 4))
    made = Tree.fitted("model", model, width=8)
    assert [model.classes_[label] for label in answers(made, asked)] == model.predict(asked).tolist()


def test_a_forest_with_impure_leaves_decides_by_their_shares() -> None:
    ensemble = pytest.importorskip("sklearn.ensemble")
    random = np.random.default_rng(6)
    rows = random.integers(0, 256, (400, 3))
    labels = (rows[:, 0] + random.integers(-60, 60, 400) > 128).astype(int)
    model = ensemble.RandomForestClassifier(9, max_depth=3, random_state=1).fit(rows, labels)
    asked = random.integers(0, 256, (400, 3))
    shares = model.predict_proba(asked)
    clear = np.abs(shares[:, 0] - shares[:, 1]) > 1 / 255
    given = np.array(answers(Tree.fitted("model", model, width=8), asked))
    assert clear.sum() > 380
    assert (given == model.predict(asked))[clear].all()

"""Tree: a decision tree or forest as match-action tables, which labels packets by their features."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from midflight.errors import KernelError
from midflight.primitives.kernel.arithmetic import bits
from midflight.primitives.language import Header, Map, Packet, Primitive, bit, within

__all__ = ["Nodes", "Tree"]

Nodes = Mapping[str, Sequence[Any]]
"""A tree as a dict of arrays with one element per node, the root first; see `Tree`."""

ARRAYS: Final = ("feature", "threshold", "left", "right", "votes")
MOST_VOTES: Final = 255
BITS: Final = 16
"""The width of a class's votes, summed over the trees."""
MOST_TESTS: Final = 256


class Tree(Primitive):
    """Label each packet with the class that its features have the most votes for.

    Parameters:
        trees: 1 to 16 trees, each a dict of arrays with one element per node, the root first. At an inner node, a
            packet whose feature number `feature` (from 0) is at most `threshold` (an integer) goes to node `left`,
            others to node `right`, both of which come later in the arrays. A leaf has `left` -1, and `votes` with its
            votes for each class (0 to 255)
        features: features in a packet (1 to 32)
        classes: the number of labels (2 to 16); the first one wins ties
        width: bits of a feature, which is unsigned (1 to 32)

    Every packet is forwarded with its `label`, and the `votes` for it. Sums have 16 bits, so nothing overflows.
    `Tree.fitted` converts a model of scikit-learn.

    One table per feature maps ranges to a bit for each threshold in any tree: whether the feature exceeds it (at most
    256 bits). One table per tree matches all bits at once, ternary, with an entry per leaf for the bits that are tested
    on the path to it. Every table is therefore read once, and their order does not matter. The controller can replace
    the trees by others with the same features and thresholds while packets pass.

    Follows IIsy (HotNets 2019) and the encoded trees of Planter (CCR 2024). Different here: codes are the bits of
    thresholds, so that a leaf is one ternary entry, and the votes of all classes are summed in one number. Tables: per
    feature, one range entry more than it has thresholds; per tree, one entry per leaf.

    >>> stump = {
    ...     "feature": [0, -1, -1],
    ...     "threshold": [80, 0, 0],
    ...     "left": [1, -1, -1],
    ...     "right": [2, -1, -1],
    ...     "votes": [[0, 0], [1, 0], [0, 1]],
    ... }
    >>> alarm = Tree("alarm", trees=[stump], features=1, classes=2).reference()
    >>> def label(value):
    ...     fields = {"label": 0, "votes": 0, "values": [value]}
    ...     return alarm.process(Message(REQUEST, "alarm", 0, fields)).message.fields["label"]
    >>> label(80), label(81)
    (0, 1)
    """

    FAMILY = "detection"
    PAPER = "IIsy: Xiong and Zilberman, HotNets 2019; Planter: Zheng et al., CCR 2024"
    OVERFLOW = "sums of votes have 16 bits, which 16 trees cannot exceed"

    trees: Sequence[Nodes]
    features: int
    classes: int
    width: int = 16

    class Wire(Header):
        """A packet's features; on the way out, also the number of its label and the votes for it."""

        label = bit[8]
        votes = bit[16]
        values = bit["width"].array("features")

    @classmethod
    def fitted(cls, name: str, model: Any, *, width: int = 16) -> Tree:
        """Return the `Tree` of a `DecisionTreeClassifier` or `RandomForestClassifier` of scikit-learn.

        The model must have been fitted to integers; `width` is the number of bits of a feature. Labels are the indexes
        of `model.classes_`. A tree predicts like the model's `predict`, and so does a forest with pure leaves. In other
        forests, the leaves' class probabilities are rounded to 1/255, and predictions may differ if the mean
        probabilities of two classes differ by less than 1/255. Raises KernelError if the model exceeds the limits.
        """
        estimators = getattr(model, "estimators_", None)
        fitted = [each.tree_ for each in ([model] if estimators is None else estimators)]
        return cls(
            name,
            trees=[_arrays(each, single=estimators is None) for each in fitted],
            features=int(model.n_features_in_),
            classes=len(model.classes_),
            width=width,
        )

    def validate(self) -> None:
        """Raise KernelError for a parameter outside the limits in the class's description, or a malformed tree.

        All trees together have at most 256 different pairs of feature and threshold.
        """
        within(self, "features", 1, 32)
        within(self, "classes", 2, 16)
        within(self, "width", 1, 32)
        if isinstance(self.trees, Mapping) or not 1 <= len(self.trees) <= 16:
            raise KernelError(f"{self.title}: trees must be a list of 1 to 16 trees")
        for number, tree in enumerate(self.trees):
            if wrong := self._wrong(tree):
                raise KernelError(f"{self.title}: tree {number}: {wrong}")
        if len(self._tests()) > MOST_TESTS:
            raise KernelError(f"{self.title}: {len(self._tests())} thresholds exceed the limit of {MOST_TESTS}",
                              hint="limit the trees' depth, or round the features to fewer values")  # fmt: skip

    def setup(self) -> None:
        """Create the maps: `code_0` and so on from the ranges of a feature to bits, `leaf_0` and so on from all bits to
        the votes of a tree.
        """
        tests = self._tests()
        self.code_width = max(1, len(tests))
        self.sum_width = BITS * self.classes
        self.asked = tuple(any(feature == each for each, _ in tests) for feature in range(self.features))
        self.codes = tuple(self._code(feature, tests) for feature in range(self.features))
        self.leaves = tuple(self._leaves(tree, tests) for tree in self.trees)
        for name, tables in (("code", self.codes), ("leaf", self.leaves)):
            for number, each in enumerate(tables):
                setattr(self, f"{name}_{number}", each)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Look up the bits of all features, then the votes of all trees; forward the packet with the winning label."""
        code = bit[self.code_width](0)
        for feature in range(self.features):
            if self.asked[feature]:
                code |= self.codes[feature].get(wire.values[feature], 0)
        votes = bit[self.sum_width](0)
        for tree in range(len(self.leaves)):
            votes += self.leaves[tree].get(code, 0)

        wire.label = 0
        wire.votes = bits(votes, 15, 0)
        for label in range(1, self.classes):
            mine = bits(votes, 16 * label + 15, 16 * label)
            if mine > wire.votes:
                wire.label = label
                wire.votes = mine
        packet.forward()

    def _wrong(self, tree: Nodes) -> str:
        """Return what is wrong with a tree, or an empty string."""
        if (
            not isinstance(tree, Mapping)
            or {*tree} != {*ARRAYS}
            or not all(isinstance(each, Sequence) for each in tree.values())
            or len({len(each) for each in tree.values()}) != 1
        ):
            return f"a tree must be a dict of arrays of equal length: {', '.join(ARRAYS)}"
        count = len(tree["left"])
        for name in ("left", "right", "feature"):
            if not all(isinstance(each, int) for each in tree[name]):
                return f"{name} must be an array of integers"
        for node in range(count):
            if tree["left"][node] < 0:
                votes = tree["votes"][node]
                if not isinstance(votes, Sequence) or not all(isinstance(each, int) for each in votes):
                    return f"the votes of leaf {node} must be integers"
                if len(votes) != self.classes or not all(0 <= each <= MOST_VOTES for each in votes):
                    return f"leaf {node} must have {self.classes} votes of 0 to {MOST_VOTES}"
            elif not all(node < tree[side][node] < count for side in ("left", "right")):
                return f"the children of node {node} must come after it"
            elif not 0 <= tree["feature"][node] < self.features:
                return f"node {node} tests feature {tree['feature'][node]}, but there are {self.features}"
            elif not isinstance(tree["threshold"][node], int):
                return f"the threshold of node {node} must be an integer, not {tree['threshold'][node]!r}"
        return "" if count else "it has no nodes"

    def _tests(self) -> list[tuple[int, int]]:
        """Return all tested pairs of feature and threshold in order; the n-th is bit n of the code."""
        found = {
            (tree["feature"][node], tree["threshold"][node])
            for tree in self.trees
            for node, left in enumerate(tree["left"])
            if left >= 0
        }
        return sorted(found)

    def _code(self, feature: int, tests: list[tuple[int, int]]) -> Map:
        """Return the table from a feature's values to its bits of the code."""
        kind = bit[self.width]
        entries: dict[Any, int] = {}
        low, code = 0, 0
        for number, (of, threshold) in enumerate([*tests, (feature, kind.high)]):
            if of == feature:
                high = min(threshold, kind.high)
                if low <= high:
                    entries[low, high] = code
                low, code = max(low, threshold + 1), code | 1 << number
        return Map(kind, bit[self.code_width], size=len(entries), match="range", entries=entries)

    def _leaves(self, tree: Nodes, tests: list[tuple[int, int]]) -> Map:
        """Return the table from the code to a tree's votes, with all classes in one number."""
        entries: dict[Any, int] = {}
        for leaf, beyond, asked in _ways(tree, tests):
            packed = sum(votes << BITS * label for label, votes in enumerate(tree["votes"][leaf]))
            entries[beyond, asked] = packed
        return Map(bit[self.code_width], bit[self.sum_width], size=len(entries), match="ternary", entries=entries)


def _ways(tree: Nodes, tests: list[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield each reachable leaf with the bits set on the path to it, and the bits tested on it."""
    bit_of = {test: 1 << number for number, test in enumerate(tests)}
    open_ = [(0, 0, 0)]
    while open_:
        node, beyond, asked = open_.pop()
        if tree["left"][node] < 0:
            yield node, beyond, asked
            continue
        this = bit_of[tree["feature"][node], tree["threshold"][node]]
        if not (asked & this and beyond & this):
            open_.append((tree["left"][node], beyond, asked | this))
        if not asked & this or beyond & this:
            open_.append((tree["right"][node], beyond | this, asked | this))


def _arrays(tree: Any, *, single: bool) -> Nodes:
    """Return a fitted tree of scikit-learn as a dict of arrays."""
    votes = []
    for shares in tree.value[:, 0, :]:
        best = int(shares.argmax())
        total = float(shares.sum())
        votes.append(
            [int(label == best) for label in range(len(shares))]
            if single
            else [round(MOST_VOTES * float(each) / total) for each in shares]
        )
    return {
        "feature": [int(each) for each in tree.feature],
        "threshold": [math.floor(each) for each in tree.threshold],
        "left": [int(each) for each in tree.children_left],
        "right": [int(each) for each in tree.children_right],
        "votes": votes,
    }

"""The oracle of Tree: every tree walked from its root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = ["label"]


def label(trees: Sequence[Mapping[str, Sequence[Any]]], values: Sequence[int]) -> tuple[int, int]:
    """Return (label, votes): the label with the most votes of all trees for these features, and its votes.

    Of several labels with the most votes, the smallest is returned. `trees` are as in the parameter of `Tree`, and
    `values` has the value of each feature.
    """
    total = np.sum([tree["votes"][_leaf(tree, values)] for tree in trees], axis=0)
    best = int(np.argmax(total))
    return best, int(total[best])


def _leaf(tree: Mapping[str, Sequence[Any]], values: Sequence[int]) -> int:
    node = 0
    while tree["left"][node] >= 0:
        side = "left" if values[tree["feature"][node]] <= tree["threshold"][node] else "right"
        node = int(tree[side][node])
    return node

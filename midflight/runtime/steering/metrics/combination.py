"""Functions that combine scores to one (draft-ietf-cats-metric-definition, section 4.2.1), and level 2.

Scores are combined as fractions and rounded once, at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction

from midflight.errors import MidflightError
from midflight.runtime.steering.metrics.levels import LEVEL2, Category, Metric

__all__ = ["Combination", "best", "combine", "level2", "mean", "rounded", "weighted_mean", "worst"]

Combination = Callable[[Sequence[tuple[int, Fraction]]], Fraction]
"""A function from pairs of a weight, at least 0, and a score to one score. There is at least one pair, and the sum of
the weights is positive."""


def weighted_mean(scores: Sequence[tuple[int, Fraction]]) -> Fraction:
    """Return the mean of the scores with their weights, the default combination; `scores` are pairs of weight and
    score.

    ZeroDivisionError if no weight is positive.
    """
    return sum((weight * score for weight, score in scores), Fraction(0)) / sum(weight for weight, _ in scores)


def mean(scores: Sequence[tuple[int, Fraction]]) -> Fraction:
    """Return the mean of the scores of positive weight, each counted once; `scores` are pairs of weight and score.

    ZeroDivisionError if no weight is positive.
    """
    return weighted_mean([(1, score) for weight, score in scores if weight])


def worst(scores: Sequence[tuple[int, Fraction]]) -> Fraction:
    """Return the lowest score among those with a positive weight; `scores` are pairs of weight and score.

    ValueError if no weight is positive.
    """
    return min(score for weight, score in scores if weight)


def best(scores: Sequence[tuple[int, Fraction]]) -> Fraction:
    """Return the highest score among those with a positive weight; `scores` are pairs of weight and score.

    ValueError if no weight is positive.
    """
    return max(score for weight, score in scores if weight)


def combine(
    metrics: Iterable[Metric], weights: Mapping[Category, int], combination: Combination = weighted_mean
) -> Fraction:
    """Return level 1 scores combined to one, not rounded. A category without a weight has weight 1.

    MidflightError if there are no metrics, if one is not of level 1, or if their total weight is not positive.
    """
    metrics = tuple(metrics)
    if others := [each.kind for each in metrics if each.kind not in list(Category)]:
        raise MidflightError(f"{others[0]} is not a score of level 1", hint=f"those are {', '.join(Category)}")
    weighed = [(weights.get(Category(each.kind), 1), Fraction(each.value)) for each in metrics]
    if sum(weight for weight, _ in weighed) <= 0:
        raise MidflightError("there are no metrics to combine, or their total weight is not positive")
    return combination(weighed)


def level2(
    metrics: Iterable[Metric], weights: Mapping[Category, int], combination: Combination = weighted_mean
) -> Metric:
    """Return the level 2 metric, one score from 0 to 10, for level 1 metrics: their combination, rounded half up.

    A category without a weight has weight 1. MidflightError if there are no metrics, if one is not of level 1, or if
    their total weight is not positive.
    """
    return Metric(LEVEL2, 2, rounded(combine(metrics, weights, combination)))


def rounded(score: Fraction) -> int:
    """Return a score as an integer, rounded half up."""
    return int(score + Fraction(1, 2))

"""The machine learning of the demonstrations: handwritten digits and a softmax classifier.

The data are the 1,797 images of 8 x 8 grey levels of the UCI repository's "Optical Recognition of Handwritten Digits",
as shipped with scikit-learn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from midflight.errors import MidflightError

__all__ = ["CLASSES", "Digits", "Model", "load"]

CLASSES = 10


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """Images of handwritten digits, with their labels 0 to 9. Indexing selects images.

    `images` has shape (n, 65): each row has 65 values from 0 to 1, the last a constant 1 for the bias.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> Digits:
        return Digits(self.images[rows], self.labels[rows])


class Model:
    """A softmax classifier with float32 weights of shape (65, 10), trained by gradient descent with momentum.

    All weights are 0 at first. `rate` is the learning rate.
    """

    def __init__(self, *, rate: float = 0.5, momentum: float = 0.9) -> None:
        self.weights = np.zeros((65, CLASSES), np.float32)
        self._velocity = np.zeros_like(self.weights)
        self._rate = np.float32(rate)
        self._momentum = np.float32(momentum)

    def gradient(self, batch: Digits) -> NDArray[np.float32]:
        """Return the gradient of the cross entropy, summed over the images of a batch: shape (650,). Changes
        nothing.
        """
        errors = self._probabilities(batch.images)
        errors[np.arange(len(batch)), batch.labels] -= 1
        return np.ravel(batch.images.T @ errors)

    def step(self, gradient: NDArray[np.float32]) -> None:
        """Update the weights by one step of gradient descent with momentum, given a gradient of shape (650,)."""
        self._velocity *= self._momentum
        self._velocity -= self._rate * gradient.reshape(self.weights.shape)
        self.weights += self._velocity

    def loss(self, digits: Digits) -> float:
        """Return the mean cross entropy of the model on these digits."""
        chosen = self._probabilities(digits.images)[np.arange(len(digits)), digits.labels]
        return float(-np.log(np.maximum(chosen, np.finfo(np.float32).tiny)).mean())

    def accuracy(self, digits: Digits) -> float:
        """Return the share of these digits that the model classifies correctly, from 0 to 1."""
        return float(((digits.images @ self.weights).argmax(axis=1) == digits.labels).mean())

    def _probabilities(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        scores = images @ self.weights
        scores -= scores.max(axis=1, keepdims=True)
        powers: NDArray[np.float32] = np.exp(scores)
        powers /= powers.sum(axis=1, keepdims=True)
        return powers


def load(seed: int, *, held_out: float = 0.25) -> tuple[Digits, Digits]:
    """Return the training digits and the test digits, shuffled by the seed.

    `held_out` is the share of test digits, from 0 to 1. MidflightError if scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MidflightError(
            "the digits are part of scikit-learn, which is not installed", hint="pip install 'midflight[demo]'"
        ) from error
    images, labels = load_digits(return_X_y=True)
    features = np.ones((len(images), 65), np.float32)
    features[:, :64] = images / 16
    digits = Digits(features, labels.astype(np.int64))[np.random.default_rng(seed).permutation(len(labels))]
    split = round(len(digits) * held_out)
    return digits[split:], digits[:split]

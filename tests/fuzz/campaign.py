"""A campaign: one target, run on mutated inputs, and the corpus that grows from what they bring to light."""

from __future__ import annotations

import hashlib
import random
import re
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from midflight.errors import MidflightError
from tests.fuzz.mutation import mutated

__all__ = ["Campaign", "CrashError", "Target"]

_LARGEST = 4000


@dataclass(frozen=True, slots=True)
class Target:
    """A way into Midflight.

    `run` takes any bytes and raises MidflightError or nothing. `seeds` are valid inputs, and `words` the language's
    tokens, empty for binary inputs. `slice` is the number of inputs of each campaign of the tests. `mutate` makes a new
    input, for targets whose first check the general mutations would not pass.
    """

    name: str
    run: Callable[[bytes], None]
    seeds: Sequence[bytes]
    words: Sequence[bytes]
    slice: int
    mutate: Callable[[bytes, random.Random], bytes] | None = None


class CrashError(AssertionError):
    """An input on which a target raised what it may not raise."""


@dataclass(slots=True)
class Campaign:
    """The state of a campaign. With `folder`, its corpus is kept there from one campaign to the next.

    An input joins the corpus when its outcome is new: the message of its error, without the names and numbers in it.
    """

    target: Target
    seed: int
    folder: Path | None = None
    count: int = 0
    slowest: float = 0.0
    corpus: list[bytes] = field(default_factory=list)
    outcomes: set[str] = field(default_factory=set)
    crashes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            for file in sorted(self.folder.glob("*.input")):
                self.corpus.append(file.read_bytes())
        self.corpus += self.target.seeds
        for each in self.target.seeds:
            self.one(each)
        self.count = 0

    def run(self, count: int, seconds: float = float("inf")) -> None:
        """Run a number of inputs, or as many as there is time for. Without a folder, raise CrashError for a crash."""
        draw = random.Random(f"{self.target.name} {self.seed}")
        end = time.monotonic() + seconds
        for _ in range(count):
            if time.monotonic() > end:
                break
            base = draw.choice(self.corpus)
            if self.target.mutate is not None:
                data = self.target.mutate(base, draw)
            else:
                data = mutated(base, self.corpus, self.target.words, draw)
            self.one(data)

    def one(self, data: bytes) -> None:
        """Run one input."""
        self.count += 1
        begin = time.monotonic()
        try:
            self.target.run(data)
            outcome = "accepted"
        except MidflightError as error:
            outcome = re.sub(r"`[^`]*`|'[^']*'|\"[^\"]*\"|\d+|\b\w*_\w*\b", "_", error.message)[:80]
        except Exception as error:  # everything else is a finding
            place = traceback.extract_tb(error.__traceback__)[-1]
            outcome = f"{type(error).__name__} at {Path(place.filename).name}:{place.lineno}"
            if outcome not in self.outcomes:
                self._crashed(data, outcome, error)
        self.slowest = max(self.slowest, time.monotonic() - begin)
        if outcome not in self.outcomes:
            self.outcomes.add(outcome)
            if len(data) <= _LARGEST:
                self.corpus.append(data)
                self._keep(data, "input")

    def _crashed(self, data: bytes, outcome: str, error: Exception) -> None:
        self.crashes.append(outcome)
        self._keep(data, "crash")
        if self.folder is None:
            raise CrashError(f"{self.target.name}: {outcome} on {data!r}") from error

    def _keep(self, data: bytes, suffix: str) -> None:
        if self.folder is not None:
            (self.folder / f"{hashlib.sha256(data).hexdigest()[:16]}.{suffix}").write_bytes(data)

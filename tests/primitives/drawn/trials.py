"""Trials of random primitives in one program, executed and on a switch. Failures are shrunk and reported completely."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from midflight.errors import MidflightError
from midflight.primitives import Program
from tests.primitives.drawn.primitives import made, primitive_text
from tests.primitives.drawn.shrink import shrunk
from tests.primitives.drawn.traces import requests
from tests.primitives.rig import Sent

__all__ = ["trial"]

Compare = Callable[[Program, Sequence[Sent]], object]


def trial(
    seed: int, compare: Compare, *, kernels: int = 6, packets: int = 30, timed: bool = True, shrink: bool = True
) -> None:
    """Draw kernels from a seed and compare. Raises AssertionError with the first text that fails.

    timed: whether they may use time, random numbers and recirculation. shrink: whether a failing text is shrunk.
    """
    random = Random(seed)
    texts = [primitive_text(random, timed=timed, rounds=timed) for _ in range(kernels)]
    try:
        _play(texts, seed, compare, packets)
    except Exception as error:
        if not shrink:
            raise AssertionError(f"seed {seed}, all {kernels} together: {error}\n\n" + "\n".join(texts)) from error
        kind = _kind(error)
        alone = next((each for each in texts if _fails([each], seed, compare, packets, kind)), None)
        if alone is None:
            raise AssertionError(f"seed {seed}, all {kernels} together: {error}\n\n" + "\n".join(texts)) from error
        text = shrunk(alone, lambda text: _fails([text], seed, compare, packets, kind))
        try:
            _play([text], seed, compare, packets)
        except Exception as again:
            raise AssertionError(f"seed {seed}: {type(again).__name__} {again}\n\n{text}") from again


def _play(texts: Sequence[str], seed: int, compare: Compare, packets: int) -> None:
    random = Random(seed)
    primitives = [made(text, f"drawn{number}") for number, text in enumerate(texts)]
    program = Program(*primitives)
    trace = []
    for each in primitives:
        now = random.choice((0, 1000, 2**48 - 1))
        for _ in range(packets):
            now = (now + random.choice((0, 0, 1, 5000))) % 2**48
            trace.append(Sent(each.name, random.getrandbits(32), requests(random, each), now))
    compare(program, trace)


def _fails(texts: Sequence[str], seed: int, compare: Compare, packets: int, kind: str) -> bool:
    try:
        _play(texts, seed, compare, packets)
    except Exception as error:
        return _kind(error) == kind
    return False


def _kind(error: Exception) -> str:
    """Return the kind of a failure, by which two failures count as the same."""
    return type(error).__name__ + (error.message.rpartition("`")[2] if isinstance(error, MidflightError) else "")

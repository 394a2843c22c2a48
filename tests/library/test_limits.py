"""Every primitive of the library at the minimum and maximum of each parameter, and one beyond."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from midflight import primitives
from midflight.errors import KernelError
from midflight.p4.frontend import check
from midflight.primitives import Primitive, Program
from midflight.primitives.catalogue import LIBRARY, catalogue
from midflight.primitives.kernel import limits
from midflight.testbed import Star

STUMP: Mapping[str, Any] = {
    "feature": [0, -1, -1],
    "threshold": [0, 0, 0],
    "left": [1, -1, -1],
    "right": [2, -1, -1],
    "votes": [[0, 0], [1, 0], [0, 1]],
}
# Other parameters that a parameter needs at its limit, where limits depend on each other.
ALONG: Mapping[tuple[str, str, int], Mapping[str, Any]] = {
    ("Aggregate", "switches", 1): {"first": 1},
    ("Balance", "instances", 1): {"table": {}},
    ("Controller", "channels", 8): {"proportional": [1.0] * 8, "integral": [0.5] * 8},
    ("Controller", "low", 2**31 - 1): {"high": 2**31 - 1},
    ("Controller", "high", -(2**31)): {"low": -(2**31)},
    ("Quorum", "voters", 1): {"needed": 1},
    ("SafetyStop", "low", 2**31 - 1): {"high": 2**31 - 1, "safe": 2**31 - 1},
    ("SafetyStop", "high", -100): {"safe": -100},
    ("Threshold", "above", 1): {"clear": 0},
    ("Threshold", "clear", 2**32 - 2): {"above": 2**32 - 1},
    ("TopN", "lowest", 2**32 - 1): {"levels": 1},
    ("TopN", "levels", 32): {"lowest": 1},
    ("Tree", "classes", 16): {"trees": [{**STUMP, "votes": [[0] * 16, [1, *[0] * 15], [*[0] * 15, 1]]}]},
}


@dataclass(frozen=True)
class Limit:
    """The limits of a parameter of a primitive."""

    kind: str
    name: str
    low: int
    high: int

    def made(self, value: int) -> Primitive:
        """Return the primitive with the parameter at this value, and the others from its example."""
        parameters = {**example(self.kind).parameters, **ALONG.get((self.kind, self.name, value), {}), self.name: value}
        return LIBRARY[self.kind](self.kind.lower(), **parameters)


EXAMPLES = {each.name: each.example for each in catalogue()}


def example(kind: str) -> Primitive:
    made = eval(EXAMPLES[kind], {**vars(primitives), "stump": STUMP})
    assert isinstance(made, Primitive)
    return made


def found() -> Iterator[Limit]:
    """Yield every limit that a primitive's `validate` checks."""
    for kind, primitive in LIBRARY.items():
        module = sys.modules[primitive.__module__]
        reported: list[tuple[str, int, int]] = []

        def within(
            _: Primitive, name: str, low: int, high: int, reported: list[tuple[str, int, int]] = reported
        ) -> None:
            reported.append((name, low, high))

        with patch.object(limits, "within", within), patch.object(module, "within", within, create=True):
            example(kind)
        yield from (Limit(kind, *each) for each in dict.fromkeys(reported))


LIMITS = tuple(found())
ENDS = [
    pytest.param(each, value, id=f"{each.kind}-{each.name}-{value}")
    for each in LIMITS
    for value in dict.fromkeys((each.low, each.high))
]
COMPILER = shutil.which("p4c-bm2-ss")


def test_the_limits_are_found() -> None:
    assert len(LIMITS) > 80
    assert Limit("Aggregate", "lanes", 1, 256) in LIMITS
    assert Limit("Barrier", "barriers", 1, 2**16) in LIMITS


@pytest.mark.parametrize(("limit", "value"), ENDS)
def test_parameters_work_at_their_limits(limit: Limit, value: int) -> None:
    text = Program(limit.made(value)).p4()
    assert check(text, "limit.p4").tables


@pytest.mark.long
@pytest.mark.skipif(COMPILER is None, reason="p4c-bm2-ss is not on PATH")
@pytest.mark.parametrize(("limit", "value"), ENDS)
def test_p4c_accepts_parameters_at_their_limits(limit: Limit, value: int, tmp_path: Path) -> None:
    source = tmp_path / "limit.p4"
    source.write_text(Program(limit.made(value)).p4())
    assert COMPILER is not None
    done = subprocess.run(
        [COMPILER, "--std", "p4-16", "-o", str(tmp_path / "limit.json"), str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.parametrize(("limit", "value"), ENDS)
def test_the_embedded_switch_runs_it_as_well(limit: Limit, value: int) -> None:
    primitive = limit.made(value)
    with Star(hosts=3, program=Program(primitive)) as net:
        net.send("h1", primitive.name)
        assert sum(each.packets for each in net.counters(primitive.name).values()) == 1


@pytest.mark.parametrize("limit", LIMITS, ids=lambda each: f"{each.kind}-{each.name}")
def test_a_value_beyond_a_limit_is_rejected_with_the_parameters_name(limit: Limit) -> None:
    for value in (limit.low - 1, limit.high + 1):
        with pytest.raises(KernelError) as caught:
            limit.made(value)
        assert limit.name in caught.value.message
        assert limit.kind in caught.value.message
        assert caught.value.place is None, "the error is in the user's parameter, not in a line of the library"

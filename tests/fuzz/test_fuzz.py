"""A slice of fuzzing: a fixed number of inputs for each target, the same ones every time.

All of it takes about three minutes of CPU time, in campaigns of 9 s that pytest-xdist can distribute.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from midflight.errors import MidflightError
from tests.fuzz.campaign import Campaign, CrashError, Target
from tests.fuzz.targets import targets

SEEDS = range(2)
"""The seeds of each target's campaigns."""

NATIVE = 1_300_000
"""The number of packets of each campaign of the native code."""


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", targets())
def test_mutated_inputs_are_accepted_or_refused(name: str, seed: int) -> None:
    target = targets()[name]
    campaign = Campaign(target, seed)
    campaign.run(target.slice)
    assert campaign.count == target.slice
    assert "accepted" in campaign.outcomes
    assert len(campaign.outcomes) > 3


@pytest.mark.parametrize(
    "kernel",
    [
        b"wire.valu\x0c#\xd6wire.>429496721)\nif count > 4294967296:\n    packet.alert(wire.key, count)\n",
        b"0x7fffffff.valu#\x0c\xd6wire.bits\xd6wire.keywire.key, count)\n",
        b"wire.valu\x0c#\xd6wire.>valu\x0c#\xd6255.valu\x0c#\xd6+= lane.value\n\nlue\n\n",
    ],
)
def test_kernels_whose_text_python_reads_in_two_ways_are_refused(kernel: bytes) -> None:
    with pytest.raises(MidflightError):
        targets()["kernel"].run(kernel)


def _run_apart(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("seed", SEEDS)
def test_native_code_stays_within_its_memory(seed: int) -> None:
    done = _run_apart(f"from tests.fuzz.guarded import main; print(main({NATIVE}, {seed}))")
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > NATIVE // 10


@pytest.mark.parametrize("offset", [24, -4073])
def test_the_pages_around_guarded_memory_are_protected(offset: int) -> None:
    done = _run_apart(
        "import ctypes\nfrom tests.fuzz.guarded import guarded\n"
        f"ctypes.string_at(guarded(24).ctypes.data + {offset}, 1)"
    )
    assert done.returncode == -11


def _fragile(data: bytes) -> None:
    if data[:1] == b"\xff":
        raise KeyError(data)
    if data[:1] == b"\x01":
        raise MidflightError("this is refused")


FRAGILE = Target("fragile", _fragile, [b"\0\0\0\0"], [], 0)


def test_a_crash_ends_a_campaign_of_the_tests() -> None:
    with pytest.raises(CrashError, match="KeyError"):
        Campaign(FRAGILE, seed=1).run(10_000)


def test_a_corpus_grows_by_new_outcomes_and_is_taken_up_again(tmp_path: Path) -> None:
    first = Campaign(FRAGILE, seed=1, folder=tmp_path)
    first.run(10_000)
    assert first.crashes == [each for each in first.outcomes if "KeyError" in each]
    assert len([*tmp_path.glob("*.input")]) == len(first.outcomes) == 3
    assert len([*tmp_path.glob("*.crash")]) == 1
    assert len(Campaign(FRAGILE, seed=2, folder=tmp_path).corpus) >= 4

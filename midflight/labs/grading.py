"""Grading of a submission: every test of a lab, with its points and the reason for each loss."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

from midflight.errors import MidflightError
from midflight.labs.bench import Bench, GradedTest
from midflight.labs.catalogue import Lab
from midflight.labs.process import ChildError, TimeLimit
from midflight.labs.student import Isolation, Unconfined
from midflight.labs.switch import SwitchProcess

__all__ = ["Grade", "Result", "grade", "read_submission"]

_LARGEST = 1 << 18


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one test: its points, and the reason if there are none. `title` says what it requires."""

    name: str
    title: str
    points: int
    most: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Grade:
    """The results of all tests of a lab, in order, for the instructor's seed."""

    lab: str
    seed: int
    results: tuple[Result, ...]

    @property
    def points(self) -> int:
        """The points of all tests together."""
        return sum(each.points for each in self.results)

    @property
    def most(self) -> int:
        """The largest number of points."""
        return sum(each.most for each in self.results)


def read_submission(lab: Lab, folder: Path) -> dict[str, str]:
    """Return the texts of those files of a lab that a folder has, by name; other files are ignored.

    MidflightError if the folder does not exist, or if a file is not a regular file of UTF-8 text of at most 256 KiB;
    links are not followed.
    """
    if not folder.is_dir():
        raise MidflightError(f"{folder}: there is no such folder")
    found = {}
    for name in lab.files:
        try:
            handle = os.open(folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise MidflightError(f"{folder / name}: {error.strerror}") from None
        with os.fdopen(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise MidflightError(f"{folder / name}: not a regular file")
            data = file.read(_LARGEST + 1)
        if len(data) > _LARGEST:
            raise MidflightError(f"{folder / name}: longer than {_LARGEST} bytes")
        try:
            found[name] = data.decode()
        except UnicodeDecodeError:
            raise MidflightError(f"{folder / name}: not UTF-8 text") from None
    return found


def grade(
    lab: Lab,
    files: Mapping[str, str],
    seed: int,
    *,
    isolation: Isolation = Isolation.REQUIRED,
    progress: Callable[[int, int, str], None] | None = None,
    process: SwitchProcess | None = None,
    tests: Sequence[GradedTest] | None = None,
) -> Grade:
    """Grade a submission, given as texts by file name. The same seed gives the same result.

    Each test gets random numbers from the seed and its name, so tests do not influence each other. `progress` is called
    before each test with its index, the number of tests and its name. `process` is a switch process to use; None starts
    one. `tests` are those to run, None for all of the lab. Unconfined if this machine cannot confine the submission
    as `isolation` requires.
    """
    chosen = lab.tests if tests is None else tests
    course = lab.starter()
    results = []
    with SwitchProcess() if process is None else nullcontext(process) as switches:
        for number, test in enumerate(chosen):
            if progress is not None:
                progress(number, len(chosen), test.name)
            drawn = random.Random(f"{lab.name}/{test.name}/{seed}")
            bench = Bench(files, course, drawn, switches, isolation)
            results.append(_run(test, bench))
    return Grade(lab.name, seed, tuple(results))


def _run(test: GradedTest, bench: Bench) -> Result:
    bench.process.deadline = monotonic() + test.seconds
    reason = ""
    try:
        bench.process.reset()
        test.run(bench)
    except TimeLimit:
        reason = f"the time limit of {test.seconds:g} s, or that on processor time or memory, is exceeded"
    except ChildError as error:
        reason = f"the submission's process failed: {error}"
    except Unconfined:
        raise
    except MidflightError as error:
        reason = str(error)
    except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
        if not bench.has_students:
            raise
        reason = f"a result of the submission has a wrong form: {error}"
    finally:
        bench.close()
    return Result(test.name, test.title, 0 if reason else test.points, test.points, reason)

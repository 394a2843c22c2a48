"""Playing all STF tests of a folder, and reports of the results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from midflight.errors import MidflightError
from midflight.p4.bounded import LARGEST
from midflight.runtime.devices.capabilities import Capabilities
from midflight.testbed.stf.play import Outcome, Verdict, run

__all__ = ["Result", "counts", "junit", "play", "play_all", "summary", "tests_in"]


@dataclass(frozen=True, slots=True)
class Result:
    """The result of one test of a folder. `outcome` is None if the test could not be played, for the reason in
    `error`.
    """

    name: str
    outcome: Outcome | None
    error: str = ""

    @property
    def verdict(self) -> str:
        """The test's verdict as text: `pass`, `fail`, `not supported` or `error`."""
        return self.outcome.verdict.value if self.outcome else "error"

    @property
    def reasons(self) -> tuple[str, ...]:
        """The reasons for the verdict: differences, what is not supported, or the error; empty for `pass`."""
        return self.outcome.reasons if self.outcome else (self.error,)


def tests_in(folder: Path) -> tuple[list[tuple[Path, Path]], list[str], list[str]]:
    """Return the tests of a folder as pairs (program file, test file), the names of tests for other architectures, and
    the names of tests without a program.

    Each NAME.stf belongs to NAME.p4, and is for v1model if NAME.p4 contains "v1model.p4". MidflightError if there are
    no tests for v1model.
    """
    tests, others, alone = [], [], []
    for test in sorted(folder.glob("*.stf")):
        program = test.with_suffix(".p4")
        if not program.exists():
            alone.append(test.stem)
        elif "v1model.p4" in program.read_text(errors="replace"):
            tests.append((program, test))
        else:
            others.append(test.stem)
    if not tests:
        raise MidflightError(f"{folder} has no *.stf with a program for v1model beside it")
    return tests, others, alone


def play(program: Path, test: Path, device: str, sheet: Capabilities | None = None) -> Outcome:
    """Play the test in a file on a new device of kind `device`, within the limits of `sheet`; None for no limits.

    MidflightError if a file cannot be read, for lines that are not STF, and for names and values that the program does
    not have; DeviceError if the device does not start.
    """
    return run(_text(program), str(program), _text(test), str(test), device, sheet)


def play_all(
    tests: Sequence[tuple[Path, Path]],
    device: str,
    progress: Callable[[int, int, str], None],
    stop: Callable[[], bool] = lambda: False,
    sheet: Capabilities | None = None,
) -> list[Result]:
    """Play tests, pairs (program file, test file), one after the other, and return their results. Errors become
    results.

    `stop` is called before each test; if it returns True, the remaining ones are not played. `progress` receives the
    numbers of finished and of all tests, and the name of the next one. `sheet` is that of `run`.
    """
    results: list[Result] = []
    for number, (program, test) in enumerate(tests):
        if stop():
            break
        progress(number, len(tests), test.stem)
        try:
            results.append(Result(test.stem, play(program, test, device, sheet)))
        except MidflightError as error:
            results.append(Result(test.stem, None, str(error)))
    progress(len(results), len(tests), "")
    return results


def counts(results: Sequence[Result]) -> dict[str, int]:
    """Return the number of results by verdict: `pass`, `fail`, `not supported`, `error`; 0 for those that did not
    occur.
    """
    found = Counter(each.verdict for each in results)
    return {verdict: found[verdict] for verdict in (*(each.value for each in Verdict), "error")}


def summary(
    results: Sequence[Result],
    device: str,
    others: Sequence[str] = (),
    left: int = 0,
    alone: Sequence[str] = (),
) -> dict[str, object]:
    """Return the results of a folder as data for JSON. "good" is True if all tests were played and passed.

    `others` are the names of tests for other architectures, `alone` of those without a program, and `left` is the
    number of tests not played.
    """
    return {
        "device": device,
        "good": not left and not alone and all(each.verdict == Verdict.PASS.value for each in results),
        "counts": counts(results),
        "other_architectures": len(others),
        "without_program": list(alone),
        "not_played": left,
        "tests": [
            {
                "name": each.name,
                "verdict": each.verdict,
                "reasons": list(each.reasons),
                "readings": list(each.outcome.readings) if each.outcome else [],
            }
            for each in results
        ],
    }


def junit(results: Sequence[Result], device: str) -> str:
    """Return the results as the text of a JUnit XML file. A test that is not supported counts as skipped."""
    found = counts(results)
    suite = ElementTree.Element(
        "testsuite",
        name=f"stf.{device}",
        tests=str(len(results)),
        failures=str(found["fail"]),
        errors=str(found["error"]),
        skipped=str(found["not supported"]),
    )
    for each in results:
        case = ElementTree.SubElement(suite, "testcase", classname=f"stf.{device}", name=each.name)
        tag = {"fail": "failure", "not supported": "skipped", "error": "error"}.get(each.verdict)
        if tag:
            first = each.reasons[0].partition("\n")[0]
            ElementTree.SubElement(case, tag, message=_legal(first)).text = _legal("\n".join(each.reasons))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _text(path: Path) -> str:
    """Return the text of a file. Bytes that are not UTF-8 are replaced, as they may occur in comments."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise MidflightError(f"{path}: {error.strerror or error}") from None
    if len(text) > LARGEST:
        raise MidflightError(f"{path}: longer than {LARGEST} characters")
    return text


def _legal(text: str) -> str:
    """Return a text without characters that XML does not allow."""
    return "".join(each if each >= " " or each in "\n\t" else "?" for each in text)

"""Counts of a p4c checkout's programs: how many the checker accepts, and how far its answers agree with p4c's.

    python -m tests.p4.samples PATH/TO/p4c [--list] [--compile]

reads `testdata/p4_16_samples` and `testdata/p4_16_errors` with p4c's expected outputs, and writes nothing there.
`--list` also prints each program that differs, with the reason; `--compile` compiles each accepted program to native
code, where otherwise the engine only lowers it.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from finsy.proto import p4i
from google.protobuf import text_format

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.frontend import check_file
from midflight.p4.p4info import p4info
from midflight.runtime.engine.compiled import Compiled
from midflight.runtime.engine.pipeline import lower_program

__all__ = ["Count", "count_errors", "count_samples", "same_info", "samples"]

_INCLUDES_V1MODEL = re.compile(r"^\s*#\s*include\s*<v1model\.p4>", re.MULTILINE)
_OBJECTS = (
    "tables", "actions", "action_profiles", "counters", "direct_counters", "meters", "direct_meters",
    "controller_packet_metadata", "value_sets", "registers", "digests", "externs",
)  # fmt: skip
_P4C_LINE = re.compile(r"\.p4\((\d+)\)")


@dataclass
class Count:
    """Numbers of programs by outcome, and a line of text about each program that is not `good`."""

    outcomes: Counter[str] = field(default_factory=Counter)
    lines: list[str] = field(default_factory=list)

    def add(self, outcome: str, program: Path, reason: str = "") -> None:
        """Count one program. One with a reason is listed."""
        self.outcomes[outcome] += 1
        if reason:
            self.lines.append(f"{outcome}: {program.name}: {reason}")


def count_samples(root: Path, *, compile_code: bool = False) -> tuple[Count, Count, Count]:
    """Return the counts of the v1model samples: accepted by the checker, run by the engine, with p4c's P4Info.

    Of a program without a main, p4c writes an empty P4Info, and we report an error.
    """
    checked, loaded, described = Count(), Count(), Count()
    outputs = root / "testdata" / "p4_16_samples_outputs"
    for path in samples(root):
        try:
            program = check_file(path, [path.parent])
        except P4Error as error:
            checked.add("refused", path, _reason(error))
        except Exception as error:
            checked.add("failed", path, repr(error))
        else:
            checked.add("accepted", path)
            _load(program, path, loaded, compile_code)
        expected = outputs / f"{path.name}.p4info.txtpb"
        if expected.exists():
            _describe(path, expected, described)
    return checked, loaded, described


def samples(root: Path) -> Iterator[Path]:
    """Yield the sample programs of a p4c checkout that include v1model.p4."""
    for path in sorted((root / "testdata" / "p4_16_samples").glob("*.p4")):
        if _INCLUDES_V1MODEL.search(path.read_text(errors="replace")):
            yield path


def _load(program: ir.Program, path: Path, loaded: Count, compile_code: bool) -> None:
    try:
        Compiled(program).native if compile_code else lower_program(program)
    except P4Error as error:
        loaded.add("refused", path, _reason(error))
    except Exception as error:
        loaded.add("failed", path, repr(error))
    else:
        loaded.add("runs", path)


def _describe(path: Path, expected: Path, described: Count) -> None:
    wanted = p4i.P4Info()
    text_format.Parse(expected.read_text(), wanted)
    if wanted == p4i.P4Info():
        described.add("without a main", path)
        return
    try:
        difference = same_info(p4info(check_file(path, [path.parent], runs=False)), wanted)
    except P4Error as error:
        described.add("refused", path, _reason(error))
    except Exception as error:
        described.add("failed", path, repr(error))
    else:
        described.add("differs" if difference else "equal", path, difference)


def same_info(ours: p4i.P4Info, theirs: p4i.P4Info) -> str:
    """Return the first difference between two P4Infos, or an empty string.

    The order of objects has no meaning. Neither has a `type_info` without contents, which p4c sometimes writes.
    """
    for name in _OBJECTS:
        pairs = [{each.preamble.id: each for each in getattr(info, name)} for info in (ours, theirs)]
        for number in sorted({*pairs[0], *pairs[1]}):
            one, other = (each.get(number) for each in pairs)
            if one != other:
                known = one or other
                assert known is not None
                what = "differs" if one and other else "only here" if one else "missing here"
                return f"{name} {known.preamble.name} {what}{_field(one, other)}"
    for each in ("pkg_info", "type_info"):
        if getattr(ours, each) != getattr(theirs, each):
            return f"{each} differs{_field(getattr(ours, each), getattr(theirs, each))}"
    return ""


def _field(one: object, other: object) -> str:
    """Return the first line in which two messages differ as text."""
    if one is None or other is None:
        return ""
    texts = [str(text_format.MessageToString(each)).splitlines() for each in (one, other)]
    for ours, theirs in zip(*texts, strict=False):
        if ours != theirs:
            return f": {ours.strip()} here, {theirs.strip()} in p4c"
    return f": {len(texts[0])} lines here, {len(texts[1])} in p4c"


def count_errors(root: Path) -> Count:
    """Return the counts of p4c's wrong programs.

    A program is `accepted`, refused as `not supported`, refused `at a line of p4c's` diagnostics, or `elsewhere`.
    """
    count = Count()
    outputs = root / "testdata" / "p4_16_errors_outputs"
    for path in sorted((root / "testdata" / "p4_16_errors").glob("*.p4")):
        expected = outputs / f"{path.name}-stderr"
        told = expected.read_text(errors="replace") if expected.exists() else ""
        first = told.partition("\n")[0]
        try:
            check_file(path, [path.parent])
        except P4Error as error:
            lines = {int(each) for each in _P4C_LINE.findall(told)}
            if "not supported" in error.message:
                outcome = "not supported"
            elif error.place is not None and error.place.line in lines:
                outcome = "at a line of p4c's"
            else:
                outcome = "elsewhere"
            reason = f"{_reason(error)} | p4c: {first}"
        except Exception as error:
            outcome, reason = "failed", repr(error)
        else:
            outcome, reason = "accepted", f"p4c: {first}"
        count.add(outcome, path, reason)
    return count


def _reason(error: P4Error) -> str:
    line = f" (line {error.place.line})" if error.place else " (no place)"
    return error.message + line


def _groups(count: Count) -> Iterator[str]:
    """Yield the reasons of a count, the most frequent first, with names and numbers left out."""
    reasons: Counter[str] = Counter()
    for each in count.lines:
        outcome, _, reason = each.split(": ", 2)
        reasons[f"{outcome}: {re.sub(r'[0-9]+', 'N', reason.partition(' | ')[0])}"] += 1
    for reason, number in reasons.most_common(40):
        yield f"  {number:4} {reason}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the counts."""
    parser = argparse.ArgumentParser(prog="python -m tests.p4.samples")
    parser.add_argument("p4c", type=Path, help="a checkout of p4c")
    parser.add_argument("--list", action="store_true", help="also list the programs that differ")
    parser.add_argument("--compile", action="store_true", help="compile the accepted programs to native code")
    given = parser.parse_args(arguments)
    checked, loaded, described = count_samples(given.p4c, compile_code=given.compile)
    parts = {"check": checked, "engine": loaded, "P4Info": described, "p4_16_errors": count_errors(given.p4c)}
    for name, count in parts.items():
        numbers = ", ".join(f"{number} {outcome}" for outcome, number in count.outcomes.most_common())
        sys.stdout.write(f"{name}: {numbers}\n")
        lines = count.lines if given.list else _groups(count) if name != "p4_16_errors" else ()
        for line in lines:
            sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main()

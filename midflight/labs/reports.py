"""Forms of a grade: JSON, and the files of Gradescope, otter-grader and nbgrader.

No form has times or durations, so that two runs with the same seed give the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping
from typing import Any

from midflight.labs.grading import Grade

__all__ = ["FORMATS", "report", "summary"]


def report(grade: Grade, form: str, student: str = "") -> str:
    """Return a grade as the text of a file.

    `form` is one of `FORMATS`: "json", "gradescope", "otter" or "nbgrader"; KeyError for another. `student` is the id
    that the last two contain.
    """
    return FORMATS[form](grade, student)


def summary(grade: Grade) -> dict[str, Any]:
    """Return a grade as JSON data: lab, seed, points, largest number of points, and each test with its reason."""
    return {
        "lab": grade.lab,
        "seed": grade.seed,
        "points": grade.points,
        "of": grade.most,
        "tests": [
            {"name": each.name, "title": each.title, "points": each.points, "of": each.most, "reason": each.reason}
            for each in grade.results
        ],
    }


def _json(grade: Grade, _: str) -> str:
    return json.dumps(summary(grade), indent=2) + "\n"


def _gradescope(grade: Grade, _: str) -> str:
    """Gradescope's results.json (https://gradescope-autograders.readthedocs.io, "Output format").

    It does not contain the seed, because students see it.
    """
    return json.dumps({"score": grade.points, "visibility": "visible", "tests": _tests(grade)}, indent=2) + "\n"


def _tests(grade: Grade) -> list[dict[str, Any]]:
    return [
        {
            "name": each.title,
            "number": str(number),
            "score": each.points,
            "max_score": each.most,
            "status": "passed" if not each.reason else "failed",
            "output": each.reason or "passed",
            "visibility": "visible",
        }
        for number, each in enumerate(grade.results, 1)
    ]


def _otter(grade: Grade, student: str) -> str:
    """The form of otter-grader's final_grades.csv: the points of each question first, then the submission."""
    names = [each.name for each in grade.results]
    rows: list[Mapping[str, object]] = [
        {
            "file": "points-per-question",
            **{each.name: float(each.most) for each in grade.results},
            "total_points_earned": float(grade.most),
            "percent_correct": 1,
            "grading_status": "--",
        },
        {
            "file": student or grade.lab,
            **{each.name: float(each.points) for each in grade.results},
            "total_points_earned": float(grade.points),
            "percent_correct": grade.points / grade.most,
            "grading_status": "Completed",
        },
    ]
    return _csv(["file", *names, "total_points_earned", "percent_correct", "grading_status"], rows)


def _nbgrader(grade: Grade, student: str) -> str:
    """The form of `nbgrader export`: one line for the submission. What this does not know is empty."""
    columns = [
        "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score",
        "late_submission_penalty", "score", "max_score",
    ]  # fmt: skip
    row = {
        "assignment": grade.lab,
        "student_id": student,
        "raw_score": float(grade.points),
        "late_submission_penalty": 0.0,
        "score": float(grade.points),
        "max_score": float(grade.most),
    }
    return _csv(columns, [row])


def _csv(columns: list[str], rows: list[Mapping[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


FORMATS: Mapping[str, Callable[[Grade, str], str]] = {
    "json": _json,
    "gradescope": _gradescope,
    "otter": _otter,
    "nbgrader": _nbgrader,
}
"""The forms by name."""

"""The conformance subject of `Chain`: parameters to try, random requests, and its oracle's answers.

The oracles of the chain's stages answer in turn, each only the requests that the stage before has forwarded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from midflight.primitives import Chain, Verdict
from midflight.primitives.catalogue import find, made
from midflight.testbed.conformance.subject import Answer, Parameters, Request, Subject, subject

__all__ = ["SUBJECT"]


def _requests(random: Random, parameters: Parameters) -> Iterator[Request]:
    """Yield the requests of the last primitive's subject, with fields of the other primitives from theirs."""
    stages = parameters["stages"]
    rows = [list(subject(each["primitive"]).requests(random, _own(each))) for each in stages]
    for number, request in enumerate(rows[-1]):
        others = [each[number % len(each)].fields for each in rows[-2::-1]]
        fields: dict[str, Any] = dict(request.fields)
        for each in others:
            fields = {**each, **fields}
        yield replace(request, fields=fields)


def _oracle(parameters: Parameters, requests: Sequence[Request]) -> list[Answer]:
    answers = [Answer(Verdict.FORWARD, each.fields) for each in requests]
    for stage in parameters["stages"]:
        names = [each.name for each in made(find(stage["primitive"]), stage["name"], _own(stage)).layout]
        going = [place for place, answer in enumerate(answers) if answer.verdict == Verdict.FORWARD]
        asked = [replace(requests[place], fields=_part(answers[place].fields, names)) for place in going]
        said = subject(stage["primitive"]).oracle(_own(stage), asked) if asked else []
        for place, answer in zip(going, said, strict=True):
            before = answers[place]
            fields = None if answer.fields is None else {**(before.fields or {}), **answer.fields}
            answers[place] = Answer(answer.verdict, fields, before.alerts + answer.alerts)
    return answers


def _own(stage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of one of the primitives."""
    return {name: each for name, each in stage.items() if name not in ("primitive", "name")}


def _part(fields: Mapping[str, Any] | None, names: Sequence[str]) -> dict[str, Any]:
    return {name: (fields or {})[name] for name in names}


SUBJECT = Subject(
    primitive=Chain,
    parameters=(
        {
            "stages": (
                {"primitive": "Filter", "name": "watched", "keep": "room != 0 and sensor > 0"},
                {"primitive": "Threshold", "name": "pressure", "above": 900, "clear": 850, "rate": 30, "sensors": 3},
            )
        },
        {
            "stages": (
                {"primitive": "Filter", "name": "puts", "keep": "command == 0 or cell != 1"},
                {"primitive": "GroupBy", "name": "sums", "workers": 2, "cells": 3, "lanes": 2, "window": 2},
            )
        },
        {
            "stages": (
                {"primitive": "Ewma", "name": "fast", "series": 4, "weight": 3, "shift": 2},
                {"primitive": "Filter", "name": "high", "keep": "average > 0"},
                {"primitive": "Ewma", "name": "slow", "series": 5, "weight": 1, "shift": 2, "deviation": 20},
            )
        },
    ),
    requests=_requests,
    oracle=_oracle,
)

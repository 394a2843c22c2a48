"""Values of a wrong type or shape, from Python or from JSON, are refused with an error of ours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from midflight.errors import KernelError, MidflightError, WireError
from midflight.primitives import (
    REQUEST,
    Aggregate,
    Balance,
    Controller,
    Lookup,
    Message,
    Program,
    Register,
    Schema,
    Steering,
    Threshold,
    Tree,
    bit,
)
from midflight.primitives.catalogue import LIBRARY, instance, made
from midflight.primitives.estimators.hyperloglog import estimate
from midflight.primitives.exports.scapy_layer import layers
from midflight.primitives.exports.scapyfile import scapy_file

LEAF: dict[str, Any] = {"left": [-1], "right": [-1], "feature": [0], "threshold": [0], "votes": [[1, 2]]}


def threshold(name: str) -> Threshold:
    return Threshold(name, above=900, clear=850)


def tree(**changes: Any) -> Program:
    return Program(Tree("alarm", trees=[LEAF | changes], features=1, classes=2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Program(threshold("a"), threshold("b"), ids={"a": 65535}), "no id above 65535 is left for b"),
        (lambda: Program(threshold("a"), ids={"a": "7"}), "a has the id '7'; ids are 1 to 65535"),  # type: ignore[dict-item]
        (lambda: Controller("c", proportional=["x"], low=0, high=1), "gain 'x' must be a number"),  # type: ignore[list-item]
        (lambda: Balance("b", instances=2, buckets=2, table={0: (1,)}), "table has 0: (1,)"),  # type: ignore[dict-item]
        (lambda: Balance("b", instances=2, buckets=2, table={"0": (1, 2)}), "table has '0'"),  # type: ignore[dict-item]
        (lambda: tree(left=3), "a tree must be a dict of arrays of equal length"),
        (lambda: tree(left=["x"]), "left must be an array of integers"),
        (lambda: tree(votes=[3]), "the votes of leaf 0 must be integers"),
        (lambda: estimate(np.zeros(0, np.uint8)), "at least one register"),
    ],
)
def test_wrong_parameters_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(KernelError) as caught:
        make()
    assert message in caught.value.message


@pytest.mark.parametrize("value", [1.7, float("nan"), float("inf"), "zz", [1], None])
def test_a_field_takes_whole_numbers_only(value: Any) -> None:
    schema = Schema(Program(threshold("pressure")).schema())
    with pytest.raises(WireError, match="value"):
        schema.encode(Message(REQUEST, "pressure", 1, {"sensor": 1, "value": value}))


def test_lanes_of_different_lengths_are_refused() -> None:
    program = Program(Aggregate("sum", workers=2, lanes=4))
    fields: dict[str, Any] = dict.fromkeys(
        (each["name"] for each in program.schema()["applications"]["sum"]["fields"]), 0
    )
    with pytest.raises(MidflightError):
        Schema(program.schema()).encode(Message(REQUEST, "sum", 1, fields | {"values": [1, [2, 3], 4, 5]}))


def test_a_schema_with_a_wrong_id_is_refused() -> None:
    with pytest.raises(WireError, match="not a wire schema"):
        Schema({"applications": {"a": {"id": "x", "fields": []}}})


@pytest.mark.parametrize("lanes", [[], [1, 2, 3], [1, 2, 3, 4, 5], 7])
def test_a_reference_refuses_another_number_of_lanes(lanes: Any) -> None:
    reference = Aggregate("sum", workers=2, lanes=4, slots=4).reference()
    fields = dict.fromkeys((each.name for each in Aggregate("sum", workers=2, lanes=4).layout), 0)
    with pytest.raises(KernelError, match=f"values has 4 lanes, not {len(lanes) if lanes != 7 else 1}"):
        reference.process(Message(REQUEST, "sum", 1, fields | {"values": lanes}))


def test_state_before_the_first_element_is_outside() -> None:
    assert int(Lookup(bit[8], [1, 2, 3], default=9).read(-1)) == 9
    register = Register(bit[8], 4, initial=5)
    register.write(-1, 7)
    assert (int(register.read(-1)), int(register.update_fetch(-1, lambda old: old + 1)), register.written) == (5, 6, {})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: made(LIBRARY["Aggregate"], "a", {}), "missing 1 required keyword-only argument: 'workers'"),
        (lambda: made(LIBRARY["Aggregate"], "a", {"wokers": 3}), "Aggregate has no parameter 'wokers'"),
        (lambda: made(LIBRARY["Aggregate"], "a", {"workers": 3, "name": "b"}), "Aggregate has no parameter 'name'"),
        (lambda: made(LIBRARY["Aggregate"], "a", {"workers": 3, 4: 5}), "Aggregate has no parameter 4"),  # type: ignore[dict-item]
        (lambda: made(LIBRARY["Cache"], "c", {"keys": -1}), 'Cache("c") cannot be created'),
        (lambda: made(LIBRARY["Chain"], "c", {"stages": 5}), "'int' object is not iterable"),
        (lambda: made(LIBRARY["Chain"], "c", {"stages": [{"primitive": 5, "name": "f"}]}), "no primitive 5"),
        (lambda: made(LIBRARY["Chain"], "c", {"stages": [{"primitive": "Filter", "name": 5}]}), "argument: 'keep'"),
        (lambda: instance("aggregate", {"workers": 500}), "workers must be"),  # type: ignore[dict-item]
        (lambda: instance("chain", {"stages": "5"}), "'int' object is not iterable"),
        (lambda: instance("aggregate", {"workers": "4", "operation": "{[1]:2}"}), "must be written as in Python"),
        (lambda: Register(bit, 4), "must have a width, such as"),  # type: ignore[arg-type]
        (lambda: Register(bit[8], 4, initial="x"), "must be an integer, not 'x'"),  # type: ignore[arg-type]
        (lambda: instance(5, {}), "the library has no primitive 5"),  # type: ignore[arg-type]
    ],
)
def test_primitives_from_wrong_parameters_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(MidflightError) as caught:
        make()
    assert message.replace('"', "'") in caught.value.message.replace('"', "'")


def test_a_schema_without_applications_has_the_common_header_alone() -> None:
    schema = Program(Steering()).schema()
    assert layers(schema).applications == {}
    assert layers(schema).common().application == 0
    assert scapy_file(schema).endswith("Midflight = _layers.common\n")


def test_a_number_among_few_is_set_by_its_text() -> None:
    assert instance("balance", {"choices": "1"}).choices == 1  # type: ignore[attr-defined]

"""Costs of whole programs: resources by hand, what does not fit, and which parameter would make it fit."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from pathlib import Path
from xml.etree import ElementTree

import pytest

from midflight.errors import MidflightError
from midflight.primitives import Aggregate, Program, Threshold
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.devices import Capabilities, load_sheet
from midflight.runtime.fit import Fit, fit
from midflight.runtime.fit.drawing import stages
from midflight.runtime.fit.graph import Node
from midflight.runtime.fit.memory import cell_bits
from midflight.runtime.fit.sizes import advice, with_largest
from midflight.runtime.fit.source import place_of

TOFINO = load_sheet("tofino")


def checked(program: Program) -> CheckedProgram:
    return CheckedProgram(program.p4())


def pressure(**settings: int | str) -> Program:
    return Program(Threshold("pressure", above=900, clear=850, **settings))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def threshold() -> Fit:
    return fit(checked(pressure()), TOFINO)


def test_a_threshold_fits_tofino(threshold: Fit) -> None:
    assert threshold.fits
    assert threshold.optimal
    assert threshold.stages == 7
    assert threshold.critical[0] == "ingress.admission"
    by_name = {each.name: each for each in threshold.placed}
    armed = by_name["ingress.pressure.armed"]
    assert (armed.application, armed.kind, armed.takes["sram"]) == ("pressure", "register", 2)
    # 4,096 entries of 128 bits: 4 blocks wide of 40 bits each, 8 blocks deep.
    assert by_name["ingress.route_ipv6"].takes["tcam"] == 32
    assert by_name["ingress.route_ipv6"].last == by_name["ingress.route_ipv6"].first + 1
    for stage, used in enumerate(threshold.used, 1):
        for key, amount in used.items():
            assert amount <= TOFINO.per_stage.get(key, amount), (stage, key)


def test_the_header_vector_holds_the_longest_path_of_the_parser(threshold: Fit) -> None:
    # Ethernet, IPv6, UDP, the common header, and the primitive's: no packet also has IPv4.
    assert threshold.vector.header_bits < 112 + 320 + 64 + 160 + 48 + 160
    assert 0 < threshold.vector.bits < 4096
    assert threshold.parser.transitions >= threshold.parser.states


@pytest.mark.parametrize(("width", "cell"), [(1, 1), (4, 8), (8, 8), (33, 64), (65, 128), (130, 256)])
def test_cells_have_the_widths_of_memory(width: int, cell: int) -> None:
    assert cell_bits(width) == cell


def test_what_does_not_fit_is_named_with_its_amount_and_place() -> None:
    sheet = replace(TOFINO, per_stage={**TOFINO.per_stage, "sram": 18})
    program = Program(Aggregate("gradients", workers=4, lanes=1, slots=16384))
    found = fit(checked(program), replace(sheet, stages=20, per_stage={**sheet.per_stage, "sram": 12}))
    problem = next(each for each in found.problems if each.operation.endswith("held"))
    assert (problem.resource, problem.needed, problem.available) == ("sram", 17, 12)
    assert "ingress.gradients.held needs 17 SRAM blocks in one stage, 5 more than the 12" in problem.message
    place = place_of(program, problem)
    assert place is not None
    assert place.file.endswith("aggregate.py")
    assert "self.held = Register(" in place.text
    changes = advice(program, found, checked)
    assert ("gradients", "slots", 16384, 8192) in [
        (each.application, each.parameter, each.now, each.fits) for each in changes
    ]
    assert str(next(each for each in changes if each.parameter == "slots")) == "gradients: slots from 16,384 to 8,192"


def test_max_is_the_largest_that_fits() -> None:
    program = Program(Aggregate("gradients", workers=4, lanes=1, slots="max"))  # type: ignore[arg-type]
    assert program.applications["gradients"].primitive.largest == ("slots",)
    assert program.applications["gradients"].primitive.parameters["slots"] == 16384
    sheet = replace(TOFINO, stages=20, per_stage={**TOFINO.per_stage, "sram": 12})
    reduced, chosen = with_largest(program, sheet, checked)
    assert [(each.parameter, each.fits) for each in chosen] == [("slots", 8192)]
    assert fit(checked(reduced), sheet).fits
    larger = Program(Aggregate("gradients", workers=4, lanes=1, slots=16384))
    assert not fit(checked(larger), sheet).fits
    with pytest.raises(MidflightError, match="slots must be an integer, not 'most'"):
        Aggregate("gradients", workers=4, slots="most")  # type: ignore[arg-type]


def test_too_many_stages_are_explained_by_the_chain_or_the_resource() -> None:
    program = checked(pressure())
    short = fit(program, replace(TOFINO, stages=5))
    assert "needs 7 stages, 2 more than the 5 that there are: 7 operations that need each other's results" in str(
        short.problems[0]
    )
    narrow = fit(program, replace(TOFINO, stages=8, per_stage={"tcam": 8}))
    assert "TCAM blocks, of which a stage has 8; ingress.route" in str(narrow.problems[0])
    assert narrow.problems[0].operation == "ingress.route_ipv6"


def test_other_limits_are_problems_too() -> None:
    program = checked(pressure())
    assert "cannot send digests" in [str(each) for each in fit(program, replace(TOFINO, digests=False)).problems]
    (problem,) = fit(program, replace(TOFINO, containers={32: 4})).problems
    assert problem.resource == "header_vector"
    (problem,) = fit(program, replace(TOFINO, parser_states=3)).problems
    assert "transitions of the parser" in problem.message


def test_a_device_without_stages_has_only_its_other_limits() -> None:
    assert fit(checked(pressure()), load_sheet("host")).fits
    (problem,) = fit(checked(pressure()), Capabilities(kind="small", register_bits=10)).problems
    assert problem.message == "needs 1,024 bits of registers, has 10"


def test_some_applications_need_no_more_than_all() -> None:
    program = Program(Threshold("pressure", above=900, clear=850), Aggregate("gradients", workers=4, lanes=2, slots=8))
    whole, part = fit(checked(program), TOFINO), fit(checked(program), TOFINO, applications=["pressure"])
    assert part.stages < whole.stages
    assert {each.application for each in part.placed} == {"", "pressure"}


def test_the_picture_shows_every_operation_and_stage(threshold: Fit) -> None:
    root = ElementTree.fromstring(stages(threshold))
    titles = [each.text or "" for each in root.iter("{http://www.w3.org/2000/svg}title")]
    for each in threshold.placed:
        assert any(title.startswith(f"{each.name}: {each.kind}") for title in titles)
    texts = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert [each for each in texts if each and each.startswith("stage ")] == [f"stage {n}" for n in range(1, 8)]
    assert stages(fit(CheckedProgram(pressure().p4()), replace(TOFINO, stages=3))).count('class="beyond"') == 4


def test_json_has_the_figures(threshold: Fit, tmp_path: Path) -> None:
    found = threshold.json()
    assert (found["fits"], found["stages"], found["stages_available"]) == (True, 7, 12)
    assert found["resources"]["tcam"]["used"] == sum(found["resources"]["tcam"]["by_stage"]) == threshold.total("tcam")
    assert threshold.share("tcam") == threshold.total("tcam") / (24 * 12)


def test_a_table_takes_nothing_of_a_stage_that_it_skips(monkeypatch: pytest.MonkeyPatch) -> None:
    room = {"sram": 12, "table": 16}
    chain = [
        Node(n, f"r{n}", "register", "", {"table": 1, "sram": blocks}, frozenset({n - 1} - {-1}), frozenset(), ("", n))
        for n, blocks in enumerate((1, 12, 1, 1))
    ]
    table = Node(4, "t", "table", "", {"table": 1, "sram": 20}, frozenset(), frozenset(), ("", 4), split=True)
    monkeypatch.setattr(import_module("midflight.runtime.fit.fit"), "graph", lambda *_: (*chain, table))
    found = fit(checked(pressure()), Capabilities(kind="small", stages=4, per_stage=room))
    assert found.fits
    assert [each["sram"] for each in found.used] == [12, 12, 10, 1]
    assert found.total("sram") == 35

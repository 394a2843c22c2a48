"""The page of a program: well-formed, self-contained and correct."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from midflight.p4.frontend import check
from midflight.primitives import Aggregate, Filter, Program, Threshold
from midflight.primitives.exports.page import page

PROGRAM = Program(
    Aggregate("gradients", workers=4, lanes=16, slots=8),
    Filter("telemetry", keep="temperature < 80 and status != 0"),
    Threshold("pressure", above=900, clear=850),
)


@pytest.fixture(scope="module")
def html() -> str:
    return page(PROGRAM, check(PROGRAM.p4(), "edge.p4"), "edge <1>")


def test_the_pictures_show_every_state_and_kernel(html: str) -> None:
    pipeline, parser = (ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", html, re.DOTALL))
    words = " ".join(pipeline.itertext())
    for each in (
        "gradients: Aggregate",
        "register total: 16 x 16 elements",
        "telemetry: Filter",
        "pressure: Threshold",
    ):
        assert each in words
    states = set(" ".join(parser.itertext()).split())
    assert {"start", "parse_udp", "parse_gradients", "parse_pressure_state", "accept"} <= states
    for picture in (pipeline, parser):
        width, height = (float(each) for each in picture.attrib["viewBox"].split()[2:])
        for box in picture.iter("{http://www.w3.org/2000/svg}rect"):
            x, y, wide, high = (float(box.attrib[each]) for each in ("x", "y", "width", "height"))
            assert x >= 0
            assert y >= 0
            assert x + wide <= width
            assert y + high <= height


def test_code_is_not_wrapped_and_transitions_have_their_values(html: str) -> None:
    assert ".lines td { white-space: pre;" in html
    assert "table-layout" not in html
    assert "svg { max-width: 100%;" in html  # nothing is cut off at the right
    [_, parser] = re.findall(r"<svg.*?</svg>", html, re.DOTALL)
    assert ">0x800</text>" in parser
    assert "drop, reply<" in html
    assert "..." not in html.partition("</svg>")[0]
    assert "/midflight/primitives/library/" not in html  # no path of this machine
    assert "<b>threshold.py</b>" in html


def test_backticks_of_docstrings_are_code() -> None:
    shown = page(Program(Threshold("pressure", above=900, clear=850)), check(PROGRAM.p4(), "edge.p4"), "t")
    assert "`" not in shown.partition("<h2>Pipeline</h2>")[0]
    assert "<code>above</code>" in shown


def test_the_page_has_all_facts(html: str) -> None:
    assert "<h1>edge &lt;1&gt;</h1>" in html
    assert "keep=&#x27;temperature &lt; 80 and status != 0&#x27;" in html
    assert "<td>pressure.armed</td><td>bit[1]</td><td>1024</td><td></td><td>128</td>" in html
    assert "<td>ingress.route</td><td>hdr.ipv4.destination: lpm</td>" in html
    assert "lines more</summary>" in html, "the repetitions of sixteen lanes are collapsed"
    assert "http" not in html.replace("http://www.w3.org/2000/svg", ""), "nothing is fetched from anywhere"


def test_each_line_is_next_to_its_p4(html: str) -> None:
    [row] = [each for each in html.split("<tr>") if "packet.alert(wire.sensor, wire.value)" in each]
    assert "digest&lt;pressure_alert_t&gt;(1, meta.pressure_alert);" in row

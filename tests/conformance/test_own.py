"""Conformance tests of primitives that users write."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from midflight.cli.root import midflight

HISTOGRAM = '''
from midflight.primitives import Header, Packet, Primitive, Register, Verdict, bit
from midflight.testbed.conformance.subject import Answer


class Histogram(Primitive):
    """Count values by bucket; the packets show nothing of it."""

    buckets: int = 16

    class Wire(Header):
        value = bit[8]

    def setup(self) -> None:
        self.counts = Register(bit[32], self.buckets)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        self.counts.update(wire.value >> 4, lambda old: old + 1)
        packet.forward()
'''

ORACLE = """

def oracle(parameters, requests):
    counts, answers = {}, []
    for each in requests:
        bucket = each.fields["value"] // 16
        counts[bucket] = counts.get(bucket, 0) + 1
        answers.append(Answer(Verdict.FORWARD, each.fields, registers={"counts": {bucket: counts[bucket]}}))
    return answers


equivalent = {"self.counts.update -> self.counts.update_fetch": "the result is not used"}
"""

LATENCY = """
from midflight.primitives import Header, Packet, Primitive, Program, Register, bit


class Latency(Primitive):
    above: int

    class Wire(Header):
        flow = bit[8]
        values = bit[16].array(2)

    def setup(self) -> None:
        self.held = Register(bit[16], 4)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        wire.values[1] = self.held.update_fetch(wire.flow, lambda old: max(old, wire.values[0]))
        if wire.values[0] > self.above:
            packet.alert(wire.flow)
        packet.reply()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def conformance(*arguments: str) -> Result:
    return CliRunner().invoke(midflight, ["conformance", *arguments])


def test_a_state_only_primitive_with_an_oracle(folder: Path) -> None:
    (folder / "histogram.py").write_text(HISTOGRAM + ORACLE)
    done = conformance("histogram.py", "--cases", "6", "--self-test", "--junit", "out.xml")
    assert done.exit_code == 0, done.output
    assert "Self-test: 8 of 8 broken programs caught." in done.output
    names = [each.get("name") for each in ElementTree.parse(folder / "out.xml").getroot()]
    assert names == ["oracle", "host", "self-test"]


def test_a_wrong_kernel_is_told_by_its_registers(folder: Path) -> None:
    (folder / "histogram.py").write_text(HISTOGRAM.replace("old + 1", "old + 2") + ORACLE)
    done = conformance("histogram.py", "--cases", "2", "--html", "out.html", "--json", "out.json")
    assert done.exit_code == 1
    document = json.loads((folder / "out.json").read_text())
    oracle = [each for each in document["results"] if each["device"] == "oracle"]
    assert [each["case"] for each in oracle] == ["histogram-0-0", "histogram-0-1"]
    for each in oracle:
        message, *packets = each["differences"]
        assert message.startswith("packet 0: register counts[")
        assert message.endswith("is 2, must be 1")
        assert len(packets) == 1  # minimised to the packet that shows it
        assert "value=" in packets[0]
    page = (folder / "out.html").read_text()
    assert "2 of 2 cases fail" in page
    assert "must be 1" in page


def test_an_oracle_with_too_few_answers_fails(folder: Path) -> None:
    (folder / "histogram.py").write_text(f"{HISTOGRAM}{ORACLE}\nwhole = oracle\noracle = lambda *of: whole(*of)[:-1]\n")
    done = conformance("histogram.py", "--cases", "1")
    assert done.exit_code == 1
    assert "expected answers to" in done.output


def test_a_self_test_without_anything_to_compare_with_is_refused(folder: Path) -> None:
    (folder / "histogram.py").write_text(HISTOGRAM)
    assert conformance("histogram.py", "--cases", "2").exit_code == 0
    done = conformance("histogram.py", "--cases", "0", "--self-test")
    assert done.exit_code == 1
    assert "nothing by which a broken Histogram could be detected" in done.output


def test_a_class_that_needs_parameters_says_what_to_write(folder: Path) -> None:
    (folder / "latency.py").write_text(LATENCY)
    done = conformance("latency.py")
    assert done.exit_code == 1
    assert 'program = Program(Latency("app", above=...))' in done.output


def case(value: int, answer: int) -> str:
    step = {
        "request": {"host": 1, "sequence": 5, "fields": {"flow": 2, "values": [value, 0]}},
        "answer": {"verdict": "reply", "fields": {"values": [value, answer]}},
    }
    return json.dumps(
        {
            "format": "midflight-case-1",
            "name": "largest",
            "primitive": "Latency",
            "parameters": {"above": 200},
            "steps": [step],
            "alerts": [{"name": "app_alert_t", "values": [2]}] if value > 200 else [],
            "state": [{"register": "held", "index": 2, "value": answer}],
        }
    )


def test_cases_by_names_of_fields(folder: Path) -> None:
    (folder / "latency.py").write_text(LATENCY + '\nprogram = Program(Latency("latency", above=200))\n')
    (folder / "cases").mkdir()
    (folder / "cases" / "largest.json").write_text(case(250, 250))
    done = conformance("latency.py", "--case-dir", "cases", "--cases", "3", "--self-test", "--json", "out.json")
    document = json.loads((folder / "out.json").read_text())
    assert [each["verdict"] for each in document["results"]] == ["passed"] * 4
    assert 0 < sum(bool(each["caught_by"]) for each in document["mutants"]) <= len(document["mutants"])

    (folder / "cases" / "largest.json").write_text(case(13, 12))
    done = conformance("latency.py", "--case-dir", "cases", "--cases", "0")
    assert done.exit_code == 1
    assert "packet 0: values[1] is 13, must be 12" in done.output


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"primitive": "Other"}, "there is no primitive 'Other'; there are Latency, "),
        ({"steps": [{"request": {"host": 1, "fields": {"flow": 1}}, "answer": {"verdict": "drop"}}]}, "values"),
        ({"steps": [{"request": {"host": 1, "fields": {}}}]}, "steps[0]: 'answer' is a required property"),
    ],
)
def test_a_malformed_case_is_reported(folder: Path, change: dict[str, object], message: str) -> None:
    (folder / "latency.py").write_text(LATENCY + '\nprogram = Program(Latency("latency", above=200))\n')
    (folder / "cases").mkdir()
    (folder / "cases" / "wrong.json").write_text(json.dumps(json.loads(case(1, 1)) | change))
    done = conformance("latency.py", "--case-dir", "cases", "--cases", "0")
    assert done.exit_code == 1
    assert "cases/wrong.json: this is not a case: " in done.output
    assert message in done.output

"""Programs for Tofino: their P4 in golden files, what is refused with its place, and p4c's Tofino back end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from midflight.errors import DeviceError, KernelError
from midflight.primitives import (
    Aggregate,
    Barrier,
    Bloom,
    Filter,
    Header,
    Learner,
    Packet,
    Primitive,
    Program,
    Register,
    Steering,
    Telemetry,
    Threshold,
    add_overflows,
    bit,
    hash_,
)
from midflight.primitives.emit.tna.architecture import ARCHITECTURES
from midflight.runtime.fit.barefoot import Allocation, allocate, find
from midflight.testbed.conformance.network import EPOCH
from midflight.testbed.conformance.subject import Request, names, subject
from tests.cli.run import midflight
from tests.primitives.golden import check_golden
from tests.primitives.more_kernels import Walk
from tests.primitives.pipeline import Pipeline
from tests.primitives.tofino import SHEETS, Compiled, column, refused

PROGRAMS = {
    "filter": lambda: Program(Filter("telemetry", keep="temperature > 80 and status != 0")),
    "threshold": lambda: Program(Threshold("pressure", above=900, clear=850, sensors=8)),
    "barrier": lambda: Program(Barrier("steps", parties=4, barriers=8)),
    "aggregate": lambda: Program(Aggregate("gradients", workers=4, lanes=32, slots=256, overflow="saturate")),
    "outputs": lambda: Program(Walk("walk"), Filter("telemetry", keep="temperature > 80")),
    "bloom": lambda: Program(Bloom("seen", rows=2, columns=1024)),
    "telemetry": lambda: Program(Telemetry("path", hops=2), Filter("hot", keep="value > 3")),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_golden(name: str) -> None:
    check_golden(f"tna_{name}.p4", PROGRAMS[name]().p4(arch="tna"))


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_p4c_accepts(name: str, arch: str) -> None:
    try:
        find()
    except DeviceError as error:
        pytest.skip(error.message)
    allocated = allocate(PROGRAMS[name]().p4(arch=arch), arch)
    assert 0 < allocated.stages <= {"tna": 12, "t2na": 20}[arch]


class Step(Primitive):
    """Kernels that one stateful ALU cannot run. `which` chooses the update."""

    which: str

    class Wire(Header):
        place = bit[8]
        value = bit[32]
        other = bit[32]
        more = bit[32]

    def setup(self) -> None:
        self.cells = Register(bit[32], 256)
        self.wide = Register(bit[48], 256)
        self.odd = Register(bit[12], 256)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        if self.which == "wide":
            self.wide.update(wire.place, lambda old: old if old > 9 else bit[48](wire.value))
        elif self.which == "overflow":
            self.cells.update(wire.place, lambda old: 0 if add_overflows(old, wire.value) else 1)
        elif self.which == "two operations":
            self.cells.update(wire.place, lambda old: old + wire.value ^ wire.other)
        elif self.which == "comparisons":
            self.cells.update(
                wire.place, lambda old: 1 if old == wire.value else (2 if old > 5 else (3 if old == 9 else old))
            )
        elif self.which == "inputs":
            self.cells.update(
                wire.place, lambda old: wire.more if old == wire.value else (wire.other if old > 7 else old)
            )
        elif self.which == "odd width":
            self.odd.update(wire.place, lambda old: old + 1)
        elif self.which == "product":
            wire.value = wire.value * wire.other
        elif self.which == "range":
            wire.value = hash_(wire.other, range=1000)
        elif self.which == "shift":
            wire.value = wire.value << wire.place
        packet.forward()


REFUSED = {
    "wide": "register `wide` is bit\\[48\\]; a stateful ALU computes with at most 32 bits",
    "overflow": "whether a sum overflows",
    "two operations": "more than one operation on its value",
    "comparisons": "compares its value 3 times; a stateful ALU of Tofino does so 2 times",
    "inputs": "uses 3 numbers of the packet; a stateful ALU takes 2",
    "odd width": "register `odd` counts in bit\\[12\\]",
    "product": "two numbers are multiplied",
    "range": "a hash has the range 1000, but a hash unit computes whole bits: a power of two",
    "shift": "shifted by a number that is not constant",
}


@pytest.mark.parametrize("which", REFUSED)
def test_what_a_stage_cannot_do_is_refused_with_its_place(which: str) -> None:
    program = Program(Step("step", which=which))
    with pytest.raises(KernelError, match=REFUSED[which]) as caught:
        program.p4(arch="tna")
    assert caught.value.place is not None
    assert Path(caught.value.place.file) == Path(__file__)
    assert caught.value.hint


def test_tofino_2_compares_more_often() -> None:
    text = Program(Step("step", which="comparisons")).p4(arch="t2na")
    assert "#include <t2na.p4>" in text
    assert "if (stored == " in text


def test_single_bits_stay_so_if_they_are_only_set_and_cleared() -> None:
    assert "Register<bit<1>, bit<3>>(8, 1) armed;" in PROGRAMS["threshold"]().p4(arch="tna")


def test_a_register_has_one_access_for_each_outcome_of_a_decision() -> None:
    text = PROGRAMS["threshold"]().p4(arch="tna")
    assert [text.count(f"armed_{verb}.execute") for verb in ("clear", "set", "read")] == [1, 1, 1]


EMITTED = frozenset(
    {
        "Acceptor",
        "Aggregate",
        "Balance",
        "Barrier",
        "Bloom",
        "Cache",
        "Distinct",
        "Filter",
        "GroupBy",
        "HeavyHitter",
        "HyperLogLog",
        "Learner",
        "SafetyStop",
        "Sample",
        "SemiJoin",
        "Sequencer",
        "Skyline",
        "Telemetry",
        "Threshold",
        "TopN",
        "Tree",
    }
)
"""The primitives with parameters for which Tofino's stages and stateful ALUs suffice."""


@pytest.mark.parametrize("name", names())
def test_lowered_kernels_agree_with_the_oracle(name: str) -> None:
    of = subject(name)
    played = 0
    for number in range(2 * len(of.parameters)):
        primitive = of.make(number)
        requests = [within_half(each) for each in of.requests(Random(number), primitive.parameters)]
        answers = of.oracle(primitive.parameters, requests)
        try:
            pipeline = Pipeline(primitive, ARCHITECTURES["tna"], EPOCH)
        except KernelError:
            continue
        played += 1
        for place, (request, answer) in enumerate(zip(requests, answers, strict=True)):
            for write in request.writes:
                write.apply(pipeline.tables[write.map])
            assert pipeline.process(request) == answer, f"trace {number}, packet {place}: {request}"
    assert bool(played) == (name in EMITTED)


def within_half(request: Request) -> Request:
    """Return a request with a job number below 2**15: wide serial numbers half of the range apart have no order."""
    if not isinstance(job := request.fields.get("job"), int):
        return request
    return replace(request, fields={**request.fields, "job": job & 0x7FFF})


def test_the_longest_chain_of_operations_is_known() -> None:
    lines = PROGRAMS["filter"]().p4(arch="tna").splitlines()
    at = lines.index("control telemetry_kernel(inout headers_t hdr, inout metadata_t meta) {")
    # The larger number, then whether it is the bound, then the verdict.
    assert lines[at - 1] == "// Its longest chain of operations that depend on each other takes 3 stages."


def chain(program: Program) -> str:
    return next(line for line in program.p4(arch="tna").splitlines() if line.startswith("// Its longest chain"))


@pytest.mark.parametrize(("acceptors", "entries"), [(3, 8), (6, 64), (7, 0)])
def test_few_bits_are_counted_by_a_table(acceptors: int, entries: int) -> None:
    program = Program(Learner("learner", acceptors=acceptors, instances=4, width=32))
    text = program.p4(arch="tna")
    assert text.count("ones_of_is(") == (entries + 2 if entries else 0)
    assert "7: ones_of_is(3);" in text or not entries
    assert ("takes 13 stages" in chain(program)) == bool(entries)


def test_a_verdict_of_the_compiler_replaces_that_primitive_in_the_column() -> None:
    found = [
        Compiled("Bloom", "t2na", 9, Allocation(10, ())),
        Compiled("Lock", "t2na", 0, None, "no room\nfor it"),
    ]
    made = column("t2na", found, "9.13", {"Bloom": ("refused", "two hashes"), "Filter": ("compiles", "8 stages")})
    assert dict(made.primitives) == {
        "Bloom": ("compiles", "10 stages"),
        "Filter": ("compiles", "8 stages"),
        "Lock": ("refused", "no room"),
    }


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_column_has_what_cannot_be_emitted(arch: str) -> None:
    file = Path(__file__).parents[2] / "docs" / "matrix" / f"{SHEETS[arch]}.json"
    cells = json.loads(file.read_text())["primitives"]
    shown = {name for name, each in cells.items() if each["verdict"] == "refused"}
    assert shown >= {each.name for each in refused(arch)}


def test_lanes_are_computed_side_by_side() -> None:
    one, many = (Program(Aggregate("sums", workers=4, lanes=lanes, slots=256)) for lanes in (1, 32))
    assert chain(one) == chain(many)


def test_unknown_architectures_are_rejected() -> None:
    with pytest.raises(KernelError, match="there is no architecture 'psa'") as caught:
        PROGRAMS["filter"]().p4(arch="psa")
    assert "v1model, tna, t2na" in caught.value.hint


def test_steering_is_rejected() -> None:
    with pytest.raises(KernelError, match="steering is not available for tna"):
        Program(Filter("hot", keep="value > 3"), Steering()).p4(arch="tna")


def test_names_of_the_architecture_are_rejected() -> None:
    with pytest.raises(KernelError, match="no room for the name 'bridge'"):
        Program(Filter("bridge", keep="value > 3")).p4(arch="tna")


def test_command(tmp_path: Path) -> None:
    program = Program(Threshold("threshold", above=9, clear=8))
    arguments = ("compile", "threshold", "--set", "above=9", "--set", "clear=8", "--arch", "tna")
    assert midflight(*arguments).stdout == program.p4(arch="tna")
    result = midflight(*arguments, "-o", tmp_path)
    assert result.exit_code == 0, result.stderr
    names = {"threshold.p4", "threshold.wire.json", "threshold.lua", "threshold_scapy.py"}
    assert {each.name for each in tmp_path.iterdir()} == names
    assert "armed_set.execute" in midflight(*arguments, "--explain").stdout

"""The targets: one for each way by which the text, packets or requests of others come in."""

from __future__ import annotations

import atexit
import linecache
import random
import shutil
import tempfile
import textwrap
import warnings
from contextlib import nullcontext
from functools import cache
from pathlib import Path

from finsy.proto import p4r

from midflight.errors import MidflightError
from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.p4.parse import parse
from midflight.p4.preprocess import preprocess
from midflight.primitives import Aggregate, Filter, Program, Schema, Threshold
from midflight.primitives.kernel.primitive import Primitive
from midflight.runtime.checked import CheckedProgram
from midflight.runtime.controller.network import parse_network
from midflight.runtime.engine.ports.pcap import HEADER, PcapReader, record
from midflight.runtime.footprint import footprint
from midflight.runtime.p4runtime.server.arbitration import Role
from midflight.runtime.p4runtime.server.pipeline import Pipeline, assemble
from midflight.runtime.p4runtime.server.read import Reading
from midflight.runtime.p4runtime.server.write import commit, prepare
from midflight.testbed.topology.file import parse_topology
from tests.fuzz.campaign import Target
from tests.fuzz.protobuf import changed, examples
from tests.p4.test_p4c import EVERYTHING as LANGUAGE
from tests.p4runtime.support import EVERYTHING

__all__ = ["targets"]

_KERNEL = """\
from midflight.primitives import *


def twice(value):
    return value + value


def some(value):
    if value > 3:
        return value
    return value + 1


def rounds(value):
    for lane in range(3):
        value = value + lane
    return value


class Lesson(Primitive):
    limit: int = 10

    class Wire(Header):
        key = bit[16]
        value = bit[32]
        small = bit[8]
        lanes = bit[32].array(4)

    def setup(self):
        self.count = Register(bit[32], 1024)
        self.map = Map(bit[16], bit[32], size=64)
        self.powers = Lookup(bit[32], [1, 2, 3, 4])

    def ingress(self, packet, wire):
"""

_KERNELS = [
    "if wire.key == 0:\n    packet.drop()\nelif wire.key > self.limit:\n    packet.forward()\n",
    "count = self.count.update(wire.key, lambda old: old + 1)\nif count > 3:\n    packet.alert(wire.key, count)\n",
    "for lane in range(len(wire.lanes)):\n    wire.lanes[lane] += wire.value\npacket.reply()\n",
    "match wire.small:\n    case 1 | 2:\n        wire.value = twice(wire.value)\n    case _:\n        packet.drop()\n",
    "x = min(wire.value, 7) if wire.small < 3 else some(wire.value)\nwire.value = x << 2 | x >> 30\n",
    "wire.value = hash_(wire.key, wire.value) % 64\nwire.small = bits(wire.value, 7, 0)\n",
    "value = self.map.get(wire.key, 0)\nif self.map.hit:\n    wire.value = sat_add(value, 3)\n",
    "wire.value = self.powers.read(bits(wire.value, 1, 0))\nwire.value = rounds(wire.value)\n",
]

_TOPOLOGIES = [
    """\
hosts: [h1, h2, h3]
switches: [s1]
defaults: {delay: 5us, rate: 1Gbit}
links:
  - h1 s1
  - h2 s1:7
  - {ends: h3 s1, loss: 1%, delay: 2ms, queue: 64KiB}
""",
    "leaf_spine: {leaves: 2, spines: 2, hosts: 4}\ndefaults: {delay: 5us}\nipv6: [h1, h2]\n",
]

_NETWORK = """\
switches:
  s1: {address: "127.0.0.1:9559", kind: host}
  s2: {address: "127.0.0.1:9560", kind: bmv2, device_id: 7}
  s3: {address: "10.9.0.3:9559", capabilities: {stages: 12, register_accesses: 1}}
hosts:
  h1: {address: 10.0.0.1, mac: "02:00:00:00:00:01"}
  h2: {address: 10.0.0.2, mac: "02:00:00:00:00:02", port: "s2:1"}
links:
  - h1 s1
  - s1:7 s2
  - {ends: s2 s3, delay: 2ms}
"""


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _preprocess(data: bytes) -> None:
    preprocess(_text(data), "fuzz.p4", confined=True)


def _parse(data: bytes) -> None:
    parse(preprocess(_text(data), "fuzz.p4", confined=True), "fuzz.p4")


def _check(data: bytes) -> None:
    checked = check(_text(data), "fuzz.p4", confined=True)
    p4info(checked)
    footprint(checked)


def _kernel(data: bytes) -> None:
    with warnings.catch_warnings(action="ignore"):  # Python's own, of what the mutations wrote.
        _compile_kernel(_text(data))


def _compile_kernel(body: str) -> None:
    text = _KERNEL + textwrap.indent(body, " " * 8, lambda _: True) + "\n"
    try:
        code = compile(text, "fuzz_kernel.py", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return  # Python refuses this file itself.
    linecache.cache["fuzz_kernel.py"] = (len(text), None, text.splitlines(keepends=True), "fuzz_kernel.py")
    scope: dict[str, object] = {"__name__": "fuzz_kernel"}
    # Each line is inside the kernel, which is compiled and never run.
    exec(code, scope)
    lesson = scope["Lesson"]
    assert isinstance(lesson, type)
    assert issubclass(lesson, Primitive)
    check(Program(lesson("lesson")).p4())


def _pcap(data: bytes) -> None:
    file = _folder() / "fuzz.pcap"
    file.write_bytes(data)
    for _ in PcapReader(file):
        pass


@cache
def _folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="midflight-fuzz-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _topology(data: bytes) -> None:
    parse_topology(_text(data), "fuzz.yaml")


def _network(data: bytes) -> None:
    parse_network(_text(data), "fuzz.yaml")


@cache
def _pipeline() -> Pipeline:
    checked = CheckedProgram(EVERYTHING)
    config = p4r.ForwardingPipelineConfig(p4info=p4info(checked.program), p4_device_config=EVERYTHING.encode())
    return assemble(config, checked)


def _request(data: bytes) -> None:
    """Apply a request's updates and read its entities, as the service does once a controller may."""
    request = p4r.WriteRequest.FromString(data)
    atomic = request.atomicity != p4r.WriteRequest.CONTINUE_ON_ERROR
    status = commit(prepare(_pipeline(), request, Role("")), atomic=atomic)
    reading = Reading(_pipeline(), p4r.ReadRequest(entities=[each.entity for each in request.updates]), nullcontext())
    for _ in reading:
        pass
    for each in (status, reading.status):
        if each is not None:
            codes = (p4r.Error.FromString(detail.value) for detail in each.details)
            raise MidflightError(next(code.message for code in codes if code.canonical_code))


def _change_request(data: bytes, draw: random.Random) -> bytes:
    new: bytes = changed(p4r.WriteRequest.FromString(data), _pipeline().config.p4info, draw).SerializeToString()
    return new


@cache
def _schema() -> Schema:
    program = Program(
        Aggregate("gradients", workers=4, lanes=32, slots=256, overflow="saturate"),
        Filter("telemetry", keep="temperature > 80 and status != 0"),
        Threshold("pressure", above=900, clear=850),
    )
    return Schema(program.schema())


def _wire(data: bytes) -> None:
    schema = _schema()
    message = schema.decode(data)
    again = schema.decode(schema.encode(message))
    assert again == message, "decoded, encoded and decoded again it is another message"


def _words(language: str) -> list[bytes]:
    return (Path(__file__).parent / "words" / f"{language}.txt").read_bytes().split()


def targets() -> dict[str, Target]:
    """Return all targets by name."""
    p4 = [LANGUAGE.encode(), EVERYTHING.encode()]
    small = [b"#define A(x) x ## 1\n#if A(1) > 0\n#include <core.p4>\n#endif\nA(A(2))\n", *p4]
    wire = [bytes([1, 1, 0, number, 0, 0, 0, 1]) + bytes(200) for number in (1, 2, 3)]
    packets = b"".join(record(number, bytes(range(64))) for number in range(3))
    kernels = [each.encode() for each in _KERNELS]
    requests = examples(_pipeline().config.p4info)
    listed = [
        Target("preprocessor", _preprocess, small, _words("p4"), 5_000),
        Target("parser", _parse, p4, _words("p4"), 500),
        Target("checker", _check, p4, _words("p4"), 1_500),
        Target("kernel", _kernel, kernels, _words("kernel"), 8_000),
        Target("request", _request, requests, [], 60_000, _change_request),
        Target("wire", _wire, wire, [], 600_000),
        Target("topology", _topology, [each.encode() for each in _TOPOLOGIES], _words("yaml"), 40_000),
        Target("network", _network, [_NETWORK.encode()], _words("yaml"), 15_000),
        Target("pcap", _pcap, [HEADER + packets], [], 35_000),
    ]
    return {each.name: each for each in listed}

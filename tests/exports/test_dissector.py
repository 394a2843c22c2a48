"""The Wireshark dissector: its text, and how Wireshark decodes packets with it."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from scapy.layers.inet import IP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from midflight.primitives import REQUEST, RESULT, Header, Message, Packet, Primitive, Program, Schema, bit, int_
from midflight.primitives.exports.dissector import dissector
from midflight.primitives.record import FieldValue
from tests.primitives import kernels
from tests.primitives.golden import check_golden


class Odd(Primitive):
    """Fields of every kind: narrow, across bytes, signed, wide, wider than any number, and lanes of them."""

    class Wire(Header):
        """Only the first field is aligned."""

        first = bit[8]
        flag = bit[1]
        low = int_[7]
        across = int_[12]
        wide = bit[40]
        deep = int_[61]
        key = bit[128]
        lanes = int_[5].array(3)
        values = int_[32].array(2)

    def ingress(self, packet: Packet, wire: Wire) -> None:
        """Forward."""
        packet.forward()


PROGRAM = Program(Odd("odd"), Odd("other"))
FIELDS: dict[str, FieldValue] = {
    "first": 200, "flag": 1, "low": -64, "across": -2048, "wide": 2**40 - 1, "deep": -(2**60) + 5,
    "key": 2**127 + 3, "lanes": [-16, 15, -1], "values": [-(2**31), 2**31 - 1],
}  # fmt: skip


def test_the_dissector_has_the_expected_text() -> None:
    check_golden("dissector.lua", dissector(PROGRAM.schema()))


@pytest.mark.parametrize(
    "stack",
    [Ether() / IP(src="10.0.0.1", dst="10.0.0.2"), Ether() / IPv6(src="64:ff9b:1::1", dst="64:ff9b:1::2")],
    ids=["IPv4", "IPv6"],
)
@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not on PATH")
def test_wireshark_shows_every_field(tmp_path: Path, stack: Ether) -> None:
    script, capture = tmp_path / "odd.lua", tmp_path / "odd.pcap"
    script.write_text(dissector(PROGRAM.schema()))
    schema = Schema(PROGRAM.schema())
    whole = schema.encode(Message(REQUEST, "odd", 7, FIELDS))
    result = schema.encode(Message(RESULT, "other", 2**32 - 1, FIELDS))
    wrpcap(
        str(capture),
        [stack / UDP(sport=sport, dport=dport) / data
         for sport, dport, data in ((5000, 19782, whole), (19782, 5000, result), (5000, 19782, whole[:38]),
                                    (5000, 19782, b"\x01" + whole[1:]))],
    )  # fmt: skip
    names = ["midflight.kind", "midflight.sequence", *(f"midflight.odd.{name}" for name in FIELDS)]
    names += ["midflight.other.deep", "midflight.cut_short", "_ws.col.Info"]
    reported = subprocess.run(
        ["tshark", "-X", f"lua_script:{script}", "-r", str(capture), "-T", "json",
         *(word for name in names for word in ("-e", name))],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    one, other, short, alien = (each["_source"]["layers"] for each in json.loads(reported))
    assert one["midflight.kind"] == ["1"]
    assert one["midflight.sequence"] == ["7"]
    assert len(one["midflight.odd.key"]) == 1, "too wide for a number, so shown as bytes"
    for name, value in FIELDS.items():
        if name != "key":
            numbers = value if isinstance(value, list) else [value]
            assert one[f"midflight.odd.{name}"] == [str(each) for each in numbers], name
    assert other["midflight.other.deep"] == [str(FIELDS["deep"])]
    assert other["_ws.col.Info"] == ["other result 4294967295"]
    assert "midflight.cut_short" in short
    assert "midflight.odd.first" not in short
    assert "midflight.kind" not in alien


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not on PATH")
def test_wireshark_shows_the_present_items(tmp_path: Path) -> None:
    program = Program(kernels.Basket("basket"))
    script, capture = tmp_path / "basket.lua", tmp_path / "basket.pcap"
    script.write_text(dissector(program.schema()))
    fields: dict[str, FieldValue] = {"count": 2, "total": 0, "mark": 1}
    for place in range(4):
        there = place < 2
        fields |= {f"items_{place}_kind": 3 + place if there else 0, f"items_{place}_price": 2**32 - 1 if there else 0}
    data = Schema(program.schema()).encode(Message(REQUEST, "basket", 7, fields))
    stack = Ether() / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=5000, dport=19782)
    wrpcap(str(capture), [stack / data, stack / data[:-1]])
    names = [f"midflight.basket.items_{place}_{field}" for place in range(4) for field in ("kind", "price")]
    reported = subprocess.run(
        ["tshark", "-X", f"lua_script:{script}", "-r", str(capture), "-T", "json",
         *(word for name in (*names, "midflight.cut_short") for word in ("-e", name))],
        capture_output=True, text=True, check=True, timeout=60,
    ).stdout  # fmt: skip
    whole, short = (each["_source"]["layers"] for each in json.loads(reported))
    assert whole == {names[0]: ["3"], names[1]: ["4294967295"], names[2]: ["4"], names[3]: ["4294967295"]}
    assert set(short) == {names[0], names[1], "midflight.cut_short"}

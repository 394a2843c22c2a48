"""Tracing of devices: the same form for every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from midflight.errors import DeviceError
from midflight.primitives import Program, Threshold
from midflight.runtime.devices import open_device
from midflight.runtime.devices.base import PacketDevice
from midflight.runtime.devices.bmv2 import Bmv2Device
from midflight.runtime.devices.tracing import LogTracer, open_tracer
from midflight.runtime.engine import Packets
from tests.bmv2 import BMV2

PROGRAM = Program(Threshold("pressure", above=9, clear=2)).p4()
LOG = """\
Calling target program-options parser
[15:43:01.101] [bmv2] [D] [thread 7] [3.0] [cxt 0] Egress port is 2
[15:43:01.123] [bmv2] [D] [thread 7] [4.0] [cxt 0] Processing packet received on port 1
[15:43:01.123] [bmv2] [D] [thread 7] [4.0] [cxt 0] Parser 'parser': start
[15:43:01.123] [bmv2] [D] [thread 7] [4.0] [cxt 0] Parser 'parser' entering state 'start'
[15:43:01.123] [bmv2] [D] [thread 7] [4.0] [cxt 0] Extracting header 'ethernet'
[15:43:01.123] [bmv2] [D] [thread 7] [4.0] [cxt 0] Parser 'parser' entering state 'parse_ipv4'
[15:43:01.123] [bmv2] [T] [thread 7] [4.0] [cxt 0] Bytes parsed: 34
[15:43:01.123] [bmv2] [D] [thread 7] [4.0] [cxt 0] Parser 'parser': end
[15:43:01.124] [bmv2] [D] [thread 7] [5.0] [cxt 0] Processing packet received on port 2
[15:43:01.124] [bmv2] [D] [thread 7] [5.0] [cxt 0] Parser 'parser' entering state 'start'
[15:43:01.124] [bmv2] [E] [thread 7] [5.0] [cxt 0] Exception while parsing: PacketTooShort
[15:43:01.124] [bmv2] [D] [thread 7] [5.0] [cxt 0] Parser 'parser': end
[15:43:01.125] [bmv2] [D] [thread 7] [4.0] [cxt 0] Table 'ingress.route': hit with handle 0
[15:43:01.125] [bmv2] [D] [thread 7] [4.0] [cxt 0] Dumping entry 0
Match key:
* hdr.ipv4.destination: LPM       0a000002/32
[15:43:01.125] [bmv2] [D] [thread 7] [4.0] [cxt 0] Action entry is ingress.to_port - 2,20000000002,
[15:43:01.125] [bmv2] [D] [thread 7] [4.0] [cxt 0] Table 'tbl_prog9': miss
[15:43:01.125] [bmv2] [D] [thread 7] [4.0] [cxt 0] Action entry is prog9 - 
[15:43:01.125] [bmv2] [T] [thread 7] [4.0] [cxt 0] prog.p4(9) Primitive digest<alert_t>(1, meta.alert)
[15:43:01.125] [bmv2] [D] [thread 7] [4.0] [cxt 0] Multicast requested for packet
[15:43:01.125] [bmv2] [D] [thread 7] [4.0] [cxt 0] Replicating packet on port 2
[15:43:01.126] [bmv2] [D] [thread 7] [5.0] [cxt 0] Egress port is 511
[15:43:01.126] [bmv2] [D] [thread 7] [5.0] [cxt 0] Dropping packet at the end of ingress
[15:43:01.127] [bmv2] [D] [thread 9] [4.1] [cxt 0] Table 'egress.deliver': miss
[15:43:01.127] [bmv2] [D] [thread 9] [4.1] [cxt 0] Action entry is NoAction - 
[15:43:01.128] [bmv2] [D] [thread 8] [4.1] [cxt 0] Transmitting packet of size 56 out of port 2
[15:43:01.129] [bmv2] [D] [thread 7] [6.0] [cxt 0] Processing packet rec"""  # noqa: W291
FIRST = """\
in by port 1
  parser     start, parse_ipv4, accept
  table      ingress.route: hit, ingress.to_port
  digest     alert_t
  multicast  
  egress     port 2
  table      egress.deliver: miss, NoAction
  out        by port 2, 56 bytes"""  # noqa: W291
SECOND = "in by port 2\n  parser     start, reject (PacketTooShort)\n  dropped    in ingress"


def test_a_log_of_bmv2_becomes_traces(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("[15:00:00.000] [bmv2] [D] [thread 7] [3.0] [cxt 0] Processing packet received on port 1\n")
    tracer = LogTracer(log, {"ingress.route", "egress.deliver"})
    with log.open("a") as file:
        file.write(LOG)
    assert tracer.take() == []  # they may not be complete yet
    assert tracer.take() == [FIRST, SECOND]
    with log.open("a") as file:
        file.write("eived on port 9\n")
    assert tracer.close() == ["in by port 9"]


def test_traces_beyond_the_limit_are_returned_incomplete(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("")
    tracer = LogTracer(log, {"ingress.route", "egress.deliver"})
    line = "[15:43:01.123] [bmv2] [D] [thread 7] [{}.0] [cxt 0] Processing packet received on port 1\n"
    with log.open("a") as file:
        file.writelines(line.format(number) for number in range(300))
    assert len(tracer.take()) == 300 - 256


def test_the_embedded_switch_can_always_be_traced() -> None:
    with open_device("host", PROGRAM) as device, device.session() as session:
        assert isinstance(device, PacketDevice)
        tracer = open_tracer(device, session)
        device.process(Packets.from_list([(3, bytes(64))]))
        session.flush()
        (way,) = tracer.take()
        assert way.splitlines()[0] == "in by port 3, 64 bytes"
        device.process(Packets.from_list([(4, bytes(60))]))
        (way,) = tracer.close()
        assert way.splitlines()[0] == "in by port 4, 60 bytes"


class TestBmv2:
    pytestmark = BMV2

    def test_bmv2_gives_the_same_traces_as_the_embedded_switch(self) -> None:
        found = []
        for device in (open_device("host", PROGRAM), Bmv2Device(PROGRAM, log_level="trace")):
            assert isinstance(device, PacketDevice)
            with device, device.session() as session:
                tracer = open_tracer(device, session)
                device.process(Packets.from_list([(3, bytes(64)), (4, bytes(10))]))
                session.flush()
                found.append([each.partition("\n")[2] for each in tracer.close()])
        assert found[0] == found[1]
        assert len(found[0]) == 2

    def test_a_switch_without_packet_logs_reports_what_is_needed(self) -> None:
        with Bmv2Device(PROGRAM) as device, device.session() as session:
            with pytest.raises(DeviceError, match="does not log its packets") as refused:
                open_tracer(device, session)
            assert "midflight net --trace" in refused.value.hint

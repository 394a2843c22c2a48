"""Program changes on switch processes, while workers sum through them over real sockets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from midflight.primitives import Aggregate, Program, Threshold
from midflight.primitives.wire import REQUEST, Message, Schema
from midflight.runtime.devices.registry import capabilities
from midflight.testbed import Star
from tests.bmv2 import BMV2, ROOT
from tests.netns.test_faults import amid
from tests.testbed.test_allreduce import check, vectors
from tests.testbed.test_sim import Inbox

pytestmark = ROOT

PROGRAM = Program(
    Aggregate("gradients", workers=2, lanes=4, slots=4), Threshold("pressure", above=900, clear=850, sensors=8)
)
OTHERS = Aggregate("others", workers=2, lanes=4, slots=4)


@pytest.mark.parametrize("live", [True, False], ids=["live", "restarted"])
@pytest.mark.parametrize("device", ["host", pytest.param("bmv2", marks=BMV2)])
def test_a_sum_continues_while_an_application_is_added_and_removed(device: str, live: bool) -> None:
    sheet = replace(capabilities(device), live_pipelines=live)
    with Star(4, program=PROGRAM, fabric="netns", device=device, capabilities=sheet) as net:
        before = net.device
        net.state("pressure").armed.write([0, 1, 0, 1])
        net.session.subscribe("pressure_alert_t")
        net.admit("pressure")
        net.listen(net.hosts[3], inbox := Inbox(), 40_000)
        message = Schema(PROGRAM.schema()).encode(Message(REQUEST, "pressure", 1, {"sensor": 6, "value": 905}))
        inbox.outgoing.append(((str(net.hosts[2].address), 19782), message))
        net.run(lambda: not net.state("pressure").armed.read()[6])
        group = net.group("gradients", net.hosts[:2])

        def come_and_go() -> None:
            net.change(PROGRAM.extended(OTHERS))
            net.change(net.program.without("others"))
            net.change(net.program.extended(OTHERS))

        amid(net, group, come_and_go)
        assert (net.device is before) == live
        assert {each.epochs for each in group.statistics} == {0}, "the epoch has not changed"
        assert list(net.state("pressure").armed.read()) == [0, 1, 0, 1, 1, 1, 0, 1]
        assert sum(each.packets for each in net.counters("gradients").values()) > 2 * 2000
        assert [each.values for each in net.session.digests()] == [{"sensor": 6, "value": 905}]
        check(arrays := vectors(2, 100), net.group("others", net.hosts[2:], server=net.hosts[0]).sum(arrays))

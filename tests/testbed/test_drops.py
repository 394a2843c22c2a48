"""Switches count what each application drops."""

from __future__ import annotations

import pytest

from midflight.primitives import Filter, Program, Threshold
from midflight.testbed import Star
from tests.bmv2 import BMV2


@pytest.mark.parametrize("device", ["host", pytest.param("bmv2", marks=BMV2)])
def test_drops_are_counted_by_application(device: str) -> None:
    program = Program(Threshold("hot", above=9, clear=5), Filter("large", keep="size > 3"))
    with Star(hosts=3, program=program, device=device) as net:
        net.send("h1", "large", size=[1, 2, 5, 7, 0])
        dropped = [net.sessions["s1"].read_counter("ingress.dropped", each).packets for each in range(2)]
    assert dropped == [0, 3]

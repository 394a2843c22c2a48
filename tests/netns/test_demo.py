"""The demonstration gives the same model on every fabric and device, bit for bit."""

from __future__ import annotations

import pytest

from tests.bmv2 import BMV2, ROOT

pytest.importorskip("sklearn", reason="scikit-learn has the images")

from midflight.testbed.demos.allreduce import Settings, run

pytestmark = ROOT


@pytest.fixture(scope="module")
def simulated() -> tuple[str, str]:
    figures = run(Settings(workers=2, steps=2)).figures
    return figures.sums_digest, figures.weights_digest


@pytest.mark.parametrize("device", ["host", pytest.param("bmv2", marks=BMV2)])
def test_the_weights_equal_those_of_the_simulated_network(device: str, simulated: tuple[str, str]) -> None:
    figures = run(Settings(workers=2, steps=2, device=device, fabric="netns", loss=0.01)).figures
    assert (figures.sums_digest, figures.weights_digest) == simulated
    assert figures.sums_exact
    assert (figures.fabric, figures.device, figures.trace_switch) == ("netns", device, "")
    assert figures.server_link_packets_switch == 0
    assert figures.server_link_packets_server > 0

"""`midflight bench xdp`: its figures. They are rates of real packets, which are checked to be forwarded correctly."""

from __future__ import annotations

from midflight.testbed.bench.xdp import bench_xdp
from tests.bpf.build import needs_bpf


@needs_bpf
def test_all_frames_arrive_and_each_forwarder_has_its_figures() -> None:
    found = bench_xdp(runs=1, seconds=0.02, count=20_000, packet_bytes=100)
    assert [*found.live] == [*found.socket] == ["xdp", "by hand", "embedded"]
    assert [*found.ending] == [*found.run] == ["xdp", "by hand"]
    for rates in (found.live, found.ending, found.socket):
        assert all(rate > 0 for each in rates.values() for rate in each)
    assert found.to_hand > 0
    assert [*found.state] == ["no state", "a counter", "a register"]
    assert all(figure > 0 for each in found.state.values() for figure in each)
    assert found.to_embedded <= found.live["xdp"][0] / found.socket["embedded"][0]

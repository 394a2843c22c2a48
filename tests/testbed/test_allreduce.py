"""The all-reduce endpoint over the simulated network, with a switch in plain Python."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from midflight.errors import MidflightError, WireError
from midflight.primitives import Aggregate, Program
from midflight.runtime.endpoint import Address, NoAnswerError, Timing
from midflight.runtime.endpoint.allreduce import AllReduce, OverflowedError, Sum
from midflight.runtime.endpoint.software import SoftwareServer
from midflight.testbed.sim import Network
from midflight.testbed.topology import LinkQuality, star
from tests.testbed.standin import StandIn

SERVER = ("10.0.0.254", 19782)
TIMING = Timing(initial=1_000_000, minimum=50_000, maximum=100_000_000, patience=20_000_000_000)


class Cluster:
    """Workers on hosts 1 to n around the stand-in switch."""

    def __init__(
        self, workers: int, *, lanes: int = 8, slots: int = 16, seed: int = 0, quality: LinkQuality | None = None
    ) -> None:
        self.switch = StandIn(workers, slots, lanes)
        self.network = Network(star(workers, quality), {"s1": self.switch}, seed=seed)
        self.endpoints = [
            AllReduce(
                application=1,
                worker=each,
                workers=workers,
                lanes=lanes,
                slots=slots,
                server=("10.0.0.254", 19782),
                timing=TIMING,
            )
            for each in range(workers)
        ]
        self.sockets = [
            host.listen(40_000, endpoint)
            for host, endpoint in zip(self.network.hosts.values(), self.endpoints, strict=True)
        ]

    def submit(self, vectors: Sequence[NDArray[np.float32]]) -> None:
        for endpoint, socket, vector in zip(self.endpoints, self.sockets, vectors, strict=True):
            endpoint.submit(vector)
            socket.pump()

    def finish(self) -> list[list[Sum]]:
        assert self.network.simulator.run(lambda: all(each.idle for each in self.endpoints))
        return [list(iter(each.take, None)) for each in self.endpoints]


def vectors(workers: int, size: int, seed: int = 1, scale: float = 1.0) -> list[NDArray[np.float32]]:
    generator = np.random.default_rng(seed)
    return [(scale * generator.standard_normal(size)).astype(np.float32) for _ in range(workers)]


def check(arrays: Sequence[NDArray[np.float32]], results: Sequence[Sum]) -> None:
    """Check that every worker has NumPy's sum of the same fixed-point integers."""
    for result in results:
        integers = sum(np.rint(each.astype(np.float64) * 2.0**result.bits).astype(np.int64) for each in arrays)
        np.testing.assert_array_equal(result.integers, integers)
        exact = np.sum(np.stack(arrays).astype(np.float64), axis=0)
        np.testing.assert_allclose(
            result.values, exact, rtol=2.0**-24, atol=len(arrays) * 2.0 ** -(result.bits + 1), strict=False
        )


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 650, 5000])
def test_every_worker_gets_the_sum(size: int) -> None:
    cluster = Cluster(4)
    arrays = vectors(4, size)
    cluster.submit(arrays)
    results = [each for [each] in cluster.finish()]
    assert all(each.values.shape == (size,) for each in results)
    check(arrays, results)
    assert cluster.network.totals().lost == 0
    assert sum(each.statistics.reliable.retransmitted for each in cluster.endpoints) == 0


@pytest.mark.parametrize("seed", range(6))
def test_each_contribution_counts_once_over_lossy_links(seed: int) -> None:
    arrays = vectors(4, 900, seed)
    lossless = Cluster(4, slots=8, seed=seed)
    lossy = Cluster(4, slots=8, seed=seed, quality=LinkQuality(loss=0.15, duplicate=0.1, reorder=0.2))
    for cluster in (lossless, lossy):
        cluster.submit(arrays)
    [[expected], *_] = lossless.finish()
    for [result] in lossy.finish():
        np.testing.assert_array_equal(result.integers, expected.integers)
        assert result.bits == expected.bits
    assert lossy.switch.contributions == lossless.switch.contributions
    assert sum(each.statistics.reliable.retransmitted for each in lossy.endpoints) > 0


def test_several_rounds_may_be_submitted_at_once() -> None:
    cluster = Cluster(3, quality=LinkQuality(loss=0.05, reorder=0.1))
    rounds = [vectors(3, size, seed, scale) for seed, (size, scale) in enumerate([(100, 1e-9), (3, 1e9), (40, 1.0)])]
    for arrays in rounds:
        cluster.submit(arrays)
    for arrays, results in zip(rounds, zip(*cluster.finish(), strict=True), strict=True):
        check(arrays, results)


def test_all_rounds_are_settled_once_a_worker_is_closed() -> None:
    cluster = Cluster(3)
    for seed in range(3):
        cluster.submit(vectors(3, 20, seed))
    cluster.finish()
    assert {each.settled for each in cluster.endpoints} == {2}, "others may still need the last round"
    for endpoint, socket in zip(cluster.endpoints, cluster.sockets, strict=True):
        endpoint.close()
        socket.pump()
    assert cluster.network.simulator.run(lambda: all(each.closed for each in cluster.endpoints))
    assert {(each.settled, each.statistics.rounds) for each in cluster.endpoints} == {(3, 3)}
    assert {each.position + 1 for each in cluster.endpoints} == {cluster.endpoints[0].upcoming}


def test_the_largest_worker_determines_the_scale() -> None:
    cluster = Cluster(2)
    arrays = [np.array([1e-3, 2e-3], np.float32), np.array([1e30, -1e30], np.float32)]
    cluster.submit(arrays)
    check(arrays, [each for [each] in cluster.finish()])


@pytest.mark.parametrize(("workers", "lanes"), [(1, 1), (2, 3), (64, 32)])
def test_groups_of_any_size_and_number_of_lanes(workers: int, lanes: int) -> None:
    cluster = Cluster(workers, lanes=lanes, slots=4)
    arrays = vectors(workers, 10)
    cluster.submit(arrays)
    check(arrays, [each for [each] in cluster.finish()])


def test_a_silent_worker_makes_the_job_fail() -> None:
    cluster = Cluster(3)
    for endpoint, socket in zip(cluster.endpoints[:2], cluster.sockets, strict=False):
        endpoint.submit(np.ones(4, np.float32))
        socket.pump()
    with pytest.raises(NoAnswerError, match="no answer for 20 s"):
        cluster.finish()


def test_numbers_without_fixed_point_form_are_rejected_before_sending() -> None:
    cluster = Cluster(2)
    with pytest.raises(WireError, match="position 2 is nan"):
        cluster.endpoints[0].submit(np.array([1, 2, np.nan], np.float32))
    assert cluster.endpoints[0].idle


def test_a_flagged_result_is_an_error_and_foreign_datagrams_are_ignored() -> None:
    endpoint = Cluster(2, lanes=1).endpoints[0]
    endpoint.submit(np.ones(1, np.float32))
    [(destination, request), *_] = endpoint.poll(0)
    for foreign in (b"", request, request[:-1], b"\1\2" + request[2:], b"\2\2\0\7" + request[4:]):
        endpoint.receive(destination, foreign, 1)
    assert endpoint.statistics.refused.malformed == 5
    flagged = b"\2\2" + request[2:19] + b"\1" + request[20:]
    with pytest.raises(OverflowedError):
        endpoint.receive(destination, flagged, 1)


def direct(workers: int, **options: object) -> list[AllReduce]:
    """Return workers that know each other's addresses, without a network."""
    settings: dict[str, Any] = {"lanes": 4, "slots": 4, "server": SERVER, "timing": TIMING} | options
    return [
        AllReduce(application=1, worker=each, workers=workers, peers=[*map(peer, range(workers))], **settings)
        for each in range(workers)
    ]


def peer(number: int) -> Address:
    return f"10.0.0.{number + 1}", 50_000


def run_direct(workers: Sequence[AllReduce], sums: Callable[[int, bytes], list[tuple[int, bytes]]]) -> None:
    """Deliver messages between the workers, and requests to `sums`, until all are done."""
    now = 0
    for _ in range(2000):
        for number, worker in enumerate(workers):
            for address, datagram in worker.poll(now):
                if address == SERVER:
                    for to, result in sums(number, datagram):
                        workers[to].receive(SERVER, result, now)
                else:
                    other = int(address[0].rsplit(".", 1)[1]) - 1
                    workers[other].receive(peer(number), datagram, now)
        if all(worker.idle for worker in workers):
            return
        now += TIMING.initial // 4
    pytest.fail("the workers do not finish")


def test_workers_recompute_an_overflowed_sum_with_64_bits() -> None:
    workers = direct(3, headroom=False)
    server = SoftwareServer(Program(Aggregate("sums", workers=3, lanes=4, slots=4, overflow="detect")))
    server.serve("sums", [peer(number) for number in range(3)])

    def sums(number: int, datagram: bytes) -> list[tuple[int, bytes]]:
        server.receive(peer(number), datagram, 0)
        return [(int(to[0][-1]) - 1, result) for to, result in server.poll(0)]

    arrays = [np.array([1.5, -1.75, 0.001, 1e-9, 1.0], np.float32)] * 3
    for worker, array in zip(workers, arrays, strict=True):
        worker.submit(array)
    run_direct(workers, sums)
    for worker in workers:
        result = worker.take()
        assert result is not None
        assert result.bits == 29, "there is no headroom for the sum"
        assert np.abs(result.integers).max() > 2**31
        check(arrays, [result])
        assert worker.statistics.overflowed == 1, "the other chunk fits"


def test_workers_finish_without_a_switch_or_server() -> None:
    workers = direct(3)
    arrays = vectors(3, 30)
    for worker, array in zip(workers, arrays, strict=True):
        worker.submit(array)
    run_direct(workers, lambda _number, _datagram: [])
    check(arrays, [result for worker in workers if (result := worker.take()) is not None])
    assert all(worker.statistics.stuck + worker.statistics.from_peers > 0 for worker in workers)
    assert any(worker.statistics.stuck > 0 for worker in workers)


def test_messages_of_another_job_are_ignored() -> None:
    old, new = direct(2, job=65535)[0], direct(2, job=0)[0]
    for worker in (old, new):
        worker.submit(np.ones(1, np.float32))
    [(_, request), *_] = old.poll(0)
    new.poll(0)
    new.receive(SERVER, b"\2\2" + request[2:], 1)
    assert new.statistics.refused.job == 1
    assert new.open == 4


def test_lanes_must_fit_the_mtu() -> None:
    with pytest.raises(MidflightError, match="packets with 256 lanes have 1076 bytes, but the MTU is 576") as refusal:
        direct(2, lanes=256, mtu=576)
    assert refusal.value.hint == "give the Aggregate at most 131 lanes"
    direct(2, lanes=131, mtu=576)


def test_a_worker_number_must_be_within_the_group() -> None:
    with pytest.raises(MidflightError, match="there is no worker 4: 4 workers"):
        AllReduce(application=1, worker=4, workers=4, lanes=1, slots=1, server=("10.0.0.5", 1))

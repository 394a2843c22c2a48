"""Decisions of compute-aware forwarding: the slow loop, the fast loop, and the baselines."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from midflight.errors import MidflightError
from midflight.runtime.steering.policies import (
    Damping,
    Plan,
    Problem,
    baselines,
    better,
    cost,
    cumulative,
    expected_wait,
    mean_wait,
    optimise,
    pick,
    plan,
    static_shares,
    wait_of,
    waiting,
)

UP = [True, True, True]


def two_sites(demand: float, *, near: float = 0.001, far: float = 0.005, background: float = 0.0) -> Problem:
    """Return one demand with two options: a near and a far site, each with four servers of 10 ms."""
    return Problem(
        demands=np.array([demand]),
        of=np.array([0, 0]),
        fixed=np.array([near + 0.01, far + 0.01]),
        use_option=np.array([0, 1]),
        use_queue=np.array([0, 1]),
        use_seconds=np.array([0.01, 0.01]),
        servers=np.array([4.0, 4.0]),
        copies=np.array([1.0, 1.0]),
        cv2=np.array([1.0, 1.0]),
        background=np.array([background, 0.0]),
    )


def test_one_server_waits_as_in_the_textbook() -> None:
    for busy in (0.3, 0.7, 0.9):
        assert waiting(1, busy, 1.0) == pytest.approx(busy**2 / (1 - busy))  # M/M/1
        assert waiting(1, busy, 0.0) == pytest.approx(busy**2 / (1 - busy) / 2)  # M/D/1
        assert mean_wait(1, busy, 1.0, 10.0) == pytest.approx(10.0 * busy / (1 - busy))
    assert waiting(8, 0.9, 1.0) < waiting(1, 0.9, 1.0), "a shared queue of many servers waits less"
    assert mean_wait(1, 0.0, 1.0, 10.0) == 0.0


def test_a_little_demand_goes_to_the_near_site_and_more_of_it_spreads() -> None:
    shares = [optimise(two_sites(rate)).rates / rate for rate in (50.0, 500.0, 760.0)]
    assert shares[0] == pytest.approx([1.0, 0.0])
    assert 0.5 < shares[1][0] < 0.8
    assert shares[2] == pytest.approx([0.5, 0.5], abs=0.03), "near capacity both are full"


def test_at_the_optimum_all_options_in_use_have_the_same_marginal_cost() -> None:
    best = optimise(two_sites(500.0))
    assert best.marginal[0] == pytest.approx(best.marginal[1])
    assert best.value == pytest.approx(cost(two_sites(500.0), best.rates / 500.0))
    assert (best.waits < best.marginal - two_sites(500.0).fixed).all(), "a request delays others too"


def test_the_optimum_is_not_worse_than_any_other_split() -> None:
    problem = two_sites(550.0)
    best = optimise(problem).value
    for part in np.linspace(0.0, 1.0, 41):
        assert best <= cost(problem, np.array([part, 1.0 - part])) + 1e-9


def test_work_of_others_is_avoided() -> None:
    free, taken = (optimise(two_sites(300.0, background=busy)).rates[0] for busy in (0.0, 3.0))
    assert taken < free / 2


def test_a_link_is_a_resource_like_an_instance() -> None:
    """The near site's link carries 100 requests a second, so most of them go to the far one."""
    base = two_sites(300.0)
    narrow = Problem(
        base.demands, base.of, base.fixed,
        np.array([0, 1, 0]), np.array([0, 1, 2]), np.array([0.01, 0.01, 0.01]),
        np.array([4.0, 4.0, 1.0]), np.ones(3), np.ones(3), np.zeros(3),
    )  # fmt: skip
    assert optimise(base).rates[0] > 150.0
    assert optimise(narrow).rates[0] < 100.0


def test_more_demand_than_all_servers_still_has_a_solution() -> None:
    assert optimise(two_sites(5000.0)).rates.sum() == pytest.approx(5000.0)


def test_a_demand_without_an_option_is_an_error() -> None:
    empty = two_sites(10.0)
    with pytest.raises(MidflightError, match="no instance"):
        optimise(
            Problem(np.array([1.0, 1.0]), empty.of, empty.fixed, empty.use_option, empty.use_queue, empty.use_seconds,
                    empty.servers, empty.copies, empty.cv2, empty.background)
        )  # fmt: skip


def test_small_gains_move_nothing_and_large_ones_move_step_by_step() -> None:
    first = plan(two_sites(500.0), None, Damping())
    again = plan(two_sites(505.0), first, Damping())
    assert not again.changed
    assert again.shares is first.shares
    reversed_ = two_sites(500.0, near=0.02, far=0.001)
    moved = plan(reversed_, first, Damping(step=0.5))
    target = plan(reversed_, None, Damping()).shares
    assert moved.changed
    assert moved.shares == pytest.approx((first.shares + target) / 2)


def test_rounds_settle_when_the_sites_answer_to_the_weights() -> None:
    """Each round sees the load that its own weights caused elsewhere. Undamped, it would swing; damped, it settles."""
    plans: list[Plan | None] = [None, None]
    trace = []
    for _ in range(30):
        loads = [each.shares * 380.0 * 0.01 if each else np.zeros(2) for each in plans]
        for index in range(2):  # two ingresses with a C-PS each, which plan at the same time
            problem = two_sites(380.0, near=0.001, far=0.0012)
            other = Problem(
                problem.demands, problem.of, problem.fixed, problem.use_option, problem.use_queue,
                problem.use_seconds, problem.servers, problem.copies, problem.cv2, loads[1 - index],
            )  # fmt: skip
            plans[index] = plan(other, plans[index], Damping(step=0.5))
        assert plans[0] is not None
        trace.append(plans[0].shares[0])
    assert max(trace[-8:]) - min(trace[-8:]) < 0.02
    assert 0.4 < trace[-1] < 0.7


def test_second_choices_are_options_that_cost_little_more() -> None:
    close, distant = (plan(two_sites(50.0, far=far), None, Damping()).second for far in (0.0015, 0.05))
    assert 0.3 < close[1] < 0.5
    assert distant == pytest.approx([1.0, 0.0])


def test_static_shares_leave_no_demand_alone() -> None:
    shares = static_shares(two_sites(0.0))
    assert shares.sum() == pytest.approx(1.0)
    assert 0.0 < shares[1] < shares[0]


def test_weights_are_picked_in_proportion() -> None:
    sums = cumulative([1.0, 0.0, 3.0, 0.0])
    picked = [pick(sums, (each + 0.5) / 1000) for each in range(1000)]
    assert [picked.count(each) for each in range(4)] == [250, 0, 750, 0]
    assert pick(sums, math.nextafter(1.0, 0.0)) == 2
    with pytest.raises(ValueError, match="positive"):
        cumulative([0.0, 0.0])


def test_the_cheaper_of_two_is_chosen() -> None:
    assert better(3, 5, 1.0, 2.0) == 3
    assert better(3, 5, 2.0, 1.0) == 5
    assert better(3, 5, 1.0, 1.0) == 3, "a tie keeps the weighted choice"


def test_an_old_load_gives_way_to_the_optimum_and_to_own_requests() -> None:
    recent = wait_of(11, servers=4, service=10.0)
    assert recent == 20.0
    assert wait_of(3, 4, 10.0) == 0.0
    assert expected_wait(recent, 6.0, 0.0, age=0.0, half_life=5.0) == 20.0
    assert expected_wait(recent, 6.0, 0.0, age=5.0, half_life=5.0) == 13.0
    assert expected_wait(recent, 6.0, 4.0, age=1e6, half_life=5.0) == 10.0
    assert expected_wait(recent, 6.0, -9.0, age=1e6, half_life=5.0) == 0.0


def test_baselines() -> None:
    delays = [3.0, 1.0, 2.0]
    assert baselines.nearest(delays, UP) == 1
    assert baselines.nearest(delays, [True, False, True]) == 2
    assert [baselines.random_choice([True, False, True], draw) for draw in (0.0, 0.49, 0.5, 0.999)] == [0, 0, 2, 2]
    assert [baselines.round_robin([True, False, True], count) for count in range(4)] == [0, 2, 2, 0]
    assert [baselines.ecmp([1, 2, 1], UP, flow) for flow in range(4)] == [0, 2, 0, 2]
    assert baselines.ecmp([1, 2, 1], [False, True, False], 7) == 1
    assert baselines.least_loaded([2.0, 1.0, 1.0], delays, UP) == 1
    assert baselines.power_of_two([5.0, 1.0, 0.0], UP, 0, 1) == 1
    assert baselines.power_of_two([5.0, 1.0, 0.0], [True, False, True], 0, 1) == 0
    assert baselines.jbsq([2.0, 1.5, 1.0], delays, UP, 2.0) == 2
    assert baselines.jbsq([2.0, 2.0, 3.0], delays, UP, 2.0) is None
    assert baselines.oracle([9.0, 3.0, 4.0], [True, False, True]) == 2


def test_the_memory_of_a_round_grows_linearly_with_the_sites() -> None:
    peaks = []
    for sites in (100, 200, 400):
        rng = np.random.default_rng(1)
        reach = 6
        options = sites * reach
        near = (np.arange(sites)[:, None] + np.arange(reach)[None, :]).ravel() % sites
        problem = Problem(
            rng.random(sites) * 1000.0, np.repeat(np.arange(sites), reach), 0.005 + rng.random(options) * 0.001,
            np.arange(options), near, np.full(options, 0.005),
            np.full(sites, 4.0), np.full(sites, 10.0), np.ones(sites), np.zeros(sites),
        )  # fmt: skip
        plan(problem, None, Damping())
        tracemalloc.start()
        made = plan(problem, None, Damping())
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert np.bincount(problem.of, made.shares) == pytest.approx(np.ones(sites))
    assert peaks[2] < 2.3 * peaks[1] < 2.3 * 2.3 * peaks[0]

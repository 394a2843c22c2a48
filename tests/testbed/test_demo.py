"""The training demonstration, in a short form."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from midflight.errors import MidflightError
from midflight.runtime.devices.sheetfile import named_sheet
from midflight.testbed.demos.allreduce import Demo, Settings, run
from midflight.testbed.demos.digits import Model, load
from midflight.testbed.demos.picture import drawn

LOSSY = Settings(steps=2, loss=0.05, seed=7)
KEYS = {
    "workers", "accuracy_switch", "accuracy_server", "max_abs_error", "server_link_bytes_switch",
    "server_link_bytes_server", "packets", "lost", "retransmitted", "duplicates_suppressed",
}  # fmt: skip


@pytest.fixture(scope="module")
def lossless() -> Demo:
    return run(Settings(steps=2, seed=7))


@pytest.fixture(scope="module")
def lossy() -> Demo:
    return run(LOSSY)


def test_training_with_the_switch_gives_the_same_model_without_server_traffic(lossless: Demo) -> None:
    figures = lossless.figures
    assert figures.json().keys() >= KEYS
    assert figures.sums_exact
    assert lossless.switch.weights_digest == lossless.server.weights_digest
    assert lossless.switch.losses == lossless.server.losses
    assert lossless.switch.losses[1] < lossless.switch.losses[0] < np.log(10)
    assert 0 < figures.max_abs_error < 1e-5
    assert 4 * figures.server_link_bytes_switch <= figures.server_link_bytes_server
    # 650 parameters are 21 chunks, and one more agrees on the scale; each crosses the link once for every worker, both
    # ways, in 42 bytes of Ethernet, IPv4 and UDP, 16 of header and 128 of lanes.
    assert figures.server_link_bytes_server == 2 * 22 * 4 * 2 * (42 + 24 + 128)
    assert figures.packets == 2 * 22 * 4 * 2 + 2 * 22 * 4 * 4
    assert figures.lost == figures.retransmitted == figures.duplicates_suppressed == 0


def test_the_server_computes_if_an_assumed_sheet_has_no_room(lossless: Demo) -> None:
    sheet = replace(named_sheet("host"), register_arrays=1)
    figures = run(Settings(steps=2, seed=7, sheet=sheet)).figures
    assert figures.server_link_bytes_switch == figures.server_link_bytes_server
    assert figures.weights_digest == lossless.figures.weights_digest


def test_lossy_links_change_no_sum(lossless: Demo, lossy: Demo) -> None:
    figures = lossy.figures
    assert figures.sums_exact
    assert figures.sums_digest == lossless.figures.sums_digest
    assert figures.weights_digest == lossless.figures.weights_digest
    assert figures.accuracy_switch == figures.accuracy_server == lossless.figures.accuracy_switch
    for count in (figures.lost, figures.duplicated, figures.reordered, figures.retransmitted):
        assert count > 0
    assert figures.duplicates_suppressed > 0
    assert figures.trace_switch != lossless.figures.trace_switch


def test_the_same_seed_gives_identical_json_and_progress_is_reported(lossy: Demo) -> None:
    reported: list[tuple[int, int, str]] = []
    again = run(LOSSY, lambda done, total, text: reported.append((done, total, text)))
    assert json.dumps(again.figures.json()) == json.dumps(lossy.figures.json())
    assert [(done, total) for done, total, _ in reported] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert [text for *_, text in reported] == ["with the switch"] * 2 + ["with the server"] * 2


@pytest.mark.parametrize("seed", range(5))
def test_the_classifier_learns_the_digits(seed: int) -> None:
    train, test = load(seed)
    assert (len(train), len(test)) == (1348, 449)
    model = Model()
    random = np.random.default_rng(seed)
    for _ in range(Settings().steps):
        picks = random.choice(len(train), 4 * Settings().batch, replace=False)
        model.step(model.gradient(train[picks]) / np.float32(len(picks)))
    assert model.accuracy(test) > 0.93
    assert model.loss(train) < 0.2


def test_the_gradient_is_that_of_the_loss() -> None:
    train, _ = load(0)
    batch, model, small = train[:20], Model(), 1e-2
    model.weights[:] = np.random.default_rng(0).normal(size=model.weights.shape)
    gradient = model.gradient(batch).reshape(model.weights.shape)
    for row, column in [(20, 3), (64, 9), (36, 0)]:
        before = model.loss(batch)
        model.weights[row, column] += np.float32(small)
        assert (model.loss(batch) - before) / small == pytest.approx(gradient[row, column] / 20, abs=2e-2)
        model.weights[row, column] -= np.float32(small)


def test_the_picture_is_drawn(lossy: Demo) -> None:
    assert drawn(lossy).startswith(b"\x89PNG")
    assert b"svg" in drawn(lossy, "svg")
    with pytest.raises(MidflightError, match="cannot be drawn as docx"):
        drawn(lossy, "docx")

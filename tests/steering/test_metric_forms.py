"""The binary and JSON forms of updates: round trips, unknown metrics, and what is refused."""

from __future__ import annotations

import contextlib
import json
import struct
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from midflight.errors import WireError
from midflight.runtime.steering.metrics import Category, Metric, Statistics, Update, raw
from midflight.runtime.steering.metrics.binary import decode, encode, word
from midflight.runtime.steering.metrics.yang import dumps, loads

SCORES = (Metric(Category.COMPUTING, 1, 7), Metric("norm_fi", 2, 10))
RAW = (raw("service_time", 0.0031, Statistics.MEAN), raw("compute_cpu_cores", 8), raw("network_rate", 10**11))
UPDATE = Update("2001:db8::1", "10.0.0.5", 4, 1_700_000_000_000_000_000, 10**9, SCORES)
TOP = "midflight-cats-metrics:cats"


def test_a_word_has_the_bits_of_the_draft() -> None:
    # type 1, level 1, format 0, length 0, value 7, source 3 (normalization), 7 bits of zero
    assert f"{word(Metric(Category.COMPUTING, 1, 7)):032b}" == "00000001010000000001110110000000"


def test_the_binary_form_comes_back() -> None:
    data = encode(UPDATE)
    assert len(data) == 56 + 2 * 4
    assert decode(data) == UPDATE


def test_raw_metrics_are_only_sent_to_path_selectors() -> None:
    update = replace(UPDATE, raw=RAW)
    assert decode(encode(update)) == UPDATE
    data = encode(update, with_raw=True)
    assert len(data) == 56 + 2 * 4 + 3 * 12
    assert decode(data) == update
    unknown = bytearray(data)
    unknown[64] = 255
    assert decode(bytes(unknown)).raw == RAW[1:]
    with pytest.raises(WireError, match="nan is not a finite number"):
        decode(data[:-8] + struct.pack("!d", float("nan")))


def test_unknown_words_are_ignored() -> None:
    data = bytearray(encode(UPDATE))
    data[56] = 200
    assert decode(bytes(data)).scores == SCORES[1:]
    data = bytearray(encode(UPDATE))
    data[57] |= 0b00100000  # a floating point number
    assert decode(bytes(data)).scores == SCORES[1:]
    data = bytearray(encode(UPDATE))
    data[57] ^= 0b11000000  # level 2
    assert decode(bytes(data)).scores == SCORES[1:]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:55], "56 octets or more, not 55"),
        (lambda data: data + b"\0", "2 words and 0 raw metrics has 65 octets"),
        (lambda data: b"\x02" + data[1:], "version 2"),
        (lambda data: data[:58] + bytes([data[58] | 0x3C]) + data[59:], "computing_comb has the score"),
        (lambda data: data[:16] + bytes(8) + data[24:], "validity 0"),
        (lambda data: data[:60] + data[56:60], "computing_comb occurs more than once"),
    ],
)
def test_malformed_updates_are_refused(change: Any, message: str) -> None:
    with pytest.raises(WireError, match=message):
        decode(change(encode(UPDATE)))


@given(st.binary(max_size=80))
def test_any_octets_decode_or_are_refused(data: bytes) -> None:
    with contextlib.suppress(WireError):
        assert encode(decode(data))


def test_ids_that_are_no_addresses_have_no_binary_form() -> None:
    with pytest.raises(WireError, match="CSCI-ID 'edge' is not an IP address"):
        encode(Update("10.0.0.1", "edge", 0, 0, 1))


def test_the_json_form_comes_back_sorted() -> None:
    pytest.importorskip("yangson")
    first, second = (Update("s", name, 4, 2**64 - 1, 2**64 - 1, SCORES, RAW) for name in ("a", "b"))
    text = dumps([second, first])
    assert loads(text) == (first, second)
    instance = json.loads(text)[TOP]["service"][0]["instance"][0]
    assert instance["measured-at"] == str(2**64 - 1), "RFC 7951: numbers of 64 bits are strings"
    assert instance["raw"][0]["value"] == "0.003100"


def test_unknown_members_and_scores_are_ignored() -> None:
    pytest.importorskip("yangson")
    tree = json.loads(dumps([Update("s", "a", 4, 0, 1, SCORES, RAW)]))
    instance = tree[TOP]["service"][0]["instance"][0]
    instance["score"] += [{"metric-type": "storage_comb", "level": 9, "value": "high"}, {"metric-type": [1]}]
    instance["vendor:colour"] = {"a": [1]}
    instance["raw"].append({**instance["raw"][0], "metric-type": "vendor_heat", "unit": "kelvin"})
    (found,) = loads(json.dumps(tree))
    assert found.scores == SCORES
    assert [each.kind for each in found.raw] == [*(each.kind for each in RAW), "vendor_heat"]


def changed(**members: Any) -> str:
    tree = json.loads(dumps([Update("s", "a", 4, 0, 1, SCORES, RAW)]))
    tree[TOP]["service"][0]["instance"][0].update(members)
    return json.dumps(tree)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no object midflight-cats-metrics:cats"),
        (changed(sequence=-1), "sequence"),
        (changed(score=[{"metric-type": "norm_fi", "level": 2, "value": 11}]), "value"),
        (changed(score=[{"metric-type": "norm_fi", "level": 2, "value": 1}] * 2), "non-unique-key"),
        (changed(score=[[]]), "score contains a list"),
        (changed(score=4), "score"),
        (changed(raw=[{"metric-type": "x", "statistics": "cur", "format": "int", "source": "nominal", "value": "1.5"}]),
         "says that it is an integer"),
        (changed(**{"valid-for": 1}), "valid-for"),
    ],
)  # fmt: skip
def test_json_that_does_not_conform_is_refused(text: str, message: str) -> None:
    pytest.importorskip("yangson")
    with pytest.raises(WireError, match=message):
        loads(text)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["service", "instance", "cs-id", "csci-id", "score", "raw", "value"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(VALUES)
def test_any_json_is_read_or_refused(value: Any) -> None:
    pytest.importorskip("yangson")
    with contextlib.suppress(WireError):
        loads(json.dumps({TOP: value}))


def test_values_beyond_the_model_are_refused() -> None:
    with pytest.raises(WireError, match=r"network_rate is 1000"):
        dumps([Update("s", "a", 0, 0, 1, (), (raw("network_rate", 1e14),))])

"""The binary form of updates, which switches can parse: a header of fixed length and one 32-bit word for each score.

The header has, in network byte order: version (8 bits), number of words (8), number of raw metrics (16), sequence (32),
time of the readings (64) and validity (64), both in nanoseconds, CS-ID (128) and CSCI-ID (128), as IPv6 addresses; IPv4
addresses are mapped (`::ffff:0:0/96`).

A word has the fields of draft-ietf-cats-metric-definition, section 4.4.2, in its order: metric type (8 bits), level
(2), format (1; 0 is an unsigned integer), length (3; 0 is one octet), value (8), source (3), and 7 bits of zero. The
draft assigns no numbers to metric types and sources; `TYPES` and `SOURCES` are ours.

The draft advises not to send raw metrics to network devices (section 5). Path selectors plan with them, so the form for
these has them after the words, twelve octets each: metric type (8 bits, its position in `KINDS`), source (4), statistic
(4), zero (16), and the value in IEEE 754 (64).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType

from midflight.errors import MidflightError, WireError
from midflight.runtime.steering.metrics.catalogue import KINDS
from midflight.runtime.steering.metrics.levels import BEST, LEVEL2, Category, Metric, RawMetric, Source, Statistics
from midflight.runtime.steering.metrics.update import Update

__all__ = ["SOURCES", "TYPES", "VERSION", "canonical", "decode", "encode", "word"]

VERSION = 1

TYPES: Mapping[str, int] = MappingProxyType(
    {
        Category.COMPUTING.value: 1,
        Category.COMMUNICATION.value: 2,
        Category.SERVICE.value: 3,
        Category.COMPOSED.value: 4,
        LEVEL2: 5,
    }
)
"""The numbers of metric types; 0 is none."""

SOURCES: Mapping[Source, int] = MappingProxyType({source: number for number, source in enumerate(Source)})
"""The numbers of sources."""

_HEADER = struct.Struct("!BBHIQQ16s16s")
_WORD = struct.Struct("!I")
_RAW = struct.Struct("!BBHd")
_RAW_TYPES = {name: number for number, name in enumerate(KINDS)}
_RAW_NAMES = {number: name for name, number in _RAW_TYPES.items()}
_SOURCES, _STATISTICS = dict(enumerate(Source)), dict(enumerate(Statistics))
_NAMES = {number: name for name, number in TYPES.items()}


def word(metric: Metric) -> int:
    """Return the 32-bit word of a score. WireError if its metric type has no number."""
    if metric.kind not in TYPES:
        raise WireError(f"metric type {metric.kind} has no binary form", hint=f"those that have: {', '.join(TYPES)}")
    return TYPES[metric.kind] << 24 | metric.level << 22 | metric.value << 10 | SOURCES[Source.NORMALIZATION] << 7


def encode(update: Update, *, with_raw: bool = False) -> bytes:
    """Return the binary form of an update's scores, and, `with_raw`, of the raw metrics whose types are in `KINDS`.

    WireError if an id is not an IP address, a score has no binary form, or there are more than 255 scores.
    """
    raws = [each for each in update.raw if each.kind in KINDS] if with_raw else []
    if len(update.scores) > 255:
        raise WireError(f"update of {update.csci_id} has {len(update.scores)} scores; at most 255 fit")
    header = _HEADER.pack(
        VERSION,
        len(update.scores),
        len(raws),
        update.sequence,
        update.at,
        update.valid_for,
        _packed("CS-ID", update.cs_id),
        _packed("CSCI-ID", update.csci_id),
    )
    words = b"".join(_WORD.pack(word(each)) for each in update.scores)
    return header + words + b"".join(_raw(each) for each in raws)


def decode(data: bytes) -> Update:
    """Return the update whose binary form `data` is, with or without raw metrics.

    Words and raw metrics with unknown types, formats or lengths are ignored.

    WireError if `data` is too short or too long, is of another version, has a type of score twice, or contains a number
    that is out of range.
    """
    if len(data) < _HEADER.size:
        raise WireError(f"an update has {_HEADER.size} octets or more, not {len(data)}")
    version, count, raws, sequence, at, valid_for, cs_id, csci_id = _HEADER.unpack_from(data)
    if version != VERSION:
        raise WireError(f"update of version {version}; this is version {VERSION}")
    end = _HEADER.size + count * _WORD.size
    if len(data) != end + raws * _RAW.size:
        raise WireError(f"an update with {count} words and {raws} raw metrics has {len(data)} octets")
    found = [_metric(each) for (each,) in _WORD.iter_unpack(data[_HEADER.size : end])]
    scores = tuple(each for each in found if each is not None)
    try:
        parsed = [_parse_raw(*each) for each in _RAW.iter_unpack(data[end:])]
        raw = tuple(each for each in parsed if each is not None)
        return Update(_address(cs_id), _address(csci_id), sequence, at, valid_for, scores, raw)
    except MidflightError as error:
        raise WireError(error.message) from error


def _metric(bits: int) -> Metric | None:
    kind, level, form, value = _NAMES.get(bits >> 24), bits >> 22 & 3, bits >> 18 & 15, bits >> 10 & 255
    if kind is None or form or level != (2 if kind == LEVEL2 else 1):
        return None
    if value > BEST:
        raise WireError(f"{kind} has the score {value}, which is not from 0 to {BEST}")
    return Metric(kind, level, value)


def _raw(metric: RawMetric) -> bytes:
    how = [*Source].index(metric.source) << 4 | [*Statistics].index(metric.statistics)
    return _RAW.pack(_RAW_TYPES[metric.kind], how, 0, metric.value)


def _parse_raw(kind: int, how: int, _: int, value: float) -> RawMetric | None:
    name, source, statistics = _RAW_NAMES.get(kind), _SOURCES.get(how >> 4), _STATISTICS.get(how & 15)
    if name is None or source is None or statistics is None:
        return None
    return RawMetric(name, value, KINDS[name].unit, source, statistics)


def canonical(name: str, text: str) -> str:
    """Return an IP address in the form in which `decode` returns ids.

    `name` is the name of the id, for the error. WireError if `text` is not an IP address.
    """
    return _address(_packed(name, text))


def _packed(name: str, text: str) -> bytes:
    try:
        address = ip_address(text)
    except ValueError:
        raise WireError(f"{name} {text!r} is not an IP address, which the binary form needs") from None
    if isinstance(address, IPv4Address):
        return b"\0" * 10 + b"\xff\xff" + address.packed
    return address.packed


def _address(packed: bytes) -> str:
    address = IPv6Address(packed)
    return str(address.ipv4_mapped or address)

"""Table entries on the wire: every match kind, default actions, const entries, direct resources (section 9.1)."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest
from finsy.proto import p4i, p4r
from google.protobuf import text_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from midflight.runtime.devices import HostDevice
from midflight.runtime.engine import Packets
from tests.p4runtime.support import Controller, code_of, details_of, ipv4, names, updates


@pytest.fixture
def primary(device: HostDevice) -> Iterator[Controller]:
    with Controller(device.address) as controller:
        controller.become_primary()
        yield controller


def write(controller: Controller, kind: str, *entries: p4r.TableEntry) -> list[str]:
    """Write entries, and return the outcome of each."""
    entities = [p4r.Entity(table_entry=each) for each in entries]
    try:
        controller.write(*updates(kind, *entities))
    except grpc.RpcError as error:
        return names(details_of(error)) if code_of(error) == "UNKNOWN" else [code_of(error)]
    return ["OK"] * len(entries)


def read(controller: Controller, entry: p4r.TableEntry | None = None) -> list[p4r.TableEntry]:
    return [each.table_entry for each in controller.read(p4r.Entity(table_entry=entry or p4r.TableEntry()))]


class Words:
    """Entries in protobuf's text form, with names in `$` for ids."""

    def __init__(self, ids: dict[str, int]) -> None:
        self.ids = ids

    def __call__(self, text: str) -> p4r.TableEntry:
        for name, number in sorted(self.ids.items(), key=lambda each: -len(each[0])):
            text = text.replace(f"${name}", str(number))
        entry: p4r.TableEntry = text_format.Parse(text, p4r.TableEntry())
        return entry


@pytest.fixture
def words(ids: dict[str, int]) -> Words:
    return Words(ids)


ROUTE = r"""
    table_id: $ingress.route
    match { field_id: 1 lpm { value: "\n\000\000\000" prefix_len: 8 } }
    action {
        action { action_id: $ingress.to_port params { param_id: 1 value: "\003" } params { param_id: 2 value: "\001" } }
    }
"""
ACL = r"""
    table_id: $ingress.acl
    match { field_id: 1 ternary { value: "\n\000\000\000" mask: "\377\000\000\000" } }
    match { field_id: 2 optional { value: "\021" } }
    match { field_id: 3 range { low: "\005" high: "\001\000" } }
    match { field_id: 4 exact { value: "\001" } }
    priority: 10
    action { action { action_id: $ingress.classify params { param_id: 1 value: "\002" } } }
"""


@pytest.mark.parametrize("text", [ROUTE, ACL])
def test_an_entry_is_read_back_unchanged(primary: Controller, words: Words, text: str) -> None:
    entry = words(text)
    entry.metadata, entry.controller_metadata = b"opaque", 77
    assert write(primary, "INSERT", entry) == ["OK"]
    assert read(primary, p4r.TableEntry(table_id=entry.table_id)) == [entry]
    assert write(primary, "INSERT", entry) == ["ALREADY_EXISTS"]
    assert write(primary, "DELETE", entry) == ["OK"]
    assert write(primary, "DELETE", entry) == ["NOT_FOUND"]
    assert write(primary, "MODIFY", entry) == ["NOT_FOUND"]
    assert read(primary, p4r.TableEntry(table_id=entry.table_id)) == []


def test_padded_values_are_read_back_in_canonical_form(primary: Controller, words: Words) -> None:
    short = words(ROUTE)
    padded = words(ROUTE.replace(r"\003", r"\000\000\003").replace(r'"\n\000', r'"\000\n\000'))
    assert padded != short
    assert write(primary, "INSERT", padded) == ["OK"]
    assert read(primary, p4r.TableEntry(table_id=short.table_id)) == [short]
    assert write(primary, "INSERT", short) == ["ALREADY_EXISTS"]


def test_deletion_considers_only_the_key(primary: Controller, words: Words) -> None:
    write(primary, "INSERT", words(ROUTE))
    nonsense = words(ROUTE)
    nonsense.action.action.action_id = 12345
    nonsense.metadata = b"x"
    assert write(primary, "DELETE", nonsense) == ["OK"]


def test_modify_changes_the_action_or_keeps_it_if_unset(primary: Controller, words: Words) -> None:
    entry = words(ROUTE)
    write(primary, "INSERT", entry)
    changed = words(ROUTE.replace(r"\003", r"\004"))
    assert write(primary, "MODIFY", changed) == ["OK"]
    assert read(primary, p4r.TableEntry(table_id=entry.table_id)) == [changed]
    bare = words(ROUTE)
    bare.ClearField("action")
    assert write(primary, "MODIFY", bare) == ["OK"]
    assert read(primary, p4r.TableEntry(table_id=entry.table_id)) == [changed]


@pytest.mark.parametrize(
    ("text", "old", "new", "expected"),
    [
        (ROUTE, "$ingress.route", "0x0200ffff", "INVALID_ARGUMENT"),
        (ROUTE, "$ingress.to_port", "0x0100ffff", "INVALID_ARGUMENT"),
        (ROUTE, "$ingress.to_port", "$ingress.classify", "INVALID_ARGUMENT"),
        (ROUTE, "$ingress.to_port params", "$ingress.drop params", "PERMISSION_DENIED"),
        (ROUTE, "prefix_len: 8", "prefix_len: 0", "INVALID_ARGUMENT"),
        (ROUTE, "prefix_len: 8", "prefix_len: 33", "INVALID_ARGUMENT"),
        (ROUTE, "prefix_len: 8", "prefix_len: 4", "INVALID_ARGUMENT"),
        (ROUTE, "prefix_len: 8", "prefix_len: -1", "INVALID_ARGUMENT"),
        (ROUTE, 'value: "\\n\\000\\000\\000"', 'value: "\\001\\000\\000\\000\\000"', "INVALID_ARGUMENT"),
        (ROUTE, 'value: "\\n\\000\\000\\000"', 'value: ""', "INVALID_ARGUMENT"),
        (ROUTE, "field_id: 1", "field_id: 9", "INVALID_ARGUMENT"),
        (ROUTE, "match {", "match { field_id: 1 exact { value: '\\1' } } match {", "INVALID_ARGUMENT"),
        (ROUTE, "lpm {", "ternary {", "PARSE"),
        (ROUTE, 'value: "\\003"', 'value: "\\002\\000"', "INVALID_ARGUMENT"),
        (ROUTE, 'value: "\\003"', 'value: ""', "INVALID_ARGUMENT"),
        (ROUTE, 'params { param_id: 2 value: "\\001" }', "", "INVALID_ARGUMENT"),
        (ROUTE, "param_id: 2", "param_id: 3", "INVALID_ARGUMENT"),
        (ROUTE, "param_id: 2", "param_id: 1", "INVALID_ARGUMENT"),
        (
            ROUTE,
            "params { param_id: 2",
            "params { param_id: 2 value: '\\002' } params { param_id: 2",
            "INVALID_ARGUMENT",
        ),
        (ROUTE, "match {", "priority: 5 match {", "INVALID_ARGUMENT"),
        (ROUTE, "match {", "is_const: true match {", "INVALID_ARGUMENT"),
        (ROUTE, "match {", "idle_timeout_ns: 5 match {", "INVALID_ARGUMENT"),
        (ROUTE, "match {", "meter_config { cir: 1 } match {", "INVALID_ARGUMENT"),
        (ROUTE, "match {", "counter_data { packet_count: -1 } match {", "INVALID_ARGUMENT"),
        (ROUTE, "action {", "action { action_profile_member_id: 1 } #", "INVALID_ARGUMENT"),
        (ACL, "priority: 10", "", "INVALID_ARGUMENT"),
        (ACL, "priority: 10", "priority: -1", "INVALID_ARGUMENT"),
        (ACL, 'match { field_id: 4 exact { value: "\\001" } }', "", "INVALID_ARGUMENT"),
        (ACL, 'mask: "\\377\\000\\000\\000"', 'mask: "\\000"', "INVALID_ARGUMENT"),
        (ACL, 'mask: "\\377\\000\\000\\000"', 'mask: "\\360\\000\\000\\000"', "INVALID_ARGUMENT"),
        (ACL, 'low: "\\005"', 'low: "\\005\\000"', "INVALID_ARGUMENT"),
        (ACL, 'low: "\\005" high: "\\001\\000"', 'low: "\\000" high: "\\377\\377"', "INVALID_ARGUMENT"),
        (ACL, "priority: 10", "priority: 10 counter_data { packet_count: 1 }", "INVALID_ARGUMENT"),
    ],
)
def test_invalid_entries_are_rejected_with_the_reason(
    primary: Controller, words: Words, text: str, old: str, new: str, expected: str
) -> None:
    assert old in text
    changed = text.replace(old, new, 1)
    if expected == "PARSE":
        changed = text.replace("lpm {", "ternary {").replace("prefix_len: 8", 'mask: "\\377"')
        expected = "INVALID_ARGUMENT"
    if "#" in changed:
        changed = changed.split("#")[0]
    before = read(primary)
    assert write(primary, "INSERT", words(changed)) == [expected]
    assert read(primary) == before


def test_an_entry_without_an_action_is_not_inserted(primary: Controller, words: Words) -> None:
    entry = words(ROUTE)
    entry.ClearField("action")
    assert write(primary, "INSERT", entry) == ["INVALID_ARGUMENT"]


def test_a_full_table_rejects_entries(primary: Controller, words: Words) -> None:
    entries = []
    for number in range(5):
        entries.append(words(ACL))
        entries[-1].priority = number + 1
    assert write(primary, "INSERT", *entries) == ["OK"] * 4 + ["RESOURCE_EXHAUSTED"]
    assert write(primary, "DELETE", entries[0]) == ["OK"]
    assert write(primary, "INSERT", entries[4]) == ["OK"]


# Default actions


def default(ids: dict[str, int], table: str, action: str | None, **parts: object) -> p4r.TableEntry:
    entry = p4r.TableEntry(table_id=ids[table], is_default_action=True, **parts)  # type: ignore[arg-type]
    if action:
        entry.action.action.action_id = ids[action]
    return entry


def test_a_default_action_is_set_and_reset(device: HostDevice, primary: Controller, ids: dict[str, int]) -> None:
    packet = Packets.from_list([(1, ipv4("10.1.2.3"))])
    original = default(ids, "ingress.route", "ingress.drop")
    assert read(primary, default(ids, "ingress.route", None)) == [original]
    entry = default(ids, "ingress.route", "ingress.to_port", metadata=b"note")
    entry.action.action.params.add(param_id=1, value=b"\x08")
    entry.action.action.params.add(param_id=2, value=b"\x01")
    assert write(primary, "MODIFY", entry) == ["OK"]
    assert read(primary, default(ids, "ingress.route", None)) == [entry]
    assert [port for port, _ in device.process(packet)] == [8]
    assert write(primary, "MODIFY", default(ids, "ingress.route", None)) == ["OK"]
    assert read(primary, default(ids, "ingress.route", None)) == [original]
    assert not list(device.process(packet))


@pytest.mark.parametrize(
    ("kind", "table", "action", "expected"),
    [
        ("INSERT", "ingress.route", "ingress.drop", "INVALID_ARGUMENT"),
        ("DELETE", "ingress.route", "ingress.drop", "INVALID_ARGUMENT"),
        ("MODIFY", "ingress.fixed", "NoAction", "PERMISSION_DENIED"),
        ("MODIFY", "ingress.route", "NoAction", "PERMISSION_DENIED"),
        ("MODIFY", "ingress.route", "ingress.classify", "INVALID_ARGUMENT"),
    ],
)
def test_invalid_default_actions_are_rejected_with_the_reason(
    primary: Controller, ids: dict[str, int], kind: str, table: str, action: str, expected: str
) -> None:
    assert write(primary, kind, default(ids, table, action)) == [expected]


def test_a_default_action_has_neither_match_nor_priority(
    primary: Controller, words: Words, ids: dict[str, int]
) -> None:
    entry = words(ROUTE)
    entry.is_default_action = True
    assert write(primary, "MODIFY", entry) == ["INVALID_ARGUMENT"]
    assert write(primary, "MODIFY", default(ids, "ingress.route", "ingress.drop", priority=1)) == ["INVALID_ARGUMENT"]


# Const entries


def test_const_entries_are_read_and_not_written(primary: Controller, ids: dict[str, int]) -> None:
    first, second = read(primary, p4r.TableEntry(table_id=ids["ingress.fixed"]))
    assert (first.is_const, first.match[0].exact.value, first.action.action.params[0].value) == (True, b"\0", b"\1")
    assert second.match[0].exact.value == b"\1"
    first.is_const = False
    for kind in ("INSERT", "MODIFY", "DELETE"):
        assert write(primary, kind, first) == ["PERMISSION_DENIED"]
    first.ClearField("action")
    assert write(primary, "MODIFY", first) == ["OK"]


# Wildcard reads


def test_reads_filter_by_what_the_request_sets(primary: Controller, words: Words, ids: dict[str, int]) -> None:
    entries = []
    for number, metadata in ((1, b"a"), (2, b"b"), (3, b"b")):
        entry = words(ACL)
        entry.priority, entry.metadata = number, metadata
        entries.append(entry)
    entries[2].action.action.action_id = ids["ingress.drop"]
    entries[2].action.action.ClearField("params")
    route = words(ROUTE)
    assert write(primary, "INSERT", *entries, route) == ["OK"] * 4
    acl = ids["ingress.acl"]

    def select(**parts: object) -> list[p4r.TableEntry]:
        return read(primary, p4r.TableEntry(table_id=acl, **parts))  # type: ignore[arg-type]

    assert select() == entries
    assert select(priority=2) == [entries[1]]
    assert select(metadata=b"b") == entries[1:]
    assert select(metadata=b"b", priority=3) == [entries[2]]
    assert select(match=entries[0].match, priority=1) == [entries[0]]
    assert select(controller_metadata=5) == []
    wanted = p4r.TableEntry(table_id=acl)
    wanted.action.action.action_id = ids["ingress.drop"]
    assert read(primary, wanted) == [entries[2]]
    everything = [each for each in read(primary) if not each.is_const]
    assert sorted(each.SerializeToString() for each in everything) == sorted(
        each.SerializeToString() for each in (*entries, route)
    )
    with pytest.raises(grpc.RpcError) as refused:
        select(match=entries[0].match, priority=9)
    assert names(details_of(refused.value)) == ["NOT_FOUND"]


# Direct counters


def test_a_direct_counter_is_set_read_and_counts(
    device: HostDevice, primary: Controller, words: Words, ids: dict[str, int]
) -> None:
    entry = words(ROUTE)
    entry.counter_data.packet_count = 40
    assert write(primary, "INSERT", entry) == ["OK"]
    device.process(Packets.from_list([(1, ipv4("10.0.0.1")), (1, ipv4("10.0.0.2")), (1, ipv4("11.0.0.2"))]))
    place = words(ROUTE)
    place.ClearField("action")
    wanted = p4r.DirectCounterEntry(table_entry=place)
    (found,) = primary.read(p4r.Entity(direct_counter_entry=wanted))
    assert (found.direct_counter_entry.data.packet_count, found.direct_counter_entry.table_entry) == (42, place)
    (reported,) = read(primary, p4r.TableEntry(table_id=ids["ingress.route"], counter_data=p4r.CounterData()))
    assert reported.counter_data.packet_count == 42
    wanted.data.packet_count = 7
    primary.write(*updates("MODIFY", p4r.Entity(direct_counter_entry=wanted)))
    table = p4r.TableEntry(table_id=ids["ingress.route"])
    for request in (p4r.DirectCounterEntry(), p4r.DirectCounterEntry(table_entry=table)):
        (found,) = primary.read(p4r.Entity(direct_counter_entry=request))
        assert found.direct_counter_entry.data.packet_count == 7


# Round trips


def entries_of(info: p4i.P4Info) -> st.SearchStrategy[dict[str, object]]:
    """Draw matches and parameters of the access list as numbers."""
    mask = st.integers(1, (1 << 32) - 1)
    bounds = st.tuples(st.integers(0, 65535), st.integers(0, 65535)).map(lambda pair: (min(pair), max(pair)))
    return st.fixed_dictionaries(
        {
            "source": st.none()
            | st.tuples(st.integers(0, (1 << 32) - 1), mask).map(lambda pair: (pair[0] & pair[1], pair[1])),
            "protocol": st.none() | st.integers(0, 255),
            "length": st.none() | bounds.filter(lambda pair: pair != (0, 65535)),
            "port": st.integers(0, 511),
            "class": st.integers(0, 255),
            "priority": st.integers(1, (1 << 31) - 1),
        }
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_every_entry_is_read_back(
    primary: Controller, info: p4i.P4Info, ids: dict[str, int], data: st.DataObject
) -> None:
    drawn = data.draw(entries_of(info))
    entry = p4r.TableEntry(table_id=ids["ingress.acl"], priority=drawn["priority"])  # type: ignore[arg-type]

    def text(value: object) -> bytes:
        assert isinstance(value, int)
        return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")

    if isinstance(drawn["source"], tuple):
        entry.match.add(field_id=1, ternary={"value": text(drawn["source"][0]), "mask": text(drawn["source"][1])})
    if drawn["protocol"] is not None:
        entry.match.add(field_id=2, optional={"value": text(drawn["protocol"])})
    if isinstance(drawn["length"], tuple):
        entry.match.add(field_id=3, range={"low": text(drawn["length"][0]), "high": text(drawn["length"][1])})
    entry.match.add(field_id=4, exact={"value": text(drawn["port"])})
    entry.action.action.action_id = ids["ingress.classify"]
    entry.action.action.params.add(param_id=1, value=text(drawn["class"]))
    assert write(primary, "INSERT", entry) == ["OK"]
    assert read(primary, p4r.TableEntry(table_id=entry.table_id)) == [entry]
    assert write(primary, "DELETE", entry) == ["OK"]

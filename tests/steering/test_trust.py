"""Trust: identities, descriptors, records that are refused, and the log that proves it."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from midflight.errors import MidflightError
from midflight.runtime.steering.metrics import Metric, Update
from midflight.runtime.steering.trust.descriptor import Descriptor, issue
from midflight.runtime.steering.trust.identity import SpiffeId
from midflight.runtime.steering.trust.keys import SigningKey
from midflight.runtime.steering.trust.log import ChainedLog, verify
from midflight.runtime.steering.trust.records import seal
from midflight.runtime.steering.trust.verifier import Reason, Verifier
from tests.cli.run import midflight

pytest.importorskip("cryptography", reason="needs the extra trust")

SECOND = 10**9
NOW = 1_700_000_000 * SECOND
AUTHORITY, KEY, OTHER = (SigningKey.of(bytes([each]) * 32) for each in range(3))
EDGE = Descriptor(
    SpiffeId.parse("spiffe://factory.example/service/vision/edge-1"),
    "10.9.9.9",
    "10.0.0.5",
    KEY.public,
    NOW - 3600 * SECOND,
    NOW + 3600 * SECOND,
    (("computing_comb", 8),),
)


class Entries:
    """A journal in memory."""

    def __init__(self) -> None:
        self.entries: list[tuple[str, dict[str, object]]] = []

    def append(self, event: str, **details: object) -> None:
        self.entries.append((event, details))


def update(at: int = NOW, value: int = 7, kind: str = "norm_fi", csci_id: str = "10.0.0.5") -> Update:
    return Update("10.9.9.9", csci_id, 1, at, 35 * SECOND, (Metric(kind, 2 if kind == "norm_fi" else 1, value),))


@pytest.fixture
def journal() -> Entries:
    return Entries()


@pytest.fixture
def verifier(journal: Entries) -> Verifier:
    made = Verifier({"factory.example": AUTHORITY.public}, journal)
    assert made.admit(issue(EDGE, AUTHORITY), NOW) == EDGE
    return made


def refusals(verifier: Verifier) -> dict[str, int]:
    return {reason.value: count for reason, count in verifier.refused.items()}


def test_a_genuine_record_is_accepted_once(verifier: Verifier, journal: Entries) -> None:
    record = seal(update(), KEY)
    assert verifier.check(record, NOW) == update()
    assert verifier.check(record, NOW + 1) is None
    assert verifier.check(seal(update(NOW + 1), KEY), NOW + 1) == update(NOW + 1)
    assert refusals(verifier) == {"replayed": 1}
    assert [event for event, _ in journal.entries] == ["admitted", "refused: replayed"]
    assert journal.entries[1][1]["id"] == "spiffe://factory.example/service/vision/edge-1"


def test_any_changed_bit_is_refused(verifier: Verifier) -> None:
    record = seal(update(), KEY)
    for position in range(0, len(record) * 8, 3):
        changed = bytearray(record)
        changed[position // 8] ^= 1 << position % 8
        assert verifier.check(bytes(changed), NOW) is None, position
    assert set(refusals(verifier)) <= {"malformed", "unknown", "forged"}
    assert verifier.check(record, NOW) is not None, "the forgeries have not used up the record"


@given(st.binary(max_size=200))
def test_octets_of_any_kind_are_refused(data: bytes) -> None:
    made = Verifier({"factory.example": AUTHORITY.public})
    assert made.check(data, NOW) is None
    assert made.admit(data, NOW) is None
    assert made.refused.total() == 2


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (seal(update(), OTHER), Reason.UNKNOWN),
        (seal(update(csci_id="10.0.0.6"), KEY), Reason.FORGED),
        (seal(update(NOW - 8 * SECOND), KEY), Reason.EXPIRED),
        (seal(update(NOW + 3 * SECOND), KEY), Reason.EARLY),
        (seal(update(value=9, kind="computing_comb"), KEY), Reason.IMPLAUSIBLE),
        (seal(update(), KEY)[:-1], Reason.MALFORMED),
    ],
)
def test_records_are_refused_with_a_reason(record: bytes, reason: Reason, verifier: Verifier, journal: Entries) -> None:
    assert verifier.check(record, NOW) is None
    assert refusals(verifier) == {reason.value: 1}
    assert journal.entries[-1][0] == f"refused: {reason.value}"


def test_clocks_may_differ_a_little(verifier: Verifier) -> None:
    assert verifier.check(seal(update(NOW - 6 * SECOND), KEY), NOW) is not None
    assert verifier.check(seal(update(NOW + 2 * SECOND), KEY), NOW) is not None


def test_a_claim_that_measurement_contradicts_is_implausible(verifier: Verifier, journal: Entries) -> None:
    def measured(csci_id: str) -> dict[str, float]:
        return {"10.0.0.5": {"norm_fi": 3.5}}[csci_id]

    assert verifier.check(seal(update(value=6), KEY), NOW, measured) is not None
    assert verifier.check(seal(update(NOW + 1, value=7), KEY), NOW + 1, measured) is None
    assert journal.entries[-1][1]["claim"] == "norm_fi 7, measured 3.5"
    assert verifier.check(seal(update(NOW + 2, value=0), KEY), NOW + 2, lambda _: {"norm_fi": 10}) is not None, (
        "modesty is fine"
    )


def test_an_address_may_be_written_in_any_way() -> None:
    verifier = Verifier({"factory.example": AUTHORITY.public})
    assert verifier.admit(issue(replace(EDGE, csci_id="2001:DB8:0::1"), AUTHORITY), NOW)
    assert verifier.check(seal(update(csci_id="2001:db8:0:0::1"), KEY), NOW)
    with pytest.raises(MidflightError, match="CSCI-ID 'edge' is not an IP address"):
        issue(replace(EDGE, csci_id="edge"), AUTHORITY)


@pytest.mark.parametrize(
    ("descriptor", "signer", "reason"),
    [
        (replace(EDGE, id=SpiffeId.parse("spiffe://elsewhere.example/x")), AUTHORITY, Reason.UNKNOWN),
        (EDGE, OTHER, Reason.FORGED),
        (replace(EDGE, not_after=NOW - 3 * SECOND), AUTHORITY, Reason.EXPIRED),
        (replace(EDGE, not_before=NOW + 3 * SECOND), AUTHORITY, Reason.EARLY),
    ],
)
def test_descriptors_are_refused_with_a_reason(descriptor: Descriptor, signer: SigningKey, reason: Reason) -> None:
    verifier = Verifier({"factory.example": AUTHORITY.public})
    assert verifier.admit(issue(descriptor, signer), NOW) is None
    assert refusals(verifier) == {reason.value: 1}
    assert verifier.check(seal(update(), KEY), NOW) is None, "nothing was admitted"


def test_a_descriptor_with_an_infinite_limit_is_malformed() -> None:
    verifier = Verifier({"factory.example": AUTHORITY.public})
    assert verifier.admit(issue(EDGE, AUTHORITY).replace(b": 8", b": Infinity"), NOW) is None
    assert refusals(verifier) == {"malformed": 1}


def test_descriptors_are_renewed_revoked_and_end(verifier: Verifier) -> None:
    longer = replace(EDGE, not_before=NOW, not_after=NOW + 9000 * SECOND)
    assert verifier.check(seal(update(NOW), KEY), NOW) is not None
    assert verifier.admit(issue(longer, AUTHORITY), NOW) == longer
    assert verifier.admit(issue(EDGE, AUTHORITY), NOW) is None, "the older one does not come back"
    assert verifier.check(seal(update(NOW), KEY), NOW) is None, "nor does an old record"
    late = NOW + 9003 * SECOND
    assert verifier.check(seal(update(late), KEY), late) is None
    assert refusals(verifier) == {"replayed": 2, "expired": 1}
    verifier.revoke(longer)
    assert verifier.check(seal(update(NOW + 1), KEY), NOW + 1) is None
    assert verifier.refused[Reason.UNKNOWN] == 1


def test_the_number_of_instances_is_limited() -> None:
    verifier = Verifier({"factory.example": AUTHORITY.public}, limit=1)
    assert verifier.admit(issue(EDGE, AUTHORITY), NOW)
    assert verifier.admit(issue(replace(EDGE, public_key=OTHER.public), AUTHORITY), NOW) is None
    assert verifier.admit(issue(EDGE, AUTHORITY), NOW)


@pytest.mark.parametrize(
    "text",
    [
        "http://factory.example/x",
        "spiffe:///x",
        "spiffe://Factory/x",
        "spiffe://factory/",
        "spiffe://factory/a//b",
        "spiffe://factory/../b",
        "spiffe://factory/a b",
        "spiffe://factory/" + "a" * 2048,
    ],
)
def test_ids_that_break_the_rules(text: str) -> None:
    with pytest.raises(MidflightError, match="is not a SPIFFE ID"):
        SpiffeId.parse(text)


def test_ids_come_back() -> None:
    for text in ("spiffe://factory.example", "spiffe://factory.example/service/vision/edge-1"):
        assert str(SpiffeId.parse(text)) == text


def test_keys_are_kept_in_files_of_their_owner(tmp_path: Path) -> None:
    path = tmp_path / "edge.key"
    KEY.save(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert SigningKey.load(path) == KEY
    assert KEY.seed.hex() not in repr(KEY)
    with pytest.raises(MidflightError, match="File exists"):
        KEY.save(path)
    path.write_text("secret")
    with pytest.raises(MidflightError, match="is not a private key"):
        SigningKey.load(path)


@pytest.fixture
def clock() -> Iterator[int]:
    return iter(range(NOW, NOW + 10_000 * SECOND, SECOND))


def written(path: Path, clock: Iterator[int], count: int = 4) -> ChainedLog:
    log = ChainedLog(path, lambda: next(clock))
    for number in range(count):
        log.append("refused: forged" if number % 2 else "admitted", csci_id=f"10.0.0.{number}")
    return log


def test_an_intact_log_verifies_and_is_continued(tmp_path: Path, clock: Iterator[int]) -> None:
    path = tmp_path / "audit.log"
    first = written(path, clock)
    first.close()
    with written(path, clock, 1) as log:
        found = verify(path)
        assert (found.entries, found.head) == (5, log.head)
        assert found.events == {"admitted": 3, "refused: forged": 2}
        assert verify(path, first.head) == found
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda lines: [lines[0], lines[1].replace("10.0.0.1", "10.0.0.9"), *lines[2:]], 2),
        (lambda lines: lines[1:], 1),
        (lambda lines: [lines[0], *lines[2:]], 2),
        (lambda lines: [lines[1], lines[0], *lines[2:]], 1),
        (lambda lines: [*lines[:3], "{}"], 4),
        (lambda lines: [*lines[:3], "nonsense"], 4),
        (lambda lines: [*lines, lines[3]], 5),
    ],
)  # fmt: skip
def test_changes_of_a_log_are_found_with_their_line(
    damage: object, line: int, tmp_path: Path, clock: Iterator[int]
) -> None:
    path = tmp_path / "audit.log"
    written(path, clock).close()
    assert callable(damage)
    path.write_text("".join(f"{each}\n" for each in damage(path.read_text().splitlines())))
    with pytest.raises(MidflightError, match=f"audit.log:{line}:1: the chain is broken"):
        verify(path)
    with pytest.raises(MidflightError, match="the chain is broken"):
        ChainedLog(path, lambda: next(clock))


def test_an_entry_that_was_changed_with_a_new_hash_breaks_the_next_one(tmp_path: Path, clock: Iterator[int]) -> None:
    path, other = tmp_path / "audit.log", tmp_path / "other.log"
    written(path, clock).close()
    written(other, clock).close()  # the same entries at other times, so with other hashes
    lines, others = path.read_text().splitlines(), other.read_text().splitlines()
    path.write_text("".join(f"{each}\n" for each in [others[0], *lines[1:]]))
    with pytest.raises(MidflightError, match=r"audit.log:2:1: .*the entry before was changed or removed"):
        verify(path)


def test_a_recomputed_end_lacks_the_hash_that_was_noted(tmp_path: Path, clock: Iterator[int]) -> None:
    path = tmp_path / "audit.log"
    log = written(path, clock)
    log.close()
    path.write_text("".join(f"{each}\n" for each in path.read_text().splitlines()[:2]))
    assert verify(path).entries == 2, "the chain alone does not show it"
    with pytest.raises(MidflightError, match="no entry with the hash"):
        verify(path, log.head)


def test_an_entry_that_a_crash_cut_off_is_removed(tmp_path: Path, clock: Iterator[int]) -> None:
    path = tmp_path / "audit.log"
    written(path, clock).close()
    with path.open("a") as file:
        file.write('{"number": 4, "ti')
    with pytest.raises(MidflightError, match=r"audit.log:5:1: .*incomplete"):
        verify(path)
    written(path, clock, 1).close()
    assert verify(path).events["incomplete entry removed"] == 1


def test_a_flood_of_refusals_is_counted_and_does_not_fill_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    with ChainedLog(path, lambda: NOW) as log:
        for _ in range(1000):
            log.append("refused: forged")
    found = verify(path)
    assert found.entries <= 101
    assert found.events == {"refused: forged": 1000, "closed": 1}


def test_entries_are_json_with_the_hash_of_the_one_before(tmp_path: Path, clock: Iterator[int]) -> None:
    path = tmp_path / "audit.log"
    written(path, clock).close()
    entries = [json.loads(each) for each in path.read_text().splitlines()]
    assert [each["previous"] for each in entries[1:]] == [each["hash"] for each in entries[:-1]]


def test_the_command_verifies_a_log(tmp_path: Path, clock: Iterator[int]) -> None:
    path = tmp_path / "audit.log"
    written(path, clock).close()
    found = midflight("audit", path)
    assert found.exit_code == 0
    assert f"{path}: 4 entries, the chain is intact\n         2 admitted\n         2 refused: forged\n" in found.output
    head = json.loads(midflight("audit", path, "--json").stdout)["head"]
    path.write_text("".join(f"{each}\n" for each in path.read_text().splitlines()[:3]))
    cut = midflight("audit", path, "--head", head)
    assert (cut.exit_code, "no entry with the hash" in cut.output) == (1, True)
    assert "hexadecimal digits, not 'zz'" in midflight("audit", path, "--head", "zz").output
    path.write_text(path.read_text().replace("10.0.0.0", "10.0.0.7"))
    changed = midflight("audit", path)
    assert (changed.exit_code, "audit.log:1:1: the chain is broken" in changed.output) == (1, True)


def test_the_commands_make_keys_and_descriptors(tmp_path: Path) -> None:
    authority, edge, descriptor = (tmp_path / each for each in ("authority.key", "edge.key", "edge.descriptor"))
    publics = [midflight("identity", "key", each).output.strip() for each in (authority, edge)]
    words = ("--public", publics[1], "--id", "spiffe://f.example/e", "--cs-id", "10.9.9.9", "--csci-id", "10.0.0.5")
    issued = midflight("identity", "issue", "--authority", authority, *words, "--best", "norm_fi=6", "-o", descriptor)
    assert issued.exit_code == 0, issued.output
    shown = midflight("identity", "check", descriptor, "--authority-public", publics[0])
    assert shown.output == f"spiffe://f.example/e: instance 10.0.0.5 of 10.9.9.9, key {publics[1]}\n"
    now = time.time_ns()
    verifier = Verifier({"f.example": bytes.fromhex(publics[0])})
    assert verifier.admit(descriptor.read_bytes(), now)
    assert verifier.check(seal(update(now, value=6), SigningKey.load(edge)), now)
    assert verifier.check(seal(update(now + 1, value=7), SigningKey.load(edge)), now) is None
    refused = midflight("identity", "check", descriptor, "--authority-public", publics[1])
    assert (refused.exit_code, "is refused: forged" in refused.output) == (1, True)
    for wrong, message in (
        ("--public", "a public key is 64"),
        ("--best", "not TYPE=SCORE"),
        ("--id", "not a SPIFFE ID"),
    ):
        done = midflight("identity", "issue", "--authority", authority, *words, wrong, "x", "-o", descriptor)
        assert message in done.output
    descriptor.write_bytes(b"\x80" * 1000)
    binary = midflight("identity", "check", descriptor, "--authority-public", publics[0])
    assert (binary.exit_code, binary.output) == (1, f"midflight: {descriptor}: malformed descriptor: it is not text\n")
    authority.write_text("")
    empty = midflight("identity", "issue", "--authority", authority, *words, "-o", descriptor)
    assert (empty.exit_code, f"{authority} is not a private key" in empty.output) == (1, True)

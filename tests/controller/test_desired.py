"""The commands that change maps, mirrors and limits of a running controller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from midflight.errors import DeviceError
from midflight.runtime.p4runtime.client.session import Session
from tests.controller.lab import APP, Lab
from tests.controller.running import Running, commands_of

RULES = """

class Rules(Primitive):
    '''Look up numbers.'''

    class Wire(Header):
        number = bit[32]

    def setup(self):
        self.rule = Map(bit[32], int_[8], size=4, match="ternary")
        self.zone = Map((bit[32], bit[16]), bit[8], size=4, match=("lpm", "range"))

    def ingress(self, packet, wire):
        rule = self.rule.get(wire.number, 0)
        zone = self.zone.get((wire.number, 80), 0)
        if rule > 0 or zone > 0:
            packet.drop()
        else:
            packet.forward()
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    tmp_path.chmod(0o700)
    with closing(Lab(tmp_path)) as made:
        head, _, program = APP.partition("\n\nprogram")
        head = head.replace("Header,", "Header, Map, int_,")
        made.file.write_text(
            f"{head}{RULES}\n\nprogram{program}".replace('Seen("seen"),', 'Seen("seen"), Rules("rules"),')
        )
        yield made


@pytest.fixture
def running(lab: Lab) -> Iterator[Running]:
    with commands_of(lab) as made:
        yield made


def held(lab: Lab, switch: str, table: str) -> list[tuple[object, ...]]:
    """Return the keys and the value of each entry of a table on a switch."""
    with lab.devices[switch].session() as session:
        return sorted((*each.match.values(), *each.params.values()) for each in session.read_table(f"ingress.{table}"))


CACHED = "store.cached"


def test_entries_of_a_map_are_listed_and_changed(running: Running) -> None:
    listed = running.run("map", "store", "--switch", "s1").output
    assert listed == "# cached: bit[64] exact to bit[16], 2 of 1024 entries\n1=0\n2=1\n"
    changed = running.run("map", "store", "--switch", "s1", "--set", "7=2", "--set", "0x10=3", "--delete", "1").output
    assert changed == "store.cached on s1 has 3 of 1024 entries\n"
    assert held(running.lab, "s1", CACHED) == [(2, 1), (7, 2), (16, 3)]
    assert held(running.lab, "s2", CACHED) == [(1, 0), (2, 1)]
    assert running.events.wait("map-changed", "s1").message == "cached: 2 set, 1 deleted"
    found = running.json("map", "store", "cached", "--switch", "s1")
    assert found == {
        "application": "store",
        "switch": "s1",
        "maps": [
            {
                "name": "cached",
                "key": ["bit[64] exact"],
                "value": "bit[16]",
                "size": 1024,
                "entries": ["2=1", "7=2", "16=3"],
            }
        ],
    }


def test_what_is_printed_can_be_loaded(running: Running, tmp_path: Path) -> None:
    zones = ("--set", "10.0.0.0/8,80..90=3@2", "--set", "0/0,7=1")
    assert running.run("map", "rules", "zone", "--switch", "s1", *zones).exit_code == 0
    assert running.run("map", "rules", "rule", "--switch", "s1", "--set", "0x10&&&0xf0=-1@5").exit_code == 0
    file = tmp_path / "zones.txt"
    file.write_text(running.run("map", "rules", "zone", "--switch", "s1").output)
    assert file.read_text().splitlines()[1:] == [f"{10 << 24}/8,80..90=3@2", "0/0,7..7=1@1"]
    words = ("map", "rules", "zone", "--switch", "s2")
    running.run(*words, "--set", "1/32,1=1")
    assert running.run(*words, "--clear", "--load", str(file)).output == "rules.zone on s2 has 2 of 4 entries\n"
    assert held(running.lab, "s2", "rules.zone") == held(running.lab, "s1", "rules.zone")
    assert running.json("map", "rules", "--switch", "s1")["maps"][0]["entries"] == ["0x10&&&0xf0=-1@5"]
    assert running.run(*words, "--clear").output == "rules.zone on s2 has 0 of 4 entries\n"
    assert held(running.lab, "s2", "rules.zone") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("store", "--set", "1=5"), "2 switches run store"),
        (("store", "--set", "1", "--switch", "s1"), "'1' is not an entry of a map"),
        (("store", "--set", "1=x", "--switch", "s1"), "the value of the key '1': 'x' is not a value"),
        (("store", "--set", "1=99999", "--switch", "s1"), "does not fit"),
        (("store", "--set", "3=1", "--set", "0x3=2", "--switch", "s1"), "the key '0x3' is named twice"),
        (("store", "--set", "1=1@5", "--switch", "s1"), "exactly 1 without ternary or range keys"),
        (("store", "--set", "1,2=1", "--switch", "s1"), "'1,2' is not a key of this map"),
        (("store", "--delete", "9", "--switch", "s1"), "the map has no entry '9'"),
        (("store", "other", "--switch", "s1"), "store has no map 'other'"),
        (("rules", "--set", "1=1", "--switch", "s1"), "rules has 2 maps"),
        (("rules", "zone", "--set", "10.1.0.0/8,1=1", "--switch", "s1"), "use 10.0.0.0/8"),
        (("rules", "rule", "--set", "1=-129", "--switch", "s1"), "the value of the key '1': -129 does not fit int_[8]"),
        (("hot", "--switch", "s1"), "hot has no map"),
        (("cold",), "the program has no application 'cold'"),
        (("store", "--switch", "s9"), "s9 does not run store"),
    ],
)
def test_mistakes_in_maps_are_reported(running: Running, words: tuple[str, ...], message: str) -> None:
    assert message in running.refused("map", *words)
    assert held(running.lab, "s1", CACHED) == [(1, 0), (2, 1)]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("4", "'4' is not an entry of a map"),
        ("4=x", "the value of the key '4': 'x' is not a value"),
        ("x=4", "the key 'x': 'x' is not a value"),
        ("4=1@5", "priority 5: a priority is at least 1"),
        ("4=1@2147483648", "priority 2147483648: a priority is at most 2**31 - 1"),
        pytest.param(f"4=1@{'9' * 5000}", "'4=1@9999", id="digits"),
        ("3=1", "the key '3' is named twice"),
    ],
)
def test_mistakes_in_files_of_entries_have_their_place(running: Running, line: str, message: str) -> None:
    file = running.lab.folder / "cached.txt"
    file.write_text(f"# entries\n3=0\n\n{line}  # wrong\n5=1\n")
    words = ("map", "store", "--switch", "s1", "--set", "6=1", "--load", str(file))
    assert f"{file}:4: {message}" in running.refused(*words)
    assert held(running.lab, "s1", CACHED) == [(1, 0), (2, 1)]


def test_a_command_changes_all_entries_or_none(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("map", "rules", "rule", "--switch", "s1")
    running.run(*words, "--set", "1=1", "--set", "2=2@7")
    before = held(running.lab, "s1", "rules.rule")
    saved = running.deployment.store.desired
    full = [part for number in range(3, 6) for part in ("--set", f"{number}=1")]
    assert "the map is full" in running.refused(*words, "--delete", "1", "--set", "2=3@1", *full, "--set", "6=1")
    assert held(running.lab, "s1", "rules.rule") == before
    insert = Session.insert

    def limited(session: Session, table: str, match: dict[str, object], *more: object, **others: object) -> None:
        if 5 in {each[0] for each in match.values() if isinstance(each, tuple)}:
            raise DeviceError("no room")
        insert(session, table, match, *more, **others)  # type: ignore[arg-type]

    monkeypatch.setattr(Session, "insert", limited)
    assert "no room" in running.refused(*words, "--delete", "1", "--set", "2=3@1", *full)
    assert held(running.lab, "s1", "rules.rule") == before
    entries = running.json("map", "rules", "rule", "--switch", "s1")["maps"][0]["entries"]
    assert sorted(entries) == ["0x1&&&0xffffffff=1@1", "0x2&&&0xffffffff=2@7"]
    assert running.deployment.store.desired == saved


def test_a_switch_that_is_off_gets_its_entries_when_it_returns(running: Running) -> None:
    lab = running.lab
    lab.devices["s1"].close()
    running.events.wait("switch-lost", "s1")
    assert running.run("map", "store", "--switch", "s1", "--set", "7=2", "--delete", "1").exit_code == 0
    assert running.run("mirror", "seen", "--switch", "s1", "--hosts", "h2").exit_code == 0
    lab.devices["s1"] = lab.start("s1")
    running.events.wait("switch-restored", "s1")
    assert held(lab, "s1", CACHED) == [(2, 1), (7, 2)]
    assert mirrored(running) == [2]


def mirrored(running: Running) -> list[int]:
    """Return the ports to which s1 sends what `seen` mirrors."""
    return list(running.deployment.controller.steering["s1"].standing().mirrors[4])


def test_mirrors_start_and_stop(running: Running) -> None:
    assert running.run("mirror", "seen", "--hosts", "h1,h2", "--switch", "s1").output == (
        "seen on s1 sends copies to h1, h2\n"
    )
    assert mirrored(running) == [1, 2]
    assert running.json("status")["applications"][3]["mirrors"] == [{"switch": "s1", "hosts": ["h1", "h2"]}]
    assert "s1: copies to h1, h2" in running.run("status").output
    for words, message in (
        (("seen", "--hosts", "h3", "--switch", "s1"), "h3"),
        (("hot", "--hosts", "h1", "--switch", "s1"), "hot mirrors nothing"),
        (("seen", "--hosts", "h9", "--switch", "s1"), "there is no host named h9"),
        (("seen", "--hosts", "h1,h2,h1", "--switch", "s1"), "h1 is named twice"),
        (("seen", "--hosts", "h1"), "2 switches run seen"),
    ):
        assert message in running.refused("mirror", *words)
    assert running.run("mirror", "seen", "--switch", "s1").exit_code == 2
    assert running.run("mirror", "seen", "--switch", "s1", "--stop", "--hosts", "h1").exit_code == 2
    assert mirrored(running) == [1, 2]
    stopped = running.json("mirror", "seen", "--switch", "s1", "--stop")
    assert stopped == {"application": "seen", "switch": "s1", "hosts": []}
    assert mirrored(running) == []
    assert running.json("status")["applications"][3]["mirrors"] == []


def test_limits_hold_for_present_and_later_admissions(running: Running) -> None:
    running.run("admit", "hot", "--switch", "s1")
    assert running.json("limit", "hot", "200") == {"application": "hot", "rate": 200}
    running.run("admit", "hot", "--switch", "s2")
    rates = [each.admitted[3].rate for each in running.deployment.controller.steering.values()]
    assert rates == [200, 200]
    assert running.json("status")["applications"][2]["rate"] == 200
    assert running.run("limit", "hot", "0").output == "hot: all requests are computed\n"
    assert running.deployment.controller.steering["s1"].admitted[3].rate == 0
    assert "no application 'cold'" in running.refused("limit", "cold", "1")
    assert running.run("limit", "hot", str(2**31)).exit_code == 2


def test_a_refused_admission_leaves_the_limit(running: Running) -> None:
    running.run("limit", "hot", "200")
    assert "2 switches run hot" in running.refused("admit", "hot", "--rate", "300")
    assert running.json("status")["applications"][2]["rate"] == 200


def test_what_was_requested_survives_the_controller(lab: Lab) -> None:
    with commands_of(lab) as running:
        running.run("admit", "seen", "--switch", "s1")
        running.run("limit", "seen", "70")
        running.run("mirror", "seen", "--switch", "s1", "--hosts", "h2")
        running.run("map", "store", "--switch", "s1", "--set", "7=2", "--delete", "1")
        running.run("map", "rules", "rule", "--switch", "s2", "--set", "0x10&&&0xf0=-1@5")
    lab.devices["s1"].close()  # with the controller's death in between
    lab.devices["s1"] = lab.start("s1")
    with commands_of(lab, again=True) as running:
        assert running.events.kinds() == ["resumed", "switch-restored", "switch-adopted"]
        assert held(lab, "s1", CACHED) == [(2, 1), (7, 2)]
        assert mirrored(running) == [2]
        assert running.deployment.controller.steering["s1"].admitted[4].rate == 70
        assert running.json("map", "rules", "rule", "--switch", "s2")["maps"][0]["entries"] == ["0x10&&&0xf0=-1@5"]


def test_a_change_that_was_not_saved_is_rolled_back_by_the_next_controller(lab: Lab) -> None:
    with commands_of(lab) as running:
        controller = running.deployment.controller
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(running.deployment.store, "save", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
            patch.setattr("midflight.runtime.controller.maps.ControlledMap._undo", lambda *_: None)  # as if killed
            with pytest.raises(KeyboardInterrupt):
                controller.map("store", "cached", "s1")[7] = 2
    assert (7, 2) in held(lab, "s1", CACHED)
    with commands_of(lab, again=True) as running:
        assert running.events.wait("switch-repaired", "s1").details["stale"] == 1
        assert held(lab, "s1", CACHED) == [(1, 0), (2, 1)]


@pytest.mark.parametrize("command", ["map", "mirror", "limit"])
def test_commands_without_a_controller_say_so(lab: Lab, command: str) -> None:
    words = {"map": ("store",), "mirror": ("seen", "--stop"), "limit": ("hot", "5")}[command]
    assert "no controller answers in" in Running(lab, None, None).refused(command, *words)  # type: ignore[arg-type]

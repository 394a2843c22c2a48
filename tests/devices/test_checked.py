"""Checked programs: each part is computed once by all threads, and shared by users of the same text."""

from __future__ import annotations

import errno
import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner

from midflight.cli.clean import clean
from midflight.errors import MidflightError, P4Error
from midflight.p4 import frontend, ir
from midflight.p4.p4info import p4info
from midflight.primitives import Program, Threshold
from midflight.runtime.checked import CheckedProgram, Programs, user_programs
from midflight.runtime.devices import HostDevice
from midflight.runtime.devices.remote import RemoteDevice
from midflight.runtime.engine import Backend, Engine, Packets, Trace
from midflight.runtime.engine.compiled import Compiled
from midflight.runtime.engine.store import Store, user_store
from midflight.testbed import Net
from midflight.testbed.topology import line
from tests.p4runtime.support import EVERYTHING, ipv4

BESIDE = '#include "mine.p4"\n'


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that the front end checks. Nothing is found in the store."""
    monkeypatch.setenv("MIDFLIGHT_CODE_CACHE", "")
    texts: list[str] = []
    check = frontend.check

    def counted(text: str, file: str, *, confined: bool) -> ir.Program:
        texts.append(text)
        return check(text, file, confined=confined)

    monkeypatch.setattr("midflight.runtime.checked.check", counted)
    return texts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "code"
    folder.mkdir(mode=0o700)
    return folder


def test_each_part_is_computed_once_by_all_threads(checks: list[str]) -> None:
    program = CheckedProgram(EVERYTHING)
    assert checks == []
    with ThreadPoolExecutor(4) as pool:
        made = {id(each) for each in pool.map(lambda _: program.compiled, range(4))}
    assert len(made) == 1
    assert program.compiled.program is program.program
    assert program.footprint.total.table_entries > 0
    assert program.p4info.tables
    assert checks == [EVERYTHING]


def test_the_check_of_an_eager_program_begins_to_compile_it(folder: Path) -> None:
    with HostDevice(EVERYTHING, programs=Programs(Store(folder), eager=True)) as device:
        assert device.process(Packets.from_list([(1, ipv4("10.0.0.1"))])) is not None
    assert len(list(folder.iterdir())) == 1  # stored, as by others
    lazy, eager = CheckedProgram(EVERYTHING), Programs(eager=True).get(EVERYTHING)
    for each in (lazy, eager):
        assert each.program.tables
    assert (lazy.is_compiled, eager.is_compiled) == (False, True)
    assert eager.compiled is eager.compiled
    assert eager.compiled.native.address(eager.compiled.entry)


def test_an_eager_program_that_the_engine_refuses_is_refused_where_its_code_is_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(program: ir.Program) -> Compiled:
        raise P4Error("the engine does not support this")

    monkeypatch.setattr("midflight.runtime.checked.Compiled", refuse)
    program = CheckedProgram(EVERYTHING, eager=True)
    assert program.footprint.total.table_entries > 0
    with pytest.raises(P4Error, match="does not support this"):
        _ = program.compiled


def test_each_part_that_needs_it_reports_an_invalid_text() -> None:
    program = CheckedProgram(EVERYTHING.replace("mark_to_drop", "mark_to_dorp"), "mine.p4")
    for _ in range(2):
        with pytest.raises(P4Error) as wrong:
            _ = program.footprint
        assert wrong.value.place is not None
        assert wrong.value.place.file == "mine.p4"


def test_programs_are_shared_by_text_while_they_are_referenced(checks: list[str]) -> None:
    programs = Programs()
    held = programs.get(EVERYTHING)
    assert programs.get(EVERYTHING, "another name") is held
    _ = held.program
    del held
    gc.collect()
    _ = programs.get(EVERYTHING).program
    assert len(checks) == 2


def test_a_program_that_includes_files_is_not_shared(tmp_path: Path) -> None:
    programs, mine = Programs(), tmp_path / "mine.p4"
    mine.write_text(EVERYTHING)
    before = programs.get(BESIDE, str(tmp_path / "all.p4"))
    assert "route" in {each.split(".")[-1] for each in before.program.tables}
    mine.write_text(EVERYTHING.replace("route", "roads"))
    after = programs.get(BESIDE, str(tmp_path / "all.p4"))
    assert "roads" in {each.split(".")[-1] for each in after.program.tables}


def test_devices_that_share_programs_share_only_code(checks: list[str]) -> None:
    programs = Programs()
    with HostDevice(EVERYTHING, programs=programs) as one, HostDevice(EVERYTHING, programs=programs) as other:
        pipelines = [each.switch.pipeline for each in (one, other)]
        assert pipelines[0] is not None
        assert pipelines[1] is not None
        assert compiled_of(pipelines[0].engine) is compiled_of(pipelines[1].engine)
        pipelines[0].engine.registers["ingress.totals"].write(3, 7)
        assert pipelines[1].engine.registers["ingress.totals"].read(3) == 0
    assert checks == [EVERYTHING]


def test_a_network_checks_each_text_once(checks: list[str]) -> None:
    with Net(line(3), program=Program(Threshold("pressure", above=900, clear=850))) as net:
        assert len(net.devices) == 3
    assert len(checks) == 1


@pytest.mark.parametrize("beside", ['#include "mine.p4"\n', "#include <mine.p4>\n"])
def test_an_untrusted_program_does_not_share_one_with_included_files(beside: str, tmp_path: Path) -> None:
    programs, file = Programs(), str(tmp_path / "all.p4")
    (tmp_path / "mine.p4").write_text(EVERYTHING)
    trusted = programs.get(beside, file)
    with pytest.raises(P4Error, match="cannot be included"):
        _ = programs.get(beside, file, confined=True).program
    assert not trusted.confined


def test_included_files_are_expanded_for_a_device(tmp_path: Path) -> None:
    (tmp_path / "mine.p4").write_text(EVERYTHING)
    program = CheckedProgram(BESIDE, str(tmp_path / "all.p4"))
    with HostDevice() as device:
        pipeline = device.compile(program)
        with device.session() as session:
            session.load(pipeline.p4info, pipeline.config)
            assert session.read_table("route") == []
        remote = RemoteDevice(address=device.address, device_id=device.device_id)
        pipeline = remote.compile(program)
        with remote.session() as session:
            session.load(pipeline.p4info, pipeline.config)
            assert session.read_table("route") == []
    assert CheckedProgram(EVERYTHING).standalone == EVERYTHING


def test_processes_that_share_a_store_compile_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with HostDevice(programs=Programs(Store(folder))) as device, device.session() as session:
        session.load(p4info(frontend.check(EVERYTHING)), EVERYTHING)
    monkeypatch.setattr("midflight.runtime.checked.check", None)
    monkeypatch.setattr("midflight.runtime.checked.Compiled", None)
    with HostDevice(programs=Programs(Store(folder))) as other, other.session() as session:
        session.load(p4info(frontend.check(EVERYTHING)), EVERYTHING)
        session.insert("route", {"hdr.ipv4.destination": "10.0.0.0/8"}, "to_port", {"port": 2, "mac": 1})
        packets = Packets.from_list([(1, ipv4("10.0.0.1"))])
        assert [port for port, _ in other.process(packets)] == [2]
        reported: list[Trace] = []
        other.switch.trace("test", reported.append)
        assert [port for port, _ in other.process(packets)] == [2]
        assert len(reported) == 1


def test_stored_code_names_its_own_file(folder: Path) -> None:
    programs = Programs(Store(folder))
    assert programs.get(EVERYTHING, "one.p4").compiled is not None
    other = Programs(Store(folder)).get(EVERYTHING, "other.p4")
    assert not other.is_compiled
    assert Programs(Store(folder)).get(EVERYTHING, "one.p4").is_compiled


def test_an_invalid_program_is_reported_with_a_store(folder: Path) -> None:
    for _ in range(2):
        with pytest.raises(P4Error, match="mark_to_dorp"):
            HostDevice(EVERYTHING.replace("mark_to_drop", "mark_to_dorp"), programs=Programs(Store(folder)))
    assert list(folder.iterdir()) == []


def test_a_folder_that_others_can_write_to_is_rejected(folder: Path) -> None:
    folder.chmod(0o770)
    with pytest.raises(MidflightError, match="other users may"):
        Store(folder)
    with pytest.raises(MidflightError, match="as the folder for code"):
        Store(folder / "none")


def test_objects_nested_too_deeply_to_pickle_are_not_stored(folder: Path) -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    store = Store(folder)
    store.save("deep", deep)
    assert store.load("deep") is None
    store.save("flat", [1])
    assert Store(folder).load("flat") == [1]


def test_a_damaged_file_is_replaced(folder: Path) -> None:
    _ = Programs(Store(folder)).get(EVERYTHING).compiled
    [file] = folder.iterdir()
    whole = file.read_bytes()
    for damage in (b"", whole[:1000], b"\x80\x05" + bytes(50), b"cno.such.module\nthing\n."):
        file.write_bytes(damage)
        program = Programs(Store(folder)).get(EVERYTHING)
        assert not program.is_compiled
        _ = program.compiled
        assert Programs(Store(folder)).get(EVERYTHING).is_compiled
    assert list(folder.iterdir()) == [file]


def test_a_full_store_forgets_what_was_not_used_for_longest(folder: Path) -> None:
    store = Store(folder, limit=3500)
    for number, name in enumerate("abc"):
        store.save(name, bytes(1000))
        for file in folder.iterdir():
            os.utime(file, (number, number))
    assert store.load("a") == bytes(1000)  # the others now are older
    store.save("d", bytes(1000))
    assert [store.load(each) is not None for each in "abcd"].count(True) == 3
    assert store.load("a") is not None
    assert store.load("d") is not None


def test_the_command_empties_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIDFLIGHT_CODE_CACHE", str(folder))
    Store(folder).save("a", bytes(1 << 20))
    assert Store(folder).size > 1 << 20
    assert "1.0 MiB\n" in CliRunner().invoke(clean, ["--list", "--cache"]).output
    assert Store(folder).load("a") is not None
    assert "1.0 MiB: emptied" in CliRunner().invoke(clean, ["--cache"]).output, "even if another user left files behind"
    assert list(folder.iterdir()) == []


def test_a_disk_that_cannot_be_written_costs_only_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("midflight.runtime.engine.store.Path.replace", full)
    assert Programs(Store(folder)).get(EVERYTHING).compiled is not None
    assert list(folder.iterdir()) == []


def test_the_users_store_lies_in_the_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MIDFLIGHT_CODE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _ = user_programs().get(EVERYTHING).compiled
    code = tmp_path / "cache" / "midflight" / "code"
    assert len(list(code.iterdir())) == 1
    assert user_programs().get(EVERYTHING).is_compiled
    code.chmod(0o777)
    assert user_store() is None
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert user_store() is None
    monkeypatch.setenv("MIDFLIGHT_CODE_CACHE", "")
    assert user_store() is None
    monkeypatch.setenv("MIDFLIGHT_CODE_CACHE", str(code))
    with pytest.raises(MidflightError, match="other users may"):
        user_store()


def compiled_of(engine: Backend) -> Compiled:
    assert isinstance(engine, Engine)
    return engine.compiled

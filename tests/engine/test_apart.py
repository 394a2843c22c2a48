"""Compilation in a separate process: it gives the same code, and ends at its limits."""

from __future__ import annotations

import pickle

import pytest

from midflight.errors import P4Error
from midflight.p4.frontend import check
from midflight.runtime.engine import Engine, Packets
from midflight.runtime.engine.apart import CompileBudget, CompilerDied, compile_apart
from midflight.runtime.engine.compiled import Compiled
from midflight.runtime.engine.memory import DEFAULT, BudgetError
from midflight.runtime.p4runtime.server.switch import Switch
from tests.p4runtime.support import EVERYTHING, ipv4, other

BATCH = [(1, ipv4("10.1.2.3")), (2, other(b"one")), (3, ipv4("10.0.0.9", ttl=1)), (4, b"\0")]


def played(engine: Engine) -> list[tuple[int, bytes]]:
    return list(engine.process(Packets.from_list(BATCH)))


def test_code_from_another_process_gives_the_same_results() -> None:
    compiled = compile_apart(EVERYTHING, "mine.p4", CompileBudget(), DEFAULT)
    assert played(Engine(compiled.program, compiled=compiled)) == played(Engine(check(EVERYTHING)))
    traced = Engine(compiled.program, compiled=compiled)
    traced.trace(True)
    played(traced)
    assert len(traced.traces()) == len(BATCH)


def test_code_may_be_copied_and_outlives_its_copy() -> None:
    compiled = Compiled(check(EVERYTHING))
    copy = pickle.loads(pickle.dumps(compiled))
    expected = played(Engine(compiled.program, compiled=compiled))
    del compiled
    assert played(Engine(copy.program, compiled=copy)) == expected


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (EVERYTHING.replace("mark_to_drop", "mark_to_dorp"), "mark_to_dorp"),
        ('#include "/etc/passwd"\n' + EVERYTHING, "cannot be included"),
        ("", "has no main"),
    ],
)
def test_errors_are_reported_with_their_place(text: str, said: str) -> None:
    with pytest.raises(P4Error, match=said) as wrong:
        compile_apart(text, "mine.p4", CompileBudget(), DEFAULT)
    assert wrong.value.place is not None
    assert wrong.value.place.file == "mine.p4"


@pytest.mark.parametrize("budget", [CompileBudget(seconds=0), CompileBudget(memory=64 << 20)])
def test_compilation_beyond_its_limits_is_ended(budget: CompileBudget) -> None:
    with pytest.raises(BudgetError, match="takes more than"):
        compile_apart(EVERYTHING, "mine.p4", budget, DEFAULT)


def test_state_beyond_the_memory_limit_is_rejected() -> None:
    text = EVERYTHING.replace("register<int<16>>(4) levels;", "register<int<16>>(0x7fffffff) levels;")
    with pytest.raises(BudgetError, match="levels alone"):
        compile_apart(text, "mine.p4", CompileBudget(), DEFAULT)


def test_a_crash_of_the_compiler_is_not_reported_as_an_error_of_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("midflight.runtime.engine.apart.__name__", "midflight.no_such_module")
    with pytest.raises(CompilerDied, match="no_such_module"):
        compile_apart(EVERYTHING, "mine.p4", CompileBudget(), DEFAULT)


def test_the_initial_program_of_a_switch_is_compiled_in_a_separate_process() -> None:
    switch = Switch(apart=CompileBudget(seconds=0))
    switch.load(EVERYTHING)
    assert switch.pipeline is not None

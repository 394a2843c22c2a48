"""Small kernels that would grow without end are refused at the limit that they run into, with their place."""

from __future__ import annotations

import importlib
import linecache
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from midflight.errors import KernelError
from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.primitives import Program, Register, bit
from midflight.primitives.kernel.copies import CONSTANT, COPIED
from midflight.primitives.kernel.header import NUMBERS
from midflight.primitives.kernel.register import LANES

HEAD = """\
from midflight.primitives import *

HUGE = 1 << 20000
"""
LESSON = """\
class Lesson(Primitive):
    class Wire(Header):
        {wire}

    def setup(self):
        self.count = Register(bit[32], 1024)

    def ingress(self, packet, wire):
        {body}
"""
FILES = count()


def lesson(body: str, before: str = "", wire: str = "key = bit[16]\n        value = bit[32]") -> Callable[[str], Any]:
    text = HEAD + before + LESSON.format(wire=wire, body=body.replace("\n", "\n        "))
    file = f"growing_{next(FILES)}.py"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    scope: dict[str, Any] = {"__name__": "growing"}
    exec(compile(text, file, "exec", dont_inherit=True), scope)
    made: Callable[[str], Any] = scope["Lesson"]
    return made


def doubled(form: str) -> str:
    return "".join(form.replace("NEXT", str(number + 1)).replace("THIS", str(number)) for number in range(40))


LONG = f"this constant has more than {CONSTANT} bits"
LARGER = f"loops and helpers make this kernel more than {COPIED} nodes of syntax larger"
GROWING = {
    "a power": ("wire.value = 9**9**9", "", LONG),
    "a power of two": ("wire.value = bit[32](2**2**40)", "", LONG),
    "a shift": ("wire.value = bit[32](1 << 99999999999)", "", LONG),
    "a literal": (f"wire.value = 0x{'9' * 100_000}", "", LONG),
    "a captured constant": ("wire.value = bit[32](HUGE)", "", LONG),
    "a product": ("wire.value = bit[32](3**1000 * 3**1000 * 3**1000)", "", LONG),
    "loops": ("for i in range(1000):\n    for j in range(1000):\n        wire.value += 1", "", LARGER),
    "empty loops": (
        "for i in range(999):\n    for j in range(999):\n        for k in range(999):\n            pass",
        "",
        LARGER,
    ),
    "helpers": (
        "wire.value = f40(wire.value)",
        "def f0(x):\n    return x + 1\n" + doubled("def fNEXT(x):\n    return fTHIS(x) + fTHIS(x)\n"),
        LARGER,
    ),
    "helpers of several statements": (
        "wire.value = f40(wire.value)",
        "def f0(x):\n    y = x + 1\n    return y\n"
        + doubled("def fNEXT(x):\n    y = fTHIS(x)\n    y = fTHIS(y)\n    return y\n"),
        LARGER,
    ),
    "helpers in an update": (
        "self.count.update(0, lambda old: f40(old))",
        "def f0(x):\n    return x + 1\n" + doubled("def fNEXT(x):\n    return fTHIS(x) + fTHIS(x)\n"),
        LARGER,
    ),
    "helpers in helpers": (
        "wire.value = f600(wire.value)",
        "def f0(x):\n    return x + 1\n"
        + "".join(f"def f{number + 1}(x):\n    return f{number}(x)\n" for number in range(600)),
        "helpers call each other more than 256 deep here",
    ),
}


@pytest.mark.parametrize(
    ("body", "before", "message"), [pytest.param(*each, id=name) for name, each in GROWING.items()]
)
def test_a_kernel_that_would_grow_without_end_is_refused(body: str, before: str, message: str) -> None:
    made = lesson(body, before)
    with pytest.raises(KernelError, match=message) as caught:
        Program(made("lesson"))
    assert caught.value.place is not None
    assert len(str(caught.value)) < 20_000


@pytest.mark.parametrize(
    "wire",
    [
        "value = bit[32].array(100000)",
        "value = bit[32].array(10**12)",
        "\n        ".join(f"value{number} = bit[32]" for number in range(NUMBERS + 1)),
        "value = type('Inner', (Header,), {'a': bit[8].array(100)}).array(1000)",
        "value = type('Inner', (Header,), {'a': bit[8]}).array(10**12)",
    ],
)
def test_a_header_has_a_largest_size(wire: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "largeheader.py").write_text(HEAD + LESSON.format(wire=wire, body="packet.drop()"))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "largeheader", raising=False)
    made = importlib.import_module("largeheader").Lesson
    with pytest.raises(KernelError, match=f"beyond the {NUMBERS} numbers that a header may have") as caught:
        Program(made("lesson"))
    assert caught.value.place is not None
    assert caught.value.place.line == 5


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("Register(bit[32], 2**31)", r"at most 2\*\*31 - 1 elements, not 2147483648"),
        ("Register(bit[32], 4, lanes=10**12)", f"at most {LANES} lanes"),
        ("Register(bit[10**12], 4)", "at most 2048 bits wide"),
    ],
)
def test_state_has_a_largest_size(state: str, message: str) -> None:
    made = lesson("packet.drop()")
    text = state.replace("Register", "self.count = Register")
    scope: dict[str, Any] = {}
    exec(f"{HEAD}def setup(self):\n    {text}", scope)
    made.setup = scope["setup"]  # type: ignore[attr-defined]
    with pytest.raises(KernelError, match=message):
        made("lesson")


def test_the_largest_register_is_described_by_p4info() -> None:
    made = lesson("self.count.write(0, 1)")
    scope: dict[str, Any] = {}
    exec(f"{HEAD}def setup(self):\n    self.count = Register(bit[32], 2**31 - 1)", scope)
    made.setup = scope["setup"]  # type: ignore[attr-defined]
    registers = p4info(check(Program(made("lesson")).p4())).registers
    assert max(each.size for each in registers) == 2**31 - 1


@pytest.mark.parametrize("number", [32, 33])
def test_a_primitive_has_a_largest_number_of_registers(number: int) -> None:
    made = lesson("\n".join(f"self.r{each}.write(0, 1)" for each in range(number)))

    def setup(self: Any) -> None:
        for each in range(number):
            setattr(self, f"r{each}", Register(bit[32], 4))

    made.setup = setup  # type: ignore[attr-defined]
    if number == 32:
        assert check(Program(made("lesson")).p4())
        return
    with pytest.raises(KernelError, match="uses 33 registers; the limit is 32"):
        Program(made("lesson"))

"""Programs that LLVM or the kernel's verifier rejects: the message says where in the P4."""

from __future__ import annotations

import pytest

from midflight.errors import UnsupportedError
from midflight.runtime.engine.bpf import engine
from midflight.runtime.engine.bpf.codegen import emit_apart
from midflight.runtime.engine.bpf.compiled import BpfCompiled
from midflight.runtime.engine.bpf.elf import ObjectFile, Relocation, Symbol
from midflight.runtime.engine.bpf.linking import link
from tests.bpf.build import needs_bpf
from tests.engine.build import checked, source

OUTSIDE_THE_STACK = b"\x79\xa1\x40\x00\x00\x00\x00\x00"
"""r1 = *(u64 *)(r10 + 64)"""


@needs_bpf
def test_the_verifiers_log_comes_with_the_p4_line(monkeypatch: pytest.MonkeyPatch) -> None:
    ingress = "std.egress_spec = 3;\n hdr.h.x = hdr.h.x + 77;\n hdr.h.x = hdr.h.x ^ 5;"
    compiled = BpfCompiled(checked(source(header="bit<64> x; bit<64> y;", ingress=ingress)))

    compiled.files = compiled.files[-1:]

    def broken(*arguments: object) -> tuple[bytes, list[int]]:
        code, origins = link(*arguments)  # type: ignore[arg-type]
        places = [compiled.place(compiled.files[-1], each) for each in origins]
        at = next(n for n, each in enumerate(places) if each is not None and "+ 77" in each.text)
        return code[: 8 * at] + OUTSIDE_THE_STACK + code[8 * at + 8 :], origins

    monkeypatch.setattr(engine, "link", broken)
    with pytest.raises(UnsupportedError, match="the kernel rejects the program") as error:
        engine.XdpEngine(compiled.program, compiled=compiled)
    assert error.value.place is not None
    assert "hdr.h.x = hdr.h.x + 77" in error.value.place.text
    assert "r1 = *(u64 *)(r10 +64)" in str(error.value)


def test_a_jump_beyond_what_bpf_can_express_is_an_unsupported_program() -> None:
    ends = b"\x95\x00\x00\x00\x00\x00\x00\x00"
    again = Symbol("midflight.again", 0, 0, defined=False, function=False)
    jump = b"\x05\x00" + (20_000).to_bytes(2, "little") + bytes(4)
    code = jump + b"\x85\x10\x00\x00\xff\xff\xff\xff" * 20_000 + ends  # each call becomes three instructions
    main = Symbol("main", 0, len(code), defined=True, function=True)
    calls = tuple(Relocation(8 * number, again) for number in range(1, 20_001))
    with pytest.raises(UnsupportedError, match="too long for BPF"):
        link(ObjectFile(code, (main,), calls, {}), "main", {})


def test_what_llvm_cannot_translate_is_an_error_and_not_the_end() -> None:
    text = """
        define i128 @main(i128 %a, i128 %b) section "xdp" {
          %c = mul i128 %a, %b
          ret i128 %c
        }
    """
    with pytest.raises(UnsupportedError, match="LLVM cannot translate the program to BPF: "):
        emit_apart(text, 0)


def test_a_translation_that_takes_too_long_is_an_error() -> None:
    with pytest.raises(UnsupportedError, match=r"LLVM has not translated the program to BPF within 0\.01 s"):
        emit_apart("", 0, timeout=0.01)

"""Compiles an LLVM module to a BPF object file, in a separate process.

    python -m midflight.runtime.engine.bpf.codegen OFFSET < module.ll

LLVM ends its process when code is not possible in BPF. The process writes to its standard output the bytes of scratch
memory that the code needs, as eight bytes, and then the object file.

BPF's stack has 512 bytes. Variables that remain in memory after optimisation are therefore moved from the stack to
scratch memory, which the argument `%context` of their function points to, behind `LOCALS` bytes.
"""

from __future__ import annotations

import re
import subprocess
import sys

from llvmlite import binding

from midflight.errors import UnsupportedError
from midflight.runtime.engine.jit import PASSES
from midflight.runtime.engine.layout import align

__all__ = ["VOLATILE", "CodegenError", "emit", "emit_apart"]

VOLATILE = "volatile"
"""The name of values whose loads LLVM must not replace. llvmlite's builder has no volatile loads."""

_ALLOCA = re.compile(r"^  (%\S+) = alloca (\S.*?)(?:, align (\d+))?$")
_ARRAY = re.compile(r"^\[(\d+) x i8\]$")
_INTEGER = re.compile(r"^i(\d+)$")
_LOAD = re.compile(rf'(%"{VOLATILE}[.0-9]*" = load)')
_INTERNAL = re.compile(r"^(define internal (?!.*(?:noinline|alwaysinline)).*?)( section )", re.MULTILINE)


class CodegenError(UnsupportedError):
    """LLVM cannot translate a program to BPF, or takes too long. The message quotes the line of LLVM's output that
    names the error, otherwise its last one.
    """


def emit_apart(text: str, start: int, *, inline: bool = False, timeout: float = 300.0) -> tuple[bytes, int]:
    """Compile LLVM code, given as text, for BPF in a separate process; return (object file, bytes of scratch memory).

    `start` is the offset of scratch memory from `%context`, in bytes. With `inline`, the code becomes a single function
    as far as possible, which is faster, but needs more of the stack. CodegenError if LLVM cannot translate the code, or
    takes more than `timeout` seconds; the process is ended then.
    """
    if inline:
        text = _INTERNAL.sub(r"\1 alwaysinline\2", text)
    command = [sys.executable, "-m", __name__, str(start)]
    try:
        done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise CodegenError(
            f"LLVM has not translated the program to BPF within {timeout:g} s",
            hint="make the program smaller, or run it on another kind of switch",
        ) from None
    if done.returncode:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        reason = next((each for each in lines if "error" in each.lower()), lines[-1])
        raise CodegenError(f"LLVM cannot translate the program to BPF: {reason}")
    return done.stdout[8:], int.from_bytes(done.stdout[:8], "little")


def emit(text: str, start: int) -> tuple[bytes, int]:
    """Compile LLVM code, given as text, for BPF in this process; return (object file, bytes of scratch memory).

    `start` is the offset of scratch memory from `%context`. LLVM ends the whole process for code that BPF cannot
    express. RuntimeError if the text is not valid LLVM code.
    """
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    machine = binding.Target.from_triple("bpf").create_target_machine(
        cpu="v4", features="+allows-misaligned-mem-access", opt=2
    )
    module = binding.parse_assembly(_LOAD.sub(r"\1 volatile", text))
    module.verify()
    module.triple, module.data_layout = machine.triple, str(machine.target_data)
    _optimise(module, machine)
    moved, scratch = _without_stack(str(module), start)
    module = binding.parse_assembly(moved)
    module.verify()
    return machine.emit_object(module), scratch


def _optimise(module: binding.ModuleRef, machine: binding.TargetMachine) -> None:
    builder = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options())
    manager = binding.create_new_module_pass_manager()
    for each in ("always_inliner", *PASSES, "jump_threading", "instruction_combine", "simplify_cfg"):
        getattr(manager, f"add_{each}_pass")()
    manager.run(module, builder)


def _without_stack(text: str, start: int) -> tuple[str, int]:
    """Replace the variables of functions with a context by places in scratch memory. Functions do not share places."""
    lines, end, context = [], start, False
    for line in text.splitlines():
        if line.startswith("define "):
            context = "%context" in line
            line = line.replace(' section "', ' "no-jump-tables"="true" section "')  # the kernel has none
        elif context and (variable := _ALLOCA.match(line)) is not None:
            name, kind, alignment = variable.groups()
            end = align(end, max(8, int(alignment or 8)))
            lines.append(f"  {name} = getelementptr i8, ptr %context, i64 {end}")
            end += _size(kind)
            continue
        lines.append(line)
    return "\n".join(lines), end - start


def _size(kind: str) -> int:
    if (array := _ARRAY.match(kind)) is not None:
        return int(array[1])
    if (number := _INTEGER.match(kind)) is not None:
        return align(-(-int(number[1]) // 8), 8)
    return 8


def main() -> None:
    """Compile the LLVM code on standard input for BPF, and write the result to standard output: see the module's
    docstring.

    The command's only argument is the offset of scratch memory from `%context` in bytes.
    """
    file, scratch = emit(sys.stdin.read(), int(sys.argv[1]))
    sys.stdout.buffer.write(scratch.to_bytes(8, "little") + file)


if __name__ == "__main__":
    main()

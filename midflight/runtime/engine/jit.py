"""Compiles LLVM modules to machine code in this process."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

from llvmlite import binding

__all__ = ["Native"]

PASSES = (
    "sroa",
    "simplify_cfg",
    "new_gvn",
    "instruction_combine",
    "simplify_cfg",
    "new_gvn",
    "dead_store_elimination",
    "simplify_cfg",
)
"""The optimization passes. Packet programs are long with few branches: LLVM's standard pipelines take five to ten times
as long, for code that is a tenth faster. The second `new_gvn` removes the
checks of indexes that the program has made itself."""

MOST_BLOCKS = 4000
"""The maximum number of blocks in a function that is optimised. Beyond it, LLVM's time and memory grow with the square
of the blocks, and its recursion overflows the stack. An aggregation with 256 lanes has 2,700 blocks."""

LONGEST = 10_000
"""The maximum number of instructions in a block that is optimised, for the same reason."""

MOST_SELECTS = 500
"""The maximum number of choices in a block that is optimised: LLVM's time grows with the square of nested ones."""

PLAIN, OPTIMISED = 0, 2
"""LLVM's levels of code generation. The plain one takes linear time."""

_LOCK = threading.Lock()


class Native:
    """One LLVM module, compiled to native code, which is valid as long as this object exists.

    A pickle of it contains the object code, so it can be loaded in another process without compiling again.
    """

    def __init__(self, text: str, *, optimised: bool = True) -> None:
        """Parse, verify, optimise unless not `optimised`, and compile a module from LLVM's text form.

        RuntimeError for an invalid module.
        """
        with _LOCK:
            module = binding.parse_assembly(text)
            module.verify()
            large = not optimised or _is_large(text)
            machine = _machine(PLAIN if large else OPTIMISED)
            if not large:
                builder = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options())
                manager = binding.create_new_module_pass_manager()
                for each in PASSES:
                    getattr(manager, f"add_{each}_pass")()
                manager.run(module, builder)
            self._link(machine.emit_object(module), machine)

    def function(self, name: str) -> Any:
        """Return the exported function `void name(void *)` as a ctypes function; calls release the GIL.

        For an unknown name, calling the result crashes the process.
        """
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address(name))

    def address(self, name: str) -> int:
        """Return the address of an exported function; 0 if there is none with this name."""
        address: int = self._engine.get_function_address(name)
        return address

    def __getstate__(self) -> bytes:
        return self._object

    def __setstate__(self, code: bytes) -> None:
        with _LOCK:
            self._link(code, _machine(OPTIMISED))

    def _link(self, code: bytes, machine: Any) -> None:
        """Load object code into this process."""
        self._object = code
        self._engine: Any = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
        self._engine.add_object_file(binding.ObjectFileRef.from_data(code))
        self._engine.finalize_object()


def _is_large(text: str) -> bool:
    """Return whether a module is beyond the limits of optimisation: MOST_BLOCKS, LONGEST and MOST_SELECTS."""
    blocks = lines = selects = 0
    for line in text.splitlines():
        lines += 1
        selects += " = select " in line
        if line.startswith("define "):
            blocks = lines = selects = 0
        elif line.endswith(":"):
            blocks, lines, selects = blocks + 1, 0, 0
        if blocks > MOST_BLOCKS or lines > LONGEST or selects > MOST_SELECTS:
            return True
    return False


def _machine(level: int) -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=level,
        codemodel="jitdefault",
        jit=True,
    )

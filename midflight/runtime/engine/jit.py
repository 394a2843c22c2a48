"""LLVM modules to machine code in this process."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

from llvmlite import binding

__all__ = ["Native"]

PASSES = (
    "sroa",
    "instruction_combine",
    "simplify_cfg",
    "new_gvn",
    "dead_store_elimination",
    "instruction_combine",
    "simplify_cfg",
)
"""What runs over a module. Packet programs are long and nearly straight: LLVM's own pipelines take five to ten times as
long over them and gain a tenth in speed."""

MOST_BLOCKS = 4000
"""The blocks of a function up to which values are numbered: that takes time in the square of how many dominate one
another. 256 lanes of an aggregation have 2,700."""

CODEGEN_LEVEL = 2

_LOCK = threading.Lock()


class Native:
    """One compiled module. Its code lives as long as this object. A pickle of it holds the object code."""

    def __init__(self, text: str) -> None:
        """Parse, verify, optimise and compile a module given as text."""
        with _LOCK:
            machine = _machine()
            module = binding.parse_assembly(text)
            module.verify()
            builder = binding.create_pass_builder(machine, binding.create_pipeline_tuning_options())
            manager = binding.create_new_module_pass_manager()
            large = any(sum(1 for _ in function.blocks) > MOST_BLOCKS for function in module.functions)
            for each in PASSES:
                if not (large and each == "new_gvn"):
                    getattr(manager, f"add_{each}_pass")()
            manager.run(module, builder)
            self._link(machine.emit_object(module), machine)

    def function(self, name: str) -> Any:
        """Return `void name(void *)` as a ctypes function; calling it releases the GIL."""
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self.address(name))

    def address(self, name: str) -> int:
        """Return the address of a function."""
        address: int = self._engine.get_function_address(name)
        return address

    def __getstate__(self) -> bytes:
        return self._object

    def __setstate__(self, code: bytes) -> None:
        with _LOCK:
            self._link(code, _machine())

    def _link(self, code: bytes, machine: Any) -> None:
        """Have the object code in this process."""
        self._object = code
        self._engine: Any = binding.create_mcjit_compiler(binding.parse_assembly(""), machine)
        self._engine.add_object_file(binding.ObjectFileRef.from_data(code))
        self._engine.finalize_object()


def _machine() -> Any:
    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.Target.from_default_triple().create_target_machine(
        cpu=binding.get_host_cpu_name(),
        features=binding.get_host_cpu_features().flatten(),
        opt=CODEGEN_LEVEL,
        codemodel="jitdefault",
        jit=True,
    )

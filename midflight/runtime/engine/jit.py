"""LLVM modules to machine code in this process."""

from __future__ import annotations

import ctypes
import threading
from typing import Any

from llvmlite import binding

__all__ = ["Native"]

_LOCK = threading.Lock()


class Native:
    """One compiled module. Its code lives as long as this object."""

    def __init__(self, text: str, *, level: int = 2) -> None:
        """Parse, verify, optimise at an LLVM level (0 to 3) and compile a module given as text."""
        with _LOCK:
            binding.initialize_native_target()
            binding.initialize_native_asmprinter()
            module = binding.parse_assembly(text)
            module.verify()
            machine = binding.Target.from_default_triple().create_target_machine(
                cpu=binding.get_host_cpu_name(),
                features=binding.get_host_cpu_features().flatten(),
                opt=level,
                codemodel="jitdefault",
                jit=True,
            )
            options = binding.create_pipeline_tuning_options(speed_level=level)
            builder = binding.create_pass_builder(machine, options)
            manager = builder.getModulePassManager()
            manager.run(module, builder)
            self._engine: Any = binding.create_mcjit_compiler(module, machine)
            self._engine.finalize_object()

    def function(self, name: str) -> Any:
        """Return `void name(void *)` as a ctypes function; calling it releases the GIL."""
        return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._engine.get_function_address(name))

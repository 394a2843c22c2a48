"""A P4_16 program with everything that is derived from its text. Each part is computed once, on first use."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from finsy.proto import p4i

from midflight.errors import P4Error
from midflight.p4 import ir
from midflight.p4.bmv2json.emit import is_bmv2_json
from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.p4.preprocess import preprocess
from midflight.runtime.engine.bpf.compiled import BpfCompiled
from midflight.runtime.engine.compiled import Compiled
from midflight.runtime.engine.store import Store, user_store
from midflight.runtime.footprint import Footprint, footprint

__all__ = ["CheckedProgram", "Programs", "user_programs"]

T = TypeVar("T")

# An include of an architecture file, which has the same contents everywhere.
_OWN_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*<(core|v1model)\.p4>", re.MULTILINE)
_INCLUDE = re.compile(r"#[^\n]*include")


@dataclass(frozen=True, eq=False)
class CheckedProgram:
    """A program for v1model: its text, and what the front end, placement and the embedded switch derive from it.

    Each part is computed once, on first use; this is thread-safe. Devices that compile with p4c use only the text, so
    they also accept programs that our front end rejects. `file` is the program's name in messages, and quoted includes
    are searched in its folder. A `confined` program may include only the architecture's own files. An `eager` program
    begins to compile as soon as it is checked: its machine code is made while the caller goes on.

    Creating an object checks nothing. A part that raises an error is computed again the next time. Programs compare by
    identity. Parts must not be modified.
    """

    text: str
    file: str = "<string>"
    confined: bool = False
    eager: bool = False
    _store: Store | None = field(default=None, repr=False)
    _parts: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)

    @property
    def program(self) -> ir.Program:
        """The typed program. Raises P4Error, with the place, for an invalid text."""
        return self._part("program", self._program)

    @property
    def standalone(self) -> str:
        """The text with its included files expanded, except those of the architecture, for use in another process.

        P4Error if a file cannot be included.
        """
        if self.confined or not _includes_others(self.text):
            return self.text
        return self._part("standalone", lambda: preprocess(self.text, self.file).text)

    @property
    def p4info(self) -> p4i.P4Info:
        """The P4Info. Raises P4Error for an invalid text, or for what P4Info cannot express."""
        return self._part("p4info", lambda: p4info(self.program))

    @property
    def footprint(self) -> Footprint:
        """What the program needs from a device, for placement. P4Error for an invalid text."""
        return self._part("footprint", lambda: footprint(self.program))

    @property
    def compiled(self) -> Compiled:
        """The native code for the embedded switch.

        P4Error for an invalid text, or if the engine does not support a construct.
        """
        return self._part("compiled", self._compiled)

    @property
    def bpf(self) -> BpfCompiled:
        """The XDP program.

        P4Error for an invalid text, or if the engine does not support a construct; CodegenError, an UnsupportedError,
        if LLVM cannot translate it to BPF.
        """
        return self._part("bpf", lambda: BpfCompiled(self.program))

    @property
    def is_compiled(self) -> bool:
        """Whether `compiled` is there, or being made already, or stored on disk."""
        with self._lock:
            if "compiled" not in self._parts and self._store is not None:
                stored: Compiled | None = self._store.load(self._key)
                if stored is not None:
                    self._parts.update(program=stored.program, compiled=stored)
            return "compiled" in self._parts or "begun" in self._parts

    def adopt(self, compiled: Compiled) -> None:
        """Use native code that another process compiled from this text, and its typed program, instead of compiling it.

        The code is also saved in the store, if there is one.
        """
        with self._lock:
            self._parts.update(program=compiled.program, compiled=compiled)
            if self._store is not None:
                self._store.save(self._key, compiled)

    @property
    def _key(self) -> str:
        """The key in the store. Places in the code name the file."""
        return f"{self.file}\0{self.text}"

    def _part(self, name: str, make: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._parts:
                self._parts[name] = make()
            part: T = self._parts[name]
            return part

    def _program(self) -> ir.Program:
        if self._store is not None:
            stored: Compiled | None = self._store.load(self._key)
            if stored is not None:
                self._parts["compiled"] = stored
                return stored.program
        program = check(self.text, self.file, confined=self.confined)
        if self.eager:
            with suppress(P4Error):  # `compiled` raises it again for whoever asks for the code
                self._parts["begun"] = Compiled(program)
        return program

    def _compiled(self) -> Compiled:
        compiled: Compiled
        program = self.program
        if "compiled" in self._parts:  # from the store, together with the program
            compiled = self._parts["compiled"]
            return compiled
        compiled = self._parts.pop("begun", None) or Compiled(program)
        if self._store is not None:
            self._store.save(self._key, compiled)
        return compiled


def _includes_others(text: str) -> bool:
    """Return whether a text includes files that are not the architecture's. BMv2's JSON includes none."""
    return not is_bmv2_json(text) and _INCLUDE.search(_OWN_INCLUDE.sub("", text.replace("\\\n", ""))) is not None


class Programs:
    """A cache of checked programs by text, so that those who share it check and compile each text only once.
    Thread-safe.

    A program is cached as long as something refers to it. Programs that include other files are not cached, because
    these may change. `store`, a folder on disk, shares compiled code between processes; None keeps it in this process.
    With `eager`, every program is an eager one (see `CheckedProgram`).
    """

    def __init__(self, store: Store | None = None, *, eager: bool = False) -> None:
        self.store = store
        self._eager = eager
        self._known: WeakValueDictionary[str, CheckedProgram] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, text: str, file: str = "<string>", *, confined: bool = False) -> CheckedProgram:
        """Return the cached program with this text, or a new one, which is named `file` in messages. Checks nothing
        yet.

        A cached program keeps the name with which it was first requested. `confined` forbids the text to include files
        other than the architecture's; set it for an untrusted text.
        """
        if not confined and _includes_others(text):
            return CheckedProgram(text, file)
        with self._lock:
            found = self._known.get(text)
            if found is None:
                found = self._known[text] = CheckedProgram(
                    text, file, confined=True, eager=self._eager, _store=self.store
                )
            return found


def user_programs(*, eager: bool = False) -> Programs:
    """Return a cache of programs that finds code which any process of this user has compiled (see `user_store`).

    MidflightError if MIDFLIGHT_CODE_CACHE names a folder that cannot be used.
    """
    return Programs(user_store(), eager=eager)

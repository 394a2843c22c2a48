"""A P4_16 program with everything that is derived from its text, each part made once and passed along."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from finsy.proto import p4i

from midflight.p4 import ir
from midflight.p4.frontend import check
from midflight.p4.p4info import p4info
from midflight.p4.preprocess import preprocess
from midflight.runtime.engine.compiled import Compiled
from midflight.runtime.engine.store import Store
from midflight.runtime.footprint import Footprint, footprint

__all__ = ["CheckedProgram", "Programs"]

T = TypeVar("T")

# An include of the architecture's own, which brings the same for everybody.
_OWN_INCLUDE = re.compile(r"^[ \t]*#[ \t]*include[ \t]*<(core|v1model)\.p4>", re.MULTILINE)
_INCLUDE = re.compile(r"#[^\n]*include")


@dataclass(frozen=True, eq=False)
class CheckedProgram:
    """A program for v1model: its text, and what the front end, placement and the embedded switch make of that.

    Each part is made when it is first used, and once, in whichever thread. A device that compiles with p4c uses the
    text alone, so a program that only p4c accepts has no other part. `file` names the program in messages; includes
    in quotes are looked for beside it. A `confined` program includes nothing but the architecture's own files.

    Two are equal only if they are the same object. Nobody may change a part.
    """

    text: str
    file: str = "<string>"
    confined: bool = False
    _store: Store | None = field(default=None, repr=False)
    _parts: dict[str, Any] = field(default_factory=dict, init=False, repr=False)
    _lock: threading.RLock = field(default_factory=threading.RLock, init=False, repr=False)

    @property
    def program(self) -> ir.Program:
        """The typed program. P4Error, with its place, where the text is wrong."""
        return self._part("program", self._program)

    @property
    def standalone(self) -> str:
        """The text for another process to compile: files that are included from beside it are in their places."""
        if self.confined or not _includes_others(self.text):
            return self.text
        return self._part("standalone", lambda: preprocess(self.text, self.file).text)

    @property
    def p4info(self) -> p4i.P4Info:
        """What a controller may name. P4Error for what P4Info cannot say."""
        return self._part("p4info", lambda: p4info(self.program))

    @property
    def footprint(self) -> Footprint:
        """What it asks of a device, for placement. P4Error where the text is wrong."""
        return self._part("footprint", lambda: footprint(self.program))

    @property
    def compiled(self) -> Compiled:
        """Its native code for the embedded switch. P4Error names a construct that the engine does not support."""
        return self._part("compiled", self._compiled)

    @property
    def is_compiled(self) -> bool:
        """Whether `compiled` is there already, here or in the store."""
        with self._lock:
            if "compiled" not in self._parts and self._store is not None:
                stored: Compiled | None = self._store.load(self.text)
                if stored is not None:
                    self._parts.update(program=stored.program, compiled=stored)
            return "compiled" in self._parts

    def adopt(self, compiled: Compiled) -> None:
        """Take the code that has been made of this text elsewhere, with its typed program."""
        with self._lock:
            self._parts.update(program=compiled.program, compiled=compiled)
            if self._store is not None:
                self._store.save(self.text, compiled)

    def _part(self, name: str, make: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._parts:
                self._parts[name] = make()
            part: T = self._parts[name]
            return part

    def _program(self) -> ir.Program:
        if self._store is not None:
            stored: Compiled | None = self._store.load(self.text)
            if stored is not None:
                self._parts["compiled"] = stored
                return stored.program
        return check(self.text, self.file, confined=self.confined)

    def _compiled(self) -> Compiled:
        program = self.program
        if "compiled" in self._parts:  # it was stored with its program
            compiled: Compiled = self._parts["compiled"]
            return compiled
        compiled = Compiled(program)
        if self._store is not None:
            self._store.save(self.text, compiled)
        return compiled


def _includes_others(text: str) -> bool:
    """Return whether a text includes files that are not the architecture's."""
    return _INCLUDE.search(_OWN_INCLUDE.sub("", text.replace("\\\n", ""))) is not None


class Programs:
    """Checked programs by text. Those who share one check and compile each text once.

    A program is kept for as long as somebody holds it. Only confined programs are shared: the same text with other
    files' includes may bring something else the next time, and something else to another. With a `store`, processes
    share what they have compiled.
    """

    def __init__(self, store: Store | None = None) -> None:
        self.store = store
        self._known: WeakValueDictionary[str, CheckedProgram] = WeakValueDictionary()
        self._lock = threading.Lock()

    def get(self, text: str, file: str = "<string>", *, confined: bool = False) -> CheckedProgram:
        """Return the program of a text: the one that there is, or else a new one, called `file` in messages.

        `confined` is for a text that is not trusted: see `CheckedProgram`.
        """
        if not confined and _includes_others(text):
            return CheckedProgram(text, file)
        with self._lock:
            found = self._known.get(text)
            if found is None:
                found = self._known[text] = CheckedProgram(text, file, confined=True, _store=self.store)
            return found

"""The base of every primitive: its parameters, its header, its state and its kernel."""

from __future__ import annotations

import copy
import dataclasses
import difflib
import inspect
import operator
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, dataclass_transform

from midflight.errors import KernelError, Place
from midflight.primitives.kernel.analysis import analyse
from midflight.primitives.kernel.header import Field, Header, HeaderValue, Layout
from midflight.primitives.kernel.lookup import Lookup
from midflight.primitives.kernel.map import Map
from midflight.primitives.kernel.packet import ROUNDS, Packet, Randomness, Verdict
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.state import State
from midflight.primitives.kernel.typed import Kernel, accesses
from midflight.primitives.wire import FOR_HOST, REQUEST, RESULT, Message
from midflight.stackless import Walk, in_turn, run

__all__ = ["Chain", "Outcome", "Primitive", "Reference", "parameter", "summary"]

parameter = field
"""A parameter with more than a default, as `dataclasses.field`."""


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
class _Parameters:
    """Makes every annotated attribute of a subclass a parameter of its constructor."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(kw_only=True, eq=False)(cls)


class Primitive(_Parameters):
    """A computation on packets. A subclass declares parameters, a `Wire` header, state and the kernel.

    Parameters are annotated attributes, given by keyword; `name` comes first and names the application.
    `setup` makes the registers. `ingress` is the kernel: it runs as plain Python, as the reference, and
    compiles to P4. KernelError tells what does not fit the language or the parameters' limits.
    """

    FAMILY: ClassVar[str] = ""
    """What kind of work a primitive of the library does, one of the catalogue's `FAMILIES`."""
    PAPER: ClassVar[str] = ""
    """Whose work a primitive of the library follows: authors or system, where, and when."""
    OVERFLOW: ClassVar[str] = ""
    """What its numbers do at their limits."""

    name: str = field(kw_only=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.name):
            raise KernelError(
                f"{type(self).__name__}({self.name!r}): an application's name is a word of letters, digits and _",
                hint=f'name it first: {type(self).__name__}("gradients", ...)',
            )
        for each in dataclasses.fields(self):
            if each.type in (int, "int"):
                setattr(self, each.name, self._whole(each.name, getattr(self, each.name)))
        self.validate()
        self.setup()

    def _whole(self, name: str, value: object) -> int:
        try:
            if isinstance(value, bool):
                raise TypeError
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            raise KernelError(f"{self.title}: {name} must be a whole number, not {value!r}") from None

    @property
    def title(self) -> str:
        """The primitive and its name, for messages: `Threshold("pressure")`."""
        return f'{type(self).__name__}("{self.name}")'

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The parameters and their values, the name left out."""
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "name"}

    def validate(self) -> None:
        """Check the parameters; raise KernelError about those that make no sense. See `limits`."""

    def setup(self) -> None:
        """Make the state: `self.count = Register(bit[32], 1024)`, and maps and lookups."""

    def ingress(self, packet: Packet, wire: Any) -> None:  # noqa: ARG002
        """Compute on one packet. Every primitive has its own."""
        raise KernelError(f"{self.title} has no kernel", hint="write `def ingress(self, packet, wire):`")

    def header(self) -> Layout:
        """Return the header's layout; by default that of the class `Wire`."""
        wire = getattr(type(self), "Wire", None)
        if not (isinstance(wire, type) and issubclass(wire, Header)):
            raise KernelError(
                f"{self.title} has no header", hint="write `class Wire(Header):` with fields such as `value = bit[32]`"
            )
        return Layout.of(wire, self.parameters)

    @cached_property
    def layout(self) -> Layout:
        """The header's fields in wire order."""
        layout = self.header()
        if not layout.fields:
            raise KernelError(f"{self.title}: its header has no fields")
        return layout

    @property
    def registers(self) -> Mapping[str, Register]:
        """The registers, by attribute name, in the order of their making; those of a primitive inside it as well."""
        return {name: each for name, each in self._state().items() if isinstance(each, Register)}

    @property
    def tables(self) -> Mapping[str, Map | Lookup]:
        """The maps and lookups, by attribute name, in the order of their making."""
        return {name: each for name, each in self._state().items() if isinstance(each, (Map, Lookup))}

    @property
    def maps(self) -> Mapping[str, Map]:
        """The maps that the kernel asks, by attribute name: those that a switch has."""
        asked = self.kernel.tables
        return {name: each for name, each in self.tables.items() if isinstance(each, Map) and name in asked}

    @cached_property
    def kernel(self) -> Kernel:
        """The checked kernel. Raises KernelError where it does not keep to the language."""
        if type(self).ingress is Primitive.ingress:
            raise self.missing_kernel()
        return analyse(type(self).ingress, self, self.layout, self._state())

    def missing_kernel(self) -> KernelError:
        """Return the error that the class has no `ingress`; it suggests a method with a similar name."""
        kind = type(self)
        methods = [
            name for name, each in vars(kind).items() if inspect.isfunction(each) and name not in vars(Primitive)
        ]
        close = difflib.get_close_matches("ingress", methods, 1)
        hint = f"did you mean `{close[0]}`? call it `ingress`" if close else "write `def ingress(self, packet, wire):`"
        return KernelError(f"{self.title} has no kernel: `ingress` is missing", place=_class_place(kind), hint=hint)

    def __rshift__(self, then: Primitive) -> Chain:
        """Return both, one after the other on each packet, as a primitive that is called as the second."""
        if not isinstance(then, Primitive):
            raise KernelError(f"{self.title} >> {then!r}: a chain is made of primitives")
        return Chain(then.name, self, then)

    def _state(self) -> dict[str, State]:
        return run(self._collected())

    def _collected(self) -> Walk[dict[str, State]]:
        """Collect the registers and tables, those of held primitives too, by their names in the P4."""
        found: dict[str, State] = {}
        for name, value in vars(self).items():
            inside: dict[str, State] = (yield value._collected()) if isinstance(value, Primitive) else {}
            own = {f"{name}_{each}": state for each, state in inside.items()}
            if isinstance(value, State):
                own = {name: value}
            if clash := found.keys() & own.keys():
                raise KernelError(f"{self.title}: two registers or tables are called {min(clash)!r} in the P4")
            found |= own
        return found

    def reference(self, *, epoch: int = 0, random: Randomness | None = None) -> Reference:
        """Return the primitive as a machine of plain Python, in its initial state and of this epoch.

        random: where `packet.random` draws from, such as `Random(seed)`.
        """
        return Reference(self, epoch, random)

    @cached_property
    def state_layout(self) -> Layout:
        """What a controller reads and writes of the state in one packet: an element of each register in use."""
        used = {each.register for each in accesses(self.kernel.body)}
        return Layout(
            tuple(Field(name, each.kind, each.lanes) for name, each in self.registers.items() if name in used)
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a primitive did with a message: the verdict, the message as it leaves, and the alerts it raised.

    `mirrored` are the copies that it sent to the mirror: the message as it came to the round that sent it. A message
    that came around for ever has been dropped.
    """

    verdict: Verdict
    message: Message
    alerts: tuple[tuple[int, ...], ...] = ()
    mirrored: tuple[Message, ...] = ()


_KINDS = {Verdict.REPLY: RESULT, Verdict.MULTICAST: RESULT, Verdict.FALLBACK: FOR_HOST}
"""The kind that a message leaves as, where it is not the one that it came as."""


class Reference:
    """A primitive that runs as plain Python: the meaning that every device is held to.

    `epoch` is what its kernel sees as `packet.epoch`, `random` where it draws from.
    """

    def __init__(self, primitive: Primitive, epoch: int = 0, random: Randomness | None = None) -> None:
        self.random = random
        self.epoch = epoch
        assert primitive.kernel  # A kernel that does not compile does not run either.
        self._primitive = run(_reset(primitive))

    @property
    def registers(self) -> Mapping[str, Register]:
        """The state, by attribute name."""
        return self._primitive.registers

    def map(self, name: str) -> Map:
        """Return a map to write entries to, as a controller does: `reference.map("owner")[key] = value`."""
        found = self._primitive.tables.get(name)
        if not isinstance(found, Map):
            raise KernelError(f"{self._primitive.title} has no map {name!r}", hint="maps are made in setup")
        return found

    def process(self, message: Message, now: int = 0) -> Outcome:
        """Run the kernel on a message that comes at `now` (us). Results (kind 2) are forwarded and not computed on."""
        primitive = self._primitive
        if message.application != primitive.name:
            raise KernelError(f"a message to {message.application!r} reached {primitive.title}")
        if message.kind != REQUEST:
            return Outcome(Verdict.FORWARD, message)
        alerts: list[tuple[int, ...]] = []
        mirrored: list[Message] = []
        verdict = Verdict.RECIRCULATE
        for round_ in range(ROUNDS):
            packet = Packet(message.sequence, self.epoch, now, self.random, round_)
            wire = HeaderValue(primitive.layout, message.fields)
            primitive.ingress(packet, wire)
            alerts += packet.alerts
            mirrored += [message] * packet.mirrored
            message, verdict = dataclasses.replace(message, fields=wire.plain()), packet.verdict
            if verdict != Verdict.RECIRCULATE:
                break
        else:
            verdict = Verdict.DROP
        changed = dataclasses.replace(message, kind=_KINDS.get(verdict, message.kind))
        return Outcome(verdict, changed, tuple(alerts), tuple(mirrored))


class Chain(Primitive):
    """Run primitives one after the other on each packet, the next where the one before has forwarded it.

    Parameters:
        stages: the primitives in their order, each with a name of its own; `Chain("name", first, second)` takes them

    `Filter("hot", ...) >> GroupBy("sums", ...)` is a chain, called as its last one. A chain in another is flattened.

    The header is the fields of all, in their order; a field that several have is one, and must be of one type. What a
    primitive writes to a field the next one reads. Each keeps state of its own, called as there, or, where two have the
    same name, `<primitive>_<name>`. The first verdict that is not to forward ends the chain and counts. One of the
    primitives may raise alerts. Only the first may have packets come around, as the others run once.

    Follows the query plans that Cheetah (SIGMOD 2020) puts together from pruning primitives on one switch.

    >>> hot = Filter("hot", keep="value >= 100") >> Threshold("pressure", above=900, clear=850)
    >>> reference = hot.reference()
    >>> def read(value):
    ...     return reference.process(Message(REQUEST, "pressure", 0, {"value": value, "sensor": 7}))
    >>> read(99).verdict.name, read(900).alerts, read(901).alerts
    ('DROP', ((7, 900),), ())
    """

    FAMILY = "composition"
    PAPER = "Cheetah: Tirmazi et al., SIGMOD 2020"
    OVERFLOW = "as each of its primitives says"

    stages: tuple[Primitive, ...]

    def __init__(self, name: str, *first: Primitive, stages: Iterable[Primitive] = ()) -> None:
        flat: list[Primitive] = []
        for each in (*first, *stages):
            flat += each.stages if isinstance(each, Chain) else [each]
        self.name, self.stages = name, tuple(flat)
        self.__post_init__()

    def validate(self) -> None:
        """Check that these are primitives that can follow each other."""
        if len(self.stages) < 2 or not all(isinstance(each, Primitive) for each in self.stages):
            raise KernelError(
                f"{self.title}: a chain is of two primitives or more", hint='write Filter("hot", ...) >> Ewma("level")'
            )
        names = [each.name for each in self.stages]
        if len({*names}) != len(names):
            twice = next(each for each in names if names.count(each) > 1)
            raise KernelError(f"{self.title}: two of its primitives are called {twice!r}", hint="rename one of them")
        for each in self.stages:
            if type(each).ingress is Primitive.ingress:
                raise each.missing_kernel()
        kernels = [analyse(type(each).ingress, each, self.layout, each._state()) for each in self.stages]
        for stage, kernel in zip(self.stages[1:], kernels[1:], strict=True):
            if kernel.rounds:
                raise KernelError(
                    f"{self.title}: {stage.title} has packets come around, and what is before it would run again",
                    hint="put it first",
                )
        alerting = [each.title for each, kernel in zip(self.stages, kernels, strict=True) if kernel.alert]
        if len(alerting) > 1:
            raise KernelError(
                f"{self.title}: {' and '.join(alerting)} raise alerts, and a packet raises one",
                hint="leave one of them out, or make them applications of their own",
            )

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The primitives, each as a mapping: what it is, its name, and its parameters."""
        return {
            "stages": tuple(
                {"primitive": type(each).__name__, "name": each.name, **each.parameters} for each in self.stages
            )
        }

    def header(self) -> Layout:
        """Return the fields of all."""
        try:
            layout = Layout.union({each.title: each.layout for each in self.stages})
        except KernelError as error:
            raise KernelError(f"{self.title}: {error.message}", hint=error.hint) from None
        return layout

    def ingress(self, packet: Packet, wire: Any) -> None:
        """Run one after the other."""
        for stage in range(len(self.stages)):
            if packet.forwarded:
                self.stages[stage].ingress(packet, wire)

    def _collected(self) -> Walk[dict[str, State]]:
        inside: list[tuple[str, str, State]] = []
        for stage in self.stages:
            held: dict[str, State] = yield stage._collected()
            inside += ((stage.name, name, each) for name, each in held.items())
        uses = Counter(name for _, name, _ in inside)
        found = {name if uses[name] == 1 else f"{stage}_{name}": each for stage, name, each in inside}
        if len(found) < len(inside):
            raise KernelError(f"{self.title}: two registers or tables are called the same", hint="rename a primitive")
        return found


def _reset(primitive: Primitive) -> Walk[Primitive]:
    """Return a copy of a primitive and of the primitives that it holds, all in their initial state."""
    made = copy.copy(primitive)
    made.setup()
    for name, value in [*vars(made).items()]:
        if isinstance(value, Primitive):
            setattr(made, name, (yield _reset(value)))
    if isinstance(made, Chain):
        made.stages = tuple((yield from in_turn(_reset(each) for each in made.stages)))
    return made


def _class_place(kind: type[Any]) -> Place | None:
    """Return where a class is declared, as far as Python knows."""
    try:
        lines, first = inspect.getsourcelines(kind)
        file = inspect.getsourcefile(kind) or ""
    except (OSError, TypeError):
        return None
    number = next((at for at, line in enumerate(lines) if line.lstrip().startswith("class ")), 0)
    text = lines[number].rstrip("\n")
    indent = len(text) - len(text.lstrip())
    return Place(file, first + number, indent + 1, len(text) - indent, text)


def summary(kind: type[Primitive]) -> str:
    """Return the first paragraph of a primitive's docstring, on one line."""
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ").strip()

"""The base class of primitives: parameters, header, state and kernel; chains; and the reference."""

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

__all__ = ["LARGEST", "MOST", "Chain", "Outcome", "Primitive", "Reference", "parameter", "summary"]

REGISTERS = 32
"""The maximum number of registers of a primitive."""

MOST = "max"
"""The value of an integer parameter that asks for the largest that is possible."""

LARGEST = 1 << 20
"""The largest value that is tried for a parameter with the value `MOST`."""

parameter = field
"""Declares a parameter with more options than a default; it is `dataclasses.field`."""


@dataclass_transform(kw_only_default=True, field_specifiers=(field,))
class _Parameters:
    """Makes every annotated attribute of a subclass a keyword parameter of its constructor."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        dataclass(kw_only=True, eq=False)(cls)


class Primitive(_Parameters):
    """Base class of computations on packets. A subclass declares parameters, a `Wire` header, state and the kernel.

    Parameters are annotated attributes, passed by keyword; `name` comes first and names the application (a letter, then
    letters, digits and `_`). `setup` creates the registers, maps and lookups. `ingress` is the kernel: it runs as plain
    Python, as the reference, and compiles to P4. The constructor raises KernelError for a malformed name and for
    parameters outside their limits, TypeError for missing or unknown parameters, and what `setup` raises. The kernel is
    compiled when first needed, and errors in it are raised then.
    """

    FAMILY: ClassVar[str] = ""
    """The family of a library primitive, one of the catalogue's `FAMILIES`."""
    PAPER: ClassVar[str] = ""
    """The source of a library primitive: authors or system, venue and year."""
    OVERFLOW: ClassVar[str] = ""
    """What a library primitive does with numbers that exceed their limits."""
    MEMBER: ClassVar[str] = ""
    """The header field of requests with the number of the member that sends them. Empty if there is none."""
    JOB: ClassVar[str] = ""
    """The header field, bit[16], of requests with the number of their job. Empty if there is none."""

    INSTANCE: ClassVar[str] = ""
    """The header field in which the kernel returns the number of the instance that serves a request, 0 for none.

    In a program with `Steering`, the request goes to that instance. Empty if the kernel chooses none.
    """

    name: str = field(kw_only=False)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.name):
            raise KernelError(
                f"{type(self).__name__}({self.name!r}): an application's name has only letters, digits and _",
                hint=f'pass the name first: {type(self).__name__}("gradients", ...)',
            )
        self._largest: tuple[str, ...] = ()
        for each in dataclasses.fields(self):
            if each.type in (int, "int"):
                if getattr(self, each.name) == MOST:
                    self._largest += (each.name,)
                    setattr(self, each.name, 1)
                setattr(self, each.name, self._whole(each.name, getattr(self, each.name)))
        for name in self._largest:
            self._enlarge(name)
        self.validate()
        self.setup()

    def _enlarge(self, name: str) -> None:
        """Set a parameter to the largest power of two, at most `LARGEST`, that `validate` accepts; to 1 if none is."""
        for exponent in range(LARGEST.bit_length() - 1, -1, -1):
            setattr(self, name, 1 << exponent)
            try:
                self.validate()
            except KernelError:
                continue
            return

    @property
    def largest(self) -> tuple[str, ...]:
        """The names of the integer parameters that were given as "max".

        They have the largest power of two that the primitive accepts, at most 2 ** 20, until `midflight fit` reduces
        them to what fits a device.
        """
        return self._largest

    def _whole(self, name: str, value: object) -> int:
        try:
            if isinstance(value, bool):
                raise TypeError
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            raise KernelError(f"{self.title}: {name} must be an integer, not {value!r}") from None

    @property
    def title(self) -> str:
        """The class and name, as error messages name the primitive: `Threshold("pressure")`."""
        return f'{type(self).__name__}("{self.name}")'

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The values of the constructor's parameters by name, without `name`."""
        return {each.name: getattr(self, each.name) for each in dataclasses.fields(self) if each.name != "name"}

    def validate(self) -> None:
        """Check the parameters' values. A subclass raises KernelError for invalid ones; by default all are accepted.

        The constructor calls it before `setup`. `within`, `power_of_two` and `one_of` check common limits.
        """

    def setup(self) -> None:
        """Create the state as attributes: registers such as `self.count = Register(bit[32], 1024)`, maps and lookups.

        The constructor calls it after `validate`, and each `reference` calls it again on a copy. By default there is no
        state.
        """

    def ingress(self, packet: Packet, wire: Any) -> None:  # noqa: ARG002
        """Process one packet: the kernel, which every primitive overrides. This one raises KernelError.

        `packet` is the `Packet`, which takes the verdict and alerts. `wire` has the header's fields as attributes,
        which the kernel reads and assigns.
        """
        raise KernelError(f"{self.title} has no kernel", hint="write `def ingress(self, packet, wire):`")

    def header(self) -> Layout:
        """Return the header's layout, by default that of the class `Wire` for the primitive's parameters.

        Raises KernelError if there is no class `Wire`, or as `Layout.of` does for the fields.
        """
        wire = getattr(type(self), "Wire", None)
        if not (isinstance(wire, type) and issubclass(wire, Header)):
            raise KernelError(
                f"{self.title} has no header", hint="write `class Wire(Header):` with fields such as `value = bit[32]`"
            )
        return Layout.of(wire, self.parameters)

    @cached_property
    def layout(self) -> Layout:
        """The layout of the header, computed once. KernelError if it has no fields, and as `header` raises it."""
        layout = self.header()
        if not layout.fields:
            raise KernelError(f"{self.title}: the header has no fields", hint="declare some: `value = bit[32]`")
        return layout

    @property
    def registers(self) -> Mapping[str, Register]:
        """The registers by attribute name, in creation order.

        Those of a primitive that is an attribute of this one are included, as `<attribute>_<name>`. KernelError if two
        have the same name.
        """
        return {name: each for name, each in self._state().items() if isinstance(each, Register)}

    @property
    def tables(self) -> Mapping[str, Map | Lookup]:
        """The maps and lookups by attribute name, in creation order, including those of primitives in attributes.

        The latter are called `<attribute>_<name>`. KernelError if two have the same name.
        """
        return {name: each for name, each in self._state().items() if isinstance(each, (Map, Lookup))}

    @property
    def maps(self) -> Mapping[str, Map]:
        """The maps that the kernel reads, by attribute name; others have no table on a switch. Raises as `kernel`."""
        read = self.kernel.tables
        return {name: each for name, each in self.tables.items() if isinstance(each, Map) and name in read}

    @cached_property
    def kernel(self) -> Kernel:
        """The compiled kernel, computed once. KernelError if `ingress` is missing or wrong, KernelErrors for more."""
        if type(self).ingress is Primitive.ingress:
            raise self.missing_kernel()
        return analyse(type(self).ingress, self, self.layout, self._state())

    def missing_kernel(self) -> KernelError:
        """Return the error that the class does not define `ingress`; its hint names a method with a similar name."""
        kind = type(self)
        methods = [
            name for name, each in vars(kind).items() if inspect.isfunction(each) and name not in vars(Primitive)
        ]
        close = difflib.get_close_matches("ingress", methods, 1)
        hint = f"rename `{close[0]}` to `ingress`" if close else "write `def ingress(self, packet, wire):`"
        return KernelError(f"{self.title} has no kernel: `ingress` is missing", place=_class_place(kind), hint=hint)

    def __rshift__(self, then: Primitive) -> Chain:
        """Return a chain that runs this primitive and then another one on each packet, with the name of the latter.

        KernelError if `then` is not a primitive, or if the two cannot be combined (see `Chain`).
        """
        if not isinstance(then, Primitive):
            raise KernelError(f"{self.title} >> {then!r}: a chain consists of primitives")
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
                raise KernelError(f"{self.title}: two registers or tables have the name {min(clash)!r} in the P4")
            found |= own
        return found

    def stamps(self) -> tuple[str, Mapping[str, str]] | None:
        """Return the header fields that the switch fills in when a packet leaves, as (counter, stamps), or None.

        `counter` is the name of a field with the number of the packet's hop, from 1, as the kernel leaves it. `stamps`
        maps the names of lane arrays to what the switch writes into the hop's lane: `ingress_port`, `egress_port`,
        `queue_depth` (packets), `queue_delay`, `ingress_time` or `egress_time` (microseconds). Nothing is written at
        hops without a lane. The reference does not change these arrays.
        """
        return None

    def reference(self, *, epoch: int = 0, random: Randomness | None = None) -> Reference:
        """Return the primitive as a state machine in plain Python, with new registers and maps as `setup` creates them.

        epoch: the value of `packet.epoch`, modulo 65536. random: the source of `packet.random`, such as `Random(seed)`;
        without one, `packet.random` raises KernelError. Raises KernelError for a kernel that does not compile.
        """
        return Reference(self, epoch, random)

    @cached_property
    def state_layout(self) -> Layout:
        """The layout of a row of the state, as a controller reads or writes it in one packet; computed once.

        It has a field for each register that the kernel accesses, with the register's lanes. Raises KernelError for
        more than 32 of them, as a request has one bit for each, to write it, and for a kernel that does not compile.
        """
        used = {each.register for each in accesses(self.kernel.body)}
        if len(used) > REGISTERS:
            hint = "join registers with the same index as lanes: `Register(bit[32], 1024, lanes=4)`"
            raise KernelError(f"{self.title} uses {len(used)} registers; the limit is {REGISTERS}", hint=hint)
        return Layout(
            tuple(Field(name, each.kind, each.lanes) for name, each in self.registers.items() if name in used)
        )


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of processing a message: the verdict, the message as it leaves, and the alerts as tuples of ints.

    `mirrored` are the copies that the kernel requested with `packet.mirror`: the message as it was at the start of the
    round. A message that recirculates more than 15 times has the verdict DROP.
    """

    verdict: Verdict
    message: Message
    alerts: tuple[tuple[int, ...], ...] = ()
    mirrored: tuple[Message, ...] = ()


_KINDS = {Verdict.REPLY: RESULT, Verdict.MULTICAST: RESULT, Verdict.FALLBACK: FOR_HOST}
"""The kind of outgoing messages, for verdicts that change it."""


class Reference:
    """A primitive that runs as plain Python on messages. It defines the behaviour that every device must have.

    It has its own copy of the primitive's state, initially as `setup` creates it. `epoch` is the value of
    `packet.epoch`, and `random` the source of `packet.random`, or None; both may be changed. Raises KernelError for a
    kernel that does not compile.
    """

    def __init__(self, primitive: Primitive, epoch: int = 0, random: Randomness | None = None) -> None:
        self.random = random
        self.epoch = epoch
        assert primitive.kernel  # Raises the mistakes of a kernel that does not compile.
        self._primitive = run(_reset(primitive))

    @property
    def registers(self) -> Mapping[str, Register]:
        """The registers of this reference by attribute name, with their current contents."""
        return self._primitive.registers

    def map(self, name: str) -> Map:
        """Return a map of this reference by its attribute name.

        Its entries are those that a controller would write: `reference.map("owner")[key] = value`. Raises KernelError
        for a name that is not a map.
        """
        found = self._primitive.tables.get(name)
        if not isinstance(found, Map):
            raise KernelError(f"{self._primitive.title} has no map {name!r}", hint="create maps in setup")
        return found

    def process(self, message: Message, now: int = 0) -> Outcome:
        """Run the kernel on a request, update the state, and return the outcome.

        `now` is the arrival time in microseconds. Messages of other kinds are forwarded unchanged. Raises KernelError
        for a message to another application, for numbers that do not fit their fields, for a wrong number of lanes, and
        for `packet.random` without a source; KeyError if a field is missing. After an error in the kernel, what it
        stored before remains.
        """
        primitive = self._primitive
        if message.application != primitive.name:
            raise KernelError(f"{primitive.title} cannot process a message to {message.application!r}")
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
        stages: two or more primitives in order, with different names; also `Chain("name", first, second)`

    `Filter("hot", ...) >> GroupBy("sums", ...)` is a chain with the name of its last primitive. Nested chains are
    flattened.

    The header has the fields of all primitives in order. A field that several of them have is shared and must have one
    type; a primitive reads what an earlier one has written. Each primitive has its own state, under its own names, or
    `<primitive>_<name>` if two have the same name. The first verdict other than FORWARD ends the chain. At most one
    primitive may raise alerts, and only the first may recirculate packets. Raises KernelError otherwise.

    Follows the query plans that Cheetah (SIGMOD 2020) combines from pruning primitives on one switch.

    >>> hot = Filter("hot", keep="value >= 100") >> Threshold("pressure", above=900, clear=850)
    >>> reference = hot.reference()
    >>> def read(value):
    ...     return reference.process(Message(REQUEST, "pressure", 0, {"value": value, "sensor": 7}))
    >>> read(99).verdict.name, read(900).alerts, read(901).alerts
    ('DROP', ((7, 900),), ())
    """

    FAMILY = "composition"
    PAPER = "Cheetah: Tirmazi et al., SIGMOD 2020"
    OVERFLOW = "as documented by each of its primitives"

    stages: tuple[Primitive, ...]

    def __init__(self, name: str, *first: Primitive, stages: Iterable[Primitive] = ()) -> None:
        flat: list[Primitive] = []
        for each in (*first, *stages):
            flat += each.stages if isinstance(each, Chain) else [each]
        self.name, self.stages = name, tuple(flat)
        self.__post_init__()

    def validate(self) -> None:
        """Check that the primitives can be combined, and compile their kernels.

        KernelError if there are fewer than two, if one is not a primitive or has no kernel, if names are not unique, if
        fields of the same name have different types, if several have an array of variable length or raise alerts, if a
        primitive after the first recirculates, or if a kernel does not compile.
        """
        if len(self.stages) < 2 or not all(isinstance(each, Primitive) for each in self.stages):
            raise KernelError(
                f"{self.title}: a chain consists of two or more primitives",
                hint='write Filter("hot", ...) >> Ewma("level")',
            )
        names = [each.name for each in self.stages]
        if len({*names}) != len(names):
            twice = next(each for each in names if names.count(each) > 1)
            raise KernelError(f"{self.title}: two of its primitives have the name {twice!r}", hint="rename one of them")
        for each in self.stages:
            if type(each).ingress is Primitive.ingress:
                raise each.missing_kernel()
        kernels = [analyse(type(each).ingress, each, self.layout, each._state()) for each in self.stages]
        for stage, kernel in zip(self.stages[1:], kernels[1:], strict=True):
            if kernel.rounds:
                raise KernelError(
                    f"{self.title}: {stage.title} recirculates packets, so the primitives before it would run again",
                    hint="put it first",
                )
        alerting = [each.title for each, kernel in zip(self.stages, kernels, strict=True) if kernel.alert]
        if len(alerting) > 1:
            raise KernelError(
                f"{self.title}: {' and '.join(alerting)} raise alerts, but a packet can raise only one",
                hint="remove one of them, or make them separate applications",
            )

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The primitives, as the single parameter `stages`: a tuple of mappings with class name, name and parameters.

        The keys of a mapping are `primitive`, `name`, and the names of the parameters.
        """
        return {
            "stages": tuple(
                {"primitive": type(each).__name__, "name": each.name, **each.parameters} for each in self.stages
            )
        }

    def header(self) -> Layout:
        """Return a layout with the fields of all primitives in order; those with the same name are shared.

        An array of variable length comes last. KernelError if fields of the same name have different types, or if
        several primitives have such an array.
        """
        try:
            layout = Layout.union({each.title: each.layout for each in self.stages})
        except KernelError as error:
            raise KernelError(f"{self.title}: {error.message}", hint=error.hint) from None
        return layout

    def stamps(self) -> tuple[str, Mapping[str, str]] | None:
        """Return the stamps of the first primitive that has any, or None."""
        return next((found for each in self.stages if (found := each.stamps())), None)

    def ingress(self, packet: Packet, wire: Any) -> None:
        """Run each primitive's kernel on the packet, in order, for as long as the verdict is FORWARD."""
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
            raise KernelError(f"{self.title}: two registers or tables have the same name", hint="rename a primitive")
        return found


def _reset(primitive: Primitive) -> Walk[Primitive]:
    """Return a copy of a primitive and of the primitives that it holds, all in their initial state."""
    made = copy.copy(primitive)
    made.setup()
    for name, value in [*vars(made).items()]:
        if isinstance(value, Primitive):
            setattr(made, name, (yield _reset(value)))
    if isinstance(made, Chain):
        walks: list[Walk[Primitive]] = [_reset(each) for each in made.stages]
        made.stages = tuple((yield from in_turn(walks)))
    return made


def _class_place(kind: type[Any]) -> Place | None:
    """Return the place of a class statement, or None if Python does not have the source."""
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
    """Return the first paragraph of a primitive class's docstring, on one line; empty without a docstring."""
    return (inspect.getdoc(kind) or "").split("\n\n")[0].replace("\n", " ").strip()

"""Programs: primitives that share one switch, the P4 that they compile to, and the wire schema of their messages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from midflight.errors import KernelError
from midflight.primitives.emit.names import KEYWORDS, PROGRAM, TAKEN, spelled
from midflight.primitives.emit.program import emit
from midflight.primitives.emit.tables import found
from midflight.primitives.emit.tna.architecture import ARCHITECTURES
from midflight.primitives.emit.tna.program import emit_tna
from midflight.primitives.emit.writer import Writer
from midflight.primitives.kernel.header import Layout
from midflight.primitives.kernel.primitive import Primitive
from midflight.primitives.kernel.register import Register
from midflight.primitives.kernel.rules import PROFILES, Profile, violations
from midflight.primitives.kernel.source import Line
from midflight.primitives.state import Exchange, State
from midflight.primitives.steering import Steering
from midflight.primitives.wire import UDP_PORT, VERSION

__all__ = ["Application", "Program"]


_IDS = 2**16


@dataclass(frozen=True, slots=True)
class Application:
    """A primitive as a part of a program.

    `id` (1 to 65535) identifies it in the common header; `name` is the primitive's.
    """

    id: int
    name: str
    primitive: Primitive

    @property
    def digest(self) -> str:
        """The name of the P4 digest that carries its alerts to the controller; empty if its kernel raises none."""
        return f"{self.name}_alert_t" if self.primitive.kernel.alert else ""


class Program:
    """One or more primitives that run on the same switch, with one parser, one common header and shared forwarding.

    `parts` are the primitives and at most one `Steering`, which may also be alone. Each primitive is an application
    with the primitive's name and an id (1 to 65535). `ids` assigns ids by name; without it they are 1, 2, ... in order.
    Primitives that `ids` omits get the ids after its largest. The constructor compiles all kernels. Raises KernelError
    without parts, for a part of another type, a second `Steering`, a kernel that does not compile, names or ids that
    clash, and an id that is out of range or has no primitive. A program is immutable. `extended`, `steered`, `without`
    and `replaced` return new programs, in which remaining applications keep their ids and used ids are not assigned
    again.
    """

    def __init__(self, *parts: Primitive | Steering, ids: Mapping[str, int] | None = None) -> None:
        primitives = [each for each in parts if not isinstance(each, Steering)]
        steering = [each for each in parts if isinstance(each, Steering)]
        if len(steering) > 1:
            raise KernelError("a program has one Steering, which all its services share", hint="remove the others")
        self.steering = steering[0] if steering else None
        """The part that steers requests to instances, or None."""
        if not parts:
            raise KernelError(
                "a program needs at least one primitive", hint='write Program(Threshold("pressure", ...))'
            )
        applications: dict[str, Application] = {}
        given = dict(ids or {})
        for name, number in given.items():
            _check_id(name, number)
        self._next = 1 + max((len(primitives) if ids is None else 0, *given.values()))
        free = iter(range(1 if ids is None else self._next, _IDS))
        for primitive in primitives:
            if not isinstance(primitive, Primitive):
                raise KernelError(f"a program consists of primitives, not of {primitive!r}")
            if primitive.name in applications:
                raise KernelError(f"two applications have the name {primitive.name!r}", hint="rename one of them")
            chosen = given.pop(primitive.name, None) or next(free, None)
            if chosen is None:
                raise KernelError(f"no id above {_IDS - 1} is left for {primitive.name}", hint="give it one in `ids`")
            applications[primitive.name] = Application(chosen, primitive.name, primitive)
        self._next = max((self._next, *(each.id + 1 for each in applications.values())))
        _check_ids(applications.values(), given)
        self._applications = applications
        self._texts: dict[tuple[str, ...], str] = {}  # P4 by the names of the chosen applications
        for each in applications.values():
            self._check_names(each)
            assert each.primitive.state_layout is not None  # compiles the kernel, and raises what is wrong with it

    @property
    def applications(self) -> Mapping[str, Application]:
        """The applications by name, in the order of the primitives."""
        return self._applications

    def extended(self, *parts: Primitive | Steering) -> Program:
        """Return a program with additional primitives, which get ids that were never used, or with a `Steering`.

        KernelError for a kernel that does not compile, for names that clash, for a second `Steering`, for a part of
        another type, and if no id is left.
        """
        return self._changed([*(each.primitive for each in self._applications.values()), *parts], self._ids)

    def steered(self, steering: Steering | None) -> Program:
        """Return a program with this `Steering` in place of its own; without any if None.

        KernelError if no part remains.
        """
        parts = () if steering is None else (steering,)
        made = Program(*(each.primitive for each in self._applications.values()), *parts, ids=self._ids)
        made._next = self._next
        return made

    def without(self, *names: str) -> Program:
        """Return a program without the applications of these names.

        Raises KernelError for an unknown name, or if neither an application nor a `Steering` remains.
        """
        for name in names:
            self._find(name)
        left = [each.primitive for name, each in self._applications.items() if name not in names]
        return self._changed(left, self._ids)

    def replaced(self, primitive: Primitive) -> Program:
        """Return a program with this primitive in place of the application that has its name.

        The application keeps its id if the class's name and the header fields are the same, so that packets in flight
        remain valid. Otherwise it gets an id that was never used. KernelError for an unknown name, for a kernel that
        does not compile, for fields or state whose names clash in the P4, and if no id is left.
        """
        before = self._find(primitive.name)
        ids = dict(self._ids)
        # By name, as a user's file that is read again makes another class of the same primitive.
        one, other = ((type(each).__qualname__, each.layout.fields) for each in (before.primitive, primitive))
        if one != other:
            del ids[primitive.name]
        all_ = [primitive if name == primitive.name else it.primitive for name, it in self._applications.items()]
        return self._changed(all_, ids)

    @property
    def _ids(self) -> dict[str, int]:
        return {name: each.id for name, each in self._applications.items()}

    def _changed(self, parts: Sequence[Primitive | Steering], ids: Mapping[str, int]) -> Program:
        number, known = self._next, dict(ids)
        names = [each.name for each in parts if isinstance(each, Primitive)]
        for name in names:
            if name not in known:
                known[name] = number
                number += 1
        parts = parts if self.steering is None else [*parts, self.steering]
        made = Program(*parts, ids={name: known[name] for name in names})
        made._next = number
        return made

    def _find(self, name: str) -> Application:
        if name not in self._applications:
            names = ", ".join(self._applications)
            raise KernelError(f"the program has no application {name!r}", hint=f"it has {names}")
        return self._applications[name]

    def p4(self, only: Collection[str] | None = None, *, arch: str = "v1model") -> str:
        """Return the program as P4_16 source. The same program always gives the same text.

        only: the names of the applications to include, by default (None) all; an empty collection gives pure
        forwarding. Names that the program does not have are ignored. arch: the architecture, "v1model", or "tna" or
        "t2na" for Tofino and Tofino 2. Raises KernelError for an unknown one. For Tofino, also raises KernelError for a
        program with `Steering`, for a name that its P4 reserves, for more than 7 applications with alerts, and with its
        place for what a kernel does that Tofino cannot.
        """
        chosen = self._chosen(only)
        if arch != "v1model":
            return str(self._tofino(chosen, arch))
        if (names := tuple(chosen)) not in self._texts:
            self._texts[names] = str(emit(chosen, self.steering))
        return self._texts[names]

    def listing(self, *, arch: str = "v1model") -> tuple[tuple[str, Line | None], ...]:
        """Return the lines of `p4(arch=arch)`, each with the line of a kernel that it comes from.

        The line is None for common code. KernelError as `p4` raises it.
        """
        chosen = self._chosen(None)
        out = emit(chosen, self.steering) if arch == "v1model" else self._tofino(chosen, arch)
        return tuple(zip(str(out).splitlines(), out.origins, strict=True))

    def state(self, application: str, exchange: Exchange) -> State:
        """Return access to an application's registers on a switch that runs the program. Sends nothing itself.

        application: the application's name. exchange: a function that sends packets to the switch and returns its
        answers, such as a session's `inband`. Raises KernelError for an unknown application.
        """
        return State(application, _describe(self._find(application)), exchange)

    def check(self, profile: Profile | str) -> tuple[KernelError, ...]:
        """Return all violations of a pipeline's rules in the program's kernels, each with its place.

        profile: a `Profile` with the rules of a kind of pipeline, or the name of one in `PROFILES`, such as "asic".
        Violations are returned, not raised. Raises KernelError for an unknown name.
        """
        if isinstance(profile, str):
            if profile not in PROFILES:
                raise KernelError(f"there is no profile {profile!r}", hint=f"the profiles are: {', '.join(PROFILES)}")
            profile = PROFILES[profile]
        return tuple(each for it in self._applications.values() for each in violations(it.primitive, profile))

    def schema(self) -> dict[str, Any]:
        """Return the wire schema as a JSON-compatible dict, with which `Schema` encodes and decodes messages.

        It has `version`, `udp_port` and `applications`. The latter has, by name: `id`, `primitive` (the class), `bytes`
        (the header's length), `parameters` (those that are int, bool, str or None, and the `stages` of a `Chain`),
        `fields` (each with `name`, `bits`, `signed`, and `count`, the number of lanes or None for a single number; zero
        bits pad the header to whole bytes), `state` (the registers that a controller can read: like fields, with the
        array's `size` and `initial` value), `items` (the array of variable length, or None) and `alert` (the digest's
        `name` and `fields`, or None).
        """
        return {
            "version": VERSION,
            "udp_port": UDP_PORT,
            "applications": {name: _describe(each) for name, each in self._applications.items()},
        }

    def _tofino(self, chosen: Mapping[str, tuple[int, Primitive]], arch: str) -> Writer:
        if arch not in ARCHITECTURES:
            known = ", ".join(("v1model", *ARCHITECTURES))
            raise KernelError(f"there is no architecture {arch!r}", hint=f"the architectures are: {known}")
        if self.steering is not None:
            raise KernelError(f"steering is not available for {arch}", hint="compile it for v1model")
        return emit_tna(chosen, ARCHITECTURES[arch])

    def _chosen(self, only: Collection[str] | None) -> dict[str, tuple[int, Primitive]]:
        return {
            name: (each.id, each.primitive) for name, each in self._applications.items() if only is None or name in only
        }

    def _check_names(self, application: Application) -> None:
        name, primitive = application.name, application.primitive
        if name in KEYWORDS or name in PROGRAM:
            raise KernelError(
                f"an application cannot have the name {name!r}: P4 or the common part of programs uses it",
                hint=f"for example, use {name}_app",
            )
        for other, application in self._applications.items():
            items = application.primitive.layout.items
            places = range(len(items)) if items else ()
            inside = [f"{other}_{items.name}_{place}" for place in places] if items else []
            derived = (*inside, f"{other}_alert", f"{other}_state", f"{other}_again")
            if other != name and (name in derived or other.upper() == name.upper()):
                raise KernelError(
                    f"the names of applications {other!r} and {name!r} clash in the P4", hint="rename one of them"
                )
        fields: set[str] = set()
        for field in primitive.layout:
            names = [spelled(field.name)]
            if field.count is not None:
                names = [f"{field.name}_{lane}" for lane in range(field.count)]
            if "reserved" in names and primitive.layout.padding:
                raise KernelError(
                    f"{primitive.title}: no field can have the name `reserved`, which the header's padding has"
                )
            if clash := fields & {*names}:
                raise KernelError(f"{primitive.title}: two fields have the name {min(clash)!r} in the P4")
            fields |= {*names}
        state: set[str] = set()
        for name, each in (*primitive.registers.items(), *primitive.tables.items()):
            if name in KEYWORDS or name in TAKEN:
                raise KernelError(
                    f"{primitive.title}: a {type(each).__name__.lower()} cannot have the name {name!r}, which P4 or the"
                    " program uses",
                    hint=f"for example, use {name}_",
                )
            names = [name, found(name)]
            if isinstance(each, Register):
                names = [name] if each.lanes is None else [f"{name}_{lane}" for lane in range(each.lanes)]
            if "reserved" in names:
                raise KernelError(f"{primitive.title}: a register cannot have the name 'reserved'", hint="rename it")
            if clash := state & {*names}:
                raise KernelError(f"{primitive.title}: two objects of setup have the name {min(clash)!r} in the P4")
            state |= {*names}


def _items(layout: Layout) -> dict[str, Any] | None:
    items = layout.items
    if items is None:
        return None
    each = layout.item(0)
    return {
        "name": items.name,
        "count": items.counted.name,
        "capacity": len(items),
        "bytes": each.bytes,
        "fields": len(each.fields),
    }


def _check_id(name: str, number: object) -> None:
    if isinstance(number, bool) or not isinstance(number, int) or not 0 < number < _IDS:
        raise KernelError(f"{name} has the id {number!r}; ids are 1 to {_IDS - 1}")


def _check_ids(applications: Iterable[Application], left: Mapping[str, int]) -> None:
    if left:
        raise KernelError(f"there is an id for {min(left)!r}, but no primitive with that name")
    owners: dict[int, str] = {}
    for each in applications:
        if owners.setdefault(each.id, each.name) != each.name:
            raise KernelError(
                f"{owners[each.id]} and {each.name} have the same id, {each.id}", hint="change one of them"
            )


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON-compatible parameters; a chain's primitives as mappings."""
    plain: dict[str, Any] = {
        n: each for n, each in parameters.items() if each is None or isinstance(each, (bool, int, str))
    }
    chained = parameters.get("stages")
    if isinstance(chained, tuple):
        plain["stages"] = [_plain(each) for each in chained]
    return plain


def _describe(application: Application) -> dict[str, Any]:
    primitive = application.primitive
    alert = [{"name": name, "bits": kind.width, "signed": kind.signed} for name, kind in primitive.kernel.alert]
    return {
        "id": application.id,
        "primitive": type(primitive).__name__,
        "bytes": primitive.layout.bytes,
        "parameters": _plain(primitive.parameters),
        "fields": [
            {"name": each.name, "bits": each.kind.width, "signed": each.kind.signed, "count": each.count}
            for each in primitive.layout
        ],
        "state": [
            {
                "name": each.name,
                "bits": each.kind.width,
                "signed": each.kind.signed,
                "count": each.count,
                "size": primitive.registers[each.name].size,
                "initial": primitive.registers[each.name].initial,
            }
            for each in primitive.state_layout
        ],
        "items": _items(primitive.layout),
        "alert": {"name": application.digest, "fields": alert} if alert else None,
    }

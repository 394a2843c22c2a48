"""Steps of an entries file as P4Runtime messages, and the targets that they are applied to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from finsy.proto import p4r

from midflight.errors import DeviceError, MidflightError, Place, UnsupportedError
from midflight.runtime.p4runtime.client.session import RequestError, Session
from midflight.runtime.p4runtime.schema import Schema
from midflight.runtime.p4runtime.server.switch import Switch
from midflight.runtime.p4runtime.status import Code, Refusal

__all__ = ["Read", "SessionTarget", "Step", "SwitchTarget", "Target", "Write", "apply"]


@dataclass(frozen=True, slots=True)
class Write:
    """A step that applies an update to a switch. `what` names it in errors, `place` is where the file has it."""

    update: p4r.Update
    what: str
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Read:
    """A step that reads entities from a switch, such as a cell of a register. `what` names it in the result of
    `apply`.
    """

    entity: p4r.Entity
    what: str
    place: Place | None = None


Step = Write | Read


class Target(Protocol):
    """A switch with a pipeline, to which entries files are applied. Its methods raise DeviceError if the switch
    refuses.
    """

    @property
    def schema(self) -> Schema:
        """The objects of the switch's pipeline, by name and id."""

    def write(self, step: Write) -> None:
        """Send the step's update to the switch. DeviceError if the switch refuses it."""

    def read(self, entity: p4r.Entity) -> list[p4r.Entity]:
        """Return the entities that a read request for `entity` selects; a default value, such as id 0, selects all.
        DeviceError if the switch refuses.
        """


@dataclass(frozen=True, slots=True)
class SwitchTarget:
    """A switch in this process as a `Target`; it needs no controller. It must have a pipeline."""

    switch: Switch

    @property
    def schema(self) -> Schema:
        """The objects of the switch's pipeline."""
        pipeline = self.switch.pipeline
        assert pipeline is not None, "the switch has no pipeline"
        return pipeline.schema

    def write(self, step: Write) -> None:
        """Apply the step's update to the switch. DeviceError if the switch rejects it."""
        self.switch.preset(step.update)

    def read(self, entity: p4r.Entity) -> list[p4r.Entity]:
        """Return the entities that a read request for `entity` selects. DeviceError if the switch rejects it."""
        request = p4r.ReadRequest(device_id=self.switch.device_id, entities=[entity])
        reading = self.switch.read(request)
        found = [each for part in reading for each in part]
        if reading.status is not None:
            raise DeviceError(reading.status.message)
        return found


@dataclass(frozen=True, slots=True)
class SessionTarget:
    """A device as a `Target`, through a P4Runtime session whose controller is the primary."""

    session: Session

    @property
    def schema(self) -> Schema:
        """The objects of the device's pipeline."""
        return Schema(self.session.p4info)

    def write(self, step: Write) -> None:
        """Send the step's update to the device. DeviceError if the device rejects it."""
        self.session.send(step.update, step.what)

    def read(self, entity: p4r.Entity) -> list[p4r.Entity]:
        """Return the entities that a read request for `entity` selects. DeviceError if the device rejects it."""
        return self.session.fetch(entity)


def apply(steps: Iterable[Step], target: Target) -> list[tuple[str, p4r.Entity]]:
    """Apply steps in order. Return what was read, each with the text of its step.

    MidflightError, with the place of the step, for the first one that the target rejects; it is UnsupportedError if the
    target does not implement it. The steps before it remain applied, and those after it are not.
    """
    found: list[tuple[str, p4r.Entity]] = []
    for step in steps:
        try:
            match step:
                case Write():
                    target.write(step)
                case Read():
                    found += [(step.what, each) for each in target.read(step.entity)]
        except (Refusal, RequestError) as error:
            kind = UnsupportedError if error.code == Code.UNIMPLEMENTED else MidflightError
            raise kind(error.message, place=step.place, hint=error.hint) from None
        except DeviceError as error:
            raise MidflightError(error.message, place=step.place, hint=error.hint) from None
    return found
